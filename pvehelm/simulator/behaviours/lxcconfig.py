"""Changing the configuration of a container: volumes, network devices, what waits for a restart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pvehelm.api.schema import Operation
from pvehelm.simulator.behaviours import drives, guests, power, properties, qemuconfig, rights, storages, volumes
from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.core import Call, Failure, bad_parameters, handler

PATH = "/nodes/{node}/lxc/{vmid}/config"
_REQUIRED = ("rootfs", "memory", "ostype")

_RIGHTS = {
    "VM.Config.CPU": "cores cpulimit cpuunits",
    "VM.Config.Memory": "memory swap",
    "VM.Config.Network": "hostname nameserver searchdomain",
    "VM.Config.Options": "arch cmode console debug description entrypoint env onboot ostype protection startup tags"
    " template timezone tty unprivileged lock",
}
_RIGHT_OF = {name: right for right, names in _RIGHTS.items() for name in names.split()}
_AT_ONCE = frozenset(
    [
        "description",
        "onboot",
        "startup",
        "protection",
        "hostname",
        "hookscript",
        "cores",
        "tags",
        "lock",
    ]
)
_LIVE = frozenset(["cpulimit", "cpuunits", "memory", "swap"])


def config_operation(call: Call) -> Operation:
    return call.sim.schema.operation("PUT", PATH)


def is_mount(name: str) -> bool:
    return name == "rootfs" or bool(re.fullmatch(r"mp\d+", name))


def volume_format(definition: storages.Definition, size: int) -> str:
    """The format of a container's volume: a directory where there is no size to keep to."""
    return "subvol" if definition["type"] == "zfspool" or (storages.has_files(definition) and not size) else "raw"


# -- checks ----------------------------------------------------------------------------------------------------


def check_rights(call: Call, names: Iterable[str], values: Mapping[str, Any], vmid: str, pool: str | None) -> None:
    """403, or ``only root can``, for options that the caller may not change."""
    if call.is_root:
        return
    for name in sorted(names):
        value = str(values.get(name, ""))
        if is_mount(name) or name.startswith("unused"):
            guests.check_vm(call, vmid, pool, ["VM.Config.Disk"])
            if value and drives.file_of(value).startswith("/"):
                raise Failure(403, "Permission check failed (mount point type bind is only allowed for root@pam)")
        elif re.fullmatch(r"net\d+", name):
            guests.check_vm(call, vmid, pool, ["VM.Config.Network"])
        elif re.fullmatch(r"dev\d+", name):
            raise Failure(403, "Permission check failed (configuring device passthrough is only allowed for root@pam)")
        elif name == "features":
            guests.check_vm(call, vmid, pool, ["VM.Allocate"])
            if value and any(not part.startswith("nesting=") for part in value.split(",")):
                what = "changing feature flags (except nesting) is only allowed for root@pam"
                raise Failure(403, f"Permission check failed ({what})")
        elif name == "hookscript":
            raise Failure(403, "Permission check failed (changing the hookscript is only allowed for root@pam)")
        else:
            guests.check_vm(call, vmid, pool, [_RIGHT_OF.get(name, "VM.Config.Options")])


def check_mount(call: Call, operation: Operation, name: str, text: str, vmid: str, storage: str = "") -> None:
    """Raises Failure for a storage that is missing, cannot hold containers or is forbidden."""
    mount = drives.parse(operation, name, text)
    wanted = drives.new_disk({"file": mount.get("volume", "")})
    volume = mount.get("volume", "")
    if wanted is not None:
        check_storage(call, wanted[0] or storage)
    elif ":" in volume and not volume.startswith("/"):
        drives.check_volume(call, volume, vmid)


def check_storage(call: Call, storage: str) -> None:
    call.require(f"/storage/{storage}", ["Datastore.AllocateSpace"])
    found = storages.definition(call.state, storage)
    if "rootdir" not in storages.contents(found):
        what = f"storage '{storage}' does not support container directories"
        raise bad_parameters({"storage": what})


def normal(call: Call, operation: Operation, name: str, value: Any) -> Any:
    """An option in the shape that is stored; None when nothing is left of it."""
    if re.fullmatch(r"net\d+", name):
        fmt = drives.format_of(operation, name)
        net = properties.split(str(value), fmt)
        net.setdefault("hwaddr", guests.random_mac(call))
        net.setdefault("type", "veth")
        return properties.join(net, fmt)
    if name == "description":
        return guests.store_description("lxc", str(value))
    if name == "tags":
        return guests.store_tags(call.state, str(value))
    if name in ("nameserver", "searchdomain"):
        return " ".join(storages.words(value))
    if name == "cpuunits":
        # Weights are kept within what the kernel's control groups can take.
        return min(max(int(value), 2), 262144) if int(value) else 2
    return properties.typed(operation, name, value)


def realise(call: Call, vmid: str, node: str, name: str, text: str, *, base: bool = False, storage: str = "") -> str:
    """Make or find the volume of a mount point and return what is stored. Raises Failure."""
    operation = config_operation(call)
    mount = drives.parse(operation, name, text)
    wanted = drives.new_disk({"file": mount.get("volume", "")})
    fmt = drives.format_of(operation, name)
    if wanted is not None:
        where, gib = wanted[0] or storage, wanted[1]
        definition = storages.usable(call.state, where, node)
        size = int(gib * 1024 * 1024) * 1024
        made = volumes.allocate(call.state, where, node, vmid, size, call.now, volume_format(definition, size))
        volumes.change(call.state, made["volid"], node, content="rootdir")
        mount.update({"volume": made["volid"], "size": properties.print_size(size)})
        if base:
            mount["volume"] = volumes.rename_owner(call.state, made["volid"], node, vmid, base=True)
    else:
        found = volumes.find(call.state, mount.get("volume", ""), node)
        if found is not None:
            mount["size"] = properties.print_size(found[1]["size"])
    return properties.join(mount, fmt)


# -- the call --------------------------------------------------------------------------------------------------


@handler("PUT", PATH)
def update(call: Call) -> None:
    operation = config_operation(call)
    values = {name: value for name, value in call.args.items() if name not in guests.CONTROLS}
    deleted, reverted = call.list("delete"), call.list("revert")
    if not values and not deleted and not reverted:
        raise Failure(500, "no options specified")
    _check_names(operation, values, deleted, reverted)
    vmid = str(call.int("vmid"))
    check_rights(call, deleted, {}, vmid, None)
    check_rights(call, values, values, vmid, None)
    rights.check_bridges(call, values)
    guest = guests.load(call, "lxc")
    guest.check_lock(call)
    guest.check_digest(call)
    for name in sorted(values):
        if is_mount(name):
            guest.check_protection(f"can't update CT {vmid} drive '{name}'")
            check_mount(call, operation, name, str(values[name]), vmid)
        elif name == "hookscript":
            qemuconfig.check_hookscript(call, str(values[name]))
        elif name == "unprivileged":
            raise Failure(500, "unable to modify read-only option: 'unprivileged'")
    for name in deleted:
        if name == "unprivileged" and name in guest.config:
            raise Failure(500, "unable to delete read-only option: 'unprivileged'")
        if name in _REQUIRED and name in guest.config:
            raise Failure(500, f"unable to delete required option '{name}'")
        if name in guest.config and (is_mount(name) or name.startswith("unused")):
            guest.check_protection(f"can't remove CT {vmid} drive '{name}'")
    _apply(call, guest, values, deleted, reverted)
    power.check_bridges(call, guest)


def _check_names(operation: Operation, values: Mapping[str, Any], deleted: list[str], reverted: list[str]) -> None:
    def refuse(key: str, what: str) -> None:
        raise bad_parameters({key: what})

    for name in reverted:
        if not guests.is_option(operation, name):
            refuse("revert", f"unknown option '{name}'")
        if name in values:
            refuse("revert", f"you can't use '-{name}' and -revert {name}' at the same time")
    for name in deleted:
        if not guests.is_option(operation, name):
            refuse("delete", f"unknown option '{name}'")
        if name in values:
            refuse("delete", f"you can't use '-{name}' and -delete {name}' at the same time")
        if name in reverted:
            refuse("delete", f"you can't use '-revert {name}' and -delete {name}' at the same time")


def _apply(
    call: Call, guest: Guest, values: Mapping[str, Any], deleted: Iterable[str], reverted: Iterable[str]
) -> None:
    operation = config_operation(call)
    for name in reverted:
        guest.pending.pop(name, None)
        guest.deleted.pop(name, None)
    for name in deleted:
        guest.pending.pop(name, None)
        if name in guest.config:
            guest.deleted[name] = 0
    for name in sorted(values):
        value = normal(call, operation, name, values[name])
        guest.deleted.pop(name, None)
        if value is None:
            guest.pending.pop(name, None)
            if name in guest.config:
                guest.deleted[name] = 0
        elif guest.config.get(name) == value:
            guest.pending.pop(name, None)
        else:
            guest.pending[name] = value
    if guest.running:
        for name in list(guest.deleted):
            if _unpluggable(name):
                _take_away(guest, name)
        for name in list(guest.pending):
            if _pluggable(guest, name):
                _put_in(guest, name, call)
    else:
        settle(guest, call)
    guest.save()


def _unpluggable(name: str) -> bool:
    return name in _AT_ONCE or name in _LIVE or bool(re.fullmatch(r"(unused|net)\d+", name))


def _pluggable(guest: Guest, name: str) -> bool:
    if re.fullmatch(r"(mp|dev)\d+", name):
        return name not in guest.config
    return name in _AT_ONCE or name in _LIVE or bool(re.fullmatch(r"(net|unused)\d+", name))


def settle(guest: Guest, call: Call | None = None) -> None:
    """Let everything that is pending take effect: the container is off."""
    for name in list(guest.deleted):
        _take_away(guest, name)
    for name in list(guest.pending):
        # Without a caller nothing can be allocated; such a mount point goes on waiting.
        if call is not None or not is_mount(name):
            _put_in(guest, name, call)


def _take_away(guest: Guest, name: str) -> None:
    guest.deleted.pop(name)
    value = guest.config.pop(name, None)
    if value is None:
        return
    volid = drives.file_of(str(value))
    if is_mount(name):
        _keep(guest, volid)
    elif name.startswith("unused"):
        used = any(
            drives.file_of(str(v)) == volid for c in (guest.config, *guest.snapshots.values()) for v in c.values()
        )
        if not used and drives.owned(guest.state, guest.vmid, guest.node, volid):
            volumes.remove(guest.state, volid, guest.node)


def _keep(guest: Guest, volid: str) -> None:
    """A volume that a mount point gives up becomes unused."""
    if ":" in volid and not volid.startswith("/"):
        drives.keep_unused(guest.config, volid)


def _put_in(guest: Guest, name: str, call: Call | None) -> None:
    value = guest.pending.pop(name)
    if is_mount(name) and name != "rootfs" and call is not None:
        value = realise(call, guest.vmid, guest.node, name, str(value), base=guest.template)
        old = guest.config.get(name)
        guest.config[name] = value
        if old is not None and drives.file_of(str(old)) != drives.file_of(value):
            _keep(guest, drives.file_of(str(old)))
        drives.not_unused(guest.config, drives.file_of(value))
    guest.config[name] = value

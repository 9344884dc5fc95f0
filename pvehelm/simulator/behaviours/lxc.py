"""Containers: create, template, resize, move volumes, delete."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pvehelm.simulator.behaviours import (
    addresses,
    drives,
    guests,
    lists,
    lxcconfig,
    power,
    properties,
    qemu,
    qemuconfig,
    qemudisks,
    restore,
    rights,
    storages,
    volumes,
)
from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.core import Call, Failure, bad_parameters, handler
from pvehelm.simulator.tasks import TaskLog

PATH = "/nodes/{node}/lxc"
CREATION = frozenset(
    (
        *("bwlimit", "force", "ha-managed", "ignore-unpack-errors", "ostemplate", "password", "pool", "restore"),
        *("ssh-public-keys", "start", "storage", "unique"),
    )
)
DEFAULT_SIZE = "4"
_SYSTEMS = ["debian", "devuan", "ubuntu", "centos", "fedora", "opensuse", "archlinux", "alpine", "gentoo", "nixos"]
_LIKE = {"rockylinux": "centos", "almalinux": "centos", "openeuler": "centos"}


@handler("POST", PATH)
def create(call: Call) -> str:
    vmid, pool = str(call.int("vmid")), call.args.get("pool")
    if not call.bool("restore"):
        guests.refuse_taken(call, vmid)
    guests.check_pool(call, pool)
    if not call.may(f"/vms/{vmid}", "VM.Allocate") and not (pool and call.may(f"/pool/{pool}", "VM.Allocate")):
        raise Failure(403, "Permission check failed")
    if call.bool("restore"):
        return restore.start(call, "lxc", vmid)
    values = {name: value for name, value in call.args.items() if name not in CREATION and name not in guests.CONTROLS}
    if call.args.get("ssh-public-keys"):
        qemuconfig.check_ssh_keys(call.str("ssh-public-keys"))
    storage = call.str("storage", "local")
    operation = lxcconfig.config_operation(call)
    lxcconfig.check_rights(call, values, values, vmid, pool)
    rights.check_bridges(call, values)
    if not int(call.args.get("unprivileged", call.sim.schema.version >= (9,))) and not call.is_root:
        call.require("/", ["Sys.Modify"])
    values.setdefault("rootfs", f"{storage}:{DEFAULT_SIZE}")
    for name in sorted(values):
        if lxcconfig.is_mount(name):
            lxcconfig.check_mount(call, operation, name, str(values[name]), vmid, storage)
    return qemu.creation(call, vmid, pool, lambda: make(call, vmid, values, storage))


def make(call: Call, vmid: str, values: Mapping[str, Any], storage: str) -> Guest:
    """A new container with its volumes. Raises Failure."""
    template = call.str("ostemplate")
    _check_template(call, template)
    operation = lxcconfig.config_operation(call)
    config: dict[str, Any] = {}
    # The root file system comes first, mount points follow by number.
    mounts = sorted((n for n in values if lxcconfig.is_mount(n)), key=lambda n: (n != "rootfs", len(n), n))
    for name in mounts:
        config[name] = lxcconfig.realise(call, vmid, call.node, name, str(values[name]), storage=storage)
    for name in sorted(set(values) - set(mounts)):
        value = lxcconfig.normal(call, operation, name, values[name])
        if value is not None:
            config[name] = value
    name = template.rpartition("/")[2].lower()
    arch = next((a for a in ("arm64", "armhf", "i386", "riscv64") if a in name), "amd64")
    config.setdefault("arch", arch)
    config.setdefault("ostype", system_of(name))
    config.setdefault("hostname", f"CT{vmid}")
    config.setdefault("memory", 512)
    config.setdefault("swap", 512)
    # Containers are unprivileged unless asked otherwise since 9.0.
    usual = 1 if call.sim.schema.version >= (9,) else 0
    if not int(config.setdefault("unprivileged", usual)):
        del config["unprivileged"]
    doc = {"node": call.node, "status": "stopped", "config": config, "pending": {}, "delete": {}}
    guest = Guest(call.state, "lxc", vmid, {**doc, "snapshots": {}, "firewall": {}})
    guest.save()
    return guest


def system_of(template: str) -> str:
    """The operating system that the name of a template begins with."""
    first = re.split(r"[-_.]", template)[0]
    first = _LIKE.get(first, first)
    return first if first in _SYSTEMS else "unmanaged"


def _check_template(call: Call, template: str) -> None:
    if ":" not in template:
        raise Failure(500, f"can't find file '{template}'")
    storage, name = storages.split_volid(template)
    parsed = storages.parse_volume(storages.usable(call.state, storage, call.node), name)
    if parsed["content"] not in ("vztmpl", "import"):
        raise Failure(500, f"volume '{template}' is no container template")
    volumes.get(call.state, template, call.node)


@handler("DELETE", PATH + "/{vmid}")
def delete(call: Call) -> str:
    guest = guests.load(call, "lxc")
    guest.check_protection(f"can't remove CT {guest.vmid}")
    guests.check_unused(call, guest, "CT")
    if guest.running and not call.bool("force"):
        raise Failure(500, f"CT {guest.vmid} is running - destroy failed: force not set")

    def work(log: TaskLog) -> None:
        guest.check_lock(call)
        if guest.running:
            power.stop(guest, call)
        qemu.destroy(call, guest)

    return call.task("vzdestroy", guest.vmid, guests.in_task(work))


@handler("POST", PATH + "/{vmid}/template")
def to_template(call: Call) -> None:
    guest = guests.load(call, "lxc")
    guest.check_lock(call)
    if guest.snapshots:
        raise Failure(500, "unable to create template, because CT contains snapshots")
    if guest.template:
        raise Failure(500, "you can't convert a template to a template")
    if guest.running:
        raise Failure(500, "you can't convert a CT to template if the CT is running")
    operation = lxcconfig.config_operation(call)
    for name, volid in lists.guest_volumes(call, guest).items():
        if volid.startswith("/"):
            continue
        if not lists.volume_can(call, volid, guest.node, "template"):
            raise Failure(500, f"Template feature is not available for '{volid}'")
        mount = drives.parse(operation, name, str(guest.config[name]))
        mount["volume"] = volumes.rename_owner(call.state, volid, guest.node, guest.vmid, base=True)
        guest.config[name] = properties.join(mount, drives.format_of(operation, name))
    guest.config["template"] = 1
    guest.save()


def refuse_missing(guest: Guest, name: str) -> None:
    """Raises Failure, as if what is not there had been parsed, unless a container has a mount point."""
    if name not in guest.config:
        missing = "property is missing and it is not optional"
        errors = {key: missing for key in ("mp", "volume") if name != "rootfs" or key != "mp"}
        raise Failure(500, "format error", errors)


@handler("PUT", PATH + "/{vmid}/resize")
def resize(call: Call) -> str:
    guest = guests.load(call, "lxc")
    guest.check_lock(call)
    guest.check_digest(call)
    name = call.str("disk")
    operation = lxcconfig.config_operation(call)
    refuse_missing(guest, name)
    mount = drives.parse(operation, name, str(guest.config[name]))
    volid = mount["volume"]
    if volid.startswith("/"):
        raise Failure(500, "can't resize mount point of type 'bind'")
    volume = volumes.get(call.state, volid, guest.node)
    call.require(f"/storage/{volume['storage']}", ["Datastore.AllocateSpace"])
    size = qemudisks.grown(call.str("size"), volume["size"])
    if size < volume["size"]:
        raise Failure(500, "unable to shrink disk size")
    if size == volume["size"]:
        raise Failure(500, "disk is already at specified size")

    def work(log: TaskLog) -> None:
        if guest.template and storages.has_files(storages.definition(call.state, volume["storage"])):
            command = f"/usr/bin/qemu-img resize '--preallocation=off' -f {volume['format']} {volid} {size}"
            raise Failure(500, f"command '{command}' failed: exit code 1")
        volumes.change(call.state, volid, guest.node, size=size)
        mount["size"] = properties.print_size(size)
        guest.config[name] = properties.join(mount, drives.format_of(operation, name))
        guest.save()

    return call.task("resize", guest.vmid, guests.in_task(work))


@handler("POST", PATH + "/{vmid}/move_volume")
def move_volume(call: Call) -> str:
    guest = guests.load(call, "lxc")
    name, storage, target = call.str("volume"), call.str("storage"), call.args.get("target-vmid")
    if storage and target:
        raise Failure(500, "either set storage or target-vmid, but not both")
    if not storage and not target:
        what = "either 'storage' or 'target-vmid' must be set"
        raise bad_parameters({"storage": what, "target-vmid": what})
    guest.check_lock(call)
    guest.check_digest(call)
    if target:
        return _reassign(call, guest, name, str(int(target)))
    if guest.running:
        raise Failure(500, "cannot move volumes of a running container")
    call.require(f"/storage/{storage}", ["Datastore.AllocateSpace"])
    if not lxcconfig.is_mount(name):
        raise Failure(500, f"cannot move volume '{name}', only configured volumes can be moved to another storage")
    refuse_missing(guest, name)
    operation = lxcconfig.config_operation(call)
    old = str(guest.config[name])
    volume = volumes.get(call.state, drives.file_of(old), guest.node)
    if guest.snapshots and call.bool("delete"):
        raise Failure(500, "cannot move volume and delete the source: the container has snapshots")

    def work(log: TaskLog) -> None:
        definition = storages.usable(call.state, storage, guest.node)
        if "rootdir" not in storages.contents(definition):
            raise Failure(500, f"content type 'rootdir' is not available or configured on storage '{storage}'")
        format = lxcconfig.volume_format(definition, volume["size"])
        made = volumes.allocate(call.state, storage, guest.node, guest.vmid, volume["size"], call.now, format)
        volumes.change(call.state, made["volid"], guest.node, content="rootdir")
        mount = drives.parse(operation, name, old)
        mount["volume"] = made["volid"]
        guest.config[name] = properties.join(mount, drives.format_of(operation, name))
        if call.bool("delete"):
            volumes.remove(call.state, volume["volid"], guest.node)
        else:
            drives.keep_unused(guest.config, volume["volid"])
        guest.save()

    return call.task("move_volume", guest.vmid, guests.in_task(work), lock="disk", vmid=guest.vmid)


def _reassign(call: Call, guest: Guest, name: str, target: str) -> str:
    call.require(f"/vms/{target}", ["VM.Config.Disk"])
    slot = call.str("target-volume", name)
    other = guests.anywhere(call.state, target)
    if other is None or other.kind != "lxc":
        raise Failure(500, f"could not find target CT {target}")
    if other.node != guest.node:
        raise Failure(500, "Both containers need to be on the same node")
    if name == "rootfs" or name not in guest.config:
        raise Failure(500, f"volume '{name}' for container '{guest.vmid}' cannot be reassigned")
    if slot in other.config:
        raise Failure(500, f"The volume '{slot}' of container '{target}' is already in use")
    operation = lxcconfig.config_operation(call)

    def work(log: TaskLog) -> None:
        text = str(guest.config.pop(name))
        moved = volumes.rename_owner(call.state, drives.file_of(text), guest.node, target)
        if lxcconfig.is_mount(slot):
            mount = {**drives.parse(operation, slot, text), "volume": moved}
            other.config[slot] = properties.join(mount, drives.format_of(operation, slot))
        else:
            other.config[slot] = moved
        guest.save()
        other.save()

    return call.task("move_volume", f"{guest.vmid}-{name}>{target}-{slot}", guests.in_task(work))


@handler("GET", PATH + "/{vmid}/interfaces")
def interfaces(call: Call) -> list[dict[str, Any]] | None:
    guest = guests.load(call, "lxc")
    if not guest.running:
        return None
    found = [{"name": "lo", "hwaddr": "00:00:00:00:00:00", "inet": "127.0.0.1/8"}]
    for one in addresses.of(guest):
        row = {"name": one.name, "hwaddr": one.mac}
        found.append(row | ({"inet": f"{one.address}/{one.prefix}"} if one.address else {}))
    return found

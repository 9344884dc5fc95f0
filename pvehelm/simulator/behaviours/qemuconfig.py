"""Changing the configuration of a VM: what is checked, what waits, what takes effect at once."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from pvehelm.api.schema import Operation
from pvehelm.simulator.behaviours import drives, guests, hotplug, lists, properties, rights, storages, volumes
from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.core import Call, Failure, bad_parameters, handler
from pvehelm.simulator.tasks import TaskLog

PATH = "/nodes/{node}/qemu/{vmid}/config"

# -- checks ----------------------------------------------------------------------------------------------------


def prepare(call: Call, values: dict[str, Any]) -> None:
    """Bring options into the shape that is stored, and refuse what the schema cannot see."""
    operation = drives.operation(call)
    for name in list(values):
        value = values[name]
        if drives.is_drive(name):
            values[name] = drives.tidy(operation, name, str(value))
        elif re.fullmatch(r"net\d+", name):
            net = properties.split(str(value), drives.format_of(operation, name))
            net.setdefault("macaddr", guests.random_mac(call))
            values[name] = properties.join(net, drives.format_of(operation, name))
        elif name == "cpuunits":
            values[name] = min(max(int(value), 2), 262144)
        elif name == "vmgenid" and str(value) == "1":
            values[name] = str(uuid.uuid4())
        elif name == "hookscript":
            check_hookscript(call, str(value), errors=True)
        elif name == "sshkeys":
            check_ssh_keys(unquote(str(value)))


def check_ssh_keys(text: str) -> None:
    """Raises Failure unless every line is an OpenSSH public key or a comment."""
    for line in text.splitlines():
        line = line.strip()
        kinds = (
            r"(ssh-(rsa|dss|ed25519)|ecdsa-sha2-nistp\d+|sk-ssh-ed25519@openssh.com|sk-ecdsa-sha2-nistp256@openssh.com)"
        )
        if line and not line.startswith("#") and not re.search(rf"(^|\s){kinds}\s+[A-Za-z0-9+/]+=*(\s|$)", line):
            raise Failure(500, "SSH public key validation error")


def check_hookscript(call: Call, volid: str, *, errors: bool = False) -> None:
    """Raises Failure unless the script is a snippet that exists."""
    problem = ""
    try:
        storage, name = storages.split_volid(volid)
        parsed = storages.parse_volume(storages.definition(call.state, storage), name)
        if parsed["content"] != "snippets":
            problem = f"'{volid}' is not in the snippets directory"
        elif volumes.find(call.state, volid, call.node) is None:
            problem = f"script '{volid}' does not exist"
    except Failure as failure:
        problem = failure.message
    if problem and errors:
        raise bad_parameters({"hookscript": problem})
    if problem:
        raise Failure(500, problem)


# -- the call --------------------------------------------------------------------------------------------------


@handler("PUT", PATH)
def update(call: Call) -> None:
    change(call)


@handler("POST", PATH)
def update_later(call: Call) -> str | None:
    return change(call, background=True)


def change(call: Call, background: bool = False) -> str | None:
    """The whole of a configuration call; returns a UPID when it works in the background."""
    operation = drives.operation(call)
    values = {name: value for name, value in call.args.items() if name not in guests.CONTROLS}
    guests.check_skiplock(call)
    deleted = call.list("delete")
    reverted = call.list("revert")
    if not values and not deleted and not reverted:
        raise Failure(500, "no options specified")
    if "cdrom" in values:
        values["ide2"] = values.pop("cdrom")
    deleted = ["ide2" if name == "cdrom" else name for name in deleted]
    _check_names(operation, values, deleted, reverted)
    vmid = str(int(call.args["vmid"]))
    prepare(call, values)
    rights.check(call, deleted, {}, vmid, None)
    rights.check(call, values, values, vmid, None)
    rights.check_bridges(call, values)
    for name, text in values.items():
        if drives.is_drive(name):
            drives.check_access(call, drives.parse(operation, name, text), vmid)
    guest = guests.load(call, "qemu")
    guest.check_digest(call)
    if not call.bool("skiplock"):
        guest.check_lock(call)
    _check_balloon(guest, values)
    force = call.bool("force")
    if not background:
        apply(call, guest, values, deleted, reverted, force)
        return None

    def work(log: TaskLog) -> None:
        names = [*values, *(f"delete {name}" for name in deleted)]
        log("update VM " + f"{vmid}: " + " ".join(f"-{name}" for name in names))
        apply(call, guest, values, deleted, reverted, force)

    upid = call.task("qmconfig", vmid, guests.in_task(work))
    # With a delay the answer waits that long, and a task that ends in time is none.
    return upid if not call.args.get("background_delay") or _failed(call, upid) else None


def _failed(call: Call, upid: str) -> bool:
    return str(call.state.collection("tasks")[upid].get("exitstatus")) != "OK"


def _check_names(operation: Operation, values: Mapping[str, Any], deleted: list[str], reverted: list[str]) -> None:
    def refuse(key: str, what: str) -> None:
        raise bad_parameters({key: what})

    for name in reverted:
        if not guests.is_option(operation, name):
            refuse("revert", f"unknown option '{name}'")
        if name in values:
            refuse("delete", f"you can't use '-{name}' and -revert {name}' at the same time")
    for name in deleted:
        if name in values:
            refuse("delete", f"you can't use '-{name}' and -delete {name}' at the same time")
        if name in reverted:
            refuse("revert", f"you can't use '-delete {name}' and '-revert {name}' at the same time")
        if not guests.is_option(operation, name):
            refuse("delete", f"unknown option '{name}'")


def _check_balloon(guest: Guest, values: Mapping[str, Any]) -> None:
    if "memory" not in values and "balloon" not in values:
        return
    now = {**guest.configured(), **values}
    memory = int(str(now.get("memory") or "512").removeprefix("current="))
    balloon = int(now.get("balloon") or 0)
    if balloon > memory:
        raise Failure(500, "balloon value too large (must be smaller than assigned memory)")


# -- the work --------------------------------------------------------------------------------------------------


def apply(
    call: Call,
    guest: Guest,
    values: Mapping[str, Any],
    deleted: Sequence[str],
    reverted: Iterable[str] = (),
    force: bool = False,
) -> None:
    """Make everything pending, then let take effect what can. Raises Failure."""
    config, waiting = guest.config, guest.pending
    for name in reverted:
        _drop_pending(guest, name)
        guest.deleted.pop(name, None)
    order = drives.boot_devices(guest.configured().get("boot"))
    for name in deleted:
        value = guest.configured().get(name)
        if value is None and name not in config:
            continue
        if name in order and "boot" not in deleted:
            order.remove(name)
            waiting["boot"] = drives.print_boot(order)
        if name.startswith("unused"):
            guest.check_protection(f"can't remove unused disk '{value}'")
            _destroy_unused(guest, name)
            continue
        if drives.is_drive(name):
            guest.check_protection(f"can't remove drive '{name}'")
        _drop_pending(guest, name)
        if name in config:
            guest.deleted[name] = int(force)
    try:
        _put(call, guest, values, deleted, order)
    except Failure as failure:
        # What was to be deleted was written down before the first value was looked at, and waits.
        if deleted:
            guest.save()
            failure.keep = True
        raise
    chosen = {*values, *deleted, *waiting}
    if "ostype" in values and "machine" not in chosen and (machine := pinned_machine(call, {**config, **values})):
        waiting["machine"] = machine
    for name in [name for name, value in waiting.items() if config.get(name) == value]:
        del waiting[name]
    if guest.running:
        hotplug.hotplug(call, guest)
    else:
        fresh = [
            name
            for name in waiting
            if drives.is_drive(name) and drives.is_cloudinit({"file": drives.file_of(str(waiting[name]))})
        ]
        hotplug.settle(guest)
        if fresh:
            # The drive is there whether its image can be made or not.
            guest.save()
            drives.check_generator(call, guest.node)
    guest.save()


def _put(call: Call, guest: Guest, values: Mapping[str, Any], deleted: Iterable[str], order: list[str]) -> None:
    """Let every value wait. Raises Failure."""
    operation = drives.operation(call)
    config, waiting = guest.config, guest.pending
    for name in sorted(values):
        value = values[name]
        if waiting.get(name) == value:
            continue
        if drives.is_drive(name):
            if name in waiting and name in values:
                drives.give_up(guest.state, guest.vmid, guest.node, config, str(waiting.pop(name)))
            if name in ("efidisk0", "tpmstate0") and str(value) == "none":
                continue
            known = {**guest.configured(), **values}
            drive = drives.parse(operation, name, str(value))
            others = {k: v for k, v in known.items() if k not in values or k < name}
            stored = drives.realise(
                call, operation, guest.vmid, guest.node, name, str(value), {**others, "template": guest.template}
            )
            waiting[name] = stored
            if order and drives.is_cdrom(drive, real=True) and name not in order:
                # Whatever the call says of the order itself is lost.
                order.append(name)
                waiting["boot"] = drives.print_boot(order)
        elif name == "tags":
            waiting[name] = guests.store_tags(guest.state, str(value))
        elif name == "description":
            text = guests.store_description("qemu", str(value))
            if text is None:
                waiting.pop(name, None)
                if name in config:
                    guest.deleted[name] = 0
                continue
            waiting[name] = text
        elif name == "boot":
            _check_boot(guest, values, deleted, str(value))
            waiting[name] = properties.typed(operation, name, value)
        else:
            waiting[name] = properties.typed(operation, name, value)
        guest.deleted.pop(name, None)


def pinned_machine(call: Call, config: Mapping[str, Any]) -> str | None:
    """The machine of a Windows guest with the version that the node has; None where it is not pinned."""
    if not re.match(r"w(?:in\d|xp|2k|vista)", str(config.get("ostype") or "")):
        return None
    kind, *rest = str(config.get("machine") or "pc").removeprefix("type=").split(",")
    if kind not in ("pc", "q35"):
        return None
    version = lists.qemu_version(call).rpartition(".")[0]
    return ",".join([f"pc-{'i440fx' if kind == 'pc' else kind}-{version}", *rest])


def _check_boot(guest: Guest, values: Mapping[str, Any], deleted: Iterable[str], boot: str) -> None:
    known = {*guest.config, *guest.pending, *values} - set(deleted)
    for device in drives.boot_devices(boot):
        if device not in known:
            raise Failure(500, f"invalid bootorder: device '{device}' does not exist'")


def _drop_pending(guest: Guest, name: str) -> None:
    value = guest.pending.pop(name, None)
    if value is not None and drives.is_drive(name):
        drives.give_up(guest.state, guest.vmid, guest.node, guest.config, str(value))


def _destroy_unused(guest: Guest, name: str) -> None:
    volid = drives.file_of(str(guest.config.pop(name, "")))
    used = any(
        drives.file_of(str(value)) == volid
        for config in (guest.configured(), *guest.snapshots.values())
        for key, value in config.items()
        if drives.is_drive(key)
    )
    if volid and not used and drives.owned(guest.state, guest.vmid, guest.node, volid):
        volumes.remove(guest.state, volid, guest.node)

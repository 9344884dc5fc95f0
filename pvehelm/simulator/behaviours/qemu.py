"""Virtual machines: create, template, delete."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from pvehelm.simulator.behaviours import drives, guests, lists, power, properties, qemuconfig, restore, rights, volumes
from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.core import Call, Failure, handler
from pvehelm.simulator.tasks import TaskLog

PATH = "/nodes/{node}/qemu"
# What a creation takes besides the options of a VM.
CREATION = frozenset(
    (
        *("archive", "bwlimit", "force", "ha-managed", "import-working-storage", "live-restore", "pool", "start"),
        *("storage", "unique"),
    )
)


@handler("POST", PATH)
def create(call: Call) -> str:
    vmid, pool = str(call.int("vmid")), call.args.get("pool")
    if pool and not call.may(f"/vms/{vmid}", "VM.Allocate") and not call.may(f"/pool/{pool}", "VM.Allocate"):
        guests.check_pool(call, pool)
    guests.check_pool(call, pool)
    allowed = call.may(f"/vms/{vmid}", "VM.Allocate") or (pool and call.may(f"/pool/{pool}", "VM.Allocate"))
    if not allowed:
        raise Failure(403, "Permission check failed")
    if call.args.get("archive"):
        return restore.start(call, "qemu", vmid)
    values = {name: value for name, value in call.args.items() if name not in CREATION and name not in guests.CONTROLS}
    if "cdrom" in values:
        values["ide2"] = values.pop("cdrom")
    storage = call.str("storage")
    operation = drives.operation(call)
    qemuconfig.prepare(call, values)
    for name in sorted(values):
        if drives.is_drive(name):
            drives.check_access(call, drives.parse(operation, name, str(values[name])), vmid, storage)
    rights.check(call, values, values, vmid, pool)
    rights.check_bridges(call, values)
    guests.refuse_taken(call, vmid, f"unable to create VM {vmid} - ")
    return creation(call, vmid, pool, lambda: make(call, vmid, values, storage))


def creation(call: Call, vmid: str, pool: str | None, make: Callable[[], Guest]) -> str:
    """The task in which a guest of either kind is made, joins its pool and HA, and is started."""
    kind = call.guest_kind

    def work(log: TaskLog) -> None:
        try:
            guest = make()
        except Failure as failure:
            raise Failure(500, f"unable to create {guests.LABEL[kind]} {vmid} - {failure.message}") from None
        guests.join_pool(call, pool, vmid)
        if call.bool("ha-managed"):
            service, state = guests.SERVICE[kind], "started" if call.bool("start") else "stopped"
            call.state.collection("ha_resources")[f"{service}:{vmid}"] = {"type": service, "state": state}
        if call.bool("start"):
            power.start_soon(call, guest)

    return call.task(f"{guests.TASKS[kind]}create", vmid, guests.in_task(work), lock="create", vmid=vmid)


def make(call: Call, vmid: str, values: Mapping[str, Any], storage: str) -> Guest:
    """A new VM with its disks. Raises Failure."""
    operation = drives.operation(call)
    config: dict[str, Any] = {}
    for name in sorted(values):
        value = values[name]
        if drives.is_drive(name):
            if name in ("efidisk0", "tpmstate0") and str(value) == "none":
                continue
            config[name] = drives.realise(call, operation, vmid, call.node, name, str(value), config, storage)
        elif name == "tags":
            config[name] = guests.store_tags(call.state, str(value))
        elif name == "description":
            text = guests.store_description("qemu", str(value))
            if text is not None:
                config[name] = text
        else:
            config[name] = properties.typed(operation, name, value)
    if "boot" not in config:
        config["boot"] = drives.default_boot(operation, config)
    smbios = str(config.get("smbios1") or "")
    if "uuid=" not in smbios:
        config["smbios1"] = ",".join(filter(None, [f"uuid={uuid.uuid4()}", smbios]))
    config.setdefault("vmgenid", str(uuid.uuid4()))
    config.setdefault("meta", f"creation-qemu={lists.qemu_version(call)},ctime={int(call.now)}")
    if machine := qemuconfig.pinned_machine(call, config):
        config["machine"] = machine
    guest = Guest(call.state, "qemu", vmid, {"node": call.node, "status": "stopped", "config": config})
    guest.doc.update({"pending": {}, "delete": {}, "snapshots": {}, "firewall": {}})
    guest.save()
    return guest


@handler("POST", PATH + "/{vmid}/template")
def to_template(call: Call) -> str:
    guest = guests.load(call, "qemu", plain=True)
    guest.check_lock(call)
    if guest.snapshots:
        raise Failure(500, "unable to create template, because VM contains snapshots")
    disk = call.args.get("disk")
    if guest.template and not disk:
        raise Failure(500, "you can't convert a template to a template")
    if guest.running:
        raise Failure(500, "you can't convert a VM to template if VM is running")
    if disk and disk not in guest.config:
        raise Failure(500, f"disk '{disk}' does not exist")

    def work(log: TaskLog) -> None:
        guest.config["template"] = 1
        operation = drives.operation(call)
        for name in sorted(n for n in guest.config if drives.is_drive(n) and (not disk or n == disk)):
            drive = drives.parse(operation, name, guest.config[name])
            if drives.is_cdrom(drive) or drive["file"] == "none":
                continue
            if not lists.volume_can(call, drive["file"], guest.node, "template"):
                raise Failure(500, f"volume '{drive['file']}' does not support template/clone")
            drive["file"] = volumes.rename_owner(call.state, drive["file"], guest.node, guest.vmid, base=True)
            guest.config[name] = drives.show(operation, name, drive)
        guest.save()

    return call.task("qmtemplate", guest.vmid, guests.in_task(work))


@handler("DELETE", PATH + "/{vmid}")
def delete(call: Call) -> str:
    guest = guests.load(call, "qemu")
    guests.check_skiplock(call)
    guest.check_protection(f"can't remove VM {guest.vmid}")
    guests.check_unused(call, guest, "VM")
    if guest.running:
        raise Failure(500, f"VM {guest.vmid} is running - destroy failed")

    def work(log: TaskLog) -> None:
        if not (call.bool("skiplock") or guest.lock(call.now) == "suspended"):
            guest.check_lock(call)
        destroy(call, guest)

    return call.task("qmdestroy", guest.vmid, guests.in_task(work))


def destroy(call: Call, guest: Guest) -> None:
    """Remove a guest with its disks; volumes of it that it does not name stay unless asked for."""
    named = {
        drives.file_of(str(value))
        for config in (guest.config, guest.pending, *guest.snapshots.values())
        for key, value in config.items()
        if isinstance(value, str) and ":" in value
    }
    doomed = [
        volume["volid"]
        for volume in volumes.of_guest(call.state, guest.vmid, guest.node)
        if volume["volid"] in named or call.bool("destroy-unreferenced-disks")
    ]
    # Clones of the guest's own base volumes go before them.
    for volid in sorted(doomed, key=lambda v: "/base-" not in v.partition(":")[2], reverse=True):
        volumes.remove(call.state, volid, guest.node)
    guests.forget(call, guest, call.bool("purge"))

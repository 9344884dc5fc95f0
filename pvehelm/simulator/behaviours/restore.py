"""Guests made from backups."""

from __future__ import annotations

import uuid
from typing import Any

from pvehelm.simulator.behaviours import drives, guests, lxcconfig, power, properties, storages, volumes
from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.core import Call, Failure, handler
from pvehelm.simulator.tasks import TaskLog


def start(call: Call, kind: str, vmid: str) -> str:
    """A task that makes a guest out of a backup volume."""
    archive = call.str("archive" if kind == "qemu" else "ostemplate")
    if ":" in archive:
        drives.check_volume(call, archive, vmid)
    old = guests.anywhere(call.state, vmid)
    if old is not None:
        if not call.bool("force"):
            raise Failure(
                500, f"unable to restore {guests.LABEL[kind]} {vmid} - {old.label} already exists on node '{old.node}'"
            )
        old.check_protection(f"unable to restore {old.label}")
        if old.running:
            raise Failure(500, f"unable to restore {guests.LABEL[kind]} {vmid} - {old.label} is running")
        if old.kind != kind or old.node != call.node:
            raise Failure(
                500, f"unable to restore {guests.LABEL[kind]} {vmid} - {old.label} already exists on node '{old.node}'"
            )
    pool = call.args.get("pool")

    def work(log: TaskLog) -> None:
        volume = volumes.get(call.state, archive, call.node) if ":" in archive else None
        saved = (volume or {}).get("guest")
        if saved is None or saved["kind"] != kind:
            raise Failure(500, f"unable to restore {guests.LABEL[kind]} {vmid} - '{archive}' is no backup of one")
        if old is not None:
            for owned in volumes.of_guest(call.state, vmid, call.node):
                volumes.remove(call.state, owned["volid"], call.node)
        guest = _make(call, kind, vmid, dict(saved["config"]))
        guests.join_pool(call, pool, vmid)
        if call.bool("start"):
            power.start_soon(call, guest)

    return call.task(f"{guests.TASKS[kind]}restore", vmid, guests.in_task(work), lock="create", vmid=vmid)


def _make(call: Call, kind: str, vmid: str, config: dict[str, Any]) -> Guest:
    operation = drives.operation(call) if kind == "qemu" else lxcconfig.config_operation(call)
    slot = "file" if kind == "qemu" else "volume"
    for name in sorted(config):
        if not (drives.is_drive(name) if kind == "qemu" else lxcconfig.is_mount(name)):
            continue
        disk = drives.parse(operation, name, str(config[name]))
        volid = disk.get(slot, "")
        if ":" not in volid or (disk.get("media") == "cdrom" and "cloudinit" not in volid):
            continue
        storage = call.str("storage") or volid.partition(":")[0]
        if kind == "qemu" and drives.is_cloudinit(disk):
            disk[slot] = drives.cloudinit_volume(call, vmid, call.node, storage)
        else:
            definition = storages.usable(call.state, storage, call.node)
            size = properties.parse_size(disk.get("size", "1G"))
            format = "" if kind == "qemu" else lxcconfig.volume_format(definition, size)
            disk[slot] = volumes.allocate(call.state, storage, call.node, vmid, size, call.now, format)["volid"]
        config[name] = properties.join(disk, drives.format_of(operation, name), skip=("format", "import-from"))
    for name in [n for n in config if n.startswith("unused") or n in ("lock", "parent", "template")]:
        del config[name]
    if call.bool("unique"):
        for name in [n for n in config if n.startswith("net")]:
            fmt = drives.format_of(operation, name)
            net = properties.split(str(config[name]), fmt)
            net["macaddr" if kind == "qemu" else "hwaddr"] = guests.random_mac(call)
            config[name] = properties.join(net, fmt)
        if kind == "qemu":
            config["smbios1"] = f"uuid={uuid.uuid4()}"
    if kind == "qemu" and "vmgenid" in config:
        config["vmgenid"] = str(uuid.uuid4())
    doc = {"node": call.node, "status": "stopped", "config": config, "pending": {}, "delete": {}}
    guest = Guest(call.state, kind, vmid, {**doc, "snapshots": {}, "firewall": {}})
    guest.save()
    return guest


@handler("GET", "/nodes/{node}/vzdump/extractconfig")
def extract(call: Call) -> str:
    volume = volumes.get(call.state, call.str("volume"), call.node)
    saved = volume.get("guest")
    if saved is None:
        raise Failure(500, f"'{call.str('volume')}' is no backup of a guest")
    return "".join(f"{key}: {value}\n" for key, value in sorted(saved["config"].items()))

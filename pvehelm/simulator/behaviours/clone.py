"""Clones of both kinds: full copies and linked ones, on this node or, through shared storage, on another."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from pvehelm.simulator.behaviours import (
    drives,
    firewall,
    guests,
    lists,
    lxcconfig,
    properties,
    storages,
    volumes,
)
from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.core import Call, Failure, handler, of_guests
from pvehelm.simulator.tasks import TaskLog

_NOT_COPIED = frozenset({"parent", "snaptime", "vmstate", "runningmachine", "runningcpu", "lock", "template", "digest"})


@handler("POST", *of_guests("/clone"))
def clone(call: Call) -> str:
    kind = call.guest_kind
    newid, storage, pool = str(call.int("newid")), call.str("storage"), call.args.get("pool")
    guests.check_pool(call, pool)
    target = _target(call)
    if storage:
        _check_storage(call, storage, target)
    guest = guests.load(call, kind, plain=True)
    guest.check_lock(call)
    name = call.args.get("snapname")
    if name and name not in guest.snapshots:
        raise Failure(500, f"snapshot '{name}' does not exist")
    full = call.bool("full", default=not guest.template)
    for option in ("storage", "format"):
        if call.args.get(option) and not full:
            raise Failure(500, f"parameter '{option}' not allowed for linked clones")
    source: Mapping[str, Any] = guest.snapshots[name] if name else guest.config
    local = _check_volumes(call, guest, source, storage)
    if target != guest.node and local:
        raise Failure(
            500, f"can't clone {guests.LABEL[kind]} to node '{target}' ({guests.LABEL[kind]} uses local storage)"
        )
    if kind == "qemu":
        if guests.anywhere(call.state, newid) is not None:
            raise Failure(500, f"unable to create VM {newid}: config file already exists")
    else:
        guests.refuse_taken(call, newid)
        if full and guest.running and not name:
            raise Failure(500, "Full clone of a running container is only possible from a snapshot")
    _check_features(call, guest, source, full, name)

    def work(log: TaskLog) -> None:
        config = _copy(call, guest, source, newid, full)
        doc = {"node": target, "status": "stopped", "config": config, "pending": {}, "delete": {}, "snapshots": {}}
        Guest(call.state, kind, newid, {**doc, "firewall": {}}).save()
        firewall.copy(call.state, guest.vmid, newid)
        guests.join_pool(call, pool, newid)
        log(f"create {'full' if full else 'linked'} clone of {guest.label} as {newid}")

    return call.task(f"{guests.TASKS[kind]}clone", guest.vmid, guests.in_task(work), lock="clone", vmid=newid)


def _target(call: Call) -> str:
    """The node that the clone belongs to."""
    target = call.str("target")
    if not target or target in (call.node, "localhost"):
        return call.node
    if target not in call.state.collection("nodes"):
        raise Failure(500, f"no such cluster node '{target}'")
    return target


def _check_storage(call: Call, storage: str, target: str) -> None:
    definition = storages.usable(call.state, storage, call.node)
    if call.guest_kind == "qemu":
        storages.check_content(definition, storage, "images")
    if target != call.node:
        storages.usable(call.state, storage, target)
        if not storages.shared(definition):
            raise Failure(500, f"can't clone to non-shared storage '{storage}'")


def _disks(kind: str, config: Mapping[str, Any]) -> dict[str, str]:
    """The drives or mount points of a configuration."""
    return {
        key: str(value)
        for key, value in config.items()
        if (drives.is_drive(key) if kind == "qemu" else lxcconfig.is_mount(key))
    }


def _check_volumes(call: Call, guest: Guest, source: Mapping[str, Any], storage: str) -> bool:
    """Rights on the storages; whether any volume lies on a local one."""
    local = False
    for text in _disks(guest.kind, source).values():
        volid = drives.file_of(text)
        if ":" not in volid or volid.startswith("/"):
            local = local or volid.startswith("/") or volid == "cdrom"
            continue
        on = volid.partition(":")[0]
        local = local or not storages.shared(storages.definition(call.state, on))
        if "media=cdrom" not in text or "cloudinit" in volid:
            call.require(f"/storage/{storage or on}", ["Datastore.AllocateSpace"])
    return local


def _check_features(call: Call, guest: Guest, source: Mapping[str, Any], full: bool, snapshot: str | None) -> None:
    for key, text in sorted(_disks(guest.kind, source).items()):
        volid = drives.file_of(text)
        if ":" not in volid or volid.startswith("/") or "media=cdrom" in text:
            if guest.kind == "lxc" and volid.startswith("/"):
                raise Failure(500, "unable to clone mountpoint '" + key + "' (type bind)")
            continue
        feature = "copy" if full else "clone"
        able = lists.volume_can(call, volid, guest.node, feature, "snap" if snapshot else "")
        if able and guest.kind == "lxc" and not full:
            # A linked clone of a file would be a qcow2 image, which a container cannot use.
            found = volumes.get(call.state, volid, guest.node)
            able = not (
                storages.has_files(storages.definition(call.state, found["storage"])) and found["format"] == "raw"
            )
        if able:
            continue
        if guest.kind == "lxc":
            raise Failure(500, f"{'Full' if full else 'Linked'} clone feature for '{volid}' is not available")
        raise Failure(500, f"{'Full' if full else 'Linked'} clone feature is not supported for '{volid}' ({key})")


def _copy(call: Call, guest: Guest, source: Mapping[str, Any], newid: str, full: bool) -> dict[str, Any]:
    """The configuration of the clone, its volumes made."""
    config: dict[str, Any] = {}
    disks = _disks(guest.kind, source)
    for key in sorted(source, key=lambda name: (name != "rootfs", name)):
        value = source[key]
        if key in _NOT_COPIED or re.fullmatch(r"unused\d+", key):
            continue
        if re.fullmatch(r"net\d+", key):
            config[key] = _new_mac(call, guest.kind, key, str(value))
        elif key in disks:
            config[key] = _copy_disk(call, guest, newid, key, str(value), full)
        else:
            config[key] = value
    if "smbios1" in config:
        config["smbios1"] = re.sub(r"uuid=[0-9a-fA-F-]+", f"uuid={uuid.uuid4()}", str(config["smbios1"]))
    if "vmgenid" in config:
        config["vmgenid"] = str(uuid.uuid4())
    if guest.kind == "qemu":
        config["name"] = call.str("name") or f"Copy-of-VM-{source.get('name') or guest.vmid}"
        config["meta"] = re.sub(r"ctime=\d+", f"ctime={int(call.now)}", str(config.get("meta", "")))
    elif call.str("hostname"):
        config["hostname"] = call.str("hostname")
    text = guests.store_description(guest.kind, call.str("description"))
    if text is not None:
        config["description"] = text
    return config


def _new_mac(call: Call, kind: str, key: str, text: str) -> str:
    operation = drives.operation(call) if kind == "qemu" else lxcconfig.config_operation(call)
    fmt = drives.format_of(operation, key)
    net = properties.split(text, fmt)
    net["macaddr" if kind == "qemu" else "hwaddr"] = guests.random_mac(call)
    return properties.join(net, fmt)


def _copy_disk(call: Call, guest: Guest, newid: str, key: str, text: str, full: bool) -> str:
    operation = drives.operation(call) if guest.kind == "qemu" else lxcconfig.config_operation(call)
    disk = drives.parse(operation, key, text)
    slot = "file" if guest.kind == "qemu" else "volume"
    volid = disk.get(slot, "")
    if ":" not in volid or volid.startswith("/"):
        return text
    storage = call.str("storage") or volid.partition(":")[0]
    if guest.kind == "qemu" and drives.is_cloudinit(disk):
        disk[slot] = drives.cloudinit_volume(call, newid, guest.node, storage)
        disk["size"] = properties.print_size(drives.CLOUDINIT_SIZE)
        return drives.show(operation, key, disk)
    if "media=cdrom" in text:
        return text
    volume = volumes.get(call.state, volid, guest.node)
    if full:
        definition = storages.definition(call.state, storage)
        format = call.str("format")
        if not format and volume["format"] in storages.formats(definition):
            format = volume["format"]
        if guest.kind == "lxc":
            if "rootdir" not in storages.contents(definition):
                text = f"content type 'rootdir' is not available or configured on storage '{storage}'"
                raise Failure(500, f"clone failed: {text}")
            format = lxcconfig.volume_format(definition, volume["size"])
        made = volumes.allocate(call.state, storage, guest.node, newid, volume["size"], call.now, format)
        disk[slot] = made["volid"]
        if guest.kind == "lxc":
            volumes.change(call.state, made["volid"], guest.node, content="rootdir")
    else:
        disk[slot] = volumes.linked_clone(call.state, volid, guest.node, newid, call.now)
    disk["size"] = properties.print_size(volume["size"])
    return drives.show(operation, key, disk)

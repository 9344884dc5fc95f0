"""Guests as lists and status calls show them, and what their volumes can do."""

from __future__ import annotations

import re
from typing import Any

from pvehelm.simulator.behaviours import drives, guests, properties, storages, volumes
from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.core import Call, Failure, handler, of_guests

MIB = 1 << 20


@handler("GET", "/nodes/{node}/qemu", "/nodes/{node}/lxc")
def of_node(call: Call) -> list[dict[str, Any]]:
    """What the caller may see."""
    return [
        row(call, guest)
        for guest in guests.all_guests(call, call.guest_kind)
        if guest.node == call.node and call.may(f"/vms/{guest.vmid}", "VM.Audit")
    ]


def row(call: Call, guest: Guest) -> dict[str, Any]:
    """One guest in the list of its node."""
    config = guest.config
    running = guest.running
    memory = memory_of(guest)
    found: dict[str, Any] = {
        "vmid": int(guest.vmid),
        "name": guest.name,
        "status": "running" if running else "stopped",
        "cpus": cpus_of(call, guest),
        "maxmem": memory,
        "maxdisk": disk_of(call, guest),
        "mem": memory // 4 if running else 0,
        "cpu": 0.01 if running else 0,
        "disk": 0,
        "uptime": int(call.now - guest.doc.get("started", call.now)) if running else 0,
        "netin": 0,
        "netout": 0,
        "diskread": 0,
        "diskwrite": 0,
    }
    if guest.kind == "lxc":
        found.update({"type": "lxc", "swap": 0, "maxswap": int(config.get("swap", 512)) * MIB})
    else:
        found["memhost"] = memory // 3 if running else 0
        if int(config.get("balloon") or 0):
            found["balloon_min"] = int(config["balloon"]) * MIB
            found["shares"] = int(config.get("shares", 1000))
        if any(re.fullmatch(r"serial\d", name) for name in config):
            found["serial"] = 1
    if str(config.get("tags", "")).strip():
        found["tags"] = config["tags"]
    if guest.template:
        found["template"] = 1
    lock = guest.lock(call.now)
    if lock:
        found["lock"] = lock
    if running:
        found["pid"] = 100000 + int(guest.vmid)
    return found


@handler("GET", *of_guests("/status/current"))
def current(call: Call) -> dict[str, Any]:
    guest = guests.load(call, call.guest_kind, plain=True)
    found = row(call, guest)
    service = call.state.collection("ha_resources").get(f"{guests.SERVICE[guest.kind]}:{guest.vmid}")
    found["ha"] = {"managed": 1, "state": service.get("state", "started")} if service else {"managed": 0}
    if guest.kind == "qemu":
        found["qmpstatus"] = guest.doc.get("status", "stopped")
        if str(guest.config.get("agent", "0")).split(",")[0].removeprefix("enabled=") == "1":
            found["agent"] = 1
        if guest.running:
            found["running-qemu"] = qemu_version(call)
            found["running-machine"] = f"pc-i440fx-{qemu_version(call).rpartition('.')[0]}+pve0"
        vga = str(guest.config.get("vga") or "")
        keys = properties.split(vga, drives.format_of(drives.operation(call), "vga")) if vga else {}
        if re.match(r"virtio|qxl", keys.get("type", "")):
            found["spice"] = 1
        if vga:
            found["clipboard"] = keys.get("clipboard")
    return found


def qemu_version(call: Call) -> str:
    """The QEMU that the call's node has."""
    return str((call.state.collection("nodes").get(call.node) or {}).get("qemu", "10.0.2"))


def memory_of(guest: Guest) -> int:
    """Bytes of memory."""
    text = str(guest.config.get("memory") or "512")
    return int(text.partition(",")[0].removeprefix("current=")) * MIB


def cpus_of(call: Call, guest: Guest) -> int:
    config = guest.config
    if guest.kind == "lxc":
        return int(config.get("cores") or _host_cpus(call, guest.node))
    wanted = int(config.get("sockets", 1)) * int(config.get("cores", 1))
    return int(config.get("vcpus") or min(wanted, _host_cpus(call, guest.node)))


def _host_cpus(call: Call, node: str) -> int:
    return int((call.state.collection("nodes").get(node) or {}).get("cpus", 2))


def disk_of(call: Call, guest: Guest) -> int:
    """Bytes of the first disk."""
    if guest.kind == "lxc":
        return size_of(str(guest.config.get("rootfs", "")))
    names = [
        name
        for name in guest.config
        if drives.is_drive(name)
        and not name.startswith(("efidisk", "tpmstate"))
        and "media=cdrom" not in guest.config[name]
    ]
    return size_of(guest.config[min(names, key=drives.bus_order)]) if names else 0


def size_of(text: str) -> int:
    """Bytes that a stored disk names, else 0."""
    size = next((part[5:] for part in text.split(",") if part.startswith("size=")), "")
    return properties.parse_size(size) if size else 0


# -- features ----------------------------------------------------------------------------------------------------


def volume_can(call: Call, volid: str, node: str, feature: str, state: str = "") -> bool:
    """Whether a volume has a feature in its state (base or current unless said)."""
    found = volumes.find(call.state, volid, node)
    if found is None:
        return False
    storage, name = storages.split_volid(volid)
    definition = storages.definition(call.state, storage)
    is_base = bool(storages.parse_volume(definition, name)["base"])
    return storages.can(definition, feature, found[1]["format"], state or ("base" if is_base else "current"))


def guest_volumes(call: Call, guest: Guest) -> dict[str, str]:
    """The volumes that count for snapshots and clones: {drive or mount point: volid}."""
    found: dict[str, str] = {}
    for name, value in guest.config.items():
        if guest.kind == "qemu":
            if drives.is_drive(name):
                drive = drives.parse(drives.operation(call), name, value)
                if not drives.is_cdrom(drive) and ":" in drive["file"]:
                    found[name] = drive["file"]
        elif name == "rootfs" or (name.startswith("mp") and name[2:].isdigit()):
            volid = drives.file_of(str(value))
            if ":" in volid:
                found[name] = volid
    return found


@handler("GET", *of_guests("/feature"))
def feature(call: Call) -> dict[str, Any]:
    guest = guests.load(call, call.guest_kind, plain=True)
    wanted = call.str("feature")
    snapshot = call.args.get("snapname")
    if snapshot and snapshot not in guest.snapshots:
        raise Failure(500, f"snapshot '{snapshot}' does not exist")
    state = "snap" if snapshot else ""
    owned = guest_volumes(call, guest)
    has = all(volume_can(call, volid, guest.node, wanted, state) for volid in owned.values())
    answer: dict[str, Any] = {"hasFeature": int(has)}
    if guest.kind == "qemu":
        answer["nodes"] = nodes_of(call, guest) if owned else [guest.node]
    return answer


def nodes_of(call: Call, guest: Guest) -> list[str]:
    """The nodes that see every volume of a guest."""
    found = list(call.state.collection("nodes"))
    for volid in guest_volumes(call, guest).values():
        definition = storages.definition(call.state, volid.partition(":")[0])
        if not storages.shared(definition):
            return [guest.node]
        found = [node for node in found if storages.on_node(definition, node)]
    return found

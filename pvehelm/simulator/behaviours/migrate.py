"""Moving guests to another node."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator.behaviours import drives, guests, lists, storages, volumes
from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.core import Call, Failure, bad_parameters, handler, of_guests
from pvehelm.simulator.tasks import TaskLog

VM, CT = of_guests("/migrate")


@handler("GET", VM)
def preconditions(call: Call) -> dict[str, Any]:
    guest = guests.load(call, "qemu", plain=True)
    guest.check_lock(call)
    nodes = [node for node in call.state.collection("nodes") if node != guest.node]
    local = _local(call, guest)
    answer: dict[str, Any] = {
        "running": int(guest.running),
        "local_disks": [
            {"volid": volid, "drivename": name, "size": volumes.get(call.state, volid, guest.node)["size"], "cdrom": 0}
            for name, volid in local.items()
        ],
        "local_resources": [],
        "mapped-resources": [],
        "mapped-resource-info": {},
        "has-dbus-vmstate": 0,
    }
    if not guest.running:
        answer["allowed_nodes"] = nodes
        answer["not_allowed_nodes"] = {}
    return answer


@handler("GET", CT)
def ct_preconditions(call: Call) -> dict[str, Any]:
    guest = guests.load(call, "lxc", plain=True)
    nodes = [node for node in call.state.collection("nodes") if node != guest.node]
    return {"running": int(guest.running), "allowed-nodes": nodes, "not-allowed-nodes": {}}


def _local(call: Call, guest: Guest) -> dict[str, str]:
    """Volumes that only the guest's node sees."""
    found: dict[str, str] = {}
    for name, value in guest.config.items():
        volid = drives.file_of(str(value))
        if ":" not in volid or volid.startswith("/") or not isinstance(value, str):
            continue
        if not (drives.is_drive(name) or name == "rootfs" or name.rstrip("0123456789") in ("mp", "unused")):
            continue
        hit = volumes.find(call.state, volid, guest.node)
        if hit is not None and hit[1].get("node") is not None:
            found[name] = volid
    return found


@handler("POST", VM, CT)
def migrate(call: Call) -> str:
    kind, target = call.guest_kind, call.str("target")
    if target not in call.state.collection("nodes"):
        raise Failure(500, f"no such cluster node '{target}'")
    if target == call.node:
        raise bad_parameters({"target": "target is local node."})
    if (call.bool("force") or call.args.get("migration_type")) and not call.is_root:
        raise bad_parameters({"force": "Only root may use this option."})
    guest = guests.load(call, kind)
    guest.check_lock(call)
    live = call.bool("online") or (kind == "lxc" and call.bool("restart"))
    if guest.running and not live:
        text = (
            "can't migrate running VM without --online"
            if kind == "qemu"
            else "can't migrate running container without --online or --restart"
        )
        raise Failure(500, text)
    service = f"{guests.SERVICE[kind]}:{guest.vmid}"
    managed = service in call.state.collection("ha_resources")

    def work(log: TaskLog) -> None:
        move(call, guest, target)

    verb = "hamigrate" if managed else ("qmigrate" if kind == "qemu" else "vzmigrate")
    return call.task(verb, guest.vmid, guests.in_task(work), lock="migrate", vmid=guest.vmid)


def move(call: Call, guest: Guest, target: str) -> None:
    """Take a guest and its local disks to another node. Raises Failure."""
    local = _local(call, guest)
    if local and guest.running and guest.kind == "qemu" and not call.bool("with-local-disks"):
        name, volid = next(iter(local.items()))
        raise Failure(500, f"can't migrate local disk '{volid}' ({name}): live migration needs 'with-local-disks'")
    for volid in lists.guest_volumes(call, guest).values():
        storages.usable(call.state, volid.partition(":")[0], target)
    for name, volid in local.items():
        if "media=cdrom" in str(guest.config[name]) and "cloudinit" not in volid:
            raise Failure(500, f"can't migrate local cdrom '{volid}' ({name})")
        if any(v.get("parent") == volid for v in call.state.collection("volumes").values()):
            raise Failure(500, f"can't migrate '{volid}': it is the base of linked clones")
        if volumes.get(call.state, volid, guest.node).get("parent"):
            raise Failure(500, f"can't migrate '{volid}': linked clones on local storage cannot be migrated")
        volumes.move_node(call.state, volid, guest.node, target)
    guest.doc["node"] = target
    guest.save()

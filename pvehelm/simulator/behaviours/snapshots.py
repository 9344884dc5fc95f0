"""Snapshots of both kinds: take, list, describe, roll back, delete."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

from pvehelm.simulator.behaviours import guests, lists, power, volumes
from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.core import Call, Failure, handler, of_guests
from pvehelm.simulator.tasks import TaskLog

_LIST = of_guests("/snapshot")
_ITEM = of_guests("/snapshot/{snapname}")
_CONFIG = of_guests("/snapshot/{snapname}/config")
_RESERVED = {"qemu": ("current", "pending"), "lxc": ("current", "vzdump")}
# What a snapshot has besides a configuration, and what it does not keep of one.
_OWN = frozenset({"snaptime", "vmstate", "runningmachine", "runningcpu", "description", "parent"})
_LEFT_OUT = frozenset({"lock", "description"})


def _snapshot(guest: Guest, name: str) -> dict[str, Any]:
    found = guest.snapshots.get(name)
    if found is None:
        raise Failure(500, f"snapshot '{name}' does not exist")
    return found


def _task(call: Call, verb: str, lock: str, work: Callable[[TaskLog], None]) -> str:
    vmid = str(call.int("vmid"))
    return call.task(guests.TASKS[call.guest_kind] + verb, vmid, guests.in_task(work), lock=lock, vmid=vmid)


@handler("GET", *_LIST)
def listed(call: Call) -> list[dict[str, Any]]:
    guest = guests.load(call, call.guest_kind)
    rows: list[dict[str, Any]] = []
    for name, found in guest.snapshots.items():
        row = {"name": name, "snaptime": found.get("snaptime", 0), "description": found.get("description", "")}
        if guest.kind == "qemu":
            row["vmstate"] = 1 if found.get("vmstate") else 0
        rows.append({**row, **({"parent": found["parent"]} if found.get("parent") else {})})
    now: dict[str, Any] = {
        "name": "current",
        "description": "You are here!",
        "running": int(guest.running),
        "digest": guest.digest(call),
    }
    if guest.config.get("parent"):
        now["parent"] = guest.config["parent"]
    return [*rows, now]


@handler("POST", *_LIST)
def take(call: Call) -> str:
    name = call.str("snapname")
    if name in _RESERVED[call.guest_kind]:
        raise Failure(500, f"unable to use snapshot name '{name}' (reserved name)")
    if call.guest_kind == "qemu":
        guests.load(call, "qemu", plain=True)

    def work(log: TaskLog) -> None:
        guest = guests.load(call, call.guest_kind)
        if guest.template:
            raise Failure(500, "you can't take a snapshot if it's a template")
        guest.check_lock(call)
        if name in guest.snapshots:
            raise Failure(500, f"snapshot name '{name}' already used")
        for volid in lists.guest_volumes(call, guest).values():
            if not lists.volume_can(call, volid, guest.node, "snapshot"):
                raise Failure(500, "snapshot feature is not available")
        taken = {k: v for k, v in guest.config.items() if k not in _LEFT_OUT and not k.startswith("unused")}
        taken["snaptime"] = int(call.now)
        text = guests.store_description(guest.kind, call.str("description"))
        if text is not None:
            taken["description"] = text
        if call.bool("vmstate") and guest.running and guest.kind == "qemu":
            taken["vmstate"] = _state_volume(call, guest, name)
        guest.snapshots[name] = taken
        guest.doc.setdefault("snapshot-disks", {})[name] = _disks(call, guest)
        guest.config["parent"] = name
        guest.save()

    return _task(call, "snapshot", "snapshot", work)


def _disks(call: Call, guest: Guest) -> dict[str, Any]:
    """What is on the disks, as far as a simulated guest has anything there, and how large they are."""
    volids = lists.guest_volumes(call, guest).values()
    sizes = {volid: volumes.get(call.state, volid, guest.node)["size"] for volid in volids}
    return {"files": dict(guest.doc.get("files", {})), "sizes": sizes}


def _put_back(call: Call, guest: Guest, disks: dict[str, Any]) -> None:
    guest.doc["files"] = dict(disks.get("files", {}))
    for volid, size in disks.get("sizes", {}).items():
        found = volumes.find(call.state, volid, guest.node)
        if found is not None and found[1]["size"] != size:
            call.state.collection("volumes")[found[0]] = {**found[1], "size": size}


def _state_volume(call: Call, guest: Guest, name: str) -> str:
    """Where the memory of a running machine goes."""
    storage = str(guest.config.get("vmstatestorage") or "")
    if not storage:
        storage = next((v.partition(":")[0] for v in lists.guest_volumes(call, guest).values()), "local")
    size = 2 * lists.memory_of(guest) + 500 * volumes.MIB
    volume = volumes.allocate(call.state, storage, guest.node, guest.vmid, size, call.now, "")
    renamed = re.sub(r"-disk-\d+", f"-state-{name}", volume["volid"])
    volumes.remove(call.state, volume["volid"], guest.node)
    return volumes.put(call.state, guest.node, renamed, call.now, size=size)


@handler("GET", *_CONFIG)
def config(call: Call) -> dict[str, Any]:
    guest = guests.load(call, call.guest_kind)
    return guests.shown(_snapshot(guest, call.str("snapname")))


@handler("PUT", *_CONFIG)
def describe(call: Call) -> None:
    guest = guests.load(call, call.guest_kind)
    guest.check_lock(call)
    found = _snapshot(guest, call.str("snapname"))
    if call.has("description"):
        found.pop("description", None)
        text = guests.store_description(guest.kind, call.str("description"))
        if text is not None:
            found["description"] = text
    guest.save()


@handler("POST", *of_guests("/snapshot/{snapname}/rollback"))
def roll_back(call: Call) -> str:
    name = call.str("snapname")

    def work(log: TaskLog) -> None:
        guest = guests.load(call, call.guest_kind)
        if guest.template:
            raise Failure(500, "you can't rollback if vm is a template")
        found = _snapshot(guest, name)
        guest.check_lock(call)
        kept = {k: v for k, v in guest.config.items() if k == "description" or k.startswith("unused")}
        back = {k: v for k, v in copy.deepcopy(found).items() if k not in _OWN}
        power.stop(guest)
        guest.doc["config"] = {**back, **kept, "parent": name}
        _put_back(call, guest, guest.doc.get("snapshot-disks", {}).get(name, {}))
        guest.doc.update({"pending": {}, "delete": {}})
        if found.get("vmstate") or call.bool("start"):
            guest.doc.update({"status": "running", "started": call.now})
        guest.save()

    return _task(call, "rollback", "rollback", work)


@handler("DELETE", *_ITEM)
def delete(call: Call) -> str:
    name = call.str("snapname")

    def work(log: TaskLog) -> None:
        guest = guests.load(call, call.guest_kind)
        if guest.template:
            raise Failure(500, "you can't delete a snapshot if it's a template")
        found = _snapshot(guest, name)
        guest.check_lock(call)
        del guest.snapshots[name]
        guest.doc.get("snapshot-disks", {}).pop(name, None)
        for child in (guest.config, *guest.snapshots.values()):
            if child.get("parent") == name:
                child.pop("parent")
                if found.get("parent"):
                    child["parent"] = found["parent"]
        if found.get("vmstate"):
            volumes.remove(call.state, str(found["vmstate"]), guest.node)
        guest.save()

    return _task(call, "delsnapshot", "snapshot-delete", work)

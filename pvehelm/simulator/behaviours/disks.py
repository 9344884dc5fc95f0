"""What is made of a node's disks: directories, volume groups, thin pools, ZFS pools. From the schema alone."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator.core import Call, handler
from pvehelm.simulator.tasks import TaskLog

_KINDS = ("directory", "lvm", "lvmthin", "zfs")
_PATH = "/nodes/{node}/disks/"


def _kind(call: Call) -> str:
    return call.operation.path.split("/")[4]


def _made(call: Call) -> Any:
    return call.state.collection(f"disks-{_kind(call)}:{call.node}")


@handler("GET", *(_PATH + kind for kind in _KINDS))
def made(call: Call) -> Any:
    found = dict(_made(call).items())
    match _kind(call):
        case "directory":
            return [
                {"path": f"/mnt/pve/{name}", "device": one.get("device"), "type": one.get("filesystem", "ext4")}
                for name, one in found.items()
            ]
        case "lvm":
            return {"leaf": 0, "children": [{"name": name, "leaf": 0, "size": 0, "free": 0} for name in found]}
        case "lvmthin":
            return [{"lv": name, "vg": name, "lv_size": 0, "used": 0} for name in found]
    return [{"name": name, "health": "ONLINE", "size": 0, "free": 0, "alloc": 0} for name in found]


@handler("POST", *(_PATH + kind for kind in _KINDS))
def make(call: Call) -> str:
    name = call.str("name")
    if name in _made(call):
        call.fail(f"'{name}' already exists")
    sent = {key: value for key, value in call.args.items() if key not in ("node", "name")}

    def work(log: TaskLog) -> None:
        _made(call)[name] = sent

    return call.task(f"{_kind(call)}create", name, work)


@handler("DELETE", *(f"{_PATH}{kind}/{{name}}" for kind in _KINDS))
def remove(call: Call) -> str:
    name = call.str("name")
    if name not in _made(call):
        call.fail(f"'{name}' does not exist")

    def work(log: TaskLog) -> None:
        del _made(call)[name]

    return call.task(f"{_kind(call)}remove", name, work)

"""The cluster: options, status, log and membership."""

from __future__ import annotations

from typing import Any

from pvehelm.api import formats
from pvehelm.simulator.core import Call, handler, split

# Property strings that are answered as the text that was sent; all others come back as objects.
_TEXTS = ("bwlimit", "location")


def options(call: Call) -> dict[str, Any]:
    """The datacenter's options as stored: texts."""
    found: dict[str, Any] = call.state.value("cluster-options", {})
    return found


def parsed(call: Call, name: str, text: str) -> Any:
    """An option as it is answered."""
    if name == "registered-tags":
        return sorted(set(split(text)))
    param = call.sim.schema.operation("PUT", "/cluster/options").param(name)
    if name in _TEXTS or param is None or not isinstance(param.format, dict):
        return text
    found: dict[str, Any] = formats.parse(param.format, text)
    if name == "user-tag-access" and "user-allow-list" in found:
        found["user-allow-list"] = sorted(set(split(found["user-allow-list"])))
    return found


def _allowed_tags(shown: dict[str, Any]) -> list[str]:
    access = shown.get("user-tag-access") or {}
    own = access.get("user-allow-list", []) if access.get("user-allow") == "list" else []
    return sorted({*shown.get("registered-tags", []), *own})


@handler("GET", "/cluster/options")
def get_options(call: Call) -> Any:
    stored = options(call)
    shown = {name: parsed(call, name, value) for name, value in stored.items()}
    if "description" in shown:
        shown["description"] = shown["description"].rstrip("\n") + "\n"
    shown.setdefault("mac_prefix", "BC:24:11")
    shown["allowed-tags"] = _allowed_tags(shown)
    if not call.may("/", "Sys.Audit", "Sys.Modify"):
        public = (
            "tag-style",
            "allowed-tags",
            "registered-tags",
            "user-tag-access",
            "console",
            "consent-text",
            "location",
        )
        shown = {name: value for name, value in shown.items() if name in public}
    return shown


@handler("PUT", "/cluster/options")
def set_options(call: Call) -> None:
    stored = options(call)
    for name in call.args:
        if name == "delete":
            continue
        value = call.str(name)
        if (name, value) == ("console", "applet"):
            value = "html5"
        if name == "consent-text":
            value = value.split("\n")[0]
        if value == "" and name in ("description", "consent-text"):
            stored.pop(name, None)
        else:
            stored[name] = value
    for name in call.list("delete"):
        stored.pop(name, None)
    if "migration" not in stored and "migration_unsecure" in stored:
        # The old way of saying it.
        insecure = stored.pop("migration_unsecure") != "0"
        stored["migration"] = f"type={'insecure' if insecure else 'secure'}"
    bounds = parsed(call, "next-id", stored["next-id"]) if stored.get("next-id") else {}
    lower, upper = int(bounds.get("lower", 100)), int(bounds.get("upper", 1000000))
    if lower > upper:
        call.fail(f"lower ({lower}) <= upper ({upper}) boundary rule broken")
    call.state.set_value("cluster-options", stored)


@handler("GET", "/cluster/status")
def status(call: Call) -> Any:
    nodes = call.state.collection("nodes").items()
    rows: list[dict[str, Any]] = []
    if len(nodes) > 1:
        online = [node for _, node in nodes if node["status"] == "online"]
        rows.append(
            {
                "id": "cluster",
                "type": "cluster",
                "name": call.state.value("cluster-name", "simulator"),
                "nodes": len(nodes),
                "quorate": int(2 * len(online) > len(nodes)),
                "version": len(nodes),
            }
        )
    local = call.sim.local_node()
    for name, node in nodes:
        rows.append(
            {
                "id": f"node/{name}",
                "type": "node",
                "name": name,
                "nodeid": node["id"],
                "ip": node["ip"],
                "online": int(node["status"] == "online"),
                "local": int(name == local),
                "level": "",
            }
        )
    return rows


@handler("GET", "/cluster/log")
def log(call: Call) -> Any:
    limit = call.int("max", 50)
    rows = []
    for number, task in enumerate(call.state.collection("tasks").values(), 1):
        if not call.may("/", "Sys.Syslog") and task["user"] not in (call.user, call.who):
            continue
        rows.append(
            {
                "uid": number,
                "id": f"{number}:{task['node']}",
                "node": task["node"],
                "pid": task["pid"],
                "pri": 6,
                "tag": "pvedaemon",
                "time": task["starttime"],
                "user": task["user"],
                "msg": f"end task {task['upid']} {task['exitstatus']}",
            }
        )
    return rows[::-1][:limit]


@handler("GET", "/cluster/config/nodes")
def members(call: Call) -> Any:
    nodes = call.state.collection("nodes").items()
    if len(nodes) < 2:
        return []
    return [
        {"node": name, "name": name, "nodeid": str(node["id"]), "ring0_addr": node["ip"], "quorum_votes": "1"}
        for name, node in nodes
    ]

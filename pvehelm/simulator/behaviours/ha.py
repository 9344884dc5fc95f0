"""HA resources, HA status and, up to 8.x, HA groups. All resources share one digest."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator.core import MODIFIED, Call, handler
from pvehelm.simulator.state import State

_OPTIONS = ("comment", "failback", "group", "max_relocate", "max_restart", "state")
_ITEM = "/cluster/ha/resources/{sid}"


def has_rules(call: Call) -> bool:
    """Whether this release has rules in place of groups."""
    return ("GET", "/cluster/ha/rules") in call.sim.schema


def sid_of(state: State, text: str) -> str:
    """``100`` -> ``vm:100`` or ``ct:100``."""
    if ":" in text:
        return text
    return f"ct:{text}" if text in state.collection("lxc") else f"vm:{text}"


def forget(state: State, vmid: str | int) -> None:
    """Take a guest out of HA: its resource and its part in rules."""
    for kind in ("vm", "ct"):
        _remove(state, f"{kind}:{vmid}")


def _remove(state: State, sid: str) -> None:
    state.collection("ha_resources").pop(sid, None)
    rules = state.collection("ha_rules")
    for name, rule in rules.items():
        if sid in rule["resources"]:
            rule["resources"].remove(sid)
            if rule["resources"]:
                rules[name] = rule
            else:
                del rules[name]


def _shown(sid: str, document: dict[str, Any], digest: str) -> dict[str, Any]:
    return {"sid": sid, "type": sid.partition(":")[0], **document, "digest": digest}


def _take(call: Call, document: dict[str, Any], prefix: str) -> None:
    for name in _OPTIONS:
        if not call.has(name):
            continue
        if name == "group" and has_rules(call):
            call.fail(f"{prefix}invalid parameter 'group': ha groups have been migrated to rules")
        if name == "group" and call.str(name) not in call.state.collection("ha_groups"):
            call.fail(f"{prefix}HA group '{call.str(name)}' does not exist")
        value = call.typed(name)
        if value == "":
            document.pop(name, None)
        else:
            document[name] = value


@handler("GET", "/cluster/ha/resources")
def listed(call: Call) -> Any:
    digest = call.digest_of("ha_resources")
    wanted = call.str("type")
    return [
        _shown(sid, document, digest)
        for sid, document in call.state.collection("ha_resources").items()
        if wanted in ("", sid.partition(":")[0])
    ]


@handler("POST", "/cluster/ha/resources")
def create(call: Call) -> None:
    prefix = "create resource failed: "
    sid = sid_of(call.state, call.str("sid"))
    kind, _, vmid = sid.partition(":")
    if has_rules(call) and call.has("group"):
        call.fail(f"{prefix}invalid parameter 'group': ha groups have been migrated to rules")
    if call.has("type") and call.str("type") != kind:
        call.fail(f"{prefix}types does not match")
    _check_guest(call, sid, kind, vmid)
    resources = call.state.collection("ha_resources")
    if sid in resources:
        call.fail(f"{prefix}resource ID '{sid}' already defined")
    document: dict[str, Any] = {}
    _take(call, document, prefix)
    resources[sid] = document


def _check_guest(call: Call, sid: str, kind: str, vmid: str) -> None:
    vm, ct = vmid in call.state.collection("qemu"), vmid in call.state.collection("lxc")
    if not vm and not ct:
        call.fail(f"resource '{sid}' does not exist in cluster")
    if kind == "ct" and not ct:
        call.fail(f"resource '{sid}' - guest with ID {vmid} is not a container")
    if kind == "vm" and not vm:
        call.fail(f"resource '{sid}' - guest with ID {vmid} is not a VM")


def _find(call: Call, prefix: str = "") -> tuple[str, dict[str, Any]]:
    sid = sid_of(call.state, call.str("sid"))
    document = call.found("ha_resources", sid, f"{prefix}no such resource '{sid}'")
    return sid, document


@handler("GET", _ITEM)
def get(call: Call) -> Any:
    sid, document = _find(call)
    return _shown(sid, document, call.digest_of("ha_resources"))


@handler("PUT", _ITEM)
def update(call: Call) -> None:
    prefix = "update resources config failed: "
    sid, document = _find(call, prefix)
    call.check_digest(call.digest_of("ha_resources"), prefix + MODIFIED)
    for name in call.list("delete"):
        if name not in _OPTIONS:
            call.fail(f"{prefix}no such option '{name}'")
    _take(call, document, prefix)
    for name in call.list("delete"):
        document.pop(name, None)
    call.state.collection("ha_resources")[sid] = document


@handler("DELETE", _ITEM)
def delete(call: Call) -> None:
    sid = sid_of(call.state, call.str("sid"))
    if sid not in call.state.collection("ha_resources"):
        call.fail(f"cannot delete service '{sid}', not HA managed!")
    if call.bool("purge", True):
        _remove(call.state, sid)
    else:
        del call.state.collection("ha_resources")[sid]


@handler("POST", _ITEM + "/migrate", _ITEM + "/relocate")
def move(call: Call) -> Any:
    sid, _ = _find(call)
    target = call.str("node")
    if target not in call.state.collection("nodes"):
        call.fail(f"no such cluster node '{target}'")
    kind, _, vmid = sid.partition(":")
    guests = call.state.collection("qemu" if kind == "vm" else "lxc")
    guest = guests[vmid]
    guest["node"] = target
    guests[vmid] = guest
    return {"sid": sid, "requested-node": target} if has_rules(call) else None


# -- status ----------------------------------------------------------------------------------------------------


@handler("GET", "/cluster/ha/status/current")
def current(call: Call) -> Any:
    nodes = [name for name, node in call.state.collection("nodes").items() if node["status"] == "online"]
    services = call.state.collection("ha_resources").items()
    alone = len(call.state.collection("nodes")) < 2
    rows: list[dict[str, Any]] = [
        {"id": "quorum", "type": "quorum", "node": nodes[0], "status": "OK", "quorate": 1},
    ]
    if alone:
        # Nobody manages anything on a single node.
        text = "standby (CRM watchdog standby)"
        rows.append({"id": "fencing", "type": "fencing", "node": nodes[0], "status": text, "armed-state": "standby"})
    else:
        time, mode = int(call.now), "active" if services else "idle"
        names = [("master", "master", nodes[0]), *((f"lrm:{node}", "lrm", node) for node in nodes)]
        rows += [
            {"id": id, "type": type, "node": node, "status": f"{node} ({mode})", "timestamp": time}
            for id, type, node in names
        ]
    return [*rows, *(_service(call, sid, document, alone) for sid, document in services)]


def _service(call: Call, sid: str, document: dict[str, Any], alone: bool) -> dict[str, Any]:
    """A resource as the status shows it: with what counts where its configuration says nothing."""
    kind, _, vmid = sid.partition(":")
    node = (call.state.collection("qemu" if kind == "vm" else "lxc").get(vmid) or {}).get("node", "")
    wanted = document.get("state", "started")
    state = "queued" if alone else wanted
    usual = {"max_restart": 1, "max_relocate": 1, "failback": 1}
    shown = {"id": f"service:{sid}", "type": "service", "sid": sid, "node": node, "state": state}
    crm = {} if alone else {"crm_state": state}
    return {
        **shown,
        **usual,
        **crm,
        "request_state": wanted,
        "status": f"{sid} ({node}, {state})",
        **{name: document[name] for name in (*usual, "comment", "group") if name in document},
    }


@handler("GET", "/cluster/ha/status/manager_status")
def manager_status(call: Call) -> Any:
    nodes = {name: node["status"] for name, node in call.state.collection("nodes").items()}
    if len(nodes) < 2:
        return {"quorum": {"node": call.node, "quorate": "1"}, "manager_status": {"node_status": {}}}
    states = {name: "online" if status == "online" else "unknown" for name, status in nodes.items()}
    return {
        "quorum": {"node": call.node, "quorate": "1"},
        "manager_status": {"master_node": call.node, "node_status": states, "service_status": {}},
        "lrm_status": {},
    }


# -- groups (8.x) ----------------------------------------------------------------------------------------------


_GONE = "ha groups have been migrated to rules"
_GROUP = "/cluster/ha/groups/{group}"


@handler("GET", "/cluster/ha/groups")
def groups(call: Call) -> Any:
    if has_rules(call):
        call.fail(f"cannot index groups: {_GONE}")
    found = call.state.collection("ha_groups").items()
    digest = call.digest_of("ha_groups")
    return [{"group": name, "type": "group", **document, "digest": digest} for name, document in found]


@handler("POST", "/cluster/ha/groups")
def create_group(call: Call) -> None:
    if has_rules(call):
        call.fail(f"cannot create group: {_GONE}")
    found = call.state.collection("ha_groups")
    name = call.str("group")
    if name in found:
        call.fail(f"create ha group failed: ha group ID '{name}' already defined")
    found[name] = _group_options(call)


def _group_options(call: Call) -> dict[str, Any]:
    names = ("comment", "nodes", "nofailback", "restricted")
    return {n: call.typed(n) for n in names if call.has(n) and call.str(n) != ""}


def _group(call: Call) -> dict[str, Any]:
    if has_rules(call):
        call.fail(f"cannot read group: {_GONE}")
    return call.found("ha_groups", call.str("group"), f"no such ha group '{call.str('group')}'")


@handler("GET", _GROUP)
def get_group(call: Call) -> Any:
    document = _group(call)
    return {"group": call.str("group"), "type": "group", **document, "digest": call.digest_of("ha_groups")}


@handler("PUT", _GROUP)
def update_group(call: Call) -> None:
    document = _group(call)
    found = call.state.collection("ha_groups")
    call.check_digest(call.digest_of("ha_groups"), "update ha group failed: " + MODIFIED)
    for name in call.list("delete"):
        document.pop(name, None)
    found[call.str("group")] = {**document, **_group_options(call)}


@handler("DELETE", _GROUP)
def delete_group(call: Call) -> None:
    _group(call)
    name = call.str("group")
    users = [s for s, doc in call.state.collection("ha_resources").items() if doc.get("group") == name]
    if users:
        call.fail(f"delete ha group failed: ha group is used by service '{users[0]}'")
    del call.state.collection("ha_groups")[name]

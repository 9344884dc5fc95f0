"""The firewall of a scope (cluster, node, guest, vnet): its options, references and what all its parts share.

One document a scope in the collection ``firewall``, keyed ``cluster``, ``node/NAME``, ``guest/VMID``, ``vnet/NAME``::

    {"options": {...}, "rules": [...], "aliases": {lower-case name: {...}},
     "ipsets": {name: {"comment": ..., "entries": {cidr: {...}}}}, "groups": {name: {"comment": ..., "rules": [...]}}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from pvehelm.simulator.core import Call, Failure, handler, of_guests
from pvehelm.simulator.state import State

CLUSTER = "/cluster/firewall"
NODE = "/nodes/{node}/firewall"
GUESTS = of_guests("/firewall")
VNET = "/cluster/sdn/vnets/{vnet}/firewall"
_CONTROL = ("digest", "delete", "node", "vmid", "vnet")


def paths(suffix: str, *scopes: str) -> list[str]:
    """The path templates of a part in several scopes."""
    return [scope + suffix for scope in scopes]


def scope_of(call: Call) -> str:
    """The key of the scope that a call is about."""
    if call.has("vmid"):
        return f"guest/{call.str('vmid')}"
    if call.has("vnet"):
        return _vnet_scope(call, call.str("vnet"))
    return f"node/{call.node}" if call.has("node") else "cluster"


def _vnet_scope(call: Call, vnet: str) -> str:
    document = call.found("sdn_vnets", vnet, f"sdn vnet '{vnet}' does not exist")
    privs = ["SDN.Audit", "SDN.Allocate"] if call.operation.method == "GET" else ["SDN.Allocate"]
    call.require(f"/sdn/zones/{document['zone']}/{vnet}", privs, any=True)
    return f"vnet/{vnet}"


def load(state: State, scope: str) -> dict[str, Any]:
    """A scope's document; empty parts are there."""
    parts: dict[str, Any] = {"options": {}, "rules": [], "aliases": {}, "ipsets": {}, "groups": {}}
    return {**parts, **(state.collection("firewall").get(scope) or {})}


def save(state: State, scope: str, document: dict[str, Any]) -> None:
    state.collection("firewall")[scope] = document


def forget(state: State, vmid: str | int) -> None:
    """A guest is gone: so is its firewall."""
    state.collection("firewall").pop(f"guest/{vmid}", None)


def copy(state: State, source: str | int, target: str | int) -> None:
    """A clone takes the firewall of its source."""
    found = state.collection("firewall").get(f"guest/{source}")
    if found is not None:
        save(state, f"guest/{target}", found)


def one_line(comment: str) -> str:
    """Comments keep their first line."""
    return comment.split("\n")[0]


def with_digest(call: Call, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every row with the digest of the whole list."""
    digest = call.digest(rows)
    return [{**row, "digest": digest} for row in rows]


@handler("GET", *paths("/options", CLUSTER, NODE, *GUESTS, VNET))
def options(call: Call) -> Any:
    found = load(call.state, scope_of(call))["options"]
    return {**found, "digest": call.digest(found)}


@handler("PUT", *paths("/options", CLUSTER, NODE, *GUESTS, VNET))
def set_options(call: Call) -> None:
    scope = scope_of(call)
    document = load(call.state, scope)
    found = document["options"]
    for name in call.list("delete"):
        if name in _CONTROL or call.operation.param(name) is None:
            call.bad(delete=f"no such option '{name}'")
    call.check_digest(call.digest(found))
    for name in call.list("delete"):
        found.pop(name, None)
    for name in call.args:
        if name not in _CONTROL:
            found[name] = call.typed(name)
    if scope == "cluster" and int(found.get("enable", 0)) > 1 and call.has("enable"):
        # A value above 1 is a dead man's switch: the time is stored, then the old rules are saved.
        found["enable"] = int(call.now)
        save(call.state, scope, document)
        if "ipset" in call.state.collection("nodes")[call.node].get("lacks", ()):
            text = "exec of ipset save failed: No such file or directory"
            raise Failure(500, f"command 'ipset save' failed: open3: {text}", keep=True)
    save(call.state, scope, document)


@handler("GET", *paths("/refs", CLUSTER, *GUESTS))
def refs(call: Call) -> Any:
    wanted = call.str("type")
    scopes = ["cluster"] if scope_of(call) == "cluster" else [scope_of(call), "cluster"]
    found = []
    for scope in scopes:
        document = load(call.state, scope)
        shown = "dc" if scope == "cluster" else "guest"
        if wanted in ("", "alias"):
            for alias in document["aliases"].values():
                found.append(_ref("alias", alias["name"], alias["name"], shown, alias))
        if wanted in ("", "ipset"):
            for name, ipset in document["ipsets"].items():
                found.append(_ref("ipset", name, f"+{name}", shown, ipset))
    return found


def _ref(kind: str, name: str, ref: str, scope: str, source: dict[str, Any]) -> dict[str, Any]:
    row = {"type": kind, "name": name, "ref": ref, "scope": scope}
    return {**row, "comment": source["comment"]} if source.get("comment") else row


@cache
def macros() -> Mapping[str, list[str]]:
    """What each macro stands for: ``{"DNS": ["udp/53", "tcp/53"]}``, protocol/destination port[/source port]."""
    text = resources.files(__package__).joinpath("firewall-macros.json").read_text(encoding="utf-8")
    found: Mapping[str, list[str]] = json.loads(text)
    return found


@handler("GET", CLUSTER + "/macros")
def listed_macros(call: Call) -> Any:
    return [{"macro": name, "descr": name} for name in macros()]


def find_alias(call: Call, reference: str) -> dict[str, Any] | None:
    """The alias that ``name``, ``dc/name`` or ``guest/name`` means in the scope of a call."""
    prefix, slash, name = reference.rpartition("/")
    own = scope_of(call)
    wanted = {"dc": ["cluster"], "guest": [own]}.get(prefix, [own, "cluster"] if not slash else [])
    for scope in wanted:
        found = load(call.state, scope)["aliases"].get(name.lower())
        if found is not None:
            return dict(found)
    return None


def knows_alias(call: Call, name: str) -> bool:
    """Whether an alias of that name is in one of the scopes of a call, whatever scope was asked for."""
    return any(name.lower() in load(call.state, scope)["aliases"] for scope in ("cluster", scope_of(call)))


def has_ipset(call: Call, reference: str) -> bool:
    """Whether ``name``, ``dc/name`` or ``guest/name`` is an IP set in a scope of a call (SDN's are not checked)."""
    prefix, _, name = reference.rpartition("/")
    return prefix == "sdn" or any(name in load(call.state, scope)["ipsets"] for scope in ("cluster", scope_of(call)))

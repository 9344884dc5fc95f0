"""Answers for operations that nobody wrote a behaviour for: directory listings, generic CRUD, schema-true defaults.

A *generic collection* is a path with POST whose item (path plus one variable) can be read; its documents hold what was
sent. Everything else answers the emptiest value its schema allows.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from pvehelm.api.schema import Operation, Schema
from pvehelm.simulator.core import Call

# Listings are written by hand on the real server: where they differ from the tree of paths.
_HIDDEN = {
    "/access": {"permissions", "vncticket"},
    "/cluster/metrics": {"export"},
    "/cluster/sdn": {"dry-run", "lock", "rollback"},
    "/nodes/{node}": {"execute", "vncwebsocket"},
    "/nodes/{node}/scan": {"lvmthin"},
    "/nodes/{node}/qemu/{vmid}": {
        *("clone", "dbus-vmstate", "feature", "move_disk", "mtunnelwebsocket", "template", "vncwebsocket")
    },
    "/nodes/{node}/qemu/{vmid}/status": {"resume"},
    "/nodes/{node}/lxc/{vmid}": {
        *("feature", "move_volume", "mtunnel", "mtunnelwebsocket", "remote_migrate", "template"),
    },
    "/nodes/{node}/lxc/{vmid}/status": {"resume", "suspend"},
    "/nodes/{node}/qemu/{vmid}/firewall": {"log"},
    "/nodes/{node}/lxc/{vmid}/firewall": {"log"},
}
_ADDED = {"/nodes/{node}/qemu/{vmid}": {"move"}, "/nodes/{node}/lxc/{vmid}/status": {"migrate"}}


def generic(call: Call) -> Any:
    """Answer any operation from the schema alone."""
    operation = call.operation
    schema = call.sim.schema
    if operation.method == "GET":
        listed = index(schema, operation)
        if listed is not None:
            if operation.path == "/nodes/{node}/lxc/{vmid}" and call.str("vmid") not in call.state.collection("lxc"):
                call.fail(f"Configuration file 'nodes/{call.node}/lxc/{call.str('vmid')}.conf' does not exist")
            return listed
    item = _item(operation.path) if _item(operation.path) in _collections(schema) else None
    if item is not None:
        return _on_item(call, *item)
    found = next(((path, key) for path, key in _collections(schema) if path == operation.path), None)
    if found is not None:
        return _on_collection(call, *found)
    return default(operation.returns)


def index(schema: Schema, operation: Operation) -> list[dict[str, str]] | None:
    """The listing of a directory: its children by name, when that is what the operation returns."""
    returns = operation.returns
    links = returns.get("links") or []
    if not links:
        return None
    key = re.sub(r"[{}]", "", str(links[0]))
    children = _children(schema, operation.path)
    known = ("subdir", "name", "id", "method", "cmd", "key", "type")
    if key not in known or not children:
        return None
    return [{key: child} for child in children]


@cache
def _children(schema: Schema, path: str) -> list[str]:
    prefix = "/" if path == "/" else path + "/"
    names = {p[len(prefix) :].split("/")[0] for p in schema.paths if p.startswith(prefix) and p != path}
    if any(name.startswith("{") for name in names):
        return []
    return sorted((names - _HIDDEN.get(path, set())) | _ADDED.get(path, set()))


@cache
def _collections(schema: Schema) -> frozenset[tuple[str, str]]:
    found = set()
    for path in schema.paths:
        split = _item(path)
        if split and ("POST", split[0]) in schema and ("GET", path) in schema:
            found.add(split)
    return frozenset(found)


def _item(path: str) -> tuple[str, str] | None:
    found = re.fullmatch(r"(/.*)/\{([^}/]+)\}", path)
    return (found[1], found[2]) if found else None


def _scope(call: Call, path: str) -> str:
    return "generic:" + re.sub(r"\{([^}]+)\}", lambda found: str(call.args.get(found[1], "")), path)


def _on_collection(call: Call, path: str, key: str) -> Any:
    documents = call.state.collection(_scope(call, path))
    if call.operation.method == "GET":
        return [{**document, key: name} for name, document in documents.items()]
    if call.operation.method == "POST":
        name = call.str(key)
        if name in documents:
            call.fail(f"{key} '{name}' already exists")
        documents[name] = call.sent(key)
        return None if call.operation.returns.get("type", "null") == "null" else {key: name}
    return default(call.operation.returns)


def _on_item(call: Call, path: str, key: str) -> Any:
    documents = call.state.collection(_scope(call, path))
    name = call.str(key)
    document = documents.get(name)
    if call.operation.method == "POST" and document is None:
        documents[name] = call.sent(key)
        return default(call.operation.returns)
    if document is None:
        call.fail(f"{key} '{name}' does not exist")
    if call.operation.method == "GET":
        return {**document, key: name}
    if call.operation.method == "DELETE":
        del documents[name]
        return None
    call.check_digest(call.digest(document))
    document.update(call.sent(key))
    for gone in call.list("delete"):
        document.pop(gone, None)
    documents[name] = document
    return default(call.operation.returns)


def default(returns: Any) -> Any:
    """The emptiest value that a returns schema allows."""
    kind = returns.get("type", "null")
    if kind == "array":
        return []
    if kind == "object":
        return {
            name: default(facts)
            for name, facts in (returns.get("properties") or {}).items()
            if not facts.get("optional")
        }
    return {"string": "", "integer": 0, "number": 0, "boolean": 0}.get(kind)

"""Resource pools: nested up to three levels, holding guests and storages. A guest is in one pool at most."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator.core import Call, Failure, handler
from pvehelm.simulator.permissions import drop_entries, pool_of
from pvehelm.simulator.state import State


def check(call: Call, pool: str) -> None:
    """403 unless the pool exists (also for root, as the real server does)."""
    if pool not in call.state.collection("pools"):
        raise Failure(403, f"Permission check failed (pool '{pool}' does not exist)")


def join(state: State, pool: str, vmid: str | int) -> None:
    """Put a guest into a pool that exists, out of any other."""
    leave(state, vmid)
    pools = state.collection("pools")
    document = pools[pool]
    document["vms"] = [*document.get("vms", []), str(vmid)]
    pools[pool] = document


def leave(state: State, vmid: str | int) -> None:
    """Take a guest out of its pool, if it is in one."""
    pool = pool_of(state, "vms", str(vmid))
    if pool is not None:
        document = state.collection("pools")[pool]
        document["vms"].remove(str(vmid))
        state.collection("pools")[pool] = document


def _members(call: Call, pool: dict[str, Any]) -> list[dict[str, Any]]:
    wanted = call.str("type")
    found: list[dict[str, Any]] = []
    for vmid in sorted(pool.get("vms", ()), key=int):
        for kind in ("qemu", "lxc"):
            guest = call.state.collection(kind).get(vmid)
            if guest is not None and wanted in ("", kind):
                found.append(_guest(kind, vmid, guest))
    if wanted in ("", "storage"):
        for storage in pool.get("storage", ()):
            found += _storage(call, storage)
    return found


def _guest(kind: str, vmid: str, guest: dict[str, Any]) -> dict[str, Any]:
    config = guest.get("config", {})
    row = {
        "id": f"{kind}/{vmid}",
        "type": kind,
        "vmid": int(vmid),
        "node": guest["node"],
        "status": guest.get("status", "stopped"),
        "template": int(config.get("template", 0)),
    }
    name = config.get("name" if kind == "qemu" else "hostname")
    row["name"] = name or (f"VM {vmid}" if kind == "qemu" else f"CT {vmid}")
    if str(config.get("tags", "")).strip():
        row["tags"] = config["tags"]
    return row


def _storage(call: Call, storage: str) -> list[dict[str, Any]]:
    config = call.state.collection("storage").get(storage)
    if config is None:
        return []
    nodes = str(config.get("nodes") or "")
    allowed = set(nodes.split(",")) if nodes else None
    kind = config["type"]
    shared = int(kind in ("nfs", "cifs", "cephfs", "rbd", "iscsi", "pbs", "zfs") or str(config.get("shared")) == "1")
    return [
        {
            "id": f"storage/{node}/{storage}",
            "type": "storage",
            "storage": storage,
            "node": node,
            "plugintype": kind,
            "content": config.get("content", ""),
            "shared": shared,
            "status": "available",
        }
        for node in call.state.collection("nodes")
        if allowed is None or node in allowed
    ]


def _head(poolid: str, pool: dict[str, Any]) -> dict[str, Any]:
    return {"poolid": poolid, **({"comment": pool["comment"]} if pool.get("comment") else {})}


def _pool(call: Call, prefix: str = "") -> dict[str, Any]:
    poolid = call.str("poolid")
    return call.found("pools", poolid, f"{prefix}pool '{poolid}' does not exist")


@handler("GET", "/pools")
def listed(call: Call) -> Any:
    if call.has("poolid"):
        pool = _pool(call)
        return [{**_head(call.str("poolid"), pool), "members": _members(call, pool)}]
    if call.has("type"):
        call.bad(poolid="missing property - 'type' requires this property")
    return [
        _head(poolid, pool)
        for poolid, pool in sorted(call.state.collection("pools").items())
        if call.may(f"/pool/{poolid}", "Pool.Audit")
    ]


@handler("GET", "/pools/{poolid}")
def get(call: Call) -> Any:
    pool = _pool(call)
    return {**_head(call.str("poolid"), pool), "members": _members(call, pool)}


@handler("POST", "/pools")
def create(call: Call) -> None:
    poolid = call.str("poolid")
    pools = call.state.collection("pools")
    prefix = "create pool failed: "
    if not poolid[:1].isalpha():
        call.fail(f"{prefix}pool name must start with a letter")
    if poolid in pools:
        call.fail(f"{prefix}pool '{poolid}' already exists")
    parent = poolid.rpartition("/")[0]
    if parent and parent not in pools:
        call.fail(f"{prefix}parent '{parent}' of pool '{poolid}' does not exist")
    pools[poolid] = {"comment": call.str("comment"), "vms": [], "storage": []}


@handler("PUT", "/pools", "/pools/{poolid}")
def update(call: Call) -> None:
    prefix = "update pools failed: "
    pool = _pool(call, prefix)
    poolid = call.str("poolid")
    pools = call.state.collection("pools")
    if call.has("comment"):
        pool["comment"] = call.str("comment")
    pools[poolid] = pool
    for vmid in call.list("vms"):
        _change_guest(call, poolid, vmid, prefix)
    for storage in call.list("storage"):
        _change_storage(call, poolid, storage, prefix)


def _require_modify(call: Call, path: str) -> None:
    bad = call.rights.check(["perm-modify", path], call.who, {})
    if bad is not None:
        raise Failure(403, f"Permission check failed ({bad})")


def _change_guest(call: Call, poolid: str, vmid: str, prefix: str) -> None:
    current = pool_of(call.state, "vms", vmid)
    _require_modify(call, f"/vms/{vmid}")
    if call.bool("delete"):
        if current != poolid:
            call.fail(f"{prefix}VM {vmid} is not a pool member")
        leave(call.state, vmid)
        return
    if current == poolid:
        call.fail(f"{prefix}VM {vmid} is already a pool member")
    if current is not None:
        if not call.bool("allow-move"):
            call.fail(f"{prefix}VM {vmid} belongs already to pool '{current}' and 'allow-move' is not set")
        call.require(f"/pool/{current}", "Pool.Allocate")
    join(call.state, poolid, vmid)


def _change_storage(call: Call, poolid: str, storage: str, prefix: str) -> None:
    pools = call.state.collection("pools")
    pool = pools[poolid]
    members = pool.setdefault("storage", [])
    _require_modify(call, f"/storage/{storage}")
    if call.bool("delete"):
        if storage not in members:
            call.fail(f"{prefix}Storage '{storage}' is not a pool member")
        members.remove(storage)
    elif storage in members:
        call.fail(f"{prefix}Storage '{storage}' is already a pool member")
    else:
        members.append(storage)
    pools[poolid] = pool


@handler("DELETE", "/pools", "/pools/{poolid}")
def delete(call: Call) -> None:
    prefix = "delete pool failed: "
    pool = _pool(call, prefix)
    poolid = call.str("poolid")
    pools = call.state.collection("pools")
    held = [f"pool '{name}'" for name in pools if name.startswith(poolid + "/")]
    guests = [v for v in pool.get("vms", ()) if v in call.state.collection("qemu") or v in call.state.collection("lxc")]
    storages = [name for name in pool.get("storage", ()) if name in call.state.collection("storage")]
    held += [f"VM {vmid}" for vmid in guests] + [f"storage '{name}'" for name in storages]
    if held:
        call.fail(f"{prefix}pool '{poolid}' is not empty (contains {held[0]})")
    del pools[poolid]
    drop_entries(call.state, lambda entry: entry["path"] == f"/pool/{poolid}")

"""Everything about one object: what it is, whose it is, how it is, what happened to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import ApiError, PvehelmError

if TYPE_CHECKING:
    from pvehelm.actions.objects import Query
    from pvehelm.api.client import Client
    from pvehelm.release.context import Context
    from pvehelm.release.objects import Object

TASKS = 10


@action("read")
async def describe(ctx: Context, words: Sequence[str], query: Query | None = None) -> list[dict[str, Any]]:
    """Objects with their configuration in a manifest's terms, what waits, their release, and of guests the state,
    snapshots, high availability, firewall and newest tasks. What could not be read is under ``unread``: why.

    One request for each of those and guest, all at once.
    """
    from dataclasses import replace

    from pvehelm.actions.objects import Query, get

    client = await ctx.connect()
    made = await get(ctx, words, replace(query or Query(), full=True))
    silent = made.silent
    return list(await asyncio.gather(*(_described(ctx, client, one, silent.get(one.ref, "")) for one in made.objects)))


async def _described(ctx: Context, client: Client, one: Object, why: str) -> dict[str, Any]:
    from pvehelm.actions.objects import document

    found = document(one)
    made: dict[str, Any] = {"ref": one.ref, "kind": one.kind.name, "metadata": found["metadata"]}
    if one.owner is not None and one.owner.namespace and one.owned is not None:
        made["release"] = _release(ctx, one)
    made["labels"] = {name: value for name, value in one.labels.items() if name != "release"}
    made["spec"] = found["spec"]
    made["status"] = found["status"]
    if one.live is not None and one.live.pending:
        made["pending"] = {
            leaf: {"runs": runs, "configured": _leaf(one.live.fields, leaf)} for leaf, runs in one.live.pending.items()
        }
    if one.vmid and one.live is None:
        made["unread"] = {"configuration": why}
    elif one.vmid:
        made |= await _asked(_of_guest(client, one))
    elif one.kind.name == "Node":
        made |= await _asked(_of_node(client, one))
    elif one.live is not None and one.live.extra.get("waiting"):
        made["pending"] = {"": {"runs": "", "configured": one.live.extra["waiting"]}}
    return made


def _leaf(fields: Mapping[str, Any], leaf: str) -> Any:
    from pvehelm.api.kind import get_leaf

    return get_leaf(fields, leaf)


def _release(ctx: Context, one: Object) -> dict[str, Any]:
    assert one.owner is not None
    assert one.owned is not None
    release = ctx.store.find(one.owner, bodies=False)
    current = release.current if release else None
    chart = f"{current.chart_name}-{current.chart_version}" if current and current.chart_name else ""
    return {
        "name": one.owner.name,
        "namespace": one.owner.namespace,
        "kind": "release" if chart else "set",
        "chart": chart,
        "revision": current.number if current else None,
        "status": str(release.status) if release else "",
        "created": one.owned.created,
        "lifecycle": one.owned.metadata.get("lifecycle", ""),
        "needs": list(one.owned.metadata.get("needs") or ()),
    }


async def _asked(questions: Mapping[str, Awaitable[Any]]) -> dict[str, Any]:
    """The answers by name; why there is none, under ``unread``."""
    answers = await asyncio.gather(*questions.values(), return_exceptions=True)
    made: dict[str, Any] = {}
    unread: dict[str, str] = {}
    for name, answer in zip(questions, answers, strict=True):
        if isinstance(answer, PvehelmError):
            unread[name] = answer.reason if isinstance(answer, ApiError) else str(answer)
        elif isinstance(answer, BaseException):
            raise answer
        elif answer not in (None, [], {}):
            made[name] = answer
    return made | ({"unread": unread} if unread else {})


def _of_guest(client: Client, one: Object) -> dict[str, Awaitable[Any]]:
    kind: Any = one.kind
    assert one.live is not None
    node = one.live.key["node"]
    base = f"/nodes/{node}/{kind.flavour}/{one.vmid}"
    return {
        "current": client.get(f"{base}/status/current"),
        "snapshots": _snapshots(client, base),
        "firewall": _firewall(client, base),
        "tasks": _tasks(client, one),
    }


async def _tasks(client: Client, one: Object) -> list[Any]:
    from pvehelm.actions.tasks import own

    assert one.live is not None
    # A clone may say when its template was made, which is early, but never late.
    meta = dict(part.partition("=")[::2] for part in str(one.live.extra["raw"].get("meta", "")).split(","))
    made = int(meta.get("ctime") or 0) if str(meta.get("ctime", "")).isdigit() else 0
    params = {"vmid": one.vmid, "limit": TASKS, "source": "all"}
    rows = await client.get(f"/nodes/{one.live.key['node']}/tasks", params) or []
    return own(sorted(rows, key=lambda row: int(row.get("starttime") or 0), reverse=True), made)


async def _snapshots(client: Client, base: str) -> list[Any]:
    rows = await client.get(f"{base}/snapshot") or []
    return sorted((row for row in rows if row.get("name") != "current"), key=lambda row: row.get("snaptime", 0))


async def _firewall(client: Client, base: str) -> dict[str, Any]:
    options, rules = await asyncio.gather(client.get(f"{base}/firewall/options"), client.get(f"{base}/firewall/rules"))
    said = {name: value for name, value in (options or {}).items() if name != "digest"}
    listed = [{name: value for name, value in row.items() if name not in ("digest", "pos")} for row in rules or []]
    return {"options": said, "rules": listed} if said or listed else {}


def _of_node(client: Client, one: Object) -> dict[str, Awaitable[Any]]:
    node = one.found.key["node"]
    return {
        "current": client.get(f"/nodes/{node}/status"),
        "guests": _guests_of(client, node),
        "storages": client.get(f"/nodes/{node}/storage"),
        "tasks": client.get(f"/nodes/{node}/tasks", {"limit": TASKS, "source": "all"}),
    }


async def _guests_of(client: Client, node: str) -> list[Any]:
    rows = await client.get("/cluster/resources") or []
    mine = [row for row in rows if row.get("type") in ("qemu", "lxc") and row.get("node") == node]
    return sorted(mine, key=lambda row: int(row["vmid"]))

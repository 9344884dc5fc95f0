"""Namespaces are resource pools: which of them a release needs, and making them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from pvehelm.api.generic import ask
from pvehelm.errors import Problem
from pvehelm.release.context import Context
from pvehelm.release.desire import Desire
from pvehelm.release.live import Reader


async def missing_pools(desire: Desire, reader: Reader, *, create: bool) -> list[Problem]:
    """Namespaces are pools: every one that is used exists, is made here, or --create-namespace makes it."""
    used = {
        r.namespace: str(r.where(("metadata", "namespace")))
        for r in desire.resources
        if r.namespace and r.namespace != "default"
    }
    if not used:
        return []
    made = {r.name for r in desire.resources if r.kind == "Pool"}
    there = {row["poolid"] for row in await reader("/pools") or []}
    absent = {name: where for name, where in used.items() if name not in there and name not in made}
    # The list leaves out pools that the user may not see; asked for by name, they are there.
    absent = {name: where for name, where in absent.items() if not await ask(reader, "/pools", {"poolid": name})}
    if not create:
        hint = "--create-namespace makes the pool"
        return [
            Problem(where, f"namespace {name!r} does not exist (a namespace is a resource pool)", hint)
            for name, where in absent.items()
        ]
    return []


async def missing_namespaces(ctx: Context, desire: Desire) -> AsyncIterator[tuple[str, Callable[[], Awaitable[Any]]]]:
    """Pools that are used and not there, with the call that makes each: outer ones before those within them."""
    client = await ctx.connect()
    reader = Reader(client)
    made = {r.name for r in desire.resources if r.kind == "Pool"}
    there = {row["poolid"] for row in await client.get("/pools") or []}
    used = {r.namespace for r in desire.resources if r.namespace and r.namespace != "default"}
    for name in sorted(used - there - made):
        parts = str(name).split("/")
        for depth in range(1, len(parts) + 1):
            poolid = "/".join(parts[:depth])
            if poolid not in there and not await ask(reader, "/pools", {"poolid": poolid}):
                yield poolid, partial(client.post, "/pools", {"poolid": poolid})
                there.add(poolid)

"""What the shell offers when TAB is pressed: from the store and the tables; names of objects from the server, if it
answers at once."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pvehelm.faces.cli.command import Session

# Seconds that a shell may stand still for a list of names.
PATIENCE = 2.0
# What can be looked at beside the kinds of manifests.
LOOKED_AT = ("guests", "nodes")


def releases(incomplete: str) -> list[str]:
    """Releases of the current context."""
    session = Session(quiet=True)
    ctx = session.context
    try:
        return [r.key.name for r in ctx.store.list(ctx.cluster) if r.key.name.startswith(incomplete)]
    finally:
        ctx.store.close()


def kinds(incomplete: str) -> list[str]:
    """Kinds by their names and short names."""
    from pvehelm.api.kinds import tables

    names = [name for table in tables().values() for name in (table.name, *table.short)]
    return sorted(name for name in names if name.lower().startswith(incomplete.lower()))


def contexts(incomplete: str) -> list[str]:
    """Contexts of the configuration file."""
    from pvehelm.config import list_contexts

    return [one.name for one in list_contexts()[0] if one.name.startswith(incomplete)]


def objects(ctx: Any, incomplete: str) -> list[str]:
    """Kinds for the first word, then names of that kind."""
    words = list(ctx.params.get("words") or [])
    if "/" in incomplete:
        kind, _, rest = incomplete.partition("/")
        return [f"{kind}/{name}" for name in _names(kind) if name.startswith(rest)]
    if not words:
        return [name for name in LOOKED_AT if name.startswith(incomplete.lower())] + kinds(incomplete)
    kind = words[0].partition("/")[0]
    found = _names(kind)
    return [
        name
        for name in (f"{kind}/{name}" if "/" in words[0] else name for name in found)
        if name.startswith(incomplete)
    ]


def guests(incomplete: str) -> list[str]:
    """Names of guests, with their kind once a slash is typed."""
    kind, slash, rest = incomplete.partition("/")
    if slash:
        return [f"{kind}/{name}" for name in _names(kind) if name.startswith(rest)]
    return [name for name in _names("guests") if name.startswith(incomplete)]


def nodes(incomplete: str) -> list[str]:
    """The cluster's nodes."""
    return [name for name in _names("nodes") if name.startswith(incomplete)]


def _names(kind: str) -> list[str]:
    """Names of a kind's objects as the server has them; none where it does not answer at once."""
    import asyncio

    from pvehelm.actions.objects import Query, get

    async def ask() -> list[str]:
        context = Session(quiet=True).context
        try:
            async with asyncio.timeout(PATIENCE):
                found = await get(context, [kind], Query(all_namespaces=True))
            return sorted({one.name for one in found.objects})
        finally:
            await context.aclose()

    # A shell that completes shows nothing of what goes wrong.
    with suppress(Exception):
        return asyncio.run(ask())
    return []

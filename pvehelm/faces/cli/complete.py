"""What the shell offers when TAB is pressed: from the store and the tables; names of objects from the server, if it
answers at once. ``ctx`` is the command line so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from pvehelm.faces.cli.command import Session

# Seconds that a shell may stand still for a list of names.
PATIENCE = 2.0
# What can be looked at beside the kinds of manifests.
LOOKED_AT = ("guests", "nodes")


def _begun(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _session(ctx: Any) -> Session:
    """The context and the namespace that the command line names."""
    given: Mapping[str, Any] = getattr(ctx, "params", None) or {}
    return Session(given.get("namespace") or "", given.get("context") or "", quiet=True)


def _keys(ctx: Any, namespace: str | None = None) -> list[Any]:
    session = _session(ctx)
    context = session.context
    try:
        return [one.key for one in context.store.list(context.cluster, namespace)]
    finally:
        session.close()


def releases(ctx: Any, incomplete: str) -> list[str]:
    """Releases of the namespace, or of all with -A."""
    given = getattr(ctx, "params", None) or {}
    namespace = None if given.get("all_namespaces") else _session(ctx).settings.namespace or "default"
    named = given.get("names") or ()
    return [name for name in _begun([key.name for key in _keys(ctx, namespace)], incomplete) if name not in named]


def namespaces(ctx: Any, incomplete: str) -> list[str]:
    """Namespaces that have releases, and the pools of the server."""
    found = {"default", *(key.namespace for key in _keys(ctx)), *_names(ctx, "pools")}
    return _begun(sorted(found), incomplete)


def revisions(ctx: Any, incomplete: str) -> list[str]:
    """Revisions of the release that was named, the newest first."""
    given = ctx.params
    name = given.get("name") or next(iter(given.get("names") or ()), "")
    session = _session(ctx)
    context = session.context
    try:
        found = context.store.revisions(context.key(name)) if name else []
        return _begun(sorted((str(one.number) for one in found), key=int, reverse=True), incomplete)
    finally:
        session.close()


def charts(ctx: Any, incomplete: str) -> list[str]:
    """Charts of the repositories that were fetched, as REPO/CHART; folders and archives are the shell's."""
    from pvehelm.actions.repos import book
    from pvehelm.chart.catalog import Catalog

    if incomplete.startswith((".", "/", "~")):
        return []
    found: list[str] = []
    for one in book().repositories.values():
        with suppress(Exception):
            found += [f"{one.name}/{name}" for name in Catalog(one).names()]
    return _begun(sorted(found), incomplete)


def diffed(ctx: Any, incomplete: str) -> list[str]:
    """For ``RELEASE [CHART | REV REV]``."""
    if not ctx.params.get("names"):
        return releases(ctx, incomplete)
    return [*revisions(ctx, incomplete), *charts(ctx, incomplete)]


def repositories(ctx: Any, incomplete: str) -> list[str]:
    """Repositories by name."""
    from pvehelm.actions.repos import book

    return _begun([*book().repositories], incomplete)


def kinds(incomplete: str) -> list[str]:
    """Kinds by their names and short names."""
    from pvehelm.api.kinds import tables

    names = [name for table in tables().values() for name in (table.name, *table.short)]
    return sorted(name for name in names if name.lower().startswith(incomplete.lower()))


def privileged(ctx: Any, incomplete: str) -> list[str]:
    """Kinds that need the user's word, and ``all``."""
    from pvehelm.api.kinds import tables

    return _begun(["all", *(one.name for one in tables().values() if one.privileged is True)], incomplete)


def contexts(incomplete: str) -> list[str]:
    """Contexts of the configuration file."""
    from pvehelm.config import list_contexts

    return _begun([one.name for one in list_contexts()[0]], incomplete)


def refs(ctx: Any, incomplete: str) -> list[str]:
    """KIND/NAME: what the release that was named owns, else what the server has of a kind."""
    name = (getattr(ctx, "params", None) or {}).get("name") or ""
    session = _session(ctx)
    context = session.context
    try:
        owned = list(context.store.inventory(context.key(name)).entries) if name else []
    finally:
        session.close()
    return _begun(sorted(owned), incomplete) or (objects(ctx, incomplete) if "/" in incomplete else [])


def objects(ctx: Any, incomplete: str) -> list[str]:
    """Kinds for the first word, then names of that kind."""
    words = list(ctx.params.get("words") or [])
    if "/" in incomplete:
        kind, _, rest = incomplete.partition("/")
        return [f"{kind}/{name}" for name in _begun(_names(ctx, kind), rest)]
    if not words:
        return [name for name in LOOKED_AT if name.startswith(incomplete.lower())] + kinds(incomplete)
    kind = words[0].partition("/")[0]
    found = _names(ctx, kind)
    return _begun([f"{kind}/{name}" if "/" in words[0] else name for name in found if name not in words], incomplete)


def measured(ctx: Any, incomplete: str) -> list[str]:
    """What uses something, then names of that kind."""
    if ctx.params.get("words"):
        return objects(ctx, incomplete)
    return _begun(("nodes", "guests", "vms", "cts"), incomplete)


def deleted(ctx: Any, incomplete: str) -> list[str]:
    """For ``[KIND NAME... | RELEASE...]``."""
    words = list(ctx.params.get("words") or [])
    found = objects(ctx, incomplete)
    return found if words or "/" in incomplete else [*releases(ctx, incomplete), *found]


def guests(ctx: Any, incomplete: str) -> list[str]:
    """Names of guests, with their kind once a slash is typed."""
    kind, slash, rest = incomplete.partition("/")
    if slash:
        return [f"{kind}/{name}" for name in _begun(_names(ctx, kind), rest)]
    return _begun(_names(ctx, "guests"), incomplete)


def nodes(ctx: Any, incomplete: str) -> list[str]:
    """The cluster's nodes."""
    return _begun(_names(ctx, "nodes"), incomplete)


def storages(ctx: Any, incomplete: str) -> list[str]:
    """The cluster's storages."""
    return _begun(_names(ctx, "storages"), incomplete)


def _names(ctx: Any, kind: str) -> list[str]:
    """Names of a kind's objects as the server has them; none where it does not answer at once."""
    import asyncio

    from pvehelm.actions.objects import Query, get

    async def ask() -> list[str]:
        context = _session(ctx).context
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

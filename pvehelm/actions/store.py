"""The release store itself: its audit trail, copies of it, its health, and making it anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import InvalidError, NotFoundError, Problem

if TYPE_CHECKING:
    from pvehelm.actions.releases import Request
    from pvehelm.release.audit import AuditEntry
    from pvehelm.release.context import Context
    from pvehelm.release.copies import Copied
    from pvehelm.release.desire import Desire, Options
    from pvehelm.release.health import Freed
    from pvehelm.release.rebuild import Marked, Rebuilt
    from pvehelm.release.store import Store


# -- audit -----------------------------------------------------------------------------------------------------


@action("read")
def audit(ctx: Context, *, release: str = "", namespace: str = "", limit: int = 0) -> list[AuditEntry]:
    """What was done, by whom and how it ended, oldest first: an action is one entry, with the number of the entry
    that began it; of one that was never ended there is that entry alone."""
    entries = ctx.store.trail(namespace=namespace or None, release=release or None)
    ended = {entry.begun for entry in entries if entry.begun}
    shown = [entry for entry in entries if entry.outcome != "begun" or entry.seq not in ended]
    return shown[-limit:] if limit else shown


@action("read")
def verify_audit(ctx: Context) -> tuple[int, str, Problem | None]:
    """How many entries the audit trail has, the last one's hash, and the first that is not what was written."""
    return ctx.store.verify_trail()


# -- copies ----------------------------------------------------------------------------------------------------


@action("read")
def export_store(ctx: Context, names: Sequence[str] = ()) -> tuple[bytes, list[str]]:
    """A copy of releases, or of the whole store, as one file, and the digests of what in it is damaged. Secrets stay
    sealed. Raises NotFoundError."""
    from pvehelm.release.copies import damaged, write

    keys = [ctx.store.get(ctx.key(name), bodies=False).key for name in names] or None
    return write(ctx.store, keys, by=ctx.user, made=ctx.clock()), damaged(ctx.store, keys)


@action("write")
def import_store(ctx: Context, data: bytes, names: Sequence[str] = (), *, replace: bool = False) -> Copied:
    """Bring the releases of a copy into this store: all, or those that are called so. All or nothing.

    Raises InvalidError for a file that is no whole copy, RefusedError with everything that is in the way.
    """
    from pvehelm.release.copies import NEWER, chosen, load, parse

    header, rows = parse(data)
    if header["schema"] > ctx.store.db.version():
        raise InvalidError(f"the copy has schema {header['schema']}, this store {ctx.store.db.version()}", hint=NEWER)
    _about(ctx, {"releases": ", ".join(names) or "all", "made": header.get("made"), "replace": replace})
    ctx.begin()
    return load(ctx.store, chosen(rows, [(None, name) for name in names]) if names else rows, replace=replace)


@action("write")
def migrate_store(ctx: Context, target: Store) -> Copied:
    """Move everything into another store, which is the context's from now on; this one refuses to be used then.

    Raises LeaseHeldError while somebody works, RefusedError where the target is in use.
    """
    from pvehelm.release.copies import move

    source = ctx.store
    _about(ctx, {"from": source.db.path, "to": target.db.path})
    ctx.begin()
    copied = move(source, target)
    ctx.use(target)
    source.close()
    return copied


def _about(ctx: Context, given: Mapping[str, Any]) -> None:
    """Say in the audit trail what the action that runs was given."""
    if ctx.record is not None:
        ctx.record.facts["given"] = {name: value for name, value in given.items() if value}


# -- health ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What a check of the store found: what is in it, what is wrong, the last hash of the audit trail."""

    counts: Mapping[str, Any]
    problems: Sequence[Problem]
    head: str
    # How many guests were asked for their marks.
    marks: int = 0


@action("read")
async def verify_store(ctx: Context, *, marks: bool = True) -> Verdict:
    """Check every digest, reference, owner and secret, the audit trail, and the marks on the guests of this cluster."""
    from pvehelm.release import health

    found = list(health.problems(ctx.store))
    asked = 0
    if marks:
        unmarked = await _unmarked(ctx)
        asked, found = unmarked[0], found + unmarked[1]
    return Verdict(health.counts(ctx.store), tuple(found), ctx.store.verify_trail()[1], asked)


async def _unmarked(ctx: Context) -> tuple[int, list[Problem]]:
    """How many guests were asked for their marks, and what is wrong with them."""
    import asyncio

    from pvehelm.release.inventory import GUEST_KINDS
    from pvehelm.release.live import Reader
    from pvehelm.release.observe import is_strange
    from pvehelm.release.rebuild import ahead, marked

    guests = [(key, owned) for key, owned in ctx.store.owned(ctx.cluster) if owned.kind in GUEST_KINDS]
    if not guests:
        return 0, []
    reader = Reader(await ctx.connect())
    slots = asyncio.Semaphore(16)

    async def one(key: Any, owned: Any) -> Problem | None:
        async with slots:
            live = await ctx.kinds.get(owned.kind).read(owned.identifier, reader)
        where, vmid = f"release {key}: {owned.ref}", owned.identifier.get("vmid")
        if live is None:
            return Problem(where, f"guest {vmid} is missing", f"pvehelm drift {key.name}")
        if is_strange(owned, live):
            hint = f"if it is still the same guest: pvehelm upgrade {key.name} CHART --take-ownership {owned.ref}"
            return Problem(where, f"guest {vmid} does not carry its mark", hint)
        return None

    found = await asyncio.gather(*(one(key, owned) for key, owned in guests))
    problems = [problem for problem in found if problem]
    there = await marked(ctx, reader, partly=True)
    for key in sorted({key for key, _ in guests}):
        for late in ahead(there, ctx.store.uid(key), ctx.store.inventory(key)):
            what = f"guest {late.vmid} carries its mark, and the store does not know: is it an old copy?"
            problems.append(Problem(f"release {key}: {late.ref}", what, f"pvehelm store rebuild {key.name} CHART"))
    return len(guests), problems


@action("write")
def gc_store(ctx: Context, *, dry_run: bool = False) -> Freed:
    """Let go of what nothing refers to any more; see ``health.collect``."""
    from pvehelm.release.health import collect

    if not dry_run:
        ctx.begin()
    return collect(ctx.store, dry_run=dry_run)


# -- rebuilding ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """What says how a lost release was: its chart with values, or a copy of a store that has a revision of it."""

    request: Request | None = None
    copy: bytes = field(default=b"", repr=False)
    # The revision of the copy; its newest that was deployed without one.
    revision: int = 0


@action("read")
async def marks(ctx: Context) -> list[Marked]:
    """Every guest of the cluster that carries the mark of a release."""
    from pvehelm.release.rebuild import marked

    return await marked(ctx)


@action("write")
async def rebuild_store(
    ctx: Context, name: str, source: Source, options: Options | None = None, *, uid: str = "", dry_run: bool = False
) -> Rebuilt:
    """Make the records of a release again from the marks on its guests and its chart or a revision of it.

    Nothing on the server changes. A dry run works on a copy of the store in memory.
    """
    from pvehelm.release.desire import Options
    from pvehelm.release.rebuild import rebuild

    key = ctx.key(name)
    if dry_run:
        _on_a_copy(ctx)
    if source.request is not None:
        from pvehelm.actions.releases import desired

        found = ctx.store.find(key)
        number = found.current.number + 1 if found else 1
        desire = await desired(ctx, source.request, "install", recorded={}, revision=number, labels={})
    else:
        desire, known = _recorded(source, key.namespace, name)
        uid = uid or known
    return await rebuild(ctx, key, desire, options or Options(), uid=uid)


def _on_a_copy(ctx: Context) -> None:
    """Go on with a copy of the store that is forgotten at the end."""
    from pvehelm.release.copies import load, rows
    from pvehelm.release.store import open_store

    store = ctx.store
    copy = open_store(":memory:", keys=store.keys, clock=store.clock)
    with store.db.transaction(write=False):
        load(copy, rows(store))
    ctx.use(copy)
    store.close()


def _recorded(source: Source, namespace: str, name: str) -> tuple[Desire, str]:
    """The desire of a revision in a copy, and the uid of its release. Raises NotFoundError."""
    from dataclasses import replace

    from pvehelm.release.copies import chosen, load, parse
    from pvehelm.release.desire import back_to
    from pvehelm.release.release import Status
    from pvehelm.release.store import open_store

    with open_store(":memory:") as copy:
        load(copy, chosen(parse(source.copy)[1], [(namespace, name)]))
        release = copy.list(None)[0]
        numbers = [one.number for one in copy.revisions(release.key) if one.status is not Status.failed]
        if source.revision:
            numbers = [source.revision]
        if not numbers:
            raise NotFoundError(f"the copy has no revision of {name} that was deployed", hint="--revision names one")
        revision = copy.revision(release.key, numbers[-1])
    desire = back_to(revision)
    record = {**desire.record, "rollback_of": None, "number": revision.number}
    return replace(desire, action="rebuild", record=record), release.uid

"""A lost store made again: what a release owns, from the marks on its guests and a manifest that says what they were.
A store that is an older copy learns of the guests that were made since.

Nothing on the server is changed. What the marks and the manifest do not say is not guessed but told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pvehelm.api.kind import Live
from pvehelm.errors import ApiError, InvalidError, NotFoundError, Problem, RefusedError, TransportError
from pvehelm.release.context import Context
from pvehelm.release.decide import decide
from pvehelm.release.desire import Desire, Options, begun
from pvehelm.release.inventory import GUEST_KINDS, Inventory, Owned
from pvehelm.release.live import Reader
from pvehelm.release.release import Release, ReleaseKey, Status
from pvehelm.release.secrets import references

FLAVOURS = {"qemu": "VirtualMachine", "lxc": "Container"}
PARALLEL = 16


@dataclass(frozen=True)
class Marked:
    """A guest with a mark: the release (``uid``) and the resource (``ref``) that it says it belongs to.

    ``genuine`` is false for a copy: its mark names the VMID of the guest that it was cloned from.
    """

    uid: str
    ref: str
    vmid: int
    node: str
    name: str
    genuine: bool
    live: Live = field(repr=False, compare=False)


@dataclass
class Rebuilt:
    """What became of a release: the guests that are its again, what else its records hold, and what is not known."""

    key: ReleaseKey
    uid: str
    revision: int = 0
    guests: dict[str, int] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    unknown: list[Problem] = field(default_factory=list)


async def marked(ctx: Context, reader: Reader | None = None, *, partly: bool = False) -> list[Marked]:
    """Every guest of the cluster that carries a mark, by release, resource and VMID. One request for each guest;
    ``partly`` leaves out those that can't be read."""
    reader = reader or Reader(await ctx.connect())
    slots = asyncio.Semaphore(PARALLEL)

    async def one(row: Any) -> Marked | None:
        kind = ctx.kinds.get(FLAVOURS[row["type"]])
        try:
            async with slots:
                live = await kind.read({"vmid": int(row["vmid"]), "node": row["node"]}, reader)
        except (ApiError, TransportError):
            if not partly:
                raise
            live = None
        mark = live.extra.get("mark") if live is not None else None
        if live is None or mark is None:
            return None
        genuine = mark.vmid == str(row["vmid"]) and mark.ref.partition("/")[0] == kind.name
        name = str(row.get("name") or "")
        return Marked(mark.uid, mark.ref, int(row["vmid"]), str(live.key["node"]), name, genuine, live)

    rows = await reader("/cluster/resources", type="vm") or []
    found = await asyncio.gather(*(one(row) for row in rows if row.get("type") in FLAVOURS))
    return sorted((one for one in found if one), key=lambda one: (one.uid, one.ref, one.vmid))


def ahead(found: Sequence[Marked], uid: str, inventory: Inventory) -> list[Marked]:
    """The release's guests that its records do not have: made, or made anew, after the store was copied."""
    known = {(owned.ref, str(owned.identifier.get("vmid"))) for owned in inventory}
    return [one for one in found if one.uid == uid and one.genuine and (one.ref, str(one.vmid)) not in known]


async def rebuild(ctx: Context, key: ReleaseKey, desire: Desire, options: Options, *, uid: str = "") -> Rebuilt:
    """Write down what a release owns: the guests with the mark ``uid`` (else that of the release in the store, else the
    one mark that the desire's guests carry), with the fields that the desire gives them, and as a deployed revision the
    desire itself. Where the store has some of it, what it has is kept and the rest is added.

    Raises RefusedError where the store has all of it, NotFoundError without a marked guest.
    """
    store = ctx.store
    known, had = store.find(key), store.inventory(key)
    found = await marked(ctx)
    if known is not None and len(had) and not ahead(found, uid or store.uid(key), had):
        raise RefusedError(
            f"the store knows what release {key} owns; there is nothing to rebuild",
            hint=f"pvehelm drift {key.name} compares it with the server",
        )
    uid = uid or (store.uid(key) if known is not None else "") or _uid_of(ctx, key, desire, found)
    other = store.db.row("SELECT namespace, name FROM releases WHERE uid = ?", (uid,))
    if other is not None and (other["namespace"], other["name"]) != (key.namespace, key.name):
        raise RefusedError(f"the guests with mark {uid} belong to release {other['namespace']}/{other['name']}")
    mine = {one.ref: one for one in found if one.uid == uid and one.genuine}
    made = Rebuilt(key, uid)
    made.unknown += [
        Problem(f"guest {one.vmid}", f"carries the mark of {one.ref}, but is a copy of that guest", "it is nobody's")
        for one in found
        if one.uid == uid and not one.genuine
    ]
    twice = {ref for ref in mine if sum(one.ref == ref and one.uid == uid and one.genuine for one in found) > 1}
    if twice:
        raise InvalidError(
            "several guests carry the same mark",
            [Problem(ref, ", ".join(str(o.vmid) for o in found if o.ref == ref)) for ref in sorted(twice)],
        )
    mine = {one.ref: one for one in ahead(list(mine.values()), uid, had)}
    if not mine:
        raise NotFoundError(f"no guest carries the mark of release {key}", hint="`pvehelm store rebuild` lists marks")
    with store.hold(key.scope, purpose="rebuild") as lease:
        ctx.begin()
        if store.uid(key) not in ("", uid):
            store.db.execute("UPDATE releases SET uid = ? WHERE id = ?", (uid, store.id_of(key)))
        store.ensure(key, uid)
        for one in mine.values():
            store.put_owned(key, _seed(one, key), lease=lease)
        decision = await decide(ctx, key, desire, replace(options, reuse_empty=False), uid=uid)
        changes = {change.ref: change for change in decision.plan.changes}
        for one in mine.values():
            change = changes.get(one.ref)
            made.guests[one.ref] = one.vmid
            if change is None or change.owned is None or one.ref not in {d.ref for d in decision.desired}:
                what = f"guest {one.vmid} carries its mark, but no manifest has it"
                made.unknown.append(Problem(one.ref, what, "the next upgrade removes it, unless a manifest names it"))
                continue
            # What was there before is not known: what is no longer wanted is unset, not set back.
            store.put_owned(key, replace(change.owned, found={}, created=True), lease=lease)
        numbers = {str(one.vmid) for one in mine.values()}
        for ref in (wanted.ref for wanted in decision.desired if wanted.ref not in mine and wanted.ref not in had):
            live = decision.observed.live.get(ref)
            owned = changes[ref].owned if ref in changes else None
            if live is None:
                made.unknown.append(Problem(ref, "it is not on the server", "the next upgrade makes it"))
            elif owned is not None and str(live.key.get("vmid")) in numbers:
                # Settings of a guest that is the release's are the release's.
                store.put_owned(key, replace(owned, found={}, created=True), lease=lease)
                made.others.append(ref)
            elif options.allowed.named(ctx.kinds.ref).owns(ref) and owned is not None:
                store.put_owned(key, replace(owned, identifier=dict(live.key)), lease=lease)
                made.others.append(ref)
            else:
                what = "it is there; whether this release made it is written nowhere"
                made.unknown.append(Problem(ref, what, f"--take-ownership {ref}"))
        made.unknown += _lost(ctx, key, known, desire)
        revision = begun(ctx, store.find(key), desire, decision.plan, options)
        made.revision = max(revision.number, int(desire.record.get("number") or 0))
        what = f"Rebuilt from the marks of {len(mine)} guests"
        revision = revision._replace(number=made.revision, status=Status.deployed, description=what)
        with store.transaction():
            store.put_revision(key, revision, lease=lease)
            for name, text in desire.sealed.items():
                store.put_secret(key, name, text)
        if ctx.record is not None:
            ctx.record.about(key, revision=made.revision)
    return made


def _seed(one: Marked, key: ReleaseKey) -> Owned:
    kind, _, name = one.ref.partition("/")
    return Owned(one.ref, kind, name, key.namespace, {"vmid": one.vmid, "node": one.node}, uid=one.uid)


def _uid_of(ctx: Context, key: ReleaseKey, desire: Desire, found: Sequence[Marked]) -> str:
    """The one mark that the desire's guests carry and that belongs to no release of the store."""
    refs = {resource.ref for resource in desire.resources if resource.kind in GUEST_KINDS}
    taken = {
        str(row["uid"]) for row in ctx.store.db.rows("SELECT uid FROM releases WHERE id <> ?", (ctx.store.id_of(key),))
    }
    by_uid: dict[str, list[str]] = {}
    for one in found:
        if one.genuine and one.ref in refs and one.uid not in taken:
            by_uid.setdefault(one.uid, []).append(f"{one.ref} (guest {one.vmid})")
    if len(by_uid) > 1:
        raise RefusedError(
            f"guests of several releases are called as those of {key.name}",
            [Problem(uid, ", ".join(guests), f"--uid {uid}") for uid, guests in sorted(by_uid.items())],
        )
    if not by_uid:
        named = ", ".join(sorted(refs)) or "none at all"
        raise NotFoundError(
            f"no guest carries the mark of one of the release's guests ({named})",
            hint="`pvehelm store rebuild` lists all marks; guests without one: --take-ownership of the next upgrade",
        )
    return next(iter(by_uid))


def _lost(ctx: Context, key: ReleaseKey, known: Release | None, desire: Desire) -> list[Problem]:
    """What neither marks nor manifests say."""
    found = [
        Problem("values found", "what fields were set to before this release set them", "they are unset, not set back")
    ]
    if known is None:
        found.append(Problem("history", "the revisions before this one", "roll back by upgrading to the former chart"))
    there = {*ctx.store.secret_names(key), *desire.sealed}
    wanted = {
        one.removeprefix("release/")
        for resource in desire.resources
        for one in references([resource.spec, resource.metadata])
        if one.startswith("release/")
    }
    for name in sorted(wanted - there):
        what = "was sealed in the lost store; the server keeps what it has"
        found.append(Problem(f"secret://release/{name}", what, "`pvehelm store import` of a copy brings it back"))
    for name in sorted(desire.sealed):
        what = "was made anew; whether the guests have the same one can't be seen"
        found.append(Problem(f"secret://release/{name}", what, "set it by an upgrade that gives it explicitly"))
    return found

"""Objects that change hands: nobody's to a release (adopt), or one release's to another's (move).

Marks and records only. What is intended goes into the journals of both sides first, whole; then every guest gets the
new owner's mark; then both inventories and the revisions that say so are written at once. A process that dies in
between has left an intent that the next command on either side carries through. A mark that can't be written takes the
others back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import uuid4

from pvehelm.api.task import is_upid
from pvehelm.errors import FencedError, NotFoundError, PvehelmError, TransportError, UnseenError
from pvehelm.release.context import Context
from pvehelm.release.event import Event
from pvehelm.release.inventory import GUEST_KINDS, Owned
from pvehelm.release.journal import Entry
from pvehelm.release.lease import Lease
from pvehelm.release.live import Reader
from pvehelm.release.release import ReleaseKey, Revision
from pvehelm.release.silence import ended, unclear

HANDOVER = "handover"
PARALLEL = 8
Leases = Mapping[ReleaseKey, Lease]


@dataclass(frozen=True)
class Piece:
    """One object: as the new owner will have it, and as the one before had it (None: nobody did)."""

    owned: Owned
    before: Owned | None = None


@dataclass(frozen=True)
class Side:
    """A release that takes or gives, with the revision that will say so."""

    key: ReleaseKey
    revision: Revision

    def to_json(self) -> dict[str, Any]:
        return {"key": self.key.to_json(), "revision": self.revision.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(ReleaseKey.from_json(data["key"]), Revision.from_json(data["revision"]))


@dataclass(frozen=True)
class Handover:
    """Everything that is needed to carry it through. ``secrets`` are names that the taker needs of the giver's."""

    pieces: tuple[Piece, ...]
    taker: Side
    giver: Side | None = None
    secrets: tuple[str, ...] = ()
    id: str = ""

    @property
    def sides(self) -> tuple[Side, ...]:
        return (self.taker, self.giver) if self.giver else (self.taker,)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "note": "hand over" if self.giver else "adopt",
            "pieces": [
                {"owned": piece.owned.to_json(), "before": piece.before.to_json() if piece.before else None}
                for piece in self.pieces
            ],
            "taker": self.taker.to_json(),
            "giver": self.giver.to_json() if self.giver else None,
            "secrets": list(self.secrets),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        pieces = [
            Piece(Owned.from_json(row["owned"]), Owned.from_json(row["before"]) if row.get("before") else None)
            for row in data["pieces"]
        ]
        giver = Side.from_json(data["giver"]) if data.get("giver") else None
        return cls(tuple(pieces), Side.from_json(data["taker"]), giver, tuple(data.get("secrets", ())), data["id"])


@contextmanager
def held(ctx: Context, keys: Sequence[ReleaseKey], purpose: str) -> Iterator[dict[ReleaseKey, Lease]]:
    """The leases of all of the releases. Raises LeaseHeldError naming who has one."""
    with ExitStack() as stack:
        ordered = sorted(set(keys), key=str)
        yield {key: stack.enter_context(ctx.store.hold(key.scope, purpose=purpose)) for key in ordered}


async def hand_over(ctx: Context, what: Handover, leases: Leases) -> None:
    """Carry a handover through. Raises the error of a mark that can't be written, with everything as it was;
    UnseenError where marks could not be set back either, for the next command to carry it through."""
    what = replace(what, id=str(uuid4()))
    store, intent = ctx.store, what.to_json()
    if ctx.record is not None:
        ctx.record.about(what.taker.key, revision=what.taker.revision.number)
    with store.transaction():
        if ctx.record is not None:
            ctx.record.begin(ctx)
        entries = {
            side.key: store.begin(
                side.key, leases[side.key], side.revision.number, 1, what.pieces[0].owned.ref, HANDOVER, intent
            )
            for side in what.sides
        }
    try:
        await _carry_through(ctx, what, leases, entries)
    except (FencedError, UnseenError):
        raise
    except PvehelmError as error:
        _close(ctx, leases, entries, str(error))
        raise


async def _carry_through(ctx: Context, what: Handover, leases: Leases, entries: Mapping[ReleaseKey, int]) -> None:
    ctx.emit(Event("plan", "", "hand over", {"changes": len(what.pieces)}))
    try:
        await _mark(ctx, [piece.owned for piece in what.pieces])
    except PvehelmError as error:
        if await _unmark(ctx, what):
            raise
        raise UnseenError(error) from error
    _record(ctx, what, leases, entries)


async def _mark(ctx: Context, owned: Sequence[Owned], *, instead: str = "") -> None:
    """The marks of these owners on their guests; those that are there already cost a look. ``uid`` '': no mark.

    ``instead`` touches only guests that carry the mark of that release.
    """
    client = await ctx.connect()
    reader, slots = Reader(client), asyncio.Semaphore(PARALLEL)

    async def one(item: Owned) -> None:
        kind = ctx.kinds.get(item.kind)
        async with slots:
            live = await kind.read(item.identifier, reader)
            if live is None:
                raise NotFoundError(f"{item.ref} is gone from the server")
            mark = live.extra.get("mark")
            there = (mark.uid, mark.ref) == (item.uid, item.ref) if mark is not None else not item.uid
            other = bool(instead) and (mark is None or mark.uid != instead)
            if there or other or item.kind not in GUEST_KINDS:
                return
            ctx.emit(Event("change-started", item.ref, "mark"))
            for step in kind.mark(live, item.uid, item.ref):
                answer = await client.request(step.method, step.path, dict(step.params))
                if is_upid(answer):
                    await ended(answer, client)
            ctx.emit(Event("change-done", item.ref, "mark"))

    results = await asyncio.gather(*(one(item) for item in owned), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _unmark(ctx: Context, what: Handover) -> bool:
    """The marks of before again, wherever that is possible; False where it is not for want of an answer."""
    answered = True
    for piece in what.pieces:
        try:
            await _mark(ctx, [piece.before or replace(piece.owned, uid="")], instead=piece.owned.uid)
        except PvehelmError as error:
            answered = answered and not (isinstance(error, TransportError) or unclear(error))
            ctx.emit(Event("note", piece.owned.ref, f"its mark could not be set back: {error}"))
    return answered


def _record(ctx: Context, what: Handover, leases: Leases, entries: Mapping[ReleaseKey, int]) -> None:
    """Both inventories and both revisions, at once."""
    store, taker = ctx.store, what.taker
    with store.transaction():
        for piece in what.pieces:
            if what.giver is not None and piece.before is not None:
                store.forget(what.giver.key, piece.before.ref, lease=leases[what.giver.key])
            store.put_owned(taker.key, piece.owned, lease=leases[taker.key])
        for name in what.secrets if what.giver else ():
            assert what.giver is not None
            store.put_secret(taker.key, name, store.get_secret(what.giver.key, name))
        for side in what.sides:
            store.put_revision(side.key, side.revision, lease=leases[side.key])
        for key, entry in entries.items():
            store.outcome(entry, leases[key], ok=True)


def _close(ctx: Context, leases: Leases, entries: Mapping[ReleaseKey, int], error: str) -> None:
    with ctx.store.transaction():
        for key, entry in entries.items():
            ctx.store.outcome(entry, leases[key], ok=False, error=error)


# -- after a process that died -----------------------------------------------------------------------------------


async def recover(ctx: Context, key: ReleaseKey, lease: Lease, entry: Entry) -> str:
    """Carry an interrupted handover through, or take it back where that can't be; what came of it in words.

    Raises LeaseHeldError while somebody works on the other side.
    """
    what = Handover.from_json(entry.intent)
    others = [side.key for side in what.sides if side.key != key]
    with held(ctx, others, HANDOVER) as leases:
        leases[key] = lease
        entries = {key: entry.id}
        for other in others:
            for twin in ctx.store.open_entries(other):
                if twin.intent.get("id") == what.id:
                    entries[other] = twin.id
        try:
            await _carry_through(ctx, what, leases, entries)
        except (FencedError, UnseenError):
            raise
        except PvehelmError as error:
            _close(ctx, leases, entries, str(error))
            return f"was to be handed over to {what.taker.key}, which can't be: {error}"
    return f"was being handed over to {what.taker.key}; that is finished now"


async def settle(ctx: Context, key: ReleaseKey) -> bool:
    """Finish an interrupted handover of a release before anything is made of its manifests; whether there was one."""
    from pvehelm.release.recover import recover_entries

    if not any(entry.op == HANDOVER for entry in ctx.store.open_entries(key)):
        return False
    with ctx.store.hold(key.scope, purpose="recover") as lease:
        await recover_entries(ctx, key, lease)
    return True

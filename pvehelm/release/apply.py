"""Do: run a plan as a graph. Intent is journalled before each call and its outcome after, with what is owned then.

A change starts when everything it needs is done; independent ones run side by side, within caps for each node and each
clone source. A failure stops what depends on it and nothing else. Being told to stop means: start nothing more, finish
what runs. Whatever interrupts harder, the journal and the server together still say what happened; see ``recover``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pvehelm.api.guests import GuestKind
from pvehelm.api.kind import Step, get_leaf, placeholders
from pvehelm.api.task import Task
from pvehelm.errors import ApiError, FencedError, PvehelmError, RefusedError, StoppedError, TaskError
from pvehelm.release.calls import Call
from pvehelm.release.creation import MOVED, Creation
from pvehelm.release.event import Emit, Event
from pvehelm.release.identifiers import Identifiers, Numbers
from pvehelm.release.inventory import GUEST_KINDS, Owned
from pvehelm.release.lease import Lease
from pvehelm.release.ledger import Ledger
from pvehelm.release.live import Reader, knowing
from pvehelm.release.networklock import while_free
from pvehelm.release.plan import Change, Op, Plan
from pvehelm.release.release import ReleaseKey
from pvehelm.release.secrets import Secrets
from pvehelm.release.silence import is_stranger, unclear
from pvehelm.release.slots import Slots

if TYPE_CHECKING:
    from pvehelm.api.client import Client
    from pvehelm.release.commons import Commons
    from pvehelm.release.context import Context

# So many lines of a failed task's log are kept.
LOG_LINES = 500
# So many changes at a time, in all, on one node, and of copies of one guest.
PARALLEL, PER_NODE, PER_SOURCE = 10, 6, 3


@dataclass
class Outcome:
    """How a plan ended: refs by what became of their change."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, PvehelmError] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    interrupted: bool = False

    @property
    def ok(self) -> bool:
        return not self.failed and not self.skipped and not self.interrupted


class Applier:
    """One plan being applied to what a release owns, or an object by itself, under its lease.

    ``stop``: set to begin nothing more. ``perform`` does what is no change of an object (Op.run). Plans that run side
    by side may share a ``ledger``.
    """

    def __init__(
        self,
        ctx: Context,
        client: Client,
        plan: Plan,
        *,
        key: ReleaseKey,
        revision: int,
        lease: Lease,
        secrets: Secrets | None = None,
        emit: Emit | None = None,
        stop: asyncio.Event | None = None,
        parallel: int = PARALLEL,
        perform: Callable[[Change, Applier], Awaitable[None]] | None = None,
        ledger: Ledger | None = None,
        common: Commons | None = None,
        numbers: Numbers | None = None,
    ) -> None:
        self.plan = plan
        self.perform = perform
        self.key = key
        self.revision = revision
        self.client = client
        self.store = ctx.store
        self.lease = lease
        self.kinds = ctx.kinds.get
        self.secrets = secrets or ctx.secrets(key)
        self.emit = emit or ctx.emit
        self.stop = stop or asyncio.Event()
        self.sleep = client.sleep
        self.outcome = Outcome()
        inventory = ctx.store.inventory(key)
        self.keys = Identifiers({ref: owned.identifier for ref, owned in inventory.entries.items()})
        self.owned: dict[str, Owned] = dict(inventory.entries)
        self._slots = Slots({"all": parallel, "node": PER_NODE, "source": PER_SOURCE})
        self._ledger = ledger or Ledger(ctx.store)
        self._common = common
        # The last outcome of each object that was handed in without being waited for.
        self._unheard: dict[str, tuple[asyncio.Future[None], Callable[[], None]]] = {}
        # How each change has ended, where that is handed in and not known to be durable yet.
        self._last: dict[str, asyncio.Future[None]] = {}
        self.numbers = numbers or Numbers(client)
        self._sequence = 0

    async def run(self) -> Outcome:
        """Apply every change; never raises for a failed one."""
        todo = [change for change in self.plan.changes if change.op is not Op.keep or change.steps]
        for change in self.plan.changes:
            if change.key.get("vmid"):
                self.keys.setdefault(change.ref, change.key)
        ended: dict[str, asyncio.Event] = {change.ref: asyncio.Event() for change in todo}

        async def one(change: Change) -> None:
            try:
                for need in change.needs:
                    if need in ended:
                        await ended[need].wait()
                await self._guarded(change)
            finally:
                ended[change.ref].set()

        try:
            async with asyncio.TaskGroup() as group:
                for change in todo:
                    group.create_task(one(change))
        finally:
            self._ledger.flush()
        return self.outcome

    async def _guarded(self, change: Change) -> None:
        broken = [need for need in change.needs if need in self.outcome.failed or need in self.outcome.skipped]
        if broken or self.stop.is_set():
            await self._otherwise(change)
            self.outcome.interrupted |= self.stop.is_set()
            why = self.outcome.skipped.get(broken[0], f"{broken[0]} failed") if broken else "interrupted"
            self.outcome.skipped[change.ref] = why
            self.tell("change-skipped", change.ref, why)
            return
        node, source = str(change.key.get("node")), self._source(change)
        try:
            async with self._slots.hold(("all", ""), ("node", node), ("source", source)):
                if self.stop.is_set():
                    await self._otherwise(change)
                    raise StoppedError("interrupted")
                self.tell("change-started", change.ref, str(change.op))
                await self._change(change)
            # Whoever has the room now hands in what it begins with, to be written together with how this one ended.
            await self._written(change.ref)
        except StoppedError as error:
            # What was waiting when the word came; nothing is wrong with it.
            self.outcome.interrupted = True
            self.outcome.skipped[change.ref] = "interrupted"
            self.tell("change-skipped", change.ref, str(error))
        except Exception as error:
            if isinstance(error, FencedError):
                await self._otherwise(change)
            # A defect of ours in one kind must not tear the others from the middle of their work.
            known = error if isinstance(error, PvehelmError) else PvehelmError(f"{type(error).__name__}: {error}")
            self.outcome.failed[change.ref] = self.secrets.redact_error(known)
            self.tell("change-failed", change.ref, str(known))
        else:
            self.outcome.done.append(change.ref)
            self.tell("change-done", change.ref, str(change.op))

    async def _otherwise(self, change: Change) -> None:
        """What has to be done when a change can't be begun, as far as it can: a lock is given back."""
        locked = all(need in self.outcome.done for need in change.needs if need.endswith("-lock"))
        for step in change.otherwise if locked else ():
            try:
                await self.step(change, step, final=True, giving_back=True)
                await self._written(change.ref)
            except PvehelmError as error:
                self.tell("note", change.ref, self.secrets.redact(str(error)))

    def _source(self, change: Change) -> str:
        clone = next((step.path for step in change.steps if step.path.endswith("/clone")), None)
        return clone or f"own:{change.ref}"

    # -- one change --------------------------------------------------------------------------------------------

    async def _change(self, change: Change) -> None:
        if change.op is Op.run:
            assert self.perform is not None
            await self.perform(change, self)
            return
        try:
            await self._steps(change, change.steps)
        except (ApiError, TaskError) as error:
            back = any(step.path.endswith("/rollback") for step in change.steps)
            # What was planned for a guest once it is back at a snapshot is no plan for the guest as it is, and what
            # changes no field can't be planned anew.
            if change.op is not Op.update or back or not change.fields or not MOVED.search(str(error)):
                raise
            # A snapshot of ours has changed the configuration's digest, which is nothing to be told.
            if not any(ref.startswith("snapshot:") for ref in self.outcome.done):
                self.tell("retry", change.ref, "it is not as it was planned for any more; planning it once more")
            await self._steps(change, await self._again(change))
            if not change.owned:
                return
            self.record(change, "planned once more", owned=self.complete(change))

    async def _again(self, change: Change) -> list[Step]:
        """The steps of an update on the object as it is now: what of the change is still to be done."""
        kind = self.kinds(change.kind)
        live = await kind.read(self.keys.get(change.ref, change.key), Reader(self.client))
        if live is None:
            raise PvehelmError(f"{change.ref} is gone", hint="run the command again: it is planned anew")
        left = {
            row.leaf: row.after
            for row in change.fields
            if kind.recorded(row.leaf) or not kind.same(row.leaf, row.after, get_leaf(live.fields, row.leaf))
        }
        return kind.update(live, left, change.wanted) if left else []

    async def _steps(self, change: Change, given: Sequence[Step]) -> None:
        steps = list(given)
        for step in steps:
            if step.seen.get("was"):
                await self._check_same(change, step)
        for index, step in enumerate(steps):
            last = index == len(steps) - 1
            if step.creates:
                await Creation(self, change, step).run()
            else:
                final = last and change.op in (Op.update, Op.keep, Op.forget)
                await self.step(change, step, final=final, more=not last)
        if change.op is Op.forget and not steps:
            self.record(change, "forget", forget=True)

    async def _check_same(self, change: Change, step: Step) -> None:
        """Raise RefusedError where a guest that loses data is not the one that was planned: while this plan was looked
        at, its number may have become somebody else's."""
        kind, key = self.kinds(change.kind), change.key
        assert isinstance(kind, GuestKind)
        live = await kind.read(key, knowing(self.client, kind, {"status": "unknown", **key}))
        if live is not None and is_stranger(step, live):
            raise RefusedError(
                f"guest {key['vmid']} is not the one that was planned any more, and is left alone",
                hint="run the command again: it is planned anew",
            )

    # -- one step ----------------------------------------------------------------------------------------------

    async def step(
        self,
        change: Change,
        step: Step,
        *,
        final: bool,
        more: bool = False,
        claim: int = 0,
        giving_back: bool = False,
    ) -> bool:
        """``claim`` is a VMID to reserve together with the intent; False when it belongs to somebody else already.
        That it went well is durable with what is written of the change next, or with its end (``_written``), if there
        is no ``more``.
        ``giving_back`` a lock needs no lease: its token says whose it is."""
        owned = self.complete(change) if final else self._partly(change, step)
        if owned is not None and step.creates and self.kinds(change.kind).signed in step.params:
            # The signature is ours to take away again, should the step that does so never come.
            signed = self.kinds(change.kind).signed
            owned = replace(owned, fields={**owned.fields, signed: step.params[signed]})
        intent = {
            **step.as_dict(),
            "path": self.keys.fill(step.path),
            "params": self.keys.fill(dict(step.as_dict()["params"])),
            "key": dict(self.keys.get(change.ref, change.key)),
            "kind": change.kind,
            "owned": owned.to_json() if owned else None,
        }
        if "" in step.keep:
            intent["before"] = await while_free(self.client, intent["path"])
        self._sequence += 1
        sequence = self._sequence

        def begin() -> int:
            if self._common is not None and not giving_back:
                self._common.check(intent["path"])
            if claim and not self.store.reserve(self.key.cluster, claim, self.key, change.ref):
                return 0
            return self._begin(sequence, change.ref, str(change.op), intent)

        entry = await self._ledger.write(begin)
        self._unheard.pop(change.ref, None)
        if not entry:
            return False
        self.tell("step", change.ref, step.note or f"{step.method} {step.path}")
        try:
            data = await Call(self, change, step, entry, intent).made() if step.method else None
        except PvehelmError as error:
            if unclear(error):
                raise  # nobody knows whether it happened: the entry stays open and the next command finds out
            logged = await self._log(error)
            text = self.secrets.redact(str(error))
            # A list is ours from its first row on, whatever became of that: what was there before is known.
            left = owned if "list" in step.seen else None
            failed = partial(self.store.outcome, entry, self.lease, ok=False, error=text, result=logged, owned=left)
            await self._ledger.write(failed)
            self.outcome.events.append({"ref": change.ref, "step": step.note, "ok": False, "error": text})
            raise
        if step.method and step.keep:
            with self.store.transaction():
                # Whoever took over may have kept another one under that name.
                self.store.check(self.lease)
                for name, reference in step.keep.items():
                    kept = name[1:] if name[:1] == "=" else data[name] if isinstance(data, Mapping) else data
                    self.store.put_secret(self.key, reference.removeprefix("secret://release/"), str(kept))
        forget = (
            change.ref
            if (step.deletes and change.op is not Op.recreate) or (change.op is Op.forget and final)
            else None
        )
        if "node" in step.writes and change.wanted and change.kind in GUEST_KINDS:
            self.keys[change.ref] = {**self.keys[change.ref], "node": change.wanted.fields["node"]}
            owned = replace(owned, identifier=self.keys[change.ref]) if owned else None
        if step.deletes or forget:
            owned = None
        went_well = partial(self.store.outcome, entry, self.lease, ok=True, owned=owned, forget=forget)
        written = self._ledger.write(went_well, soon=not more)
        self._unheard[change.ref] = (written, went_well)
        if not more:
            self._last[change.ref] = written
        if owned is not None:
            self.owned[change.ref] = owned
        self.outcome.events.append({"ref": change.ref, "step": step.note, "ok": True})
        return True

    def started(self, entry: int, upid: str) -> None:
        """What a task is called, for the journal; nothing waits for that to be durable."""
        self._ledger.write(partial(self.store.set_upid, entry, upid), soon=False)

    async def _log(self, error: PvehelmError) -> dict[str, Any] | None:
        """What the task said that failed, for the journal: the server forgets its logs, and cleaning up comes next."""
        if not isinstance(error, TaskError):
            return None
        lines = await Task(error.upid, self.client).last_lines(LOG_LINES) or list(error.log)
        return {"log": [self.secrets.redact(line) for line in lines]}

    def record(self, change: Change, note: str, *, owned: Owned | None = None, forget: bool = False) -> None:
        """An outcome without a call, as the last one of a change."""
        self._sequence += 1
        sequence = self._sequence

        def record() -> None:
            entry = self._begin(sequence, change.ref, str(change.op), {"note": note})
            self.store.outcome(entry, self.lease, ok=True, owned=owned, forget=change.ref if forget else None)

        self._last[change.ref] = self._ledger.write(record)

    async def _written(self, ref: str) -> None:
        """Return when the end of a change is durable. Raises what writing it raised."""
        if ref in self._last:
            await self._last.pop(ref)
            self._unheard.pop(ref, None)

    # -- ownership ---------------------------------------------------------------------------------------------

    def complete(self, change: Change) -> Owned | None:
        if change.owned is None:
            return None
        key = dict(self.keys.get(change.ref, change.key))
        fields = dict(change.owned.fields)
        if any(placeholders(list(fields.values()))):
            fields = self.keys.text(fields)
        return replace(change.owned, identifier=key, fields=fields)

    def _partly(self, change: Change, step: Step) -> Owned | None:
        """Ownership after this step alone: what was owned before, and the leaves it writes."""
        whole = self.complete(change)
        if step.undoes and change.ref in self.owned:
            left = self.owned[change.ref]
            return replace(left, fields={leaf: v for leaf, v in left.fields.items() if leaf not in step.undoes})
        if whole is None or step.deletes or change.op in (Op.delete, Op.forget):
            return None
        before = self.owned.get(change.ref) if change.op is not Op.recreate or not step.creates else None
        fields = dict(before.fields) if before else {}
        found = dict(before.found) if before else {}
        # A list is owned from its first row on, with what was there before that.
        for leaf in (*step.writes, *filter(None, [step.seen.get("list")])):
            if leaf in whole.fields:
                fields[leaf] = whole.fields[leaf]
                if leaf in whole.found:
                    found.setdefault(leaf, whole.found[leaf])
            elif leaf in step.writes:
                fields.pop(leaf, None)
        return replace(whole, fields=fields, found=found)

    def begin(self, ref: str, op: str, intent: Mapping[str, Any]) -> int:
        """A journal entry for what is about to be done."""
        self._sequence += 1
        return self._begin(self._sequence, ref, op, intent)

    def _begin(self, sequence: int, ref: str, op: str, intent: Mapping[str, Any]) -> int:
        if ref in self._unheard:
            written, again = self._unheard[ref]
            if written.done() and written.exception() is not None:
                # Nothing later shall be known of the object than what was written of it so far.
                again()
        return self.store.begin(self.key, self.lease, self.revision, sequence, ref, op, intent)

    def tell(self, kind: str, ref: str, message: str) -> None:
        self.emit(Event(kind, ref, message))

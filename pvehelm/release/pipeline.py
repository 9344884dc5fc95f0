"""Install, upgrade, rollback, uninstall, repair: one pipeline with a different desired state.

lease -> recover what was interrupted -> read -> plan -> (stop here when dry) -> confirm -> apply -> record.

Whatever ends a run after its first write, the revision it began says so: done, failed or interrupted, with its events.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from pvehelm.chart.manifest import Resource
from pvehelm.errors import LeaseHeldError, Problem, PvehelmError, RefusedError, StoppedError
from pvehelm.release import disks, hooks
from pvehelm.release.apply import Applier, Outcome
from pvehelm.release.commits import KIND as COMMIT
from pvehelm.release.commons import Commons, shared
from pvehelm.release.context import Context
from pvehelm.release.decide import Decision, check, decide, look_ahead
from pvehelm.release.desire import Desire, Options, back_to, begun, described, last_deployed, same_input
from pvehelm.release.event import Event
from pvehelm.release.hookrun import Runner
from pvehelm.release.identifiers import Numbers
from pvehelm.release.inventory import GUEST_KINDS, Inventory
from pvehelm.release.lease import Lease
from pvehelm.release.live import Reader
from pvehelm.release.namespaces import missing_namespaces
from pvehelm.release.plan import Plan
from pvehelm.release.readiness import TIMEOUT as READY
from pvehelm.release.readiness import Waiting, wants
from pvehelm.release.recover import recover_entries
from pvehelm.release.release import Release, ReleaseKey, Revision, Status

# Where the journal counts what is no step of a change from.
NAMESPACES, RECORDS = 90_000, 100_000


# A finished task is shown by asyncio with all of its result, which is much here.
@dataclass(repr=False)
class Result:
    """What came of it: the plan always; the release when something was (or had been) recorded."""

    plan: Plan
    release: Release | None = None
    outcome: Outcome | None = None
    changed: bool = False
    requests: int = 0
    # What the plan was made from; None where nothing was decided.
    decision: Decision | None = None
    desire: Desire | None = None


def _takes_a_number(resource: Resource, owned: Inventory) -> bool:
    """Whether a resource is a guest that is new, as far as the store knows, and takes any VMID."""
    return resource.kind in GUEST_KINDS and resource.ref not in owned and not resource.spec.get("vmid")


# Raises RefusedError when a decision is not the one that was saved.
Pin = Callable[[Decision], None]


async def run(
    ctx: Context,
    key: ReleaseKey,
    desire: Desire,
    options: Options,
    *,
    pin: Pin | None = None,
    ahead: Reader | None = None,
) -> Result:
    """The whole pipeline. Raises what ``check`` raises, RefusedError when not confirmed, and for a failed apply an
    error that names every failed change; what was begun is recorded as a failed revision by then.

    ``pin`` looks at the decision before anything is done, and may refuse it. ``ahead`` is what ``look_ahead`` began for
    a dry run; whoever does something reads under its lease.
    """
    if options.dry_run:
        release = ctx.store.find(key, bodies=False)
        uid = release.uid if release else options.uid or "dry-run"
        decision = await decide(ctx, key, desire, options, uid=uid, reader=ahead)
        return Result(decision.plan, release, requests=decision.requests, decision=decision, desire=desire)
    with ctx.store.hold(key.scope, purpose=desire.action) as lease:
        one = Run(ctx, key, desire, options, lease, pin)
        try:
            async with asyncio.timeout(options.timeout):
                return await one.go()
        except TimeoutError:
            what = f"{desire.action} of {key.name} took longer than {options.timeout:g} s"
            await one.overdue(what)
            raise PvehelmError(
                what, hint=f"running tasks go on; pvehelm recover {key.name} finishes or repairs"
            ) from None


class Run:
    """One run of the pipeline under its lease."""

    def __init__(
        self,
        ctx: Context,
        key: ReleaseKey,
        desire: Desire,
        options: Options,
        lease: Lease,
        pin: Pin | None = None,
    ) -> None:
        self.ctx = ctx
        self.key = key
        self.desire = desire
        self.options = options
        self.lease = lease
        self.uid = options.uid
        self.pin = pin
        self.began = asyncio.get_running_loop().time()
        # What keeps others from changing what releases share, while this run may do so.
        self.common: Commons | None = None
        # The revision that this run has begun, and what was owned before.
        self.revision: Revision | None = None
        self.before = Inventory()
        self.events: Sequence[Mapping[str, Any]] = ()
        # For new guests, asked for while it is decided what to do.
        self.numbers: Numbers | None = None

    async def go(self) -> Result:
        """The run from its beginning; whoever else changes what releases share waits meanwhile."""
        async with self._alone(self.desire):
            return await self._go()

    async def _go(self) -> Result:
        ctx, key, desire, options = self.ctx, self.key, self.desire, self.options
        release = ctx.store.find(key)
        moved = desire.base is not None and desire.base != (release.current.number if release else 0)
        # Somebody else's first install was under way when this one was allowed, and is done by now. A saved plan
        # says more exactly what moved.
        installing = desire.action == "install" and self.pin is None
        done = installing and release is not None and release.current.status is Status.deployed
        if moved or done:
            raise LeaseHeldError(
                f"release {key} was changed by another process meanwhile",
                hint=f"look at it with pvehelm status {key.name}, and run the command again if it is still wanted",
            )
        client = await ctx.connect()
        if options.timeout is not None:
            # Waiting for others, or to be let in, is a part of it.
            spent = asyncio.get_running_loop().time() - self.began
            self.options = replace(options, ends=client.clock() + options.timeout - spent)
        if await recover_entries(ctx, key, self.lease):
            now = ctx.store.find(key, bodies=False)
            if (now.current.number if now else 0) != (release.current.number if release else 0):
                raise PvehelmError(f"an interrupted handover of {key} was finished first", hint="run the command again")
        self.uid = ctx.store.ensure(key, self.uid)
        reader, self.numbers = await look_ahead(ctx, key), Numbers(client)
        if any(_takes_a_number(resource, reader.owned[key]) for resource in desire.resources):
            self.numbers.ahead()
        decision = await decide(ctx, key, desire, options, uid=self.uid, reader=reader)
        made, self.before = decision.plan, decision.inventory
        if self.common is not None and not any(change.kind == COMMIT for change in made.changes):
            self.common.close()
            self.common = None
        if ctx.record is not None:
            ctx.record.planned(made)
        if self.pin is not None:
            self.pin(decision)
        check(made)
        result = Result(made, release, requests=decision.requests, decision=decision, desire=desire)
        for note in decision.unseen:
            ctx.emit(Event("note", "", note))
        if release is not None and made.empty and options.reuse_empty and same_input(release.current, desire):
            if made.records:
                self._record_ownership(made, release.current.number)
            if options.wait:
                await self._ready(made)
            return result
        if made.destroys and not ctx.confirm(made):
            raise RefusedError(
                f"{desire.action} of {key.name} destroys data and was not confirmed",
                [Problem(change.ref, ", ".join(change.losses) or "the guest") for change in made.destroys],
                hint="--yes confirms",
            )
        ctx.emit(Event("plan", "", made.summary(), {"changes": sum(change.acts for change in made.changes)}))
        with ctx.store.transaction():
            self.revision = ctx.store.put_revision(key, begun(ctx, release, desire, made, options), lease=self.lease)
            if ctx.record is not None:
                ctx.record.about(key, revision=self.revision.number)
                ctx.record.begin(ctx)
            for name, text in desire.sealed.items():
                ctx.store.put_secret(key, name, text)
            if options.snapshot:
                ctx.store.set_meta(disks.mark(key), "1")
        try:
            if options.create_namespace:
                await self._namespaces(self.revision.number)
            outcome = await self._apply(made, self.revision.number)
            if not outcome.ok:
                await self._failed(outcome)
        except asyncio.CancelledError:
            self._keep(Status.failed, "interrupted")
            raise
        self._done()
        if desire.action != "uninstall":
            await disks.prune(ctx, key, self.lease, self.revision.number)
        result.release, result.outcome, result.changed = ctx.store.find(key), outcome, True
        return result

    # -- doing -------------------------------------------------------------------------------------------------

    async def _namespaces(self, revision: int) -> None:
        """Make the pools of --create-namespace, each in the journal."""
        try:
            async for poolid, make in missing_namespaces(self.ctx, self.desire):
                with self._entry(revision, NAMESPACES, f"Pool/{poolid}", "create", "namespace"):
                    await make()
        except PvehelmError as error:
            self._keep(Status.failed, f"{self.desire.action} failed: {error}"[:2000])
            raise

    @contextmanager
    def _entry(self, revision: int, sequence: int, ref: str, op: str, note: str) -> Iterator[None]:
        """A call that is no step of a change, in the journal."""
        store = self.ctx.store
        entry = store.begin(self.key, self.lease, revision, sequence, ref, op, {"note": note})
        try:
            yield
        except PvehelmError as error:
            store.outcome(entry, self.lease, ok=False, error=str(error))
            raise
        store.outcome(entry, self.lease, ok=True)

    async def _apply(self, made: Plan, revision: int) -> Outcome:
        ctx, key, lease = self.ctx, self.key, self.lease
        entries = ctx.store.inventory(key).entries
        with ctx.store.transaction():
            for new, old in made.renamed.items():
                ctx.store.forget(key, old, lease=lease)
                ctx.store.put_owned(key, replace(entries[old], ref=new, name=new.partition("/")[2]), lease=lease)
        runner = Runner(ctx, key, lease, revision, self.options)
        client = await ctx.connect()
        applier = Applier(
            ctx,
            client,
            made,
            key=key,
            revision=revision,
            lease=lease,
            stop=ctx.stop,
            perform=runner,
            common=self.common,
            numbers=self.numbers,
        )
        self.numbers = None
        self.events = applier.outcome.events
        ctx.applying = key.name
        try:
            outcome = await applier.run()
        finally:
            ctx.applying = ""
        self._record_ownership(made, revision)
        return outcome

    def _record_ownership(self, made: Plan, revision: int) -> None:
        """Changes without calls still change what is owned: adopted leaves, metadata, what is gone."""
        store = self.ctx.store
        entries = store.inventory(self.key).entries
        for index, change in enumerate(made.changes):
            if change.steps or change.owned is None or entries.get(change.ref) == change.owned:
                continue
            intent = {"note": change.reason}
            entry = store.begin(self.key, self.lease, revision, RECORDS + index, change.ref, "keep", intent)
            store.outcome(entry, self.lease, ok=True, owned=change.owned)

    async def _ready(self, made: Plan) -> None:
        """--wait where nothing is to be done: what is there may still be on its way."""
        ctx = self.ctx
        wanted = wants(made.changes, hooks.of(self.desire, self.options)[0])
        client = await ctx.connect()
        seconds = self.options.within(self.options.timeout or READY, client.clock())
        if wanted:
            waiting = Waiting(client, ctx.kinds.get, ctx.emit, stop=ctx.stop)
            await waiting.until(wanted, lambda: ctx.store.inventory(self.key), seconds)

    # -- how it ended ------------------------------------------------------------------------------------------

    def _keep(self, status: Status, description: str) -> None:
        """Record how the revision ended, and let go of the oldest ones."""
        assert self.revision is not None
        ctx = self.ctx
        self.revision = self.revision._replace(
            status=status, updated=ctx.clock(), events=[dict(event) for event in self.events], description=description
        )
        with ctx.store.transaction():
            ctx.store.put_revision(self.key, self.revision, lease=self.lease)
            ctx.store.prune(self.key, self.options.history_max, lease=self.lease)

    def _done(self) -> None:
        removed = self.desire.action == "uninstall"
        with self.ctx.store.transaction():
            status = Status.uninstalled if removed else Status.deployed
            self._keep(status, described(self.desire) + disks.told(self.events))
            if removed and not self.options.keep_history:
                self.ctx.store.delete(self.key, lease=self.lease)

    async def _failed(self, outcome: Outcome) -> NoReturn:
        action, name = self.desire.action, self.key.name
        texts = [f"{ref}: {error}" for ref, error in outcome.failed.items()]
        stopped = outcome.interrupted and not texts
        self._keep(Status.failed, "interrupted" if stopped else f"{action} failed: {'; '.join(texts)}"[:2000])
        problems = [Problem(ref, str(error), error.hint) for ref, error in outcome.failed.items()]
        problems += [p for error in outcome.failed.values() for p in error.problems]
        problems += [Problem(ref, f"not begun: {why}") for ref, why in outcome.skipped.items()]
        if self.options.atomic and not outcome.interrupted:
            await self._undo(f"{action} of {name} failed", problems)
        if outcome.interrupted:
            hint = f"run the same command again to go on, or: pvehelm recover {name}"
            raise StoppedError(f"{action} of {name} was interrupted", problems, hint=hint)
        hint = f"mend the cause and run the same command again, or: pvehelm recover {name}"
        raise PvehelmError(f"{action} of {name} failed", problems, hint=hint)

    async def overdue(self, what: str) -> None:
        """The time is over: say so in the revision; with --atomic, undo what was begun."""
        if self.revision is None:
            return
        self._keep(Status.failed, what)
        if self.options.atomic:
            await self._undo(what, ())

    # -- --atomic ----------------------------------------------------------------------------------------------

    async def _undo(self, what: str, problems: Sequence[Problem]) -> NoReturn:
        """The last deployed revision again, under the same lease; without one, what was made is removed.

        Raises PvehelmError, which says whether that went well.
        """
        ctx, name = self.ctx, self.key.name
        ctx.emit(Event("note", "", f"{what}; undoing it"))
        failed = self.revision.number if self.revision else 0
        target = None if self.desire.action == "install" else last_deployed(ctx, self.key)
        try:
            await recover_entries(ctx, self.key, self.lease)
            outcome = await (self._restore(target) if target is not None else self._remove())
        except PvehelmError as error:
            problems = [*problems, Problem("undoing it", str(error), error.hint), *error.problems]
            outcome = Outcome(failed={"": error})
        else:
            problems = [*problems, *(Problem(f"undoing {ref}", str(e)) for ref, e in outcome.failed.items())]
            problems += [Problem(f"undoing {ref}", f"not begun: {why}") for ref, why in outcome.skipped.items()]
        if not outcome.ok:
            hint = f"pvehelm recover {name} goes on with it"
            if target is None:
                hint = f"pvehelm uninstall {name} removes what is left"
            elif self.revision is not None and self.revision.number == failed:
                hint = f"pvehelm rollback {name} {target.number} tries it again"
            if outcome.interrupted:
                raise StoppedError(f"{what}, and undoing it was interrupted", problems, hint=hint)
            raise PvehelmError(f"{what}, and could not be undone", problems, hint=hint)
        logs = f"pvehelm status {name} --logs --revision {failed}"
        raise PvehelmError(f"{what} and was undone", problems, hint=f"{logs} shows what the tasks said")

    async def _remove(self) -> Outcome:
        """Take away what this run has made, and nothing else."""
        failed = self.revision
        assert failed is not None
        back = Desire("uninstall", (), {"description": f"undo of revision {failed.number}"})
        options = replace(self.options, atomic=False)
        async with self._alone(back):
            made = await decide(self.ctx, self.key, back, options, uid=self.uid, new=self.before)
            check(made.plan)
            outcome = await self._apply(made.plan, failed.number)
        self.events = [*failed.events, *self.events]
        how = "undone" if outcome.ok else "undoing it was interrupted" if outcome.interrupted else "undoing it failed"
        self._keep(Status.failed, f"{failed.description} ({how})")
        return outcome

    async def _restore(self, target: Revision) -> Outcome:
        back = back_to(target)
        options = replace(self.options, atomic=False)
        async with self._alone(back):
            made = (await decide(self.ctx, self.key, back, options, uid=self.uid, undoing=True)).plan
            check(made)
            self.revision = begun(self.ctx, self.ctx.store.find(self.key), back, made, self.options)
            self.revision = self.ctx.store.put_revision(self.key, self.revision, lease=self.lease)
            outcome = await self._apply(made, self.revision.number)
        how = "" if outcome.ok else " (interrupted)" if outcome.interrupted else " (failed)"
        self._keep(Status.deployed if outcome.ok else Status.failed, described(back) + how)
        return outcome

    @asynccontextmanager
    async def _alone(self, desire: Desire) -> AsyncIterator[None]:
        """Nobody else changes what releases share while the release is made as desired."""
        if self.common is not None:
            if not self.common.lost:
                yield
                return
            # What is left of them would stand in our own way.
            self.common.close()
        async with shared(self.ctx, self.key, desire) as self.common:
            try:
                yield
            finally:
                self.common = None

"""Doing something to objects at once, without a revision: power, migration, copies, edits, deletion.

It is what a release does, for one object: a plan of one change, carried out by the same executor with its journal, its
look for what became of an unanswered call, and its record of what was made. The journal is kept under the object by
itself (``ReleaseKey`` without a namespace) and forgotten when everything in it has ended. Whoever owns the object is
asked first: the lease of its release or set is held meanwhile, so that no upgrade runs into it; what nobody owns has a
lease of its own. What a process that died has begun is finished by the next verb on the object, by the next command of
its release, and by ``recover``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pvehelm.api.kind import Step
from pvehelm.errors import ApiError, LeaseHeldError, Problem, PvehelmError, StoppedError
from pvehelm.release.apply import Applier
from pvehelm.release.change import Change, Op, Plan
from pvehelm.release.context import DIRECT, Context
from pvehelm.release.event import Emit, Event
from pvehelm.release.inventory import Owned
from pvehelm.release.journal import Entry
from pvehelm.release.lease import Lease
from pvehelm.release.ledger import Ledger
from pvehelm.release.live import Reader
from pvehelm.release.objects import PLACES, Object
from pvehelm.release.recover import UNKNOWN, recover_entries
from pvehelm.release.release import ReleaseKey
from pvehelm.release.secrets import Secrets

PARALLEL = 8
# What is done at once has no revision.
REVISION = 0


@dataclass(frozen=True)
class Subject:
    """What something is done to: its name, the key of its journal, and the scopes to be leased, the journal's first."""

    ref: str
    key: ReleaseKey
    scopes: tuple[str, ...]
    object: Object | None = None
    # Another key whose journal may tell of it: an unfinished copy.
    origin: ReleaseKey | None = None

    def __str__(self) -> str:
        return str(self.object or self.ref)

    @property
    def found(self) -> Object:
        assert self.object is not None
        return self.object


@dataclass(frozen=True)
class Job:
    """What shall be done to one subject; without changes there is nothing to do, and ``done`` says how it is."""

    changes: Sequence[Change] = ()
    done: str = ""
    # Something to wait for after the last step.
    after: Callable[[], Awaitable[None]] | None = None
    # Resolves what the steps only refer to.
    secrets: Secrets | None = None


@dataclass
class Report:
    """What became of every job: ``{ref: words}``, the tasks that ran, what was made, and what failed."""

    done: dict[str, str] = field(default_factory=dict)
    tasks: dict[str, list[str]] = field(default_factory=dict)
    made: dict[str, Owned] = field(default_factory=dict)
    failed: dict[str, PvehelmError] = field(default_factory=dict)
    # What an interrupted verb was finished of first: the lists that were read before are old.
    settled: set[str] = field(default_factory=set)


def key_of(ctx: Context, one: Object) -> ReleaseKey:
    """The key of an object by itself: a guest is its VMID, other things are told apart by their places."""
    if one.vmid:
        return ReleaseKey(ctx.cluster, "", f"guest/{one.vmid}")
    places = [str(one.found.key[part]) for part in PLACES if one.found.key.get(part)]
    return ReleaseKey(ctx.cluster, "", "/".join([one.kind.name, *places, one.found.name]))


def subject(ctx: Context, one: Object) -> Subject:
    """An object as what something is done to: its release's lease counts, else its own."""
    key = key_of(ctx, one)
    if one.owner is None:
        return Subject(one.ref, key, (key.scope,), one)
    if one.owner.namespace:
        return Subject(one.ref, key, (one.owner.scope,), one)
    return Subject(one.ref, key, (key.scope, one.owner.scope), one, one.owner)


def change(one: Object, steps: Sequence[Step], why: str) -> Change:
    """The change that consists of these steps."""
    return Change(one.ref, one.kind.name, Op.update, why, steps=tuple(steps), key=dict(one.found.key))


@contextmanager
def held(ctx: Context, scopes: Sequence[str], verb: str) -> Iterator[dict[str, Lease]]:
    """The leases of these scopes. Raises LeaseHeldError naming who has one."""
    with ExitStack() as stack:
        yield {scope: stack.enter_context(ctx.store.hold(scope, purpose=verb)) for scope in sorted(set(scopes))}


async def carry_out(
    ctx: Context,
    verb: str,
    subjects: Sequence[Subject],
    job_of: Callable[[Subject], Awaitable[Job]],
    *,
    timeout: float | None = None,
    report: Report | None = None,
) -> Report:
    """Do one thing to every subject, several at a time. ``job_of`` is asked under the lease, when its turn has come;
    what was interrupted earlier is finished by then, and what came of that is in ``report``.

    Raises an error with a problem for every subject that it failed for, once the others are done.
    """
    report = report if report is not None else Report()
    await ctx.connect()
    slots, ledger = asyncio.Semaphore(PARALLEL), Ledger(ctx.store)
    # The lease of a release serves all of its objects.
    shared = {scope for one in subjects for scope in one.scopes if scope.startswith("release:")}

    async def guarded(one: Subject) -> None:
        async with slots:
            if ctx.stop is not None and ctx.stop.is_set():
                report.failed[one.ref] = StoppedError("interrupted before it was begun")
                return
            try:
                with held(ctx, [scope for scope in one.scopes if scope not in shared], verb) as own:
                    mine = {**leases, **own}
                    lease = mine[one.scopes[0]]
                    for key in filter(None, (one.origin, one.key)):
                        before = await settle(ctx, key, lease, mine)
                        report.made |= {owned.ref: owned for owned in before.made}
                        report.settled |= {one.ref} if before.steps else set()
                    await _do(ctx, verb, one, await _asked(ctx, one, job_of), lease, report, ledger)
            except PvehelmError as error:
                report.failed[one.ref] = error
            except Exception as error:
                # A defect: the others come to their end under the lease before it is raised.
                defects.append(error)

    defects: list[Exception] = []
    with held(ctx, sorted(shared), verb) as leases:
        if ctx.record is not None:
            ctx.record.facts["objects"] = [str(one) for one in subjects]
        ctx.begin()
        ctx.emit(Event("plan", "", verb, {"changes": len(subjects)}))
        ctx.applying = DIRECT
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(*(guarded(one) for one in subjects))
            if defects:
                raise defects[0]
        except TimeoutError:
            left = [str(one) for one in subjects if one.ref not in report.done and one.ref not in report.failed]
            raise PvehelmError(
                f"{verb} took longer than {timeout:g} s for {', '.join(left)}",
                hint="running tasks go on; pvehelm recover waits for them and tells what came of them",
            ) from None
        finally:
            ctx.applying = ""
    if report.failed:
        raise _failure(verb, subjects, report)
    # In the order that was asked for, not in that of their ends.
    report.done = {one.ref: report.done[one.ref] for one in subjects if one.ref in report.done} | report.done
    return report


async def _asked(ctx: Context, one: Subject, job_of: Callable[[Subject], Awaitable[Job]]) -> Job:
    try:
        return await job_of(one)
    except PvehelmError as error:
        ctx.emit(Event("change-failed", one.ref, str(error)))
        raise


async def _do(ctx: Context, verb: str, one: Subject, job: Job, lease: Lease, report: Report, ledger: Ledger) -> None:
    """One job, under its lease, by the executor of plans."""
    if job.changes:
        try:
            await _apply(ctx, verb, one.key, lease, job.changes, secrets=job.secrets, stop=ctx.stop, ledger=ledger)
            report.made |= {owned.ref: owned for owned in await _let_go(ctx, one.key, lease)}
        except BaseException:
            ctx.store.tidy(one.key, lease=lease)
            raise
        tasks = [entry.upid for entry in ctx.store.entries(one.key, REVISION) if entry.upid]
        if tasks:
            report.tasks[one.ref] = tasks
        await ledger.write(lambda: ctx.store.tidy(one.key, lease=lease))
    if job.after is not None:
        await job.after()
    report.done[one.ref] = job.done


async def _apply(
    ctx: Context,
    verb: str,
    key: ReleaseKey,
    lease: Lease,
    changes: Sequence[Change],
    *,
    secrets: Secrets | None = None,
    stop: asyncio.Event | None = None,
    ledger: Ledger | None = None,
) -> None:
    """Carry changes out, until ``stop`` is set. Raises the error of the first that failed, StoppedError for what was
    not begun."""
    applier = Applier(
        ctx,
        await ctx.connect(),
        Plan(verb, "", "", tuple(changes)),
        key=key,
        revision=REVISION,
        lease=lease,
        secrets=secrets,
        emit=_emitter(ctx, verb),
        stop=stop,
        ledger=ledger,
    )
    outcome = await applier.run()
    for error in outcome.failed.values():
        if any(entry.ok is None for entry in ctx.store.entries(key, REVISION)):
            hint = "nobody knows whether it was done: the same command again looks first, and so does pvehelm recover"
            error.hint = f"{error.hint}; {hint}".removeprefix("; ")
        raise error
    if outcome.interrupted:
        raise StoppedError("interrupted", hint="the same command again goes on")


def _emitter(ctx: Context, verb: str) -> Emit:
    """Tells of what is done by the word that the user gave; '' is part of something else."""

    def emit(event: Event) -> None:
        if event.type not in ("change-started", "change-done"):
            ctx.emit(event)
        elif verb:
            ctx.emit(replace(event, message=verb))

    return emit


async def _let_go(ctx: Context, key: ReleaseKey, lease: Lease) -> list[Owned]:
    """What was made by itself belongs to nobody once it is there: its mark goes, and the record of it."""
    made = list(ctx.store.inventory(key))
    for owned in made:
        kind = ctx.kinds.get(owned.kind)
        live = await kind.read(owned.identifier, Reader(await ctx.connect()))
        steps = kind.mark(live, "", owned.ref) if live is not None else []
        forgotten = Change(owned.ref, owned.kind, Op.forget, "its own", steps=tuple(steps), key=owned.identifier)
        # It ends what was begun: being told to stop does not stop it.
        try:
            await _apply(ctx, "", key, lease, [forgotten])
        except ApiError as error:
            if error.status != 403:
                raise
            await _without_leave(ctx, key, lease, forgotten)
    return made


async def _without_leave(ctx: Context, key: ReleaseKey, lease: Lease, forgotten: Change) -> None:
    """Who may make a copy need not be allowed to configure it: then its mark stays, and is nobody's."""
    try:
        await _apply(ctx, "", key, lease, [forgotten])
    except ApiError as error:
        if error.status != 403:
            raise
        ctx.emit(Event("note", forgotten.ref, "its notes keep a hidden mark: these credentials may not change them"))
        await _apply(ctx, "", key, lease, [replace(forgotten, steps=())])


# -- after a process that died -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settled:
    """What an interrupted verb on an object came to: its steps with their outcomes, and what it had made."""

    key: ReleaseKey
    steps: Sequence[Entry] = ()
    made: Sequence[Owned] = ()
    # Why it could not be looked at.
    held: str = ""

    @property
    def ref(self) -> str:
        return self.steps[0].ref if self.steps else self.key.name

    @property
    def unknown(self) -> bool:
        """Whether nobody can tell of some of it that it was done."""
        return any(entry.error == UNKNOWN for entry in self.steps)

    def told(self) -> str:
        """In words."""
        if self.held:
            return self.held
        if self.made:
            return "; ".join(f"complete, VMID {owned.identifier['vmid']}" for owned in self.made)
        done = [str(entry.intent.get("note") or entry.op) for entry in self.steps if entry.ok]
        left = [f"{entry.intent.get('note') or entry.op} ({entry.error})" for entry in self.steps if not entry.ok]
        said = [f"done: {', '.join(done)}"] if done else []
        said += [f"not done: {', '.join(left)}"] if left else []
        return "; ".join(said) or "nothing was begun"


async def settle(ctx: Context, key: ReleaseKey, lease: Lease, mine: Collection[str] = ()) -> Settled:
    """Finish what a direct verb that was cut off had begun with an object, and forget its journal.

    Raises LeaseHeldError where somebody works on it under a scope that is not ``mine``, for it had another owner then.
    """
    entries = ctx.store.entries(key, REVISION)
    if not entries and ctx.store.id_of(key) < 0:
        return Settled(key)
    is_open = [entry for entry in entries if entry.ok is None]
    for scope in {entry.scope for entry in is_open} - {lease.scope, *mine}:
        holder = ctx.store.holder(scope)
        if holder is not None:
            raise LeaseHeldError(f"{key} is being worked on by {holder.holder} ({holder.purpose})")
    await recover_entries(ctx, key, lease)
    steps = ctx.store.entries(key, REVISION)
    made = await _let_go(ctx, key, lease)
    ctx.store.tidy(key, lease=lease)
    found = Settled(key, steps, made)
    if made or (steps and not is_open):
        ctx.emit(Event("note", found.ref, f"interrupted earlier; {found.told()}"))
    return found


async def settle_all(ctx: Context, refs: Collection[str] | None = None) -> list[Settled]:
    """``settle`` for everything that direct verbs have left (of ``refs`` alone), but for what somebody works on."""
    await ctx.connect()
    found: list[Settled] = []
    for key in ctx.store.by_themselves(ctx.cluster):
        entries = ctx.store.entries(key, REVISION)
        if refs is not None and not any(entry.ref in refs for entry in entries):
            continue
        ctx.begin()
        scopes = [key.scope, *(entry.scope for entry in entries)]
        try:
            with held(ctx, scopes, "recover") as leases:
                found.append(await settle(ctx, key, leases[key.scope], leases))
        except LeaseHeldError as error:
            found.append(Settled(key, held=str(error)))
    return found


def _failure(verb: str, subjects: Sequence[Subject], report: Report) -> PvehelmError:
    """One error for everything that failed, with the exit code of the first."""
    for ref, error in report.failed.items():
        error.message = error.message if error.message.startswith(ref) else f"{ref}: {error.message}"
    if len(subjects) == 1:
        (error,) = report.failed.values()
        return error
    problems: list[Problem] = []
    for error in report.failed.values():
        problems.append(Problem("", str(error), error.hint))
        problems += error.problems
    kinds: set[Any] = {type(error) for error in report.failed.values()}
    first = kinds.pop() if len(kinds) == 1 else PvehelmError
    made = PvehelmError(f"{verb} failed for {len(report.failed)} of {len(subjects)}", problems)
    made.exit_code = first.exit_code
    return made

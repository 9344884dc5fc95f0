"""Doing something to objects at once, without a revision: power, migration, deletion.

Whoever owns an object is asked first: the lease of its release or set is held meanwhile, so that no upgrade runs into
it; what nobody owns has a lease of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from pvehelm.api.kind import Step
from pvehelm.api.task import Task, is_upid
from pvehelm.errors import Problem, PvehelmError, StoppedError
from pvehelm.release.context import Context
from pvehelm.release.event import Event
from pvehelm.release.lease import Lease
from pvehelm.release.objects import Object
from pvehelm.release.secrets import Secrets

PARALLEL = 8


@dataclass(frozen=True)
class Job:
    """What shall be done to one object; without steps there is nothing to do, and ``done`` says how it is."""

    object: Object
    steps: Sequence[Step] = ()
    done: str = ""
    # Something to wait for after the last step.
    after: Callable[[], Awaitable[None]] | None = None
    # Resolves what the steps only refer to.
    secrets: Secrets | None = None


@dataclass
class Report:
    """What became of every job: ``{ref: words}``, the tasks that ran, and what failed."""

    done: dict[str, str] = field(default_factory=dict)
    tasks: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, PvehelmError] = field(default_factory=dict)


@contextmanager
def owners_held(ctx: Context, objects: Sequence[Object], verb: str) -> Iterator[Mapping[str, Lease]]:
    """The leases, by scope, of all releases that own one of the objects. Raises LeaseHeldError naming who has one."""
    scopes = sorted({one.owner.scope for one in objects if one.owner is not None})
    with ExitStack() as stack:
        yield {scope: stack.enter_context(ctx.store.hold(scope, purpose=verb)) for scope in scopes}


def scope_of(ctx: Context, one: Object) -> str:
    """The lease scope of an object that nobody owns."""
    return f"guest:{ctx.cluster}/{one.vmid}" if one.vmid else f"object:{ctx.cluster}/{one.found.ref}"


async def carry_out(
    ctx: Context,
    verb: str,
    objects: Sequence[Object],
    job_of: Callable[[Object], Awaitable[Job]],
    *,
    timeout: float | None = None,
) -> Report:
    """Do one thing to every object, several at a time. ``job_of`` is asked under the lease, when its turn has come.

    Raises an error with a problem for every object that it failed for, once the others are done.
    """
    report = Report()
    client = await ctx.connect()
    slots = asyncio.Semaphore(PARALLEL)

    async def send(job: Job, step: Step, lease: Lease) -> None:
        params: dict[str, Any] = dict(step.params)
        try:
            params = job.secrets.resolve(params) if job.secrets else params
            # Whoever slept until somebody else took the scope over writes nothing more.
            lease.check()
            answer = await client.request(step.method, step.path, params)
            if is_upid(answer):
                report.tasks.setdefault(job.object.ref, []).append(answer)
                await _wait(ctx, job.object.ref, Task(answer, client))
        except PvehelmError as error:
            if job.secrets:
                job.secrets.redact_error(error)
            raise

    async def steps(one: Object, lease: Lease) -> None:
        job = await job_of(one)
        if job.steps:
            ctx.emit(Event("change-started", one.ref, verb))
        for step in job.steps:
            ctx.emit(Event("step", one.ref, step.note or f"{step.method} {step.path}"))
            if step.method:
                await send(job, step, lease)
        if job.after is not None:
            await job.after()
        report.done[one.ref] = job.done
        if job.steps:
            ctx.emit(Event("change-done", one.ref, verb))

    async def guarded(one: Object) -> None:
        async with slots:
            if ctx.stop is not None and ctx.stop.is_set():
                report.failed[one.ref] = StoppedError("interrupted before it was begun")
                return
            try:
                if one.owner is None:
                    with ctx.store.hold(scope_of(ctx, one), purpose=verb) as lease:
                        await steps(one, lease)
                else:
                    await steps(one, leases[one.owner.scope])
            except PvehelmError as error:
                report.failed[one.ref] = error
                ctx.emit(Event("change-failed", one.ref, str(error)))

    with owners_held(ctx, objects, verb) as leases:
        if ctx.record is not None:
            ctx.record.facts["objects"] = [str(one) for one in objects]
        ctx.begin()
        ctx.emit(Event("plan", "", verb, {"changes": len(objects)}))
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(*(guarded(one) for one in objects))
        except asyncio.CancelledError:
            if report.tasks:
                ctx.emit(Event("note", verb, "tasks that were begun go on; pvehelm tasks list --running shows them"))
            raise
        except TimeoutError:
            left = [str(one) for one in objects if one.ref not in report.done and one.ref not in report.failed]
            raise PvehelmError(
                f"{verb} took longer than {timeout:g} s for {', '.join(left)}",
                hint="running tasks go on; pvehelm tasks list shows them",
            ) from None
    if report.failed:
        raise _failure(verb, objects, report)
    return report


async def _wait(ctx: Context, ref: str, task: Task) -> None:
    result = await task.wait()
    if result.warnings:
        ctx.emit(Event("note", ref, f"task ended with {result.warnings} warnings: {task.upid}"))


def _failure(verb: str, objects: Sequence[Object], report: Report) -> PvehelmError:
    """One error for everything that failed, with the exit code of the first."""
    if len(objects) == 1:
        (ref, error), *_ = report.failed.items()
        error.message = f"{ref}: {error.message}"
        return error
    problems: list[Problem] = []
    for ref, error in report.failed.items():
        problems.append(Problem(ref, str(error), error.hint))
        problems += error.problems
    kinds: set[Any] = {type(error) for error in report.failed.values()}
    first = kinds.pop() if len(kinds) == 1 else PvehelmError
    made = PvehelmError(f"{verb} failed for {len(report.failed)} of {len(objects)}", problems)
    made.exit_code = first.exit_code
    return made

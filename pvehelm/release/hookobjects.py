"""Ordinary resources as hooks: made at their moment by the planner and applier of all others, owned under a mark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pvehelm.chart.hooks import AFTER_CREATION
from pvehelm.chart.manifest import Resource
from pvehelm.errors import Problem, PvehelmError
from pvehelm.release.change import Plan
from pvehelm.release.hookrun import Job
from pvehelm.release.hooks import MADE_BY
from pvehelm.release.inventory import Inventory, Owned
from pvehelm.release.readiness import Waiting, wants


async def make(job: Job) -> None:
    """Bring the object about and wait until it is ready; one that an earlier run left goes first, unless the policy
    lets it stay."""
    if AFTER_CREATION in job.policies or not job.policies:
        await remove(job, lambda owned: owned.ref == job.resource.ref)
    made = await _plan(job, [job.resource], job.inventory.get(job.resource.ref))
    marked = [
        replace(c, owned=replace(c.owned, metadata={**c.owned.metadata, MADE_BY: job.change.hook["event"]}))
        if c.owned
        else c
        for c in made.changes
    ]
    await _apply(job, replace(made, changes=tuple(marked)))
    wanted = wants(made.changes, [job.resource])
    if wanted:
        waiting = Waiting(job.client, job.ctx.kinds.get, job.ctx.emit, stop=job.applier.stop)
        await waiting.until(wanted, lambda: job.inventory, job.left)


async def remove(job: Job, chosen: Callable[[Owned], bool]) -> None:
    """Remove those objects that hooks of this release made."""
    for owned in list(job.inventory):
        if owned.metadata.get(MADE_BY) and chosen(owned):
            await _apply(job, await _plan(job, (), owned))


async def _plan(job: Job, resources: Sequence[Resource], owned: Owned | None) -> Plan:
    """A plan about one object alone."""
    from pvehelm.release.decide import check
    from pvehelm.release.live import Reader, gather
    from pvehelm.release.plan import Allowed, plan

    ctx, key = job.ctx, job.key
    everything = job.inventory
    mine = Inventory({owned.ref: owned} if owned else {})
    known = mine
    if resources:
        # What its fields refer to has to be known; the rest of the release need not be read.
        needs = ctx.kinds.get(job.resource.kind).lower(job.resource, lambda ref: "100").needs
        known = Inventory({r: o for r, o in everything.entries.items() if r in needs or r in mine.entries})
    desired, observed = await gather(
        resources, known, kinds=ctx.kinds.get, reader=Reader(job.client), secrets=job.applier.secrets
    )
    # What it may do was asked when the hook was planned.
    allowed = Allowed(privileged=frozenset(["all"]), destroy=frozenset(mine.entries))
    made = plan(
        "hook",
        key.name,
        key.namespace,
        desired,
        mine,
        observed,
        kinds=ctx.kinds.get,
        uid=ctx.store.ensure(key),
        allowed=allowed,
    )
    check(made)
    return made


async def _apply(job: Job, made: Plan) -> None:
    from pvehelm.release.apply import Applier

    ctx = job.ctx
    applier = Applier(
        ctx,
        job.client,
        made,
        key=job.key,
        revision=job.revision,
        lease=job.lease,
        secrets=job.applier.secrets,
        emit=lambda event: ctx.emit(replace(event, data={**event.data, "inner": True})),
        stop=job.applier.stop,
    )
    outcome = await applier.run()
    for event in outcome.events:
        job.report.log.append(f"{event['ref']}: {event.get('step') or 'done'}" + ("" if event["ok"] else " failed"))
    if not outcome.ok:
        problems = [Problem(ref, str(error), error.hint) for ref, error in outcome.failed.items()]
        problems += [Problem(ref, why) for ref, why in outcome.skipped.items()]
        raise PvehelmError("; ".join(p.what for p in problems) or "interrupted", problems)

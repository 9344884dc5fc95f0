"""Install, upgrade, rollback, uninstall, repair: one pipeline with a different desired state.

lease -> recover what was interrupted -> read -> plan -> (stop here when dry) -> confirm -> apply -> record.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from pvehelm.errors import LeaseHeldError, Problem, PvehelmError, RefusedError, StoppedError
from pvehelm.release.apply import Applier, Outcome
from pvehelm.release.context import Context
from pvehelm.release.decide import check, decide
from pvehelm.release.desire import Desire, Options, back_to, begun, described, last_deployed, same_input
from pvehelm.release.event import Event
from pvehelm.release.inventory import Inventory
from pvehelm.release.lease import Lease
from pvehelm.release.namespaces import create_pools
from pvehelm.release.plan import Plan
from pvehelm.release.readiness import wait_ready
from pvehelm.release.recover import recover_entries
from pvehelm.release.release import Release, ReleaseKey, Revision, Status


@dataclass
class Result:
    """What came of it: the plan always; the release when something was (or had been) recorded."""

    plan: Plan
    release: Release | None = None
    outcome: Outcome | None = None
    changed: bool = False
    requests: int = 0


async def run(ctx: Context, key: ReleaseKey, desire: Desire, options: Options) -> Result:
    """The whole pipeline. Raises what ``check`` raises, RefusedError when not confirmed, and for a failed apply an
    error that names every failed change; what was begun is recorded as a failed revision by then."""
    if options.dry_run:
        release = ctx.store.find(key)
        made, _, requests = await decide(
            ctx, key, desire, options, release=release, uid=release.uid if release else "dry-run"
        )
        return Result(made, release, requests=requests)
    with ctx.store.hold(key.scope, purpose=desire.action) as lease:
        if options.timeout is None:
            return await _run(ctx, key, desire, options, lease)
        try:
            async with asyncio.timeout(options.timeout):
                return await _run(ctx, key, desire, options, lease)
        except TimeoutError:
            raise PvehelmError(
                f"{desire.action} of {key.name} took longer than {options.timeout:g} s",
                hint=f"running tasks go on; pvehelm recover {key.name} finishes or repairs",
            ) from None


async def _run(ctx: Context, key: ReleaseKey, desire: Desire, options: Options, lease: Lease) -> Result:
    release = ctx.store.find(key)
    if desire.base is not None and desire.base != (release.current.number if release else 0):
        raise LeaseHeldError(
            f"release {key} was changed by another process meanwhile",
            hint=f"look at it with pvehelm status {key.name}, and run the command again if it is still wanted",
        )
    await ctx.connect()
    await recover_entries(ctx, key, lease)
    uid = ctx.store.ensure(key)
    made, inventory, requests = await decide(ctx, key, desire, options, release=release, uid=uid)
    check(made)
    if release is not None and made.empty and options.reuse_empty and same_input(release.current, desire):
        if made.records:
            _record_ownership(ctx, key, lease, made, release.current.number)
        return Result(made, release, requests=requests)
    if made.destroys and not ctx.confirm(made):
        raise RefusedError(
            f"{desire.action} of {key.name} destroys data and was not confirmed",
            [Problem(change.ref, ", ".join(change.losses) or "the guest") for change in made.destroys],
            hint="--yes confirms",
        )
    ctx.emit(Event("plan", "", made.summary(), {"changes": sum(change.acts for change in made.changes)}))
    if options.create_namespace:
        await create_pools(ctx, desire)
    revision = begun(ctx, release, desire, made, options)
    with ctx.store.transaction():
        revision = ctx.store.put_revision(key, revision, lease=lease)
        for name, text in desire.sealed.items():
            ctx.store.put_secret(key, name, text)
    outcome = await _apply(ctx, key, lease, made, inventory, revision.number)
    return await _finish(ctx, key, lease, desire, options, made, release, revision, outcome, requests)


async def _apply(
    ctx: Context, key: ReleaseKey, lease: Lease, made: Plan, inventory: Inventory, revision: int
) -> Outcome:
    with ctx.store.transaction():
        for new, old in made.renamed.items():
            owned = replace(inventory.entries[old], ref=new, name=new.partition("/")[2])
            ctx.store.forget(key, old, lease=lease)
            ctx.store.put_owned(key, owned, lease=lease)
    inventory = ctx.store.inventory(key)
    applier = Applier(
        made,
        key=key,
        revision=revision,
        client=await ctx.connect(),
        store=ctx.store,
        lease=lease,
        kinds=ctx.kinds.get,
        inventory=inventory,
        secrets=ctx.secrets(key),
        emit=ctx.emit,
        keep_secret=lambda name, text: ctx.store.put_secret(key, name, text),
        stop=ctx.stop,
    )
    ctx.applying = True
    try:
        outcome = await applier.run()
    finally:
        ctx.applying = False
    _record_ownership(ctx, key, lease, made, revision)
    return outcome


def _record_ownership(ctx: Context, key: ReleaseKey, lease: Lease, made: Plan, revision: int) -> None:
    """Changes without calls still change what is owned: adopted leaves, metadata, what is gone."""
    entries = ctx.store.inventory(key).entries
    for index, change in enumerate(made.changes):
        if change.steps:
            continue
        if change.owned is not None and entries.get(change.ref) != change.owned:
            entry = ctx.store.begin(key, lease, revision, 100_000 + index, change.ref, "keep", {"note": change.reason})
            ctx.store.outcome(entry, lease, ok=True, owned=change.owned)


async def _finish(
    ctx: Context,
    key: ReleaseKey,
    lease: Lease,
    desire: Desire,
    options: Options,
    made: Plan,
    before: Release | None,
    revision: Revision,
    outcome: Outcome,
    requests: int,
) -> Result:
    if outcome.ok and options.wait:
        await wait_ready(ctx, made)
    if outcome.ok:
        status = Status.uninstalled if desire.action == "uninstall" else Status.deployed
        done = revision._replace(
            status=status, updated=ctx.clock(), events=outcome.events, description=described(desire)
        )
        _keep(ctx, key, lease, done, options)
        if desire.action == "uninstall" and not options.keep_history:
            ctx.store.delete(key, lease=lease)
            return Result(made, None, outcome, True, requests)
        return Result(made, ctx.store.find(key), outcome, True, requests)
    texts = [f"{ref}: {error}" for ref, error in outcome.failed.items()]
    failed = revision._replace(
        status=Status.failed,
        updated=ctx.clock(),
        events=outcome.events,
        description="interrupted"
        if outcome.interrupted and not texts
        else f"{desire.action} failed: {'; '.join(texts)}"[:2000],
    )
    _keep(ctx, key, lease, failed, options)
    problems = [Problem(ref, str(error), error.hint) for ref, error in outcome.failed.items()]
    problems += [p for error in outcome.failed.values() for p in error.problems]
    problems += [Problem(ref, f"not begun: {why}") for ref, why in outcome.skipped.items()]
    if options.atomic and not outcome.interrupted:
        await _undo(ctx, key, lease, desire, options, before, failed)
        raise PvehelmError(
            f"{desire.action} of {key.name} failed and was undone", problems, hint=f"pvehelm history {key.name}"
        )
    what = "was interrupted" if outcome.interrupted else "failed"
    raise (StoppedError if outcome.interrupted else PvehelmError)(
        f"{desire.action} of {key.name} {what}",
        problems,
        hint=f"mend the cause and run the same command again, or: pvehelm recover {key.name}",
    )


def _keep(ctx: Context, key: ReleaseKey, lease: Lease, revision: Revision, options: Options) -> None:
    """Record how a revision ended, and let go of the oldest ones."""
    with ctx.store.transaction():
        ctx.store.put_revision(key, revision, lease=lease)
        ctx.store.prune(key, options.history_max, lease=lease)


async def _undo(
    ctx: Context,
    key: ReleaseKey,
    lease: Lease,
    desire: Desire,
    options: Options,
    before: Release | None,
    failed: Revision,
) -> None:
    """--atomic: the last deployed revision again, under the same lease; without one, what was made is removed."""
    target = None if desire.action == "install" else last_deployed(ctx, key)
    if target is None:
        back = Desire("uninstall", (), {"description": f"undo of revision {failed.number}"})
        allowed = replace(options.allowed)
        made, inventory, _ = await decide(
            ctx, key, back, replace(options, allowed=allowed, atomic=False), release=before, uid=ctx.store.ensure(key)
        )
        check(made)
        outcome = await _apply(ctx, key, lease, made, inventory, failed.number)
        if outcome.ok:
            _keep(ctx, key, lease, failed._replace(description=failed.description + " (undone)"), options)
        return
    back = back_to(target)
    made, inventory, _ = await decide(
        ctx, key, back, replace(options, atomic=False), release=before, uid=ctx.store.ensure(key)
    )
    check(made)
    revision = begun(ctx, ctx.store.find(key), back, made, options)
    revision = ctx.store.put_revision(key, revision, lease=lease)
    outcome = await _apply(ctx, key, lease, made, inventory, revision.number)
    status = Status.deployed if outcome.ok else Status.failed
    done = revision._replace(status=status, updated=ctx.clock(), events=outcome.events, description=described(back))
    _keep(ctx, key, lease, done, options)

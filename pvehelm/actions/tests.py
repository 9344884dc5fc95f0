"""A release's own tests, its hooks, and how they went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import NotFoundError, Problem, RefusedError, StoppedError, UsageError

if TYPE_CHECKING:
    from pvehelm.release.change import Plan
    from pvehelm.release.context import Context
    from pvehelm.release.desire import Options
    from pvehelm.release.lease import Lease
    from pvehelm.release.release import ReleaseKey, Revision


@dataclass(frozen=True)
class Tested:
    """What came of a release's tests. Each report has ref, event, kind, name, phase (Succeeded, Failed, Skipped),
    started, completed (seconds since the epoch), log, error and result."""

    revision: Revision
    reports: Sequence[Mapping[str, Any]]

    @property
    def failed(self) -> bool:
        return any(report["phase"] == "Failed" for report in self.reports)


def parse_filter(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """``name=a,name=b,!name=c`` as the names that are wanted and those that are not. Raises UsageError."""
    wanted: set[str] = set()
    left_out: set[str] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        word, equals, name = part.partition("=")
        if word not in ("name", "!name") or not equals or not name:
            raise UsageError(f"--filter {text!r}: expected name=NAME or !name=NAME", hint="separated by commas")
        (wanted if word == "name" else left_out).add(name)
    return frozenset(wanted), frozenset(left_out)


@action("write", "test")
async def run(ctx: Context, name: str, options: Options | None = None, *, chosen: str = "") -> Tested:
    """Run the tests of a release, one after another, whatever becomes of the others.

    ``chosen`` is a filter as ``parse_filter`` takes it. What an earlier run has left and this one makes anew is asked
    about where data goes with it. Raises NotFoundError for a release that is not deployed, what ``check`` raises,
    RefusedError when not confirmed, and StoppedError when told to stop; what has run by then is recorded with the
    revision.
    """
    from pvehelm.release.decide import check
    from pvehelm.release.desire import Options, last_deployed
    from pvehelm.release.recover import recover_entries

    wanted, left_out = parse_filter(chosen)
    options = options or Options()
    key = ctx.key(name)
    ctx.store.get(key)
    client = await ctx.connect()
    if options.timeout is not None:
        options = replace(options, ends=client.clock() + options.timeout)
    with ctx.store.hold(key.scope, purpose="test") as lease:
        revision = last_deployed(ctx, key)
        if revision is None:
            raise NotFoundError(f"release {name!r} is not deployed", hint=f"pvehelm status {name}")
        await recover_entries(ctx, key, lease)
        made = await _plan(ctx, key, revision, options, wanted, left_out)
        check(made)
        if not made.changes:
            return Tested(revision, ())
        if made.destroys and not ctx.confirm(made):
            raise RefusedError(
                f"the tests of {name} destroy what an earlier run has left, which was not confirmed",
                [Problem(change.ref, ", ".join(change.losses)) for change in made.destroys],
                hint="--yes confirms",
            )
        ctx.begin()
        return await _run(ctx, key, lease, revision, made, options)


async def _plan(
    ctx: Context,
    key: ReleaseKey,
    revision: Revision,
    options: Options,
    wanted: frozenset[str],
    left_out: frozenset[str],
) -> Plan:
    from pvehelm.chart.hooks import TEST
    from pvehelm.chart.manifest import parse
    from pvehelm.release.change import Plan
    from pvehelm.release.hooks import Weaver, tests
    from pvehelm.release.live import Reader

    resources = parse(revision.manifest, file=f"revision {revision.number}") if revision.manifest.strip() else []
    found = tests(resources)
    missing = wanted - {one.name for one in found}
    if missing:
        known = ", ".join(one.name for one in found) or "none"
        raise NotFoundError(f"{key.name} has no test {', '.join(sorted(missing))}", hint=f"its tests: {known}")
    weaver = Weaver(
        ctx.kinds,
        ctx.store.inventory(key),
        options.allowed,
        ctx.secrets(key),
        Reader(await ctx.connect()),
        key,
    )
    todo = [one for one in found if (not wanted or one.name in wanted) and one.name not in left_out]
    changes = [await weaver.change(TEST, one) for one in todo]
    return Plan("test", key.name, key.namespace, tuple(changes), tuple(weaver.problems), tuple(weaver.refusals))


async def _run(ctx: Context, key: ReleaseKey, lease: Lease, revision: Revision, made: Plan, options: Options) -> Tested:
    from pvehelm.release.apply import Applier
    from pvehelm.release.event import Event
    from pvehelm.release.hookrun import Runner, reports

    applier = Applier(
        ctx,
        await ctx.connect(),
        made,
        key=key,
        revision=revision.number,
        lease=lease,
        stop=ctx.stop,
        parallel=1,
        perform=Runner(ctx, key, lease, revision.number, options),
    )
    ctx.emit(Event("plan", "", made.summary(), {"changes": len(made.changes)}))
    ctx.applying = key.name
    try:
        outcome = await applier.run()
    finally:
        ctx.applying = ""
    refs = {event["ref"] for event in outcome.events}
    kept = [event for event in revision.events if not (event.get("hook") and event["ref"] in refs)]
    revision = revision._replace(events=[*kept, *outcome.events])
    ctx.store.put_revision(key, revision, lease=lease)
    if outcome.interrupted:
        raise StoppedError(f"the tests of {key.name} were stopped", hint="what has run is recorded: pvehelm get hooks")
    return Tested(revision, reports(outcome.events))


@action("read", "hooks")
def hooks(ctx: Context, name: str, revision: int = 0) -> list[dict[str, Any]]:
    """The hooks of a revision with their last runs: ``{"kind", "name", "events", "weight", "manifest", "runs"}``."""
    from pvehelm.actions.looking import revision_of
    from pvehelm.chart.hooks import hook_of
    from pvehelm.chart.manifest import parse
    from pvehelm.release.hookrun import reports

    shown = revision_of(ctx, ctx.key(name), revision)
    shown = ctx.store.revision(ctx.key(name), shown.number)
    runs = reports(shown.events)
    found = []
    for resource in parse(shown.manifest, file=f"revision {shown.number}") if shown.manifest.strip() else []:
        hook = hook_of(resource.metadata)
        if hook is not None:
            found.append(
                {
                    "kind": resource.kind,
                    "name": resource.name,
                    "events": list(hook.events),
                    "weight": hook.weight,
                    "policies": sorted(hook.policies),
                    "manifest": resource.as_dict(),
                    "runs": [run for run in runs if run["ref"].partition(":")[2] == resource.ref],
                }
            )
    return found

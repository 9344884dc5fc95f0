"""Taking objects away by name or by manifest: out of their set, or at once where nobody owns them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import NotFoundError, Problem, RefusedError, UsageError

if TYPE_CHECKING:
    from pvehelm.api.kind import Live
    from pvehelm.chart.manifest import Resource
    from pvehelm.release.context import Context
    from pvehelm.release.desire import Options
    from pvehelm.release.objects import Object, Wish
    from pvehelm.release.plan import Allowed, Change, Plan
    from pvehelm.release.release import ReleaseKey


@dataclass
class Removed:
    """What became of the objects, or would: ``{ref: words}``, and the plans that say what is called."""

    done: dict[str, str] = field(default_factory=dict)
    plans: list[Plan] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """What shall go. ``words`` (``vm web``, ``vm/web ct/db``), or of a kind what a selector chooses or ``everything``,
    or the ``resources`` of manifests."""

    words: Sequence[str] = ()
    selector: str = ""
    resources: Sequence[Resource] = ()
    all_namespaces: bool = False
    scope: str = ""
    everything: bool = False

    @property
    def bulk(self) -> bool:
        """Whether it does not say each by its name."""
        return bool(self.selector) or self.everything


@action("destroy")
async def delete(
    ctx: Context,
    target: Target,
    options: Options | None = None,
    *,
    allow_owned: bool = False,
    ignore_not_found: bool = False,
    purge: bool = False,
) -> Removed:
    """Delete objects: a set's as the next revision of the set, nobody's at once.

    What a chart's release owns is refused, naming it, unless ``allow_owned``: then it goes, and the release sees it
    missing. ``purge`` takes guests out of backup jobs, replication and high availability, too.
    """
    from pvehelm.release import objects, sets
    from pvehelm.release.desire import Options
    from pvehelm.release.live import Reader

    options = options or Options()
    made = Removed()
    found, absent = await _found(ctx, target)
    missing = list(dict.fromkeys(absent.values()))
    if missing and not options.dry_run:
        gone = await _gone_already(ctx, set(absent))
        made.done |= dict.fromkeys(gone, "deleted by the command that was interrupted")
        missing = [problem for problem in missing if problem not in [absent.get(ref) for ref in gone]]
    if missing and not ignore_not_found:
        if len(missing) == 1:
            raise NotFoundError(missing[0].what, hint=missing[0].hint)
        raise NotFoundError("some objects are not there", missing)
    allowed = options.allowed.named(ctx.kinds.ref)
    of_sets: dict[ReleaseKey, list[Object]] = {}
    others: list[Object] = []
    refused: list[Problem] = []
    for one in found:
        release = ctx.store.find(one.owner, bodies=False) if one.owner is not None else None
        if one.owner is None or release is None:
            others.append(one)
        elif sets.is_set(release) and not allow_owned:
            of_sets.setdefault(one.owner, []).append(one)
        elif allow_owned:
            others.append(one)
        else:
            hint = f"pvehelm upgrade or uninstall {one.owner.name} removes it; --allow-owned deletes it all the same"
            refused.append(Problem(one.ref, f"{one} belongs to release {one.owner}", hint))
    others = await objects.read(others, Reader(await ctx.connect()))
    refused += [problem for one in others for problem in _against(one, allowed)]
    if options.keep_resources and others:
        named = ", ".join(one.ref for one in others)
        raise UsageError(f"--keep-resources: no set has {named}", hint="it makes a set give objects up")
    if len(refused) == 1:
        raise RefusedError(refused[0].what, hint=refused[0].hint)
    if refused:
        raise RefusedError("some objects are not deleted", refused)
    direct = await _plan(ctx, others, purge) if others else None
    with await _named(ctx, found, purge) if target.bulk and not options.dry_run else nullcontext():
        for key, members in of_sets.items():
            await _out_of_set(ctx, key, members, options, made)
        if direct is not None:
            await _at_once(ctx, others, direct, options, made, purge=purge)
    return made


async def _named(ctx: Context, found: Sequence[Object], purge: bool) -> AbstractContextManager[None]:
    """The question about what a selector or ``--all`` has chosen, by name."""
    from pvehelm.actions.question import asked
    from pvehelm.release import objects
    from pvehelm.release.live import Reader

    there = await objects.read(found, Reader(await ctx.connect()))
    plan = await _plan(ctx, there, purge)
    return asked(ctx, plan, f"deleting {len(plan.changes)} objects", destroys=False)


async def _gone_already(ctx: Context, refs: set[str]) -> list[str]:
    """Those that an interrupted command has deleted, which nobody has heard of yet."""
    from pvehelm.release.direct import settle_all

    settled = await settle_all(ctx, refs)
    return [one.ref for one in settled if any(step.ok and step.intent.get("deletes") for step in one.steps)]


async def _found(ctx: Context, target: Target) -> tuple[list[Object], dict[str, Problem]]:
    """What shall go, and by its reference what is not there."""
    from pvehelm.actions.objects import label_test
    from pvehelm.release import objects
    from pvehelm.release.live import Reader

    client = await ctx.connect()
    reader = Reader(client)
    here = None if target.all_namespaces else ctx.namespace
    if target.words:
        wanted = objects.wishes(ctx.kinds, target.words)
        if not target.bulk and not all(wish.names for wish in wanted):
            raise UsageError("which of them?", hint="delete vm NAME, -l SELECTOR, or --all")
    else:
        wanted = objects.of_manifests(ctx.kinds, target.resources, ctx.namespace)
    missing: dict[str, Problem] = {}
    scoped = any(wish.names and getattr(wish.kind, "scoped", False) for wish in wanted)
    scope = target.scope or ("all" if scoped else "")
    made, absent = await objects.search(ctx, wanted, reader, scope=scope, namespace=here)
    found = made.objects
    for wish, problem in absent:
        name = problem.where.partition("/")[2]
        lost = _only_in_a_set(ctx, replace(wish, names=(name,)), wish.namespace or here or ctx.namespace)
        found += lost
        missing |= {} if lost else {f"{wish.kind.name}/{name}": problem}
    test = label_test(target.selector)
    return objects.one_each(wanted, [one for one in found if test(one.labels)]), missing


def _only_in_a_set(ctx: Context, wish: Wish, namespace: str) -> list[Object]:
    """What is not on the server, but in the manifests of a set: an object that went away, or never came to be."""
    from pvehelm.api.listing import Found
    from pvehelm.release import sets
    from pvehelm.release.objects import Object

    found = []
    for name in wish.names:
        owner = sets.holding(ctx, namespace, f"{wish.kind.name}/{name}")
        if owner is not None:
            found.append(Object(Found(wish.kind, name, {"name": name}), owner))
    return found


def _against(one: Object, allowed: Allowed) -> list[Problem]:
    """What stands against deleting an object at once."""
    if one.kind.always_there or one.kind.name == "Node":
        return [Problem(one.ref, f"{one.ref}: settings can't be deleted", "edit them")]
    if one.kind.commit:
        hint = f"pvehelm get {one.ref} -o yaml > it.yaml, apply -f it.yaml --take-ownership all, then delete -f it.yaml"
        return [Problem(one.ref, f"{one.ref} only counts once its group is applied, which a set does", hint)]
    metadata = one.owned.metadata if one.owned else {}
    foreign = one.vmid and one.owned is not None and not one.owned.created
    guard = "lifecycle: protect" if metadata.get("lifecycle") == "protect" else "its release did not create it"
    if (metadata.get("lifecycle") == "protect" or foreign) and one.ref not in allowed.destroy:
        return [Problem(one.ref, f"{one.ref} would be destroyed ({guard})", f"--allow-destroy {one.ref}")]
    if one.live is not None and one.live.fields.get("protection"):
        return [Problem(one.ref, f"{one.ref} is protected by the server", "switch its protection off first")]
    return []


async def _out_of_set(
    ctx: Context, key: ReleaseKey, members: Sequence[Object], options: Options, made: Removed
) -> None:
    from pvehelm.release import sets
    from pvehelm.release.desire import Desire
    from pvehelm.release.pipeline import run

    release = ctx.store.get(key)
    refs = {one.ref for one in members}
    named = ", ".join(sorted(refs))
    desire = sets.without(ctx, key, release, refs, description=f"Deleted {named}"[:200])
    if desire is None:
        # Nothing is left of the set but its history, from which a rollback brings it back.
        record = {"labels": dict(release.labels), "description": f"Deleted {named}"[:200]}
        desire, options = Desire("uninstall", (), record), replace(options, keep_history=True)
    result = await run(ctx, key, desire, options)
    made.plans.append(result.plan)
    words = "given up by" if options.keep_resources else "deleted from"
    made.done |= dict.fromkeys(sorted(refs), f"{words} set {key.name}")


async def _plan(ctx: Context, objects: Sequence[Object], purge: bool) -> Plan:
    """The deletions as a plan, for the question."""
    from pvehelm.release.plan import Plan

    changes = tuple(_change(one, purge) for one in objects)
    return Plan("delete", "", ctx.namespace, changes)


def _change(one: Object, purge: bool) -> Change:
    from pvehelm.api.kind import Effect
    from pvehelm.release.plan import Change, Op

    assert one.live is not None
    losses = tuple(one.kind.losses(one.live))
    steps = one.kind.delete(one.live)
    if one.vmid:
        more = {"purge": 1} if purge else {}
        steps = [replace(step, params={**step.params, **more}) if step.deletes else step for step in steps]
    return Change(
        ref=one.ref,
        kind=one.kind.name,
        op=Op.delete,
        reason="asked for",
        effect=Effect.data_loss if losses else Effect.live,
        steps=tuple(steps),
        losses=losses,
        key=dict(one.live.key),
    )


def _called(one: Object, live: Live | None) -> Any:
    """The name of a guest, as its configuration has it."""
    from pvehelm.release.objects import check_guest

    return live.fields.get(check_guest(one.kind).name_field) if one.vmid and live is not None else None


async def _at_once(
    ctx: Context, objects: Sequence[Object], plan: Plan, options: Options, made: Removed, *, purge: bool
) -> None:
    from pvehelm.release import direct
    from pvehelm.release.live import Reader

    made.plans.append(plan)
    if options.dry_run:
        made.done |= {one.ref: "deleted" for one in objects}
        return
    if plan.destroys and not ctx.confirm(plan):
        raise RefusedError(
            "this destroys data and was not confirmed",
            [Problem(change.ref, ", ".join(change.losses) or "the guest") for change in plan.destroys],
            hint="--yes confirms",
        )
    client = await ctx.connect()
    shown = dict(zip(map(id, objects), plan.changes, strict=True))

    async def job(subject: direct.Subject) -> direct.Job:
        one = subject.found
        # Between the look and the lease somebody may have put another guest under the number.
        live = await one.kind.read(one.found.key, Reader(client))
        if live is None:
            return direct.Job(done="gone already")
        now = _change(replace(one, live=live), purge)
        if now.losses != shown[id(one)].losses or _called(one, live) != _called(one, one.live):
            raise RefusedError("it is not what was looked at any more", hint="run the command again")
        return direct.Job([now], "deleted")

    subjects = [direct.subject(ctx, one) for one in objects]
    report = await direct.carry_out(ctx, "delete", subjects, job, timeout=options.timeout)
    made.done |= report.done

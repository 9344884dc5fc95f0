"""Moving objects from one release to another, and giving a release another name: marks and records only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.actions.adoption import (
    Members,
    Taken,
    Taking,
    as_shown,
    compared,
    done_already,
    joined_text,
    members_of,
    named_objects,
    next_revision,
    piece,
    renamed,
)
from pvehelm.errors import Problem, RefusedError, UsageError
from pvehelm.release.release import CALLED, ReleaseKey, Revision, Status

if TYPE_CHECKING:
    from pvehelm.chart.manifest import Resource
    from pvehelm.release.context import Context
    from pvehelm.release.handover import Handover
    from pvehelm.release.objects import Object
    from pvehelm.release.release import Release


# -- move --------------------------------------------------------------------------------------------------------


@action("write")
async def move(ctx: Context, taking: Taking, *, dry_run: bool = False, expected: str = "") -> Taken:
    """Move objects from the release that owns them to another: marks and records, no field is changed.

    A set loses and gets the manifests; the chart of a release that gives leaves its own out from now on (a patch among
    the values), that of one that takes has to have them. Raises RefusedError where what stays needs what goes, or the
    other way round.
    """
    from pvehelm.release import handover
    from pvehelm.release.live import Reader
    from pvehelm.release.release import check_name

    to = ctx.key(check_name(taking.release))
    reader = Reader(await ctx.connect())
    giver = _giver(await named_objects(ctx, taking, reader), to)
    if dry_run:
        return (await _moving(ctx, giver, to, taking, dry_run=True))[0]
    if any([await handover.settle(ctx, key) for key in (giver, to)]) and (done := await done_already(ctx, to, taking)):
        return done
    with handover.held(ctx, [giver, to], "move") as leases:
        taken, what = await _moving(ctx, giver, to, taking, dry_run=False)
        as_shown(taken.plan, expected)
        await handover.hand_over(ctx, what, leases)
    return replace(taken, revision=what.taker.revision.number, changed=True)


def _whole(*members: Members) -> None:
    """Raise RefusedError for a chart's release that is not as its newest revision says: that has to be mended first."""
    for one in members:
        if one.is_chart and one.current.status is Status.failed:
            what = f"revision {one.current.number} of {one.key} failed"
            raise RefusedError(what, hint=f"pvehelm recover {one.key.name} -n {one.key.namespace} first")


def _giver(objects: Sequence[Object], to: ReleaseKey) -> ReleaseKey:
    problems = [Problem(str(one), "no release owns it", f"pvehelm adopt {one.ref} --release {to.name}")
                for one in objects if one.owner is None]  # fmt: skip
    problems += [Problem(str(one), f"it belongs to {to} already") for one in objects if one.owner == to]
    if problems:
        raise RefusedError("nothing was moved", problems)
    owners = {one.owner for one in objects if one.owner is not None}
    if len(owners) != 1:
        names = ", ".join(sorted(map(str, owners)))
        raise RefusedError(f"these objects belong to several releases: {names}", hint="move those of one at a time")
    return owners.pop()


async def _moving(
    ctx: Context, giver: ReleaseKey, to: ReleaseKey, taking: Taking, *, dry_run: bool
) -> tuple[Taken, Handover]:
    from pvehelm.release import handover
    from pvehelm.release.live import Reader

    reader = Reader(await ctx.connect())
    objects = await named_objects(ctx, taking, reader)
    if _giver(objects, to) != giver:
        raise RefusedError("another command moved these objects meanwhile")
    gives, takes = members_of(ctx, giver), members_of(ctx, to)
    _whole(gives, takes)
    inventory = ctx.store.inventory(to)
    going: dict[str, Resource] = {}
    targets: list[Resource] = []
    brought: list[Resource] = []
    problems: list[Problem] = []
    for one in objects:
        ref = ctx.kinds.ref(taking.ref) if taking.ref else one.ref
        if ref.partition("/")[0] != one.kind.name:
            raise UsageError(f"--as {taking.ref}: {one} is of another kind", hint=f"--as {one.kind.name}/NAME")
        source = gives.find(one.ref)
        if source is None:
            problems.append(
                Problem(one.ref, f"{giver} has no manifest of it", f"pvehelm upgrade or recover {giver.name}")
            )
            continue
        going[one.ref] = source
        target = takes.find(ref)
        if ref in inventory:
            problems.append(Problem(ref, f"{to} has one already", "--as KIND/NAME gives it another name there"))
        elif target is None and takes.is_chart and not _left_out(takes.current, ref):
            hint = "upgrade it with a chart that does, or move it to a set"
            problems.append(Problem(ref, f"the chart of {to} has no manifest of it", hint))
        targets.append(target or renamed(source, ref))
        brought += [source] if target is None else []
    problems += _torn(gives, takes, going, targets)
    others = _other_secrets(ctx, giver, to, _secrets(going.values()))
    for name in sorted(others & _secrets(brought)):
        told = f"{to} keeps another secret of that name"
        problems.append(Problem(f"secret://release/{name}", told, "move it to a release that keeps none"))
    if problems:
        raise RefusedError(f"this can't be moved from {giver} to {to}", problems)
    before = ctx.store.inventory(giver).entries
    bases = {target.ref: before[one.ref] for one, target in zip(objects, targets, strict=True)}
    plan, changes = await compared(ctx, to, "move", targets, objects, inventory, bases)
    uid = ctx.store.uid(to) if dry_run else ctx.store.ensure(to)
    pieces = [piece(changes[target.ref], before[one.ref], uid) for one, target in zip(objects, targets, strict=True)]
    names = ", ".join(str(one) for one in objects)
    what = handover.Handover(
        tuple(pieces),
        handover.Side(to, next_revision(ctx, takes, plan, f"Moved here from {giver}: {names}", _with(takes, targets))),
        handover.Side(giver, next_revision(ctx, gives, plan, f"Moved to {to}: {names}", _without(gives, going))),
        tuple(sorted(_secrets(going.values()) - others)),
    )
    return Taken(plan, to), what


def _torn(
    gives: Members, takes: Members, going: Mapping[str, Resource], targets: Sequence[Resource]
) -> Iterator[Problem]:
    """References between what stays and what goes: no release knows the names of another."""
    for resource in gives.resources:
        others = _mentions(resource) & gives.refs - {resource.ref}
        if resource.ref in going:
            for other in sorted(others - going.keys() - takes.refs):
                yield Problem(resource.ref, f"it needs {other}, which stays", f"move {other} with it")
        else:
            for other in sorted(others & going.keys()):
                yield Problem(resource.ref, f"it stays and needs {other}", f"move {resource.ref} with it")


def _mentions(resource: Resource) -> set[str]:
    """Everything in a manifest that may be a reference."""
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, Mapping):
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                walk(inner)
        elif isinstance(value, str) and "/" in value:
            found.add(value)

    walk([resource.spec, resource.metadata.get("needs")])
    return found


def _secrets(resources: Iterable[Resource]) -> set[str]:
    """Names of the giver's own secrets that manifests refer to."""
    texts = json.dumps([one.spec for one in resources], default=str)
    return set(re.findall(r'secret://release/([^"}|\\]+)', texts))


def _other_secrets(ctx: Context, giver: ReleaseKey, to: ReleaseKey, names: set[str]) -> set[str]:
    """Those of the giver's secrets under whose names the taker keeps something else, which must not be lost."""
    both = names & set(ctx.store.secret_names(giver)) & set(ctx.store.secret_names(to))
    return {name for name in both if ctx.store.get_secret(giver, name) != ctx.store.get_secret(to, name)}


def _left_out(current: Revision, ref: str) -> bool:
    """Whether a chart would render a manifest that its values leave out, since it was moved away once."""
    from pvehelm.chart import patches

    found = current.user_values.get(patches.KEY) or {}
    return ref in found and found[ref] is None


def _without(gives: Members, going: Mapping[str, Resource]) -> dict[str, Any]:
    from pvehelm.chart import patches
    from pvehelm.chart.manifest import to_text

    left = [one for one in gives.resources if one.ref not in going]
    record: dict[str, Any] = {"manifest": to_text(left)}
    if gives.is_chart:
        before = gives.current.user_values.get(patches.KEY) or {}
        changed = {**before, **dict.fromkeys(going, None)}
        record["user_values"] = {**gives.current.user_values, patches.KEY: changed}
    elif not left:
        record["status"] = Status.uninstalled
    return record


def _with(takes: Members, targets: Sequence[Resource]) -> dict[str, Any]:
    from pvehelm.chart import patches

    record: dict[str, Any] = {"manifest": joined_text(takes.resources, targets)}
    before = takes.current.user_values.get(patches.KEY) or {}
    if takes.is_chart and before:
        left = {ref: one for ref, one in before.items() if one is not None or ref not in {t.ref for t in targets}}
        values = {name: value for name, value in takes.current.user_values.items() if name != patches.KEY}
        record["user_values"] = values | ({patches.KEY: left} if left else {})
    return record


# -- rename ------------------------------------------------------------------------------------------------------


@action("write")
async def rename(ctx: Context, name: str, new: str) -> Release:
    """Give a release or set another name, with its history; nothing else is changed.

    A chart goes on to be rendered under the name it was installed with (``pvehelmName`` among the recorded values), so
    that the next plan is as empty as before. Raises RefusedError where the name is taken.
    """
    from pvehelm.release import handover
    from pvehelm.release.recover import recover_entries
    from pvehelm.release.release import check_name

    key, other = ctx.key(name), ctx.key(check_name(new))
    if key == other:
        raise UsageError(f"{name} has that name already")
    ctx.store.get(key, bodies=False)
    with handover.held(ctx, [key, other], "rename") as leases:
        if ctx.store.open_entries(key):
            await recover_entries(ctx, key, leases[key])
        mine = members_of(ctx, key)
        _whole(mine)
        if ctx.store.find(other, bodies=False) is not None:
            raise RefusedError(
                f"there is a release {other} already",
                hint=f"another name; pvehelm uninstall {new} drops an old history",
            )
        values = dict(mine.current.user_values)
        if mine.is_chart:
            values.setdefault(CALLED, key.name)
            if values[CALLED] == other.name:
                del values[CALLED]
        revision = next_revision(ctx, mine, None, f"Renamed from {key.name}", {"user_values": values})
        if ctx.record is not None:
            ctx.record.about(key, revision=revision.number, renamed=other.name)
        with ctx.store.transaction():
            ctx.store.rename(key, other, leases=list(leases.values()))
            ctx.store.put_revision(other, revision, lease=leases[other])
    return ctx.store.get(other)

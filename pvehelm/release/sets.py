"""Sets: releases without a chart, made of manifests that are given with ``apply -f``.

Each revision of a set holds all of its manifests; files add to them or take the place of those of the same name. What
a set owns, its history and how it comes back are a release's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pvehelm.chart.manifest import Resource, check_unique, parse, to_text
from pvehelm.errors import Problem, PvehelmError, RefusedError, UsageError
from pvehelm.release.context import Context
from pvehelm.release.desire import Desire, placed
from pvehelm.release.literals import seal
from pvehelm.release.release import Release, ReleaseKey, Status

DEFAULT = "default"


def is_set(release: Release) -> bool:
    return not release.current.chart_name


def members(release: Release | None) -> list[Resource]:
    """The manifests of a set's newest revision; none of one that was uninstalled."""
    if release is None or release.current.status is Status.uninstalled:
        return []
    current = release.current
    return parse(current.manifest, file=f"set {release.key.name}, revision {current.number}")


def find(ctx: Context, key: ReleaseKey) -> Release | None:
    """The set of that name, if there is one. Raises RefusedError where a chart's release has the name."""
    release = ctx.store.find(key)
    if release is not None and not is_set(release) and release.current.status is not Status.uninstalled:
        raise RefusedError(
            f"{key} is a release of chart {release.current.chart_name}, not a set",
            hint=f"pvehelm upgrade {key.name} CHART changes it; --set-name NAME applies the files as another set",
        )
    return release


def joined(before: Sequence[Resource], given: Sequence[Resource], *, prune: bool) -> list[Resource]:
    """The manifests of a set once ``given`` ones are applied, each in the place that it has."""
    check_unique(given)
    new = {resource.ref: resource for resource in given}
    if prune:
        return list(given)
    kept = [new.pop(resource.ref, resource) for resource in before]
    return [*kept, *(resource for resource in given if resource.ref in new)]


async def applied(
    ctx: Context, key: ReleaseKey, given: Sequence[Resource], *, prune: bool = False, description: str = ""
) -> Desire:
    """What a set shall be once ``given`` is applied to it. Raises RefusedError where somebody else owns a part of it,
    and UsageError where nothing is left."""
    release = find(ctx, key)
    await ctx.connect()
    given = placed(given, ctx.kinds, key.namespace)
    refuse_others(ctx, key, given)
    return _desire(ctx, key, release, joined(members(release), given, prune=prune), "apply", description)


def without(
    ctx: Context, key: ReleaseKey, release: Release, refs: Collection[str], *, description: str = ""
) -> Desire | None:
    """What a set shall be without some of its objects; None when nothing would be left."""
    left = [resource for resource in members(release) if resource.ref not in refs]
    return _desire(ctx, key, release, left, "apply", description) if left else None


def _desire(
    ctx: Context, key: ReleaseKey, release: Release | None, resources: Sequence[Resource], act: str, description: str
) -> Desire:
    if not resources:
        raise UsageError("there are no manifests in what was given", hint=f"pvehelm uninstall {key.name} removes a set")
    resources, sealed = seal(resources, ctx.kinds, ctx.store.hmac)
    record = {
        "manifest": to_text(resources),
        "labels": dict(release.labels) if release else {},
        "description": description,
    }
    return Desire(act, tuple(resources), record, base=release.current.number if release else 0, sealed=sealed)


def refuse_others(ctx: Context, key: ReleaseKey, resources: Sequence[Resource]) -> None:
    """Raise RefusedError for every resource that another release or set owns, naming it."""
    mine = ctx.store.inventory(key).entries
    guests = {
        (owned.ref, owned.namespace or DEFAULT): owner
        for owner, owned in ctx.store.owned(ctx.cluster)
        if owner != key and ctx.kinds.get(owned.kind).namespaced
    }
    taken: list[tuple[Resource, ReleaseKey]] = []
    for resource in resources:
        if resource.ref not in mine:
            guest = guests.get((resource.ref, resource.namespace or key.namespace))
            others = [guest] if guest else [one for one in _owners(ctx, resource) if one != key]
            taken += [(resource, one) for one in others[:1]]
    if not taken:
        return
    problems = [
        Problem(
            str(resource.source),
            f"{resource.ref} belongs to {noun_of(ctx, owner)} {owner}",
            f"pvehelm uninstall {_named(owner, key)} --keep-resources gives its objects up",
        )
        for resource, owner in taken
    ]
    only = {owner for _, owner in taken}
    hint = ""
    if len(only) == 1 and noun_of(ctx, owner := only.pop()) == "set":
        hint = f"--set-name {_named(owner, key)} applies the files to that set"
    raise RefusedError("an object belongs to one release or set", problems, hint=hint)


def _named(owner: ReleaseKey, key: ReleaseKey) -> str:
    return owner.name if owner.namespace == key.namespace else f"{owner.name} -n {owner.namespace}"


def _owners(ctx: Context, resource: Resource) -> list[ReleaseKey]:
    """Who owns what a resource that is no guest addresses; nobody where that is not known yet, or is shared."""
    try:
        kind = ctx.kinds.get(resource.kind)
        if kind.namespaced or kind.always_there or kind.hook_only:
            return []
        place = kind.lower(resource, lambda ref: f"${{vmid:{ref}}}").key
    except PvehelmError:
        return []  # what is wrong with it is told of all manifests at once
    return [owner for owner, _ in ctx.store.owners(ctx.cluster, kind.name, place)]


def holding(ctx: Context, namespace: str, ref: str) -> ReleaseKey | None:
    """The set that owns a resource of that name, a guest in that namespace, or has it in its manifests."""
    for owner, owned in ctx.store.owned(ctx.cluster):
        there = not ctx.kinds.get(owned.kind).namespaced or (owned.namespace or DEFAULT) == namespace
        if owned.ref == ref and there and noun_of(ctx, owner) == "set":
            return owner
    for release in ctx.store.list(ctx.cluster, namespace):
        if is_set(release) and any(one.ref == ref for one in members(ctx.store.find(release.key))):
            return release.key
    return None


def noun_of(ctx: Context, key: ReleaseKey) -> str:
    """``set`` or ``release``."""
    found = ctx.store.find(key, bodies=False)
    return "set" if found is not None and is_set(found) else "release"

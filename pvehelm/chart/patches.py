"""Patches: a user's changes to rendered manifests, for what a chart has no value for.

They stand in the values under ``pvehelmPatches``, by KIND/NAME: ``spec`` is laid over the rendered spec (maps are
merged, lists and everything else replaced, a null stays as an explicit "unset"), a null in place of the whole patch
leaves the resource out. Templates and value schemas never see them; the history keeps them with the other values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pvehelm.errors import InvalidError, Problem

if TYPE_CHECKING:
    from pvehelm.chart.manifest import Resource

KEY = "pvehelmPatches"
Patches = Mapping[str, Any]


def split(user: Mapping[str, Any]) -> tuple[dict[str, Any], Patches]:
    """A user's values without the patches, and the patches. Raises InvalidError for patches of another shape."""
    patches = user.get(KEY) or {}
    if not isinstance(patches, Mapping):
        raise InvalidError(f"{KEY} is a map of KIND/NAME to patches")
    problems = [
        Problem(f"{KEY}.{ref}", "a patch is null, or a map with the key spec", "spec: {memory: 4096}")
        for ref, patch in patches.items()
        if patch is not None
        and not (isinstance(patch, Mapping) and set(patch) == {"spec"} and isinstance(patch["spec"], Mapping))
    ]
    if problems:
        raise InvalidError("the patches of the values are not valid", problems)
    return {name: value for name, value in user.items() if name != KEY}, patches


def apply(resources: Sequence[Resource], patches: Patches) -> tuple[Resource, ...]:
    """The resources as patched; patches of resources that are not there do nothing."""
    from dataclasses import replace

    return tuple(
        replace(one, spec=merged(one.spec, patches[one.ref]["spec"])) if one.ref in patches else one
        for one in resources
        if one.ref not in patches or patches[one.ref] is not None
    )


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` laid over ``base``, map by map."""
    made = dict(base)
    for name, value in over.items():
        before = made.get(name)
        both = isinstance(value, Mapping) and isinstance(before, Mapping)
        made[name] = merged(before, value) if both and isinstance(before, Mapping) else value
    return made


def difference(base: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be laid over ``base`` to get ``wanted``."""
    found: dict[str, Any] = {}
    for name in [*wanted, *(name for name in base if name not in wanted)]:
        before, after = base.get(name), wanted.get(name)
        if name in base and name in wanted and before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found[name] = difference(before, after)
        else:
            found[name] = after
    return found

"""What is wrong with manifests before anything is asked of a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pvehelm.api.kinds import Kinds
from pvehelm.chart.manifest import Resource
from pvehelm.errors import InvalidError, NotFoundError, Problem
from pvehelm.release import hookchecks
from pvehelm.suggest import suggest

if TYPE_CHECKING:
    from pvehelm.release.context import Context
    from pvehelm.release.release import ReleaseKey


def require_valid(kinds: Kinds, resources: Sequence[Resource]) -> None:
    """Raise InvalidError with every problem of every manifest, each at its place in the template or file."""
    require_no_problems(kinds, resources, list(kinds.validate(resources)))


def require_no_problems(
    kinds: Kinds, resources: Sequence[Resource], invalid: Sequence[tuple[Any, Any, Problem]]
) -> None:
    """:func:`require_valid` where the kinds have said already what they find ``invalid``."""
    found: list[Problem] = []
    refs = {resource.ref for resource in resources}
    for resource in resources:
        for index, need in enumerate(resource.metadata.get("needs") or ()):
            if need not in refs:
                at = str(resource.where(("metadata", "needs", index)))
                meant = suggest(str(need), refs)
                hint = f"did you mean {meant}?" if meant else "needs names resources of the same release: KIND/NAME"
                found.append(Problem(at, f"{resource.ref}: it needs {need}, which is not in this release", hint))
    found += [told(resource, path, problem) for resource, path, problem in invalid if isinstance(resource, Resource)]
    found += hookchecks.problems(resources, kinds)
    if found:
        raise InvalidError("the manifests are not valid", found)


def told(resource: Resource, path: Sequence[str | int], problem: Problem) -> Problem:
    """A problem of a manifest at its place in the template, with the field's name if its text leaves that out."""
    named = len(path) < 2 or str(path[-1]) in problem.what
    label = "" if named else ".".join(map(str, path)) + ": "
    return Problem(str(resource.where(path)), f"{resource.ref}: {label}{problem.what}", problem.hint)


def require_known(ctx: Context, key: ReleaseKey, kinds: Mapping[str, str]) -> None:
    """Raise InvalidError where the store's records of a release are about a kind (by ref) that this pvehelm does not
    know, or this server has not: whoever went on would forget what the one that wrote them has made."""
    from pvehelm import __version__

    found = []
    for ref, kind in kinds.items():
        try:
            ctx.kinds.get(kind)
        except NotFoundError as error:
            found.append(Problem(ref, str(error), error.hint))
    if found:
        release = ctx.store.find(key, bodies=False)
        wrote = release.current.pvehelm_version if release else ""
        by = f"pvehelm {wrote} made its last revision, and this is {__version__}" if wrote != __version__ else ""
        raise InvalidError(f"release {key} has what can't be looked at here", found, hint=by)

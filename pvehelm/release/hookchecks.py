"""What is wrong with the hooks of a release, before anything is asked of a server."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pvehelm.api.kinds import Kinds
from pvehelm.chart.hooks import AFTER_CREATION, Hook, hook_of
from pvehelm.chart.manifest import Resource
from pvehelm.errors import InvalidError, NotFoundError, Problem
from pvehelm.suggest import suggest


def problems(resources: Sequence[Resource], kinds: Kinds) -> Iterator[Problem]:
    """What is wrong with the hooks of a release, each at its place."""
    for resource in resources:
        hook = hook_of(resource.metadata)
        try:
            kind = kinds.get(resource.kind)
        except NotFoundError:
            continue
        if kind.hook_only and hook is None:
            what = f"{resource.ref}: {resource.kind} is something that is done, so it has to be a hook"
            yield Problem(str(resource.where(("kind",))), what, "add hook: post-install, for example, to metadata")
        if hook is not None and kind.commit:
            what = f"{resource.ref}: a {kind.name} only counts once its group is applied, which no hook does"
            yield Problem(
                str(resource.where(("metadata",))), what, "leave the hook out: it is there before what needs it"
            )
        if hook is not None and kind.hook_only:
            yield from _done(resource, hook, resources)


def _done(resource: Resource, hook: Hook, resources: Sequence[Resource]) -> Iterator[Problem]:
    from pvehelm.release.inventory import GUEST_KINDS

    if resource.kind == "Backup" and AFTER_CREATION in hook.policies:
        what = f"{resource.ref}: backups are not removed by a delete policy"
        yield Problem(str(resource.where(("metadata", "hookDeletePolicy"))), what, "prune-backups says what to keep")
    guests = {one.ref: hook_of(one.metadata) for one in resources if one.kind in GUEST_KINDS}
    for name in ("guest", "guests"):
        given = resource.spec.get(name) or ()
        place = str(resource.where(("spec", name)))
        for ref in [given] if isinstance(given, str) else given:
            if ref not in guests:
                yield Problem(place, f"{resource.ref}: there is no {ref} in this release", _meant(str(ref), guests))
                continue
            made = guests[ref]
            if set(hook.events) <= {"pre-install"} and not (made and "pre-install" in made.events):
                what = f"{resource.ref}: before the installation there is no {ref} yet"
                yield Problem(place, what, "hook: post-install")
            elif set(hook.events) <= {"post-delete"}:
                yield Problem(place, f"{resource.ref}: {ref} is gone after the removal", "hook: pre-delete")
    if resource.kind == "Wait":
        yield from _wait(resource, {one.ref for one in resources})


def _wait(resource: Resource, refs: Collection[str]) -> Iterator[Problem]:
    from pvehelm.chart import condition

    for index, text in enumerate(resource.spec.get("until") or ()):
        try:
            condition.parse(text)
        except InvalidError as error:
            yield Problem(str(resource.where(("spec", "until", index))), f"{resource.ref}: {error.message}", error.hint)
    ref = resource.spec.get("object")
    if ref and ref not in refs:
        place = str(resource.where(("spec", "object")))
        yield Problem(place, f"{resource.ref}: there is no {ref} in this release", _meant(str(ref), refs))


def _meant(ref: str, refs: Collection[str]) -> str:
    meant = suggest(ref, refs)
    return f"did you mean {meant}?" if meant else "hooks reach what belongs to their own release"

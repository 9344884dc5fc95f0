"""Changing objects by saying what shall be different: patches, labels, annotations. Each is an edit of its manifest."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import InvalidError, LeaseHeldError, Problem, PvehelmError, StoppedError, UsageError

if TYPE_CHECKING:
    from pvehelm.actions.editing import Draft
    from pvehelm.chart.manifest import Resource
    from pvehelm.release.context import Context
    from pvehelm.release.desire import Options
    from pvehelm.release.plan import Plan
    from pvehelm.release.release import ReleaseKey


@dataclass(frozen=True)
class Patched:
    """What became of the objects, or would (``{ref: word}``), and the plan of all of it."""

    done: Mapping[str, str]
    plan: Plan


@action("write")
async def patch(
    ctx: Context, changes: Sequence[tuple[Draft, Resource]], options: Options, *, done: str, description: str
) -> Patched:
    """Carry changed manifests out: those of a set as its next revision, others at once. ``done`` is the word for it.

    All of it is one plan: what stands against any of it is told before anything is begun, and it is asked about once.
    What fails then stops nothing else; the error says what failed, what was not begun, and what is done.
    """
    from pvehelm.actions import editing
    from pvehelm.actions.question import asked
    from pvehelm.release.decide import check

    editing.require_unmoved(ctx, *(begun for begun, _ in changes))
    words = {after.ref: "unchanged" if after == begun.resource else done for begun, after in changes}
    parts = _parts(changes, description)
    if len(parts) == 1 and not options.dry_run:
        return Patched(words, await parts[0].carried_out(ctx, options))
    dry = replace(options, dry_run=True)
    plan = _joined(ctx, [(part, await part.carried_out(ctx, dry)) for part in parts])
    if options.dry_run:
        return Patched(words, plan)
    check(plan)
    _require_free(ctx, parts)
    if ctx.record is not None:
        ctx.record.planned(plan)
    failed: list[tuple[_Part, PvehelmError]] = []
    with asked(ctx, plan, "what this destroys"):
        for part in parts:
            try:
                if ctx.stop is not None and ctx.stop.is_set():
                    raise StoppedError("interrupted before it was begun")
                await part.carried_out(ctx, options)
            except PvehelmError as error:
                failed.append((part, error))
    if failed:
        raise _partly(words, failed, done)
    return Patched(words, plan)


@dataclass(frozen=True)
class _Part:
    """Changed manifests that are carried out together: those of one set, or one that is in none."""

    changes: Sequence[tuple[Draft, Resource]]
    description: str
    key: ReleaseKey | None = None

    @property
    def refs(self) -> list[str]:
        return [after.ref for _, after in self.changes]

    async def carried_out(self, ctx: Context, options: Options) -> Plan:
        """The plan that was carried out, or would be."""
        from pvehelm.actions import editing
        from pvehelm.actions.manifests import apply

        if self.key is None:
            ((begun, after),) = self.changes
            return await (editing.edited if options.dry_run else editing.edit)(ctx, begun, after, options)
        members, where = [after for _, after in self.changes], self.key.namespace
        made = await apply(ctx, self.key.name, members, options, description=self.description, namespace=where)
        return made.plan


def _parts(changes: Sequence[tuple[Draft, Resource]], description: str) -> list[_Part]:
    of_sets: dict[ReleaseKey, list[tuple[Draft, Resource]]] = {}
    alone: list[_Part] = []
    for begun, after in changes:
        if begun.set and begun.object.owner is not None:
            of_sets.setdefault(begun.object.owner, []).append((begun, after))
        else:
            alone.append(_Part([(begun, after)], description))
    return [*(_Part(members, description, key) for key, members in of_sets.items()), *alone]


def _joined(ctx: Context, planned: Sequence[tuple[_Part, Plan]]) -> Plan:
    """One plan of all parts; what stands against one of a set names it."""
    from pvehelm.release.plan import Plan

    if len(planned) == 1:
        return planned[0][1]

    def told(of: Callable[[Plan], Sequence[Problem]]) -> tuple[Problem, ...]:
        return tuple(
            one._replace(where=f"{one.where} (set {part.key.name})" if part.key else one.where)
            for part, plan in planned
            for one in of(plan)
        )

    return Plan(
        "patch",
        f"{sum(len(part.refs) for part, _ in planned)} objects",
        ctx.namespace,
        tuple(change for _, plan in planned for change in plan.changes),
        told(lambda plan: plan.problems),
        told(lambda plan: plan.refusals),
        tuple(dict.fromkeys(note for _, plan in planned for note in plan.notes)),
    )


def _require_free(ctx: Context, parts: Sequence[_Part]) -> None:
    """Raise LeaseHeldError where somebody else works on any of it."""
    from pvehelm.release.direct import subject

    held: dict[str, Problem] = {}
    for part in parts:
        for begun, _ in part.changes:
            for scope in [part.key.scope] if part.key else subject(ctx, begun.object).scopes:
                lease = ctx.store.holder(scope)
                if lease is not None and scope not in held:
                    held[scope] = Problem(", ".join(part.refs), f"{lease.holder} works on it ({lease.purpose})")
    if held:
        raise LeaseHeldError("nothing was changed: some of it is being worked on", held.values())


def _partly(words: Mapping[str, str], failed: Sequence[tuple[_Part, PvehelmError]], done: str) -> PvehelmError:
    """What failed, and what is done all the same."""
    problems: list[Problem] = []
    for part, error in failed:
        problems += [Problem(", ".join(part.refs), str(error), error.hint), *error.problems]
    broken = {ref for part, _ in failed for ref in part.refs}
    well = ", ".join(f"{ref} {word}" for ref, word in words.items() if ref not in broken)
    made = PvehelmError(
        f"{len(broken)} of {len(words)} objects could not be {done}",
        problems,
        hint=f"{well or 'nothing is done'}; the same command again does the rest",
    )
    codes = {error.exit_code for _, error in failed}
    made.exit_code = codes.pop() if len(codes) == 1 else made.exit_code
    return made


def changed(begun: Draft, document: Any) -> Resource:
    """The resource of a changed document. Raises InvalidError when it is another object, or no valid one."""
    from pvehelm.actions import editing
    from pvehelm.chart.yaml import dump

    if not isinstance(document, Mapping):
        raise InvalidError("what the patch makes is no manifest: a map is expected", hint='{"spec": {"memory": 4096}}')
    return editing.changed(begun, dump(dict(document), width=None), file=begun.resource.ref)


# -- labels and annotations --------------------------------------------------------------------------------------

_KEY = re.compile(r"[A-Za-z0-9]([\w./-]*[A-Za-z0-9])?\Z")


@dataclass(frozen=True)
class Marking:
    """What to write on objects: ``given`` keys with their texts, ``gone`` keys to take away; in the metadata's
    ``part``, labels or annotations."""

    part: str
    given: Mapping[str, str]
    gone: Sequence[str] = ()
    overwrite: bool = False


def is_marking(word: str) -> bool:
    """Whether a word is ``KEY=VALUE`` or ``KEY-`` and no name."""
    return "=" in word or (word.endswith("-") and "/" not in word.rpartition(".")[0])


def marking(part: str, words: Sequence[str], *, overwrite: bool) -> Marking:
    """What ``KEY=VALUE... KEY-...`` say. Raises UsageError for what is neither, or said twice."""
    given: dict[str, str] = {}
    gone: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        key = key if equals else word.removesuffix("-")
        if not _KEY.match(key) or not is_marking(word):
            raise UsageError(f"{word!r}: KEY=VALUE or KEY- is expected", hint="for example tier=front old-")
        if key in given or key in gone:
            raise UsageError(f"{key} is said twice")
        if equals:
            given[key] = value
        else:
            gone.append(key)
    return Marking(part, given, gone, overwrite)


def marked(begun: Draft, marks: Marking) -> Resource:
    """The manifest with other labels or annotations; a guest's tags are labels without a text.

    Raises InvalidError for a key that has another text already and shall not be overwritten, and where nobody would
    keep them: they are not the server's, but a set's."""
    document = begun.resource.as_dict()
    before = dict(document["metadata"].get(marks.part) or {})
    tags = _tags(document["spec"]) if marks.part == "labels" and begun.object.vmid else None
    after = dict(before)
    new_tags = list(tags or ())
    for key in marks.gone:
        if key in after:
            del after[key]
        elif key in new_tags:
            new_tags.remove(key)
    for key, value in marks.given.items():
        if not value and tags is not None and key not in before:
            new_tags += [] if key in new_tags else [key]
        elif before.get(key, value) != value and not marks.overwrite:
            raise InvalidError(
                f"{begun.resource.ref} has {key}={before[key]} already", hint=f"--overwrite makes it {key}={value}"
            )
        else:
            after[key] = value
    if after != before and not begun.set:
        raise InvalidError(
            f"{begun.resource.ref} belongs to no set, and the server keeps no {marks.part}",
            hint=("KEY= adds a tag; " if tags is not None else "")
            + f"pvehelm adopt {begun.resource.ref} --release NAME takes it into a set",
        )
    document["metadata"] = {**document["metadata"], marks.part: after}
    if not after:
        del document["metadata"][marks.part]
    if tags is not None and new_tags != tags:
        document["spec"]["tags"] = new_tags
    return changed(begun, document)


def _tags(spec: Mapping[str, Any]) -> list[str]:
    tags = spec.get("tags") or []
    return [tag for tag in re.split(r"[;, ]+", tags) if tag] if isinstance(tags, str) else [str(tag) for tag in tags]


def shown(begun: Draft, part: str) -> dict[str, str]:
    """The labels (tags among them) or annotations of an object."""
    found = begun.resource.metadata.get(part) or {}
    tags = _tags(begun.resource.spec) if part == "labels" and begun.object.vmid else []
    return {**dict.fromkeys(tags, ""), **{str(key): str(value) for key, value in found.items()}}

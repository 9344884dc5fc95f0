"""Changing objects by saying what shall be different: patches, labels, annotations. Each is an edit of its manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import InvalidError, UsageError

if TYPE_CHECKING:
    from pvehelm.actions.editing import Draft
    from pvehelm.chart.manifest import Resource
    from pvehelm.release.context import Context
    from pvehelm.release.desire import Options
    from pvehelm.release.plan import Plan
    from pvehelm.release.release import ReleaseKey


@dataclass
class Patched:
    """What became of the objects, or would (``{ref: word}``), and the plans that say what is called."""

    done: dict[str, str] = field(default_factory=dict)
    plans: list[Plan] = field(default_factory=list)


@action("write")
async def patch(
    ctx: Context, changes: Sequence[tuple[Draft, Resource]], options: Options, *, done: str, description: str
) -> Patched:
    """Carry changed manifests out: those of a set as its next revision, others at once. ``done`` is the word for it."""
    from pvehelm.actions import editing
    from pvehelm.actions.manifests import apply

    made = Patched()
    of_sets: dict[ReleaseKey, list[Resource]] = {}
    editing.require_unmoved(ctx, *(begun for begun, _ in changes))
    for begun, after in changes:
        made.done[after.ref] = "unchanged" if after == begun.resource else done
        if begun.set and begun.object.owner is not None:
            of_sets.setdefault(begun.object.owner, []).append(after)
    for key, members in of_sets.items():
        result = await apply(ctx, key.name, members, options, description=description, namespace=key.namespace)
        made.plans.append(result.plan)
    for begun, after in changes:
        if not begun.set:
            made.plans.append(await (editing.edited if options.dry_run else editing.edit)(ctx, begun, after, options))
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

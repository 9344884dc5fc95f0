"""Manifests and charts of what is there already."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pvehelm.actions import action
from pvehelm.errors import ApiError, NotFoundError, Problem, UsageError

if TYPE_CHECKING:
    from pvehelm.api.essence import Document
    from pvehelm.api.kind import Kind
    from pvehelm.release.context import Context
    from pvehelm.release.live import Reader
    from pvehelm.release.objects import Object, Wish

FORMS = ("manifests", "chart")


@dataclass(frozen=True)
class Selection:
    """Which objects: by name (``vm 101 102 ct/200 pool/x``), by label, or all there is.

    ``scope`` also reaches into guests (``all``: their firewalls, a few requests for each guest); ``owned`` takes
    what belongs to releases, too; ``namespace`` None is every one.
    """

    words: Sequence[str] = ()
    everything: bool = False
    selector: str = ""
    scope: str = ""
    owned: bool = False
    keep_macs: bool = False
    namespace: str | None = None


@dataclass
class Found:
    """Texts by file name (one '' for plain manifests), what was left and why, and how it went."""

    files: dict[str, str] = field(default_factory=dict)
    documents: Sequence[Document] = ()
    left: Sequence[Problem] = ()
    silent: Mapping[str, str] = field(default_factory=dict)
    requests: int = 0


@action("read", "import")
async def import_objects(ctx: Context, selection: Selection, *, form: str = "manifests", name: str = "") -> Found:
    """Manifests of live objects with only the keys that matter, or a chart of them called ``name``.

    Raises UsageError where nothing was named, NotFoundError for a name that is not there or when nothing is left.
    """
    from pvehelm.release import importing
    from pvehelm.release.live import Reader

    if bool(selection.words) == selection.everything:
        raise UsageError(
            "import takes objects, or --all", hint="pvehelm import vm 101 102 ct/200, pvehelm import --all"
        )
    if form not in FORMS:
        raise UsageError(f"-o {form}: unknown form", hint=f"one of {', '.join(FORMS)}")
    client = await ctx.connect()
    reader = Reader(client)
    objects, left, silent = await _chosen(ctx, selection, reader)
    made = await importing.imported(
        ctx, objects, reader, everything=selection.everything, keep_macs=selection.keep_macs
    )
    left += made.left
    if not made.documents:
        raise NotFoundError("there is nothing to import", left, hint="pvehelm api-resources lists the kinds")
    found = Found(documents=made.documents, left=left, silent=silent, requests=reader.requests)
    if form == "chart":
        from pvehelm.chart.outline import outline

        found.files = outline(name, [(document.manifest, document.notes) for document in made.documents])
    elif selection.everything:
        found.files = importing.by_kind(made.documents, lambda kind: ctx.kinds.get(kind).plural)
    else:
        found.files = {"": importing.text(made.documents)}
    return found


async def _chosen(
    ctx: Context, selection: Selection, reader: Reader
) -> tuple[list[Object], list[Problem], Mapping[str, str]]:
    from pvehelm.actions.objects import label_test
    from pvehelm.release import objects
    from pvehelm.release.importing import CONTENTS

    fits = label_test(selection.selector)
    if selection.everything:
        kinds = [kind for kind in ctx.kinds if not kind.hook_only and kind.name not in CONTENTS]
        unread = await _unreadable(ctx, kinds, reader, selection.scope)
        wanted = [objects.Wish(kind) for kind in kinds if kind.plural not in unread]
    else:
        unread = {}
        wanted = _wishes(ctx, selection.words)
        if any(wish.kind.name == "Node" for wish in wanted):
            hint = "its settings are kinds of their own: nodeconfigs, networks, nodedns, ..."
            raise UsageError("a node has no manifest", hint=hint)
    made = objects.Catalogue(silent=unread)
    # A scope is for the kinds that have one.
    for scoped in (False, True):
        part = [wish for wish in wanted if bool(getattr(wish.kind, "scoped", False)) == scoped]
        if part:
            scope = selection.scope if scoped else ""
            found = await objects.catalogue(ctx, part, reader, scope=scope, namespace=selection.namespace)
            made.objects += found.objects
            made.silent |= found.silent
    chosen = [one for one in made.objects if fits(one.labels)]
    if not selection.everything:
        return objects.one_each(wanted, chosen), [], made.silent
    free = [one for one in chosen if one.owner is None or selection.owned]
    others: dict[str, int] = {}
    for one in chosen:
        if one.owner is not None and not selection.owned:
            others[str(one.owner)] = others.get(str(one.owner), 0) + 1
    left = [
        Problem(owner, f"{count} object{'' if count == 1 else 's'} of this release", "--owned takes them, too")
        for owner, count in sorted(others.items())
    ]
    return free, left, made.silent


async def _unreadable(ctx: Context, kinds: Sequence[Kind], reader: Reader, scope: str) -> dict[str, str]:
    """The kinds whose lists can't be read, with the reason: no right to, or nothing of the sort on this cluster."""
    from pvehelm.api.listing import listing

    async def one(kind: Kind) -> str:
        try:
            await listing(kind, ctx.kinds, reader, scope=scope if getattr(kind, "scoped", False) else "")
        except ApiError as error:
            return str(error)
        return ""

    answers = await asyncio.gather(*(one(kind) for kind in kinds))
    return {kind.plural: why for kind, why in zip(kinds, answers, strict=True) if why}


def _wishes(ctx: Context, words: Sequence[str]) -> list[Wish]:
    """``vm 101 102 ct/200 pool/x``: a kind alone is that of the plain names after it."""
    from pvehelm.release.objects import is_kind, wishes

    groups: list[list[str]] = []
    for word in words:
        kind, slash, rest = word.partition("/")
        if (slash and rest and is_kind(ctx.kinds, kind)) or all(is_kind(ctx.kinds, part) for part in word.split(",")):
            groups.append([word])
        elif groups and "/" not in groups[-1][0]:
            groups[-1].append(word)
        else:
            raise UsageError(f"{word!r}: of which kind?", hint=f"for example vm/{word}")
    return [wish for group in groups for wish in wishes(ctx.kinds, group)]

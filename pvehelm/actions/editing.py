"""Changing one object by its manifest: what is written there is compared with what was there before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pvehelm.actions import action
from pvehelm.errors import InvalidError, NotFoundError, Problem, RefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pvehelm.actions.objects import Query
    from pvehelm.api.kind import Kind
    from pvehelm.chart.manifest import Resource
    from pvehelm.release.change import Change
    from pvehelm.release.context import Context
    from pvehelm.release.desire import Options
    from pvehelm.release.objects import Object
    from pvehelm.release.plan import Plan
    from pvehelm.release.release import ReleaseKey
    from pvehelm.release.secrets import Secrets


@dataclass(frozen=True)
class Draft:
    """An object with its manifest, ready to be changed; ``set`` is the set whose manifest it is, '' for a live one."""

    object: Object
    resource: Resource
    set: str = ""

    @property
    def text(self) -> str:
        from pvehelm.chart.yaml import dump

        return dump(self.resource.as_dict(), width=None)


@action("write", "edit-begin", reads=lambda *_, **__: True)
async def draft(
    ctx: Context,
    words: Sequence[str],
    *,
    allow_owned: bool = False,
    all_namespaces: bool = False,
    resources: Sequence[Resource] = (),
) -> Draft:
    """The manifest of one object to change: its set's, or what the server has. It is named, or the one of manifests.

    Raises RefusedError for what a chart's release owns, naming it, unless ``allow_owned``.
    """
    from pvehelm.actions.objects import Query

    query = Query(all_namespaces=all_namespaces, resources=resources)
    found = await drafts(ctx, words, query, allow_owned=allow_owned)
    if len(found) != 1:
        raise UsageError(f"edit takes one object, not {len(found)}", hint="pvehelm edit vm/web")
    return found[0]


@action("write", "edit-begin-several", reads=lambda *_, **__: True)
async def drafts(ctx: Context, words: Sequence[str], query: Query, *, allow_owned: bool = False) -> list[Draft]:
    """The manifests of objects to change, each as ``draft`` has it.

    Raises NotFoundError, InvalidError for a name that several have, RefusedError with all that is not to be changed.
    """
    from dataclasses import replace

    from pvehelm.actions.objects import get, wished
    from pvehelm.release.direct import settle_all
    from pvehelm.release.objects import one_each

    await ctx.connect()
    query = replace(query, full=True)
    made = await get(ctx, words, query)
    if await settle_all(ctx, {one.ref for one in made.objects}):
        made = await get(ctx, words, query)
    sets_ = _Sets(ctx)
    found: list[Draft] = []
    refused: list[RefusedError] = []
    for one in one_each(wished(ctx, words, query), made.objects):
        try:
            found.append(_draft(one, sets_, allow_owned=allow_owned))
        except RefusedError as error:
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    if refused:
        raise RefusedError("some objects are not to be changed", [Problem("", str(e), e.hint) for e in refused])
    return found


class _Sets:
    """The manifests of sets, each read once: ``{ref: resource}``; None for a chart's release."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self._known: dict[ReleaseKey, dict[str, Resource] | None] = {}

    def of(self, key: ReleaseKey) -> dict[str, Resource] | None:
        from pvehelm.release import sets

        if key not in self._known:
            release = self.ctx.store.find(key)
            mine = release is None or sets.is_set(release)
            self._known[key] = {one.ref: one for one in sets.members(release)} if mine else None
        return self._known[key]


def _draft(one: Object, sets: _Sets, *, allow_owned: bool) -> Draft:
    from pvehelm.api.raising import manifest
    from pvehelm.chart.manifest import parse
    from pvehelm.chart.yaml import dump

    if one.kind.name == "Node":
        raise UsageError(
            "a node has no manifest", hint="its settings are kinds of their own: nodeconfigs, networks, ..."
        )
    if one.owner is not None and one.owner.namespace:
        members = sets.of(one.owner)
        if members is not None and one.ref in members:
            return Draft(one, members[one.ref], one.owner.name)
        if members is None and not allow_owned:
            raise RefusedError(
                f"{one} belongs to release {one.owner}",
                hint=f"pvehelm upgrade {one.owner.name} CHART changes it; --allow-owned edits it as drift",
            )
    assert one.live is not None
    document = manifest(one.kind, one.live, one.name, one.namespace)
    (resource,) = parse(dump(document, width=None), file=one.ref)
    return Draft(one, resource)


def require_unmoved(ctx: Context, *begun: Draft) -> None:
    """Raise RefusedError where a set says something else of one of its objects by now: that would be taken back."""
    now = _Sets(ctx)
    for one in begun:
        key = one.object.owner
        if one.set and key is not None and (now.of(key) or {}).get(one.resource.ref) != one.resource:
            what = f"{one.resource.ref} was changed by somebody else meanwhile"
            raise RefusedError(what, hint="run the command again to see how it is")


@action("read", "edit-plan")
async def edited(ctx: Context, begun: Draft, after: Resource, options: Options) -> Plan:
    """What a changed manifest would do. Raises InvalidError with every problem of it, and as ``require_unmoved``."""
    require_unmoved(ctx, begun)
    if begun.set:
        from dataclasses import replace

        from pvehelm.actions.manifests import apply

        key = begun.object.owner
        assert key is not None
        dry = replace(options, dry_run=True)
        return (await apply(ctx, key.name, [after], dry, namespace=key.namespace)).plan
    return await _plan(ctx, begun, after, options)


@action("write", "edit")
async def edit(ctx: Context, begun: Draft, after: Resource, options: Options) -> Plan:
    """Carry a changed manifest out: as the next revision of its set, or at once. The plan that was carried out."""
    from pvehelm.release import direct
    from pvehelm.release.change import Op
    from pvehelm.release.decide import check

    require_unmoved(ctx, begun)
    if begun.set:
        from pvehelm.actions.manifests import apply

        key = begun.object.owner
        assert key is not None
        what = f"Edited {after.ref}"
        return (await apply(ctx, key.name, [after], options, description=what, namespace=key.namespace)).plan
    plan = await _plan(ctx, begun, after, options)
    check(plan)
    if plan.destroys and not ctx.confirm(plan):
        raise RefusedError("this destroys data and was not confirmed", hint="--yes confirms")

    async def job(subject: direct.Subject) -> direct.Job:
        # Between the question and the lease somebody else may have changed it.
        now = await _plan(ctx, begun, after, options)
        if now.digest != plan.digest:
            raise RefusedError("it is not what was looked at any more", hint="run the command again")
        if any(change.op is Op.recreate for change in now.changes):
            raise RefusedError("this can't be changed in place", hint="delete it, and create it anew from a manifest")
        changes = [_alone(begun.object.kind, change) for change in now.changes if change.steps]
        return direct.Job(changes, "edited", secrets=_secrets(ctx, begun.object))

    if not plan.empty:
        await direct.carry_out(ctx, "edit", [direct.subject(ctx, begun.object)], job, timeout=options.timeout)
    return plan


def _alone(kind: Kind, change: Change) -> Change:
    """A change that nobody's records follow, whose calls can be looked for afterwards; what the server never shows is
    in no journal, for it may stand in the text as it is."""
    from dataclasses import replace

    from pvehelm.release.silence import blind

    after = {row.leaf: row.after for row in change.fields}
    steps = []
    for step in change.steps:
        seen = {leaf: after[leaf] for leaf in step.writes if leaf in after and not blind(kind, leaf)}
        hidden = tuple(name for name in step.params if name in step.hidden or kind.write_only(name))
        step = replace(step, hidden=hidden)
        steps.append(replace(step, seen={"fields": seen}) if seen and not (step.creates or step.deletes) else step)
    return replace(change, owned=None, steps=tuple(steps))


def changed(begun: Draft, text: str, file: str = "your text") -> Resource:
    """The one resource of a changed text. Raises InvalidError when it is not one, or another one."""
    from pvehelm.chart.manifest import parse

    found = parse(text, file=file)
    if len(found) != 1:
        raise InvalidError(f"one manifest is expected, not {len(found)}", hint="apply -f takes several")
    before, after = begun.resource, found[0]
    problems = [
        Problem(str(after.where(path)), f"{what} can't be changed: {was!r} -> {now!r}", "it would be another object")
        for what, path, was, now in (
            ("kind", ("kind",), before.kind, after.kind),
            ("metadata.name", ("metadata", "name"), before.name, after.name),
        )
        if was != now
    ]
    if problems:
        raise InvalidError("an edit keeps the object that it is about", problems)
    return after


async def _plan(ctx: Context, begun: Draft, after: Resource, options: Options) -> Plan:
    """The changes between two manifests of a live object: what was said before is its base, as an inventory's is."""
    from dataclasses import replace

    from pvehelm.api.kind import leaves
    from pvehelm.release.inventory import Inventory, Owned
    from pvehelm.release.live import Reader, gather
    from pvehelm.release.plan import plan
    from pvehelm.release.validity import require_valid

    one = begun.object
    client = await ctx.connect()
    if one.kind.commit:
        hint = f"pvehelm get {one.ref} -o yaml > it.yaml, then apply -f it.yaml --take-ownership all"
        raise RefusedError(f"{one.ref} only counts once its group is applied, which a set does", hint=hint)
    require_valid(ctx.kinds, [after])
    base = one.kind.lower(begun.resource, lambda ref: None)
    assert one.live is not None
    key = {**base.key, **one.live.key} if one.vmid else dict(base.key)
    owned = Owned(after.ref, one.kind.name, after.name, after.namespace, key, leaves(base.fields), {}, False, {}, "")
    inventory = Inventory({after.ref: owned})
    secrets = _secrets(ctx, one)
    desired, observed = await gather(
        [after], inventory, kinds=ctx.kinds.get, reader=Reader(client), secrets=secrets, taken=lambda ref: True
    )
    if observed.live.get(after.ref) is None:
        raise NotFoundError(f"{one} is gone")
    return plan(
        "edit",
        after.ref,
        ctx.namespace,
        desired,
        inventory,
        observed,
        kinds=ctx.kinds.get,
        uid=_mark_of(one),
        # The object was named and the text typed by whoever asks: nothing in it comes from elsewhere.
        allowed=replace(options.allowed, privileged=frozenset({"all"})).named(ctx.kinds.ref),
    )


def _secrets(ctx: Context, one: Object) -> Secrets:
    from pvehelm.release.direct import subject

    return ctx.secrets(one.owner or subject(ctx, one).key)


def _mark_of(one: Object) -> str:
    """The mark that the object carries: an edit leaves it as it is."""
    mark = one.live.extra.get("mark") if one.live else None
    return mark.uid if mark is not None else ""

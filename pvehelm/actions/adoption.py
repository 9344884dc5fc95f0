"""Adopting: objects that nobody manages become a release's, as they are. What moving them needs, too, is here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import InvalidError, NotFoundError, Problem, RefusedError, UsageError
from pvehelm.release.release import ReleaseKey, Revision, Status

if TYPE_CHECKING:
    from pvehelm.chart.manifest import Resource
    from pvehelm.release.change import Change, Plan
    from pvehelm.release.context import Context
    from pvehelm.release.handover import Handover, Piece
    from pvehelm.release.inventory import Inventory, Owned
    from pvehelm.release.objects import Object
    from pvehelm.release.release import Release

TAKEN = "taken over as it is; what differs is changed by the release's next plan"


@dataclass(frozen=True)
class Taking:
    """What shall change hands: objects by name, the release or set that takes them, under which name (one object).

    ``claim`` has the objects that may be taken although they carry the mark of a release that is not in this store.
    """

    words: Sequence[str]
    release: str
    ref: str = ""
    claim: frozenset[str] = frozenset()


@dataclass
class Taken:
    """The plan that was carried out (or would be): each object with the fields that its manifest wants otherwise."""

    plan: Plan
    key: ReleaseKey
    revision: int = 0
    changed: bool = False


@dataclass
class Members:
    """A release as it is: its manifests, and what is said about them by whom."""

    key: ReleaseKey
    release: Release | None
    resources: list[Resource] = field(default_factory=list)

    @property
    def current(self) -> Revision:
        return self.release.current if self.release else Revision(0, Status.deployed)

    @property
    def is_chart(self) -> bool:
        return bool(self.current.chart_name) and self.current.status is not Status.uninstalled

    @property
    def refs(self) -> set[str]:
        return {one.ref for one in self.resources}

    def find(self, ref: str) -> Resource | None:
        return next((one for one in self.resources if one.ref == ref), None)


def members_of(ctx: Context, key: ReleaseKey) -> Members:
    from pvehelm.release.desire import back_to
    from pvehelm.release.sets import members

    release = ctx.store.find(key)
    if release is None or release.current.status is Status.uninstalled:
        return Members(key, release)
    if release.current.chart_name:
        return Members(key, release, list(back_to(release.current).resources))
    return Members(key, release, members(release))


# -- adopt -------------------------------------------------------------------------------------------------------


@action("write")
async def adopt(ctx: Context, taking: Taking, *, dry_run: bool = False, expected: str = "") -> Taken:
    """Take objects into a release as they are: marks and records, no field is changed.

    In a chart's release each becomes one of its manifests that is not bound yet; a set (made if need be) gets a
    manifest of what is there. ``expected`` is the digest of the plan that the user was shown: RefusedError when it is
    another by now. Raises RefusedError for what belongs to somebody else, NotFoundError for what no manifest means.
    """
    from pvehelm.release import handover
    from pvehelm.release.release import check_name

    key = ctx.key(check_name(taking.release))
    if not dry_run:
        if await handover.settle(ctx, key) and (done := await done_already(ctx, key, taking)):
            return done
        with handover.held(ctx, [key], "adopt") as leases:
            taken, what = await _adoption(ctx, key, taking, dry_run=False)
            as_shown(taken.plan, expected)
            await handover.hand_over(ctx, what, leases)
            return replace(taken, revision=what.taker.revision.number, changed=True)
    return (await _adoption(ctx, key, taking, dry_run=True))[0]


async def _adoption(ctx: Context, key: ReleaseKey, taking: Taking, *, dry_run: bool) -> tuple[Taken, Handover]:
    from pvehelm.release import handover
    from pvehelm.release.importing import imported
    from pvehelm.release.live import Reader
    from pvehelm.release.sets import refuse_others

    reader = Reader(await ctx.connect())
    objects = await named_objects(ctx, taking, reader)
    mine = members_of(ctx, key)
    inventory = ctx.store.inventory(key)
    problems = [problem for one in objects if (problem := _not_free(ctx, key, one, taking.claim))]
    if problems:
        raise RefusedError("what belongs to somebody else is not adopted", problems)
    targets: list[Resource] = []
    for one in objects:
        meant = _meant(ctx, mine, inventory, one, taking.ref)
        if meant is None:
            if mine.is_chart:
                problems.append(_unmeant(mine, inventory, one))
                continue
            made = await imported(ctx, [one], reader)
            if not made.documents:
                raise InvalidError(f"{one} can't be put into words", made.left)
            meant = _resource(ctx, made.documents[0].manifest, taking.ref)
        bound = inventory.get(meant.ref)
        if bound is not None and await one.kind.read(bound.identifier, reader) is not None:
            what = f"{meant.ref} is {_number(bound.identifier) or 'another object'} in {key} already"
            problems.append(Problem(str(one), what, "--as KIND/NAME takes another manifest"))
        targets.append(meant)
    if problems:
        raise NotFoundError(f"not everything can be adopted into {key}", problems)
    refuse_others(ctx, key, [one for one in targets if mine.find(one.ref) is None])
    plan, changes = await compared(ctx, key, "adopt", targets, objects, inventory, {})
    uid = ctx.store.uid(key) if dry_run else ctx.store.ensure(key)
    pieces = [piece(changes[resource.ref], None, uid) for resource in targets]
    names = ", ".join(str(one) for one in objects)
    record = {} if mine.is_chart else {"manifest": joined_text(mine.resources, targets)}
    revision = next_revision(ctx, mine, plan, f"Adopted {names}", record)
    return Taken(plan, key), handover.Handover(tuple(pieces), handover.Side(key, revision))


def _not_free(ctx: Context, key: ReleaseKey, one: Object, claim: frozenset[str]) -> Problem | None:
    if one.owner == key:
        return Problem(str(one), f"it belongs to {key} already")
    if one.owner is not None:
        hint = f"pvehelm move {one.ref} --to {key.name} takes it from there"
        return Problem(str(one), f"it belongs to release {one.owner}", hint)
    mark = one.live.extra.get("mark") if one.live else None
    named = {word if word == "all" else ctx.kinds.ref(word) for word in claim}
    claimed = bool({"all", one.ref, one.found.ref, f"{one.kind.name}/{one.vmid}"} & named)
    # A clone has the mark of what it was made from, with that one's VMID.
    if mark is None or claimed or mark.uid == ctx.store.uid(key) or mark.vmid != str(one.vmid):
        return None
    what = f"it carries the mark of a release that is not in this store ({mark.uid}, as {mark.ref})"
    return Problem(str(one), what, f"--take-ownership {one.found.ref} if nobody manages it any more")


def _meant(ctx: Context, mine: Members, inventory: Inventory, one: Object, ref: str) -> Resource | None:
    """The manifest that an object is: the named one, the one with its VMID, the one of its name."""
    if ref:
        wanted = ctx.kinds.ref(ref)
        if wanted.partition("/")[0] != one.kind.name:
            raise UsageError(f"--as {ref}: {one} is of another kind", hint=f"--as {one.kind.name}/NAME")
        found = mine.find(wanted)
        if found is None and mine.is_chart:
            raise NotFoundError(f"{mine.key} has no manifest {wanted}", hint=_open(mine, inventory, one))
        return found
    same = [resource for resource in mine.resources if resource.kind == one.kind.name]
    if one.vmid:
        pinned = [resource for resource in same if str(resource.spec.get("vmid")) == str(one.vmid)]
        return next(iter(pinned), None) or next((r for r in same if r.name == one.found.name), None)
    keyed = [r for r in same if _is_key(one, r)]
    return next(iter(keyed), None) or next((r for r in same if r.name == one.found.name), None)


def _is_key(one: Object, resource: Resource) -> bool:
    """Whether a manifest addresses an object, whatever it calls it."""
    try:
        key = one.kind.lower(resource, lambda ref: None).key
    except InvalidError:
        return False
    shared = key.keys() & one.found.key.keys()
    return bool(shared) and all(str(key[name]) == str(one.found.key[name]) for name in shared)


def _unmeant(mine: Members, inventory: Inventory, one: Object) -> Problem:
    what = f"the chart of {mine.key} has no manifest called {one.kind.name}/{one.found.name}"
    return Problem(str(one), what, _open(mine, inventory, one))


def _open(mine: Members, inventory: Inventory, one: Object) -> str:
    refs = [r.ref for r in mine.resources if r.kind == one.kind.name and r.ref not in inventory]
    if refs:
        return f"--as {refs[0]}" + (f"; or one of {', '.join(refs[1:6])}" if refs[1:] else "")
    return f"adopt it into a set (--release NAME of none there is), or let the chart have another {one.kind.name}"


# -- in common ---------------------------------------------------------------------------------------------------


async def named_objects(ctx: Context, taking: Taking, reader: Any) -> list[Object]:
    """The named objects, read, each once. Raises NotFoundError, and UsageError where several have one name given."""
    from pvehelm.release import objects

    if not taking.words:
        raise UsageError("which objects?", hint="for example vm/101")
    wanted = objects.wishes(ctx.kinds, taking.words)
    if not all(wish.names for wish in wanted):
        raise UsageError("objects are named one by one", hint=f"for example {taking.words[0]}/NAME")
    made = await objects.catalogue(ctx, wanted, reader, scope="")
    found = await objects.read(objects.one_each(wanted, made.objects), reader)
    if not found:
        raise NotFoundError("these objects went away meanwhile")
    if taking.ref and len(found) > 1:
        raise UsageError("--as names one object", hint="adopt them one after the other")
    return found


async def done_already(ctx: Context, key: ReleaseKey, taking: Taking) -> Taken | None:
    """What an interrupted command had begun and is finished now, when that is just what is asked for."""
    from pvehelm.release.change import Plan
    from pvehelm.release.live import Reader

    objects = await named_objects(ctx, taking, Reader(await ctx.connect()))
    if any(one.owner != key or (taking.ref and one.ref != ctx.kinds.ref(taking.ref)) for one in objects):
        return None
    number = ctx.store.get(key, bodies=False).current.number
    return Taken(Plan("adopt", key.name, key.namespace, ()), key, number, changed=True)


async def compared(
    ctx: Context,
    key: ReleaseKey,
    verb: str,
    targets: Sequence[Resource],
    objects: Sequence[Object],
    inventory: Inventory,
    bases: Mapping[str, Owned],
) -> tuple[Plan, dict[str, Change]]:
    """Live objects against the manifests that they are to be: the plan without its calls, and each whole change.

    ``bases`` is what was owned of them before, by their new ref.
    """
    from pvehelm.release.change import Op, Plan
    from pvehelm.release.inventory import Inventory
    from pvehelm.release.live import Reader, gather
    from pvehelm.release.plan import Allowed, plan
    from pvehelm.release.validity import require_valid

    require_valid(ctx.kinds, [replace(one, metadata={**one.metadata, "needs": []}) for one in targets])
    text = json.dumps([one.as_dict() for one in targets], default=str)
    pinned = [
        replace(target, spec={**target.spec, "vmid": one.vmid}) if one.vmid else target
        for target, one in zip(targets, objects, strict=True)
    ]
    known = {ref: owned for ref, owned in inventory.entries.items() if f'"{ref}"' in text}
    based = {ref: replace(owned, ref=ref, name=ref.partition("/")[2], uid="") for ref, owned in bases.items()}
    refs = frozenset(one.ref for one in targets)
    desired, observed = await gather(
        pinned,
        Inventory({**known, **based}),
        kinds=ctx.kinds.get,
        reader=Reader(await ctx.connect()),
        secrets=ctx.secrets(key),
        taken=refs.__contains__,
    )
    problems = [
        Problem(str(one), f"the manifest {target.ref} means another object", "--as KIND/NAME takes another manifest")
        for target, one in zip(targets, objects, strict=True)
        if observed.live.get(target.ref) is None
    ]
    if problems:
        raise NotFoundError("not every object is what its manifest says", problems)
    allowed = Allowed(take_ownership=refs, privileged=frozenset({"all"}), destroy=refs)
    whole = plan(
        verb, key.name, key.namespace, desired, Inventory(based), observed, kinds=ctx.kinds.get, uid="", allowed=allowed
    )
    changes = {change.ref: change for change in whole.changes}
    shown = tuple(
        replace(change, op=Op.update, reason=TAKEN if change.fields else "taken over as it is", steps=(), needs=())
        for change in whole.changes
    )
    for change in whole.changes:
        if change.op is Op.recreate:
            what = f"its manifest asks for another one: {change.reason}"
            raise RefusedError(f"{change.ref} can't be had as it is", [Problem(change.where or change.ref, what)])
    return Plan(verb, key.name, key.namespace, shown, whole.problems, (), whole.notes), changes


def piece(change: Change, before: Owned | None, uid: str) -> Piece:
    """Ownership of an object as it is: what differs from the manifest was not written, so it is not owned yet."""
    from pvehelm.release.handover import Piece

    assert change.owned is not None
    if before is not None:
        owned = replace(change.owned, fields=dict(before.fields), found=dict(before.found), created=before.created)
        return Piece(replace(owned, uid=uid), before)
    differs = {row.leaf for row in change.fields}
    fields = {leaf: value for leaf, value in change.owned.fields.items() if leaf not in differs}
    found = {leaf: value for leaf, value in change.owned.found.items() if leaf not in differs}
    return Piece(replace(change.owned, fields=fields, found=found, created=False, uid=uid))


def as_shown(plan: Plan, expected: str) -> None:
    if expected and plan.digest != expected:
        raise RefusedError("the objects are not as they were shown any more", hint="look at the difference once more")


def _resource(ctx: Context, manifest: Mapping[str, Any], ref: str) -> Resource:
    from pvehelm.chart.manifest import parse
    from pvehelm.chart.yaml import dump

    if ref:
        name = ctx.kinds.ref(ref).partition("/")[2]
        metadata = {key: value for key, value in manifest["metadata"].items() if key != "ignoreChanges"}
        manifest = {**manifest, "metadata": {**metadata, "name": name}}
    (made,) = parse(dump(dict(manifest), width=None), file="what is there")
    return made


def renamed(resource: Resource, ref: str) -> Resource:
    name = ref.partition("/")[2]
    return replace(resource, name=name, metadata={**resource.metadata, "name": name})


def joined_text(before: Sequence[Resource], given: Sequence[Resource]) -> str:
    from pvehelm.chart.manifest import to_text
    from pvehelm.release.sets import joined

    return to_text(joined(before, given, prune=False))


def next_revision(
    ctx: Context, members: Members, plan: Plan | None, description: str, record: Mapping[str, Any]
) -> Revision:
    """The revision that says what became of a release: as the one before, but for what ``record`` says."""
    from pvehelm import __version__

    current, now = members.current, ctx.clock()
    if current.status is Status.uninstalled:
        current = Revision(current.number, Status.deployed)
    return current._replace(
        number=current.number + 1,
        plan=plan.as_dict() if plan else {"action": "rename", "changes": []},
        description=description[:500],
        created=now,
        updated=now,
        user=ctx.user,
        rollback_of=None,
        events=[],
        pvehelm_version=__version__,
        complete=True,
    )._replace(**record)


def _number(key: Mapping[str, Any]) -> str:
    return f"VMID {key['vmid']}" if key.get("vmid") else ""

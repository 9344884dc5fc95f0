"""From what is desired to a plan: everything up to it only reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pvehelm.api.kind import leaves
from pvehelm.api.kinds import Kinds
from pvehelm.chart.manifest import Resource, check_unique
from pvehelm.errors import InvalidError, Problem, PvehelmError, RefusedError
from pvehelm.release import disks, hooks, restarts
from pvehelm.release.absence import held
from pvehelm.release.change import Change
from pvehelm.release.commits import due, with_commits
from pvehelm.release.context import Context
from pvehelm.release.desire import Desire, Options, back_to, last_deployed, same_input, was_deployed
from pvehelm.release.inventory import GUEST_KINDS, Inventory
from pvehelm.release.live import Reader, begin, gather, pause
from pvehelm.release.locks import locked
from pvehelm.release.namespaces import missing_pools
from pvehelm.release.plan import Desired, Observed, Op, Plan, plan
from pvehelm.release.release import ReleaseKey
from pvehelm.release.secrets import Secrets, has_secret, texts
from pvehelm.release.unseen import unseen
from pvehelm.release.validity import require_known, require_no_problems

if TYPE_CHECKING:
    from pvehelm.api.client import Client
    from pvehelm.api.schema import Schema


@dataclass(frozen=True, repr=False)
class Decision:
    """A plan with all that it was made from: what the release owned, what was wanted, what was read."""

    plan: Plan
    inventory: Inventory
    desired: Sequence[Desired]
    observed: Observed
    requests: int = 0
    # What of it could not be told (``release.unseen``).
    unseen: tuple[str, ...] = ()


async def decide(
    ctx: Context,
    key: ReleaseKey,
    desire: Desire,
    options: Options,
    *,
    uid: str,
    new: Inventory | None = None,
    reader: Reader | None = None,
    undoing: bool = False,
) -> Decision:
    """Everything up to the plan; only reads. ``new`` looks at nothing but what is owned since that inventory: what was
    created goes, what was taken over is let go of. A ``reader`` may be shared by releases looked at together.
    ``undoing`` takes back what it can, whoever works on the rest."""
    check_unique(desire.resources)
    client = await ctx.connect()
    kinds = ctx.kinds
    reader = reader or Reader(client)
    everything = await _begun(ctx, key, reader)
    if any(resource.kind in GUEST_KINDS for resource in desire.resources):
        reader.ask("/cluster/resources")
    await _valid(kinds, desire.resources)
    plain, runs = hooks.of(desire, options)
    inventory = hooks.apart(everything, runs)
    if new is not None:
        inventory = Inventory({ref: owned for ref, owned in inventory.entries.items() if ref not in new.entries})
    allowed = options.allowed.named(kinds.ref)
    secrets = ctx.secrets(key, desire.sealed)
    way = await _way_back(ctx, key, desire, options, inventory, reader) if options.restore_disks else None
    desired, observed = await gather(
        plain,
        inventory,
        kinds=kinds.get,
        reader=reader,
        secrets=secrets,
        replaced=allowed.replace,
        taken=allowed.owns,
        checked=True,
        partly=bool(allowed.targets),
    )
    observed.owners = _other_owners(ctx, key, desired, inventory, observed)
    made = plan(
        desire.action,
        key.name,
        key.namespace,
        desired,
        inventory,
        observed,
        kinds=kinds.get,
        uid=uid,
        allowed=allowed,
        keep=options.keep_resources,
        undo=new is not None,
    )
    made = way.woven(made) if way else made
    hidden = unseen(ctx, key, desire.action if new is None else "", desired, inventory, observed, made.changes)
    problems = (*made.problems, *_unresolved(made, kinds, secrets), *hidden.problems)
    made = replace(made, problems=problems, notes=(*made.notes, *hidden.notes))
    made = await with_commits(
        made,
        observed,
        kinds.get,
        ctx.schema,
        reader,
        allowed,
        due=lambda: due(ctx, key),
        exchange=client.exchange,
    )
    missing = await missing_pools(desire, reader, create=options.create_namespace)
    if new is None:
        weaver = hooks.Weaver(kinds, everything, allowed, secrets, reader, key)
        made = await _with_runs(ctx, key, made, desire, options, weaver, observed, inventory)
        # Of what only drifted, whoever repairs it leaves alone what is locked, and not the rest.
        missing += locked(made, observed) if desire.action != "drift" and not undoing else []
    missing += await held(made, reader)
    missing += await _missing_rights(client, ctx.schema, made, reader, inventory)
    if missing:
        made = replace(made, problems=(*made.problems, *missing))
    if options.atomic:
        target = last_deployed(ctx, key)
        kept = {resource.ref for resource in back_to(target).resources} if target else set()
        made = replace(made, refusals=(*made.refusals, *_irreversible(made, observed, kinds, kept)))
    return Decision(made, inventory, desired, observed, reader.requests, hidden.notes)


async def look_ahead(ctx: Context, key: ReleaseKey, reader: Reader | None = None) -> Reader:
    """A reader that has asked for what the release owns: where nothing will be done and so no lease is taken, that is
    read while charts are rendered and manifests parsed."""
    reader = reader or Reader(await ctx.connect())
    await _begun(ctx, key, reader)
    return reader


async def _begun(ctx: Context, key: ReleaseKey, reader: Reader) -> Inventory:
    """What the release owns, and is being asked for."""
    if key not in reader.owned:
        reader.owned[key] = ctx.store.inventory(key)
        require_known(ctx, key, {owned.ref: owned.kind for owned in reader.owned[key]})
        await begin(reader.owned[key], ctx.kinds.get, reader)
    return reader.owned[key]


async def _with_runs(
    ctx: Context,
    key: ReleaseKey,
    made: Plan,
    desire: Desire,
    options: Options,
    weaver: hooks.Weaver,
    observed: Observed,
    inventory: Inventory,
) -> Plan:
    """The plan with what is run before, among and after its changes; as it is where there is nothing to do at all."""
    plain, runs = hooks.of(desire, options)
    restart = restarts.due(made, observed) if options.reboot == "if-needed" else []
    if not (runs or restart or options.snapshot or options.backup or options.wait):
        return made
    release = ctx.store.find(key)
    if made.empty and not restart and release is not None and same_input(release.current, desire):
        return made
    first: list[Change] = []
    if options.snapshot or options.backup:
        backup = options.backup_storage if options.backup else None
        number = (release.current.number if release else 0) + 1
        first = disks.first(made, inventory, observed, number, snapshot=options.snapshot, backup=backup)
        weaver.problems += await disks.incapable(first, observed, await ctx.connect())
    verb = "" if options.no_hooks else hooks.verb_of(desire, again=lambda: was_deployed(ctx, key) > 0)
    ran = frozenset((desire.record.get("hooks") or {}).get("ran") or ())
    return await weaver.weave(made, plain, runs, verb, first=first, wait=options.wait, restart=restart, ran=ran)


async def _way_back(
    ctx: Context, key: ReleaseKey, desire: Desire, options: Options, inventory: Inventory, reader: Reader
) -> disks.Way:
    """The way back of the guests' disks. Raises InvalidError for a desire that is no rollback."""
    target = desire.record.get("rollback_of")
    if not target:
        raise InvalidError(
            "--restore-disks goes with a rollback", hint=f"pvehelm rollback {key.name} N --restore-disks"
        )
    done: frozenset[str] = frozenset()
    if desire.action == "recover":
        done = await disks.gone_back(ctx, key, ctx.store.get(key).current.number)
    way = disks.Way(ctx, key, int(target), done)
    guests = [r.ref for r in hooks.of(desire, options)[0] if r.kind in GUEST_KINDS and not r.spec.get("isTemplate")]
    await way.look(guests, inventory, reader)
    return way


def _irreversible(made: Plan, observed: Observed, kinds: Kinds, kept: Set[str]) -> Iterator[Problem]:
    """What of a plan could not be undone, and so is refused with --atomic; ``kept``: refs that undoing it keeps."""
    hint = "run it without --atomic"
    destroyed = {change.ref for change in made.destroys}
    for change in made.changes:
        if change.ref in destroyed:
            what = f"{change.ref}: what is destroyed can't be brought back"
            yield Problem(change.where or "--atomic", f"{what}, so --atomic is refused", hint)
        live = observed.live.get(change.ref)
        if change.op is not Op.update or live is None or change.ref not in kept:
            continue
        kind = kinds.get(change.kind)
        for row in change.fields:
            why = kind.refusal(row.leaf, row.after, row.before, live)
            if why:
                what = f"{change.ref}: {row.leaf} could not be set back ({why})"
                yield Problem(change.where or "--atomic", f"{what}, so --atomic is refused", hint)


def _other_owners(
    ctx: Context, key: ReleaseKey, desired: Sequence[Desired], inventory: Inventory, observed: Observed
) -> dict[str, str]:
    """Refs of what another release of this store owns, with its name. Of what is always there, leaf by leaf."""
    found: dict[str, str] = {}
    for one in desired:
        if one.ref in inventory:
            continue
        live = observed.live.get(one.ref)
        keys = [one.wanted.key, *([live.key] if live else [])]
        for place in keys:
            if one.kind.name in GUEST_KINDS and not place.get("vmid"):
                continue
            for other, ref in ctx.store.owners(key.cluster, one.kind.name, place):
                if other == key:
                    continue
                owned = ctx.store.inventory(other).get(ref)
                if one.kind.always_there and not (owned and owned.fields.keys() & leaves(one.wanted.fields).keys()):
                    continue
                found[one.ref] = str(other)
    return found


def _unresolved(made: Plan, kinds: Kinds, secrets: Secrets) -> list[Problem]:
    """References that this plan will need and that mean nothing here, each once."""
    found: dict[str, Problem] = {}
    for change in made.changes:
        needed: list[Any] = [step.params for step in change.steps]
        if change.wanted is not None and change.op in (Op.create, Op.recreate) and kinds.get(change.kind).settles:
            needed += [change.wanted.fields, change.wanted.once]
        for value in needed:
            for text in filter(has_secret, texts(value)):
                try:
                    secrets.resolve(text)
                except PvehelmError as error:
                    found.setdefault(str(error), Problem(change.where, f"{change.ref}: {error}", error.hint))
    return list(found.values())


async def _valid(kinds: Kinds, resources: Sequence[Resource]) -> None:
    """``validity.require_valid``, while the server's answers come in."""
    found = []
    for index, resource in enumerate(resources):
        found += kinds.validate([resource])
        await pause(index)
    require_no_problems(kinds, resources, found)


async def _missing_rights(
    client: Client, schema: Schema, made: Plan, reader: Reader, inventory: Inventory
) -> list[Problem]:
    """What these credentials may not do of a plan; one request, and none for root@pam or an empty plan."""
    from pvehelm.api import rights

    who = client.auth.identity
    steps = [(change, change.steps or tuple(hooks.calls(change, inventory))) for change in made.changes]
    acting = [(change.ref, change.kind, calls) for change, calls in steps if calls]
    if not acting or who in ("", rights.ROOT):
        return []
    permissions = await reader("/access/permissions") or {}
    places = {change.ref: change.where for change in made.changes}
    found = rights.problems(schema, acting, permissions, who)
    return [Problem(places.get(p.where) or p.where, f"{p.where}: {p.what}", p.hint) for p in found]


def check(made: Plan) -> None:
    """Raise what stands against a plan: InvalidError for what can't be, RefusedError for what is not allowed."""
    if made.problems:
        raise InvalidError(f"{made.action} of {made.release} can't be done", made.problems)
    if made.refusals:
        raise RefusedError(f"{made.action} of {made.release} is refused", made.refusals)

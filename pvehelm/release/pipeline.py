"""Install, upgrade, rollback, uninstall, repair: one pipeline with a different desired state.

lease -> recover what was interrupted -> read -> plan -> (stop here when dry) -> confirm -> apply -> record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pvehelm import __version__
from pvehelm.api.kind import leaves
from pvehelm.api.kinds import Kinds
from pvehelm.chart.manifest import Resource, check_unique
from pvehelm.chart.suggest import suggest
from pvehelm.errors import InvalidError, LeaseHeldError, Problem, PvehelmError, RefusedError, StoppedError
from pvehelm.release.apply import Applier, Outcome
from pvehelm.release.commits import held, with_commits
from pvehelm.release.context import Context
from pvehelm.release.event import Event
from pvehelm.release.lease import Lease
from pvehelm.release.live import Reader, gather, told
from pvehelm.release.plan import Allowed, Desired, Observed, Op, Plan, plan
from pvehelm.release.recover import recover_entries
from pvehelm.release.release import GUEST_KINDS, Inventory, Release, ReleaseKey, Revision, Status
from pvehelm.release.secrets import Secrets, has_secret, texts

if TYPE_CHECKING:
    from pvehelm.api.client import Client
    from pvehelm.api.schema import Schema


@dataclass(frozen=True)
class Desire:
    """What a release shall be, and what its next revision records beside the plan."""

    action: str
    resources: tuple[Resource, ...]
    record: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""
    # The revision that this was made from (0: none): values and templates saw it, so it must still be the newest.
    base: int | None = None
    # Secrets that were plain in the manifests: name -> text, to be sealed when the plan is carried out.
    sealed: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Options:
    """How to go about it."""

    allowed: Allowed = field(default_factory=Allowed)
    dry_run: bool = False
    atomic: bool = False
    wait: bool = False
    timeout: float | None = None
    create_namespace: bool = False
    history_max: int = 10
    keep_resources: bool = False
    keep_history: bool = False
    reuse_empty: bool = True


@dataclass
class Result:
    """What came of it: the plan always; the release when something was (or had been) recorded."""

    plan: Plan
    release: Release | None = None
    outcome: Outcome | None = None
    changed: bool = False
    requests: int = 0


async def decide(
    ctx: Context, key: ReleaseKey, desire: Desire, options: Options, *, release: Release | None, uid: str
) -> tuple[Plan, Inventory, int]:
    """Everything up to the plan; only reads."""
    check_unique(desire.resources)
    client = await ctx.connect()
    kinds = ctx.kinds
    require_valid(kinds, desire.resources)
    inventory = ctx.store.inventory(key)
    reader = Reader(client)
    secrets = ctx.secrets(key, desire.sealed)
    desired, observed = await gather(
        desire.resources,
        inventory,
        kinds=kinds.get,
        reader=reader,
        secrets=secrets,
        replaced=options.allowed.replace,
        taken=options.allowed.owns,
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
        allowed=options.allowed,
        keep=options.keep_resources,
    )
    made = replace(made, problems=(*made.problems, *_unresolved(made, kinds, secrets)))
    made = await with_commits(
        made,
        observed,
        kinds.get,
        ctx.schema,
        reader,
        options.allowed,
        held=lambda: held(lambda name: ctx.store.get_secret(key, name)),
    )
    missing = await _missing_pools(key, desire, options, reader)
    missing += await _missing_rights(client, ctx.schema, made, reader)
    if missing:
        made = replace(made, problems=(*made.problems, *missing))
    if options.atomic and any(change.losses for change in made.changes):
        what = "a plan that destroys data can't be undone, so --atomic is refused with it"
        made = replace(made, refusals=(*made.refusals, Problem("--atomic", what, "run it without --atomic")))
    return made, inventory, reader.requests


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


def require_valid(kinds: Kinds, resources: Sequence[Resource]) -> None:
    """Raise InvalidError with every problem of every manifest, each at its place in the template or file."""
    hooks = [resource for resource in resources if resource.metadata.get("hook")]
    found = [
        Problem(
            str(hook.where(("metadata", "hook"))), f"{hook.ref}: hooks are not supported yet", "leave metadata.hook out"
        )
        for hook in hooks
    ]
    refs = {resource.ref for resource in resources}
    for resource in resources:
        for index, need in enumerate(resource.metadata.get("needs") or ()):
            if need not in refs:
                at = str(resource.where(("metadata", "needs", index)))
                meant = suggest(str(need), refs)
                hint = f"did you mean {meant}?" if meant else "needs names resources of the same release: KIND/NAME"
                found.append(Problem(at, f"{resource.ref}: it needs {need}, which is not in this release", hint))
    found += [
        told(resource, path, problem)
        for resource, path, problem in kinds.validate(resources)
        if isinstance(resource, Resource)
    ]
    if found:
        raise InvalidError("the manifests are not valid", found)


async def _missing_pools(key: ReleaseKey, desire: Desire, options: Options, reader: Reader) -> list[Problem]:
    """Namespaces are pools: every one that is used exists, is made here, or --create-namespace makes it."""
    used = {
        r.namespace: str(r.where(("metadata", "namespace")))
        for r in desire.resources
        if r.namespace and r.namespace != "default"
    }
    if not used:
        return []
    made = {r.name for r in desire.resources if r.kind == "Pool"}
    there = {row["poolid"] for row in await reader("/pools") or []}
    absent = {name: where for name, where in used.items() if name not in there and name not in made}
    if not options.create_namespace:
        hint = "--create-namespace makes the pool"
        return [
            Problem(where, f"namespace {name!r} does not exist (a namespace is a resource pool)", hint)
            for name, where in absent.items()
        ]
    return []


async def _missing_rights(client: Client, schema: Schema, made: Plan, reader: Reader) -> list[Problem]:
    """What these credentials may not do of a plan; one request, and none for root@pam or an empty plan."""
    from pvehelm.api import rights

    who = client.auth.identity
    acting = [(change.ref, change.kind, change.steps) for change in made.changes if change.steps]
    if not acting or who in ("", rights.ROOT):
        return []
    permissions = await reader("/access/permissions") or {}
    places = {change.ref: change.where for change in made.changes}
    found = rights.problems(schema, acting, permissions, who)
    return [Problem(places.get(p.where) or p.where, f"{p.where}: {p.what}", p.hint) for p in found]


async def _create_pools(ctx: Context, desire: Desire) -> None:
    client = await ctx.connect()
    made = {r.name for r in desire.resources if r.kind == "Pool"}
    there = {row["poolid"] for row in await client.get("/pools") or []}
    for name in sorted(
        {r.namespace for r in desire.resources if r.namespace and r.namespace != "default"} - there - made
    ):
        parts = str(name).split("/")
        for depth in range(1, len(parts) + 1):
            poolid = "/".join(parts[:depth])
            if poolid not in there:
                await client.post("/pools", {"poolid": poolid})
                there.add(poolid)


def check(made: Plan) -> None:
    """Raise what stands against a plan: InvalidError for what can't be, RefusedError for what is not allowed."""
    if made.problems:
        raise InvalidError(f"{made.action} of {made.release} can't be done", made.problems)
    if made.refusals:
        raise RefusedError(f"{made.action} of {made.release} is refused", made.refusals)


async def run(ctx: Context, key: ReleaseKey, desire: Desire, options: Options) -> Result:
    """The whole pipeline. Raises what ``check`` raises, RefusedError when not confirmed, and for a failed apply an
    error that names every failed change; what was begun is recorded as a failed revision by then."""
    if options.dry_run:
        release = ctx.store.find(key)
        made, _, requests = await decide(
            ctx, key, desire, options, release=release, uid=release.uid if release else "dry-run"
        )
        return Result(made, release, requests=requests)
    with ctx.store.hold(key.scope, purpose=desire.action) as lease:
        if options.timeout is None:
            return await _run(ctx, key, desire, options, lease)
        try:
            async with asyncio.timeout(options.timeout):
                return await _run(ctx, key, desire, options, lease)
        except TimeoutError:
            raise PvehelmError(
                f"{desire.action} of {key.name} took longer than {options.timeout:g} s",
                hint=f"running tasks go on; pvehelm recover {key.name} finishes or repairs",
            ) from None


async def _run(ctx: Context, key: ReleaseKey, desire: Desire, options: Options, lease: Lease) -> Result:
    release = ctx.store.find(key)
    if desire.base is not None and desire.base != (release.current.number if release else 0):
        raise LeaseHeldError(
            f"release {key} was changed by another process meanwhile",
            hint=f"look at it with pvehelm status {key.name}, and run the command again if it is still wanted",
        )
    await ctx.connect()
    await recover_entries(ctx, key, lease)
    uid = ctx.store.ensure(key)
    made, inventory, requests = await decide(ctx, key, desire, options, release=release, uid=uid)
    check(made)
    if release is not None and made.empty and options.reuse_empty and _same_input(release.current, desire):
        if made.records:
            _record_ownership(ctx, key, lease, made, release.current.number)
        return Result(made, release, requests=requests)
    if made.destroys and not ctx.confirm(made):
        raise RefusedError(
            f"{desire.action} of {key.name} destroys data and was not confirmed",
            [Problem(change.ref, ", ".join(change.losses) or "the guest") for change in made.destroys],
            hint="--yes confirms",
        )
    ctx.emit(Event("plan", "", made.summary(), {"changes": sum(change.acts for change in made.changes)}))
    if options.create_namespace:
        await _create_pools(ctx, desire)
    revision = _revision(ctx, release, desire, made, options)
    with ctx.store.transaction():
        revision = ctx.store.put_revision(key, revision, lease=lease)
        for name, text in desire.sealed.items():
            ctx.store.put_secret(key, name, text)
    outcome = await _apply(ctx, key, lease, made, inventory, revision.number)
    return await _finish(ctx, key, lease, desire, options, made, release, revision, outcome, requests)


async def _apply(
    ctx: Context, key: ReleaseKey, lease: Lease, made: Plan, inventory: Inventory, revision: int
) -> Outcome:
    with ctx.store.transaction():
        for new, old in made.renamed.items():
            owned = replace(inventory.entries[old], ref=new, name=new.partition("/")[2])
            ctx.store.forget(key, old, lease=lease)
            ctx.store.put_owned(key, owned, lease=lease)
    inventory = ctx.store.inventory(key)
    applier = Applier(
        made,
        key=key,
        revision=revision,
        client=await ctx.connect(),
        store=ctx.store,
        lease=lease,
        kinds=ctx.kinds.get,
        inventory=inventory,
        secrets=ctx.secrets(key),
        emit=ctx.emit,
        keep_secret=lambda name, text: ctx.store.put_secret(key, name, text),
        stop=ctx.stop,
    )
    ctx.applying = True
    try:
        outcome = await applier.run()
    finally:
        ctx.applying = False
    _record_ownership(ctx, key, lease, made, revision)
    return outcome


def _record_ownership(ctx: Context, key: ReleaseKey, lease: Lease, made: Plan, revision: int) -> None:
    """Changes without calls still change what is owned: adopted leaves, metadata, what is gone."""
    entries = ctx.store.inventory(key).entries
    for index, change in enumerate(made.changes):
        if change.steps:
            continue
        if change.owned is not None and entries.get(change.ref) != change.owned:
            entry = ctx.store.begin(key, lease, revision, 100_000 + index, change.ref, "keep", {"note": change.reason})
            ctx.store.outcome(entry, lease, ok=True, owned=change.owned)


async def _finish(
    ctx: Context,
    key: ReleaseKey,
    lease: Lease,
    desire: Desire,
    options: Options,
    made: Plan,
    before: Release | None,
    revision: Revision,
    outcome: Outcome,
    requests: int,
) -> Result:
    if outcome.ok and options.wait:
        await wait_ready(ctx, made)
    if outcome.ok:
        status = Status.uninstalled if desire.action == "uninstall" else Status.deployed
        done = replace(
            revision, status=status, updated=ctx.clock(), events=outcome.events, description=_described(desire)
        )
        _keep(ctx, key, lease, done, options)
        if desire.action == "uninstall" and not options.keep_history:
            ctx.store.delete(key, lease=lease)
            return Result(made, None, outcome, True, requests)
        return Result(made, ctx.store.find(key), outcome, True, requests)
    texts = [f"{ref}: {error}" for ref, error in outcome.failed.items()]
    failed = replace(
        revision,
        status=Status.failed,
        updated=ctx.clock(),
        events=outcome.events,
        description="interrupted"
        if outcome.interrupted and not texts
        else f"{desire.action} failed: {'; '.join(texts)}"[:2000],
    )
    _keep(ctx, key, lease, failed, options)
    problems = [Problem(ref, str(error), error.hint) for ref, error in outcome.failed.items()]
    problems += [p for error in outcome.failed.values() for p in error.problems]
    problems += [Problem(ref, f"not begun: {why}") for ref, why in outcome.skipped.items()]
    if options.atomic and not outcome.interrupted:
        await _undo(ctx, key, lease, desire, options, before, failed)
        raise PvehelmError(
            f"{desire.action} of {key.name} failed and was undone", problems, hint=f"pvehelm history {key.name}"
        )
    what = "was interrupted" if outcome.interrupted else "failed"
    raise (StoppedError if outcome.interrupted else PvehelmError)(
        f"{desire.action} of {key.name} {what}",
        problems,
        hint=f"mend the cause and run the same command again, or: pvehelm recover {key.name}",
    )


def _keep(ctx: Context, key: ReleaseKey, lease: Lease, revision: Revision, options: Options) -> None:
    """Record how a revision ended, and let go of the oldest ones."""
    with ctx.store.transaction():
        ctx.store.put_revision(key, revision, lease=lease)
        ctx.store.prune(key, options.history_max, lease=lease)


async def wait_ready(ctx: Context, made: Plan, pause: float = 0.5) -> None:
    """Wait until every guest that shall run does run; bounded by the operation's timeout alone."""
    wanted = {c.ref: c for c in made.changes if c.wanted and (c.wanted.fields.get("power") == "running")}
    wanted |= {c.ref: c for c in made.changes if c.wanted and c.wanted.fields.get("started") and c.op is Op.create}
    inventory = ctx.store.inventory(ctx.key(made.release, made.namespace)).entries
    client = await ctx.connect()
    while wanted:
        for ref, change in list(wanted.items()):
            owned = inventory.get(ref)
            live = await ctx.kinds.get(change.kind).read(owned.identifier, Reader(client)) if owned else None
            if live is None or live.fields.get("power") == "running":
                wanted.pop(ref)
        if wanted:
            ctx.emit(Event("note", "", f"waiting for {', '.join(sorted(wanted))}"))
            await asyncio.sleep(pause)


def last_deployed(ctx: Context, key: ReleaseKey) -> Revision | None:
    """The newest revision that was deployed without failing, whole; None when there is none since an uninstall."""
    good: list[int] = []
    for r in ctx.store.revisions(key):
        if r.status is Status.uninstalled:
            good.clear()
        elif r.status in (Status.deployed, Status.superseded):
            good.append(r.number)
    return ctx.store.revision(key, good[-1]) if good else None


async def _undo(
    ctx: Context,
    key: ReleaseKey,
    lease: Lease,
    desire: Desire,
    options: Options,
    before: Release | None,
    failed: Revision,
) -> None:
    """--atomic: the last deployed revision again, under the same lease; without one, what was made is removed."""
    target = None if desire.action == "install" else last_deployed(ctx, key)
    if target is None:
        back = Desire("uninstall", (), {"description": f"undo of revision {failed.number}"})
        allowed = replace(options.allowed)
        made, inventory, _ = await decide(
            ctx, key, back, replace(options, allowed=allowed, atomic=False), release=before, uid=ctx.store.ensure(key)
        )
        check(made)
        outcome = await _apply(ctx, key, lease, made, inventory, failed.number)
        if outcome.ok:
            _keep(ctx, key, lease, replace(failed, description=failed.description + " (undone)"), options)
        return
    back = rollback_desire(target, failed.number)
    made, inventory, _ = await decide(
        ctx, key, back, replace(options, atomic=False), release=before, uid=ctx.store.ensure(key)
    )
    check(made)
    revision = _revision(ctx, ctx.store.find(key), back, made, options)
    revision = ctx.store.put_revision(key, revision, lease=lease)
    outcome = await _apply(ctx, key, lease, made, inventory, revision.number)
    status = Status.deployed if outcome.ok else Status.failed
    done = replace(revision, status=status, updated=ctx.clock(), events=outcome.events, description=_described(back))
    _keep(ctx, key, lease, done, options)


def rollback_desire(target: Revision, current: int = 0) -> Desire:
    """The desired state of an earlier revision."""
    from pvehelm.chart.manifest import parse

    resources = parse(target.manifest, file=f"revision {target.number}") if target.manifest.strip() else []
    record = {
        "chart_name": target.chart_name,
        "chart_version": target.chart_version,
        "app_version": target.app_version,
        "chart_digest": target.chart_digest,
        "chart_origin": target.chart_origin,
        "user_values": target.user_values,
        "values": target.values,
        "manifest": target.manifest,
        "notes": target.notes,
        "labels": target.labels,
        "rollback_of": target.number,
        "description": f"Rollback to {target.number}",
    }
    return Desire("rollback", tuple(resources), record, target.notes)


def _described(desire: Desire) -> str:
    done = {"install": "Install complete", "upgrade": "Upgrade complete", "uninstall": "Uninstallation complete"}
    return str(desire.record.get("description") or done.get(desire.action, f"{desire.action} complete"))


def _same_input(current: Revision, desire: Desire) -> bool:
    """Same chart, user values and manifest: with an empty plan there is nothing to record."""
    record = desire.record
    return (
        current.status is Status.deployed
        and desire.action in ("install", "upgrade", "rollback", "recover")
        and current.chart_digest == record.get("chart_digest", "")
        and current.user_values == record.get("user_values", {})
        and current.manifest == record.get("manifest", "")
        and (not record.get("labels") or current.labels == record.get("labels"))
    )


# What recover must know of the command it finishes.
REMEMBERED = ("create_namespace", "keep_history", "keep_resources")


def remembered(revision: Revision, options: Options) -> Options:
    """``options`` with those that the command gave which began this revision."""
    given = (revision.plan or {}).get("options") or {}
    more: dict[str, Any] = {name: True for name in REMEMBERED if given.get(name)}
    return replace(options, **more)


def _revision(ctx: Context, release: Release | None, desire: Desire, made: Plan, options: Options) -> Revision:
    given = {name: True for name in REMEMBERED if getattr(options, name)}
    record = desire.record
    number = (release.current.number if release else 0) + 1
    now = ctx.clock()
    return Revision(
        number=number,
        # A process that dies leaves exactly this: a failed revision with its journal.
        status=Status.failed,
        chart_name=record.get("chart_name", ""),
        chart_version=record.get("chart_version", ""),
        app_version=record.get("app_version", ""),
        chart_digest=record.get("chart_digest", ""),
        chart_origin=record.get("chart_origin", ""),
        user_values=record.get("user_values", {}),
        values=record.get("values", {}),
        manifest=record.get("manifest", ""),
        plan=made.as_dict() | ({"options": given} if given else {}),
        notes=desire.notes or record.get("notes", ""),
        description="interrupted",
        labels=dict(record.get("labels") or {}),
        created=now,
        updated=now,
        user=ctx.user,
        rollback_of=record.get("rollback_of"),
        events=[],
        pvehelm_version=__version__,
    )

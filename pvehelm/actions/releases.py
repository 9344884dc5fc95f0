"""Releases: install, upgrade, rollback, uninstall, and looking at them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.actions.looking import revision_of
from pvehelm.actions.outdated import no_set
from pvehelm.errors import InvalidError, NotFoundError, PvehelmError, RefusedError, UsageError
from pvehelm.release.release import CALLED, ReleaseKey, Status, check_name

if TYPE_CHECKING:
    from pvehelm.chart.chart import Chart
    from pvehelm.chart.postrender import PostRenderer
    from pvehelm.chart.values import ValueFlag
    from pvehelm.release.context import Context
    from pvehelm.release.desire import Desire, Options
    from pvehelm.release.pipeline import Result
    from pvehelm.release.release import Release, Revision


def _recorded(release: Release, revision: Revision) -> dict[str, Any]:
    """The user values of a revision, with the name that the chart is rendered under by now."""
    called = {name: value for name, value in release.current.user_values.items() if name == CALLED}
    return {name: value for name, value in revision.user_values.items() if name != CALLED} | called


def _from_history(recorded: Mapping[str, Any], given: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The paths of recorded user values that the flags of now leave as they are."""
    found: list[str] = []
    for name, value in recorded.items():
        if name not in given:
            found.append(prefix + name)
        elif isinstance(value, Mapping) and isinstance(given[name], Mapping):
            found += _from_history(value, given[name], f"{prefix}{name}.")
    return sorted(found)


async def settled(ctx: Context, key: ReleaseKey, options: Options | None) -> None:
    """Finish what an interrupted adopt or move left, since manifests depend on it; a dry run leaves it."""
    from pvehelm.release.handover import settle

    if options is None or not options.dry_run:
        await settle(ctx, key)


@dataclass(frozen=True)
class Request:
    """What install and upgrade are asked for: the chart with its values, and what the revision shall say of itself.

    ``flags`` are the value flags in the order given; ``origin`` is where the chart came from, for the record;
    ``install_if_missing`` and ``reset_values`` matter to an upgrade alone.
    """

    name: str
    chart: Chart
    flags: Sequence[ValueFlag] = ()
    origin: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    skip_schema: bool = False
    strict: bool = False
    allow_lookup: bool = False
    install_if_missing: bool = False
    reset_values: bool = False
    # Whether the notes of subcharts are kept with the chart's own.
    subchart_notes: bool = False
    # The user's own program, which sees references where there are secrets.
    post: PostRenderer | None = None


async def desired(
    ctx: Context, request: Request, act: str, *, recorded: Mapping[str, Any], revision: int, labels: Mapping[str, str]
) -> Desire:
    """The chart rendered for its next ``revision``, over the ``recorded`` user values."""
    import asyncio

    from pvehelm.actions.charts import prepare, rendered, without_secrets
    from pvehelm.chart import patches
    from pvehelm.chart.manifest import to_text
    from pvehelm.chart.render import ReleaseInfo
    from pvehelm.release.desire import Desire, placed
    from pvehelm.release.generated import Keeper
    from pvehelm.release.literals import conceal, hide, hide_in, name_of, reopened, seal, unknown
    from pvehelm.release.lookup import Lookup

    chart, key = request.chart, ctx.key(request.name)
    recorded = dict(reopened(recorded, lambda reference: ctx.secrets(key).resolve(reference)))
    called = str(recorded.pop(CALLED, key.name))
    prepared = prepare(chart, request.flags, recorded=recorded, skip_schema=request.skip_schema)
    prepared = without_secrets(prepared, lambda _, text: name_of(ctx.store.hmac(text)))
    keeper = Keeper(ctx.store, key)
    await ctx.connect()
    info = ReleaseInfo(called, key.namespace, revision, act == "install", act == "upgrade")
    lookup = Lookup(ctx, key, everything=request.allow_lookup)
    # Off the loop: templates may look things up, which is a conversation of its own with the server.
    made = await asyncio.to_thread(
        rendered,
        prepared,
        info,
        ctx.release,
        ctx.kinds.names(),
        lookup,
        keeper,
        strict=request.strict,
        subchart_notes=request.subchart_notes,
        # Another store's release of this name is somebody else's, and so is another cluster's.
        owner=f"{ctx.store.db.path} {key.scope}",
    )
    resources = conceal(placed(made.resources, ctx.kinds, key.namespace), keeper.secret)
    resources, sealed = seal(resources, ctx.kinds, ctx.store.hmac)
    if request.post is not None:
        made_of = placed(await asyncio.to_thread(request.post.resources, resources), ctx.kinds, key.namespace)
        resources, more = seal(made_of, ctx.kinds, ctx.store.hmac)
        sealed |= more
    before = ctx.store.find(key)
    problems = unknown(resources, before.current.manifest if before else "", ctx.secrets(key, sealed))
    if problems:
        raise InvalidError(f"{act} of {key.name} needs secrets that are not there", problems)
    record = {
        "chart_name": chart.metadata.name,
        "chart_version": chart.version,
        "app_version": chart.metadata.app_version or "",
        "chart_digest": chart.digest,
        "chart_origin": request.origin,
        "user_values": hide(prepared.user, sealed)
        | ({patches.KEY: prepared.patches} if prepared.patches else {})
        | ({CALLED: called} if called != key.name else {}),
        "values": hide(prepared.record, sealed),
        "manifest": to_text(resources),
        "labels": dict(labels),
        "description": request.description,
        "lookups": lookup.answers,
    }
    notes = hide_in(made.notes, {**keeper.secret, **sealed})
    return Desire(act, resources, record, notes, revision - 1, {**keeper.made, **prepared.sealed, **sealed})


async def _under_way(ctx: Context, request: Request) -> None:
    """Begin what takes its time elsewhere, the connection and the child that will render, and get ready meanwhile."""
    import asyncio

    from pvehelm.chart import spare
    from pvehelm.chart.dialects import engines

    await ctx.connect_ahead()
    spare.start(*dict.fromkeys(engines(request.chart)))
    # Off the loop, where the server's answers come in.
    await asyncio.to_thread(_get_ready)


def _get_ready() -> None:
    """What install and upgrade need in any case, imported and read."""
    from pvehelm.api.kinds import Kinds
    from pvehelm.api.schema import Schema
    from pvehelm.chart import printed, render
    from pvehelm.release import generated, literals, lookup, pipeline

    assert all((printed, render, generated, literals, lookup, pipeline))
    # The server's version is not known yet. The newest is a guess, which does no harm where it is wrong.
    with suppress(PvehelmError, ValueError, OSError):
        tuple(Kinds.load(Schema.load()))


@action("write")
async def install(ctx: Context, request: Request, options: Options | None = None) -> Result:
    """Install a chart as a new release."""
    name = check_name(request.name)
    await _under_way(ctx, request)
    from pvehelm.release.desire import Options
    from pvehelm.release.pipeline import run

    key = ctx.key(name)
    before = ctx.store.find(key)
    if before is not None and _stands(ctx, key, before):
        raise RefusedError(
            f"release {key.name!r} is there already (revision {before.current.number}, {before.current.status})",
            hint=f"pvehelm upgrade {key.name} CHART changes it, pvehelm uninstall {key.name} removes it",
        )
    revision = before.current.number + 1 if before else 1
    desire = await desired(ctx, request, "install", recorded={}, revision=revision, labels=request.labels)
    return await run(ctx, key, desire, options or Options())


def _stands(ctx: Context, key: ReleaseKey, release: Release) -> bool:
    """Whether a release is in the way of an install: any but an uninstalled one or a first install that failed."""
    if release.current.status is Status.uninstalled:
        return False
    from pvehelm.release.desire import was_deployed

    return was_deployed(ctx, key) > 0


@action("write")
async def upgrade(ctx: Context, request: Request, options: Options | None = None) -> Result:
    """Upgrade a release to a chart and values: its new defaults, the recorded values, and the flags."""
    name = check_name(request.name)
    await _under_way(ctx, request)
    from pvehelm.chart.values import for_chart, from_flags
    from pvehelm.release.decide import look_ahead
    from pvehelm.release.desire import Options, last_deployed
    from pvehelm.release.pipeline import run

    key = ctx.key(name)
    await settled(ctx, key, options)
    before = ctx.store.find(key)
    if before is None or before.current.status is Status.uninstalled:
        if request.install_if_missing:
            return await install(ctx, request, options)
        if before is not None:
            raise NotFoundError(f"release {name!r} was uninstalled", hint="pvehelm install, or upgrade --install")
        ctx.store.get(key)
    assert before is not None
    no_set(before)
    recorded = {} if request.reset_values else _recorded(before, last_deployed(ctx, key) or before.current)
    labels = {**before.current.labels, **request.labels}
    ahead = await look_ahead(ctx, key) if options is not None and options.dry_run else None
    desire = await desired(
        ctx, request, "upgrade", recorded=recorded, revision=before.current.number + 1, labels=labels
    )
    result = await run(ctx, key, desire, options or Options(), ahead=ahead)
    history = _from_history(recorded, from_flags(for_chart(request.flags, request.chart)))
    if history:
        note = f"values from the history: {', '.join(history)} (--reset-values drops them)"
        result.plan = replace(result.plan, notes=(*result.plan.notes, note))
    return result


@action("write")
async def rollback(
    ctx: Context, name: str, revision: int | None = None, options: Options | None = None, *, description: str = ""
) -> Result:
    """Roll a release back to an earlier revision; when none is named, the one before the deployed one. Repairs are no
    versions: they count as the revision that they put right."""
    from pvehelm.release.desire import Options, back_to
    from pvehelm.release.pipeline import run

    key = ctx.key(name)
    await settled(ctx, key, options)
    release = ctx.store.get(key)
    target = _target(ctx, key, release, revision)
    desire = back_to(target)
    record = {**desire.record, "user_values": _recorded(release, target)}
    desire = replace(desire, record=record, base=release.current.number)
    if description:
        desire = replace(desire, record={**desire.record, "description": description})
    return await run(ctx, key, desire, options or Options())


def _target(ctx: Context, key: ReleaseKey, release: Release, revision: int | None) -> Revision:
    if revision:
        found = revision_of(ctx, key, revision)
        if (found.plan or {}).get("action") == "uninstall":
            raise InvalidError(
                f"revision {revision} of {key.name!r} is an uninstall: there is nothing in it to go back to",
                hint=f"pvehelm uninstall {key.name} removes the release",
            )
        return found
    usable = [r.number for r in ctx.store.revisions(key) if r.status in (Status.superseded, Status.deployed)]
    current = release.current
    while True:
        earlier = [number for number in usable if number < current.number]
        if not earlier:
            raise NotFoundError(f"release {key.name!r} has no earlier revision to go back to")
        found = ctx.store.revision(key, earlier[-1])
        if (current.plan or {}).get("action") != "repair":
            return found
        current = found


@action("destroy")
async def uninstall(
    ctx: Context, name: str, options: Options | None = None, *, description: str = "", ignore_not_found: bool = False
) -> Result | None:
    """Remove a release and what it created."""
    from pvehelm.release.desire import Options

    key = ctx.key(name)
    if ignore_not_found and ctx.store.find(key) is None:
        return None
    await settled(ctx, key, options)
    release = ctx.store.get(key)
    if release.current.status is Status.uninstalled:
        if options is not None and not options.keep_history and not options.dry_run:
            with ctx.store.hold(key.scope, purpose="uninstall") as lease:
                ctx.store.delete(key, lease=lease)
            return None
        raise NotFoundError(
            f"release {name!r} is uninstalled already",
            hint="its history is kept; uninstall without --keep-history drops it",
        )
    current, left = release.current, None
    if current.status is Status.failed and (current.plan or {}).get("action") == "uninstall":
        from pvehelm.release.hookrun import again

        # It goes on where it ended: guests that were stopped meanwhile run no more commands.
        left = again(ctx, key, current)
    return await _remove(ctx, key, current, options or Options(), description, left)


async def _remove(
    ctx: Context,
    key: ReleaseKey,
    current: Revision,
    options: Options,
    description: str,
    again: Mapping[str, Any] | None = None,
) -> Result:
    from pvehelm.release.desire import Desire
    from pvehelm.release.hooks import of_removal
    from pvehelm.release.pipeline import run

    record = {
        "chart_name": current.chart_name,
        "chart_version": current.chart_version,
        "app_version": current.app_version,
        "chart_digest": current.chart_digest,
        "chart_origin": current.chart_origin,
        "user_values": current.user_values,
        "values": current.values,
        "labels": current.labels,
        "description": description,
        "manifest": of_removal(current.manifest),
        "hooks": again,
    }
    return await run(ctx, key, Desire("uninstall", (), record, base=current.number), options)


@action("write")
async def recover(ctx: Context, name: str, options: Options | None = None) -> Result:
    """Finish or repair what was interrupted: bring the last recorded revision about."""
    from pvehelm.release.desire import Options, back_to, remembered
    from pvehelm.release.pipeline import run

    key = ctx.key(name)
    await settled(ctx, key, options)
    release = ctx.store.get(key)
    current = ctx.store.revision(key, release.current.number)
    if current.status is Status.uninstalled:
        raise NotFoundError(f"release {name!r} is uninstalled", hint="there is nothing to recover")
    options = remembered(current, options or Options())
    from pvehelm.release.hookrun import again

    left = again(ctx, key, current)
    if current.status is Status.failed and (current.plan or {}).get("action") == "uninstall":
        return await _remove(ctx, key, current, options, "", left)
    desire = back_to(current)
    description = (
        f"Recovered revision {current.number}"
        if current.status is Status.failed
        else f"Repaired revision {current.number}"
    )
    record = {**desire.record, "description": description, "rollback_of": current.rollback_of, "hooks": left}
    return await run(ctx, key, replace(desire, action="recover", record=record, base=current.number), options)


@action("write")
def unlock(ctx: Context, name: str) -> bool:
    """Take the lease of a release, or of an object by itself (``guest/101``), from whoever holds it; True when somebody
    did. Raises NotFoundError for a release that nobody knows."""
    key = ReleaseKey(ctx.cluster, "", name) if "/" in name else ctx.key(name)
    held = ctx.store.unlock(key.scope) is not None
    if not held and "/" not in name:
        # The first install of a release has a lease before there is anything to find.
        ctx.store.get(key, bodies=False)
    return held


# -- diff ------------------------------------------------------------------------------------------------------


@action("read", "diff")
async def diff_live(ctx: Context, name: str, options: Options | None = None) -> Result:
    """What differs between a deployed release and the server."""
    from pvehelm.release.decide import look_ahead
    from pvehelm.release.desire import Options, back_to, last_deployed
    from pvehelm.release.pipeline import run

    key = ctx.key(name)
    release = ctx.store.get(key, bodies=False)
    if release.current.status is Status.uninstalled:
        raise NotFoundError(
            f"release {name!r} is uninstalled", hint=f"pvehelm rollback {name} N brings a revision of it back"
        )
    ahead = await look_ahead(ctx, key)
    current = last_deployed(ctx, key) or ctx.store.revision(key, release.current.number)
    desire = replace(back_to(current), action="diff")
    return await run(ctx, key, desire, replace(options or Options(), dry_run=True), ahead=ahead)


@action("read", "diff-revisions")
def diff_revisions(ctx: Context, name: str, first: int, second: int) -> str:
    """A text diff of the manifests of two revisions."""
    import difflib

    key = ctx.key(name)
    one, two = revision_of(ctx, key, first), revision_of(ctx, key, second)
    lines = difflib.unified_diff(
        one.manifest.splitlines(keepends=True),
        two.manifest.splitlines(keepends=True),
        f"{name} revision {first}",
        f"{name} revision {second}",
    )
    return "".join(lines)


def parse_labels(texts: Sequence[str]) -> dict[str, str]:
    """``a=b,c=d`` as a map. Raises UsageError."""
    labels: dict[str, str] = {}
    for text in texts:
        for part in filter(None, text.split(",")):
            name, equals, value = part.partition("=")
            if not equals or not re.fullmatch(r"[\w./-]+", name):
                raise UsageError(f"--labels {text!r}: expected NAME=VALUE")
            labels[name] = value
    reserved = {"name", "owner", "status", "version"} & labels.keys()
    if reserved:
        raise UsageError(f"--labels: {', '.join(sorted(reserved))} is reserved")
    return labels


def generated_name(chart_name: str, clock: float) -> str:
    """``web-app-1700000000``, as --generate-name makes it."""
    stem = re.sub(r"[^a-z0-9-]", "-", chart_name.lower())[:40].strip("-")
    return f"{stem}-{int(clock)}"

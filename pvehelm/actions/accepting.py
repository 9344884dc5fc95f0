"""From live values back to what a user writes: fields to specs, specs to values of the chart, the rest to patches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pvehelm.api.kind import Kind, get_leaf, leaves
from pvehelm.chart import patches
from pvehelm.chart.plain import at, scalars
from pvehelm.errors import Problem, PvehelmError
from pvehelm.release.secrets import REDACTED, has_secret

if TYPE_CHECKING:
    from pvehelm.actions.drift import Accepted
    from pvehelm.chart.chart import Chart
    from pvehelm.chart.manifest import Resource
    from pvehelm.release.context import Context
    from pvehelm.release.decide import Decision
    from pvehelm.release.desire import Desire, Options
    from pvehelm.release.release import ReleaseKey, Revision

Path = tuple[str | int, ...]
# So many values of the chart are tried for one field; each try renders the chart.
TRIES = 8


async def accepted(
    ctx: Context, key: ReleaseKey, current: Revision, decision: Decision, chart: Chart | None, options: Options
) -> Accepted:
    """Record what differs as desired, and say with which values."""
    from pvehelm.actions.drift import Accepted
    from pvehelm.chart.manifest import to_text
    from pvehelm.release.desire import back_to
    from pvehelm.release.pipeline import run

    before = {resource.ref: resource for resource in back_to(current).resources}
    wanted, rows, left, alone = _wanted(before, decision)
    values: dict[str, Any] = {}
    rendered: Mapping[str, Resource] = before
    if chart is not None and wanted != before:
        values, rendered = await _traced(ctx, key, current, chart, before, wanted, rows)
    found = _patches(rendered, wanted)
    manifests = ""
    if not current.chart_name:
        # A set has no values: what stands in its manifests is what whoever applies it has to write.
        manifests = to_text(resource for ref, resource in wanted.items() if resource != before[ref])
        rows = [{**row, "by": "manifest"} for row in rows]
    elif found:
        # Laid over those of before by the merge of all values, so that a map of both stands.
        values = {**values, patches.KEY: found}
    if not rows:
        return Accepted(key, {}, (), tuple(left))
    desire = await _desire(ctx, key, current, chart, values, wanted)
    description = f"Drift accepted: {', '.join(sorted({row['ref'] for row in rows}))}"
    desire = replace(desire, record={**desire.record, "description": description[:500]})
    if left:
        desire, options = _only(ctx, key, desire, options, {row["ref"] for row in rows}, alone)
    result = await run(ctx, key, desire, options)
    return Accepted(key, values, tuple(rows), tuple(left), result, manifests)


def _only(
    ctx: Context, key: ReleaseKey, desire: Desire, options: Options, refs: set[str], alone: Mapping[str, Sequence[str]]
) -> tuple[Desire, Options]:
    """The same for ``refs`` and nothing else, without the leaves that are left ``alone``: what can't be taken over
    stays as it is, and stays drift."""

    def looking_away(one: Resource) -> Resource:
        ignored = [*(one.metadata.get("ignoreChanges") or ()), *alone.get(one.ref, ())]
        return replace(one, metadata={**one.metadata, "ignoreChanges": ignored}) if one.ref in alone else one

    resources = tuple(map(looking_away, desire.resources))
    there = {one.ref for one in resources} | ctx.store.inventory(key).entries.keys()
    allowed = replace(options.allowed, targets=frozenset(refs & there))
    return replace(desire, resources=resources), replace(options, allowed=allowed)


async def _desire(
    ctx: Context,
    key: ReleaseKey,
    current: Revision,
    chart: Chart | None,
    values: Mapping[str, Any],
    wanted: Mapping[str, Resource],
) -> Desire:
    from pvehelm.chart.manifest import to_text
    from pvehelm.chart.values import overlay
    from pvehelm.release.desire import back_to

    if chart is not None:
        return replace(await _render(ctx, key, current, chart, values), action="accept")
    desire = back_to(current)
    record = {
        **desire.record,
        "user_values": overlay(current.user_values, values),
        "manifest": to_text(wanted.values()),
        "rollback_of": None,
    }
    newest = ctx.store.get(key, bodies=False).current.number
    return replace(desire, action="accept", resources=tuple(wanted.values()), record=record, base=newest)


# -- fields to specs -------------------------------------------------------------------------------------------


def _wanted(
    before: Mapping[str, Resource], decision: Decision
) -> tuple[dict[str, Resource], list[dict[str, Any]], list[Problem], dict[str, list[str]]]:
    """The manifests as they would have to be, the fields that this takes over, and those that it can't: as problems,
    and as leaves by ref."""
    wanted = dict(before)
    rows: list[dict[str, Any]] = []
    left: list[Problem] = []
    alone: dict[str, list[str]] = {}
    kinds = {one.ref: one.kind for one in decision.desired}
    for change in decision.plan.changes:
        if not change.acts or change.ref not in before:
            continue
        if str(change.op) == "create":
            del wanted[change.ref]
            rows.append({"ref": change.ref, "leaf": "", "value": None, "by": "patch"})
            continue
        live = decision.observed.live.get(change.ref)
        if str(change.op) not in ("update", "keep") or live is None or change.wanted is None:
            left.append(Problem(change.ref, f"it would be {change.op}d, which no manifest can take back"))
            alone[change.ref] = [row.leaf for row in change.fields]
            continue
        for row in change.fields:
            value = get_leaf(live.fields, row.leaf)
            path = change.wanted.origins.get(row.leaf) or ("spec", *row.leaf.split("."))
            made = None
            if row.before != REDACTED and not has_secret(row.after):
                made = _with(wanted[change.ref], kinds[change.ref], row.leaf, path, value)
            if made is None:
                what = "it is a secret" if row.before == REDACTED or has_secret(row.after) else "no manifest says that"
                left.append(Problem(change.ref, f"{row.leaf} can't be taken over: {what}", "--repair sets it back"))
                alone.setdefault(change.ref, []).append(row.leaf)
                continue
            wanted[change.ref] = made
            rows.append({"ref": change.ref, "leaf": row.leaf, "value": value, "by": "patch", "path": path})
    return wanted, rows, left, alone


def _with(resource: Resource, kind: Kind, leaf: str, path: Path, value: Any) -> Resource | None:
    """The resource with a field as live has it; None where no way of writing it comes out as that."""
    native: Path = ("spec", *leaf.split("."))
    for spec in _writings(resource.spec, path[1:], native[1:], value):
        made = replace(resource, spec=spec)
        try:
            if kind.validate(made):
                continue
            lowered = kind.lower(made, lambda ref: "100")
        except PvehelmError:
            continue
        now = leaves(lowered.fields).get(leaf)
        if (value is None and now is None) or (value is not None and kind.same(leaf, now, value)):
            return made
    return None


def _writings(spec: Mapping[str, Any], path: Path, native: Path, value: Any) -> Iterator[dict[str, Any]]:
    before = at(spec, path)
    for one in [*_alike(before, value), value]:
        yield _put(spec, path, one)
    if value is None:
        yield _put(spec, path, None, drop=True)
    if native != path:
        yield _put(_put(spec, path, None, drop=True), native, value)


def _alike(before: Any, value: Any) -> list[Any]:
    """``value`` in the type that stands there now."""
    try:
        if isinstance(before, bool) or before is None or value is None:
            return []
        if isinstance(before, int | float | str) and not isinstance(value, list | Mapping):
            return [type(before)(value)]
    except ValueError:
        pass
    return []


def _put(spec: Mapping[str, Any], path: Path, value: Any, *, drop: bool = False) -> dict[str, Any]:
    made: Any = deepcopy(dict(spec))
    inner = made
    for part in path[:-1]:
        below = inner.get(part) if isinstance(inner, dict) else inner[part]
        if not isinstance(below, dict | list):
            if drop:
                return dict(made)
            below = inner[part] = {}
        inner = below
    if not drop:
        inner[path[-1]] = value
    elif isinstance(inner, dict):
        inner.pop(path[-1], None)
    elif isinstance(path[-1], int) and path[-1] < len(inner):
        del inner[path[-1]]
    return dict(made)


# -- specs to values -------------------------------------------------------------------------------------------


async def _traced(
    ctx: Context,
    key: ReleaseKey,
    current: Revision,
    chart: Chart,
    before: Mapping[str, Resource],
    wanted: Mapping[str, Resource],
    rows: Sequence[dict[str, Any]],
) -> tuple[dict[str, Any], Mapping[str, Resource]]:
    """Values of the chart that bring the manifests closer to ``wanted``, and what they render.

    A value is right when all that changes with it changes to what is wanted.
    """
    values: dict[str, Any] = {}
    rendered: Mapping[str, Resource] = before

    def arrived(row: Mapping[str, Any]) -> bool:
        ref, path = row["ref"], tuple(row.get("path", ()))[1:]
        return ref not in wanted or not path or bool(at(rendered[ref].spec, path) == at(wanted[ref].spec, path))

    for row in rows:
        if arrived(row):
            continue
        path = tuple(row["path"])[1:]
        old, new = at(rendered[row["ref"]].spec, path), at(wanted[row["ref"]].spec, path)
        for place in list(_places(current.values, old, str(path[-1])))[:TRIES]:
            tried = _put(values, place, _like(at(current.values, place), new))
            try:
                made = {r.ref: r for r in (await _render(ctx, key, current, chart, tried)).resources}
            except PvehelmError:
                continue
            if made != rendered and _towards(rendered, made, wanted):
                open_ = [other for other in rows if not arrived(other)]
                values, rendered = tried, made
                for other in filter(arrived, open_):
                    other["by"] = ".".join(map(str, place))
                break
    return values, rendered


def _like(before: Any, value: Any) -> Any:
    return (_alike(before, value) or [value])[0]


def _places(values: Any, wanted: Any, name: str, path: Path = ()) -> Iterator[Path]:
    """Paths of plain values that are ``wanted``; those that are called alike first."""
    found: list[Path] = []

    def walk(inner: Any, path: Path) -> None:
        if isinstance(inner, Mapping):
            for part, below in inner.items():
                walk(below, (*path, part))
        elif not isinstance(inner, list) and inner is not None and wanted is not None and str(inner) == str(wanted):
            found.append(path)

    walk(values, path)
    yield from sorted(found, key=lambda place: str(place[-1]) != name)


def _towards(before: Mapping[str, Resource], made: Mapping[str, Resource], wanted: Mapping[str, Resource]) -> bool:
    """Whether everything that differs between ``before`` and ``made`` is now as wanted."""
    if made.keys() != before.keys():
        return False
    for ref, resource in made.items():
        if ref not in wanted:
            continue
        one, two, three = (dict(scalars(source[ref].spec)) for source in (before, made, wanted))
        changed = [path for path in {**one, **two} if one.get(path) != two.get(path)]
        if any(str(two.get(path)) != str(three.get(path)) for path in changed):
            return False
        if resource.metadata != before[ref].metadata:
            return False
    return True


async def _render(ctx: Context, key: ReleaseKey, current: Revision, chart: Chart, values: Mapping[str, Any]) -> Desire:
    """The chart over the recorded values and these."""
    from pvehelm.actions.releases import Request, desired
    from pvehelm.chart.values import ValueFlag
    from pvehelm.chart.yaml import dump

    flags = [ValueFlag("file", "accepted.yaml", dump(dict(values)))] if values else []
    request = Request(key.name, chart, flags, origin=current.chart_origin)
    newest = ctx.store.get(key).current.number
    return await desired(
        ctx, request, "upgrade", recorded=current.user_values, revision=newest + 1, labels=current.labels
    )


def _patches(rendered: Mapping[str, Resource], wanted: Mapping[str, Resource]) -> dict[str, Any]:
    found: dict[str, Any] = {ref: None for ref in rendered if ref not in wanted}
    for ref, resource in wanted.items():
        if resource.spec != rendered[ref].spec:
            found[ref] = {"spec": patches.difference(rendered[ref].spec, resource.spec)}
    return found

"""Dependencies: which subcharts count, under which name, and the values that each sees (Helm 4's rules).

* A chart's own values win over its subcharts' defaults; the user's win over all. Maps merge, all else replaces.
* ``null`` from above removes a default; nulls among a subchart's own defaults do not count.
* ``global`` is copied down into every subchart, and what a parent says wins.
* ``condition``: the first of its paths that holds true or false decides; else ``tags``: one true is enough, all false
  disables; else enabled. ``alias`` renames. ``import-values`` lifts defaults of a child into its parent, below the
  parent's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pvehelm.chart.chart import Chart, Dependency
from pvehelm.chart.versions import satisfies
from pvehelm.chart.yaml import copied
from pvehelm.errors import InvalidError, Problem

Values = dict[str, Any]


def coalesce(chart: Chart, user: Mapping[str, Any], *, allow_missing: bool = False) -> Values:
    """All values of a chart and its subcharts, each subchart's under its name. New objects.

    Raises InvalidError when a value that a subchart's map must be is something else, and as :func:`enabled` does.
    """
    return _whole(_imported(enabled(chart, user, allow_missing=allow_missing)), copied(user), "", keep=False)


def enabled(chart: Chart, values: Mapping[str, Any], *, allow_missing: bool = False) -> Chart:
    """The chart with the subcharts that ``values`` (the user's, or coalesced ones) enable, under their aliases.

    Raises InvalidError when a declared dependency that is enabled is not in ``charts/``, unless that is allowed.
    """
    problems: list[Problem] = []
    out = _enabled(chart, copied(values), None, problems)
    if problems and not allow_missing:
        raise InvalidError(f"{chart.path}: dependencies are missing", problems)
    return out


def missing(chart: Chart) -> list[Problem]:
    """The declared dependencies for which ``charts/`` holds no chart, of subcharts too."""
    out = [_absent(chart, need) for need in chart.metadata.dependencies if _find(chart, need) is None]
    return out + [problem for sub in chart.dependencies for problem in missing(sub)]


def _absent(chart: Chart, need: Dependency) -> Problem:
    others = [sub.version for sub in chart.dependencies if sub.metadata.name == need.name]
    what = f"dependency {need.name!r} {need.version}".rstrip() + " is declared but not in charts/"
    hint = f"charts/ holds version {', '.join(others)}" if others else "put the chart, or its .tgz, into charts/"
    return Problem(chart.file("Chart.yaml"), what, hint)


def _find(chart: Chart, need: Dependency) -> Chart | None:
    for sub in chart.dependencies:
        if sub.metadata.name == need.name and compatible(need, sub):
            return sub
    return None


def compatible(need: Dependency, sub: Chart) -> bool:
    """Whether a chart has a version that the dependency wants."""
    try:
        return not need.version or satisfies(need.version, sub.version)
    except ValueError:
        return False


def _enabled(chart: Chart, user: Values, above: Mapping[str, Any] | None, problems: list[Problem]) -> Chart:
    needs = chart.metadata.dependencies
    declared = [sub for sub in chart.dependencies if any(_meant(need, sub) for need in needs)]
    # What Chart.yaml does not name counts as well; what it names in another version is left over and does not.
    named = {need.name for need in needs}
    found: list[tuple[Chart, Dependency | None]] = [
        (sub, None) for sub in chart.dependencies if sub.metadata.name not in named
    ]
    lacking: list[Dependency] = []
    for need in needs:
        sub = next((sub for sub in declared if sub.alias == need.alias and _meant(need, sub)), _find(chart, need))
        if sub is None:
            lacking.append(need)
        else:
            found.append((replace(sub, alias=need.alias), need))
    whole = replace(chart, dependencies=tuple(sub for sub, _ in found))
    seen = _whole(whole, copied(user), "", keep=False)
    # Tags are set at the top only; further down a chart's defaults may name more.
    own = seen.get("tags") if above is None else chart.values.get("tags")
    tags = {**(own if isinstance(own, dict) else {}), **(above or {})}
    problems.extend(_absent(chart, need) for need in lacking if _counts(need, seen, tags))
    # Below, nulls of the user must still be there: they remove the defaults of the subcharts' subcharts.
    given = _whole(whole, copied(user), "", keep=True)
    kept = []
    for sub, why in found:
        if why is None or _counts(why, seen, tags):
            below = given.get(sub.name)
            kept.append(_enabled(sub, below if isinstance(below, dict) else {}, tags, problems))
    names = {sub.name for sub in kept}
    metadata = replace(chart.metadata, dependencies=tuple(need for need in needs if need.key in names))
    return replace(chart, metadata=metadata, dependencies=tuple(kept))


def _meant(need: Dependency, sub: Chart) -> bool:
    return need.name == sub.metadata.name and compatible(need, sub)


def _counts(need: Dependency, values: Values, tags: Mapping[str, Any]) -> bool:
    for path in need.condition.strip().split(","):
        value = _at(values, path.strip()) if path.strip() else None
        if isinstance(value, bool):
            return value
    said = [tags[tag] for tag in need.tags if isinstance(tags.get(tag), bool)]
    return any(said) or not said


def _at(values: Any, path: str) -> Any:
    for step in path.split("."):
        if not isinstance(values, dict) or step not in values:
            return None
        values = values[step]
    return values


# -- import-values ---------------------------------------------------------------------------------------------------


def _imported(chart: Chart) -> Chart:
    """The chart whose default values hold what it imports from its subcharts, bottom up."""
    if not chart.dependencies:
        return chart
    chart = replace(chart, dependencies=tuple(_imported(sub) for sub in chart.dependencies))
    if not any(need.import_values for need in chart.metadata.dependencies):
        return chart
    whole = _whole(chart, {}, "", keep=True)
    lifted: Values = {}
    for need in chart.metadata.dependencies:
        for entry in need.import_values:
            child, parent = (f"exports.{entry}", ".") if isinstance(entry, str) else (entry["child"], entry["parent"])
            table = _at(whole.get(need.key), child)
            if isinstance(table, dict):
                table = copied(table)
                for step in reversed([] if parent == "." else parent.split(".")):
                    table = {step: table}
                _tables(lifted, table, keep=True)
    _tables(whole, lifted, keep=True)
    return replace(chart, values=whole)


# -- coalescing ------------------------------------------------------------------------------------------------------


def _whole(chart: Chart, values: Values, prefix: str, *, keep: bool) -> Values:
    """``values`` (changed in place) over the chart's defaults, and the same below for every subchart.

    ``keep`` leaves nulls where they are, for values that are coalesced again later.
    """
    _defaults(chart, values, prefix, keep)
    for sub in chart.dependencies:
        below = values.setdefault(sub.name, {})
        if not isinstance(below, dict):
            where = f"{prefix}{sub.name}"
            raise InvalidError(
                f"the values of subchart {where} are no map",
                [Problem(f"values: {where}", f"must be a map, for {sub.name!r} is a subchart")],
            )
        _globals(below, values)
        _whole(sub, below, f"{prefix}{sub.name}.", keep=keep)
    return values


def _defaults(chart: Chart, values: Values, prefix: str, keep: bool) -> None:
    subcharts = {sub.name for sub in chart.dependencies}
    for key, default in copied(chart.values).items():
        if key not in values:
            if prefix and not keep:
                if default is None:
                    continue
                _without_nulls(default)
            values[key] = default
        elif values[key] is None:
            if not keep:
                del values[key]
        elif isinstance(values[key], dict) and isinstance(default, dict):
            # A subchart's own turn comes, and needs the nulls until then.
            later = keep or key in subcharts
            if prefix and not later:
                _without_nulls(default)
            _tables(values[key], default, keep=later)


def _tables(over: Values, base: Values, *, keep: bool) -> None:
    """Fill ``over`` (in place) with what only ``base`` has; without ``keep`` its nulls remove what base has."""
    for key, value in base.items():
        if key not in over:
            over[key] = value
        elif over[key] is None:
            if not keep and value is not None:
                del over[key]
        elif isinstance(over[key], dict) and isinstance(value, dict):
            _tables(over[key], value, keep=keep)


def _globals(below: Values, above: Values) -> None:
    """Copy the parent's globals into a subchart's, the parent's winning."""
    source, target = above.get("global", {}), below.get("global", {})
    if not isinstance(source, dict) or not isinstance(target, dict):
        return
    for key, value in source.items():
        if isinstance(value, dict):
            if key in target and not isinstance(target[key], dict):
                continue
            value = copied(value)
            _tables(value, target.get(key, {}), keep=True)
        elif isinstance(target.get(key), dict):
            continue
        target[key] = value
    below["global"] = target


def _without_nulls(value: Any) -> None:
    if isinstance(value, dict):
        for key in [key for key, item in value.items() if item is None]:
            del value[key]
        for item in value.values():
            _without_nulls(item)

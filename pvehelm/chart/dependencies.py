"""Dependencies: which subcharts count, under which name, and the values that each sees (Helm 4's rules).

* A chart's own values win over its subcharts' defaults; the user's win over all. Maps merge, all else replaces.
* ``null`` from above removes a default, whoever says it and however deep; a chart's own null stands. With Helm's
  templates it is as in Helm 4, where nulls among a subchart's own defaults do not count.
* ``global`` is copied down into every subchart, and what a parent says wins.
* ``condition``: the first of its paths that holds true or false decides, or its expression; else ``tags``: one true is
  enough, all false disables; else enabled. ``alias`` renames. ``import-values`` lifts defaults of a child into its
  parent, below the parent's own. ``values`` of a dependency hand values of the parent down (``expression``): over what
  charts say by default, below what the user gives the subchart.
* Lists replace as well, unless a schema says ``x-merge`` (``merging``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pvehelm.chart.merging import joined, rules, settled, under
from pvehelm.chart.plain import copied
from pvehelm.errors import InvalidError, Problem

if TYPE_CHECKING:
    from pvehelm.chart.merging import Rules
    from pvehelm.chart.model import Chart, Dependency

Values = dict[str, Any]


def coalesce(chart: Chart, user: Mapping[str, Any], *, allow_missing: bool = False) -> Values:
    """All values of a chart and its subcharts, each subchart's under its name. New objects.

    Raises InvalidError when a value that a subchart's map must be is something else, and as :func:`enabled` does.
    """
    tree = enabled(chart, user, allow_missing=allow_missing)
    given = rules(tree)
    whole = _whole(_imported(tree, given), copied(user), "", keep=False, given=given)
    settled(whole, given)
    return whole


def enabled(chart: Chart, values: Mapping[str, Any], *, allow_missing: bool = False) -> Chart:
    """The chart with the subcharts that the user's ``values`` enable, under their aliases.

    What is decided stays so: values that a chart imports from its subcharts have no say in which of them count.

    Raises InvalidError when a declared dependency that is enabled is not in ``charts/``, unless that is allowed.
    """
    if chart.decided or not _asks(chart) or _unasked(chart):
        return chart
    problems: list[Problem] = []
    out = _enabled(chart, copied(values), None, problems, None)
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
    hint = "put the chart, or its .tgz, into charts/"
    if need.repository and ".tgz" not in chart.path:
        hint = f"'pvehelm dependency update {chart.path}' fetches it"
    if others:
        hint = f"charts/ holds version {', '.join(others)}; {hint}"
    return Problem(chart.file("Chart.yaml"), what, hint)


def _find(chart: Chart, need: Dependency) -> Chart | None:
    found = [sub for sub in chart.dependencies if sub.metadata.name == need.name and compatible(need, sub)]
    if len(found) > 1 and chart.metadata.engine != "gotpl":
        # Helm takes the first; what was chosen for this one is in the lock.
        version = _locked(chart, need)
        found.sort(key=lambda sub: sub.version != version)
    return found[0] if found else None


def _locked(chart: Chart, need: Dependency) -> str:
    from pvehelm.chart.yaml import load

    text = chart.raw.get("Chart.lock", b"").decode("utf-8", "replace")
    with contextlib.suppress(InvalidError):
        lock = load(text) if text else {}
        entries = lock.get("dependencies") if isinstance(lock, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and (entry.get("name"), entry.get("repository")) == (need.name, need.repository):
                return str(entry.get("version"))
    return ""


def compatible(need: Dependency, sub: Chart) -> bool:
    """Whether a chart has a version that the dependency wants."""
    from pvehelm.chart.versions import satisfies

    try:
        return not need.version or satisfies(need.version, sub.version)
    except ValueError:
        return False


def _enabled(
    chart: Chart, user: Values, above: Mapping[str, Any] | None, problems: list[Problem], seen: Values | None
) -> Chart:
    """``above`` are the tags of the charts above; ``seen`` is what conditions are looked up in, where that is known.

    Helm works that out once, before any subchart's own subcharts have their aliases, and defaults below these are
    not found.
    """
    needs = chart.metadata.dependencies
    helm = chart.metadata.engine == "gotpl"
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
            found.append((sub._replace(alias=need.alias), need))
    whole = chart._replace(dependencies=tuple(sub for sub, _ in found))
    if seen is None:
        seen = _whole(whole, copied(user), "", keep=False)
    # Tags are set at the top only; further down a chart's defaults may name more.
    own = seen.get("tags") if above is None else chart.values.get("tags")
    tags = {**(own if isinstance(own, dict) else {}), **(above or {})}
    problems.extend(_absent(chart, need) for need in lacking if _counts(chart, need, seen, tags))
    kept = [sub for sub, why in found if why is None or _counts(chart, why, seen, tags)]
    if any(map(_asks, kept)):
        # Below, nulls of the user must still be there: they remove the defaults of the subcharts' subcharts.
        given = _whole(_without_null_subcharts(whole) if helm else whole, copied(user), "", keep=True)
        for index, sub in enumerate(kept):
            if _unasked(sub):
                continue
            below = given.get(sub.name)
            part = seen.get(sub.name)
            # Helm does not look for what a subchart lacks.
            kept[index] = _enabled(
                sub,
                below if isinstance(below, dict) else {},
                tags,
                [] if helm else problems,
                (part if isinstance(part, dict) else {}) if helm else None,
            )
    names = {sub.name for sub in kept}
    metadata = chart.metadata._replace(dependencies=tuple(need for need in needs if need.key in names))
    return chart._replace(metadata=metadata, dependencies=tuple(kept), decided=True)


def _without_null_subcharts(chart: Chart) -> Chart:
    """The chart without a default of null where a subchart's values are, which to Helm is no mistake as yet."""
    names = {sub.name for sub in chart.dependencies}
    values = {key: value for key, value in chart.values.items() if value is not None or key not in names}
    below = tuple(map(_without_null_subcharts, chart.dependencies))
    return chart._replace(values=values, dependencies=below)


def _asks(chart: Chart) -> bool:
    """Whether a chart of the tree names dependencies, so that values decide what there is."""
    return bool(chart.metadata.dependencies) or any(map(_asks, chart.dependencies))


def _unasked(chart: Chart) -> bool:
    """Whether Helm looks no further: a chart that has no list of dependencies (an empty one is one) has what lies in
    charts/, and all below it."""
    said = chart.metadata.dependencies or chart.metadata.raw.get("dependencies") is not None
    return chart.metadata.engine == "gotpl" and not said


def _meant(need: Dependency, sub: Chart) -> bool:
    return need.name == sub.metadata.name and compatible(need, sub)


def _counts(chart: Chart, need: Dependency, values: Values, tags: Mapping[str, Any]) -> bool:
    from pvehelm.chart.expression import Expression, is_paths

    if not is_paths(need.condition):
        try:
            return bool(Expression(need.condition).value(values))
        except InvalidError as error:
            what = f"the condition of {need.key!r}: {error}"
            raise InvalidError(what, [Problem(chart.file("Chart.yaml"), what)]) from None
    for path in need.condition.strip().split(","):
        # To Helm a blank after a comma is a part of the path, and nothing is found there.
        path = path if chart.metadata.engine == "gotpl" else path.strip()
        value = _at(values, path) if path else None
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


def _imported(chart: Chart, given: Rules) -> Chart:
    """The chart whose default values hold what it imports from its subcharts, bottom up."""
    if not chart.dependencies:
        return chart
    subs = tuple(_imported(sub, under(given, sub.name)) for sub in chart.dependencies)
    chart = chart._replace(dependencies=subs)
    needs = chart.metadata.dependencies
    # Helm puts a subchart's defaults, nulls and all, into its parent's for every dependency, and that can be seen:
    # where the user gives the subchart something, nulls below its top level stay.
    if not any(need.import_values or chart.metadata.engine == "gotpl" for need in needs):
        return chart
    whole = _whole(chart, {}, "", keep=True)
    lifted: Values = {}
    helm = chart.metadata.engine == "gotpl"
    for need in needs:
        for entry in need.import_values:
            child, parent = (f"exports.{entry}", ".") if isinstance(entry, str) else (entry["child"], entry["parent"])
            table = _at(whole.get(need.key), child)
            if isinstance(table, dict):
                # What is empty is another map to Helm as well.
                table = table if helm and table else copied(table)
                for step in reversed([] if parent == "." else parent.split(".")):
                    table = {step: table}
                if helm:
                    _nulls_back(lifted, table)
                _tables(lifted, table, keep=True)
    lifted = copied(lifted)
    if given:
        # Lists that are joined must not meet the subcharts' defaults twice.
        whole = copied(chart.values)
    _tables(whole, lifted, keep=True, given=given)
    return chart._replace(values=whole)


def _nulls_back(over: Values, base: Values) -> None:
    """Helm's maps are one and the same before and after they are imported: of two that a parent imports to one place
    the second has the nulls of the first from then on, in its own chart too."""
    for key, value in over.items():
        below = base.get(key)
        if value is None:
            base[key] = None
        elif isinstance(value, dict) and isinstance(below, dict):
            _nulls_back(value, below)


# -- coalescing ------------------------------------------------------------------------------------------------------


def _whole(
    chart: Chart, values: Values, prefix: str, *, keep: bool, given: Rules | None = None, helm: bool = False
) -> Values:
    """``values`` (changed in place) over the chart's defaults, and the same below for every subchart.

    ``keep`` leaves nulls where they are, for values that are coalesced again later; ``given`` says which lists join;
    ``helm`` that this is a part of a chart with Helm's templates, where nulls count as Helm 4 counts them.
    """
    helm = helm or chart.metadata.engine == "gotpl"
    handed = {need.key: need.values for need in chart.metadata.dependencies if need.values}
    told = {key: copied(values.get(key)) for key in handed}
    _defaults(chart, values, keep, given, helm)
    for sub in chart.dependencies:
        own = values.setdefault(sub.name, {})
        if not isinstance(own, dict):
            where = f"{prefix}{sub.name}"
            raise InvalidError(
                f"the values of subchart {where} are no map",
                [Problem(f"values: {where}", f"must be a map, for {sub.name!r} is a subchart")],
            )
        _globals(own, values, shared=chart.metadata.engine == "gotpl")
        if sub.name in handed:
            _hand_down(chart, sub.name, handed[sub.name], values, told[sub.name])
        _whole(sub, own, f"{prefix}{sub.name}.", keep=keep, given=under(given, sub.name), helm=helm)
    return values


def _hand_down(chart: Chart, name: str, wanted: Mapping[str, Any], values: Values, told: Any) -> None:
    """Put what ``values`` of a dependency say into the subchart's, where nobody above has told something else."""
    from pvehelm.chart.expression import filled

    try:
        found = filled(copied(wanted), values)
    except InvalidError as error:
        where = chart.file("Chart.yaml")
        raise InvalidError(
            f"the values for subchart {name} cannot be worked out", [Problem(where, str(error))]
        ) from None
    _put(values[name], found, told if isinstance(told, dict) else {})


def _put(own: Values, found: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    for key, value in found.items():
        if isinstance(value, dict) and isinstance(told.get(key, {}), dict):
            target = own.setdefault(key, {})
            if isinstance(target, dict):
                _put(target, value, told.get(key, {}))
            else:
                own[key] = value
        elif key not in told and value is not None:
            own[key] = copied(value)


def _defaults(chart: Chart, values: Values, keep: bool, given: Rules | None, clean: bool) -> None:
    # In Jinja2 a name that says null is defined, and one that is missing an error; Helm's templates see neither.
    subcharts = {sub.name for sub in chart.dependencies}
    for key, default in copied(chart.values).items():
        if key not in values:
            if clean and not keep:
                if default is None:
                    continue
                _without_nulls(default)
            values[key] = default
        elif values[key] is None:
            # Of a subchart it takes away what its parent says; the subchart's own defaults are still to come.
            if not keep or (key in subcharts and isinstance(default, dict)):
                del values[key]
        elif isinstance(values[key], dict) and isinstance(default, dict):
            # A subchart's own turn comes, and needs the nulls until then.
            later = keep or key in subcharts
            if clean and not later:
                _without_nulls(default)
            _tables(values[key], default, keep=later, given=under(given, key))
        elif given:
            _lists(values, key, default, keep, given)


def _tables(over: Values, base: Values, *, keep: bool, given: Rules | None = None) -> None:
    """Fill ``over`` (in place) with what only ``base`` has; without ``keep`` its nulls remove what base has."""
    for key, value in base.items():
        if key not in over:
            over[key] = value
        elif over[key] is None:
            if not keep and value is not None:
                del over[key]
        elif isinstance(over[key], dict) and isinstance(value, dict):
            _tables(over[key], value, keep=keep, given=under(given, key))
        elif given:
            _lists(over, key, value, keep, given)


def _lists(over: Values, key: str, base: Any, keep: bool, given: Rules) -> None:
    if isinstance(over[key], list) and isinstance(base, list):
        over[key] = joined(under(given, key), base, over[key], lambda up, low: _tables(up, copied(low), keep=keep))


def _globals(below: Values, above: Values, *, shared: bool) -> None:
    """Copy the parent's globals into a subchart's, the parent's winning.

    ``shared`` is Helm's way: maps within a map are one, so what is given to a subchart is seen by its parent too.
    """
    source, target = above.get("global", {}), below.get("global", {})
    if not isinstance(source, dict) or not isinstance(target, dict):
        return
    for key, value in source.items():
        if isinstance(value, dict):
            if key in target and not isinstance(target[key], dict):
                continue
            value = dict(value) if shared else copied(value)
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

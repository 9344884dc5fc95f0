"""Lists that layers of values add to: what ``x-merge`` in a chart's schema says about them.

A list of a higher layer takes the place of a lower one's, unless the schema of the chart it belongs to says

* ``x-merge: append``: the higher layer's items come after the lower one's;
* ``x-merge: unique``: the same, without items that are there already;
* ``x-merge: byKey(name)``: items are maps; those of the same ``name`` are merged, the others come after.

A list that begins with ``null`` takes the lower one's place all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pvehelm.chart.pattern import pattern
from pvehelm.errors import Problem

if TYPE_CHECKING:
    from pvehelm.chart.model import Chart
    from pvehelm.chart.yaml import Path_

#: For a map's key what is below it; ``_HERE`` -> (strategy, key) for a list.
Rules = Mapping[str, Any]

_HERE = ""
_WORD = pattern(r"(append|unique)\Z|byKey\(([^()\s]+)\)\Z")
_MAX_DEPTH = 20
_MOST = 50_000


def rules(chart: Chart) -> Rules:
    """Where the schemas of a chart and its subcharts say ``x-merge``."""
    found: dict[str, Any] = {}
    for path, word in declared(chart.schema):
        known = _WORD.match(word) if isinstance(word, str) else None
        if known is not None:
            _put(found, path, (known[1] or "byKey", known[2] or ""))
    for key, sub in _subcharts(chart):
        own = rules(sub)
        if own:
            found[key] = {**own, **found.get(key, {})}
    return found


def problems(chart: Chart) -> list[Problem]:
    """``x-merge`` words that mean nothing."""
    hint = "append, unique or byKey(FIELD)"
    return [
        Problem(chart.file("values.schema.json"), f"{'.'.join(map(str, path))}: x-merge {word!r} is not known", hint)
        for path, word in declared(chart.schema)
        if not isinstance(word, str) or not _WORD.match(word)
    ]


def under(given: Rules | None, key: str) -> Rules:
    """The rules for what stands under a map's key."""
    found = (given or {}).get(key)
    return found if isinstance(found, Mapping) else {}


def joins(given: Rules, path: Path_) -> bool:
    """Whether lists at a path join."""
    for step in path:
        given = under(given, str(step))
    return _HERE in given


def joined(
    given: Rules, lower: list[Any], upper: list[Any], merge: Callable[[dict[str, Any], dict[str, Any]], None]
) -> list[Any]:
    """The list of two layers. ``merge(upper, lower)`` merges the maps of two items into the first."""
    strategy, field = given.get(_HERE, ("", ""))
    if not strategy or upper[:1] == [None]:
        return upper
    start = lower[:1] == [None]
    out: list[Any] = list(lower)
    if strategy == "byKey":
        places = {_key(item, field): index for index, item in enumerate(out) if _key(item, field) is not None}
        for item in upper:
            key = _key(item, field)
            if key is None or key not in places:
                if key is not None:
                    places[key] = len(out)
                out.append(item)
            else:
                merge(item, out[places[key]])
                # In the order of the lower layer's fields, as other maps are.
                out[places[key]] = {
                    **{name: item[name] for name in out[places[key]] if name in item},
                    **item,
                }
    else:
        out += [item for item in upper if strategy == "append" or item not in lower[start:]]
    return out


def settled(values: Any, given: Rules) -> None:
    """Take the leading nulls away from lists that have rules, once all layers are there (in place)."""
    for key, inner in given.items():
        if key == _HERE or not isinstance(values, dict) or key not in values:
            continue
        value = values[key]
        if isinstance(value, list) and _HERE in inner and value[:1] == [None]:
            del value[0]
        settled(value, inner)


def declared(schema: Any) -> Iterator[tuple[Path_, Any]]:
    """Every ``x-merge`` that stands at a property, with its path."""
    yield from _declared(schema, schema, (), set())


def _declared(schema: Any, root: Any, path: Path_, seen: set[tuple[Path_, int]]) -> Iterator[tuple[Path_, Any]]:
    from pvehelm.chart.schema import resolve

    # A schema may contain itself, or the same part in ever so many ways.
    if not isinstance(schema, Mapping) or (path, id(schema)) in seen or len(path) > _MAX_DEPTH or len(seen) > _MOST:
        return
    seen.add((path, id(schema)))
    if "x-merge" in schema and path:
        yield path, schema["x-merge"]
    if isinstance(schema.get("$ref"), str):
        yield from _declared(resolve(schema["$ref"], root), root, path, seen)
    for word in ("allOf", "anyOf", "oneOf"):
        parts = schema.get(word)
        for part in parts if isinstance(parts, list) else ():
            yield from _declared(part, root, path, seen)
    properties = schema.get("properties")
    for key, part in properties.items() if isinstance(properties, Mapping) else ():
        yield from _declared(part, root, (*path, key), seen)


def _subcharts(chart: Chart) -> Iterator[tuple[str, Chart]]:
    for sub in chart.dependencies:
        yield sub.name, sub
        for need in chart.metadata.dependencies:
            if need.alias and need.name == sub.metadata.name and not sub.alias:
                yield need.alias, sub


def _put(found: dict[str, Any], path: Path_, rule: tuple[str, str]) -> None:
    inner = found
    for step in path:
        inner = inner.setdefault(str(step), {})
    inner[_HERE] = rule


def _key(item: Any, field: str) -> Any:
    value = item.get(field) if isinstance(item, dict) else None
    return value if isinstance(value, str | int | float) else None

"""The schema: values checked against ``values.schema.json``, and what it marks ``x-sensitive`` hidden."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pvehelm.chart.chart import Chart
from pvehelm.chart.pattern import pattern
from pvehelm.chart.plain import at
from pvehelm.chart.yaml import Path_, dotted
from pvehelm.errors import InvalidError, Problem
from pvehelm.suggest import did_you_mean

HIDDEN = "<sensitive>"
_REFERENCE = pattern(r"secret://\S+\Z")
_HOLDS_REFERENCE = pattern(r"\Asecret://|\$\{secret://")
# What a schema says of the text itself cannot be known of a reference, which stands for another text.
MOST_ERRORS = 1000
MOST_PARTS = 50_000
_OF_TEXT = frozenset({"pattern", "format", "minLength", "maxLength", "enum", "const", "contentEncoding"})


def validate(chart: Chart, values: Mapping[str, Any], *, sources: Mapping[Path_, str] | None = None) -> list[Problem]:
    """Every problem that the schemas of a chart and its subcharts find in coalesced ``values``.

    ``sources`` says where the user's values come from (``values.origins``); a default's place is known from the
    chart. ``where`` is that place, else ``values: PATH``. Nothing outside the schema is ever fetched.
    """
    return list(_Check(values, sources or {}).chart(chart, values, (), []))


def check(schema: Any, where: str) -> list[Problem]:
    """What is wrong with the schema itself."""
    validator = _validator(schema, where)
    return [validator] if isinstance(validator, Problem) else []


def redact(values: Any, schema: Mapping[str, Any] | None) -> Any:
    """The values with every field that the schema marks ``x-sensitive`` hidden. New objects.

    A null stays, and so does a plain ``secret://`` reference, which says where a secret is but not what it is.
    """
    return _hide(values, set(_sensitive(values, schema, schema)), ())


def redact_all(chart: Chart, values: Mapping[str, Any]) -> Any:
    """:func:`redact` with the chart's schema and its subcharts', each on the values under its name."""
    return _hide(values, sensitive_paths(chart, values, ()), ())


class _Check:
    """One validation: all the values, and where the user's come from."""

    def __init__(self, values: Mapping[str, Any], sources: Mapping[Path_, str]) -> None:
        self.values = values
        self.sources = sources

    def chart(
        self, chart: Chart, values: Mapping[str, Any], prefix: Path_, above: Sequence[tuple[Path_, Chart]]
    ) -> Iterator[Problem]:
        """The problems of one chart's values, which stand at ``prefix``, and of its subcharts'."""
        charts = [*above, (prefix, chart)]
        if chart.schema is not None:
            validator = _validator(chart.schema, chart.file("values.schema.json"))
            if isinstance(validator, Problem):
                yield validator
            else:
                seen = _own(chart, values)
                hidden = set(_sensitive(seen, chart.schema, chart.schema))
                for path, what, hint in _told(chart, validator, seen, hidden):
                    if path is None:
                        yield Problem(chart.file("values.schema.json"), what, hint)
                        continue
                    name = dotted((*prefix, *path)) or "the values"
                    place = self.place((*prefix, *path), charts)
                    yield Problem(place or f"values: {name}", f"{name}: {what}" if place else what, hint)
        for sub in chart.dependencies:
            below = values.get(sub.name)
            if isinstance(below, Mapping):
                yield from self.chart(sub, below, (*prefix, sub.name), charts)

    def place(self, path: Path_, charts: Sequence[tuple[Path_, Chart]]) -> str:
        """Where the value at ``path``, or the nearest one above it, was written; "" when nobody knows."""
        for end in range(len(path), 0, -1):
            part = path[:end]
            if part in self.sources:
                return self.sources[part]
            for prefix, chart in charts:
                own = part[len(prefix) :]
                if not own or part[: len(prefix)] != prefix or own not in chart.values_marks:
                    continue
                # A default's place is only meant while the value still is the default.
                if at(chart.values, own) == at(self.values, part):
                    mark = chart.values_marks[own]
                    return f"{chart.file('values.yaml')}:{mark.line}:{mark.column}"
        return ""


def _own(chart: Chart, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a schema should see: ``global`` and the subcharts' values only where it speaks of them.

    Both are put there by pvehelm, and a schema that allows no further properties did not mean them.
    """
    spoken = (chart.schema or {}).get("properties")
    spoken = spoken if isinstance(spoken, dict) else {}
    foreign = {"global", *(sub.name for sub in chart.dependencies)} - set(spoken)
    return {key: value for key, value in values.items() if key not in foreign}


def _validator(schema: Any, where: str) -> Any:
    """The compiled schema, or the Problem that it has."""
    import jsonschema_rs

    def refuse(uri: str) -> Any:
        raise ValueError(f"{uri} is outside the chart, and schemas are not fetched; put it under $defs")

    try:
        return jsonschema_rs.validator_for(schema, retriever=refuse, validate_formats=True)
    except jsonschema_rs.ValidationError as error:
        text = error.message
        if "retrieving it failed" in text:
            return Problem(where, text.partition("failed: ValueError: ")[2] or text)
        place = "/".join(str(step) for step in error.instance_path)
        return Problem(where, f"not a valid schema: {text}" + (f" (at {place})" if place else ""))
    except (ValueError, RecursionError) as error:
        return Problem(where, f"not a valid schema: {error}")


def _told(chart: Chart, validator: Any, values: Any, hidden: set[Path_]) -> list[tuple[Path_ | None, str, str]]:
    """Everything that a schema finds in values, as (path, what, hint)."""

    def work(_: Any = None) -> list[Any]:
        errors = itertools.islice(validator.iter_errors(values), MOST_ERRORS)
        return [told for error in errors for told in _tell(error, chart.schema or {}, values, hidden)]

    if not tangled(chart.schema):
        return work()
    from pvehelm.chart import sandbox

    # Such a schema can take longer than the sun will shine.
    try:
        found = sandbox.run(work, sandbox.Limits(cpu_seconds=3, wall_seconds=10))
    except InvalidError as error:
        return [(None, f"the values cannot be checked: {error}", "the schema refers to its own parts too many times")]
    return [(tuple(path), what, hint) for path, what, hint in found]


def tangled(schema: Any) -> bool:
    """Whether a schema contains itself, or by its references grows to more than ``MOST_PARTS`` parts."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()

    def size(part: Any) -> int:
        if not isinstance(part, dict | list) or not part:
            return 0
        if id(part) in open_:
            return MOST_PARTS
        if id(part) not in sizes:
            open_.add(id(part))
            inner = part.values() if isinstance(part, dict) else part
            total = 1 + sum(size(one) for one in inner)
            if isinstance(part, dict):
                total += sum(size(resolve(part.get(word), schema)) for word in ("$ref", "$dynamicRef"))
            open_.discard(id(part))
            sizes[id(part)] = min(total, MOST_PARTS)
        return sizes[id(part)]

    try:
        # What stands under $defs counts where it is referred to.
        return size({key: part for key, part in schema.items() if key not in ("$defs", "definitions")}) >= MOST_PARTS
    except (RecursionError, AttributeError):
        return True


def _tell(error: Any, schema: Mapping[str, Any], values: Any, hidden: set[Path_]) -> Iterator[tuple[Path_, str, str]]:
    """What a validation error says, as (path, what, hint); nothing of what cannot be known of a secret reference."""
    path: Path_ = tuple(error.instance_path)
    value = at(values, path)
    rule = str(error.kind.name)
    if rule in _OF_TEXT and isinstance(value, str) and _HOLDS_REFERENCE.search(value):
        return
    what = error.message
    extra = getattr(error.kind, "unexpected", None)
    if rule in ("additionalProperties", "unevaluatedProperties") and extra:
        known = list(_properties(schema, error.schema_path))
        for name in extra:
            hint = did_you_mean(name, known, "known are " + ", ".join(sorted(known)[:20]) if known else "")
            yield (*path, name), f"unknown value {name!r}", hint
        return
    if rule == "required":
        what = f"{error.kind.property!r} is required"
    elif any(path[: len(secret)] == secret or secret[: len(path)] == path for secret in hidden):
        # The message shows the value, and a map's would show the secrets in it.
        what = f"the value (not shown: it is, or holds something, sensitive) breaks the schema's {rule!r}"
    elif rule in ("anyOf", "oneOf"):
        context = getattr(error.kind, "context", [])
        reasons = list(dict.fromkeys(branch[0].message for branch in context if branch))
        what += f": {'; or '.join(reasons[:4])}" if reasons and len(str(reasons)) < 600 else ""
    elif rule == "format":
        what = _FORMAT.sub(r" is no \1", what)
    elif rule == "falseSchema":
        what = "nothing may stand here"
    elif rule == "contains":
        what = "no item is one that the schema asks for"
    yield path, what if len(what) <= 800 else what[:400] + " ... " + what[-300:], ""


_FORMAT = pattern(r' is not a "([^"]+)"\Z')


def _properties(schema: Any, keyword_path: Sequence[str | int]) -> Iterator[str]:
    """The names that the part of the schema which refused a property does know."""
    part: Any = schema
    for step in list(keyword_path)[:-1]:
        if isinstance(part, Mapping) and isinstance(part.get("$ref"), str) and step not in part:
            part = resolve(part["$ref"], schema)
        if step == "$ref" and isinstance(part, Mapping):
            part = resolve(part.get("$ref"), schema)
            continue
        try:
            part = part[step]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(part, Mapping) and isinstance(part.get("properties"), Mapping):
        yield from part["properties"]


# -- what is sensitive -----------------------------------------------------------------------------------------------


def sensitive_paths(chart: Chart, values: Any, prefix: Path_ = ()) -> set[Path_]:
    """The paths in coalesced ``values`` that the schemas of a chart and its subcharts mark ``x-sensitive``."""
    found = {prefix + path for path in _sensitive(values, chart.schema, chart.schema)}
    for sub in chart.dependencies:
        if isinstance(values, Mapping) and sub.name in values:
            found |= sensitive_paths(sub, values[sub.name], (*prefix, sub.name))
    return found


def _sensitive(
    value: Any, schema: Any, root: Any, path: Path_ = (), seen: set[tuple[Path_, int]] | None = None
) -> Iterator[Path_]:
    """The paths of ``value`` that some part of the schema which may apply marks ``x-sensitive``."""
    seen = set() if seen is None else seen
    # A schema may contain itself, or the same part in ever so many ways.
    if not isinstance(schema, Mapping) or (path, id(schema)) in seen:
        return
    seen.add((path, id(schema)))
    if schema.get("x-sensitive") is True:
        yield path
        return
    for word in ("$ref", "$dynamicRef"):
        if isinstance(schema.get(word), str):
            yield from _sensitive(value, resolve(schema[word], root), root, path, seen)
    # A branch that does not apply may hide too much; showing a secret would be worse.
    for word in ("allOf", "anyOf", "oneOf"):
        parts = schema.get(word)
        for part in parts if isinstance(parts, list) else ():
            yield from _sensitive(value, part, root, path, seen)
    for word in ("if", "then", "else"):
        yield from _sensitive(value, schema.get(word), root, path, seen)
    branches = schema.get("dependentSchemas")
    for part in branches.values() if isinstance(branches, Mapping) else ():
        yield from _sensitive(value, part, root, path, seen)
    if isinstance(value, Mapping):
        for key, item in value.items():
            for part in _parts(schema, key):
                yield from _sensitive(item, part, root, (*path, key), seen)
    elif isinstance(value, list):
        first = schema.get("prefixItems")
        for index, item in enumerate(value):
            parts = [schema.get("items"), schema.get("contains"), schema.get("unevaluatedItems")]
            if isinstance(first, list) and index < len(first):
                parts.append(first[index])
            for part in parts:
                yield from _sensitive(item, part, root, (*path, index), seen)


def _parts(schema: Mapping[str, Any], key: str) -> Iterator[Any]:
    """The schemas that a map's schema may have for one key; patterns are taken to match, as they may be slow to try."""
    properties, patterns = schema.get("properties"), schema.get("patternProperties")
    if isinstance(patterns, Mapping):
        yield from patterns.values()
    if isinstance(properties, Mapping) and key in properties:
        yield properties[key]
    else:
        yield schema.get("additionalProperties")
        yield schema.get("unevaluatedProperties")


def resolve(reference: Any, root: Any) -> Any:
    """What a reference within the schema (``#/$defs/x``) points at; None for others."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    part = root
    for step in reference[1:].split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        try:
            part = part[int(step)] if isinstance(part, list) else part[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return part


def _hide(value: Any, hidden: set[Path_], path: Path_) -> Any:
    if path in hidden and value is not None and not (isinstance(value, str) and _REFERENCE.match(value)):
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: _hide(item, hidden, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_hide(item, hidden, (*path, index)) for index, item in enumerate(value)]
    return value

"""The README's tables: what a chart's values are, from the comments of values.yaml and the schema.

They stand between two comments, ``<!-- values -->`` and ``<!-- /values -->`` (dependencies likewise); what is there is
all that is ever rewritten.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pvehelm.chart.chart import Chart
from pvehelm.chart.inference import Comments
from pvehelm.chart.yaml import Path_, dotted
from pvehelm.errors import InvalidError, Problem

NAME = "README.md"
PARTS = ("values", "dependencies")
_MARK = re.compile(r"^[ \t]*<!--[ \t]*(/?)(\w+)[ \t]*-->[ \t]*$", re.MULTILINE)
_LONG = 60


def written(chart: Chart, text: str) -> str:
    """The README ``text`` with its tables made anew. One that has no marks gets the table of values at its end.

    Raises InvalidError for marks that are not in pairs, and for annotations of values.yaml that can't be read.
    """
    made = {"values": values, "dependencies": dependencies}
    spans = _spans(chart, text)
    if not spans:
        head = text.rstrip("\n") or f"# {chart.metadata.name}\n\n{chart.metadata.description}".rstrip()
        text = f"{head}\n\n## Values\n\n<!-- values -->\n<!-- /values -->\n"
        spans = _spans(chart, text)
    for name, start, end in reversed(spans):
        text = f"{text[:start]}\n\n{made[name](chart)}\n{text[end:]}"
    return text


def _spans(chart: Chart, text: str) -> list[tuple[str, int, int]]:
    """What is between the marks of each part: (part, start, end)."""
    found: list[tuple[str, int, int]] = []
    problems = []
    opened: tuple[str, int, int] | None = None
    fences = [(match.start(), match.end()) for match in re.finditer(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)]
    for match in _MARK.finditer(text):
        if match[2] not in PARTS or any(start <= match.start() < end for start, end in fences):
            continue
        line = text.count("\n", 0, match.start()) + 1
        if not match[1] and opened is None:
            opened = (match[2], match.end(), line)
        elif match[1] and opened is not None and opened[0] == match[2]:
            found.append((opened[0], opened[1], match.start()))
            opened = None
        else:
            what = f"the mark {match[0].strip()} has no partner"
            problems.append(Problem(f"{chart.file(NAME)}:{line}", what, "<!-- values --> ... <!-- /values -->"))
    if opened is not None:
        what = f"the mark <!-- {opened[0]} --> is not closed"
        problems.append(Problem(f"{chart.file(NAME)}:{opened[2]}", what, f"<!-- /{opened[0]} --> ends it"))
    if problems:
        raise InvalidError(f"{chart.file(NAME)}: marks that do not fit", problems)
    return found


# -- tables --------------------------------------------------------------------------------------------------------


def values(chart: Chart) -> str:
    """The table of values."""
    comments = Comments(chart)
    schema = dict(chart.schema or {})
    # What is said to subcharts is in their own READMEs, as far as this chart does not set it.
    others = {need.key for need in chart.metadata.dependencies} | {"global", "tags"}
    own = {
        key: part for key, part in (schema.get("properties") or {}).items() if key in chart.values or key not in others
    }
    rows = list(_rows(chart.values, (), {**schema, "properties": own}, schema, comments))
    comments.check()
    if not rows:
        return "The chart has no values.\n"
    lines = ["| value | type | default | description |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {kind} | {default} | {told} |" for name, kind, default, told in rows]
    return "\n".join(lines) + "\n"


def _rows(
    value: Mapping[str, Any], path: Path_, schema: Any, root: Mapping[str, Any], comments: Comments
) -> Iterator[tuple[str, str, str, str]]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    properties = properties if isinstance(properties, dict) else {}
    for key in [*value, *(key for key in properties if key not in value)]:
        below = (*path, key)
        part = resolved(properties.get(key, {}), root)
        described, keywords = comments.about(below)
        part = {**part, **{k: v for k, v in keywords.items() if k not in part}}
        told = _cell(described or str(part.get("description", "")))
        inner = value.get(key)
        named = isinstance(part.get("additionalProperties"), dict)
        if isinstance(inner, dict) and inner and not named:
            if told:
                yield dotted(below), "map", "", told
            yield from _rows(inner, below, part, root, comments)
        elif inner is None and key not in value and part.get("properties"):
            yield from _rows({}, below, part, root, comments)
        else:
            yield dotted(below), _type(part, inner), _default(inner, key in value), told


def resolved(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with what its local ``$ref`` says."""
    seen = 0
    while isinstance(schema, dict) and str(schema.get("$ref", "")).startswith("#/") and seen < 16:
        target: Any = root
        for step in schema["$ref"][2:].split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            target = target.get(step) if isinstance(target, dict) else None
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**target, **rest} if isinstance(target, dict) else rest
        seen += 1
    return schema if isinstance(schema, dict) else {}


def _type(schema: Mapping[str, Any], value: Any) -> str:
    """The type in words: ``integer, 1 to 10``; the choices where there are some."""
    if isinstance(schema.get("enum"), list):
        choices = (_cell(_inline(one)) if one != "" else '""' for one in schema["enum"])
        return ", ".join(f"`{choice}`" for choice in choices)
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "list", dict: "map"}
    kinds = schema.get("type") or names.get(type(value), "")
    words = [kinds] if isinstance(kinds, str) else [str(kind) for kind in kinds]
    text = " or ".join({"array": "list", "object": "map"}.get(word, word) for word in words)
    for low, high, noun in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
    ):
        text += _bounds(schema.get(low), schema.get(high), noun)
    if schema.get("x-sensitive") is True:
        text += ", secret"
    return text


def _bounds(low: Any, high: Any, noun: str) -> str:
    if low is not None and high is not None:
        return f", {low} to {high}{noun}"
    if high is not None:
        return f", at most {high}{noun}"
    if low is None or (noun and low == 0):
        return ""
    return ", not empty" if noun and low == 1 else f", at least {low}{noun}"


def _default(value: Any, there: bool) -> str:
    if not there or value is None or value == "":
        return ""
    text = _inline(value)
    if len(text) > _LONG:
        return "see values.yaml"
    return f"`{_cell(text)}`"


def _inline(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def dependencies(chart: Chart) -> str:
    """The table of dependencies."""
    needs = chart.metadata.dependencies
    if not needs:
        return "The chart needs no other charts.\n"
    lines = ["| chart | version | repository | when |", "|---|---|---|---|"]
    for need in needs:
        name = f"{need.name} as {need.alias}" if need.alias else need.name
        when = need.condition and f"`{_cell(str(need.condition))}`"
        lines.append(f"| {name} | {_cell(need.version)} | {_cell(need.repository)} | {when or 'always'} |")
    return "\n".join(lines) + "\n"

"""The proof of a conversion: what both charts render, document by document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pvehelm.chart.yaml import Path_, dotted, load_all
from pvehelm.errors import InvalidError, Problem

_ABSENT = "Helm takes keys with null out of the values of a chart: take it out of values.yaml"


@dataclass(frozen=True)
class Proof:
    """How the charts compare with one values file: the documents rendered, and what differs or went wrong."""

    values: str
    documents: int
    differences: tuple[Problem, ...]
    #: What both say where neither renders: a value is asked for.
    refused: str = ""

    @property
    def same(self) -> bool:
        return not self.differences

    def as_dict(self) -> dict[str, Any]:
        shown = [{"where": one.where, "what": one.what, "hint": one.hint} for one in self.differences]
        return {
            "values": self.values,
            "same": self.same,
            "documents": self.documents,
            "refused": self.refused,
            "differences": shown,
        }


def compare(values: str, before: Mapping[str, str], after: Mapping[str, str], notes: tuple[str, str]) -> Proof:
    """The files that both charts rendered with ``values``, as documents; ``notes`` are the texts of NOTES.txt.

    Comments, layout and the order of keys do not count, and 4.0 is 4.
    """
    found: list[Problem] = []
    count = 0
    for file in sorted({*before, *after}):
        one, other = _documents(file, before.get(file, "")), _documents(file, after.get(file, ""))
        if isinstance(one, str) or isinstance(other, str):
            # Text that is no YAML can be compared all the same.
            if before.get(file, "").split() != after.get(file, "").split():
                found.append(Problem(file, f"cannot be read: {one if isinstance(one, str) else other}"))
            continue
        count += len(one)
        if len(one) != len(other):
            found.append(Problem(file, f"{len(one)} documents before, {len(other)} after"))
            continue
        for index, (mine, its) in enumerate(zip(one, other, strict=True)):
            where = _called(file, mine, index)
            found += [Problem(where, *told) for told in _differences(mine, its, ())]
    if notes[0].split() != notes[1].split():
        found.append(Problem("NOTES.txt", f"{_first(*notes)}"))
    return Proof(values, count, tuple(found))


def failed(values: str, before: InvalidError | None, after: InvalidError | None) -> Proof:
    """The proof where one of the charts does not render, or both of them.

    Where the second says all that the first does (``fail`` and ``required``, words for a user) they are the same.
    """
    said = _said(before)
    if said and set(said) <= set(_said(after)):
        return Proof(values, 0, (), said[0])
    found = []
    for when, error in (("before", before), ("after", after)):
        if error is not None:
            found += [problem._replace(what=f"{when}: {problem.what}") for problem in _problems(error)]
            break
    return Proof(values, 0, tuple(found))


def _problems(error: InvalidError) -> tuple[Problem, ...]:
    return tuple(error.problems) or (Problem("", error.message),)


def _said(error: InvalidError | None) -> list[str]:
    """What the templates themselves say, without places."""
    problems = _problems(error) if error is not None else ()
    return sorted({_EXECUTION.sub("", _EXCERPT.sub("", problem.what)).strip() for problem in problems})


_EXECUTION = re.compile(r"execution error at \(.*?\): ")
_EXCERPT = re.compile(r"\n +\d+ \| .*", re.DOTALL)


def _documents(file: str, text: str) -> list[Any] | str:
    try:
        return [one.data for one in load_all(text, file=file, lines=False) if one.data is not None]
    except InvalidError as error:
        return error.problems[0].what if error.problems else error.message


def _called(file: str, document: Any, index: int) -> str:
    data = document if isinstance(document, dict) else {}
    metadata = data.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return f"{file}: {data.get('kind', 'document')}/{name or index + 1}"


def _differences(one: Any, other: Any, path: Path_) -> Iterator[tuple[str, str]]:
    """What differs, and what may be done about it."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            below = (*path, key)
            if key not in other:
                yield f"{dotted(below)} is {_shown(one[key])} before and missing after", ""
            elif key not in one:
                hint = _ABSENT if other[key] is None else ""
                yield f"{dotted(below)} is missing before and {_shown(other[key])} after", hint
            else:
                yield from _differences(one[key], other[key], below)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (mine, its) in enumerate(zip(one, other, strict=True)):
            yield from _differences(mine, its, (*path, index))
    elif not _same(one, other):
        yield f"{dotted(path) or 'it'}{_told(one, other)}", _hint(one, other)


def _hint(one: Any, other: Any) -> str:
    if isinstance(other, str) and one is None and not other:
        return "an empty text is a text in Jinja2 charts; what prints nothing in Helm is null"
    if isinstance(other, str) and not isinstance(one, (str, dict, list)):
        return "a text stays a text in Jinja2 charts: | int makes a number of it, or write the value without quotes"
    return ""


def _told(one: Any, other: Any) -> str:
    if isinstance(one, str) and isinstance(other, str) and "\n" in one + other:
        mine, its = [*_lines(one), "(its end)"], [*_lines(other), "(its end)"]
        line = next(number for number, (a, b) in enumerate(zip(mine, its, strict=False)) if a != b)
        return f": line {line + 1} is {_shown(mine[line])} before and {_shown(its[line])} after"
    return f" is {_shown(one)} before and {_shown(other)} after"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, str) and isinstance(other, str):
        # Blanks at the ends of a text of several lines are the layout's.
        return one == other or ("\n" in one and _lines(one) == _lines(other))
    return bool(one == other)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _first(one: str, other: str) -> str:
    for mine, its in zip(one.split(), other.split(), strict=False):
        if mine != its:
            return f"{_shown(mine)} before, {_shown(its)} after"
    return "one is longer than the other"

"""Values: what the user gives, layer by layer, and what a chart sees of it.

User layers (files and ``--set`` flags, in the order given) are laid over each other with :func:`overlay`, which keeps
``null``, for a null means "remove the chart's default" and must survive until the chart's defaults are known. Then
:func:`coalesce` puts the chart's defaults and its subcharts' below, as Helm 4 does. The other doors of this module
are in the modules they come from: ``enabled`` (dependencies), ``validate`` and ``redact`` (schema).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pvehelm.chart import strvals
from pvehelm.chart.chart import Chart
from pvehelm.chart.dependencies import coalesce, enabled
from pvehelm.chart.merging import Rules, joined, under
from pvehelm.chart.plain import copied
from pvehelm.chart.schema import redact, redact_all, validate
from pvehelm.chart.yaml import Document, Path_, dotted, load_all
from pvehelm.errors import InvalidError, Problem, UsageError

__all__ = [
    "ValueFlag",
    "coalesce",
    "doubles",
    "enabled",
    "for_chart",
    "from_flags",
    "merge",
    "origins",
    "overlay",
    "recorded_origins",
    "redact",
    "redact_all",
    "validate",
]


class ValueFlag(NamedTuple):
    """One flag as given. ``text`` is what follows it; ``content`` what the face read from the file it names.

    For ``file`` the text is the file's name; for ``set-file`` it is ``KEY=PATH`` (``strvals.file_path`` gives PATH).
    ``helms``: the file is read as Helm reads YAML, for a chart in Helm's syntax.
    """

    kind: Literal["file", "set", "set-string", "set-file", "set-json", "set-literal"]
    text: str
    content: str | None = None
    helms: bool = False


def for_chart(flags: Sequence[ValueFlag], chart: Chart) -> list[ValueFlag]:
    """The flags with their files to be read as the chart's dialect has it."""
    helms = chart.metadata.engine == "gotpl"
    return [flag if flag.helms == helms else flag._replace(helms=helms) for flag in flags]


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` on ``base``: maps deep, scalars and lists replace, null deletes. New objects; nothing is changed."""
    out = overlay(base, over)
    _drop_nulls(out, over)
    return out


def overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """As :func:`merge`, but a null of ``over`` stands in the result: for layers of one user's values."""
    out: dict[str, Any] = copied(base)
    _lay(out, over)
    return out


def from_flags(flags: Sequence[ValueFlag], given: Rules | None = None) -> dict[str, Any]:
    """The user's values: all flags in the order given, later ones win, nulls kept.

    ``given`` (``merging.rules`` of the chart) says which lists of several files join.

    Raises InvalidError for a broken file (all of them at once) and UsageError for a broken flag.
    """
    out: dict[str, Any] = {}
    problems: list[Problem] = []
    for flag in flags:
        if flag.kind == "file":
            try:
                for document in documents(flag):
                    _lay(out, document.data, given)
            except InvalidError as error:
                problems.extend(error.problems)
        else:
            strvals.parse(flag.text, out, dialect=flag.kind, read=_reader(flag))
    if problems:
        raise InvalidError("values cannot be read", problems)
    return out


def origins(flags: Sequence[ValueFlag]) -> dict[Path_, str]:
    """Where each value of :func:`from_flags` comes from: ``file:line:column`` or the flag, by path."""
    out: dict[Path_, str] = {}
    for flag in flags:
        if flag.kind == "file":
            for document in documents(flag):
                for path, mark in document.marks.items():
                    if path:
                        out[path] = f"{flag.text}:{mark.line}:{mark.column}"
        else:
            given = strvals.parse(flag.text, dialect=flag.kind, read=_reader(flag))
            for path in _paths(given):
                # Only the path: the flag's text may hold a secret.
                out[path] = f"--{flag.kind} {dotted(path)}"
    return out


def doubles(flags: Sequence[ValueFlag]) -> list[Problem]:
    """Keys that files give twice where that is no mistake: read as Helm reads them, the last counts."""
    found: list[Problem] = []
    for flag in flags:
        if flag.kind == "file" and flag.helms:
            load_all(flag.content or "", file=flag.text, helms=found)
    return found


def recorded_origins(recorded: Mapping[str, Any]) -> dict[Path_, str]:
    """The same for values that come from a release's record."""
    return dict.fromkeys(_paths(dict(recorded)), "from history")


def documents(flag: ValueFlag) -> list[Document]:
    """The documents of a values file that are not empty; each must be a map."""
    read = load_all(flag.content or "", file=flag.text, helms=[] if flag.helms else None)
    documents = [doc for doc in read if doc.data is not None]
    problems = [
        Problem(f"{flag.text}:{doc.start.line}:{doc.start.column}", "values are a map, with keys at the left margin")
        for doc in documents
        if not isinstance(doc.data, dict)
    ]
    if problems:
        raise InvalidError(f"{flag.text} holds no values", problems)
    return documents


def _reader(flag: ValueFlag) -> Any:
    calls: list[str] = []

    def read(path: str) -> str:
        calls.append(path)
        if len(calls) > 1:
            raise UsageError(f"--set-file {flag.text}: names several files", hint="give the flag again for each file")
        return flag.content or ""

    return read


def _lay(base: dict[str, Any], over: Mapping[str, Any], given: Rules | None = None) -> None:
    for key, value in over.items():
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            _lay(old, value, under(given, key))
        elif given and isinstance(old, list) and isinstance(value, list):
            base[key] = joined(under(given, key), old, copied(value), _lay_below)
        else:
            base[key] = copied(value)


def _lay_below(upper: dict[str, Any], lower: dict[str, Any]) -> None:
    whole = overlay(lower, upper)
    upper.clear()
    upper.update(whole)


def _drop_nulls(out: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(out.get(key), dict):
            _drop_nulls(out[key], value)


def _paths(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if item is not None:
                yield from _paths(item, (*path, index))

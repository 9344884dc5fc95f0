"""Rendering: a chart and its values become resources.

The templates are rendered in a limited child process (``sandbox``), what they print is parsed here, and every problem
of every template comes back at once, at the line of the *template*.

How functions and filters take their arguments (``functions``): called as functions in Sprig's order,
``default("x", value)``; as filters the piped value is Sprig's last argument, ``value | default("x")``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pvehelm.chart import cache, secrets
from pvehelm.chart.chart import Chart
from pvehelm.chart.dialects import GOTPL, JINJA2, engines, undecided
from pvehelm.chart.functions.common import FunctionError
from pvehelm.chart.manifest import API_VERSION, Foreign, Resource, Source, check_unique, is_foreign, parse, to_text
from pvehelm.chart.objects import Capabilities, ReleaseInfo, Scope, scopes
from pvehelm.chart.sandbox import DEFAULT, Ask, Limits, run
from pvehelm.chart.stream import cut
from pvehelm.chart.usage import Usage
from pvehelm.chart.yaml import Path_
from pvehelm.errors import InvalidError, Problem

__all__ = ["DEFAULT", "Capabilities", "Limits", "ReleaseInfo", "Rendered", "render"]


@dataclass(frozen=True)
class Rendered:
    """What a chart becomes: ``files`` by full template name (``web-app/templates/vm.yaml``), the resources in them,
    the text of NOTES.txt, and ``manifest``, the resources as one canonical text. ``used`` is what templates asked for
    of the values (``usage.Usage.as_data``), where that was wanted; ``foreign`` are documents of other programs."""

    files: Mapping[str, str]
    resources: tuple[Resource, ...]
    notes: str
    manifest: str
    used: Any = None
    foreign: tuple[Foreign, ...] = ()


def render(
    chart: Chart,
    values: dict[str, Any],
    release: ReleaseInfo,
    capabilities: Capabilities,
    *,
    lookup: Callable[[str, str], Any] | None = None,
    keep: Callable[[Any], Any] | None = None,
    watch: bool = False,
    limits: Limits = DEFAULT,
    sandbox: bool = True,
    user_values: Mapping[str, Any] | None = None,
    strict: bool = False,
    lint: bool = False,
    set_paths: Collection[Path_] = (),
    foreign: bool = True,
) -> Rendered:
    """Renders ``chart`` with ``values``, which are coalesced already.

    Documents of other programs (Kubernetes') are let be; without ``foreign`` they are problems.

    In charts of Helm's own syntax ``strict`` makes missing values errors, and ``lint`` lets ``fail`` and ``required``
    pass, as with Helm; whole numbers at ``set_paths`` are int64 there, as those of ``--set``, all others float64.

    ``lookup(kind, name)`` answers the function of that name with the object or None; ``keep`` answers what random
    functions ask (``kept``); ``watch`` notes which values are used. References to secrets that stand
    in ``user_values`` stay references in the result; any other is refused. ``sandbox=False`` renders in this process,
    for trusted charts. Raises InvalidError with all problems of all templates.
    """
    from pvehelm.chart.dependencies import enabled

    tree = enabled(chart, values)
    tokens = secrets.Tokens()
    hidden = tokens.hide(values, dict(user_values or {}))
    problems = _default_references(tree)
    if problems:
        raise InvalidError(f"{chart.path or chart.name}: the chart refers to secrets of its own", problems)
    usage = Usage() if watch else None
    dialects = engines(tree)
    parts = [
        _Part(name, [one for one, dialect in zip(found, dialects, strict=True) if dialect == name])
        for name, found in _scopes(set(dialects), tree, hidden, release, capabilities, usage, set_paths)
    ]
    place = cache.directory() if sandbox else None
    for part in parts:
        _preload(part.dialect)
        part.load(place, strict=strict)

    def work(ask: Ask) -> Any:
        return _work(parts, tokens, limits, ask, usage, strict=strict, lint=lint)

    def answer(question: Any) -> Any:
        if question[0] == "lookup":
            return lookup(question[1], question[2]) if lookup else None
        return keep(question) if keep else None

    output = run(work, limits, answer=answer) if sandbox else work(answer)
    for part in parts:
        part.save(place, output["codes"][part.dialect])
    sources = {name: text for part in parts for name, text in part.sources.items()}
    for part in parts:
        if part.dialect == GOTPL:
            _traced(output, part.sources)
    # References made by sensitive(...) were made in the child.
    tokens.references[:] = output["references"]
    problems = [Problem(*problem) for problem in output["problems"]]
    others: list[Foreign] | None = [] if foreign else None
    resources = _resources(output, sources, tokens, problems, others)
    if problems:
        # A loop makes the same mistake many times; it is told once.
        problems = sorted(dict.fromkeys(problems), key=_order)
        hint = _ENGINE_HINT if undecided(tree) else ""
        raise InvalidError(f"{chart.path or chart.name}: {_count(problems)} in the templates", problems, hint=hint)
    files = {name: _shown(text, tokens) for name, text in output["files"].items()}
    notes = _shown(output["notes"], tokens)
    others = sorted(others or (), key=lambda one: (one.source.file, one.source.line))
    return Rendered(files, tuple(resources), notes, to_text(resources), output["used"], tuple(others))


_ENGINE_HINT = (
    "the chart is written in Helm's own template syntax but names no engine: give --engine gotpl, "
    "or write 'engine: gotpl' into its Chart.yaml"
)


class _Part:
    """The charts of one dialect in a rendering."""

    def __init__(self, dialect: str, found: list[Scope]) -> None:
        self.dialect = dialect
        self.scopes = found
        self.sources = {name: text for scope in found for name, text in scope.templates.items()}
        self.entry = ""
        self.codes = b""

    def load(self, place: Any, *, strict: bool) -> None:
        """Takes what was compiled before from the cache, or (without one) from this process's own memory."""
        self.entry = cache.key(self.sources, self.dialect) + ("-strict" if strict and self.dialect == GOTPL else "")
        self.codes = cache.load(place, self.entry) if place else _KEPT.get(self.entry, b"")

    def save(self, place: Any, codes: str) -> None:
        if codes and place:
            cache.save(place, self.entry, base64.b64decode(codes))
        elif codes:
            while len(_KEPT) >= _MOST_KEPT:
                _KEPT.pop(next(iter(_KEPT)), None)
            _KEPT[self.entry] = base64.b64decode(codes)


#: What trusted charts compiled to in this process.
_KEPT: dict[str, bytes] = {}
_MOST_KEPT = 16


def _scopes(
    dialects: set[str],
    tree: Chart,
    values: dict[str, Any],
    release: ReleaseInfo,
    capabilities: Capabilities,
    usage: Usage | None,
    set_paths: Collection[Path_],
) -> list[tuple[str, list[Scope]]]:
    """The whole tree as each of the dialects sees it."""
    found = []
    if JINJA2 in dialects:
        found.append((JINJA2, scopes(tree, usage.watched(values) if usage else values, release, capabilities)))
    if GOTPL in dialects:
        from pvehelm.chart.gotpl import objects

        found.append((GOTPL, objects.scopes(tree, values, release, capabilities, usage, set_paths)))
    return found


def _preload(dialect: str) -> None:
    # What the child needs is imported here: it has no files to import from, and imports once for all renderings.
    import difflib
    import json
    import pickle  # noqa: F401  (copy.deepcopy's)
    import zoneinfo

    from pvehelm.chart import emitter, loader, suggest, versions

    assert all((difflib, json, zoneinfo, emitter, loader, suggest, versions))
    if dialect == GOTPL:
        import pvehelm.chart.gotpl.engine  # noqa: F401

        return
    import jinja2.debug
    import jinja2.ext

    from pvehelm.chart import engine

    assert all((jinja2, engine))


def _work(
    parts: list[_Part],
    tokens: secrets.Tokens,
    limits: Limits,
    ask: Ask,
    usage: Usage | None,
    *,
    strict: bool,
    lint: bool,
) -> dict[str, Any]:
    made: list[tuple[str, Any]] = []
    for part in parts:
        if part.dialect == GOTPL:
            from pvehelm.chart.gotpl import engine as gotpl

            made.append((GOTPL, gotpl.Engine(part.scopes, tokens, limits, ask, part.codes, strict=strict, lint=lint)))
        else:
            from pvehelm.chart.engine import Engine

            made.append((JINJA2, Engine(part.scopes, tokens, limits, ask, part.codes)))
    if usage is not None:
        usage.forget()
    output: dict[str, Any] = {"files": {}, "lines": {}, "notes": "", "problems": [], "codes": {}}
    for dialect, one in made:
        found = one.render()
        output["files"].update(found["files"])
        output["lines"].update(found["lines"])
        output["notes"] = output["notes"] or found["notes"]
        output["problems"] += [
            [problem.where, _shown(problem.what, tokens), _shown(problem.hint, tokens)]
            for problem in one.trouble.problems
        ]
        output["codes"][dialect] = base64.b64encode(one.packed()).decode()
    output["used"] = usage.as_data() if usage is not None else None
    output["references"] = tokens.references
    return output


def _traced(output: dict[str, Any], sources: Mapping[str, str]) -> None:
    """Puts the places of lines where the engine of Helm's syntax gave marks."""
    from pvehelm.chart.gotpl.places import Places

    for name, marks in output["lines"].items():
        if name in sources:
            output["lines"][name] = Places(name, sources[name], output["files"][name], marks)


def _default_references(chart: Chart) -> list[Problem]:
    problems = []
    for path, reference in secrets.foreign(chart.values):
        mark = None
        for end in range(len(path), 0, -1):
            mark = chart.values_marks.get(path[:end])
            if mark is not None:
                break
        where = chart.file("values.yaml") + (f":{mark.line}:{mark.column}" if mark else "")
        problems.append(secrets.chart_problem(where, reference))
    return problems + [problem for sub in chart.dependencies for problem in _default_references(sub)]


def _resources(
    output: Mapping[str, Any],
    sources: Mapping[str, str],
    tokens: secrets.Tokens,
    problems: list[Problem],
    foreign: list[Foreign] | None,
) -> list[Resource]:
    """The resources of all files, with references back in place; what is wrong goes to ``problems``."""
    found: list[Resource] = []
    if foreign is not None:
        foreign += _foreign(output["files"])
    for name, text in output["files"].items():
        if foreign and _OURS not in text:
            continue
        places = output["lines"][name]

        def line_of(line: int, name: str = name, places: list[Any] = places) -> Source:
            place = places[line - 1] if 0 < line <= len(places) else None
            return Source(*place) if place else Source(name, min(line, 1))

        try:
            resources = parse(text, file=name, line_of=line_of, foreign=foreign)
        except InvalidError as error:
            problems += [_explained(problem, sources, tokens) for problem in error.problems]
            continue
        for resource in resources:
            for path, reference in secrets.foreign(resource.as_dict()):
                where = resource.where(path if path[:1] in (("spec",), ("metadata",)) else ())
                problem = secrets.chart_problem(str(where), reference)
                problems.append(_explained(problem, sources, tokens))
            try:
                found.append(_restored(resource, tokens))
            except FunctionError as error:
                for path in tokens.mangled(resource.as_dict()):
                    problem = Problem(str(resource.where(path)), f"a value of {resource.ref} {error}")
                    problems.append(_explained(problem, sources, tokens))
    if not problems:
        try:
            check_unique(found)
        except InvalidError as error:
            problems += [_explained(problem, sources, tokens) for problem in error.problems]
    return found


_VERSION = re.compile(r"^apiVersion:[ \t]+[\"']?([\w./-]+)", re.MULTILINE)
_KIND = re.compile(r"^kind:[ \t]+[\"']?(\w+)", re.MULTILINE)
_OURS = API_VERSION.partition("/")[0]


def _foreign(files: Mapping[str, str]) -> list[Foreign]:
    """The documents of other programs in files where nothing is ours.

    Where there is one, what says nothing of itself (comments, fragments) is not ours either, and need not be parsed.
    """
    found = []
    for name, text in files.items():
        for part in cut(text) if _OURS not in text else ():
            version, kind = _VERSION.search(part), _KIND.search(part)
            if version and is_foreign(version[1]):
                found.append(Foreign(version[1], kind[1] if kind else "", Source(name, 1)))
    return found


def _restored(resource: Resource, tokens: secrets.Tokens) -> Resource:
    if not tokens:
        return resource
    return replace(
        resource,
        name=tokens.text(resource.name),
        namespace=tokens.text(resource.namespace) if resource.namespace else resource.namespace,
        spec=tokens.restore(dict(resource.spec)),
        metadata=tokens.restore(dict(resource.metadata)),
    )


def _explained(problem: Problem, sources: Mapping[str, str], tokens: secrets.Tokens) -> Problem:
    """The problem with the line of the template it is about."""
    from pvehelm.chart.excerpt import excerpt

    found = re.fullmatch(r"(.*?):(\d+)(?::(\d+))?", problem.where)
    shown = ""
    if found and found[1] in sources:
        shown = excerpt(sources[found[1]], int(found[2]), int(found[3] or 1))
    return Problem(problem.where, _shown(problem.what, tokens) + shown, problem.hint)


def _shown(text: str, tokens: secrets.Tokens) -> str:
    """Text for people: references readable, and never an error."""
    try:
        return tokens.text(text)
    except FunctionError:
        return text


def _order(problem: Problem) -> tuple[str, list[int]]:
    file, *numbers = problem.where.split(":")
    return file, [int(number) for number in numbers if number.isdigit()]


def _count(problems: list[Problem]) -> str:
    return "1 problem" if len(problems) == 1 else f"{len(problems)} problems"

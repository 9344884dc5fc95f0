"""The printed: what templates printed becomes resources, every problem with the line of the template it is about."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pvehelm.chart import secrets
from pvehelm.chart.functions.common import FunctionError
from pvehelm.chart.manifest import API_VERSION, Foreign, Resource, Source, check_unique, is_foreign, parse
from pvehelm.chart.pattern import pattern
from pvehelm.errors import InvalidError, Problem


def prepare() -> None:
    """Imports what reading manifests needs."""
    from pvehelm.chart import loader

    assert loader


def resources(
    files: Mapping[str, str],
    lines: Mapping[str, Any],
    sources: Mapping[str, str],
    tokens: secrets.Tokens,
    problems: list[Problem],
    foreign: list[Foreign] | None,
    helms: Collection[str] = (),
) -> list[Resource]:
    """The resources of all files, with references back in place; what is wrong goes to ``problems``.

    In files of Helm's own syntax (``helms``) a map without apiVersion and kind is another program's.
    """
    found: list[Resource] = []
    if foreign is not None:
        foreign += _foreign(files)
    for name, text in files.items():
        if foreign and _OURS not in text:
            continue
        places = lines[name]

        def line_of(line: int, name: str = name, places: list[Any] = places) -> Source:
            place = places[line - 1] if 0 < line <= len(places) else None
            return Source(*place) if place else Source(name, min(line, 1))

        try:
            parsed = parse(text, file=name, line_of=line_of, foreign=foreign, nameless=name in helms)
        except InvalidError as error:
            problems += [_explained(problem, sources, tokens) for problem in error.problems]
            continue
        for resource in parsed:
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


_VERSION = pattern(r"apiVersion:[ \t]+[\"']?([\w./-]+)")
_KIND = pattern(r"kind:[ \t]+[\"']?(\w+)")
_OURS = API_VERSION.partition("/")[0]


def _foreign(files: Mapping[str, str]) -> list[Foreign]:
    """The documents of other programs in files where nothing is ours.

    Where there is one, what says nothing of itself (comments, fragments) is not ours either, and need not be parsed.
    """
    found = []
    for name, text in files.items():
        if _OURS in text:
            continue
        # Charts print megabytes: nothing but these words is looked for.
        starts = [at for at in _lines_with(text, "apiVersion:") if _VERSION.match(text, at)]
        for before, at, after in zip([0, *starts], starts, [*starts[1:], len(text)], strict=False):
            version = _VERSION.match(text, at)
            first = max(text.rfind("\n---", before, at), before)
            if version and is_foreign(version[1]):
                kinds = (_KIND.match(text, line) for line in _lines_with(text, "kind:", first, after))
                kind = next((match[1] for match in kinds if match), "")
                found.append(Foreign(version[1], kind, Source(name, 1)))
    return found


def _lines_with(text: str, word: str, start: int = 0, end: int | None = None) -> Iterator[int]:
    """Where in ``text`` a line begins with ``word``."""
    if text.startswith(word, start):
        yield start
    at = text.find("\n" + word, start, end)
    while at >= 0:
        yield at + 1
        at = text.find("\n" + word, at + 1, end)


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
    return Problem(problem.where, tokens.shown(problem.what) + shown, problem.hint)

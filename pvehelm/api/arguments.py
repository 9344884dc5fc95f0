"""From Python to the wire: the keywords of a call become a Request, or every problem of them.

Keywords are the wire's names with ``_`` for what Python cannot spell (the wire's own spelling is taken as well, by
``**{"base-id": ...}``). Numbered parameters are a map by index (``net={0: ...}``) or one by one (``net0=...``);
property strings are a map or the text; lists of names are a list or the text; None is not sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pvehelm.api import formats
from pvehelm.api.exchange import Request, quote
from pvehelm.api.layout import Keywords
from pvehelm.api.schema import Facts, Operation, Param
from pvehelm.errors import InvalidError, Problem
from pvehelm.suggest import did_you_mean

_keywords: dict[int, tuple[Operation, Keywords]] = {}


def keywords_of(operation: Operation) -> Keywords:
    """The operation's keywords, made once."""
    known = _keywords.get(id(operation))
    if known is None:
        known = _keywords[id(operation)] = (operation, Keywords(operation))
    return known[1]


def prepare(operation: Operation, path_values: Mapping[str, Any], given: Mapping[str, Any]) -> Request:
    """The request of a call. Raises InvalidError with every problem: names, values, what is missing."""
    made, problems = _wire(operation, given)
    failed = {problem.where for problem in problems}
    for problem in operation.check({**path_values, **made}):
        if problem.where not in failed:
            problems.append(problem)
    for name, value in path_values.items():
        if str(value) == "" and name not in failed:
            problems.append(Problem(name, "an empty name cannot stand in a path"))
    if problems:
        unique = dict.fromkeys(problems)
        named = ", ".join(dict.fromkeys(problem.where for problem in unique if problem.where))
        raise InvalidError(f"{operation.method} {operation.path}: wrong parameters: {named}", unique)
    path = re.sub(r"\{([^}]+)\}", lambda found: quote(path_values[found[1]]), operation.path)
    return Request(operation.method, path, made)


def _wire(operation: Operation, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    known = keywords_of(operation)
    made: dict[str, Any] = {}
    problems: list[Problem] = []

    def put(name: str, facts: Facts, value: Any) -> None:
        if value is None:
            return
        if name in made:
            problems.append(Problem(name, "given twice", "leave one of them out"))
            return
        try:
            made[name] = wire_value(facts, value)
        except InvalidError as error:
            problems.extend(
                Problem(name, f"{problem.where}: {problem.what}" if problem.where else problem.what, problem.hint)
                for problem in error.problems or [Problem("", str(error))]
            )

    for keyword, value in given.items():
        family = known.families.get(keyword)
        if family is not None and (isinstance(value, Mapping) or keyword not in known.plain):
            _put_family(keyword, family, value, put, problems)
            continue
        name, param = _find(operation, known, keyword)
        if param is None:
            if operation.open:
                made[keyword] = value
                continue
            near = did_you_mean(keyword, [*known.plain, *known.families])
            problems.append(Problem(keyword, f"{operation.method} {operation.path} has no such parameter", near))
            continue
        put(name, param.facts, value)
    return made, problems


def _find(operation: Operation, known: Keywords, keyword: str) -> tuple[str, Param | None]:
    plain = known.plain.get(keyword)
    if plain is not None:
        return plain.name, plain
    numbered = re.fullmatch(r"(.*?[^0-9])(0|[1-9][0-9]*)", keyword)
    if numbered is not None and numbered[1] in known.families:
        family = known.families[numbered[1]]
        name = family.name.replace("[n]", numbered[2])
        return name, operation.param(name)
    if keyword in operation.path_names:
        return keyword, None
    return keyword, operation.param(keyword)


def _put_family(keyword: str, family: Param, value: Any, put: Any, problems: list[Problem]) -> None:
    if value is None:
        return
    assert family.index is not None
    first, last = family.index
    if not isinstance(value, Mapping):
        what = f"a numbered parameter: a map by index, or {keyword}{first}=..."
        problems.append(Problem(keyword, what, f"{keyword}={{{first}: ...}}"))
        return
    for index, item in value.items():
        text = str(index) if not isinstance(index, bool) else "?"
        if not re.fullmatch(r"0|[1-9][0-9]*", text) or not first <= int(text) <= last:
            problems.append(Problem(f"{keyword}[{index!r}]", f"the index is a number from {first} to {last}"))
            continue
        put(family.name.replace("[n]", text), family.facts, item)


def wire_value(facts: Facts, value: Any) -> Any:
    """One value as the wire takes it: maps printed as property strings, lists joined or kept for repeated keys.

    Raises InvalidError for a map where no property string is expected, and for what cannot stand in one.
    """
    fmt = facts.get("format")
    if isinstance(value, Mapping):
        if formats.subkeys(facts) is None:
            raise InvalidError("a map stands where no property string is expected")
        return formats.print_(facts["format"], value)
    if facts.get("type") == "array":
        inner = facts.get("items") or {}
        return [wire_value(inner, item) for item in _listed(value)]
    if not isinstance(value, str) and isinstance(value, Iterable):
        if isinstance(fmt, str) and fmt.removesuffix("-opt").endswith(("-list", "-alist")):
            return ",".join(_word(item) for item in _listed(value))
        return _listed(value)
    return value


def _listed(value: Any) -> list[Any]:
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)


def _word(item: Any) -> str:
    return str(int(item)) if isinstance(item, bool) else str(item)

"""JSONPath as kubectl's ``-o jsonpath`` has it: templates, and the paths in them.

``{.items[*].metadata.name}``, ``{range .items[*]}{.metadata.name}{"\\t"}{.spec.node}{"\\n"}{end}``; steps are
``.name``, ``['name']`` (several: ``['a','b']``), ``[0]``, ``[-1]``, ``[0:2]``, ``[*]``, ``.*``, ``..name`` and filters
``[?(@.status.status=="running")]`` with ``== != < <= > >= =~`` or none (it is there). A backslash before a dot keeps it
in the name. What is not there gives nothing.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pvehelm.errors import UsageError

Values = list[Any]
Step = Callable[[Any], Iterator[Any]]
_NAME = re.compile(r"(?:\\.|[^\s.\[\]{}()'\"\\,|=!<>&])+")
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "=~": lambda left, right: re.search(str(right), str(left)) is not None,
    "<": operator.lt,
    ">": operator.gt,
}
_SLICE = re.compile(r"(-?\d*)(?::(-?\d*))?(?::(-?\d*))?\Z")


class Template:
    """A parsed template. ``text(data)`` is what it prints of plain data."""

    def __init__(self, source: str) -> None:
        """Raises UsageError for what is no template."""
        self.source = source
        parts = list(_parts(source))
        if "{" not in source and parts:
            # kubectl is as lenient: a bare path is meant as one.
            parts = [("expression", source)]
        self._nodes, rest = _nested(parts, source, inside=False)
        if rest:
            raise _bad(source, "{end} without {range}")

    def text(self, data: Any) -> str:
        return "".join(node(data) for node in self._nodes)


def path(source: str) -> Callable[[Any], Values]:
    """The values that a path (``.spec.memory``, ``{.a}``, ``$.a[*]`` or ``a.b``) finds in plain data.

    Raises UsageError for what is no path.
    """
    text = source.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    if text and text[0] not in ".$@[*":
        text = f".{text}"
    steps = _steps(text, source)

    def find(data: Any) -> Values:
        values: Values = [data]
        for step in steps:
            values = [found for value in values for found in step(value)]
        return values

    return find


def printed(value: Any) -> str:
    """A value as a template prints it: texts bare, the rest as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


# -- templates ---------------------------------------------------------------------------------------------------


def _bad(source: str, what: str) -> UsageError:
    return UsageError(f"jsonpath {source!r}: {what}", hint="for example {.items[*].metadata.name}")


def _parts(source: str) -> Iterator[tuple[str, str]]:
    """The texts and the expressions in braces, in turn."""
    at = 0
    while at < len(source):
        opened = source.find("{", at)
        if opened < 0:
            yield "text", source[at:]
            return
        if opened > at:
            yield "text", source[at:opened]
        end = _closing(source, opened, source)
        yield "expression", source[opened + 1 : end].strip()
        at = end + 1


def _closing(text: str, at: int, source: str) -> int:
    """The bracket that closes the one at ``at``: those in quotes do not count, and braces do not nest."""
    opened = text[at]
    closed = {"{": "}", "[": "]"}[opened]
    depth, quote, index = 1, "", at + 1
    while index < len(text):
        char = text[index]
        if quote and char == "\\":
            index += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == closed:
            depth -= 1
            if not depth:
                return index
        elif char == opened == "[":
            depth += 1
        index += 1
    raise _bad(source, f"a {opened} is not closed")


def _nested(
    parts: Sequence[tuple[str, str]], source: str, *, inside: bool
) -> tuple[list[Callable[[Any], str]], Sequence[tuple[str, str]]]:
    """The printers of the parts up to the end (of a range), and what is left."""
    nodes: list[Callable[[Any], str]] = []
    rest = list(parts)
    while rest:
        kind, text = rest.pop(0)
        if kind == "text":
            nodes.append(_literal(text))
        elif text == "end":
            if not inside:
                return nodes, [("expression", text)]
            return nodes, rest
        elif text.split(maxsplit=1)[:1] == ["range"]:
            body, rest_ = _nested(rest, source, inside=True)
            rest = list(rest_)
            nodes.append(_range(path(text[5:].strip()), body))
        elif text[:1] in ("'", '"'):
            nodes.append(_literal(_string(text, source)))
        else:
            nodes.append(_found(path(text)))
    if inside:
        raise _bad(source, "{range} without {end}")
    return nodes, []


def _literal(text: str) -> Callable[[Any], str]:
    return lambda data: text


def _found(find: Callable[[Any], Values]) -> Callable[[Any], str]:
    return lambda data: " ".join(printed(value) for value in find(data))


def _range(find: Callable[[Any], Values], body: Sequence[Callable[[Any], str]]) -> Callable[[Any], str]:
    return lambda data: "".join(node(value) for value in find(data) for node in body)


def _string(text: str, source: str) -> str:
    if len(text) < 2 or text[-1] != text[0]:
        raise _bad(source, f"{text} is not closed")
    escapes = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(r"\\(.)", lambda found: escapes.get(found[1], found[1]), text[1:-1], flags=re.DOTALL)


# -- paths -------------------------------------------------------------------------------------------------------


def _steps(text: str, source: str) -> list[Step]:
    steps: list[Step] = []
    at = 1 if text[:1] in ("$", "@") else 0
    while at < len(text):
        if text.startswith("..", at):
            steps.append(_everything)
            at += 1 if text[at + 2 : at + 3] == "[" else 2
            if text[at : at + 1] == ".":
                at += 1
                continue
            if text[at : at + 1] == "[":
                continue
            at = _named(text, at, steps, source)
        elif text[at] == ".":
            if at + 1 == len(text):
                if steps:
                    raise _bad(source, "it ends with a dot")
                return steps
            at = at + 1 if text[at + 1] == "[" else _named(text, at + 1, steps, source)
        elif text[at] == "[":
            end = _closing(text, at, source)
            steps.append(_subscript(text[at + 1 : end].strip(), source))
            at = end + 1
        elif text[at] == "*":
            steps.append(_children)
            at += 1
        else:
            raise _bad(source, f"{text[at:]!r} was not expected")
    return steps


def _named(text: str, at: int, steps: list[Step], source: str) -> int:
    if text[at : at + 1] == "*":
        steps.append(_children)
        return at + 1
    found = _NAME.match(text, at)
    if not found:
        raise _bad(source, f"a name is expected at {text[at:]!r}")
    steps.append(_member(re.sub(r"\\(.)", r"\1", found[0])))
    return found.end()


def _subscript(text: str, source: str) -> Step:
    if text == "*":
        return _children
    if text.startswith("?(") and text.endswith(")"):
        return _filter(text[2:-1].strip(), source)
    if text[:1] in ("'", '"'):
        quoted = re.findall(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", text)
        if not re.fullmatch(r"\s*,\s*".join(re.escape(one) for one in quoted), text):
            raise _bad(source, f"[{text}] is no name")
        names = [_string(one, source) for one in quoted]
        return lambda value: (found for name in names for found in _member(name)(value))
    if re.fullmatch(r"-?\d+(\s*,\s*-?\d+)+", text):
        indexes = [int(one) for one in text.split(",")]
        return lambda value: (found for index in indexes for found in _item(index)(value))
    parts = _SLICE.match(text)
    if not parts or not text:
        raise _bad(source, f"[{text}] is no index")
    if ":" not in text:
        return _item(int(text))
    given = slice(*(int(part) if part else None for part in parts.groups()))
    if given.step == 0:
        raise _bad(source, f"[{text}] has a step of 0")
    return lambda value: iter(value[given]) if isinstance(value, list) else iter(())


def _member(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, Mapping) and name in value:
            yield value[name]

    return step


def _item(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _children(value: Any) -> Iterator[Any]:
    yield from value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()


def _everything(value: Any) -> Iterator[Any]:
    yield value
    for inner in _children(value):
        yield from _everything(inner)


def _filter(text: str, source: str) -> Step:
    """``@.a == "x"``, several with ``&&`` or ``||`` (which binds less)."""
    either = [[_condition(part, source) for part in _split(some, "&&")] for some in _split(text, "||")]
    return lambda value: (row for row in _children(value) if any(all(test(row) for test in some) for some in either))


def _masked(text: str) -> str:
    """A text with what stands in quotes blotted out, so that marks are found outside of it."""
    return re.sub(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", lambda found: "_" * len(found[0]), text)


def _split(text: str, mark: str) -> list[str]:
    """A text at its marks outside quotes."""
    lengths = [len(part) for part in _masked(text).split(mark)]
    starts = [sum(lengths[:index]) + index * len(mark) for index in range(len(lengths))]
    return [text[start : start + length].strip() for start, length in zip(starts, lengths, strict=True)]


def _condition(text: str, source: str) -> Callable[[Any], bool]:
    found = re.search(r"==|!=|<=|>=|=~|<|>", _masked(text))
    if not found:
        there = _operand(text, source)
        return lambda row: bool(there(row))
    left, right = _operand(text[: found.start()].strip(), source), _operand(text[found.end() :].strip(), source)
    compare = _OPERATORS[found[0]]

    def test(row: Any) -> bool:
        for one in left(row):
            for other in right(row):
                try:
                    if compare(*_alike(one, other)):
                        return True
                except (TypeError, re.error):
                    continue
        return False

    return test


def _operand(text: str, source: str) -> Callable[[Any], Values]:
    if text[:1] in ("'", '"'):
        literal: Any = _string(text, source)
        return lambda row: [literal]
    if text[:1] in ("@", "$", "."):
        return path(text)
    if re.fullmatch(r"/.+/", text):
        # A pattern, as other JSONPaths write what is behind =~.
        pattern = text[1:-1].replace("\\/", "/")
        return lambda row: [pattern]
    try:
        literal = json.loads(text)
    except ValueError:
        raise _bad(source, f"{text!r} is neither a path nor a value") from None
    return lambda row: [literal]


def _alike(one: Any, other: Any) -> tuple[Any, Any]:
    """Two values that can be compared: a number with a text that is one counts as a number."""
    if isinstance(one, bool) or isinstance(other, bool) or type(one) is type(other):
        return one, other
    try:
        return float(one), float(other)
    except (TypeError, ValueError):
        return one, other

"""Regular expressions: RE2, as Go has them, with Go's rules for empty matches and for ``$1`` in replacements."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, TypeVar

from pvehelm.chart.gotpl.quoting import backquotable, quote
from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.values import GoError, NilStrings, Strings, bounded, from_bytes, to_bytes

Called = TypeVar("Called", bound=Callable[..., Any])

_COMPLAINTS = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid repetition size": "invalid repeat count",
    "invalid named capture group": "invalid named capture",
    "trailing \\": "trailing backslash at end of expression",
    "pattern too large - compile failed": "expression too large",
}
#: A single byte is no character in Go's expressions.
_BYTE = re.compile(r"(?:[^\\]|\\[^C])*?\\C", re.DOTALL)
#: As in Go.
_DEEPEST = 1000
_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")


def _depth(pattern: str) -> int:
    """How deep groups are nested, as far as parentheses show it."""
    depth = deepest = 0
    for mark in re.findall(r"\\.|[()]", pattern):
        depth += (mark == "(") - (mark == ")")
        deepest = max(deepest, depth)
    return deepest


@functools.lru_cache(maxsize=512)
def _compiled(pattern: str) -> Any:
    import re2

    if pattern.count("(") > _DEEPEST and _depth(pattern) > _DEEPEST:
        raise GoError("error parsing regexp: expression nests too deeply")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    if "\\C" in pattern and _BYTE.match(pattern):
        raise GoError("error parsing regexp: invalid escape sequence: `\\C`")
    try:
        return re2.compile(to_bytes(pattern), options)
    except re2.error as error:
        what, found, where = from_bytes(error.args[0]).partition(": ")
        what = _COMPLAINTS.get(what, what)
        hint = "patterns are RE2's: no look-around, no back-references"
        raise GoError(f"error parsing regexp: {what}: `{where if found else ''}`", hint) from None


def _spans(pattern: Any, value: bytes, most: int) -> list[Any]:
    """The matches; an empty one directly behind another does not count."""
    found: list[Any] = []
    at, last = 0, -1
    while at <= len(value) and (most < 0 or len(found) < most):
        match = _search(pattern, value, at)
        if match is None:
            break
        start, end = match.span()
        accepted = True
        if end == at:
            accepted = start != last
            at += _width(value, at)
        else:
            at = end
        last = end
        if accepted:
            found.append(match)
    return found


def _search(pattern: Any, value: bytes, at: int) -> Any:
    """The next match that is not within a character."""
    while True:
        match = pattern.search(value, at)
        if match is None:
            return None
        start, end = match.span()
        if start < end or start >= len(value) or value[start] & 0xC0 != 0x80:
            return match
        at = start + 1


def _width(value: bytes, at: int) -> int:
    """The length of the character at this place."""
    if at >= len(value) or value[at] < 0xC0:
        return 1
    size = 2 if value[at] < 0xE0 else 3 if value[at] < 0xF0 else 4
    try:
        value[at : at + size].decode()
    except UnicodeDecodeError:
        return 1
    return size


def _replaced(pattern: Any, value: bytes, replacement: Any) -> str:
    out: list[bytes] = []
    size = last = at = 0
    while at <= len(value):
        match = _search(pattern, value, at)
        if match is None:
            break
        start, end = match.span()
        out.append(value[last:start])
        if end > last or start == 0:
            out.append(replacement(match))
            size += len(out[-1])
            bounded(size)
        last = end
        at = max(end, at + _width(value, at))
    out.append(value[last:])
    return from_bytes(b"".join(out))


def _expanded(template: str, names: dict[bytes, int], groups: int) -> Any:
    """The replacement text as a function of a match."""
    pieces: list[bytes | int] = []
    at = 0
    for found in _REFERENCE.finditer(template):
        pieces.append(to_bytes(template[at : found.start()]))
        at = found.end()
        if found[1]:
            pieces.append(b"$")
            continue
        name = found[2] or found[3]
        if name.isascii() and name.isdigit():
            group = int(name) if len(name) < 9 else groups + 1
        else:
            group = names.get(to_bytes(name), groups + 1)
        if group <= groups:
            pieces.append(group)
    pieces.append(to_bytes(template[at:]))

    def expand(match: Any) -> bytes:
        return b"".join([piece if isinstance(piece, bytes) else match[piece] or b"" for piece in pieces])

    return expand


def _panicking(name: str, parameters: str, result: str) -> Callable[[Called], Called]:
    """Registers a function, and its ``must`` name. Without ``must`` Go panics, which says more of a wrong pattern."""

    def register(called: Called) -> Called:
        @functools.wraps(called)
        def panicking(pattern: str, *rest: Any) -> Any:
            try:
                return called(pattern, *rest)
            except GoError as error:
                if not str(error).startswith("error parsing regexp"):
                    raise
                shown = f"`{pattern}`" if backquotable(pattern) else quote(pattern)
                raise GoError(f"regexp: Compile({shown}): {error}", error.hint) from None

        function(name, parameters, result)(panicking)
        function(f"must{name[0].upper()}{name[1:]}", parameters, result)(called)
        return called

    return register


@function("regexMatch", "string, string", "bool")
def regexMatch(pattern: str, value: str) -> bool:
    """Whether a text has a match; a wrong pattern has none."""
    try:
        return _compiled(pattern).search(to_bytes(value)) is not None
    except GoError:
        return False


@function("mustRegexMatch", "string, string", "bool")
def mustRegexMatch(pattern: str, value: str) -> bool:
    """Whether a text has a match."""
    return _compiled(pattern).search(to_bytes(value)) is not None


@_panicking("regexFind", "string, string", "string")
def regexFind(pattern: str, value: str) -> str:
    """The first match in a text; "" if there is none."""
    found = _compiled(pattern).search(to_bytes(value))
    return from_bytes(found[0]) if found else ""


@_panicking("regexFindAll", "string, string, int", "[]string")
def regexFindAll(pattern: str, value: str, most: int) -> Strings:
    """The matches in a text, at most so many; -1 for all."""
    found = _spans(_compiled(pattern), to_bytes(value), most)
    return Strings(from_bytes(match[0]) for match in found) if found else NilStrings()


@_panicking("regexReplaceAll", "string, string, string", "string")
def regexReplaceAll(pattern: str, value: str, replacement: str) -> str:
    """A text with its matches replaced; ``$1`` and ``${name}`` stand for groups."""
    compiled = _compiled(pattern)
    return _replaced(compiled, to_bytes(value), _expanded(replacement, compiled.groupindex, compiled.groups))


@_panicking("regexReplaceAllLiteral", "string, string, string", "string")
def regexReplaceAllLiteral(pattern: str, value: str, replacement: str) -> str:
    """A text with its matches replaced by another text as it stands."""
    new = to_bytes(replacement)
    return _replaced(_compiled(pattern), to_bytes(value), lambda match: new)


@_panicking("regexSplit", "string, string, int", "[]string")
def regexSplit(pattern: str, value: str, most: int) -> Strings:
    """The parts of a text between matches, at most so many; -1 for all."""
    compiled, body = _compiled(pattern), to_bytes(value)
    if most == 0:
        return NilStrings()
    if pattern and not body:
        return Strings([""])
    parts: list[bytes] = []
    begin = end = 0
    for match in _spans(compiled, body, most):
        if most > 0 and len(parts) == most - 1:
            break
        start, stop = match.span()
        end = start
        if stop:
            parts.append(body[begin:start])
        begin = stop
    if end != len(body):
        parts.append(body[begin:])
    return Strings(map(from_bytes, parts))


@function("regexQuoteMeta", "string", "string")
def regexQuoteMeta(value: str) -> str:
    """A text as a pattern that matches it."""
    return re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", value)

"""Regular-expression and version functions. Patterns are RE2's: no look-around, no back-references."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from pvehelm.chart.functions.common import FunctionError, bounded, integer, string

_REFUSED = re.compile(r"\(\?(?:[=!]|<[=!]|>|P=|\(|#)|\\[1-9Z]|[*+?}]\+")


@functools.lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    out: list[str] = []
    multi = bool(re.match(r"\(\?[a-zA-Z]*m", pattern))
    at, inside = 0, False
    while at < len(pattern):
        char = pattern[at]
        refused = None if inside else _REFUSED.match(pattern, at)
        if refused:
            raise FunctionError(f"the pattern {pattern!r} uses {refused[0]!r}, which RE2 does not have")
        if char == "\\":
            escape = pattern[at : at + 2]
            out.append(r"\Z" if escape == r"\z" else escape)
            at += 2
            continue
        if char == "[" and not inside:
            inside = True
            # "]" directly after the opening (and its "^") is itself a member of the class.
            opening = re.match(r"\[\^?\]?", pattern[at:])
            head = opening[0] if opening else "["
            out.append(head.replace("]", r"\]"))
            at += len(head)
            continue
        if inside and char == "[":
            posix = re.match(r"\[:(\^?)(\w+):\]", pattern[at:])
            if posix and posix[2] in _POSIX and not posix[1]:
                out.append(_POSIX[posix[2]])
                at += len(posix[0])
                continue
            out.append(r"\[")
        elif inside and char == "]":
            inside = False
            out.append(char)
        elif char == "$" and not inside and not multi:
            out.append(r"\Z")
        else:
            out.append(char)
        at += 1
    body = re.sub(r"\\p\{?L\}?", "[^\\\\W\\\\d_]", "".join(out))
    try:
        return re.compile(body, 0 if "\\W\\d_" in body else re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise FunctionError(f"the pattern {pattern!r} is not valid: {error}") from None


_POSIX = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "blank": r" \t",
    "xdigit": "0-9A-Fa-f",
    "word": r"\w",
    "punct": r"!-/:-@\[-`{-~",
}


def _replacement(text: str, found: re.Match[str]) -> str:
    def name(ref: re.Match[str]) -> str:
        if ref[0] == "$$":
            return "$"
        key = ref[1] or ref[2]
        try:
            return found[int(key) if key.isdigit() else key] or ""
        except IndexError:
            return ""

    return re.sub(r"\$\$|\$\{(\w+)\}|\$(\w+)", name, text)


def regexMatch(pattern: Any, value: Any) -> bool:
    return _compiled(string(pattern)).search(string(value)) is not None


def regexFind(pattern: Any, value: Any) -> str:
    found = _compiled(string(pattern)).search(string(value))
    return found[0] if found else ""


def regexFindAll(pattern: Any, value: Any, count: Any = -1) -> list[str]:
    found = [match[0] for match in _compiled(string(pattern)).finditer(string(value))]
    most = integer(count)
    return found if most < 0 else found[:most]


def regexReplaceAll(pattern: Any, value: Any, replacement: Any) -> str:
    body, new = string(value), string(replacement)
    bounded(len(body) + (len(body) + 1) * len(new) if len(new) > 1000 else 0)
    return _compiled(string(pattern)).sub(lambda found: _replacement(new, found), body)


def regexReplaceAllLiteral(pattern: Any, value: Any, replacement: Any) -> str:
    body, new = string(value), string(replacement)
    bounded(len(body) + (len(body) + 1) * len(new) if len(new) > 1000 else 0)
    return _compiled(string(pattern)).sub(lambda _: new, body)


def regexSplit(pattern: Any, value: Any, count: Any = -1) -> list[str]:
    body, most = string(value), integer(count)
    if most == 0:
        return []
    parts: list[str] = []
    start = 0
    for found in _compiled(string(pattern)).finditer(body):
        if most > 0 and len(parts) == most - 1:
            break
        if found.end() == 0 or (found.start() == found.end() == len(body)):
            continue
        parts.append(body[start : found.start()])
        start = found.end()
    return [*parts, body[start:]]


def regexQuoteMeta(value: Any) -> str:
    return re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", string(value))


class Semver(dict[str, Any]):
    """The parts of a version, which can be compared with another one as in Helm."""

    methods = frozenset({"Compare"})

    def Compare(self, other: Any) -> int:
        """-1, 0 or 1: before, equal to or after ``other``."""
        from pvehelm.chart.versions import parse

        mine = parse(self["Original"])
        theirs = parse(other["Original"] if isinstance(other, dict) else string(other))
        return -1 if mine < theirs else int(mine != theirs)


def semver(value: Any) -> Semver:
    """The parts of a version as a map: Major, Minor, Patch, Prerelease, Metadata, Original."""
    from pvehelm.chart.versions import parse

    try:
        found = parse(string(value))
    except ValueError as error:
        raise FunctionError(str(error)) from None
    return Semver(
        {
            "Major": found.major,
            "Minor": found.minor,
            "Patch": found.patch,
            "Prerelease": found.prerelease,
            "Metadata": found.metadata,
            "Original": string(value),
        }
    )


def semverCompare(constraint: Any, version: Any) -> bool:
    from pvehelm.chart.versions import satisfies

    try:
        return satisfies(string(constraint), string(version))
    except ValueError as error:
        raise FunctionError(str(error)) from None


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "regexMatch": regexMatch,
    "regexFind": regexFind,
    "regexFindAll": regexFindAll,
    "regexReplaceAll": regexReplaceAll,
    "regexReplaceAllLiteral": regexReplaceAllLiteral,
    "regexSplit": regexSplit,
    "regexQuoteMeta": regexQuoteMeta,
    "semver": semver,
    "semverCompare": semverCompare,
}

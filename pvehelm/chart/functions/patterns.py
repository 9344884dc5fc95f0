"""Regular-expression and version functions. Patterns are RE2's: no look-around, no back-references."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pvehelm.chart.functions.common import FunctionError, integer, string
from pvehelm.chart.functions.shared import of

_match, _find, _find_all = of("regex", "mustRegexMatch"), of("regex", "regexFind"), of("regex", "regexFindAll")
_replace, _replace_literal = of("regex", "regexReplaceAll"), of("regex", "regexReplaceAllLiteral")
_split, _quote = of("regex", "regexSplit"), of("regex", "regexQuoteMeta")


def regexMatch(pattern: Any, value: Any) -> bool:
    return bool(_match(string(pattern), string(value)))


def regexFind(pattern: Any, value: Any) -> str:
    return str(_find(string(pattern), string(value)))


def regexFindAll(pattern: Any, value: Any, count: Any = -1) -> list[str]:
    return list(_find_all(string(pattern), string(value), integer(count)))


def regexReplaceAll(pattern: Any, value: Any, replacement: Any) -> str:
    return str(_replace(string(pattern), string(value), string(replacement)))


def regexReplaceAllLiteral(pattern: Any, value: Any, replacement: Any) -> str:
    return str(_replace_literal(string(pattern), string(value), string(replacement)))


def regexSplit(pattern: Any, value: Any, count: Any = -1) -> list[str]:
    return list(_split(string(pattern), string(value), integer(count)))


def regexQuoteMeta(value: Any) -> str:
    return str(_quote(string(value)))


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

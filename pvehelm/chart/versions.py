"""The version: semantic versions and the constraints that Helm's charts write (``^1.2``, ``>=1.2 <2 || 3.x``)."""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

from pvehelm.chart.pattern import pattern

_NUMBER = r"0|[1-9]\d*"
_WORD = r"[0-9A-Za-z-]+"
_VERSION = pattern(
    rf"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-({_WORD}(?:\.{_WORD})*))?(?:\+({_WORD}(?:\.{_WORD})*))?\Z", re.ASCII
)
_STRICT = pattern(
    rf"(?:{_NUMBER})\.(?:{_NUMBER})\.(?:{_NUMBER})(?:-{_WORD}(?:\.{_WORD})*)?(?:\+{_WORD}(?:\.{_WORD})*)?\Z", re.ASCII
)
_TERM = pattern(
    rf"\s*(=|!=|>=|=>|<=|=<|>|<|~>|~|\^|)\s*v?([0-9]+|[xX*])(?:\.([0-9]+|[xX*]))?(?:\.([0-9]+|[xX*]))?"
    rf"(?:-({_WORD}(?:\.{_WORD})*))?(?:\+{_WORD}(?:\.{_WORD})*)?\s*(?=$|[,\s])",
    re.ASCII,
)
_RANGE = pattern(r"(\S+)\s+-\s+(\S+)")


@functools.total_ordering
class Version:
    """A semantic version; build metadata does not count in comparisons."""

    __slots__ = ("major", "metadata", "minor", "patch", "prerelease")

    def __init__(self, major: int, minor: int, patch: int, prerelease: str = "", metadata: str = "") -> None:
        self.major = major
        self.minor = minor
        self.patch = patch
        self.prerelease = prerelease
        self.metadata = metadata

    @property
    def order(self) -> tuple[Any, ...]:
        # Without a prerelease comes after every prerelease; numbers come before words.
        parts = tuple(
            (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in self.prerelease.split(".") if part
        )
        return (self.major, self.minor, self.patch, not parts, parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.order == other.order

    def __lt__(self, other: Version) -> bool:
        return bool(self.order < other.order)

    def __hash__(self) -> int:
        return hash(self.order)

    def __repr__(self) -> str:
        return f"Version({str(self)!r})"

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.patch}"
        text += f"-{self.prerelease}" if self.prerelease else ""
        return text + (f"+{self.metadata}" if self.metadata else "")


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> Version:
    """A version, leniently: ``v1.2`` is 1.2.0. Raises ValueError."""
    plain = text.split(".")
    # Nearly all of them are three numbers.
    if len(plain) == 3 and len(text) < 20 and text.isascii() and all(map(str.isdigit, plain)):
        return Version(int(plain[0]), int(plain[1]), int(plain[2]))
    found = _VERSION.match(text.strip()) if len(text) <= 256 else None
    if not found:
        raise ValueError(f"{text!r} is no semantic version")
    major, minor, patch, prerelease, metadata = found.groups()
    return _checked(Version(int(major), int(minor or 0), int(patch or 0), prerelease or "", metadata or ""), text)


def _checked(version: Version, text: str) -> Version:
    """Raises ValueError for what the pattern lets through."""
    if any(part.isdecimal() and len(part) > 1 and part[0] == "0" for part in version.prerelease.split(".")):
        raise ValueError(f"{text!r} is no semantic version: a number of its prerelease begins with 0")
    if max(version.major, version.minor, version.patch) >= 1 << 64:
        raise ValueError(f"{text!r} is no semantic version: a number of it is too large")
    return version


def is_strict(text: str) -> bool:
    """Whether ``text`` is a version of three numbers as semver.org has it."""
    if not _STRICT.match(text):
        return False
    try:
        parse(text)
    except ValueError:
        return False
    return True


def satisfies(constraint: str, version: str | Version) -> bool:
    """Whether a version meets a constraint. Raises ValueError for what is neither.

    As Helm's own library decides it: a prerelease is only meant where a condition beside it names one.
    """
    wanted = [_terms(group) for group in constraint.split("||")]
    found = version if isinstance(version, Version) else parse(version)
    return any(
        all(term.allows(found) for term in group)
        for group in wanted
        if not found.prerelease or any(term.version.prerelease for term in group)
    )


class _Term(NamedTuple):
    operator: str
    version: Version
    any_minor: bool
    any_patch: bool
    dirty: bool

    def allows(self, v: Version) -> bool:
        c = self.version
        match self.operator:
            case ">":
                return self.beyond(v)
            case "<":
                return v < c
            case ">=" | "=>":
                return v >= c
            case "<=" | "=<":
                if not self.dirty:
                    return v <= c
                return v.major < c.major or (v.major == c.major and (self.any_minor or v.minor <= c.minor))
            case "!=":
                return not self.like(v)
            case "^":
                return v >= c and self.caret(v)
            case "~" | "~>":
                return self.tilde(v)
        return self.tilde(v) if self.dirty else v == c

    def beyond(self, v: Version) -> bool:
        c = self.version
        if not self.dirty or (v.major == c.major and not self.any_minor and not self.any_patch):
            return v > c
        if v.major != c.major:
            return v.major > c.major
        return not self.any_minor and v.minor > c.minor

    def like(self, v: Version) -> bool:
        c = self.version
        if self.any_minor:
            return v.major == c.major
        if self.any_patch:
            same = Version(0, 0, 0, v.prerelease) == Version(0, 0, 0, c.prerelease)
            return v.major == c.major and v.minor == c.minor and same
        return v == c

    def tilde(self, v: Version) -> bool:
        c = self.version
        if v < c:
            return False
        if c.major == c.minor == c.patch == 0 and not self.any_minor and not self.any_patch:
            return True
        return v.major == c.major and (self.any_minor or v.minor == c.minor)

    def caret(self, v: Version) -> bool:
        c = self.version
        if c.major > 0 or self.any_minor:
            return v.major == c.major
        if v.major > 0:
            return False
        if c.minor > 0 or self.any_patch:
            return v.minor == c.minor
        return v.minor == 0 and v.patch == c.patch


@functools.lru_cache(maxsize=1024)
def _terms(group: str) -> tuple[_Term, ...]:
    """The conditions of one alternative, all of which must hold."""
    text = _RANGE.sub(r">=\1 <=\2", group).strip()
    terms: list[_Term] = []
    at = 0
    while at < len(text) or not terms:
        found = _TERM.match(text, at)
        if not found:
            raise ValueError(f"{group.strip()!r} is no version constraint")
        terms.append(_term(*found.groups()))
        at = found.end()
        if text[at : at + 1] == ",":
            at += 1
            if at == len(text):
                raise ValueError(f"{group.strip()!r} is no version constraint")
    return tuple(terms)


def _term(operator: str, major: str, minor: str | None, patch: str | None, prerelease: str | None) -> _Term:
    numbers = [major, minor or "*", patch or "*"]
    wild = next((index for index, part in enumerate(numbers) if part in "xX*"), 3)
    values = [int(part) for part in numbers[:wild]] + [0] * (3 - wild)
    version = _checked(Version(values[0], values[1], values[2], prerelease or ""), ".".join(numbers))
    return _Term(operator, version, wild == 1, wild == 2, wild < 3)

"""The ignore list: which files of a chart's directory are not part of the chart (``.helmignore``, Helm's rules).

A pattern is a shell glob (``*`` and ``?`` stop at ``/``, ``[a-z]``, ``[^a]``, ``\\`` escapes). One without a slash is
matched against the last part of a path, one with a slash against the whole path. ``foo/`` means directories only.
``!foo`` ignores everything that is *not* foo: that is Helm's meaning, not git's. ``**`` is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from pvehelm.errors import InvalidError, Problem


class Rule(NamedTuple):
    match: Callable[[str], bool]
    negate: bool
    directories: bool


class Rules(NamedTuple):
    """An ordered list of patterns; ``ignores`` answers for one path."""

    rules: tuple[Rule, ...]

    def ignores(self, path: str, *, directory: bool = False) -> bool:
        """Whether ``path`` (relative to the chart, ``/`` between parts) is left out. The chart itself never is."""
        if path in ("", ".", "./"):
            return False
        path = path.removesuffix("/")
        for rule in self.rules:
            if rule.negate:
                if (rule.directories and not directory) or not rule.match(path):
                    return True
            elif (directory or not rule.directories) and rule.match(path):
                return True
        return False


def parse(text: str, *, file: str = ".helmignore") -> Rules:
    """The rules of an ignore file. Raises InvalidError with every bad pattern."""
    rules, problems = [], []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        try:
            rules.append(_rule(pattern))
        except ValueError as error:
            problems.append(Problem(f"{file}:{number}", f"pattern {pattern!r}: {error}"))
    if problems:
        raise InvalidError(f"{file} is not valid", problems)
    return Rules(tuple(rules))


def with_defaults(rules: Rules | None = None) -> Rules:
    """The rules with the one that every chart has: dot files in ``templates/`` are no templates."""
    return Rules((*(rules.rules if rules else ()), Rule(_is_hidden, False, False)))


def _is_hidden(path: str) -> bool:
    # The pattern templates/.?*
    name = path.removeprefix("templates/")
    return name != path and len(name) > 1 and name[0] == "." and "/" not in name


def _rule(pattern: str) -> Rule:
    if "**" in pattern:
        raise ValueError("'**' is not supported; '*' matches within one folder")
    negate = pattern.startswith("!")
    pattern = pattern.removeprefix("!")
    directories = pattern.endswith("/")
    pattern = pattern.removesuffix("/")
    whole = "/" in pattern
    compiled = glob(pattern.removeprefix("/"))
    if whole:
        return Rule(lambda path: bool(compiled.match(path)), negate, directories)
    return Rule(lambda path: bool(compiled.match(path.rpartition("/")[2])), negate, directories)


def glob(pattern: str) -> re.Pattern[str]:
    """The pattern of Go's ``filepath.Match`` as a regular expression. Raises ValueError for a malformed one."""
    out, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "\\":
            if at == len(pattern):
                raise ValueError("a backslash escapes the character after it, and there is none")
            out.append(re.escape(pattern[at]))
            at += 1
        elif char == "[":
            found = re.compile(r"(\^?)((?:\\.|[^\]\\])+)\]", re.S).match(pattern, at)
            if not found:
                raise ValueError("a '[' is not closed")
            out.append(_class(found[1], found[2]))
            at = found.end()
        else:
            out.append(re.escape(char))
    return re.compile("(?:" + "".join(out) + r")\Z", re.S)


def _class(negate: str, body: str) -> str:
    """One ``[...]``: single characters and ranges; a ``-`` stands only between two ends."""
    one = r"(\\.|[^\\-])"
    parts = []
    at = 0
    while at < len(body):
        found = re.compile(f"{one}(?:-{one})?", re.S).match(body, at)
        if not found:
            raise ValueError("a '-' in '[...]' stands between the two ends of a range")
        low, high = (end and end[-1] for end in found.groups())
        if high is not None and low is not None and high < low:
            raise ValueError(f"the range {low}-{high} is empty")
        parts.append(re.escape(low or "") + (f"-{re.escape(high)}" if high is not None else ""))
        at = found.end()
    # A negated class still stops at the separator.
    return f"(?!/)[{negate}{''.join(parts)}]"

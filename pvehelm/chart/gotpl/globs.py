"""The glob of ``.Files.Glob``: patterns as Helm's library reads them, which are not those of shells.

``*`` stays within a folder, ``**`` does not, ``?`` is one character, ``{a,b}`` one of several patterns, ``[abc]`` and
``[a-z]`` (one or the other, not mixed) a character, ``[!...]`` any but these. What is no pattern matches every file.
"""

from __future__ import annotations

import functools
import re


class _Invalid(Exception):
    """The pattern is none."""


@functools.lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """A regular expression for whole paths."""
    try:
        return re.compile(_Reader(pattern).whole(), re.DOTALL)
    except _Invalid:
        return re.compile(".*", re.DOTALL)


class _Reader:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0

    def next(self) -> str:
        """The character at this place, which is behind us then; "" at the end."""
        found = self.pattern[self.at : self.at + 1]
        self.at += 1
        return found

    def whole(self) -> str:
        out: list[str] = []
        braces = 0
        while char := self.next():
            if char == "*":
                double = self.pattern.startswith("*", self.at)
                self.at += double
                out.append(".*" if double else "[^/]*")
            elif char == "?":
                out.append("[^/]")
            elif char == "[":
                out.append(self.range())
            elif char == "{":
                out.append("(?:")
                braces += 1
            elif char == "}" and braces:
                out.append(")")
                braces -= 1
            elif char == "," and braces:
                out.append("|")
            else:
                out.append(re.escape(self.next() if char == "\\" else char))
        return "".join(out) + ")" * braces

    def range(self) -> str:
        """The inside of ``[...]``."""
        negated = self.pattern.startswith("!", self.at)
        self.at += negated
        if self.pattern[self.at + 1 : self.at + 2] == "-":
            low, _, high = self.next(), self.next(), self.next()
            if not high or high < low:
                raise _Invalid
            inside = f"{re.escape(low)}-{re.escape(high)}"
        else:
            inside = ""
            while (char := self.next()) and char != "]":
                inside += re.escape(self.next() if char == "\\" else char)
            self.at -= 1
        if self.next() != "]" or not inside:
            raise _Invalid
        return f"[{'^' if negated else ''}{inside}]"

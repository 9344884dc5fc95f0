"""The code: an expression of Jinja2 that is being written, and what names mean where it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pvehelm.chart import convert_known as known
from pvehelm.chart.convert_known import ANYTHING, MISSING, Samples
from pvehelm.chart.functions import FUNCTIONS

#: How strongly an expression holds together; what is weaker than its place asks for stands in parentheses.
COND, OR, AND, NOT, COMPARE, FILTER, ATOM = range(7)


def words(names: str) -> frozenset[str]:
    return frozenset(names.split())


ROOT_NAMES = frozenset(("Values", "Release", "Chart", "Capabilities", "Files", "Template", "Subcharts"))
#: Words that a variable cannot be called, beside the names of functions.
_WORDS = """
    and or not in is if else true false none True False None loop self root ctx _ recursive import from as
    caller varargs kwargs super namespace range include tpl lookup generate sensitive item
"""
_RESERVED = frozenset(_WORDS.split())


@dataclass(frozen=True)
class Code:
    """An expression. ``shared``: part of the values, which nothing may change; ``given``: part of what a named template
    is called with, which may be the same; ``below``: the map and the key it is."""

    text: str
    level: int = ATOM
    samples: Samples = ANYTHING
    shared: bool = False
    given: bool = False
    below: tuple[Code, str] | None = None
    #: Parts of it may be missing as well, as in ``((.Values.a).b).c``.
    deep: bool = False

    def at(self, level: int) -> str:
        """The text where something of ``level`` is wanted."""
        return self.text if self.level >= level else f"({self.text})"

    @property
    def absent(self) -> bool:
        """Whether there may be nothing of which a field is asked: it is missing or null somewhere."""
        return any(one is None or one is MISSING for one in self.samples)

    @property
    def nested(self) -> bool:
        """Whether it may be missing together with what it is a field of."""
        return bool(self.lacking) and self.below is not None and (self.deep or self.below[0].absent)

    @property
    def lacking(self) -> bool | None:
        if self.below is None:
            return False
        return known.lacking(self.samples)


class ByHand(Exception):
    """What cannot be written in Jinja2 by rule: the reason, and what to do."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


@dataclass
class Scope:
    """What names mean at a place: the dot, ``$`` and the variables."""

    dot: Code
    dollar: Code
    variables: dict[str, Code] = field(default_factory=dict)

    def inner(self, dot: Code | None = None) -> Scope:
        return Scope(dot or self.dot, self.dollar, dict(self.variables))


def string(text: str) -> str:
    """A text as a literal of Jinja2."""
    out = ['"']
    for char in text:
        if char in '"\\':
            out.append("\\" + char)
        elif char in "\n\t\r":
            out.append({"\n": "\\n", "\t": "\\t", "\r": "\\r"}[char])
        elif char.isprintable():
            out.append(char)
        else:
            code = ord(char)
            out.append(f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")
    return "".join([*out, '"'])


def variable(name: str, taken: set[str]) -> str:
    """A name for a variable of Jinja2 that is no function and not taken."""
    word = re.sub(r"\W", "_", name).lstrip("_") or "value"
    if word[0].isdigit():
        word = f"v{word}"
    if word in _RESERVED or word in FUNCTIONS or word in ROOT_NAMES:
        word += "_"
    found, count = word, 1
    while found in taken:
        count += 1
        found = f"{word}{'' if word.endswith('_') else '_'}{count}"
    return found

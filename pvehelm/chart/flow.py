"""YAML's flow collections around an expression: ``[a, {{ x }}]`` and ``{ name: {{ x }} }``.

A collection may begin on a line further above, if each of its lines so far ends where the next item, or the first one,
is to come, or one that ends follows; how far above is bounded, since long lists are printed item by item.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

from pvehelm.chart.pattern import pattern

_OPENING = pattern(r"\s*(?:- +)*(?:(?:[\w./$@-][^:#\n\"'{\[]*|\"[^\"\n]*\"|'[^'\n]*')[ ]*:[ \t]+)?(?=[\[{])")
_TOKEN = pattern(
    r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'|[\[\]{},]|:(?=\s|\Z)|\s+#[^\n]*\n?|\s+|[^\[\]{},:\s\"'#]+|.", re.DOTALL
)
_GOES_ON = pattern(r"[\[{,]\s*(?:\s#.*)?\Z")
_LINES = 200
KEY_END = pattern(r"[ \t]*:(?:\s|\Z)")
_END = pattern(r"[ \t]*(?:[,\]}\n]|[ \t]#|\Z)")

#: What a plain text cannot hold inside a flow collection.
_MARKS = pattern(r"[\[\]{},]")
_QUOTED = pattern(r"(?s)\".*\"\Z|'.*'\Z")


def flowing(text: str) -> bool:
    """Whether ``text`` has a character that means something in flow collections only, and is not quoted."""
    return bool(_MARKS.search(text)) and not _QUOTED.match(text)


def begun(above: Iterable[str]) -> str:
    """The lines of the collection that goes on after ``above`` (lines, the last first); "" where none does."""
    found: list[str] = []
    size = 0
    below = ""
    for line in islice(above, _LINES):
        shown = line.strip()
        if shown and not shown.startswith("#"):
            if not (_GOES_ON.search(line) or below.startswith(("]", "}", ","))):
                break
            # Blank lines and comments above the first line are none of it.
            below, size = shown, len(found) + 1
        found.append(line + "\n")
    text = "".join(reversed(found[:size]))
    return text if text and _inside(text) else ""


def _inside(text: str) -> tuple[list[str], str] | None:
    """The brackets that are open where ``text`` ends, which begins with a line that opens one, and the token there;
    None where nothing is open."""
    head = _OPENING.match(text)
    if not head:
        return None
    opened: list[str] = []
    before = ""
    for found in _TOKEN.finditer(text, head.end()):
        token = found[0]
        if token.isspace():
            continue
        if token.lstrip().startswith("#") and token != "#":
            if token.endswith("\n"):
                continue
            return None
        if token in "[{":
            if before not in ("", "[", "{", ",", ":"):
                return None
            opened.append(token)
        elif token in "]}":
            if not opened:
                return None
            opened.pop()
            if not opened:
                return None
        before = token
    return (opened, before) if opened else None


def is_item(line: str, text: str, rest: str) -> bool:
    """Whether ``text`` is one whole value or key in a flow collection.

    ``line`` is what stands before it, from the line where the collection begins, and ``rest`` what follows. In a list
    a text with commas is several items, as in ``[{{ names | join(", ") }}]``.
    """
    inside = _inside(line)
    if inside is None:
        return False
    opened, before = inside
    if KEY_END.match(rest):
        return opened[-1] == "{" and before in ("{", ",")
    if not _END.match(rest):
        return False
    if opened[-1] == "[":
        return before in ("[", ",") and "," not in text
    return before == ":"

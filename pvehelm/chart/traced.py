"""Traced text: rendered text that knows which place of which template each of its characters came from.

Compiled templates yield pieces instead of strings: what stands in the template, and what expressions printed. Pieces
are joined here, wherever Jinja2 would join strings, and here expressions find their place in the YAML around them:
a block is indented to its column, and a text that is the whole value of a line is quoted if YAML would misread it.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from pvehelm.chart.flow import KEY_END, begun, flowing, is_item
from pvehelm.chart.functions.common import Block, Text
from pvehelm.chart.functions.strings import quote
from pvehelm.chart.pattern import pattern

DATA, RAW, SCALAR, VALUE = 0, 1, 2, 3

#: Where a template has something: its name, the line and the column, both from 1.
Place = tuple[str, int, int]


class Piece(NamedTuple):
    """A part of the output: DATA is the template's own text; RAW, SCALAR (a string) and VALUE (one of the user's) come
    from an expression."""

    template: str
    position: int
    text: str
    kind: int


class Segment(NamedTuple):
    offset: int
    template: str
    position: int
    kind: int


def pack(line: int, column: int) -> int:
    """A place in one number, which Jinja2 carries as its line number."""
    return line << 16 | min(column, 0xFFFF)


def unpack(position: int) -> tuple[int, int]:
    return (position >> 16, position & 0xFFFF) if position > 0xFFFF else (max(position, 1), 1)


class Traced(Text):
    """Joined pieces: text with the segments it was made of."""

    #: What it was made of: template, position, text, kind. A text may be traced itself.
    pieces: list[tuple[str, int, str, int]]

    @functools.cached_property
    def segments(self) -> list[Segment]:
        """Where what comes from where begins. Most texts are never asked."""
        found: list[Segment] = []
        size = 0
        for template, position, text, kind in self.pieces:
            if kind == RAW and isinstance(text, Traced):
                found += [segment._replace(offset=segment.offset + size) for segment in text.segments]
            else:
                found.append(Segment(size, template, position, kind))
            size += len(text)
        return found

    def place(self, offset: int) -> Place | None:
        """Where the character at ``offset`` came from."""
        index = bisect_right(self.segments, offset, key=lambda segment: segment.offset) - 1
        if index < 0:
            return None
        segment = self.segments[index]
        line, column = unpack(segment.position)
        if segment.kind == DATA:
            before = self.count("\n", segment.offset, offset)
            if before:
                column = offset - self.rfind("\n", 0, offset)
            else:
                column += offset - segment.offset
            line += before
        return (segment.template, line, column)

    def lines(self) -> list[Place | None]:
        """The place of the first visible character of each line."""
        found: list[Place | None] = []
        offset = 0
        for line in self.split("\n"):
            shown = len(line) - len(line.lstrip())
            found.append(self.place(offset + (shown if shown < len(line) else 0)))
            offset += len(line) + 1
        return found

    def part(self, start: int, end: int) -> Traced:
        """The text from ``start`` to ``end``, still traced."""
        pieces = []
        first = max(bisect_right(self.segments, start, key=lambda segment: segment.offset) - 1, 0)
        for index in range(first, len(self.segments)):
            segment = self.segments[index]
            if segment.offset >= end:
                break
            stop = self.segments[index + 1].offset if index + 1 < len(self.segments) else len(self)
            begin = max(segment.offset, start)
            if begin >= min(stop, end):
                continue
            place = self.place(begin)
            position = pack(place[1], place[2]) if place else segment.position
            pieces.append(Piece(segment.template, position, self[begin : min(stop, end)], segment.kind))
        return assemble(pieces, scalars=False)

    def indented(self, count: int) -> Traced:
        """Every line after ``count`` blanks, still traced."""
        pad, pieces, offset = " " * count, [], 0
        for line in self.split("\n"):
            end = min(offset + len(line) + 1, len(self))
            place = self.place(min(offset, max(len(self) - 1, 0))) or ("", 1, 1)
            pieces.append(Piece(place[0], pack(place[1], place[2]), pad, RAW))
            if offset < end:
                pieces.append(Piece("", 0, self.part(offset, end), RAW))
            offset += len(line) + 1
        return assemble(pieces, scalars=False)


def assemble(pieces: Iterable[Any], *, scalars: bool = True) -> Traced:
    """The pieces as one text. ``scalars=False`` leaves texts as they are, for output that is no YAML."""
    parts = list(pieces)
    out: list[str] = []
    made: list[tuple[str, int, str, int]] = []
    # Where nothing could begin a block scalar no line is one's; so far it was looked for. Long lists stay fast.
    blocks, looked = False, 0
    for index, piece in enumerate(parts):
        template, position, text, kind = piece
        if kind >= SCALAR:
            if scalars and (misread(text, kind == VALUE) or flowing(text)):
                blocks = blocks or any("|" in part or ">" in part for part in islice(out, looked, None))
                looked = len(out)
                if _is_whole(out, parts, index, blocks):
                    text = quote(text)
                    piece = (template, position, text, kind)
        elif kind == RAW and isinstance(text, Block):
            text = _placed(text, _line(out))
            piece = (template, position, text, kind)
        if text:
            made.append(piece)
            out.append(text)
    result = Traced("".join(out))
    result.pieces = made
    return result


_KEY = pattern(r"\s*(?:- +)*(?:-|(?:[\w./$@-][^:#\n\"'{\[]*|\"[^\"\n]*\"|'[^'\n]*')[ ]*:)[ \t]+\Z")
_BEGIN = pattern(r"\s*(?:[-?] +)*\Z")
_REST = pattern(r"[ \t]*(?:#[^\n]*|[ \t]#[^\n]*)?(?:\n|\Z)")


def _line(out: list[str]) -> str:
    """The last line of what is already there."""
    found: list[str] = []
    for part in reversed(out):
        cut = part.rfind("\n")
        found.append(part[cut + 1 :])
        if cut >= 0:
            break
    return "".join(reversed(found))


def _is_whole(out: list[str], parts: list[Any], index: int, blocks: bool) -> bool:
    """Whether the expression at ``index`` is a key, or a key's or list item's value, that YAML would misread.

    ``blocks``: what is there may have block scalars.
    """
    line, text, given = _line(out), parts[index][2], parts[index][3] == VALUE
    rest = next((parts[at][2] for at in range(index + 1, len(parts)) if parts[at][2]), "")
    if above := begun(islice(_lines_back(out), 1, None)):
        whole = is_item(above + line, text, rest)
    elif _BEGIN.match(line) and KEY_END.match(rest):
        whole = misread(text, given)
    elif _KEY.match(line):
        whole = misread(text, given) and _ends(parts, index + 1)
    else:
        whole = is_item(line, text, rest)
    return whole and not (blocks and _in_block_scalar(out, line))


def _ends(parts: list[Any], start: int) -> bool:
    """Whether nothing follows on the line but a comment."""
    for at in range(start, len(parts)):
        _, _, text, kind = parts[at]
        if kind >= SCALAR and text:
            return False
        if not _REST.match(text):
            return False
        if "\n" in text:
            break
    return True


_OPENER = pattern(r"(?:^|[\s:-])[|>][+-]?\d?[+-]?[ \t]*(?:#.*)?\Z")


def _in_block_scalar(out: list[str], line: str) -> bool:
    """Whether ``line``, the last one of ``out``, is text of a ``key: |`` above it."""
    depth = len(line) - len(line.lstrip())
    # A block scalar whose opening is further away than this is looked through in vain; long lists stay fast.
    for above in islice(_lines_back(out), 1, 2000):
        if not above.strip():
            continue
        indent = len(above) - len(above.lstrip())
        if indent < depth:
            if _OPENER.search(above):
                return True
            depth = indent
            if not depth:
                return False
    return False


def _lines_back(out: list[str]) -> Iterator[str]:
    tail = ""
    for part in reversed(out):
        *lines, tail_of_part = (part + tail).split("\n")
        if lines:
            yield tail_of_part
            yield from reversed(lines[1:])
            tail = lines[0]
        else:
            tail = tail_of_part
    yield tail


def _placed(text: str, line: str) -> str:
    """A block of YAML where ``line`` ends: under its key, or with every line at the same column."""
    if "\n" not in text and not text.startswith("- ") and not re.match(r"[^\s\"'{\[][^:]*:(?:\s|\Z)", text):
        return text
    if line.rstrip().endswith(":"):
        head = re.match(r"[\s]*(?:- +)*", line)
        column = (len(head[0]) if head else 0) + 2
        pad = "\n" + " " * column
        return pad + text.replace("\n", pad)
    return text.replace("\n", "\n" + " " * len(line))


_TYPED = pattern(
    r"""(?:[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[\da-fA-F_]+|[\d][\d_]*(?::[0-5]?\d)*(?:\.[\d_]*)?(?:[eE][-+]?\d+)?
    |\.\d[\d_]*(?:[eE][-+]?\d+)?|\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN
    |\d{4}-\d\d?-\d\d?(?:(?:[Tt]|[ \t]+)\d.*)?
    |~|null|Null|NULL|=|<<)\Z
    |(?i:y|n|yes|no|on|off|true|false)\Z""",
    re.VERBOSE,
)
_SPECIAL = pattern(r"[\[\]{},&*!|>%@`\"'#]|[-?:](?:\s|\Z)|---|\.\.\.|\s")
_INSIDE = pattern(r":(?:\s|\Z)|\s#|\s\Z|[\x00-\x1f\x7f\x85\u2028\u2029\ufeff]")
_QUOTED = pattern(r"\"(?:[^\"\\\n]|\\.)*\"\Z|'(?:[^'\n]|'')*'\Z")

_JOINTS = str.maketrans("-./", "___")
_WORDS = frozenset(("null", "y", "n", "yes", "no", "on", "off", "true", "false"))


def misread(text: str, given: bool = False) -> bool:
    """Whether YAML takes ``text``, written plainly, for something else than this text.

    Quotes around it are the template's, which wants them there, unless it is ``given`` by the user.
    """
    if not text:
        return True
    # Most are one word, or several with dashes, dots and strokes between: then only YAML's own words are misread.
    if text.isascii() and text[0].isalpha() and text.translate(_JOINTS).isidentifier():
        return text.lower() in _WORDS and bool(_TYPED.match(text))
    if _QUOTED.match(text):
        return given
    return bool(_TYPED.match(text) or _SPECIAL.match(text) or _INSIDE.search(text))

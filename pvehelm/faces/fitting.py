"""Tables that are wider than the terminal: what gives way, and what never does."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

# The width of a column of prose: what it has at least, at most for one long word, and where there is no room at all.
PROSE, WORD, FLOOR = 24, 40, 16
# What is no longer than this stays in one line: a size and its unit.
SHORT = 10


def cells_of(text: str) -> int:
    """The columns of a terminal that a text takes: wide characters of East Asia two, marks above others none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def padded(text: str, width: int) -> str:
    return text + " " * (width - cells_of(text))


def fit(
    lines: Sequence[Sequence[str]], heads: Sequence[str], room: int, spare: Sequence[str], prose: Sequence[str]
) -> tuple[list[int], int]:
    """(width of each column, characters between two); 0 is a column that is left out.

    ``prose`` are heads of columns whose text may go on in a further line, ``spare`` those that may be left out: any
    that have nothing to say, then the first one first. Where that is not enough every column with several words wraps.
    Words are never cut: people copy them, and a terminal breaks lines that are too long in a way that it can undo.
    """
    natural = [max(map(cells_of, column)) for column in zip(*lines, strict=True)]
    words = [
        max((cells_of(w) for cell in column for w in cell.split()), default=0) for column in zip(*lines, strict=True)
    ]
    least = list(natural)
    for index, head in enumerate(heads):
        if head in prose:
            least[index] = min(natural[index], max(PROSE, min(words[index], WORD)))
    gap = 2
    empty = [head for head in spare if all(not line[heads.index(head)] for line in lines if line != list(heads))]
    spare = [*empty, *(head for head in spare if head not in empty)]
    kept = [True] * len(natural)

    def total() -> int:
        return sum(width for width, keep in zip(least, kept, strict=True) if keep) + gap * (sum(kept) - 1)

    for head in spare:
        if total() <= room:
            break
        kept[heads.index(head)] = False
    for head in reversed(spare):
        # One that is less important may find room where a longer one does not.
        index = heads.index(head)
        if not kept[index] and total() + least[index] + gap <= room:
            kept[index] = True
    if total() > room:
        # Prose gets narrower still, a longer word of it stands out alone; others as far as their words allow. The one
        # with the most to give first.
        floors = [min(word, FLOOR) if head in prose else word for word, head in zip(words, heads, strict=True)]
        if sum(floor for floor, keep in zip(floors, kept, strict=True) if keep) + gap * (sum(kept) - 1) > room:
            # Lines get too long in any case: then at least a size and its unit stay together.
            floors = [max(floor, min(whole, SHORT)) for floor, whole in zip(floors, natural, strict=True)]
        for index in sorted((i for i, keep in enumerate(kept) if keep), key=lambda i: floors[i] - least[i]):
            least[index] = min(least[index], max(floors[index], least[index] - max(0, total() - room)))
    widths = [width if keep else 0 for width, keep in zip(least, kept, strict=True)]
    # What is left over goes to the columns that gave way, the first ones first.
    for index, keep in enumerate(kept):
        if keep:
            widths[index] += max(0, min(natural[index] - widths[index], room - sum(widths) - gap * (sum(kept) - 1)))
    return widths, gap


def wrapped(text: str, width: int) -> list[str]:
    """A cell in lines, broken between words; a word that is longer has a line of its own."""
    if cells_of(text) <= width:
        return [text]
    found = [""]
    for word in text.split(" "):
        if found[-1] and cells_of(found[-1]) + 1 + cells_of(word) > width:
            found.append(word)
        else:
            found[-1] = f"{found[-1]} {word}" if found[-1] else word
    return found

"""The places: where in a template's file each line of what it printed comes from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import overload

from pvehelm.chart.traced import Place


class Places(Sequence[Place]):
    """The place of the first visible character of each line of ``text``, found when it is asked for.

    ``marks`` are flat triples: where in ``text`` a text of the file begins, where it stands in ``source``, its length.
    What an expression printed has the place where the text before it ends.
    """

    def __init__(self, name: str, source: str, text: str, marks: list[int]) -> None:
        self.name, self.source, self.text = name, source, text
        self.offsets, self.positions, self.sizes = marks[::3], marks[1::3], marks[2::3]
        self._starts: list[int] = []

    def _lines(self) -> list[int]:
        if not self._starts:
            self._starts.append(0)
            at = self.text.find("\n")
            while at >= 0:
                self._starts.append(at + 1)
                at = self.text.find("\n", at + 1)
        return self._starts

    def __len__(self) -> int:
        return len(self._lines())

    @overload
    def __getitem__(self, index: int) -> Place: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Place]: ...
    def __getitem__(self, index: int | slice) -> Place | Sequence[Place]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        starts = self._lines()
        start = starts[index]
        end = starts[index + 1] - 1 if index + 1 < len(starts) else len(self.text)
        line = self.text[start:end]
        blanks = len(line) - len(line.lstrip())
        return self.place(start + (blanks if blanks < len(line) else 0))

    def place(self, offset: int) -> Place:
        """The place of the character at ``offset``."""
        index = bisect_right(self.offsets, offset) - 1
        if index < 0:
            position = 0
        else:
            inside = offset - self.offsets[index]
            position = self.positions[index] + min(inside, self.sizes[index])
            if inside >= self.sizes[index]:
                # Blanks that the action's "{{-" takes away.
                while position < len(self.source) - 1 and self.source[position] in " \t\r\n":
                    position += 1
        start = self.source.rfind("\n", 0, position) + 1
        return (self.name, self.source.count("\n", 0, position) + 1, position - start + 1)

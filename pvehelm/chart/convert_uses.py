"""What templates use of each other, found while they are converted: one round's finds are the next one's knowledge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Uses:
    """What templates use of each other: what named ones are called with, which files are included ``whole`` (the ends
    of their paths), which of a chart's files are ``texts`` for tpl (patterns of Files.Glob), and which names some
    template adds to what it is called with (``set . "mode" ...``), before others ask for them or never, or ``removed``.

    Units are files by their path and named templates by their name: ``callers`` of each named template, its ``homes``
    (the file it is in), those ``changing`` the values, or that call one that does, and ``replacing`` them by others;
    ``prepared`` the files that see values which others, named from templates/ on, have replaced before them."""

    calls: dict[str, list[Any]] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    callers: dict[str, set[str]] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)
    changing: set[str] = field(default_factory=set)
    replacing: set[str] = field(default_factory=set)
    prepared: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def next(self) -> Uses:
        """What the next round begins with: whoever calls one that changes the values changes them, too."""
        replacing = self.calling(self.replacing)
        changing = self.calling(self.changing) | replacing
        return Uses(added=self.added, removed=self.removed, changing=changing, replacing=replacing)

    def calling(self, units: set[str]) -> set[str]:
        found, ahead = set(units), list(units)
        while ahead:
            more = self.callers.get(ahead.pop(), set()) - found
            found |= more
            ahead += more
        return found

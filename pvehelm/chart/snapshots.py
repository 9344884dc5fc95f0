"""Snapshots: what a chart came to once, kept beside its suite as ``tests/__snapshot__/NAME_test.yaml.snap``.

A map of the cases' titles to the texts of their assertions by number, as helm-unittest keeps them.
"""

from __future__ import annotations

import posixpath
from typing import Any

from pvehelm.chart.views import difference
from pvehelm.chart.yaml import dump, load, load_all
from pvehelm.errors import InvalidError


def place(suite: str) -> str:
    """Where the snapshots of a suite are, by the suite's path in the chart."""
    return posixpath.join(posixpath.dirname(suite), "__snapshot__", posixpath.basename(suite) + ".snap")


class Snapshots:
    """The snapshots of one suite file: compared with, or with ``update`` made anew."""

    def __init__(self, text: str, *, file: str, update: bool = False) -> None:
        """Raises InvalidError for a file that can't be read."""
        data = load(text, file=file) if text.strip() else {}
        self.known: dict[str, Any] = data if isinstance(data, dict) else {}
        self.update = update
        # What was asked for, in the order of asking.
        self.seen: dict[str, dict[str, str]] = {}

    def compare(self, title: str, number: int, text: str) -> str:
        """What differs from what was kept, or ''."""
        self.seen.setdefault(title, {})[str(number)] = text
        if self.update:
            return ""
        kept = self.known.get(title)
        before = kept.get(str(number)) if isinstance(kept, dict) else None
        if before is None:
            return "there is no snapshot yet; --update makes it"
        if str(before) == text or _same(str(before), text):
            return ""
        return f"not as the snapshot has it\n{difference(str(before), text)}"

    def text(self) -> str:
        """The file's new content; '' where no snapshot was asked for."""
        return dump(self.seen, width=None) if self.seen else ""


def _same(before: str, text: str) -> bool:
    """Whether both are the same documents: helm-unittest indents lists otherwise."""
    try:
        one, other = ([found.data for found in load_all(part, lines=False)] for part in (before, text))
    except InvalidError:
        return False
    return one == other and all(isinstance(data, (dict, list)) for data in one)

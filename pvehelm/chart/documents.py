"""The documents of a chart's own YAML files, read once: what they say is remembered until they change.

Reading YAML means importing PyYAML, which takes longer than all else that is done to a chart of the usual size.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from pvehelm import entries
from pvehelm.chart.yaml import Document, Mark, Marks, load_all
from pvehelm.errors import Problem

_READ = ("Chart.yaml", "values.yaml", "requirements.yaml")
#: Where the text is larger than this, or what it says is so many times as large, nothing is remembered.
_LARGEST = 1 << 20
_TIMES = 20
#: Python writes no number of many more bits in decimals.
_WIDEST = 10_000
_PLAIN = frozenset((str, int, float, bool, type(None)))


class Documents:
    """The reader of one loading of a chart; ``raw`` are its files."""

    def __init__(self, raw: Mapping[str, bytes]) -> None:
        self.place = entries.directory("documents")
        texts = (part for path in raw if path.endswith(_READ) for part in (path.encode("utf-8", "replace"), raw[path]))
        self.name = entries.name_of(texts, _sources()) if self.place else ""
        self.known: dict[str, Any] = {}
        #: What was asked for this time: the text, and how it is read, to what it says.
        self.asked: dict[str, Any] = {}
        try:
            found = json.loads(entries.load(self.place, self.name))
            self.known = found if isinstance(found, dict) else {}
        except (ValueError, RecursionError):
            pass

    def load(self, text: str, *, file: str, helms: list[Problem] | None = None) -> list[Document]:
        """As ``load_all``."""
        key = f"{'yaml' if helms is None else 'helm'}:{text}"
        found = self.known.get(key)
        if found is None:
            before = len(helms or ())
            documents = load_all(text, file=file, helms=helms)
            if len(helms or ()) == before and len(text) < _LARGEST:
                found = [[one.data, one.marks.tree, one.start] for one in documents]
                if _size(found, _TIMES * len(text) + 1000) >= 0:
                    self.asked[key] = found
            return documents
        self.asked[key] = found
        return [Document(data, Marks(Mark(*start), tree), Mark(*start)) for data, tree, start in found]

    def keep(self) -> None:
        """Remembers what was read for the next time."""
        if self.place and self.asked.keys() != self.known.keys():
            entries.save(self.place, self.name, json.dumps(self.asked).encode())


def _sources() -> list[str]:
    """What reads YAML."""
    here = os.path.dirname(__file__)
    found = entries.spec_of("yaml")
    own = (
        "documents.py",
        "yaml.py",
        "loader.py",
        "helmyaml.py",
        os.path.join("gotpl", "plain.py"),
        os.path.join("gotpl", "floats.py"),
    )
    return [*(os.path.join(here, name) for name in own), *([found.origin] if found and found.origin else [])]


def _size(value: Any, most: int) -> int:
    """What is left of ``most`` letters and items when ``value`` is through; below 0 where it is larger than that, or
    is no plain data."""
    kind = type(value)
    if kind in _PLAIN:
        if kind is int and value.bit_length() > _WIDEST:
            return -1
        return most - (len(value) if kind is str else 1)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or most < 0:
                return -1
            most = _size(item, most - len(key))
        return most - 1
    if kind in (list, tuple, Mark):
        for item in value:
            if most < 0:
                return -1
            most = _size(item, most)
        return most - 1
    return -1

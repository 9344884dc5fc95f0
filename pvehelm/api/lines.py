"""Schema data as ``importer.to_text`` writes them, one row a line: a row is parsed when it is asked for.

A command needs a few dozen of the two thousand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_KEY = re.compile(r'\{"method":"([A-Z]+)","path":"([^"\\]+)",')
_HEAD = re.compile(r'\{\n "format": (\d+),\n "release": ("[^"\n]*"),\n "facts": \[\n')
_BETWEEN = '\n ],\n "operations": [\n'
_END = "\n ]\n}\n"


def read(text: str) -> Mapping[str, Any]:
    """The data in a text, whoever wrote it. Raises ValueError for what is no JSON: of our lines, when they are used."""
    head = _HEAD.match(text)
    facts, _, operations = text[head.end() :].partition(_BETWEEN) if head else ("", "", "")
    if head is None or not facts or not operations.endswith(_END):
        return _whole(text)
    rows = operations.removesuffix(_END).split("\n")
    keys = [_KEY.match(row) for row in rows]
    if not all(keys):
        return _whole(text)
    return {
        "format": int(head[1]),
        "release": json.loads(head[2]),
        "facts": _Facts(facts.split("\n")),
        "operations": _Operations({(key[1], key[2]): row for key, row in zip(keys, rows, strict=True) if key}),
    }


def _whole(text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(text)
    return found


class _Facts(Sequence[Any]):
    """Rows by their number."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._read: dict[int, Any] = {}

    def __getitem__(self, index: Any) -> Any:
        if index not in self._read:
            self._read[index] = json.loads(self._lines[index].removesuffix(","))
        return self._read[index]

    def __len__(self) -> int:
        return len(self._lines)


class _Operations(Mapping[tuple[str, str], Any]):
    """Rows by method and path."""

    def __init__(self, lines: dict[tuple[str, str], str]) -> None:
        self._lines = lines

    def __getitem__(self, key: tuple[str, str]) -> Any:
        return json.loads(self._lines[key].removesuffix(","))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, key: object) -> bool:
        return key in self._lines

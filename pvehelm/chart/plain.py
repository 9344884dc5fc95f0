"""Plain data: maps, lists, texts, numbers, truth values and null, as YAML and JSON have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def copied(value: Any) -> Any:
    """A copy of plain data in which nothing is shared, so that a change in one place is a change in one place.

    (What an alias names is one object wherever it stands, and ``copy.deepcopy`` would keep it so.)
    """
    kind = value.__class__
    if kind is dict or isinstance(value, Mapping):
        return {key: item if item.__class__ in _SCALARS else copied(item) for key, item in value.items()}
    if kind is list or isinstance(value, list):
        return [item if item.__class__ in _SCALARS else copied(item) for item in value]
    return value


_SCALARS = frozenset((str, int, float, bool, type(None)))

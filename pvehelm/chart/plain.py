"""Plain data: maps, lists, texts, numbers, truth values and null, as YAML and JSON have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    """What stands at a path; null where nothing does."""
    for step in path:
        if isinstance(value, Mapping):
            # Only who calls from Python has other keys than texts.
            value = value[step] if step in value else value.get(str(step))
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def scalars(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Everything in a value that is neither map nor list, each with its path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from scalars(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from scalars(inner, (*path, index))
    else:
        yield path, value

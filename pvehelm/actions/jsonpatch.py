"""JSON patches: documents changed by a merge patch (RFC 7386) or by operations (RFC 6902)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pvehelm.errors import InvalidError


def merged(base: Any, over: Any) -> Any:
    """A JSON merge patch (RFC 7386): maps are merged, null takes a key away, all else is replaced."""
    if not isinstance(over, Mapping):
        return over
    made = dict(base) if isinstance(base, Mapping) else {}
    for name, value in over.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merged(made.get(name), value)
    return made


def operated(base: Any, operations: Any) -> Any:
    """A JSON patch (RFC 6902) with ``add remove replace test move copy``. Raises InvalidError naming the operation."""
    from copy import deepcopy

    if not isinstance(operations, list):
        raise InvalidError(
            "a JSON patch is a list of operations", hint='[{"op": "replace", "path": ..., "value": ...}]'
        )
    made = deepcopy(base)
    for number, one in enumerate(operations):
        where = f"operation {number + 1}"
        if not isinstance(one, Mapping) or not isinstance(one.get("path"), str):
            raise InvalidError(f"{where}: a map with op and path is expected")
        what, at = one.get("op"), _pointer(one["path"], where)
        if what in ("add", "replace", "test") and "value" not in one:
            raise InvalidError(f"{where}: {what} needs a value")
        if what == "test":
            if _at(made, at, where) != one["value"]:
                raise InvalidError(f"{where}: {one['path']} is {_at(made, at, where)!r}, not {one['value']!r}")
        elif what in ("move", "copy"):
            if not isinstance(one.get("from"), str):
                raise InvalidError(f"{where}: {what} needs from, a path")
            source = _pointer(one["from"], where)
            value = deepcopy(_at(made, source, where))
            made = _without(made, source, where) if what == "move" else made
            made = _with(made, at, value, where, insert=True)
        elif what == "remove":
            made = _without(made, at, where)
        elif what in ("add", "replace"):
            _ = _at(made, at, where) if what == "replace" else None
            made = _with(made, at, one["value"], where, insert=what == "add")
        else:
            raise InvalidError(f"{where}: {what!r} is none", hint="add, remove, replace, test, move or copy")
    return made


def _pointer(text: str, where: str) -> list[str]:
    if text and not text.startswith("/"):
        raise InvalidError(f"{where}: {text!r} is no path", hint="for example /spec/memory, /spec/tags/-")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


_INDEX = re.compile(r"(0|[1-9][0-9]{0,8})\Z")


def _step(value: Any, part: str, where: str) -> Any:
    if isinstance(value, Mapping) and part in value:
        return value[part]
    if isinstance(value, list) and _INDEX.match(part) and int(part) < len(value):
        return value[int(part)]
    raise InvalidError(f"{where}: there is no {part!r} there")


def _at(value: Any, path: Sequence[str], where: str) -> Any:
    for part in path:
        value = _step(value, part, where)
    return value


def _without(value: Any, path: Sequence[str], where: str) -> Any:
    if not path:
        raise InvalidError(f"{where}: the whole manifest can't go")
    holder = _at(value, path[:-1], where)
    _step(holder, path[-1], where)
    del holder[int(path[-1]) if isinstance(holder, list) else path[-1]]
    return value


def _with(value: Any, path: Sequence[str], new: Any, where: str, *, insert: bool) -> Any:
    if not path:
        return new
    holder, last = _at(value, path[:-1], where), path[-1]
    if isinstance(holder, list):
        index = len(holder) if last == "-" else int(last) if _INDEX.match(last) else -1
        if not 0 <= index <= len(holder):
            raise InvalidError(f"{where}: {last!r} is no place in a list of {len(holder)}")
        holder[index : index + (not insert)] = [new]
    elif isinstance(holder, dict):
        holder[last] = new
    else:
        raise InvalidError(f"{where}: there is no place for {last!r}")
    return value

"""List functions of Sprig. All but ``set``-like ones make new lists; equality is reflect.DeepEqual's."""

from __future__ import annotations

from typing import Any

from pvehelm.chart.gotpl.numbers import to_int
from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.values import GoError, Lists, NilList, Uint8, bounded, deep_equal, kind_of


def _items(value: Any, complaint: str) -> list[Any]:
    if isinstance(value, list):
        return value
    if value is None:
        raise GoError("runtime error: invalid memory address or nil pointer dereference")
    if isinstance(value, bytes):
        return [Uint8(byte) for byte in value]
    raise GoError(f"{complaint} {kind_of(value)}")


@function("list tuple", "...any", "list")
def list_(*items: Any) -> list[Any]:
    """A list of the given items."""
    return [*items]


@function("first mustFirst", "any")
def first(items: Any) -> Any:
    """The first item of a list; nil if it is empty."""
    found = _items(items, "Cannot find first on type")
    return found[0] if found else None


@function("last mustLast", "any")
def last(items: Any) -> Any:
    """The last item of a list; nil if it is empty."""
    found = _items(items, "Cannot find last on type")
    return found[-1] if found else None


@function("rest mustRest", "any", "list")
def rest(items: Any) -> list[Any]:
    """A list without its first item."""
    found = _items(items, "Cannot find rest on type")
    return [*found[1:]] if found else NilList()


@function("initial mustInitial", "any", "list")
def initial(items: Any) -> list[Any]:
    """A list without its last item."""
    found = _items(items, "Cannot find initial on type")
    return [*found[:-1]] if found else NilList()


@function("append mustAppend push mustPush", "any, any", "list")
def append(items: Any, item: Any) -> list[Any]:
    """A new list with an item at its end."""
    return [*_items(items, "Cannot push on type"), item]


@function("prepend mustPrepend", "any, any", "list")
def prepend(items: Any, item: Any) -> list[Any]:
    """A new list with an item at its beginning."""
    return [item, *_items(items, "Cannot prepend on type")]


@function("concat", "...any", "list")
def concat(*lists: Any) -> list[Any]:
    """The items of several lists in one."""
    found = [item for items in lists for item in _concatenated(items)]
    return found or NilList()


def _concatenated(items: Any) -> list[Any]:
    if items is None or isinstance(items, (list, bytes)):
        return _items(items, "")
    raise GoError(f"Cannot concat type {kind_of(items)} as list")


@function("reverse mustReverse", "any", "list")
def reverse(items: Any) -> list[Any]:
    """A list in reverse order."""
    return [*reversed(_items(items, "Cannot find reverse on type"))]


@function("compact mustCompact", "any", "list")
def compact(items: Any) -> list[Any]:
    """A list without its empty items."""
    return [item for item in _items(items, "Cannot compact on type") if item]


@function("uniq mustUniq", "any", "list")
def uniq(items: Any) -> list[Any]:
    """A list with each item once."""
    seen: set[Any] = set()
    found: list[Any] = []
    for item in _items(items, "Cannot find uniq on type"):
        if isinstance(item, (str, int)):
            key = (type(item), item)
            if key not in seen:
                seen.add(key)
                found.append(item)
        elif not _within(item, found):
            found.append(item)
    return found


def _within(item: Any, items: Any) -> bool:
    return any(deep_equal(item, other) for other in items)


@function("without mustWithout", "any, ...any", "list")
def without(items: Any, *unwanted: Any) -> list[Any]:
    """A list without the given items."""
    return [item for item in _items(items, "Cannot find without on type") if not _within(item, unwanted)]


@function("has mustHas", "any, any", "bool")
def has(item: Any, items: Any) -> bool:
    """Whether a list has an item."""
    if items is None:
        return False
    found = _items(items, "Cannot find has on type")
    if type(item) is str:
        return any(type(other) is str and other == item for other in found)
    return _within(item, found)


@function("slice mustSlice", "any, ...any")
def slice_(items: Any, *bounds: Any) -> Any:
    """The items of a list from one place to before another."""
    found = items if isinstance(items, bytes) else _items(items, "list should be type of slice or array but")
    if not found:
        return None
    start = to_int(bounds[0]) if bounds else 0
    end = len(found) if len(bounds) < 2 else to_int(bounds[1])
    if not 0 <= start <= end <= len(found):
        raise GoError("reflect.Value.Slice: slice index out of bounds")
    return type(found)(found[start:end])


@function("chunk mustChunk", "int, any", "[][]interface {}")
def chunk(size: int, items: Any) -> Lists:
    """A list in pieces of a size."""
    found = _items(items, "Cannot chunk type")
    count = (len(found) - 1) // size + 1 if size else -1
    if count < 0 or (size < 0 and count > 0):
        raise GoError("runtime error: makeslice: len out of range")
    if not count:
        return Lists()
    bounded(len(found) // size, "list")
    return Lists([*found[at : at + size]] for at in range(0, len(found), size))

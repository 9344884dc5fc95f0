"""List functions, with Sprig's names and argument order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pvehelm.chart import chance
from pvehelm.chart.functions.common import MAX_ITEMS, FunctionError, integer, sequence, text
from pvehelm.chart.functions.common import same as equal


def list_(*items: Any) -> list[Any]:
    return list(items)


def first(items: Any) -> Any:
    found = _items(items)
    return found[0] if found else None


def last(items: Any) -> Any:
    found = _items(items)
    return found[-1] if found else None


def rest(items: Any) -> list[Any]:
    return list(_items(items)[1:])


def initial(items: Any) -> list[Any]:
    return list(_items(items)[:-1])


def _items(value: Any) -> Any:
    return value if isinstance(value, str) else sequence(value)


def append(items: Any, item: Any) -> list[Any]:
    return [*_or_empty(items), item]


def prepend(items: Any, item: Any) -> list[Any]:
    return [item, *_or_empty(items)]


def _or_empty(items: Any) -> list[Any]:
    return [] if items is None else sequence(items)


def concat(*lists: Any) -> list[Any]:
    return [item for items in lists for item in _or_empty(items)]


def uniq(items: Any) -> list[Any]:
    found: list[Any] = []
    seen: set[Any] = set()
    for item in sequence(items):
        if isinstance(item, (str, int, float, type(None))):
            # A text that knows where it was printed is the same text.
            key = ("str" if isinstance(item, str) else type(item).__name__, item)
            if key not in seen:
                seen.add(key)
                found.append(item)
        elif not has(item, found):
            found.append(item)
    return found


def without(items: Any, *unwanted: Any) -> list[Any]:
    return [item for item in sequence(items) if not has(item, list(unwanted))]


def has(item: Any, items: Any) -> bool:
    return any(equal(item, other) for other in _or_empty(items))


def compact(items: Any) -> list[Any]:
    return [item for item in sequence(items) if item]


def slice_(items: Any, *bounds: Any) -> list[Any]:
    found = sequence(items)
    start = integer(bounds[0]) if bounds else 0
    end = integer(bounds[1]) if len(bounds) > 1 else len(found)
    if not 0 <= start <= end <= len(found):
        raise FunctionError(f"slice {start} to {end} is out of bounds of a list of {len(found)}")
    return found[start:end]


def chunk(size: Any, items: Any) -> list[list[Any]]:
    count, found = integer(size), sequence(items)
    if count < 1:
        raise FunctionError("chunks hold at least 1 item")
    return [found[i : i + count] for i in range(0, len(found), count)]


def reverse(items: Any) -> Any:
    return items[::-1] if isinstance(items, str) else sequence(items)[::-1]


def sortAlpha(items: Any) -> list[str]:
    found = [items] if isinstance(items, (str, int, float)) else _or_empty(items)
    return sorted(text(item) for item in found if item is not None)


def shuffle(value: Any) -> str:
    return chance.shuffled(text(value))


def until(count: Any) -> list[int]:
    end = integer(count)
    return untilStep(0, end, -1 if end < 0 else 1)


def untilStep(start: Any, end: Any, step: Any) -> list[int]:
    first_, last_, by = integer(start), integer(end), integer(step)
    if by == 0 or (last_ < first_) != (by < 0):
        return []
    numbers = range(first_, last_, by)
    # len() of a range beyond the machine's word raises, so the size is worked out by hand.
    if abs(last_ - first_) // abs(by) > MAX_ITEMS:
        raise FunctionError(f"a list of more than {MAX_ITEMS} numbers is refused")
    return list(numbers)


def seq(*bounds: Any) -> str:
    """``seq(end)``, ``seq(start, end)`` or ``seq(start, step, end)``, both ends included, joined by blanks."""
    numbers = [integer(bound) for bound in bounds]
    match numbers:
        case [end]:
            start, step = 1, 1 if end >= 1 else -1
        case [start, end]:
            step = 1 if end >= start else -1
        case [start, step, end]:
            pass
        case _:
            return ""
    return " ".join(map(str, untilStep(start, end + (1 if step > 0 else -1), step)))


def length(value: Any) -> int:
    if isinstance(value, (str, bytes, dict, list, tuple, range)):
        return len(value)
    return len(sequence(value))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "list": list_,
    "first": first,
    "last": last,
    "rest": rest,
    "initial": initial,
    "append": append,
    "push": append,
    "prepend": prepend,
    "concat": concat,
    "uniq": uniq,
    "without": without,
    "has": has,
    "compact": compact,
    "slice": slice_,
    "chunk": chunk,
    "reverse": reverse,
    "sortAlpha": sortAlpha,
    "shuffle": shuffle,
    "until": until,
    "untilStep": untilStep,
    "seq": seq,
    "len": length,
}

"""Map functions and those that choose between values, with Sprig's names and argument order."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from pvehelm.chart.functions.common import Failed, FunctionError, empty, kind, mapping, same, string, text


def default(fallback: Any, value: Any = None) -> Any:
    return fallback if empty(value) else value


def required(message: Any, value: Any) -> Any:
    if value is None or value == "":
        raise Failed(text(message))
    return value


def fail(message: Any) -> Any:
    raise Failed(text(message))


def coalesce(*values: Any) -> Any:
    return next((value for value in values if not empty(value)), None)


def ternary(yes: Any, no: Any, condition: Any) -> Any:
    if not isinstance(condition, bool):
        raise FunctionError(f"ternary decides by true or false, got {kind(condition)}")
    return yes if condition else no


def all_(*values: Any) -> bool:
    return not any(empty(value) for value in values)


def any_(*values: Any) -> bool:
    return any(not empty(value) for value in values)


def dict_(*pairs: Any, **named: Any) -> dict[str, Any]:
    """``dict("a", 1, "b", 2)`` as in Sprig, ``dict(a=1, b=2)`` as in Jinja2, or a map and what to add to it."""
    if len(pairs) == 1 and not isinstance(pairs[0], str):
        return {**mapping(pairs[0]), **named}
    padded = [*pairs, ""] if len(pairs) % 2 else list(pairs)
    return {text(padded[i]): padded[i + 1] for i in range(0, len(padded), 2)} | named


def get(source: Any, key: Any) -> Any:
    return "" if source is None else mapping(source).get(key, "")


def set_(source: Any, key: Any, value: Any) -> dict[str, Any]:
    mapping(source)[string(key, "a key")] = value
    return mapping(source)


def unset(source: Any, key: Any) -> dict[str, Any]:
    mapping(source).pop(key, None)
    return mapping(source)


def hasKey(source: Any, key: Any) -> bool:
    return source is not None and key in mapping(source)


def keys(*sources: Any) -> list[Any]:
    return [key for source in sources for key in sorted(mapping(source), key=text)]


def values(source: Any) -> list[Any]:
    return [mapping(source)[key] for key in keys(source)]


def pluck(key: Any, *sources: Any) -> list[Any]:
    return [mapping(source)[key] for source in sources if key in mapping(source)]


def pick(source: Any, *names: Any) -> dict[str, Any]:
    return {name: mapping(source)[name] for name in names if name in mapping(source)}


def omit(source: Any, *names: Any) -> dict[str, Any]:
    return {key: value for key, value in mapping(source).items() if key not in names}


def merge(target: Any, *sources: Any) -> dict[str, Any]:
    """Fills what is missing or empty in ``target``, which is changed and returned."""
    for source in sources:
        if source is not None:
            _merge(mapping(target), mapping(source), over=False)
    return mapping(target)


def mergeOverwrite(target: Any, *sources: Any) -> dict[str, Any]:
    """Writes the sources over ``target``, the last one winning; ``target`` is changed and returned."""
    for source in sources:
        if source is not None:
            _merge(mapping(target), mapping(source), over=True)
    return mapping(target)


def _merge(target: dict[str, Any], source: dict[str, Any], *, over: bool, depth: int = 0) -> None:
    if depth > 200:
        raise FunctionError("the maps are nested too deeply to be merged")
    for key, value in source.items():
        mine = target.get(key)
        if isinstance(mine, dict) and isinstance(value, dict):
            # The nested map may belong to someone else (values, another source), so it is not written into.
            nested = target[key] = dict(mine)
            _merge(nested, value, over=over, depth=depth + 1)
        elif over or empty(mine):
            target[key] = value


def deepCopy(value: Any) -> Any:
    return copy.deepcopy(value)


def dig(*arguments: Any) -> Any:
    """``dig("a", "b", fallback, map)``: map.a.b, or the fallback where a key is missing."""
    if len(arguments) < 3:
        raise FunctionError("dig takes keys, a fallback and a map")
    *path, fallback, source = arguments
    found = mapping(source)
    for step, key in enumerate(path):
        if key not in mapping(found):
            return fallback
        found = found[key]
        if step < len(path) - 1 and not isinstance(found, dict):
            raise FunctionError(f"{'.'.join(map(text, path[: step + 1]))} is {kind(found)}, not a map")
    return found


def index(source: Any, *path: Any) -> Any:
    found = source
    for key in path:
        if isinstance(found, dict):
            found = found.get(key)
        elif isinstance(found, (list, tuple, str)) and isinstance(key, int) and 0 <= key < len(found):
            found = found[key]
        else:
            raise FunctionError(f"{kind(found)} has no item {text(key)}")
    return found


def kindOf(value: Any) -> str:
    """Go's word for the kind, as Helm's charts compare it: map, slice, string, bool, int, float64, invalid."""
    for types, name in (
        (bool, "bool"),
        (str, "string"),
        (int, "int"),
        (float, "float64"),
        (dict, "map"),
        ((list, tuple, range), "slice"),
        (bytes, "slice"),
    ):
        if isinstance(value, types):
            return name
    return "invalid" if value is None else "func" if callable(value) else "struct"


def typeOf(value: Any) -> str:
    named = {"map": "map[string]interface {}", "slice": "[]interface {}", "invalid": "<nil>"}
    return named.get(kindOf(value), kindOf(value))


def kindIs(name: Any, value: Any) -> bool:
    return string(name) == kindOf(value) or (name in ("int", "int64", "float64") and _number(name, value))


def typeIs(name: Any, value: Any) -> bool:
    return string(name) == typeOf(value) or (name in ("int", "int64", "float64") and _number(name, value))


def _number(name: str, value: Any) -> bool:
    # Values files know only numbers: a whole one is an int, an int64 and (as in Helm's values) a float64.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return name == "float64" or isinstance(value, int)


def typeIsLike(name: Any, value: Any) -> bool:
    return typeIs(string(name).lstrip("*"), value)


def deepEqual(one: Any, other: Any) -> bool:
    return same(one, other)


def tuple_(*items: Any) -> list[Any]:
    return list(items)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "default": default,
    "required": required,
    "fail": fail,
    "coalesce": coalesce,
    "ternary": ternary,
    "empty": empty,
    "all": all_,
    "any": any_,
    "dict": dict_,
    "get": get,
    "set": set_,
    "unset": unset,
    "hasKey": hasKey,
    "keys": keys,
    "values": values,
    "pluck": pluck,
    "pick": pick,
    "omit": omit,
    "merge": merge,
    "mergeOverwrite": mergeOverwrite,
    "deepCopy": deepCopy,
    "dig": dig,
    "index": index,
    "kindOf": kindOf,
    "kindIs": kindIs,
    "typeOf": typeOf,
    "typeIs": typeIs,
    "typeIsLike": typeIsLike,
    "deepEqual": deepEqual,
    "tuple": tuple_,
}

"""Map functions of Sprig, and those that choose between values or tell their types."""

from __future__ import annotations

from typing import Any

from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.values import GoError, NilMap, Strings, copy, deep_equal, kind_of, strval, type_of


@function("dict", "...any", "map")
def dict_(*pairs: Any) -> dict[str, Any]:
    """A map of keys and values by turns; a key without a value gets "" as one."""
    if len(pairs) % 2:
        pairs = (*pairs, "")
    return {
        (key if type(key) is str else strval(key)): value for key, value in zip(pairs[::2], pairs[1::2], strict=True)
    }


@function("get", "map, string")
def get(source: dict[str, Any], key: str) -> Any:
    """The value of a key; "" if there is none."""
    return source.get(key, "")


@function("set", "map, string, any", "map")
def set_(source: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Sets a key of a map, and gives that map."""
    if isinstance(source, NilMap):
        raise GoError("assignment to entry in nil map")
    source[key] = value
    return source


@function("unset", "map, string", "map")
def unset(source: dict[str, Any], key: str) -> dict[str, Any]:
    """Removes a key from a map, and gives that map."""
    source.pop(key, None)
    return source


@function("hasKey", "map, string", "bool")
def hasKey(source: dict[str, Any], key: str) -> bool:
    """Whether a map has a key."""
    return key in source


@function("pluck", "string, ...map", "list")
def pluck(key: str, *sources: dict[str, Any]) -> list[Any]:
    """The values of one key in several maps."""
    return [source[key] for source in sources if key in source]


@function("keys", "...map", "[]string")
def keys(*sources: dict[str, Any]) -> Strings:
    """The keys of maps."""
    return Strings(key for source in sources for key in source)


@function("values", "map", "list")
def values(source: dict[str, Any]) -> list[Any]:
    """The values of a map."""
    return [*source.values()]


@function("pick", "map, ...string", "map")
def pick(source: dict[str, Any], *names: str) -> dict[str, Any]:
    """A new map with these keys only."""
    return {name: source[name] for name in names if name in source}


@function("omit", "map, ...string", "map")
def omit(source: dict[str, Any], *names: str) -> dict[str, Any]:
    """A new map without these keys."""
    return {key: value for key, value in source.items() if key not in names}


@function("merge mustMerge", "map, ...map")
def merge(target: dict[str, Any], *sources: dict[str, Any]) -> dict[str, Any]:
    """Takes over from other maps what a map lacks or has empty, and gives that map."""
    target = {} if isinstance(target, NilMap) and not all(isinstance(source, NilMap) for source in sources) else target
    for source in sources:
        _merged(target, source)
    return target


def _merged(target: dict[str, Any], source: dict[str, Any], depth: int = 0) -> None:
    if depth > 1000:
        raise GoError("the maps are nested too deeply")
    for key, value in source.items():
        kept = target.get(key)
        if isinstance(value, dict) and isinstance(kept, dict):
            if kept is not value:
                _merged(kept, value, depth + 1)
        elif not kept and value is not None:
            target[key] = value


@function("mergeOverwrite mustMergeOverwrite", "map, ...map")
def mergeOverwrite(target: dict[str, Any], *sources: dict[str, Any]) -> dict[str, Any]:
    """Takes over everything from other maps, and gives the first map."""
    target = {} if isinstance(target, NilMap) and not all(isinstance(source, NilMap) for source in sources) else target
    for source in sources:
        _overwritten(target, source)
    return target


def _overwritten(target: dict[str, Any], source: dict[str, Any], depth: int = 0) -> None:
    if depth > 1000:
        raise GoError("the maps are nested too deeply")
    for key, value in source.items():
        kept = target.get(key)
        if isinstance(value, dict) and isinstance(kept, dict):
            if kept is not value:
                _overwritten(kept, value, depth + 1)
        else:
            target[key] = value


@function("deepCopy mustDeepCopy", "any")
def deepCopy(value: Any) -> Any:
    """A copy of a value with all that is in it."""
    if value is None:
        raise GoError("reflect: call of reflect.Value.Type on zero Value")
    return copy(value)


@function("dig", "...any")
def dig(*path: Any) -> Any:
    """The value under a path of keys in a map, or a default: ``dig "a" "b" "default" map``."""
    if len(path) < 3:
        raise GoError("dig needs at least three arguments")
    *names, fallback, source = path
    _asserted(source, "map[string]interface {}")
    for name in names:
        _asserted(name, "string")
    for at, name in enumerate(names):
        if name not in source:
            return fallback
        source = source[name]
        if at < len(names) - 1:
            _asserted(source, "map[string]interface {}")
    return source


def _asserted(value: Any, wanted: str) -> None:
    """Go's assertion of a type, which takes no other, however alike."""
    kind = "nil" if value is None else type_of(value)
    if kind != wanted:
        raise GoError(f"interface conversion: interface {{}} is {kind}, not {wanted}")


@function("default", "any, ...any")
def default(fallback: Any, *value: Any) -> Any:
    """A value, or the default if it is empty."""
    return value[0] if value and value[0] else fallback


@function("empty", "any", "bool")
def empty(value: Any) -> bool:
    """Whether a value is nil, false, 0, "" or an empty collection."""
    return not value


@function("coalesce", "...any")
def coalesce(*values: Any) -> Any:
    """The first value that is not empty."""
    for value in values:
        if value:
            return value
    return None


@function("all", "...any", "bool")
def all_(*values: Any) -> bool:
    """Whether no value is empty."""
    return all(values)


@function("any", "...any", "bool")
def any_(*values: Any) -> bool:
    """Whether a value is not empty."""
    return any(values)


@function("ternary", "any, any, bool")
def ternary(yes: Any, no: Any, condition: bool) -> Any:
    """The first value if the last is true, else the second."""
    return yes if condition else no


@function("typeOf", "any", "string")
def typeOf(value: Any) -> str:
    """The type of a value as Go calls it: ``string``, ``map[string]interface {}``."""
    return type_of(value)


@function("typeIs", "string, any", "bool")
def typeIs(name: str, value: Any) -> bool:
    """Whether a value has a type."""
    return name == type_of(value)


@function("typeIsLike", "string, any", "bool")
def typeIsLike(name: str, value: Any) -> bool:
    """Whether a value has a type or points to it."""
    return type_of(value) in (name, "*" + name)


@function("kindOf", "any", "string")
def kindOf(value: Any) -> str:
    """The kind of a value: ``string``, ``map``, ``slice``, ``bool``, ``float64``."""
    return kind_of(value)


@function("kindIs", "string, any", "bool")
def kindIs(name: str, value: Any) -> bool:
    """Whether a value has a kind."""
    return name == kind_of(value)


@function("deepEqual", "any, any", "bool")
def deepEqual(one: Any, other: Any) -> bool:
    """Whether two values are equal in type and content."""
    return deep_equal(one, other)

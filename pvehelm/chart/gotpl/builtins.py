"""The functions that Go's text/template itself has, but ``and``, ``or`` and ``call``, which the engine runs."""

from __future__ import annotations

import urllib.parse
from typing import Any

from pvehelm.chart.gotpl.printing import sprint, sprintf, sprintln
from pvehelm.chart.gotpl.signatures import FUNCTIONS, function
from pvehelm.chart.gotpl.values import NILS, GoError, Uint8, from_bytes, kind_of, text, to_bytes, type_of

_BASIC = {bool: "bool", str: "string", int: "int", float: "float", complex: "complex"}
_WHOLE = ({"int", "uint"}, {"int"}, {"uint"})


def _basic(value: Any) -> str:
    """The basic kind that values are compared by: bool, int, uint, float, string; "" for any other."""
    found = _BASIC.get(type(value))
    if found:
        return found
    if isinstance(value, int):
        return "uint" if kind_of(value).startswith("uint") else "int"
    return "string" if isinstance(value, str) else ""


@function("eq", "any, ...any", "bool")
def eq(first: Any, *others: Any) -> bool:
    """Whether the first value equals one of the others; int and float64 are not comparable."""
    kind = type(first)
    if not others:
        raise GoError("missing argument for comparison")
    if kind is str or kind is bool or kind is int:
        return any((first == other) if type(other) is kind else _equal(first, other) for other in others)
    return any(_equal(first, other) for other in others)


def _equal(one: Any, other: Any) -> bool:
    first, second = _basic(one), _basic(other)
    if first != second:
        if {first, second} in _WHOLE:
            return bool(one == other)
        if one is None or other is None:
            return False
        raise GoError(_incompatible(one, other))
    if first:
        return bool(one == other)
    if one is not None and other is not None and kind_of(one) != kind_of(other):
        told = f"{sprintf('%s', one)}: {type_of(one)}, {type_of(other)}: {text(other)}"
        raise GoError(f"non-comparable types {told}")
    if _is_nil(one) or _is_nil(other):
        return _is_nil(one) and _is_nil(other)
    if isinstance(other, (list, dict, bytes)) or callable(other):
        raise GoError(f"non-comparable type {sprintf('%s', other)}: {type_of(other)}")
    return type(one) is type(other) and bool(one == other)


def _is_nil(value: Any) -> bool:
    return value is None or isinstance(value, NILS)


def _incompatible(one: Any, other: Any) -> str:
    return f"incompatible types for comparison: {type_of(one)} and {type_of(other)}"


@function("ne", "any, any", "bool")
def ne(one: Any, other: Any) -> bool:
    """Whether two values differ; int and float64 are not comparable."""
    if type(one) is type(other) is str:
        return bool(one != other)
    return not _equal(one, other)


@function("lt", "any, any", "bool")
def lt(one: Any, other: Any) -> bool:
    """Whether the first number or text is smaller."""
    first, second = _basic(one), _basic(other)
    if not first or not second:
        raise GoError("invalid type for comparison")
    if first != second and {first, second} not in _WHOLE:
        raise GoError(_incompatible(one, other))
    if first in ("bool", "complex"):
        raise GoError("invalid type for comparison")
    if first == "string" and not (one.isascii() and other.isascii()):
        return to_bytes(one) < to_bytes(other)
    return bool(one < other)


@function("le", "any, any", "bool")
def le(one: Any, other: Any) -> bool:
    """Whether the first number or text is smaller or equal."""
    return lt(one, other) or _equal(one, other)


@function("gt", "any, any", "bool")
def gt(one: Any, other: Any) -> bool:
    """Whether the first number or text is larger."""
    return not le(one, other)


@function("ge", "any, any", "bool")
def ge(one: Any, other: Any) -> bool:
    """Whether the first number or text is larger or equal."""
    return not lt(one, other)


@function("not", "any", "bool")
def not_(value: Any) -> bool:
    """Whether a value is false, 0, nil or empty."""
    return not value


@function("len", "any", "int")
def length(value: Any) -> int:
    """The length of a text (in bytes), list or map."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(to_bytes(value))
    if isinstance(value, (list, dict, bytes)):
        return len(value)
    if value is None:
        raise GoError("len of nil pointer")
    raise GoError(f"len of type {type_of(value).lstrip('*')}")


def _position(index: Any, size: int) -> int:
    if isinstance(index, bool) or not isinstance(index, int):
        if index is None:
            raise GoError("cannot index slice/array with nil")
        raise GoError(f"cannot index slice/array with type {type_of(index)}")
    if not 0 <= index < size:
        raise GoError(f"index out of range: {int(index)}")
    return int(index)


@function("index", "any, ...any")
def index(item: Any, *indexes: Any) -> Any:
    """The element of a list, map or text at the given places, one after the other."""
    if item is None:
        raise GoError("index of untyped nil")
    for at in indexes:
        if isinstance(item, dict):
            if not isinstance(at, str):
                if at is None:
                    raise GoError("value is nil; should be of type string")
                raise GoError(f"value has type {type_of(at)}; should be string")
            item = item.get(at, getattr(item, "zero", None))
        elif isinstance(item, list):
            item = item[_position(at, len(item))]
        elif isinstance(item, (str, bytes)):
            raw = item if isinstance(item, bytes) else to_bytes(item)
            item = Uint8(raw[_position(at, len(raw))])
        elif item is None:
            raise GoError("index of nil pointer")
        else:
            raise GoError(f"can't index item of type {type_of(item).lstrip('*')}")
    return item


def slice_(item: Any, *indexes: Any) -> Any:
    """The part of a text or list from one place to another, as Go's ``item[1:2]``."""
    if item is None:
        raise GoError("slice of untyped nil")
    if len(indexes) > 3:
        raise GoError(f"too many slice indexes: {len(indexes)}")
    if isinstance(item, str) and len(indexes) == 3:
        raise GoError("cannot 3-index slice a string")
    raw = to_bytes(item) if isinstance(item, str) else item
    if not isinstance(raw, (bytes, list)):
        raise GoError(f"can't slice item of type {type_of(item)}")
    places = [0, len(raw)]
    for number, at in enumerate(indexes):
        place = _position(at, len(raw) + 1)
        if number < 2:
            places[number] = place
    if places[0] > places[1]:
        raise GoError(f"invalid slice index: {places[0]} > {places[1]}")
    part = raw[places[0] : places[1]]
    if isinstance(part, list):
        return type(item)(part)
    return from_bytes(part) if isinstance(item, str) else part


@function("print", "...any", "string")
def print_(*values: Any) -> str:
    """The values as text, with a space between two that are both no texts."""
    return sprint(*values)


@function("println", "...any", "string")
def println(*values: Any) -> str:
    """The values as text, with spaces between them and a newline."""
    return sprintln(*values)


@function("printf", "string, ...any", "string")
def printf(form: str, *values: Any) -> str:
    """Go's Sprintf: ``printf "%s-%d" "a" 1``."""
    return sprintf(form, *values)


_HTML = {0: "\ufffd", 34: "&#34;", 39: "&#39;", 38: "&amp;", 60: "&lt;", 62: "&gt;"}
_JS = {
    92: "\\\\",
    39: "\\'",
    34: '\\"',
    60: "\\u003C",
    62: "\\u003E",
    38: "\\u0026",
    61: "\\u003D",
}


def _joined(values: tuple[Any, ...]) -> str:
    if len(values) == 1 and isinstance(values[0], str):
        return values[0]
    return sprint(*["<no value>" if value is None else value for value in values])


@function("html", "...any", "string")
def html(*values: Any) -> str:
    """The values as text with HTML's special characters escaped."""
    return _joined(values).translate(_HTML)


@function("js", "...any", "string")
def js(*values: Any) -> str:
    """The values as text for a JavaScript string."""
    out = []
    for char in _joined(values):
        code = ord(char)
        if code in _JS:
            out.append(_JS[code])
        elif code < 32:
            out.append(f"\\u{code:04X}")
        elif code < 128 or char.isprintable():
            out.append(char)
        elif 0xDC80 <= code <= 0xDCFF:
            # A byte that is no text stays as it is.
            out.append(char)
        else:
            out.append(f"\\u{code:04X}")
    return "".join(out)


@function("urlquery", "...any", "string")
def urlquery(*values: Any) -> str:
    """The values as text for a URL's query."""
    return urllib.parse.quote_plus(to_bytes(_joined(values)))


#: What text/template has by itself; Sprig has a ``slice`` of its own.
BUILTINS = {
    name: FUNCTIONS[name]
    for name in (
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "not",
        "len",
        "index",
        "print",
        "println",
        "printf",
        "html",
        "js",
        "urlquery",
    )
} | {"slice": slice_}

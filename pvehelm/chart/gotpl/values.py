"""The value as Go sees it: types, kinds, truth, text and equality of what templates of Helm's own syntax compute with.

Values are plain Python so that generated code is fast; what Go has besides is carried by small subclasses::

    nil None                      bool bool                 string str (bytes outside UTF-8 by surrogateescape)
    int int                       int64 Int64               uint8 Uint8          float64 float
    []byte bytes                  []interface {} list       []string Strings
    map[string]interface {} dict  map[string]string StringMap
    structs and pointers          GoObject
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar


class GoError(Exception):
    """A function's error, with Go's message; ``hint`` says what to do about it, where Go does not."""

    def __init__(self, message: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


#: No function makes a text or a list larger than this; a template that needs more is a mistake or an attack.
MAX_TEXT = 32 * 1024 * 1024
MAX_ITEMS = 1_000_000


def bounded(size: int, what: str = "text", limit: int = MAX_TEXT) -> None:
    """Raises GoError when a result of ``size`` is more than any chart needs."""
    if size > limit:
        raise GoError(f"the {what} would be {size} long, more than the {limit} allowed")


class GoInt(int):
    """A whole number of another type than int; ``go_type`` names it, ``go_kind`` what it is made of."""

    __slots__ = ()
    go_type: ClassVar[str] = "int"
    go_kind: ClassVar[str] = "int"
    #: Names of its methods.
    names: ClassVar[tuple[str, ...]] = ()

    def field(self, name: str) -> Any:
        """The method ``name`` as a callable. Raises GoError for any other name."""
        if name in self.names:
            return getattr(self, name)
        raise GoError(f"can't evaluate field {name} in type {self.go_type}")

    def text(self) -> str:
        return int.__repr__(self)


class Int64(GoInt):
    """int64: what Sprig's arithmetic and ``--set`` give."""

    __slots__ = ()
    go_type = go_kind = "int64"


class Uint8(GoInt):
    """An element of []byte."""

    __slots__ = ()
    go_type = go_kind = "uint8"


class Uint64(GoInt):
    __slots__ = ()
    go_type = go_kind = "uint64"


class Rune(GoInt):
    """int32: a character."""

    __slots__ = ()
    go_type = go_kind = "int32"


class Strings(list[Any]):
    """[]string."""

    __slots__ = ()
    go_type: ClassVar[str] = "[]string"


class NilList(list[Any]):
    """A nil []interface {}: empty, but null in JSON."""

    __slots__ = ()
    go_type: ClassVar[str] = "[]interface {}"


class NilStrings(Strings):
    """A nil []string."""

    __slots__ = ()


class Ints(list[Any]):
    """[]int."""

    __slots__ = ()
    go_type: ClassVar[str] = "[]int"


class Lists(list[Any]):
    """[][]interface {}."""

    __slots__ = ()
    go_type: ClassVar[str] = "[][]interface {}"


class StringMap(dict[str, Any]):
    """map[string]string; ``zero`` is what a key has that is not there."""

    __slots__ = ()
    go_type: ClassVar[str] = "map[string]string"
    zero: ClassVar[Any] = ""


class NilMap(dict[str, Any]):
    """A nil map[string]interface {}: empty, but null in JSON; nothing can be set in it."""

    __slots__ = ()
    go_type: ClassVar[str] = "map[string]interface {}"


class NilStringMap(StringMap):
    """A nil map[string]string."""

    __slots__ = ()


#: What is a list or a map for templates, and nil in comparisons and in JSON.
NILS = (NilList, NilStrings, NilMap, NilStringMap)


class GoObject:
    """A Go struct or pointer with fields and methods. It is always true."""

    __slots__ = ()
    go_type: ClassVar[str] = "struct {}"
    go_kind: ClassVar[str] = "struct"
    #: Names of its fields and methods, shown when another one is asked for.
    names: ClassVar[tuple[str, ...]] = ()
    #: Whether it prints by its String method.
    stringer: ClassVar[bool] = False

    def field(self, name: str) -> Any:
        """The field ``name``, or the method as a callable. Raises GoError for any other name."""
        if name in self.names:
            return getattr(self, name)
        raise GoError(f"can't evaluate field {name} in type {self.go_type}")

    def parts(self) -> list[tuple[str, Any]]:
        """Its fields, those for itself among them, in the order in which Go prints them."""
        found = [(name, getattr(self, name)) for name in self.names]
        return [(name, value) for name, value in found if not callable(value)]

    def text(self) -> str:
        """What ``%v`` prints: its String method, or its fields."""
        shown = " ".join(text(value) for _, value in self.parts())
        return f"&{{{shown}}}" if self.go_kind == "ptr" else f"{{{shown}}}"

    def shown(self) -> str:
        """What an action prints that names it where it is: there, methods of its pointer count as well."""
        return self.text()

    def plain(self) -> Any:
        """What it is in data: a map of its fields, in their order."""
        return dict(self.parts())

    def marshalled(self) -> Any:
        """What it is in JSON and YAML. Raises GoError for what cannot be."""
        return self.plain()


_TYPES: dict[type, str] = {
    type(None): "<nil>",
    bool: "bool",
    str: "string",
    int: "int",
    float: "float64",
    complex: "complex128",
    bytes: "[]uint8",
    list: "[]interface {}",
    dict: "map[string]interface {}",
}
_KINDS: dict[type, str] = {
    type(None): "invalid",
    bool: "bool",
    str: "string",
    int: "int",
    float: "float64",
    complex: "complex128",
    bytes: "slice",
    list: "slice",
    dict: "map",
    Strings: "slice",
    StringMap: "map",
    Int64: "int64",
}


def type_of(value: Any) -> str:
    """Go's ``%T``: ``int64``, ``map[string]interface {}``; ``<nil>`` for nil."""
    found = _TYPES.get(type(value)) or getattr(value, "go_type", None)
    if found:
        return str(found)
    for base in type(value).__mro__:
        if base in _TYPES:
            return _TYPES[base]
    return "func()" if callable(value) else f"*{type(value).__name__}"


def kind_of(value: Any) -> str:
    """reflect's kind: ``int``, ``int64``, ``slice``, ``map``, ``struct``, ``ptr``; ``invalid`` for nil."""
    found = _KINDS.get(type(value)) or getattr(value, "go_kind", None)
    if found:
        return str(found)
    for base in type(value).__mro__:
        if base in _KINDS:
            return _KINDS[base]
    return "func" if callable(value) else "ptr"


def truth(value: Any) -> bool:
    """What ``if`` decides by: nil, false, 0, "" and empty collections are false. Python's own truth is the same."""
    return bool(value)


def float_text(value: float) -> str:
    """``%v`` of a float64: shortest digits, an exponent below 0.0001 and from ``1e+06`` on."""
    if value.is_integer() and -1e6 < value < 1e6:
        return str(int(value)) if value or str(value)[0] != "-" else "-0"
    if value != value:
        return "NaN"
    if value in (_INFINITE, -_INFINITE):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, point = decimal_digits(value)
    if -4 < point <= 6:
        if point <= 0:
            return f"{sign}0.{'0' * -point}{digits}"
        return f"{sign}{digits[:point]}.{digits[point:]}" if len(digits) > point else sign + digits.ljust(point, "0")
    exponent = point - 1
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{sign}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


_INFINITE = float("inf")


def decimal_digits(value: float) -> tuple[str, str, int]:
    """The shortest digits of a finite float as (sign, digits, point): 0.0125 is ("", "125", -1)."""
    shown = repr(value)
    sign = ""
    if shown[0] == "-":
        sign, shown = "-", shown[1:]
    mantissa, _, exponent = shown.partition("e")
    whole, _, part = mantissa.partition(".")
    if part == "0":
        part = ""
    point = len(whole) + int(exponent or 0)
    digits = whole + part
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    stripped = stripped.rstrip("0")
    return (sign, stripped, point) if stripped else (sign, "0", 1)


def text(value: Any) -> str:
    """``%v`` of one value, as ``print`` shows it; nil is ``<nil>``."""
    writer = _TEXT.get(type(value))
    if writer is not None:
        return writer(value)
    if isinstance(value, (GoInt, GoObject)) or hasattr(value, "text"):
        return str(value.text())
    for base in type(value).__mro__:
        if base in _TEXT:
            return _TEXT[base](value)
    return f"0x{id(value):x}"


def _complex_text(value: complex) -> str:
    imaginary = float_text(value.imag)
    return f"({float_text(value.real)}{'' if imaginary[0] in '+-' else '+'}{imaginary}i)"


def _list_text(value: list[Any]) -> str:
    return "[" + " ".join([text(item) for item in value]) + "]"


def _map_text(value: dict[Any, Any]) -> str:
    return "map[" + " ".join([f"{text(key)}:{text(value[key])}" for key in sorted_keys(value)]) + "]"


_DECIMALS = [str(byte) for byte in range(256)]


def _bytes_text(value: bytes) -> str:
    # Charts print their whole context at times, files and all.
    return "[" + " ".join(map(_DECIMALS.__getitem__, value)) + "]"


def sorted_keys(value: dict[Any, Any]) -> list[Any]:
    """The keys in the order that Go prints and ranges over."""
    try:
        return sorted(value)
    except TypeError:
        return sorted(value, key=text)


_TEXT: dict[type, Callable[[Any], str]] = {
    str: str,
    type(None): lambda value: "<nil>",
    bool: lambda value: "true" if value else "false",
    int: int.__repr__,
    Int64: int.__repr__,
    Uint8: int.__repr__,
    float: float_text,
    complex: _complex_text,
    bytes: _bytes_text,
    list: _list_text,
    Strings: _list_text,
    dict: _map_text,
    StringMap: _map_text,
}


def strval(value: Any) -> str:
    """Sprig's text of a value (``toString``, ``quote``, ``join``): as ``text``, but bytes are a string."""
    if type(value) is str:
        return value
    if isinstance(value, bytes):
        return from_bytes(value)
    return text(value)


def to_bytes(value: str) -> bytes:
    """The bytes of a Go string."""
    return value.encode("utf-8", "surrogateescape")


def from_bytes(value: bytes) -> str:
    """The Go string of these bytes."""
    return value.decode("utf-8", "surrogateescape")


def deep_equal(one: Any, other: Any) -> bool:
    """reflect.DeepEqual: equal in type and content; 1 and 1.0, int and int64 differ."""
    kind = type(one)
    if kind is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(deep_equal, one, other))
    if isinstance(one, dict):
        if len(one) != len(other):
            return False
        try:
            return all(deep_equal(item, other[key]) for key, item in one.items())
        except KeyError:
            return False
    return bool(one == other)


def copy(value: Any) -> Any:
    """A deep copy of maps and lists that keeps their types."""
    kind = type(value)
    if kind is dict:
        return {key: copy(item) for key, item in value.items()}
    if kind is list:
        return [copy(item) for item in value]
    if isinstance(value, dict):
        return kind((key, copy(item)) for key, item in value.items())
    if isinstance(value, list):
        return kind(copy(item) for item in value)
    return value

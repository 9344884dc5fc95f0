"""The JSON text: Go's encoding/json, and Helm's functions for it."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any, TypeVar

from pvehelm.chart.gotpl.floats import format_float
from pvehelm.chart.gotpl.jsonscan import complaint
from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.values import (
    NILS,
    GoError,
    GoObject,
    NilList,
    NilMap,
    bounded,
    float_text,
    type_of,
)

Result = TypeVar("Result")

_DEEPEST = 1000
_HTML = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}
_ALWAYS = {0x2028: "\\u2028", 0x2029: "\\u2029"}
_BAD = re.compile("[\ud800-\udfff]")


def dumps(value: Any, *, html: bool = True, indent: str = "") -> str:
    """``value`` as JSON with sorted keys; ``html`` escapes ``<``, ``>`` and ``&``.

    Raises GoError for what JSON cannot hold: NaN, infinity, functions.
    """
    out: list[str] = []
    _write(out, value, {**_ALWAYS, **_HTML} if html else _ALWAYS, indent, "\n" if indent else "", 0)
    result = "".join(out)
    bounded(len(result), "JSON")
    return result


def _string(value: str, escapes: dict[int, str]) -> str:
    shown = encode_basestring(value)
    if shown.isascii():
        return shown.translate(escapes) if len(escapes) > 2 else shown
    return _BAD.sub(r"\\ufffd", shown.translate(escapes))


def number(value: float) -> str:
    """A float64 in JSON: no exponent from 1e-6 to below 1e21."""
    if not math.isfinite(value):
        raise GoError(f"json: unsupported value: {float_text(value)}")
    if value.is_integer() and 0 < abs(value) < 1e15:
        return str(int(value))
    if value.is_integer() and abs(value) < 1e21:
        return format_float(value, "f", -1) if value or str(value)[0] != "-" else "-0"
    if 1e-6 <= abs(value) < 1e21:
        return format_float(value, "f", -1)
    # Small numbers have no zero before a one-digit exponent.
    return re.sub(r"e-0(\d)$", r"e-\1", format_float(value, "e", -1))


def _write(out: list[str], value: Any, escapes: dict[int, str], indent: str, newline: str, depth: int) -> None:
    if isinstance(value, str):
        out.append(_string(value, escapes))
    elif value is None or isinstance(value, NILS):
        out.append("null")
    elif value is True or value is False:
        out.append("true" if value else "false")
    elif isinstance(value, float):
        out.append(number(value))
    elif isinstance(value, int):
        out.append(int.__repr__(value))
    elif isinstance(value, (dict, list)):
        _collection(out, value, escapes, indent, newline, depth)
    elif isinstance(value, bytes):
        out.append(f'"{base64.b64encode(value).decode()}"')
    elif isinstance(value, GoObject):
        plain = value.marshalled()
        if isinstance(plain, dict):
            _collection(out, plain, escapes, indent, newline, depth, struct=True)
        else:
            _write(out, plain, escapes, indent, newline, depth)
    else:
        raise GoError(f"json: unsupported type: {type_of(value)}")


def _collection(
    out: list[str],
    value: dict[str, Any] | list[Any],
    escapes: dict[int, str],
    indent: str,
    newline: str,
    depth: int,
    *,
    struct: bool = False,
) -> None:
    """A map by its sorted keys, a ``struct`` by its fields as they stand, or a list."""
    if depth > _DEEPEST:
        raise GoError("json: unsupported value: encountered a cycle")
    brackets = "{}" if isinstance(value, dict) else "[]"
    if not value:
        out.append(brackets)
        return
    inner = newline + indent
    out.append(brackets[0] + inner)
    separator = "," + inner
    if isinstance(value, dict):
        colon = ": " if indent else ":"
        for at, key in enumerate(value if struct else sorted(value)):
            out.append((separator if at else "") + _string(key, escapes) + colon)
            _write(out, value[key], escapes, indent, inner, depth + 1)
    else:
        for at, item in enumerate(value):
            if at:
                out.append(separator)
            _write(out, item, escapes, indent, inner, depth + 1)
    out.append(newline + brackets[1])


class _TooLarge:
    """A number that no float64 holds; decoding goes on behind it."""

    def __init__(self, shown: str) -> None:
        self.shown = shown


def _real(shown: str) -> Any:
    value = float(shown)
    return _TooLarge(shown) if math.isinf(value) else value


def _refused(word: str) -> Any:
    raise json.JSONDecodeError("Expecting value", word, 0)


_DECODER = json.JSONDecoder(parse_int=_real, parse_float=_real, parse_constant=_refused)
#: Numbers of fewer characters than this are finite.
_LONG_NUMBER = re.compile(r"[eE]\+?[0-9]{3}|[0-9]{300}")


class Overflow(GoError):
    """A number too large for a float64; ``rest`` is the value with nil in its place."""

    def __init__(self, shown: str, rest: Any) -> None:
        super().__init__(f"json: cannot unmarshal number {shown} into Go value of type float64")
        self.rest = rest


def loads(value: str) -> Any:
    """JSON as Go reads it into interface {}: every number a float64. Raises GoError with Go's message."""
    try:
        found = _DECODER.decode(value)
    except json.JSONDecodeError:
        raise GoError(complaint(value)) from None
    except RecursionError:
        raise GoError("exceeded max depth") from None
    if _LONG_NUMBER.search(value):
        large: list[str] = []
        found = _without_large(found, large)
        if large:
            raise Overflow(large[0], found)
    return _mended(found) if "\\" in value or not value.isascii() else found


def _without_large(value: Any, large: list[str]) -> Any:
    if isinstance(value, _TooLarge):
        large.append(value.shown)
        return None
    if isinstance(value, list):
        return [_without_large(item, large) for item in value]
    if isinstance(value, dict):
        return {key: _without_large(item, large) for key, item in value.items()}
    return value


def _mended(value: Any) -> Any:
    """Half surrogate pairs and bytes that are no UTF-8 become U+FFFD."""
    if isinstance(value, str):
        return _BAD.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    return value


def kind(value: Any) -> str:
    """What encoding/json calls a value in its complaints."""
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    return "string" if isinstance(value, str) else "bool" if isinstance(value, bool) else "number"


def decoded(value: str, convert: Callable[[Any], Result]) -> Result:
    """A JSON text as the type that ``convert`` makes of it: another type is told before a number that is too large."""
    try:
        return convert(loads(value))
    except Overflow as error:
        convert(0.0 if error.rest is None else error.rest)
        raise


def mapping(value: Any) -> dict[str, Any]:
    """What is decoded into a map; null is a nil one. Raises GoError for anything else."""
    if isinstance(value, dict):
        return value
    if value is None:
        return NilMap()
    raise GoError(f"json: cannot unmarshal {kind(value)} into Go value of type map[string]interface {{}}")


def sequence(value: Any) -> list[Any]:
    """What is decoded into a list; null is a nil one. Raises GoError for anything else."""
    if isinstance(value, list):
        return value
    if value is None:
        return NilList()
    raise GoError(f"json: cannot unmarshal {kind(value)} into Go value of type []interface {{}}")


@function("toJson", "any", "string")
def toJson(value: Any) -> str:
    """A value as JSON; "" for what has none."""
    try:
        return dumps(value)
    except GoError:
        return ""


@function("mustToJson", "any", "string")
def mustToJson(value: Any) -> str:
    """A value as JSON."""
    return dumps(value)


@function("toPrettyJson", "any", "string")
def toPrettyJson(value: Any) -> str:
    """A value as JSON of several lines; "" for what has none."""
    try:
        return dumps(value, indent="  ")
    except GoError:
        return ""


@function("mustToPrettyJson", "any", "string")
def mustToPrettyJson(value: Any) -> str:
    """A value as JSON of several lines."""
    return dumps(value, indent="  ")


@function("toRawJson mustToRawJson", "any", "string")
def toRawJson(value: Any) -> str:
    """A value as JSON in which ``<``, ``>`` and ``&`` stand as they are."""
    return dumps(value, html=False)


@function("fromJson", "string", "map")
def fromJson(value: str) -> dict[str, Any]:
    """A JSON object as a map; ``Error`` in it says what is wrong."""
    try:
        return decoded(value, mapping)
    except Overflow as error:
        return {**error.rest, "Error": str(error)}
    except GoError as error:
        return {"Error": str(error)}


@function("mustFromJson", "string")
def mustFromJson(value: str) -> Any:
    """A JSON text as a value."""
    return loads(value)


@function("fromJsonArray", "string", "list")
def fromJsonArray(value: str) -> list[Any]:
    """A JSON array as a list; its only item says what is wrong."""
    try:
        return decoded(value, sequence)
    except GoError as error:
        return [str(error)]

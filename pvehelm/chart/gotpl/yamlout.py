"""The YAML text: ``toYaml`` as Helm prints it (JSON, then go-yaml 2) and ``toYamlPretty`` (go-yaml 3).

Both print maps and lists in blocks, quote a text in double quotes when plain it would be read as another type, in
single quotes when plain text is not allowed there, and print texts of several lines as ``|`` blocks. They differ:
go-yaml 2 breaks lines longer than 80 columns and does not indent a list under its key, go-yaml 3 does the opposite.
"""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Callable
from typing import Any

from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.values import (
    NILS,
    GoError,
    GoObject,
    bounded,
    decimal_digits,
    float_text,
    type_of,
)
from pvehelm.chart.gotpl.yamltext import key_text, pretty_text, text_scalar

_DEEPEST = 200


def natural(one: str, other: str, after_digits: bool = False) -> int:
    """go-yaml's order of keys: letters after everything else, digits by their number.

    ``after_digits`` is go-yaml 3's addition: letters come before everything else directly after a digit.
    """
    for at, (a, b) in enumerate(zip(one, other, strict=False)):
        if a == b:
            continue
        if a.isalpha() and b.isalpha():
            return -1 if a < b else 1
        if a.isalpha() or b.isalpha():
            last = after_digits and at > 0 and one[at - 1].isdigit()
            return -1 if (a if last else b).isalpha() else 1
        lead = 0
        if "0" in (a, b):
            before = at - 1
            while before >= 0 and one[before].isdigit():
                if one[before] != "0":
                    lead = 1
                    break
                before -= 1
        (first, end), (second, other_end) = _number(one, at, lead), _number(other, at, lead)
        if first != second:
            return -1 if first < second else 1
        if end != other_end:
            return -1 if end < other_end else 1
        return -1 if a < b else 1
    return len(one) - len(other)


def _number(value: str, at: int, number: int) -> tuple[int, int]:
    while at < len(value) and value[at].isdigit():
        number = number * 10 + ord(value[at]) - 48
        at += 1
    # int64 runs over.
    return (number + (1 << 63)) % (1 << 64) - (1 << 63), at


def _by_number(one: str, other: str) -> int:
    return natural(one, other, True)


@functools.lru_cache(maxsize=2048)
def _sorted(keys: tuple[str, ...], after_digits: bool) -> list[str]:
    joined = "".join(keys)
    if joined.isascii() and joined.isalpha():
        return sorted(keys)
    return sorted(keys, key=functools.cmp_to_key(_by_number if after_digits else natural))


Scalar = Callable[[Any, int, int], str]


def _scalar(value: Any, indent: int, column: int) -> str:
    """A scalar or an empty collection by the rules of toYaml: by way of JSON."""
    kind = type(value)
    if kind is str:
        return text_scalar(value, indent, column)
    if kind is bool:
        return "true" if value else "false"
    if value is None or kind in NILS:
        return "null"
    if kind is float:
        return _float(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, str):
        return text_scalar(str(value), indent, column)
    if isinstance(value, bytes):
        return text_scalar(base64.b64encode(value).decode(), indent, column)
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, list):
        return "[]"
    raise GoError(f"error marshaling into JSON: json: unsupported type: {type_of(value)}")


def _marshalled(value: GoObject, extra: int) -> Any:
    if extra:
        return value.plain()
    try:
        return value.marshalled()
    except GoError as error:
        raise GoError(f"error marshaling into JSON: {error}") from None


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise GoError(f"error marshaling into JSON: json: unsupported value: {float_text(value)}")
    if value.is_integer() and abs(value) < 2e19:
        if abs(value) < 1e15:
            return str(int(value))
        # JSON has the shortest digits that read back, filled up with zeros.
        sign, digits, point = decimal_digits(value)
        whole = int(sign + digits.ljust(point, "0"))
        if -(1 << 63) <= whole < 1 << 64:
            return str(whole)
    return float_text(value)


def _pretty_scalar(value: Any, indent: int, column: int) -> str:
    if isinstance(value, str):
        return pretty_text(value, indent, column)
    if isinstance(value, float):
        return {"+Inf": ".inf", "-Inf": "-.inf", "NaN": ".nan"}.get(float_text(value)) or float_text(value)
    if isinstance(value, (dict, list)):
        return "{}" if isinstance(value, dict) else "[]"
    return _scalar(value, indent, column)


def _map(out: list[str], value: dict[str, Any], indent: int, head: str, scalar: Scalar, extra: int) -> None:
    """A map's lines; ``head`` is what the first line begins with, ``extra`` how much its lists are indented."""
    if indent > 2 * _DEEPEST:
        raise GoError("the value is nested too deeply")
    pad = " " * indent
    for name in _sorted(tuple(value), extra > 0):
        item = value[name]
        shown = key_text(name, extra > 0)
        if isinstance(item, GoObject):
            item = _marshalled(item, extra)
        if not shown:
            out.append(f"{head}? {scalar(name, indent + 2, len(head) + 2)}\n")
            head = pad + ":"
            if isinstance(item, dict) and item:
                _map(out, item, indent + 2, head + " ", scalar, extra)
            elif isinstance(item, list) and item:
                _list(out, item, indent + 2, head + " ", scalar, extra)
            else:
                out.append(f"{head} {scalar(item, indent + 2, indent + 2)}\n")
        elif type(item) is str:
            out.append(f"{head}{shown}: {scalar(item, indent + 2, len(head) + len(shown) + 2)}\n")
        elif isinstance(item, dict) and item:
            out.append(f"{head}{shown}:\n")
            _map(out, item, indent + 2, pad + "  ", scalar, extra)
        elif isinstance(item, list) and item:
            out.append(f"{head}{shown}:\n")
            _list(out, item, indent + extra, " " * (indent + extra), scalar, extra)
        else:
            out.append(f"{head}{shown}: {scalar(item, indent + 2, len(head) + len(shown) + 2)}\n")
        head = pad


def _list(out: list[str], value: list[Any], indent: int, head: str, scalar: Scalar, extra: int) -> None:
    if indent > 2 * _DEEPEST:
        raise GoError("the value is nested too deeply")
    pad = " " * indent
    for item in value:
        if isinstance(item, GoObject):
            item = _marshalled(item, extra)
        if isinstance(item, dict) and item:
            _map(out, item, indent + 2, head + "- ", scalar, extra)
        elif isinstance(item, list) and item:
            _list(out, item, indent + 2, head + "- ", scalar, extra)
        else:
            out.append(f"{head}- {scalar(item, indent + 2, len(head) + 2)}\n")
        head = pad


def dump(value: Any, scalar: Scalar = _scalar, extra: int = 0) -> str:
    """``value`` as YAML without the last newline. Raises GoError for what JSON cannot hold (infinity, functions)."""
    if isinstance(value, GoObject):
        value = _marshalled(value, extra)
    out: list[str] = []
    if isinstance(value, dict) and value:
        _map(out, value, 0, "", scalar, extra)
    elif isinstance(value, list) and value:
        _list(out, value, 0, "", scalar, extra)
    else:
        out.append(scalar(value, 2, 0) + "\n")
    result = "".join(out)
    bounded(len(result), "YAML")
    return result[:-1]


@function("toYaml", "any", "string")
def toYaml(value: Any) -> str:
    """A value as YAML; "" for what has no YAML."""
    try:
        return dump(value)
    except (GoError, RecursionError):
        return ""


@function("mustToYaml", "any", "string")
def mustToYaml(value: Any) -> str:
    """A value as YAML."""
    return dump(value)


@function("toYamlPretty", "any", "string")
def toYamlPretty(value: Any) -> str:
    """A value as YAML with lists indented and no lines broken."""
    try:
        return dump(value, _pretty_scalar, 2)
    except (GoError, RecursionError):
        return ""

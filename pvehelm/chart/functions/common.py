"""The value: how functions see truth, text and whole numbers, and the errors they raise."""

from __future__ import annotations

import json
import math
from typing import Any

#: No function makes a text or list larger than this; a template that needs more is a mistake or an attack.
MAX_TEXT = 32 * 1024 * 1024
MAX_ITEMS = 1_000_000


class FunctionError(ValueError):
    """A function was called with something it cannot take. The text is for the template's author."""


class Failed(Exception):
    """The chart's author said so: ``fail`` and ``required``."""


class Text(str):
    """Text that is YAML already (or text of a template): it is printed as it is, never quoted."""

    __slots__ = ()


class Block(Text):
    """YAML that is indented to the column it is printed at."""

    __slots__ = ()


def empty(value: Any) -> bool:
    """Helm's truth turned round: null, false, 0, "" and empty collections are empty."""
    return not value


def number_text(value: int | float) -> str:
    """A number as YAML and people read it: ``4`` for 4.0, never an exponent without its point."""
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    text = repr(value)
    mantissa, sign, exponent = text.partition("e")
    return text if not sign or "." in mantissa else f"{mantissa}.0e{exponent}"


def text(value: Any) -> str:
    """What ``value`` looks like as text: collections as JSON (which is YAML), booleans and null in lower case."""
    if isinstance(value, str):
        return value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if value is None:
        return "null"
    if isinstance(value, (int, float)):
        try:
            return number_text(value)
        except ValueError:
            raise FunctionError("the number has too many digits to be printed") from None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (dict, list)):
        return flow(value)
    if _is_date(value):
        return str(value.isoformat())
    return flow(value)


def _is_date(value: Any) -> bool:
    # What has none of them need not import them.
    import datetime

    return isinstance(value, datetime.date)


def flow(value: Any) -> str:
    """``value`` on one line, as JSON with blanks after commas and colons: valid YAML wherever a value may stand."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)


def plain(value: Any, depth: int = 0) -> Any:
    """``value`` made of dict, list, str, int, float, bool and None only. Raises FunctionError for anything else."""
    if depth > 200:
        raise FunctionError("the value is nested too deeply")
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return int(value)
        if not math.isfinite(value):
            raise FunctionError("infinity and NaN have no place in a manifest")
        return value
    if isinstance(value, dict):
        return {key if isinstance(key, str) else text(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, (list, tuple)) and _is_date(value):
        return str(value.isoformat())
    try:
        items = iter(value)
    except TypeError:
        if callable(value):
            raise FunctionError("a function cannot be printed; it has to be called with (...)") from None
        raise FunctionError(f"{kind(value)} cannot be printed") from None
    found: list[Any] = []
    for item in items:
        if len(found) >= MAX_ITEMS:
            raise FunctionError(f"a list of more than {MAX_ITEMS} items cannot be printed")
        found.append(plain(item, depth + 1))
    return found


def kind(value: Any) -> str:
    """The value's kind in words, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return f"the number {value}" if abs(value) < 1e18 else "a huge number"
    if isinstance(value, str):
        return f"the text {str(value)[:40]!r}"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, (list, tuple, range)):
        return "a list"
    if callable(value):
        return "a function"
    return f"a {type(value).__name__}"


def string(value: Any, what: str = "a text") -> str:
    """``value`` as a text argument: numbers and booleans are taken by their text, collections and null are not."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (bool, int, float)):
        return text(value)
    raise FunctionError(f"expected {what}, got {kind(value)}")


def integer(value: Any, what: str = "a whole number") -> int:
    """``value`` as a whole-number argument; texts that hold one count."""
    if isinstance(value, bool):
        raise FunctionError(f"expected {what}, got a boolean")
    if isinstance(value, int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    if isinstance(value, str):
        try:
            return int(value, 10)
        except ValueError:
            pass
    raise FunctionError(f"expected {what}, got {kind(value)}")


def mapping(value: Any) -> dict[Any, Any]:
    if isinstance(value, dict):
        return value
    raise FunctionError(f"expected a map, got {kind(value)}")


def sequence(value: Any) -> list[Any]:
    """``value`` as a list argument; iterators of filters such as ``map`` count."""
    if isinstance(value, list):
        return value
    if isinstance(value, (str, bytes, dict)) or value is None:
        raise FunctionError(f"expected a list, got {kind(value)}")
    if isinstance(value, range) and len(value) > MAX_ITEMS:
        raise FunctionError(f"a list of more than {MAX_ITEMS} items is refused")
    try:
        return list(value)
    except TypeError:
        raise FunctionError(f"expected a list, got {kind(value)}") from None


def same(one: Any, other: Any) -> bool:
    """Equal in value and kind: 1 is neither true nor "1"."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def bounded(size: int, what: str = "text") -> None:
    """Raises FunctionError when a result of ``size`` characters is more than any chart needs."""
    if size > MAX_TEXT:
        raise FunctionError(f"the {what} would have {size} characters, more than the {MAX_TEXT} allowed")

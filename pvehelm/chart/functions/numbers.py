"""Number functions, with Sprig's names and argument order: ``add`` and its family count in whole numbers."""

from __future__ import annotations

import decimal
import math
import re
from collections.abc import Callable
from typing import Any

from pvehelm.chart.functions.common import FunctionError, kind, text

_LOW, _HIGH = -(1 << 63), (1 << 63) - 1


def int_(value: Any, fallback: Any = 0) -> int:
    """``value`` as a whole number, cut at the point; 0 (or the fallback) for what is none."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else 0
    if isinstance(value, str):
        body = value.strip().replace("_", "")
        octal = re.fullmatch(r"([+-]?)0([0-7]+)", body)
        try:
            return int(octal[1] + octal[2], 8) if octal else int(body, 0)
        except ValueError:
            pass
    return int(fallback) if isinstance(fallback, (int, float)) else 0


def float64(value: Any, fallback: Any = 0.0) -> float:
    if isinstance(value, (bool, int, float)):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    return float(fallback)


def atoi(value: Any) -> int:
    return int(value) if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,19}", value) else 0


def toDecimal(value: Any) -> int:
    """An octal text (as file modes are written) as a number."""
    number = int(text(value), 8) if re.fullmatch(r"[0-7]{1,22}", text(value)) else 0
    return number if number <= _HIGH else 0


def _word(value: int) -> int:
    if not _LOW <= value <= _HIGH:
        raise FunctionError("the result does not fit into 64 bits")
    return value


def _int(value: Any) -> int:
    if value is None or isinstance(value, (bool, int, float, str)):
        return int_(value)
    raise FunctionError(f"expected a number, got {kind(value)}")


def add(*values: Any) -> int:
    return _word(sum(_int(value) for value in values))


def add1(value: Any) -> int:
    return _word(_int(value) + 1)


def sub(one: Any, other: Any) -> int:
    return _word(_int(one) - _int(other))


def mul(first: Any, *others: Any) -> int:
    result = _int(first)
    for other in others:
        result = _word(result * _int(other))
    return result


def div(one: Any, other: Any) -> int:
    """Divides and cuts toward zero, as Go does."""
    return _divided(_int(one), _int(other))[0]


def mod(one: Any, other: Any) -> int:
    return _divided(_int(one), _int(other))[1]


def _divided(one: int, other: int) -> tuple[int, int]:
    if other == 0:
        raise FunctionError("division by zero")
    whole = abs(one) // abs(other)
    whole = whole if (one < 0) == (other < 0) else -whole
    return whole, one - whole * other


def _decimal(value: Any) -> decimal.Decimal:
    return decimal.Decimal(repr(float64(value)))


def _floated(change: Callable[[decimal.Decimal, decimal.Decimal], decimal.Decimal], values: tuple[Any, ...]) -> float:
    result = _decimal(values[0])
    for value in values[1:]:
        try:
            result = change(result, _decimal(value))
        except (decimal.InvalidOperation, ZeroDivisionError):
            raise FunctionError("division by zero") from None
    return float(result)


def addf(first: Any, *others: Any) -> float:
    return _floated(lambda a, b: a + b, (first, *others))


def add1f(value: Any) -> float:
    return addf(value, 1)


def subf(first: Any, *others: Any) -> float:
    return _floated(lambda a, b: a - b, (first, *others))


def mulf(first: Any, *others: Any) -> float:
    return _floated(lambda a, b: a * b, (first, *others))


def divf(first: Any, *others: Any) -> float:
    return _floated(lambda a, b: a / b, (first, *others))


def max_(first: Any, *others: Any) -> int:
    return max(_int(value) for value in (first, *others))


def min_(first: Any, *others: Any) -> int:
    return min(_int(value) for value in (first, *others))


def maxf(first: Any, *others: Any) -> float:
    return max(float64(value) for value in (first, *others))


def minf(first: Any, *others: Any) -> float:
    return min(float64(value) for value in (first, *others))


def floor(value: Any) -> float:
    return float(math.floor(_finite(value)))


def ceil(value: Any) -> float:
    return float(math.ceil(_finite(value)))


def round_(value: Any, digits: Any = 0, at: Any = 0.5) -> float:
    """Rounds halves away from zero; ``at`` is the fraction from which on it is rounded up, if not one half."""
    places = min(max(_int(digits), -300), 300)
    try:
        number = _decimal(_finite(value))
        number += ((decimal.Decimal("0.5") - _decimal(_finite(at))) * (-1 if number < 0 else 1)).scaleb(-places)
        return float(number.quantize(decimal.Decimal(1).scaleb(-places), rounding=decimal.ROUND_HALF_UP))
    except decimal.InvalidOperation:
        return _finite(value)


def _finite(value: Any) -> float:
    number = float64(value)
    if not math.isfinite(number):
        raise FunctionError("expected a finite number")
    return number


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "int": int_,
    "int64": int_,
    "float64": float64,
    "atoi": atoi,
    "toDecimal": toDecimal,
    "add": add,
    "add1": add1,
    "sub": sub,
    "mul": mul,
    "div": div,
    "mod": mod,
    "addf": addf,
    "add1f": add1f,
    "subf": subf,
    "mulf": mulf,
    "divf": divf,
    "max": max_,
    "biggest": max_,
    "min": min_,
    "maxf": maxf,
    "minf": minf,
    "floor": floor,
    "ceil": ceil,
    "round": round_,
}

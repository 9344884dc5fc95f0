"""Number functions of Sprig: whole numbers wrap at 64 bits as int64, floats are counted in decimals."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.values import MAX_ITEMS, GoError, Int64, Ints, bounded, text

_WHOLE = re.compile(r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO]?(?:_?[0-7])*|[1-9](?:_?[0-9])*)\Z")
_DECIMAL = re.compile(
    r"[+-]?(?:[0-9](?:_?[0-9])*\.?(?:[0-9](?:_?[0-9])*)?|\.[0-9](?:_?[0-9])*)(?:[eE][+-]?[0-9](?:_?[0-9])*)?\Z"
)
_HEX_FLOAT = re.compile(r"[+-]?0[xX](?:_?[0-9a-fA-F])*\.?(?:_?[0-9a-fA-F])*[pP][+-]?[0-9]+\Z")
_LOW, _HIGH = -(1 << 63), (1 << 63) - 1
#: Texts with more digits are no numbers of 64 bits; Python would not read them.
_MOST_DIGITS = 1000


def to_int(value: Any) -> int:
    """spf13/cast: a whole number from numbers, booleans and texts; 0 for anything else."""
    kind = type(value)
    if kind is int:
        return int(value)
    if kind is float:
        # What int64 cannot hold becomes the smallest one, as processors do it.
        return int(value) if -9.3e18 < value < 9.223372036854775807e18 else _LOW
    if isinstance(value, str):
        return _parsed(value)
    if isinstance(value, (bool, int)):
        return int(value)
    return 0


def _parsed(value: str) -> int:
    # "1.0" and "1.00" count as 1.
    body = value
    if "." in body:
        head, _, zeros = body.partition(".")
        if not zeros or zeros.strip("0"):
            return 0
        body = head
    if not _WHOLE.match(body):
        return 0
    digits = body.replace("_", "")
    octal = re.match(r"([+-]?)0([0-7]+)\Z", digits)
    if len(digits) > _MOST_DIGITS:
        return 0
    number = int(octal[1] + octal[2], 8) if octal else int(digits, 0)
    return number if _LOW <= number <= _HIGH else 0


def to_float(value: Any) -> float:
    """spf13/cast: a float64 from numbers, booleans and texts; 0 for anything else."""
    if isinstance(value, (bool, int, float)):
        return float(value)
    if isinstance(value, str):
        return parse_float(value) or 0.0
    return 0.0


def parse_float(value: str) -> float | None:
    """strconv.ParseFloat; None for what is no number."""
    if _DECIMAL.match(value):
        number = float(value)
        return number if math.isfinite(number) else None
    if _HEX_FLOAT.match(value):
        try:
            return float.fromhex(value.replace("_", ""))
        except (ValueError, OverflowError):
            return None
    word = value.lower().lstrip("+-")
    if word in ("inf", "infinity") and len(value) - len(word) <= 1:
        return -math.inf if value[0] == "-" else math.inf
    return math.nan if value.lower() == "nan" else None


def _wrapped(value: int) -> Int64:
    """int64's arithmetic runs over."""
    if not _LOW <= value <= _HIGH:
        value = (value - _LOW) % (1 << 64) + _LOW
    return Int64(value)


@function("int", "any", "int")
def int_(value: Any) -> int:
    """A value as a whole number, cut at the point; 0 for what is none."""
    return to_int(value)


@function("int64", "any", "int64")
def int64(value: Any) -> Int64:
    """A value as a whole number of 64 bits; 0 for what is none."""
    return Int64(to_int(value))


@function("float64", "any", "float64")
def float64(value: Any) -> float:
    """A value as a floating point number; 0 for what is none."""
    return to_float(value)


@function("atoi", "string", "int")
def atoi(value: str) -> int:
    """A text of decimal digits as a number; 0 for what is none."""
    if not re.match(r"[+-]?[0-9]+\Z", value):
        return 0
    return min(max(int(value[:40]), _LOW), _HIGH)


@function("toDecimal", "any", "int64")
def toDecimal(value: Any) -> Int64:
    """Octal digits (as file modes are written) as a number; 0 for what is none."""
    shown = text(value)
    number = int(shown, 8) if re.match(r"[+-]?[0-7]{1,64}\Z", shown) else 0
    return Int64(number if _LOW <= number <= _HIGH else 0)


@function("add", "...any", "int64")
def add(*values: Any) -> Int64:
    """The sum of whole numbers."""
    return _wrapped(sum([to_int(value) for value in values]))


@function("add1", "any", "int64")
def add1(value: Any) -> Int64:
    """A whole number and 1."""
    return _wrapped(to_int(value) + 1)


@function("sub", "any, any", "int64")
def sub(one: Any, other: Any) -> Int64:
    """The difference of two whole numbers."""
    return _wrapped(to_int(one) - to_int(other))


@function("mul", "any, ...any", "int64")
def mul(first: Any, *others: Any) -> Int64:
    """The product of whole numbers."""
    result = Int64(to_int(first))
    for other in others:
        result = _wrapped(result * to_int(other))
    return result


@function("div", "any, any", "int64")
def div(one: Any, other: Any) -> Int64:
    """The quotient of two whole numbers, cut toward zero."""
    return _wrapped(_divided(to_int(one), to_int(other))[0])


@function("mod", "any, any", "int64")
def mod(one: Any, other: Any) -> Int64:
    """The rest of a division, with the sign of the first number."""
    return _wrapped(_divided(to_int(one), to_int(other))[1])


def _divided(one: int, other: int) -> tuple[int, int]:
    if other == 0:
        raise GoError("runtime error: integer divide by zero")
    whole = abs(one) // abs(other)
    whole = whole if (one < 0) == (other < 0) else -whole
    return whole, one - whole * other


_EXACT = Context(prec=2000, Emax=10**9, Emin=-(10**9))


def _decimal(value: Any) -> Decimal:
    number = to_float(value)
    if not math.isfinite(number):
        raise GoError(f"Cannot create a Decimal from {text(number)}")
    return Decimal(repr(number))


def _counted(change: Callable[[Decimal, Decimal], Decimal], first: Any, others: tuple[Any, ...]) -> float:
    result = _decimal(first)
    for other in others:
        result = change(result, _decimal(other))
    return float(result) or 0.0


def _quotient(one: Decimal, other: Decimal) -> Decimal:
    if not other:
        raise GoError("decimal division by 0")
    # 16 places after the point.
    return _EXACT.divide(one, other).quantize(Decimal("1e-16"), rounding=ROUND_HALF_UP, context=_EXACT)


@function("addf", "...any", "float64")
def addf(*values: Any) -> float:
    """The sum of numbers."""
    return _counted(_EXACT.add, 0.0, values)


@function("add1f", "any", "float64")
def add1f(value: Any) -> float:
    """A number and 1."""
    return _counted(_EXACT.add, value, (1,))


@function("subf", "any, ...any", "float64")
def subf(first: Any, *others: Any) -> float:
    """A number less others."""
    return _counted(_EXACT.subtract, first, others)


@function("mulf", "any, ...any", "float64")
def mulf(first: Any, *others: Any) -> float:
    """The product of numbers."""
    return _counted(_EXACT.multiply, first, others)


@function("divf", "any, ...any", "float64")
def divf(first: Any, *others: Any) -> float:
    """A number divided by others."""
    return _counted(_quotient, first, others)


@function("max biggest", "any, ...any", "int64")
def max_(first: Any, *others: Any) -> Int64:
    """The largest whole number."""
    return Int64(max([to_int(value) for value in (first, *others)]))


@function("min", "any, ...any", "int64")
def min_(first: Any, *others: Any) -> Int64:
    """The smallest whole number."""
    return Int64(min([to_int(value) for value in (first, *others)]))


@function("maxf", "any, ...any", "float64")
def maxf(first: Any, *others: Any) -> float:
    """The largest number."""
    return _extreme(max, [to_float(value) for value in (first, *others)])


@function("minf", "any, ...any", "float64")
def minf(first: Any, *others: Any) -> float:
    """The smallest number."""
    return _extreme(min, [to_float(value) for value in (first, *others)])


def _extreme(choose: Callable[[list[float]], float], numbers: list[float]) -> float:
    """The largest or smallest number: NaN wins, and 0 is larger than -0."""
    if any(number != number for number in numbers):
        return math.nan
    found = choose(numbers)
    if not found:
        zeros = [number for number in numbers if not number]
        return math.copysign(0.0, choose([math.copysign(1.0, zero) for zero in zeros]))
    return found


@function("floor", "any", "float64")
def floor(value: Any) -> float:
    """A number rounded down."""
    number = to_float(value)
    return math.copysign(float(math.floor(number)), number) if math.isfinite(number) else number


@function("ceil", "any", "float64")
def ceil(value: Any) -> float:
    """A number rounded up."""
    number = to_float(value)
    return math.copysign(float(math.ceil(number)), number) if math.isfinite(number) else number


@function("round", "any, int, ...float64", "float64")
def round_(value: Any, places: int, *at: float) -> float:
    """A number rounded to places after the point, from 0.5 (or the number given) up."""
    power = math.pow(10, places) if -308 <= places <= 308 else math.inf if places > 0 else 0.0
    digit = power * to_float(value)
    if not math.isfinite(digit):
        return math.nan if math.isnan(digit) or math.isinf(power) else digit
    part = math.modf(digit)[0]
    rounded = math.copysign(float(math.ceil(digit) if part >= (at[0] if at else 0.5) else math.floor(digit)), digit)
    return rounded / power if power else math.nan


@function("until", "int", "[]int")
def until(count: int) -> Ints:
    """The whole numbers from 0 to before ``count``."""
    return untilStep(0, count, -1 if count < 0 else 1)


@function("untilStep", "int, int, int", "[]int")
def untilStep(start: int, stop: int, step: int) -> Ints:
    """The whole numbers from ``start`` to before ``stop``."""
    if (step >= 0) if stop < start else (step <= 0):
        return Ints()
    bounded(abs(stop - start) // abs(step), "list", MAX_ITEMS)
    return Ints(range(start, stop, step))


@function("seq", "...int", "string")
def seq(*bounds: int) -> str:
    """The whole numbers ``END``, ``START END`` or ``START STEP END``, both ends included, with blanks between them."""
    match bounds:
        case [end]:
            start, step = 1, 1 if end >= 1 else -1
        case [start, end]:
            step = 1 if end >= start else -1
        case [start, step, end]:
            if end < start and step > 0:
                return ""
        case _:
            return ""
    return " ".join(map(str, untilStep(start, end + (-1 if end < start else 1), step)))

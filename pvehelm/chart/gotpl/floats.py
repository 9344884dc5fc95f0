"""The float's text: Go's strconv.FormatFloat."""

from __future__ import annotations

import math
import re
import struct

from pvehelm.chart.gotpl.values import decimal_digits


def format_float(value: float, letter: str, precision: int) -> str:
    """strconv.FormatFloat: letter one of ``e E f g G x X b``, precision -1 for the shortest that reads back."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if letter in "xX":
        shown = _hex_float(value, precision)
        return shown.upper() if letter == "X" else shown
    if letter == "b":
        power = math.frexp(value)[1]
        power = max(power - 53, -1074) if value else -1074
        sign = "-" if math.copysign(1, value) < 0 else ""
        return f"{sign}{int(abs(math.ldexp(value, -power)) if value else 0)}p{power:+d}"
    if precision >= 0:
        if letter in "gG":
            return _general(value, letter, precision)
        return _two_digits(format(value, f".{precision}{letter}"))
    sign, digits, point = decimal_digits(value)
    if letter == "f":
        if point <= 0:
            return f"{sign}0.{'0' * -point}{digits}" if value else sign + "0"
        whole, part = digits[:point].ljust(point, "0"), digits[point:]
        return sign + whole + ("." + part if part else "")
    exponent = point - 1
    if letter in "gG" and -4 <= exponent < 6:
        return format_float(value, "f", -1)
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    mark = "E" if letter in "EG" else "e"
    return f"{sign}{mantissa}{mark}{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def short(value: float) -> str:
    """strconv.FormatFloat with 'g', -1 and 32: the fewest digits that make the same float32."""
    try:
        single = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return "+Inf" if value > 0 else "-Inf"
    for digits in range(9):
        shown = float(f"{single:.{digits}e}")
        if struct.pack("f", shown) == struct.pack("f", single):
            return format_float(shown, "g", -1)
    return format_float(single, "g", -1)


def _general(value: float, letter: str, precision: int) -> str:
    """%g with a precision: trailing zeros go, the exponent's threshold is the precision or the digits there are."""
    precision = precision or 1
    shown = format(value, f".{precision - 1}e")
    mantissa, _, exponent_text = shown.partition("e")
    sign = "-" if mantissa[0] == "-" else ""
    digits = mantissa.lstrip("-").replace(".", "").rstrip("0") or "0"
    exponent = int(exponent_text)
    threshold = precision
    if threshold > len(digits) and len(digits) >= exponent + 1:
        threshold = len(digits)
    if -4 <= exponent < threshold:
        point = exponent + 1
        if point <= 0:
            return f"{sign}0.{'0' * -point}{digits}"
        whole, part = digits[:point].ljust(point, "0"), digits[point:]
        return sign + whole + ("." + part if part else "")
    mark = "E" if letter == "G" else "e"
    tail = "." + digits[1:] if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}{mark}{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _two_digits(shown: str) -> str:
    return re.sub(r"([eE][+-])(\d)$", r"\g<1>0\2", shown)


def _hex_float(value: float, precision: int) -> str:
    sign = "-" if math.copysign(1, value) < 0 else ""
    if not value:
        return f"{sign}0x0{'.' + '0' * precision if precision > 0 else ''}p+00"
    fraction, exponent = math.frexp(abs(value))
    bits, exponent = int(fraction * 2**53), exponent - 1  # 1.x with 52 bits after the point
    digits = f"{bits & (2**52 - 1):013x}"
    lead = 1
    if precision < 0:
        digits = digits.rstrip("0")
    elif precision < 13:
        keep = bits >> 4 * (13 - precision)
        rest, half = bits & ((1 << 4 * (13 - precision)) - 1), 1 << (4 * (13 - precision) - 1)
        if rest > half or (rest == half and keep & 1):
            keep += 1
        lead = keep >> 4 * precision
        digits = f"{keep & ((1 << 4 * precision) - 1):0{precision}x}" if precision else ""
        if lead == 2:
            lead, exponent = 1, exponent + 1
    else:
        digits = digits.ljust(precision, "0")
    return f"{sign}0x{lead}{'.' + digits if digits else ''}p{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def with_zeros(number: str, letter: str, precision: int) -> str:
    """``%#g``: a decimal point always, and the trailing zeros that %g leaves out."""
    digits = 0
    if letter in "gGx":
        digits = 6 if precision == -1 else precision
    mark = next((char for char in ("p", "P") if char in number), "") if letter in "xX" else ""
    if not mark and letter not in "xX":
        mark = next((char for char in "eE" if char in number), "")
    body, tail = (number[: number.index(mark)], number[number.index(mark) :]) if mark else (number, "")
    point = "." in body
    seen = False
    # The "x" of a hexadecimal number counts as a digit in Go.
    for char in body[1:]:
        if char == ".":
            continue
        if char != "0":
            seen = True
        if seen:
            digits -= 1
    if not point:
        # A number that is 0 has one digit all the same.
        if body[1:] == "0":
            digits -= 1
        body += "."
    return body + "0" * max(digits, 0) + tail

"""The scalar of YAML as Helm's reader (go-yaml 2) takes it: YAML 1.1 with the octal numbers of 1.2.

``y`` and ``on`` are true, ``1e3``, ``0o17``, ``017``, ``1_000`` are numbers; what looks like a date or a base-60
number stays a text.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import math
import re
from typing import Any

from pvehelm.chart.gotpl.floats import short
from pvehelm.chart.gotpl.values import from_bytes

LONG = "tag:yaml.org,2002:"
_WORDS: dict[str, Any] = {
    **{form: True for word in ("y", "yes", "true", "on") for form in (word, word.upper(), word.title())},
    **{form: False for word in ("n", "no", "false", "off") for form in (word, word.upper(), word.title())},
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **{form: math.inf for word in (".inf", "+.inf") for form in (word, word.upper(), word.title())},
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
#: Longer ones are no numbers of 64 bits; Python would not read them.
_LONGEST = 1000
_INT = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|0[0-7]*|[1-9][0-9]*)\Z")
_OCTAL = re.compile(r"0[0-7]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_DOTTED = re.compile(r"\.[0-9](?:_?[0-9])*(?:[eE][-+]?[0-9]+)?\Z")
_DATE = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:[Tt]([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?(?:Z|[-+]([0-9]{2}):([0-9]{2}))"
    r"| ([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?)?\Z"
)


def is_date(value: str) -> bool:
    """Whether a plain text is taken for a timestamp."""
    found = _DATE.match(value)
    if not found:
        return False
    year, month, day, *clock = [int(part or 0) for part in found.groups()]
    try:
        datetime.date(max(year, 1) if year % 4 or year else 4, month, day)
    except ValueError:
        return False
    hour, minute, second, zone_hour, zone_minute, hour2, minute2, second2 = clock
    return max(hour, hour2) < 24 and max(minute, minute2, second, second2, zone_minute) < 60 and zone_hour <= 24


def resolve(value: str) -> Any:
    """The value of a scalar without quotes and tag: a text, None, bool, int of 64 bits or float."""
    first = value[:1]
    if first in "yYnNtTfFoO~":
        return _WORDS.get(value, value)
    if first not in "0123456789+-.":
        return value
    if value in _WORDS:
        return _WORDS[value]
    if first == ".":
        return float(value) if _DOTTED.match(value) else value
    if is_date(value):
        return value
    body = value.replace("_", "")
    if len(body) < _LONGEST and _INT.match(body):
        sign, digits = (body[0], body[1:]) if body[0] in "+-" else ("", body)
        number = int(digits, 8) if _OCTAL.match(digits) else int(digits, 0)
        if number < 1 << 63 or (sign == "-" and number == 1 << 63) or (not sign and number < 1 << 64):
            return -number if sign == "-" else number
    if _FLOAT.match(body):
        number_ = float(body)
        return number_ if math.isfinite(number_) else value
    return value


def tagged(value: str, tag: str, *, plain: bool) -> Any:
    """The value of a scalar with its tag ("" for none); tags that are not YAML's own say nothing.

    Raises ValueError with go-yaml's words.
    """
    if not tag:
        return resolve(value) if plain else value
    kind = tag.removeprefix(LONG)
    if kind == tag or kind in ("str", "timestamp", "merge"):
        return value
    if kind == "binary":
        try:
            return from_bytes(base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True))
        except binascii.Error:
            raise ValueError("!!binary value contains invalid base64 data") from None
    found = resolve(value)
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
    fits = {
        "int": isinstance(found, int) and not isinstance(found, bool),
        "float": is_number,
        "bool": isinstance(found, bool),
        "null": found is None,
    }.get(kind)
    if fits is None:
        return value
    if not fits:
        raise ValueError(f"cannot decode !!{_tag(found)} `{value}` as a !!{kind}")
    return float(found) if kind == "float" else found


def as_text(value: str | float | bool) -> str:
    """A scalar where a text is wanted: ``0x10`` is ``"16"``, ``on`` is ``"true"``; fractions have 32 bits."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return short(value)


def key_text(value: str | float | bool) -> str:
    """A scalar as the key of a map in JSON."""
    shown = as_text(value)
    return {"+Inf": ".inf", "-Inf": "-.inf", "NaN": ".nan"}.get(shown, shown) if isinstance(value, float) else shown


def _tag(value: Any) -> str:
    if value is None:
        return "null"
    return {bool: "bool", int: "int", float: "float"}.get(type(value), "str")

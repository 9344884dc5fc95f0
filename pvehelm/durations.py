"""Times as people write them: ``90`` (seconds), ``500ms``, ``90s``, ``1h30m``, ``1d``."""

from __future__ import annotations

import re
from typing import Any

from pvehelm.errors import UsageError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def seconds(value: Any) -> float:
    """The seconds of a number, or of a text such as ``1h30m``; a text without a unit is seconds. Raises UsageError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"{value!r} is no time", hint="for example 30s, 5m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)

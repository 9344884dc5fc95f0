"""The duration: Go's time.Duration, as text and from text."""

from __future__ import annotations

import re
from typing import ClassVar

from pvehelm.chart.gotpl.quoting import quote_bytes
from pvehelm.chart.gotpl.values import GoError, GoInt, Int64

SECOND = 1_000_000_000
UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
LOW, HIGH = -(1 << 63), (1 << 63) - 1


class Duration(GoInt):
    """time.Duration, in nanoseconds."""

    __slots__ = ()
    go_type: ClassVar[str] = "time.Duration"
    go_kind: ClassVar[str] = "int64"
    names: ClassVar[tuple[str, ...]] = (
        "Hours",
        "Minutes",
        "Seconds",
        "Milliseconds",
        "Microseconds",
        "Nanoseconds",
        "String",
        "Abs",
        "Round",
        "Truncate",
    )

    def text(self) -> str:
        return show_duration(self)

    String = text

    def Hours(self) -> float:
        return int(self) / UNITS["h"]

    def Minutes(self) -> float:
        return int(self) / UNITS["m"]

    def Seconds(self) -> float:
        return int(self) / SECOND

    def Milliseconds(self) -> Int64:
        return Int64(cut(self, 1_000_000))

    def Microseconds(self) -> Int64:
        return Int64(cut(self, 1_000))

    def Nanoseconds(self) -> Int64:
        return Int64(self)

    def Abs(self) -> Duration:
        return Duration(min(abs(self), HIGH))

    def Round(self, unit: int) -> Duration:
        return Duration(round_duration(self, unit))

    def Truncate(self, unit: int) -> Duration:
        return Duration(cut(self, unit) * unit if unit > 0 else self)


def cut(value: int, unit: int) -> int:
    return int(value) // unit if value >= 0 else -(-int(value) // unit)


def round_duration(value: int, unit: int) -> int:
    """The nearest multiple, halves away from zero."""
    if unit <= 0:
        return int(value)
    size = abs(int(value))
    rest = size % unit
    size = size - rest if rest * 2 < unit else size + unit - rest
    return min(size, HIGH) if value >= 0 else max(-size, LOW)


def show_duration(value: int) -> str:
    """``1h2m3.5s``, ``1.5ms``, ``0s``."""
    size = abs(int(value))
    sign = "-" if value < 0 else ""
    if not size:
        return "0s"
    if size < SECOND:
        unit, length = ("ns", 1) if size < 1_000 else ("µs", 1_000) if size < 1_000_000 else ("ms", 1_000_000)
        return f"{sign}{_fraction(size, length)}{unit}"
    seconds, rest = divmod(size, 60 * SECOND)
    minutes, hours = seconds % 60, seconds // 60
    shown = _fraction(rest, SECOND) + "s"
    if hours:
        return f"{sign}{hours}h{minutes}m{shown}"
    return f"{sign}{minutes}m{shown}" if minutes else sign + shown


def _fraction(size: int, unit: int) -> str:
    whole, part = divmod(size, unit)
    digits = len(str(unit)) - 1
    shown = f"{part:0{digits}d}".rstrip("0") if part else ""
    return f"{whole}.{shown}" if shown else str(whole)


_UNIT = re.compile(r"[^.0-9]*")
#: More than 64 bits hold; Python would not read thousands.
_MOST_DIGITS = 100
_PART = re.compile(r"([0-9]*)(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h)?")


def parse_duration(value: str) -> int:
    """time.ParseDuration in nanoseconds. Raises GoError with its message."""
    body = value[1:] if value[:1] in ("+", "-") else value
    invalid = GoError(f"time: invalid duration {quote_bytes(value)}")
    if body == "0":
        return 0
    if not body:
        raise invalid
    total, at = 0, 0
    while at < len(body):
        found = _PART.match(body, at)
        if found is None or not (found[1] or len(found[2] or "") > 1):
            raise invalid
        if not found[3]:
            unit = _UNIT.match(body, found.end())
            name = unit[0] if unit else ""
            if name:
                raise GoError(f"time: unknown unit {quote_bytes(name)} in duration {quote_bytes(value)}")
            raise GoError(f"time: missing unit in duration {quote_bytes(value)}")
        # "1mx" has the unknown unit "mx".
        rest = _UNIT.match(body, found.start(3))
        if rest and rest[0] != found[3]:
            raise GoError(f"time: unknown unit {quote_bytes(rest[0])} in duration {quote_bytes(value)}")
        length = UNITS[found[3]]
        if len(found[1]) > _MOST_DIGITS:
            raise invalid
        part = (found[2] or ".")[1:][:_MOST_DIGITS]
        total += int(found[1] or 0) * length + (int(part) * length // 10 ** len(part) if part else 0)
        if total > HIGH + 1:
            raise invalid
        at = found.end()
    if value[0] == "-":
        return -total
    if total > HIGH:
        raise invalid
    return total

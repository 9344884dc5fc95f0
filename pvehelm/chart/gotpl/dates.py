"""Dates and durations: Go's time package (layouts, String, parsing) and Sprig's functions for them."""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import Any, ClassVar

from pvehelm.chart.gotpl.printing import quote
from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.values import GoError, GoInt, GoObject, Int64

_NAMES = "January February March April May June July August September October November December"
MONTHS = _NAMES.split(" ")
_NAMES = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday"
DAYS = _NAMES.split(" ")
_SECOND = 1_000_000_000
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}
_LOW, _HIGH = -(1 << 63), (1 << 63) - 1
#: Days from 1 January of year 1 to 1 January 1970, and the same in seconds.
_EPOCH_DAYS = 719162
_ZERO_SECONDS = -_EPOCH_DAYS * 86400


class Month(GoInt):
    """time.Month."""

    __slots__ = ()
    go_type: ClassVar[str] = "time.Month"

    def text(self) -> str:
        return MONTHS[self - 1] if 1 <= self <= 12 else f"%!Month({int(self)})"


class Weekday(GoInt):
    """time.Weekday."""

    __slots__ = ()
    go_type: ClassVar[str] = "time.Weekday"

    def text(self) -> str:
        return DAYS[self]


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

    def field(self, name: str) -> Any:
        if name in self.names:
            return getattr(self, name)
        raise GoError(f"can't evaluate field {name} in type time.Duration")

    def text(self) -> str:
        return show_duration(self)

    String = text

    def Hours(self) -> float:
        return int(self) / _UNITS["h"]

    def Minutes(self) -> float:
        return int(self) / _UNITS["m"]

    def Seconds(self) -> float:
        return int(self) / _SECOND

    def Milliseconds(self) -> Int64:
        return Int64(_cut(self, 1_000_000))

    def Microseconds(self) -> Int64:
        return Int64(_cut(self, 1_000))

    def Nanoseconds(self) -> Int64:
        return Int64(self)

    def Abs(self) -> Duration:
        return Duration(min(abs(self), _HIGH))

    def Round(self, unit: int) -> Duration:
        return Duration(round_duration(self, unit))

    def Truncate(self, unit: int) -> Duration:
        return Duration(_cut(self, unit) * unit if unit > 0 else self)


def _cut(value: int, unit: int) -> int:
    return int(value) // unit if value >= 0 else -(-int(value) // unit)


def round_duration(value: int, unit: int) -> int:
    """The nearest multiple, halves away from zero."""
    if unit <= 0:
        return int(value)
    size = abs(int(value))
    rest = size % unit
    size = size - rest if rest * 2 < unit else size + unit - rest
    return min(size, _HIGH) if value >= 0 else max(-size, _LOW)


def show_duration(value: int) -> str:
    """``1h2m3.5s``, ``1.5ms``, ``0s``."""
    size = abs(int(value))
    sign = "-" if value < 0 else ""
    if not size:
        return "0s"
    if size < _SECOND:
        unit, length = ("ns", 1) if size < 1_000 else ("µs", 1_000) if size < 1_000_000 else ("ms", 1_000_000)
        return f"{sign}{_fraction(size, length)}{unit}"
    seconds, rest = divmod(size, 60 * _SECOND)
    minutes, hours = seconds % 60, seconds // 60
    shown = _fraction(rest, _SECOND) + "s"
    if hours:
        return f"{sign}{hours}h{minutes}m{shown}"
    return f"{sign}{minutes}m{shown}" if minutes else sign + shown


def _fraction(size: int, unit: int) -> str:
    whole, part = divmod(size, unit)
    digits = len(str(unit)) - 1
    shown = f"{part:0{digits}d}".rstrip("0") if part else ""
    return f"{whole}.{shown}" if shown else str(whole)


_PART = re.compile(r"([0-9]*)(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h)?")


def parse_duration(value: str) -> int:
    """time.ParseDuration in nanoseconds. Raises GoError with its message."""
    body = value[1:] if value[:1] in ("+", "-") else value
    invalid = GoError(f"time: invalid duration {quote(value)}")
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
            unit = re.match(r"[^.0-9]*", body[found.end() :])
            name = unit[0] if unit else ""
            if name:
                raise GoError(f"time: unknown unit {quote(name)} in duration {quote(value)}")
            raise GoError(f"time: missing unit in duration {quote(value)}")
        # "1mx" has the unknown unit "mx".
        rest = re.match(r"[^.0-9]*", body[found.end() - len(found[3]) :])
        if rest and rest[0] != found[3]:
            raise GoError(f"time: unknown unit {quote(rest[0])} in duration {quote(value)}")
        length = _UNITS[found[3]]
        part = (found[2] or ".")[1:]
        total += int(found[1] or 0) * length + (int(part) * length // 10 ** len(part) if part else 0)
        if total > _HIGH + 1:
            raise invalid
        at = found.end()
    if value[0] == "-":
        return -total
    if total > _HIGH:
        raise invalid
    return total


def civil(days: int) -> tuple[int, int, int]:
    """Year, month and day of a number of days since 1970."""
    days += 719468
    era, of_era = divmod(days, 146097)
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year + era * 400 + (month <= 2), month, day


def days_since_epoch(year: int, month: int, day: int) -> int:
    """Days since 1970 of a date; a month beyond 12 and a day beyond the month's end run over."""
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year + day - 1 - 719468


class Zone:
    """A location: UTC, a fixed offset, or a named zone of the system's data."""

    __slots__ = ("fixed", "info", "local", "name")

    def __init__(self, name: str, fixed: int | None = 0, info: dt.tzinfo | None = None, local: bool = False) -> None:
        self.name = name
        self.fixed = fixed
        self.info = info
        self.local = local

    def at(self, seconds: int) -> tuple[int, str]:
        """Offset in seconds and abbreviation at a moment."""
        if not self.local and self.info is None:
            return self.fixed or 0, self.name
        try:
            moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
            shown = moment.astimezone() if self.local else moment.astimezone(self.info)
        except (OverflowError, ValueError, OSError):
            return 0, "UTC"
        return int((shown.utcoffset() or dt.timedelta()).total_seconds()), shown.tzname() or ""


UTC = Zone("UTC")
LOCAL = Zone("Local", local=True)


class Time(GoObject):
    """time.Time: seconds since 1970, nanoseconds, and a zone."""

    __slots__ = ("monotonic", "nanos", "seconds", "zone")
    go_type: ClassVar[str] = "time.Time"
    names: ClassVar[tuple[str, ...]] = (
        "Year",
        "Month",
        "Day",
        "Hour",
        "Minute",
        "Second",
        "Nanosecond",
        "Weekday",
        "YearDay",
        "Unix",
        "UnixMilli",
        "UnixMicro",
        "UnixNano",
        "UTC",
        "Local",
        "Format",
        "AddDate",
        "Add",
        "Sub",
        "Before",
        "After",
        "Equal",
        "Compare",
        "IsZero",
        "String",
        "Round",
        "Truncate",
    )

    def __init__(self, seconds: int, nanos: int = 0, zone: Zone = UTC, monotonic: str = "") -> None:
        self.seconds = seconds
        self.nanos = nanos
        self.zone = zone
        self.monotonic = monotonic

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Time)
            and (self.seconds, self.nanos) == (other.seconds, other.nanos)
            and self.zone is other.zone
        )

    __hash__ = object.__hash__

    def text(self) -> str:
        return self.Format("2006-01-02 15:04:05.999999999 -0700 MST") + self.monotonic

    String = text

    def plain(self) -> str:
        return self.Format("2006-01-02T15:04:05.999999999Z07:00")

    def date(self) -> tuple[int, int, int]:
        return civil((self.seconds + self.zone.at(self.seconds)[0]) // 86400)

    def clock(self) -> tuple[int, int, int]:
        rest = (self.seconds + self.zone.at(self.seconds)[0]) % 86400
        return rest // 3600, rest // 60 % 60, rest % 60

    def Year(self) -> int:
        return self.date()[0]

    def Month(self) -> Month:
        return Month(self.date()[1])

    def Day(self) -> int:
        return self.date()[2]

    def Hour(self) -> int:
        return self.clock()[0]

    def Minute(self) -> int:
        return self.clock()[1]

    def Second(self) -> int:
        return self.clock()[2]

    def Nanosecond(self) -> int:
        return self.nanos

    def Weekday(self) -> Weekday:
        days = (self.seconds + self.zone.at(self.seconds)[0]) // 86400
        return Weekday((days + 4) % 7)

    def YearDay(self) -> int:
        year, month, day = self.date()
        return days_since_epoch(year, month, day) - days_since_epoch(year, 1, 1) + 1

    def Unix(self) -> Int64:
        return Int64(self.seconds)

    def UnixMilli(self) -> Int64:
        return Int64(self.seconds * 1_000 + self.nanos // 1_000_000)

    def UnixMicro(self) -> Int64:
        return Int64(self.seconds * 1_000_000 + self.nanos // 1_000)

    def UnixNano(self) -> Int64:
        return Int64(self.seconds * _SECOND + self.nanos)

    def UTC(self) -> Time:
        return Time(self.seconds, self.nanos, UTC)

    def Local(self) -> Time:
        return Time(self.seconds, self.nanos, LOCAL)

    def moved(self, nanos: int) -> Time:
        seconds, rest = divmod(self.seconds * _SECOND + self.nanos + nanos, _SECOND)
        return Time(seconds, rest, self.zone)

    def Add(self, duration: int) -> Time:
        return self.moved(int(duration))

    def Sub(self, other: Time) -> Duration:
        nanos = (self.seconds - other.seconds) * _SECOND + self.nanos - other.nanos
        return Duration(min(max(nanos, _LOW), _HIGH))

    def AddDate(self, years: int, months: int, days: int) -> Time:
        year, month, day = self.date()
        hour, minute, second = self.clock()
        return built(
            self.zone,
            days_since_epoch(year + years, month + months, 1) + day - 1 + days,
            hour * 3600 + minute * 60 + second,
            self.nanos,
        )

    def Compare(self, other: Time) -> int:
        mine, theirs = (self.seconds, self.nanos), (other.seconds, other.nanos)
        return -1 if mine < theirs else int(mine > theirs)

    def Before(self, other: Time) -> bool:
        return self.Compare(other) < 0

    def After(self, other: Time) -> bool:
        return self.Compare(other) > 0

    def Equal(self, other: Time) -> bool:
        return self.Compare(other) == 0

    def IsZero(self) -> bool:
        return self.seconds == _ZERO_SECONDS and not self.nanos

    def Round(self, unit: int) -> Time:
        since_zero = (self.seconds - _ZERO_SECONDS) * _SECOND + self.nanos
        return self.moved(round_duration(since_zero, unit) - since_zero if unit > 0 else 0)

    def Truncate(self, unit: int) -> Time:
        since_zero = (self.seconds - _ZERO_SECONDS) * _SECOND + self.nanos
        return self.moved(-(since_zero % unit) if unit > 0 else 0)

    def Format(self, layout: str) -> str:
        return _LAYOUT.sub(lambda found: self._part(found[0]), layout)

    def _part(self, part: str) -> str:
        year, month, day = self.date()
        hour, minute, second = self.clock()
        match part:
            case "2006":
                return f"{year:04d}" if year >= 0 else f"-{-year:04d}"
            case "06":
                return f"{abs(year) % 100:02d}"
            case "01" | "1":
                return f"{month:02d}" if part == "01" else str(month)
            case "January" | "Jan":
                return MONTHS[month - 1] if part == "January" else MONTHS[month - 1][:3]
            case "02" | "2" | "_2":
                return {"02": f"{day:02d}", "2": str(day), "_2": f"{day:2d}"}[part]
            case "_2006":
                return f"_{year:04d}"
            case "002" | "__2":
                return f"{self.YearDay():03d}" if part == "002" else f"{self.YearDay():3d}"
            case "Monday" | "Mon":
                name = self.Weekday().text()
                return name if part == "Monday" else name[:3]
            case "15":
                return f"{hour:02d}"
            case "03" | "3":
                return f"{hour % 12 or 12:02d}" if part == "03" else str(hour % 12 or 12)
            case "04" | "4":
                return f"{minute:02d}" if part == "04" else str(minute)
            case "05" | "5":
                return f"{second:02d}" if part == "05" else str(second)
            case "PM" | "pm":
                return (("AM", "PM") if part == "PM" else ("am", "pm"))[hour >= 12]
        if part[0] in ".,":
            shown = f"{self.nanos:09d}"[: len(part) - 1].ljust(len(part) - 1, "0")
            if part[1] == "9":
                shown = shown.rstrip("0")
            return part[0] + shown if shown else ""
        offset, name = self.zone.at(self.seconds)
        if part == "MST":
            return name if name else _offset(offset, "-0700")
        return "Z" if part[0] == "Z" and not offset else _offset(offset, part)


def _offset(offset: int, part: str) -> str:
    sign, size = "-" if offset < 0 else "+", abs(offset)
    colon = ":" if ":" in part else ""
    shown = f"{sign}{size // 3600:02d}"
    digits = len(part.replace(":", "")) - 1
    if digits >= 4:
        shown += f"{colon}{size // 60 % 60:02d}"
    return shown + (f"{colon}{size % 60:02d}" if digits >= 6 else "")


_LAYOUT = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|002|01|02|03|04|05|06|15|2006|_2006|__2|_2|[12345]"
    r"|PM|pm|[-Z]07:00:00|[-Z]070000|[-Z]07:00|[-Z]0700|[-Z]07|[.,](?:0+|9+)(?![0-9])"
)


def built(zone: Zone, days: int, seconds: int, nanos: int) -> Time:
    """The moment at which a zone's clock shows this day and second."""
    wall = days * 86400 + seconds
    offset = zone.at(wall)[0]
    if offset:
        # The offset of the moment itself counts, not of the wall clock's reading taken for UTC.
        guess = zone.at(wall - offset)[0]
        offset = guess
    return Time(wall - offset, nanos, zone)


def parse(layout: str, value: str, local: Zone = UTC) -> Time:
    """time.ParseInLocation. Raises GoError with its message."""
    return _Parser(layout, value, local).run()


class _Parser:
    """Reads a date by its layout, part by part."""

    def __init__(self, layout: str, value: str, local: Zone) -> None:
        self.layout, self.value, self.local = layout, value, local
        self.rest = value
        self.part = ""
        self.year, self.month, self.day, self.year_day = 0, -1, -1, -1
        self.hour = self.minute = self.second = self.nanos = 0
        self.afternoon: bool | None = None
        self.offset: int | None = None
        self.zone_name = ""
        self.utc = False

    def fail(self, held: str, note: str = "") -> GoError:
        shown = f"parsing time {quote(self.value)}"
        if note:
            return GoError(shown + note)
        return GoError(f"{shown} as {quote(self.layout)}: cannot parse {quote(held)} as {quote(self.part)}")

    def literal(self, prefix: str) -> None:
        while prefix:
            if prefix[0] == " ":
                if self.rest and self.rest[0] != " ":
                    raise self.fail(self.rest)
                prefix, self.rest = prefix.lstrip(" "), self.rest.lstrip(" ")
                continue
            if not self.rest or self.rest[0] != prefix[0]:
                self.part = prefix
                raise self.fail(self.rest)
            prefix, self.rest = prefix[1:], self.rest[1:]

    def number(self, held: str, least: int, most: int) -> int:
        found = re.match(rf"[0-9]{{{least},{most}}}", self.rest)
        if not found:
            raise self.fail(held)
        self.rest = self.rest[found.end() :]
        return int(found[0])

    def name(self, held: str, names: list[str], size: int | None) -> int:
        for index, name in enumerate(names):
            word = name[:size] if size else name
            if self.rest[: len(word)].lower() == word.lower():
                self.rest = self.rest[len(word) :]
                return index
        raise self.fail(held)

    def run(self) -> Time:
        at = 0
        for found in _LAYOUT.finditer(self.layout):
            self.literal(self.layout[at : found.start()])
            at = found.end()
            self.part = found[0]
            held = self.rest
            out_of_range = self.read(found, held)
            if out_of_range:
                raise self.fail(held, f": {out_of_range} out of range")
        self.literal(self.layout[at:])
        if self.rest:
            raise self.fail("", f": extra text: {quote(self.rest)}")
        return self.result()

    def read(self, found: re.Match[str], held: str) -> str:
        part = found[0]
        match part:
            case "2006":
                self.year = self.number(held, 4, 4)
            case "_2006":
                self.literal("_")
                self.year = self.number(held, 4, 4)
            case "06":
                short = self.number(held, 2, 2)
                self.year = short + (1900 if short >= 69 else 2000)
            case "Jan" | "January":
                self.month = self.name(held, MONTHS, 3 if part == "Jan" else None) + 1
            case "01" | "1":
                self.month = self.number(held, len(part), 2)
                return "" if 1 <= self.month <= 12 else "month"
            case "Mon" | "Monday":
                self.name(held, DAYS, 3 if part == "Mon" else None)
            case "02" | "2" | "_2":
                if part == "_2" and self.rest[:1] == " ":
                    self.rest = self.rest[1:]
                self.day = self.number(held, 2 if part == "02" else 1, 2)
            case "002" | "__2":
                if part == "__2":
                    self.rest = self.rest[min(len(self.rest) - len(self.rest.lstrip(" ")), 2) :]
                self.year_day = self.number(held, 3 if part == "002" else 1, 3)
            case "15":
                self.hour = self.number(held, 1, 2)
                return "" if self.hour < 24 else "hour"
            case "03" | "3":
                self.hour = self.number(held, len(part), 2)
                return "" if self.hour <= 12 else "hour"
            case "04" | "4":
                self.minute = self.number(held, len(part), 2)
                return "" if self.minute < 60 else "minute"
            case "05" | "5":
                return self.seconds(found, held, part)
            case "PM" | "pm":
                word = self.rest[:2]
                if word not in (("AM", "PM") if part == "PM" else ("am", "pm")):
                    raise self.fail(held)
                self.afternoon, self.rest = word.lower() == "pm", self.rest[2:]
            case "MST":
                self.abbreviation(held)
            case _:
                return self.fraction(part, held) if part[0] in ".," else self.zone(part, held)
        return ""

    def seconds(self, found: re.Match[str], held: str, part: str) -> str:
        self.second = self.number(held, len(part), 2)
        if self.second >= 60:
            return "second"
        following = _LAYOUT.match(self.layout, found.end())
        if following and following[0][0] in ".,":
            return ""
        fraction = re.match(r"[.,]([0-9]+)", self.rest)
        if fraction:
            self.nanos = int(fraction[1][:9].ljust(9, "0"))
            self.rest = self.rest[fraction.end() :]
        return ""

    def fraction(self, part: str, held: str) -> str:
        digits = re.match(r"[.,]([0-9]+)", self.rest)
        if part[1] == "9":
            if digits:
                self.nanos = int(digits[1][:9].ljust(9, "0"))
                self.rest = self.rest[digits.end() :]
            return ""
        if not digits or len(digits[1]) < len(part) - 1:
            raise self.fail(held)
        self.nanos = int(digits[1][: len(part) - 1][:9].ljust(9, "0"))
        self.rest = self.rest[len(part) :]
        return ""

    def zone(self, part: str, held: str) -> str:
        if part[0] == "Z" and self.rest[:1] == "Z":
            self.rest, self.utc = self.rest[1:], True
            return ""
        colon = ":" if ":" in part else ""
        size = len(part.replace(":", "")) - 1
        pattern = "([+-])([0-9]{2})" + f"{colon}([0-9]{{2}})" * (size // 2 - 1)
        found = re.match(pattern, self.rest)
        if not found:
            raise self.fail(held)
        hours, minutes, seconds = [int(group) for group in (*found.groups()[1:], 0, 0)][:3]
        if hours > 24 or minutes > 60 or seconds > 60:
            return "time zone offset " + ("hour" if hours > 24 else "minute" if minutes > 60 else "second")
        offset = hours * 3600 + minutes * 60 + seconds
        self.offset = -offset if found[1] == "-" else offset
        self.rest = self.rest[found.end() :]
        return ""

    def abbreviation(self, held: str) -> None:
        if self.rest.startswith("UTC"):
            self.utc, self.rest = True, self.rest[3:]
            return
        found = re.match(r"ChST|MeST|GMT(?:[+-][0-9]{1,2})?|[+-][0-9]{2}(?:[0-9]{2})?|[A-Z]{5}|[A-Z]{3,4}", self.rest)
        if not found or re.match("[A-Z]{6}", self.rest):
            raise self.fail(held)
        self.zone_name, self.rest = found[0], self.rest[found.end() :]

    def result(self) -> Time:
        if self.afternoon is not None:
            self.hour = self.hour % 12 + (12 if self.afternoon else 0)
        leap = self.year % 4 == 0 and (self.year % 100 != 0 or self.year % 400 == 0)
        if self.year_day >= 0:
            if not 1 <= self.year_day <= (366 if leap else 365):
                raise self.fail("", ": day-of-year out of range")
            if self.month < 0:
                _, self.month, self.day = civil(days_since_epoch(self.year, 1, 1) + self.year_day - 1)
        month, day = (1 if self.month < 0 else self.month), (1 if self.day < 0 else self.day)
        last = 29 if month == 2 and leap else (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]
        if not 1 <= day <= last:
            raise self.fail("", ": day out of range")
        days = days_since_epoch(self.year, month, day)
        seconds = self.hour * 3600 + self.minute * 60 + self.second
        if self.utc:
            return built(UTC, days, seconds, self.nanos)
        wall = days * 86400 + seconds
        if self.offset is not None:
            offset, name = self.local.at(wall - self.offset)
            if offset == self.offset and self.zone_name in ("", name):
                return Time(wall - self.offset, self.nanos, self.local)
            return Time(wall - self.offset, self.nanos, Zone(self.zone_name, self.offset))
        if self.zone_name:
            offset, name = self.local.at(wall)
            if name == self.zone_name:
                return Time(wall - offset, self.nanos, self.local)
            hours = int(self.zone_name[3:]) if re.match(r"GMT[+-][0-9]", self.zone_name) else 0
            return Time(wall - hours * 3600, self.nanos, Zone(self.zone_name, hours * 3600))
        return built(self.local, days, seconds, self.nanos)


def zone(name: str) -> Zone:
    """time.LoadLocation; UTC for what is unknown."""
    if name in ("", "UTC"):
        return UTC
    if name == "Local":
        return LOCAL
    import zoneinfo

    try:
        return Zone(name, None, zoneinfo.ZoneInfo(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def _moment(value: Any) -> Time:
    """A date, or seconds since 1970; the present for anything else."""
    if isinstance(value, Time):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Time(int(value), 0, LOCAL)
    return now()


@function("now", "", "time.Time")
def now() -> Time:
    """The present moment."""
    seconds, nanos = divmod(time.time_ns(), _SECOND)
    return Time(seconds, nanos, LOCAL, f" m=+{time.monotonic():.9f}")


@function("date", "string, any", "string")
def date(layout: str, when: Any) -> str:
    """A date in a layout such as ``2006-01-02``, in the local zone."""
    return dateInZone(layout, when, "Local")


@function("dateInZone date_in_zone", "string, any, string", "string")
def dateInZone(layout: str, when: Any, name: str) -> str:
    """A date in a layout, in a zone."""
    moment = _moment(when)
    return Time(moment.seconds, moment.nanos, zone(name)).Format(layout)


@function("htmlDate", "any", "string")
def htmlDate(when: Any) -> str:
    """A date as ``2006-01-02``."""
    return dateInZone("2006-01-02", when, "Local")


@function("htmlDateInZone", "any, string", "string")
def htmlDateInZone(when: Any, name: str) -> str:
    """A date as ``2006-01-02``, in a zone."""
    return dateInZone("2006-01-02", when, name)


@function("toDate", "string, string", "time.Time")
def toDate(layout: str, value: str) -> Time:
    """The date that a text holds in a layout; the year 1 if it holds none."""
    try:
        return parse(layout, value, LOCAL)
    except GoError:
        return Time(_ZERO_SECONDS)


@function("mustToDate", "string, string", "time.Time")
def mustToDate(layout: str, value: str) -> Time:
    """The date that a text holds in a layout."""
    return parse(layout, value, LOCAL)


@function("unixEpoch", "time.Time", "string")
def unixEpoch(when: Time) -> str:
    """The seconds from 1970 to a date."""
    return str(when.seconds)


@function("dateModify date_modify", "string, time.Time", "time.Time")
def dateModify(change: str, when: Time) -> Time:
    """A date later by a duration such as ``1h30m``."""
    try:
        return when.moved(parse_duration(change))
    except GoError:
        return when


@function("mustDateModify must_date_modify", "string, time.Time", "time.Time")
def mustDateModify(change: str, when: Time) -> Time:
    """A date later by a duration such as ``1h30m``."""
    return when.moved(parse_duration(change))


@function("duration", "any", "string")
def duration(seconds: Any) -> str:
    """Seconds as a duration: ``95`` is ``1m35s``."""
    if isinstance(seconds, str):
        count = int(seconds) if re.match(r"[+-]?[0-9]{1,19}\Z", seconds) else 0
        count = min(max(count, _LOW), _HIGH)
    else:
        count = int(seconds) if isinstance(seconds, Int64) else 0
    nanos = (count * _SECOND - _LOW) % (1 << 64) + _LOW
    return show_duration(nanos)


@function("durationRound", "any", "string")
def durationRound(value: Any) -> str:
    """The largest unit of a duration, or of the time since a date: ``2h``, ``3mo``, ``10y``."""
    nanos = 0
    if isinstance(value, str):
        try:
            nanos = parse_duration(value)
        except GoError:
            nanos = 0
    elif isinstance(value, Int64):
        nanos = int(value)
    elif isinstance(value, Time):
        nanos = now().Sub(value)
    size = abs(nanos)
    hour = _UNITS["h"]
    for unit, length in (
        ("y", 24 * 365 * hour),
        ("mo", 24 * 30 * hour),
        ("d", 24 * hour),
        ("h", hour),
        ("m", _UNITS["m"]),
        ("s", _SECOND),
    ):
        if size > length:
            return f"{size // length}{unit}"
    return "0s"


@function("ago", "any", "string")
def ago(when: Any) -> str:
    """The time since a date, to the second."""
    return show_duration(round_duration(now().Sub(_moment(when)), _SECOND))

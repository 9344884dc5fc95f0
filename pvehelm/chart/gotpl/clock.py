"""The moment: Go's time.Time with its zones and layouts."""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import Any, ClassVar

from pvehelm.chart.gotpl.durations import HIGH, LOW, SECOND, Duration
from pvehelm.chart.gotpl.quoting import quote
from pvehelm.chart.gotpl.values import GoError, GoInt, GoObject, Int64, Uint64

_YEAR = "January February March April May June July August September October November December"
MONTHS = _YEAR.split(" ")
_WEEK = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday"
DAYS = _WEEK.split(" ")
#: Days from 1 January of year 1 to 1 January 1970, and the same in seconds.
_EPOCH_DAYS = 719162
ZERO_SECONDS = -_EPOCH_DAYS * 86400


class Month(GoInt):
    """time.Month."""

    __slots__ = ()
    go_type: ClassVar[str] = "time.Month"
    names: ClassVar[tuple[str, ...]] = ("String",)

    def text(self) -> str:
        return MONTHS[self - 1] if 1 <= self <= 12 else f"%!Month({int(self)})"

    String = text


class Weekday(GoInt):
    """time.Weekday."""

    __slots__ = ()
    go_type: ClassVar[str] = "time.Weekday"
    names: ClassVar[tuple[str, ...]] = ("String",)

    def text(self) -> str:
        return DAYS[self]

    String = text


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
        moment = dt.datetime.fromtimestamp(_within(seconds), dt.UTC)
        shown = moment.astimezone() if self.local else moment.astimezone(self.info)
        return int((shown.utcoffset() or dt.timedelta()).total_seconds()), shown.tzname() or ""

    def summer(self, seconds: int) -> bool:
        """Whether it is daylight saving time at a moment."""
        if self.local:
            return time.localtime(_within(seconds)).tm_isdst > 0
        shown = dt.datetime.fromtimestamp(_within(seconds), self.info) if self.info is not None else None
        return bool(shown is not None and shown.dst())

    def code(self) -> str:
        """What it is in a Go program."""
        if self is UTC or self.name == "UTC":
            return "time.UTC"
        return "time.Local" if self.local else f"time.Location({quote(self.name)})"


#: 400 years, after which the calendar is the same again; the years that Python's dates can be moved in.
_CYCLE = 146097 * 86400
_EARLIEST, _LATEST = ZERO_SECONDS + 366 * 86400, ZERO_SECONDS + 24 * _CYCLE


def _within(seconds: int) -> int:
    """A moment that Python's dates reach at which zones stand as at this one."""
    if seconds > _LATEST:
        return seconds - -((_LATEST - seconds) // _CYCLE) * _CYCLE
    return max(seconds, _EARLIEST)


UTC = Zone("UTC")
LOCAL = Zone("Local", local=True)


class Location(GoObject):
    """*time.Location."""

    __slots__ = ("name",)
    go_type: ClassVar[str] = "*time.Location"
    go_kind: ClassVar[str] = "ptr"
    stringer: ClassVar[bool] = True
    names: ClassVar[tuple[str, ...]] = ("String",)

    def __init__(self, name: str) -> None:
        self.name = name

    def text(self) -> str:
        return self.name

    String = text

    def plain(self) -> dict[str, Any]:
        return {}


class Time(GoObject):
    """time.Time: seconds since 1970, nanoseconds, and a zone."""

    __slots__ = ("monotonic", "nanos", "seconds", "zone")
    go_type: ClassVar[str] = "time.Time"
    stringer: ClassVar[bool] = True
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
        "IsDST",
        "Location",
        "GoString",
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

    def marshalled(self) -> str:
        if not 0 <= self.Year() <= 9999:
            what = "Time.MarshalJSON: year outside of range [0,9999]"
            raise GoError(f"json: error calling MarshalJSON for type time.Time: {what}")
        return self.plain()

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
        return Int64(self.seconds * SECOND + self.nanos)

    def UTC(self) -> Time:
        return Time(self.seconds, self.nanos, UTC)

    def Local(self) -> Time:
        return Time(self.seconds, self.nanos, LOCAL)

    def moved(self, nanos: int) -> Time:
        seconds, rest = divmod(self.seconds * SECOND + self.nanos + nanos, SECOND)
        return Time(seconds, rest, self.zone)

    def Add(self, duration: int) -> Time:
        return self.moved(int(duration))

    def Sub(self, other: Time) -> Duration:
        nanos = (self.seconds - other.seconds) * SECOND + self.nanos - other.nanos
        return Duration(min(max(nanos, LOW), HIGH))

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
        return self.seconds == ZERO_SECONDS and not self.nanos

    def IsDST(self) -> bool:
        return self.zone.summer(self.seconds)

    def Location(self) -> Location:
        return Location(self.zone.name)

    def GoString(self) -> str:
        (year, month, day), (hour, minute, second) = self.date(), self.clock()
        shown = f"{year}, time.{MONTHS[month - 1]}, {day}, {hour}, {minute}, {second}, {self.nanos}"
        return f"time.Date({shown}, {self.zone.code()})"

    def parts(self) -> list[tuple[str, Any]]:
        return [("wall", Uint64(self.nanos)), ("ext", Int64(self.seconds - ZERO_SECONDS)), ("loc", Uint64(0))]

    def Round(self, unit: int) -> Time:
        since_zero = (self.seconds - ZERO_SECONDS) * SECOND + self.nanos
        rest = since_zero % unit if unit > 0 else 0
        return self.moved(unit - rest if rest * 2 >= unit > 0 else -rest)

    def Truncate(self, unit: int) -> Time:
        since_zero = (self.seconds - ZERO_SECONDS) * SECOND + self.nanos
        return self.moved(-(since_zero % unit) if unit > 0 else 0)

    def Format(self, layout: str) -> str:
        return LAYOUT.sub(lambda found: self._part(found[0]), layout)

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


LAYOUT = re.compile(
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

"""Date functions with Go's layouts (``2006-01-02 15:04:05``) and durations (``1h30m``)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

from pvehelm.chart.functions.common import FunctionError, integer, kind, string
from pvehelm.chart.pattern import pattern

_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_LAYOUT = pattern(
    r"January|Jan|Monday|Mon|MST|2006|-07:00|-0700|-07|Z07:00|Z0700|002|01|02|03|04|05|06|15"
    r"|[.,]0+(?!\d)|[.,]9+(?!\d)|PM|pm|_2|1|2|3|4|5"
)


def format_date(layout: str, when: dt.datetime) -> str:
    """``when`` in Go's layout."""
    return _LAYOUT.sub(lambda found: _shown(found[0], when), layout)


def _shown(word: str, when: dt.datetime) -> str:
    hour = when.hour % 12 or 12
    simple = {
        "January": _MONTHS[when.month - 1],
        "Jan": _MONTHS[when.month - 1][:3],
        "Monday": _DAYS[when.weekday()],
        "Mon": _DAYS[when.weekday()][:3],
        "MST": when.tzname() or "UTC",
        "2006": f"{when.year:04d}",
        "002": f"{when.timetuple().tm_yday:03d}",
        "01": f"{when.month:02d}",
        "02": f"{when.day:02d}",
        "03": f"{hour:02d}",
        "04": f"{when.minute:02d}",
        "05": f"{when.second:02d}",
        "06": f"{when.year % 100:02d}",
        "15": f"{when.hour:02d}",
        "PM": "PM" if when.hour >= 12 else "AM",
        "pm": "pm" if when.hour >= 12 else "am",
        "_2": f"{when.day:2d}",
        "1": str(when.month),
        "2": str(when.day),
        "3": str(hour),
        "4": str(when.minute),
        "5": str(when.second),
    }
    if word in simple:
        return simple[word]
    if word[0] in ".,":
        digits = f"{when.microsecond * 1000:09d}"[: len(word) - 1].ljust(len(word) - 1, "0")
        if word[1] == "9":
            digits = digits.rstrip("0")
        return word[0] + digits if digits else ""
    offset = int((when.utcoffset() or dt.timedelta()).total_seconds()) // 60
    if word[0] == "Z" and not offset:
        return "Z"
    sign, hours, minutes = "-" if offset < 0 else "+", abs(offset) // 60, abs(offset) % 60
    rest = "" if word == "-07" else f":{minutes:02d}" if ":" in word else f"{minutes:02d}"
    return f"{sign}{hours:02d}{rest}"


_PARSED = {
    "January": r"(?P<monthname>[A-Za-z]+)",
    "Jan": r"(?P<monthname>[A-Za-z]{3})",
    "Monday": r"[A-Za-z]+",
    "Mon": r"[A-Za-z]{3}",
    "MST": r"(?P<zone>[A-Z]{3,4})",
    "2006": r"(?P<year>\d{4})",
    "06": r"(?P<short>\d\d)",
    "002": r"(?P<yearday>\d{3})",
    "01": r"(?P<month>\d\d)",
    "1": r"(?P<month>\d\d?)",
    "02": r"(?P<day>\d\d)",
    "2": r"(?P<day>\d\d?)",
    "_2": r" ?(?P<day>\d\d?)",
    "15": r"(?P<hour>\d\d)",
    "03": r"(?P<hour>\d\d)",
    "3": r"(?P<hour>\d\d?)",
    "04": r"(?P<minute>\d\d)",
    "4": r"(?P<minute>\d\d?)",
    "05": r"(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?",
    "5": r"(?P<second>\d\d?)(?:[.,](?P<fraction>\d+))?",
    "PM": r"(?P<half>AM|PM)",
    "pm": r"(?P<half>am|pm)",
}


def parse_date(layout: str, value: str) -> dt.datetime:
    """``value`` read by Go's layout. Raises FunctionError."""
    pattern, at = "", 0
    for found in _LAYOUT.finditer(layout):
        pattern += re.escape(layout[at : found.start()])
        word = found[0]
        if word[0] not in ".,":
            pattern += _PARSED.get(word) or (r"(?P<offset>Z|[+-]\d\d(?::?\d\d)?)")
        at = found.end()
    pattern += re.escape(layout[at:])
    try:
        match = re.fullmatch(pattern, value)
        if not match:
            raise ValueError
        return _built(match.groupdict())
    except (ValueError, re.error):
        raise FunctionError(f"{value!r} is not a date of the layout {layout!r}") from None


def _built(parts: dict[str, str | None]) -> dt.datetime:
    def number(name: str, fallback: int) -> int:
        return int(parts.get(name) or fallback)

    month = number("month", 1)
    if name := parts.get("monthname"):
        month = next(i for i, known in enumerate(_MONTHS, 1) if known[:3].lower() == name[:3].lower())
    year = number("year", 1)
    if short := parts.get("short"):
        year = int(short) + (1900 if int(short) >= 69 else 2000)
    hour = number("hour", 0)
    if half := parts.get("half"):
        hour = hour % 12 + (12 if half.lower() == "pm" else 0)
    zone: dt.tzinfo = dt.UTC
    if (offset := parts.get("offset")) and offset != "Z":
        minutes = int(offset[1:3]) * 60 + int(offset[3:].lstrip(":") or 0)
        zone = dt.timezone(dt.timedelta(minutes=-minutes if offset[0] == "-" else minutes))
    micro = int((parts.get("fraction") or "0")[:6].ljust(6, "0"))
    when = dt.datetime(
        year, month, number("day", 1), hour, number("minute", 0), number("second", 0), micro, tzinfo=zone
    )
    return when + dt.timedelta(days=number("yearday", 1) - 1)


def moment(value: Any) -> dt.datetime:
    """``value`` as a date: a date, seconds since 1970, or now for null (as Sprig does)."""
    if isinstance(value, dt.datetime):
        return value
    if value is None:
        return now()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return dt.datetime.fromtimestamp(value, dt.UTC)
        except (ValueError, OverflowError, OSError):
            raise FunctionError("the number is out of the range of dates") from None
    raise FunctionError(f"expected a date, got {kind(value)}; toDate reads one from a text")


def now() -> dt.datetime:
    return dt.datetime.now().astimezone()


def date(layout: Any, when: Any) -> str:
    return format_date(string(layout), moment(when))


def dateInZone(layout: Any, when: Any, zone: Any) -> str:
    return format_date(string(layout), moment(when).astimezone(_zone(string(zone))))


def _zone(name: str) -> dt.tzinfo | None:
    if name in ("", "UTC"):
        return dt.UTC
    if name == "Local":
        return None
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return dt.UTC


def htmlDate(when: Any) -> str:
    return date("2006-01-02", when)


def htmlDateInZone(when: Any, zone: Any) -> str:
    return dateInZone("2006-01-02", when, zone)


def toDate(layout: Any, value: Any) -> dt.datetime:
    try:
        return parse_date(string(layout), string(value))
    except FunctionError:
        return dt.datetime(1, 1, 1, tzinfo=dt.UTC)


def mustToDate(layout: Any, value: Any) -> dt.datetime:
    return parse_date(string(layout), string(value))


def unixEpoch(when: Any) -> str:
    return str(int(moment(when).timestamp()))


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def parse_duration(value: str) -> float:
    """Go's duration text in seconds. Raises FunctionError."""
    match = re.fullmatch(r"([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:h|ms|m|s|us|µs|ns))+", value)
    if value in ("0", "+0", "-0"):
        return 0.0
    if not match:
        raise FunctionError(f"{value!r} is no duration; write 90s, 1h30m")
    total = sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"([\d.]+)(h|ms|m|s|us|µs|ns)", value))
    return -total if match[1] == "-" else total


def show_duration(seconds: float) -> str:
    if not seconds:
        return "0s"
    sign, left = "-" if seconds < 0 else "", abs(seconds)
    if left < 1:
        for unit, factor in (("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
            if left >= factor:
                return f"{sign}{left / factor:g}{unit}"
        return "0s"
    hours, rest = divmod(left, 3600)
    minutes, secs = divmod(rest, 60)
    shown = f"{secs:.9f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{sign}{int(hours)}h{int(minutes)}m{shown}"
    return f"{sign}{int(minutes)}m{shown}" if minutes else sign + shown


def mustDateModify(change: Any, when: Any) -> dt.datetime:
    try:
        return moment(when) + dt.timedelta(seconds=parse_duration(string(change)))
    except OverflowError:
        raise FunctionError("the date is out of range") from None


def dateModify(change: Any, when: Any) -> dt.datetime:
    try:
        return mustDateModify(change, when)
    except FunctionError:
        return moment(when)


def duration(seconds: Any) -> str:
    if isinstance(seconds, str) and not re.fullmatch(r"-?\d{1,15}", seconds):
        return "0s"
    return show_duration(integer(seconds))


def durationRound(value: Any) -> str:
    """The largest unit of a duration, or of the time since a date: ``2h``, ``3mo``, ``10y``."""
    if isinstance(value, dt.datetime):
        seconds = (now() - value).total_seconds()
    elif isinstance(value, str):
        try:
            seconds = parse_duration(value)
        except FunctionError:
            seconds = 0.0
    else:
        seconds = integer(value) / 1e9
    size = abs(seconds)
    for unit, length in (("y", 31536000), ("mo", 2592000), ("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if size >= length:
            # Go rounds the length to whole units only by cutting.
            return f"{'-' if seconds < 0 else ''}{int(size // length)}{unit}"
    return "0s"


def ago(when: Any) -> str:
    return show_duration(float(int((now() - moment(when)).total_seconds())))


def attribute(when: dt.datetime, name: str) -> Any:
    """The field or method of Go's time.Time that charts use. Raises AttributeError."""
    simple: dict[str, Any] = {
        "Year": lambda: when.year,
        "Month": lambda: when.month,
        "Day": lambda: when.day,
        "Hour": lambda: when.hour,
        "Minute": lambda: when.minute,
        "Second": lambda: when.second,
        "Weekday": lambda: _DAYS[when.weekday()],
        "YearDay": lambda: when.timetuple().tm_yday,
        "Unix": lambda: int(when.timestamp()),
        "UTC": lambda: when.astimezone(dt.UTC),
        "AddDate": lambda years, months, days: _moved(when, integer(years), integer(months), integer(days)),
        "Format": lambda layout: format_date(string(layout), when),
    }
    if name not in simple:
        raise AttributeError(name)
    return simple[name]


def _moved(when: dt.datetime, years: int, months: int, days: int) -> dt.datetime:
    # As Go does it: the month is counted on, and a day it does not have runs over into the next.
    total = (when.year + years) * 12 + when.month - 1 + months
    try:
        return when.replace(year=total // 12, month=total % 12 + 1, day=1) + dt.timedelta(days=when.day - 1 + days)
    except (ValueError, OverflowError):
        raise FunctionError("the date is out of range") from None


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "now": now,
    "date": date,
    "dateInZone": dateInZone,
    "date_in_zone": dateInZone,
    "htmlDate": htmlDate,
    "htmlDateInZone": htmlDateInZone,
    "toDate": toDate,
    "mustToDate": mustToDate,
    "unixEpoch": unixEpoch,
    "dateModify": dateModify,
    "date_modify": dateModify,
    "mustDateModify": mustDateModify,
    "must_date_modify": mustDateModify,
    "duration": duration,
    "durationRound": durationRound,
    "ago": ago,
}

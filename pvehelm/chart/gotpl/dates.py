"""Date functions of Sprig."""

from __future__ import annotations

import re
import time
from typing import Any

from pvehelm.chart.gotpl.clock import LOCAL, ZERO_SECONDS, Time, zone
from pvehelm.chart.gotpl.durations import HIGH, LOW, SECOND, UNITS, parse_duration, round_duration, show_duration
from pvehelm.chart.gotpl.layouts import parse
from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.values import GoError, Int64


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
    seconds, nanos = divmod(time.time_ns(), SECOND)
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
        return Time(ZERO_SECONDS)


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
        count = min(max(count, LOW), HIGH)
    else:
        count = int(seconds) if isinstance(seconds, Int64) else 0
    nanos = (count * SECOND - LOW) % (1 << 64) + LOW
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
    hour = UNITS["h"]
    for unit, length in (
        ("y", 24 * 365 * hour),
        ("mo", 24 * 30 * hour),
        ("d", 24 * hour),
        ("h", hour),
        ("m", UNITS["m"]),
        ("s", SECOND),
    ):
        if size > length:
            return f"{size // length}{unit}"
    return "0s"


@function("ago", "any", "string")
def ago(when: Any) -> str:
    """The time since a date, to the second."""
    return show_duration(round_duration(now().Sub(_moment(when)), SECOND))

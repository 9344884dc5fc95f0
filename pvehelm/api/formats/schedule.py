"""Calendar events: when a job runs.

EVENT     daily, hourly... or [WEEKDAYS] [DATE] [TIME]
WEEKDAYS  mon..fri,sun
DATE      YEAR-MONTH-DAY or MONTH-DAY, each a list of fields
TIME      HOURS:MINUTES or MINUTES alone, each a list of fields
a field   *, 5, 5..10, */15, 5/10
"""

from __future__ import annotations

import re

from pvehelm.api.formats.units import split_commas

_NAMES = frozenset(
    {
        "minutely",
        "hourly",
        "daily",
        "weekly",
        "monthly",
        "quarterly",
        "semiannually",
        "semi-annually",
        "yearly",
        "annually",
    }
)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONG_DAYS = {"monday": 0, "tuesday": 1, "wednesday": 2, "thursday": 3, "friday": 4, "saturday": 5, "sunday": 6}
_FIELD = re.compile(r"(\*|\d+)(?:/([1-9]\d*))?")
_RANGE = re.compile(r"(\d+)\.\.([1-9]\d*)")
_DATE = re.compile(r"(?:([\d*/.,]+)-)?([\d*/.,]+)-([\d*/.,]+)")
_TIME = re.compile(r"(?:([\d*/.,]+):)?([\d*/.,]+)")


def _day(word: str) -> int | None:
    word = word.lower()
    return _DAYS.index(word) if word in _DAYS else _LONG_DAYS.get(word)


def _weekdays(text: str) -> str | None:
    for part in split_commas(text):
        first, dots, last = part.partition("..")
        start, end = _day(first), _day(last) if dots else _day(first)
        if start is None or end is None:  # a range may run over the end of the week
            return f"'{part}' is no day of the week or range of days (mon..fri)"
    return None


def _fields(text: str, low: int, high: int, noun: str) -> str | None:
    for part in split_commas(text):
        if match := _FIELD.fullmatch(part):
            start, step = match[1], match[2]
            if start != "*" and not low <= int(start) <= high:
                return f"{noun} {start} is not within {low} to {high}"
            if step and int(step) > high:
                return f"a step of {step} is greater than {high}"
        elif match := _RANGE.fullmatch(part):
            if not low <= int(match[1]) <= int(match[2]) <= high:
                return f"'{part}' is no range of {noun}s within {low} to {high}"
        else:
            return f"'{part}' is no {noun} (write *, 5, 5..10 or */15)"
    return None


def _date(match: re.Match[str]) -> str | None:
    year, month, day = match.groups()
    problem = _fields(year, 1970, 9999, "year") if year else None
    return problem or _fields(month, 1, 12, "month") or _fields(day, 1, 31, "day")


def check_calendar_event(text: str) -> str | None:
    """None if ``text`` is a calendar event, else what is wrong."""
    parts = text.split()
    if not parts or text[0].isspace():
        return "a calendar event cannot be empty or begin with a blank"
    if len(parts) == 1 and parts[0].lower() in _NAMES:
        return None
    if re.match("[A-Za-z]", parts[0]) and (problem := _weekdays(parts.pop(0))):
        return problem
    if parts and (match := _DATE.fullmatch(parts[0])):
        parts.pop(0)
        if problem := _date(match):
            return problem
    if parts and (match := _TIME.fullmatch(parts[0])):
        parts.pop(0)
        hours, minutes = match.groups()
        problem = _fields(hours, 0, 23, "hour") if hours else None
        if problem := problem or _fields(minutes, 0, 59, "minute"):
            return problem
    if parts:
        return f"'{parts[0]}' is no part of a calendar event ([WEEKDAYS] [DATE] [HOURS:]MINUTES)"
    return None

"""The layout: a date read as Go reads it, by an example such as ``2006-01-02``."""

from __future__ import annotations

import re

from pvehelm.chart.gotpl.clock import DAYS, LAYOUT, MONTHS, UTC, Time, Zone, built, civil, days_since_epoch
from pvehelm.chart.gotpl.quoting import quote_bytes
from pvehelm.chart.gotpl.values import GoError


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
        shown = f"parsing time {quote_bytes(self.value)}"
        if note:
            return GoError(shown + note)
        return GoError(
            f"{shown} as {quote_bytes(self.layout)}: cannot parse {quote_bytes(held)} as {quote_bytes(self.part)}"
        )

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
        for found in LAYOUT.finditer(self.layout):
            self.literal(self.layout[at : found.start()])
            at = found.end()
            self.part = found[0]
            held = self.rest
            out_of_range = self.read(found, held)
            if out_of_range:
                raise self.fail(held, f": {out_of_range} out of range")
        self.literal(self.layout[at:])
        if self.rest:
            raise self.fail("", f": extra text: {quote_bytes(self.rest)}")
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
        following = LAYOUT.match(self.layout, found.end())
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
            _, month, day = civil(days_since_epoch(self.year, 1, 1) + self.year_day - 1)
            if self.month not in (-1, month):
                raise self.fail("", ": day-of-year does not match month")
            if self.day not in (-1, day):
                raise self.fail("", ": day-of-year does not match day")
            self.month, self.day = month, day
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

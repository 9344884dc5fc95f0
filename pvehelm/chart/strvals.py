"""The language of ``--set`` and its sisters: ``a.b=1,list[0].x=y,names={one,two}``, as Helm reads it.

A line is a list of ``PATH=VALUE`` with commas between. A path has steps (``.``) and indexes (``[2]``); a backslash
takes the special meaning from the next character. Five dialects differ in what a value is:

* ``set``: ``true``, ``false``, ``null``, whole numbers without leading zeros, ``{a,b}`` lists, ``[]``, otherwise text
* ``set-string``: text, or a list of texts
* ``set-file``: the content of the file it names
* ``set-json``: JSON (nothing means null); a line that is one JSON object stands for the whole values
* ``set-literal``: all the rest of the line, with no escapes and no commas
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Literal, NoReturn

from pvehelm.chart.pattern import pattern
from pvehelm.errors import UsageError

Dialect = Literal["set", "set-string", "set-file", "set-json", "set-literal"]

MAX_INDEX = 65536
MAX_DEPTH = 30
MAX_INT = 1 << 63

_INTEGER = pattern(r"[+-]?[0-9]+\Z")
_INDEX = pattern(r"[+-]?[0-9]+\Z")


def parse(
    text: str,
    into: dict[str, Any] | None = None,
    *,
    dialect: Dialect = "set",
    read: Callable[[str], str] | None = None,
) -> dict[str, Any]:
    """The values of one flag's ``text``, written into ``into`` (a new map by default), which is returned.

    Maps and lists on the way are extended, everything else is replaced. ``read`` gives a file's content for
    ``set-file``. Raises UsageError that shows the text and the position; ``into`` may then hold a part of it.
    """
    data: dict[str, Any] = {} if into is None else into
    line = _Line(text, dialect, read)
    if dialect == "set-json" and text.lstrip().startswith("{"):
        whole = line.whole_json()
        _into(data, whole)
        return data
    while not line.done:
        line.entry(data, 0)
    return data


def file_path(text: str) -> str:
    """The file that the text of a ``--set-file`` flag names. Raises UsageError."""
    paths: list[str] = []

    def note(path: str) -> str:
        paths.append(path)
        return ""

    parse(text, dialect="set-file", read=note)
    if len(paths) != 1:
        raise UsageError(f"--set-file {text}: names {len(paths) or 'no'} file{'s' if paths else ''}", hint=_ONE_FILE)
    return paths[0]


_ONE_FILE = "write KEY=PATH, and give the flag again for each file"


class _Line:
    """One text and how far it is read."""

    def __init__(self, text: str, dialect: Dialect, read: Callable[[str], str] | None) -> None:
        self.text = text
        self.dialect = dialect
        self.read = read
        self.at = 0
        self.key_stops = "=[." if dialect == "set-literal" else "=[,."

    @property
    def done(self) -> bool:
        return self.at >= len(self.text)

    def bad(self, what: str, at: int | None = None, hint: str = "") -> NoReturn:
        place = min(self.at if at is None else at, len(self.text))
        raise UsageError(f"--{self.dialect} {self.text}: {what} (at character {place + 1})", hint=hint)

    def until(self, stops: str) -> tuple[str, str]:
        """The text up to one of ``stops`` and which it was ("" at the end)."""
        out: list[str] = []
        escapes = self.dialect != "set-literal"
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char in stops:
                return "".join(out), char
            if char == "\\" and escapes:
                if self.done:
                    break
                char = self.text[self.at]
                self.at += 1
            out.append(char)
        return "".join(out), ""

    def entry(self, data: dict[str, Any], depth: int) -> None:
        """Read one PATH=VALUE, or what is left of it below ``data``."""
        start = self.at
        key, stop = self.until(self.key_stops)
        if stop == "=":
            value = self.value()
            if key:
                data[key] = value
        elif stop == "[":
            index = self.index()
            items = self.below(data.get(key), list, key, start)
            data[key] = self.item(items, index, depth) or items
            if not key:
                del data[key]
        elif stop == ".":
            if depth >= MAX_DEPTH:
                self.bad(f"the path has more than {MAX_DEPTH} steps", start)
            inner = self.below(data.get(key), dict, key, start)
            self.entry(inner, depth + 1)
            if not inner:
                self.bad(f"there is no value for {key!r}", start)
            if key:
                data[key] = inner
        elif stop == "," or key:
            self.bad(
                f"there is no value for {key!r}", start, "write KEY=VALUE; a comma within a value is written '\\,'"
            )

    def item(self, items: list[Any], index: int, depth: int) -> list[Any] | None:
        """Read what follows ``[index]`` and put it into the list; None where nothing follows, as Helm lets it be."""
        start = self.at
        between, stop = self.until("[.=")
        if between:
            self.bad(f"unexpected {between!r} after an index", start)
        old = items[index] if index < len(items) else None
        new: Any
        if stop == "=":
            new = self.value()
        elif stop == "[":
            new = self.item(self.below(old, list, f"[{index}]", start), self.index(), depth)
            if new is None:
                return None
        elif stop == "." and not self.done:
            new = old if isinstance(old, dict) else {}
            self.entry(new, depth)
        else:
            return None
        items.extend([None] * (index + 1 - len(items)))
        items[index] = new
        return items

    def below(self, old: Any, kind: type, name: str, at: int) -> Any:
        """The map or list that a path goes through, a new one where there is none."""
        if old is None:
            return kind()
        if not isinstance(old, kind):
            wanted = "a list" if kind is list else "a map"
            nouns: dict[type, str] = {dict: "a map", list: "a list", str: "a text"}
            self.bad(f"{name!r} is {nouns.get(type(old), repr(old).lower())}, not {wanted}", at)
        return old

    def index(self) -> int:
        start = self.at
        text, stop = self.until("]")
        if not stop or not _INDEX.match(text) or len(text) > 20:
            self.bad(f"{text!r} is no index", start, "write it as NAME[0]")
        index = int(text)
        if index < 0:
            self.bad(f"the index {index} is negative", start)
        if index > MAX_INDEX:
            self.bad(f"the index {index} is greater than {MAX_INDEX}", start)
        return index

    def value(self) -> Any:
        if self.dialect == "set-literal":
            rest, self.at = self.text[self.at :], len(self.text)
            return rest
        if self.dialect == "set-json":
            return self.json()
        if self.done:
            return ""
        if self.text[self.at] != "{":
            return self.convert(self.until(",")[0])
        start = self.at
        self.at += 1
        items = []
        while True:
            text, stop = self.until(",}")
            if not stop:
                self.bad("the list is not closed with '}'", start)
            items.append(self.convert(text))
            if stop == "}":
                break
        if self.text[self.at : self.at + 1] == ",":
            self.at += 1
        return items

    def convert(self, text: str) -> Any:
        if self.dialect == "set-string":
            return text
        if self.dialect == "set-file":
            return self.read(text) if self.read else text
        return typed(text)

    def json(self) -> Any:
        if self.blank():
            return None
        decoder = json.JSONDecoder(parse_float=_number, parse_constant=_no_constant)
        try:
            value, self.at = decoder.raw_decode(self.text, self.at)
        except json.JSONDecodeError as error:
            self.bad(f"not JSON: {error.msg}", error.pos)
        except (ValueError, RecursionError) as error:
            self.bad(f"not JSON: {error}")
        if not self.blank():
            self.bad("unexpected text after the value")
        return value

    def whole_json(self) -> dict[str, Any]:
        start = len(self.text) - len(self.text.lstrip())
        self.at = start
        value = self.json()
        if not self.done:
            self.bad("unexpected text after the value")
        assert isinstance(value, dict)
        return value

    def blank(self) -> bool:
        """Skip blanks and one comma; whether nothing else came before the comma or the end."""
        while not self.done:
            char = self.text[self.at]
            if char != "," and not char.isspace():
                return False
            self.at += 1
            if char == ",":
                return True
        return True


def typed(text: str) -> Any:
    """The value that ``--set`` takes a text for."""
    word = text.lower()
    if word in ("true", "false"):
        return word == "true"
    if word == "null":
        return None
    if word == "[]":
        return []
    if text == "0":
        return 0
    if _INTEGER.match(text) and text[0] != "0" and len(text) <= 20 and -MAX_INT <= int(text) < MAX_INT:
        return int(text)
    return text


def _into(data: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        old = data.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _into(old, value)
        else:
            data[key] = value


def _number(text: str) -> Any:
    """A whole number however it is written: ``1e3`` is 1000, as Helm prints it."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large a number")
    return int(value) if value.is_integer() and abs(value) < 1 << 53 else value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")

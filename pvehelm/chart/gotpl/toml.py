"""TOML: ``toToml`` as BurntSushi's encoder prints it, ``fromToml``."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any, ClassVar

from pvehelm.chart.gotpl.clock import Time, Zone, days_since_epoch
from pvehelm.chart.gotpl.quoting import quote
from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.tomlwords import complaint, last_key
from pvehelm.chart.gotpl.values import GoError, GoObject, Int64, bounded, float_text, type_of

_DEEPEST = 200
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(32), 127)} | {
    8: "\\b",
    9: "\\t",
    10: "\\n",
    12: "\\f",
    13: "\\r",
    34: '\\"',
    92: "\\\\",
}
#: How dates are written that are of no zone, by the names that their reader gives them.
_LOCAL = {
    "datetime-local": "2006-01-02T15:04:05.999999999",
    "date-local": "2006-01-02",
    "time-local": "15:04:05.999999999",
}
_NIL = "toml: cannot encode array with nil element"


class Maps(list[Any]):
    """[]map[string]interface {}: an array of tables."""

    __slots__ = ()
    go_type: ClassVar[str] = "[]map[string]interface {}"


def _key(name: str) -> str:
    return name if _BARE.match(name) else _quoted(name)


def _quoted(value: str) -> str:
    return '"' + value.translate(_ESCAPES) + '"'


def _is_table(value: Any) -> bool:
    """Whether a value is a table or an array of tables, which stand below the plain values."""
    if isinstance(value, dict):
        return True
    if not isinstance(value, list) or not value:
        return False
    if any(item is None for item in value):
        raise GoError(_NIL)
    # Every element is looked at, for a list inside may hold nil as well.
    kinds = [(_is_table(item), isinstance(item, dict)) for item in value]
    return all(is_map for _, is_map in kinds)


class _Encoder:
    def __init__(self) -> None:
        self.out: list[str] = []

    def table(self, path: list[str], value: dict[str, Any]) -> None:
        if len(path) > _DEEPEST:
            raise GoError("toml: the value is nested too deeply")
        known = {name: _plain(item) for name, item in sorted(value.items()) if item is not None}
        tables = {name: item for name, item in known.items() if _is_table(item)}
        pad = "  " * len(path)
        for name, item in known.items():
            if name not in tables:
                self.out.append(f"{pad}{_key(name)} = {_value(item)}\n")
        for name, item in tables.items():
            below = [*path, _key(name)]
            shown = ".".join(below)
            if isinstance(item, dict):
                if not path and self.out:
                    self.out.append("\n")
                self.out.append(f"{pad}[{shown}]\n")
                self.table(below, item)
                continue
            for entry in item:
                if self.out:
                    self.out.append("\n")
                self.out.append(f"{pad}[[{shown}]]\n")
                self.table(below, entry)


def _plain(value: Any) -> Any:
    return value.plain() if isinstance(value, GoObject) and not isinstance(value, Time) else value


def _value(value: Any) -> str:
    """A value on one line."""
    value = _plain(value)
    if isinstance(value, str):
        return _quoted(value)
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, float):
        shown = float_text(value)
        if shown == "NaN":
            return "-nan" if math.copysign(1, value) < 0 else "nan"
        if shown in ("+Inf", "-Inf"):
            return shown.lower().removeprefix("+")
        return shown if "e" in shown or "." in shown else shown + ".0"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, (list, bytes)):
        if any(item is None for item in value):
            raise GoError(_NIL)
        return "[" + ", ".join([_value(item) for item in value]) + "]"
    if isinstance(value, dict):
        known = {name: item for name, item in sorted(value.items()) if item is not None}
        order = sorted(known, key=lambda name: _is_table(known[name]))
        return "{" + ", ".join([f"{_key(name)} = {_value(known[name])}" for name in order]) + "}"
    if isinstance(value, Time):
        layout = _LOCAL.get(value.zone.name)
        return value.Format(layout) if layout else value.plain()
    raise GoError(f"unsupported type for key '': {type_of(value)}")


def dumps(value: Any) -> str:
    """A map as TOML. Raises GoError for anything else, and for nil in a list."""
    value = _plain(value)
    if not isinstance(value, dict):
        if _is_table(value):
            raise GoError("toml: top-level values must be Go maps or structs")
        return _value(value)
    encoder = _Encoder()
    encoder.table([], value)
    result = "".join(encoder.out)
    bounded(len(result), "TOML")
    return result


def loads(value: str) -> dict[str, Any]:
    """A TOML text as a map. Raises GoError."""
    import tomllib

    value = value.replace("\r\n", "\n")
    try:
        found = tomllib.loads(_older(value), parse_float=_float)
    except tomllib.TOMLDecodeError as error:
        raise GoError(complaint(value, str(error))) from None
    except ValueError:
        # Python reads no whole number of thousands of digits.
        raise GoError("toml: a number is out of range for int64") from None
    except _FloatRange as error:
        raise GoError(_out_of_range(value, str(error), "float64")) from None
    except RecursionError:
        raise GoError("toml: the text is nested too deeply") from None
    try:
        return {key: _read(item) for key, item in found.items()}
    except _Range as error:
        raise GoError(_out_of_range(value, str(error), "int64")) from None


class _Range(Exception):
    """A whole number that is none of 64 bits."""


class _FloatRange(Exception):
    """A number that no float64 holds."""


def _float(shown: str) -> float:
    number = float(shown)
    if math.isinf(number) and "inf" not in shown:
        raise _FloatRange(shown)
    return number


#: The texts and comments of TOML, times without seconds, and what inline tables are made of.
_PIECES = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|"(?:[^"\\\n]|\\.)*"|'
    r"'''.*?'{3,5}|'[^'\n]*'|#[^\n]*|(?<![0-9:+-])[0-9]{2}:[0-9]{2}(?![0-9:])|[{}\n]",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(?:x([0-9a-fA-F]{2})|e|.)", re.DOTALL)


def _older(value: str) -> str:
    """A text of TOML 1.1, which Helm reads, in the words of 1.0."""
    out: list[str] = []
    at = depth = 0
    for found in _PIECES.finditer(value):
        out.append(value[at : found.start()])
        at, piece = found.end(), found[0]
        if piece[0].isdigit():
            piece += ":00"
        elif piece[0] == '"':
            piece = _ESCAPED.sub(_older_escape, piece) if "\\" in piece else piece
        elif piece in "{}":
            if piece == "}" and depth:
                # A comma may stand behind the last pair.
                while len(out) > 1 and not out[-1].strip():
                    out.pop()
                out[-1] = out[-1].rstrip().removesuffix(",")
            depth = max(depth + (1 if piece == "{" else -1), 0)
        elif depth and piece[0] in "#\n":
            piece = " "
        out.append(piece)
    return "".join([*out, value[at:]])


def _older_escape(found: re.Match[str]) -> str:
    if found[1]:
        return f"\\u00{found[1]}"
    return "\\u001b" if found[0] == "\\e" else found[0]


def _out_of_range(value: str, shown: str, kind: str) -> str:
    """The complaint about a number, with the line and the key where it stands."""
    lines = value.split("\n")
    at = next((number for number, line in enumerate(lines) if shown in line.replace("_", "")), 0)
    return f"toml: line {at + 1} (last key {quote(last_key(lines, at))}): {shown} is out of range for {kind}"


def _read(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise _Range(str(value))
        return Int64(value)
    if isinstance(value, dict):
        return {key: _read(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [_read(item) for item in value]
        return Maps(items) if items and all(isinstance(item, dict) for item in items) else items
    if isinstance(value, dt.datetime):
        offset = value.utcoffset()
        zone = Zone("datetime-local") if offset is None else _zone(int(offset.total_seconds()))
        return _moment(value.date(), value.time(), zone)
    if isinstance(value, dt.date):
        return _moment(value, dt.time(), Zone("date-local"))
    if isinstance(value, dt.time):
        clock = value.hour * 3600 + value.minute * 60 + value.second
        return Time(days_since_epoch(0, 1, 1) * 86400 + clock, value.microsecond * 1000, Zone("time-local"))
    return value


def _zone(offset: int) -> Zone:
    return Zone("", offset) if offset else Zone("UTC")


def _moment(day: dt.date, clock: dt.time, zone: Zone) -> Time:
    wall = days_since_epoch(day.year, day.month, day.day) * 86400
    wall += clock.hour * 3600 + clock.minute * 60 + clock.second
    return Time(wall - (zone.fixed or 0), clock.microsecond * 1000, zone)


@function("toToml", "any", "string")
def toToml(value: Any) -> str:
    """A map as TOML; the complaint for what has none."""
    if value is None:
        raise GoError("reflect: call of reflect.Value.Type on zero Value")
    try:
        return dumps(value)
    except GoError as error:
        return str(error)


@function("mustToToml", "any", "string")
def mustToToml(value: Any) -> str:
    """A map as TOML."""
    if value is None:
        raise GoError("reflect: call of reflect.Value.Type on zero Value")
    return dumps(value)


@function("fromToml", "string", "map")
def fromToml(value: str) -> dict[str, Any]:
    """A TOML text as a map; ``Error`` in it says what is wrong."""
    try:
        return loads(value)
    except GoError as error:
        return {"Error": str(error)}

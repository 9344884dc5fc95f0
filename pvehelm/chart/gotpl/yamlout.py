"""The YAML text: ``toYaml`` as Helm prints it (JSON, then go-yaml 2) and ``toYamlPretty`` (go-yaml 3).

Both print maps and lists in blocks, quote a text in double quotes when plain it would be read as another type, in
single quotes when plain text is not allowed there, and print texts of several lines as ``|`` blocks. They differ:
go-yaml 2 breaks lines longer than 80 columns and does not indent a list under its key, go-yaml 3 does the opposite.
"""

from __future__ import annotations

import base64
import datetime
import functools
import math
import re
from collections.abc import Callable
from typing import Any

from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.values import (
    GoError,
    GoObject,
    NilList,
    NilStrings,
    bounded,
    decimal_digits,
    float_text,
    text,
    to_bytes,
)

_WIDTH = 80
_LONGEST_KEY = 128
_DEEPEST = 200

# A text goes by one of these styles.
_PLAIN, _SINGLE, _DOUBLE, _LITERAL = range(4)

#: What go-yaml does not hold for printable: controls, U+FEFF, and everything beyond the basic plane.
_RARE = "\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff\U00010000-\U0010ffff"
_SPECIAL = re.compile(f"[\x00-\x09\x0b-\x1f{_RARE}]")
_SPECIAL_BUT_TAB = re.compile(f"[\x00-\x08\x0b-\x1f{_RARE}]")
_BREAKS = "\n\u2028\u2029"
_BREAK = re.compile("[\r\n\u2028\u2029]")
#: Where plain text would be taken for syntax: at its beginning, or ": " and " #" inside.
_INDICATOR = re.compile(
    r"(?:---|\.\.\.|[#,\[\]{}&*!|>'\"%@`]|[?:-](?:[ \t\n\u2028\u2029]|\Z))"
    r"|.*?(?::(?:[ \t\n\u2028\u2029]|\Z)|[ \t\n\u2028\u2029]#)",
    re.DOTALL,
)
_BLANK_BREAK = re.compile(" [\u2028\u2029]|[\u2028\u2029] ")
_WORDS = frozenset(
    ["", "~"]
    + [
        form
        for word in ("y", "yes", "true", "on", "n", "no", "false", "off", "null", ".inf", "+.inf", "-.inf")
        for form in (word, word.upper(), word.title())
    ]
    + [".nan", ".NaN", ".NAN"]
)
_NUMBER = re.compile(
    r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)\Z"
)
_SEPARATED = re.compile("(?<=[0-9])_(?=[0-9])")
_BASE60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z")
_DATE = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:[Tt]([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?(?:Z|[-+]([0-9]{2}):([0-9]{2}))"
    r"| ([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?)?\Z"
)


def is_date(value: str) -> bool:
    """Whether go-yaml takes a plain text for a timestamp."""
    found = _DATE.match(value)
    if not found:
        return False
    year, month, day, *clock = [int(part or 0) for part in found.groups()]
    try:
        datetime.date(max(year, 1) if year % 4 or year else 4, month, day)
    except ValueError:
        return False
    hour, minute, second, zone_hour, zone_minute, hour2, minute2, second2 = clock
    return max(hour, hour2) < 24 and max(minute, minute2, second, second2, zone_minute) < 60 and zone_hour <= 24


def is_plain_text(value: str) -> bool:
    """Whether a plain scalar is read as a text by YAML 1.1 and 1.2 alike."""
    first = value[:1]
    if first in "yYnNtTfFoO~":
        return value not in _WORDS
    if first == ".":
        return value not in _WORDS and not _finite_number(_SEPARATED.sub("", value))
    if first not in "0123456789+-":
        return True
    if value in _WORDS or _finite_number(value.replace("_", "")):
        return False
    return not (":" in value and _BASE60.match(value)) and not is_date(value)


def _finite_number(value: str) -> bool:
    if not _NUMBER.match(value):
        return False
    if value.lstrip("+-")[1:2] in ("x", "X", "b", "B", "o", "O"):
        number = int(value, 0)
        return -(1 << 63) <= number < (1 << 63 if value[0] == "+" else 1 << 64)
    return not ("e" in value or "E" in value) or math.isfinite(float(value))


def _analysed(value: str, special: re.Pattern[str]) -> int:
    """The style of a text that is no key."""
    if "\n" in value:
        if special.search(value) or " \n" in value or value[-1] == " " or " \u2028" in value or " \u2029" in value:
            return _DOUBLE
        return _LITERAL
    if not is_plain_text(value) or not value or special.search(value) or "\t" in value:
        return _DOUBLE
    if "\u2028" in value or "\u2029" in value:
        return _DOUBLE if _BLANK_BREAK.search(value) else _SINGLE
    if value[0] == " " or value[-1] == " " or _INDICATOR.match(value):
        return _SINGLE
    return _PLAIN


@functools.lru_cache(maxsize=8192)
def _style(value: str) -> int:
    return _analysed(value, _SPECIAL)


@functools.lru_cache(maxsize=1024)
def _pretty_style(value: str) -> int:
    return _analysed(value, _SPECIAL_BUT_TAB)


#: What does not survive the way by JSON, which Helm reads as YAML.
_CHANGED = re.compile("[\x7f-\x9f\ufffe\uffff\udc80-\udcff]")
_UNREADABLE = re.compile("[\x7f-\x84\x86-\x9f\ufffe\uffff]")
_NEXT_LINES = re.compile("(?: *\x85)+ *")


def _by_json(value: str) -> str:
    """The text that remains of one with odd characters: NEL is a line break that is folded into a blank."""
    if _UNREADABLE.search(value):
        raise GoError("yaml: control characters are not allowed")
    value = re.sub("[\udc80-\udcff]", "\ufffd", value)
    return _NEXT_LINES.sub(lambda found: "\n" * (found[0].count("\x85") - 1) or " ", value)


_ESCAPES = {
    0: "\\0",
    7: "\\a",
    8: "\\b",
    9: "\\t",
    10: "\\n",
    11: "\\v",
    12: "\\f",
    13: "\\r",
    27: "\\e",
    34: '\\"',
    92: "\\\\",
    0x85: "\\N",
    0xA0: "\\_",
    0x2028: "\\L",
    0x2029: "\\P",
}
_ESCAPED = re.compile(f'[\x00-\x1f"\\\\\u2028\u2029{_RARE}]')


def _escape(found: re.Match[str]) -> str:
    return _escape_code(ord(found[0]))


def _escape_code(code: int) -> str:
    shown = _ESCAPES.get(code)
    if shown:
        return shown
    return f"\\x{code:02X}" if code < 256 else f"\\u{code:04X}" if code < 65536 else f"\\U{code:08X}"


def _double(value: str, indent: int, column: int, width: int) -> str:
    if value[:1] == "\ufeff":
        # go-yaml escapes everything after a byte order mark.
        return '"' + "".join([_escape_code(ord(char)) for char in value]) + '"'
    if column + len(value) <= width and not _ESCAPED.search(value):
        return f'"{value}"'
    pieces = _ESCAPED.sub(_escape, value)
    if column + len(pieces) <= width:
        return f'"{pieces}"'
    # Blanks count where they stand in the value, but the column counts what is printed.
    out, column, blank = ['"'], column + 1, False
    last = len(value) - 1
    pad = "\n" + " " * indent
    for at, char in enumerate(value):
        if char != " ":
            shown = _ESCAPED.sub(_escape, char)
            blank = False
        elif not blank and column > width and 0 < at < last:
            shown = pad + ("\\" if value[at + 1] == " " else "")
            out.append(shown)
            column, blank = len(shown) - 1, True
            continue
        else:
            shown, blank = char, True
        out.append(shown)
        column += len(shown)
    return "".join([*out, '"'])


def _single(value: str, indent: int, column: int, width: int) -> str:
    body = value.replace("'", "''")
    if column + len(body) <= width and "\u2028" not in body and "\u2029" not in body:
        return f"'{body}'"
    return "'" + _folded(value, indent, column + 1, width, quoted=True) + "'"


def _plain(value: str, indent: int, column: int, width: int) -> str:
    return value if column + len(value) <= width else _folded(value, indent, column, width, quoted=False)


def _folded(value: str, indent: int, column: int, width: int, *, quoted: bool) -> str:
    """Single-quoted or plain text, broken at blanks beyond the width."""
    out: list[str] = []
    blank = broken = False
    last = len(value) - 1
    pad = " " * indent
    for at, char in enumerate(value):
        if char == " ":
            fits = at < last and value[at + 1] != " " and (at > 0 or not quoted)
            if fits and not blank and column > width:
                out.append("\n" + pad)
                column = indent
            else:
                out.append(char)
                column += 1
            blank = True
        elif char in _BREAKS:
            out.append(char)
            column, broken = 0, True
        else:
            if broken:
                out.append(pad)
                column = indent
            shown = "''" if quoted and char == "'" else char
            out.append(shown)
            column += len(shown)
            blank = broken = False
    return "".join(out)


def _literal(value: str, indent: int) -> str:
    hint = "2" if value[0] in " " + _BREAKS else ""
    if value[-1] not in _BREAKS:
        chomp = "-"
    elif len(value) == 1 or value[-2] in _BREAKS:
        chomp = "+"
    else:
        chomp = ""
    body = value[:-1] if value[-1] == "\n" else value
    pad = " " * indent
    if "\u2028" in body or "\u2029" in body:
        lines = re.sub("([\u2028\u2029])(?=[^\n\u2028\u2029])", "\\1" + pad, body)
    else:
        lines = body
    shown = "\n".join([pad + line if line and line[0] not in _BREAKS else line for line in lines.split("\n")])
    return f"|{hint}{chomp}\n{shown}"


def _text(value: str, indent: int, column: int) -> str:
    """A text as a value of go-yaml 2; the column is where it begins."""
    style = _style(value) if len(value) < 256 else _analysed(value, _SPECIAL)
    if style == _PLAIN:
        return value if column + len(value) <= _WIDTH else _plain(value, indent, column, _WIDTH)
    if style == _DOUBLE:
        if _CHANGED.search(value):
            return _text(_by_json(value), indent, column)
        return _double(value, indent, column, _WIDTH)
    return _single(value, indent, column, _WIDTH) if style == _SINGLE else _literal(value, indent)


def _pretty_text(value: str, indent: int, column: int) -> str:
    style = _pretty_style(value) if len(value) < 256 else _analysed(value, _SPECIAL_BUT_TAB)
    if style == _PLAIN:
        return value
    if style == _LITERAL:
        return _literal(value, indent)
    return (_double if style == _DOUBLE else _single)(value, indent, 0, 1 << 60)


@functools.lru_cache(maxsize=4096)
def _key(key: str, pretty: bool = False) -> str:
    """A key on one line; "" when it has to be written after "? "."""
    if _CHANGED.search(key):
        if pretty and "\x85" in key:
            return ""
        if not pretty:
            if "\x85" in key:
                raise GoError("yaml: could not find expected ':'")
            return _key(_by_json(key))
    if _BREAK.search(key):
        return ""
    if len(key) * 4 > _LONGEST_KEY and len(to_bytes(key)) > _LONGEST_KEY:
        return ""
    style = _analysed(key, _SPECIAL)
    if style == _PLAIN:
        return key
    return _double(key, 0, 0, 1 << 60) if style == _DOUBLE else _single(key, 0, 0, 1 << 60)


def natural(one: str, other: str, after_digits: bool = False) -> int:
    """go-yaml's order of keys: letters after everything else, digits by their number.

    ``after_digits`` is go-yaml 3's addition: letters come before everything else directly after a digit.
    """
    for at, (a, b) in enumerate(zip(one, other, strict=False)):
        if a == b:
            continue
        if a.isalpha() and b.isalpha():
            return -1 if a < b else 1
        if a.isalpha() or b.isalpha():
            last = after_digits and at > 0 and one[at - 1].isdigit()
            return -1 if (a if last else b).isalpha() else 1
        lead = 0
        if "0" in (a, b):
            before = at - 1
            while before >= 0 and one[before].isdigit():
                if one[before] != "0":
                    lead = 1
                    break
                before -= 1
        (first, end), (second, other_end) = _number(one, at, lead), _number(other, at, lead)
        if first != second:
            return -1 if first < second else 1
        if end != other_end:
            return -1 if end < other_end else 1
        return -1 if a < b else 1
    return len(one) - len(other)


def _number(value: str, at: int, number: int) -> tuple[int, int]:
    while at < len(value) and value[at].isdigit():
        number = number * 10 + ord(value[at]) - 48
        at += 1
    # int64 runs over.
    return (number + (1 << 63)) % (1 << 64) - (1 << 63), at


def _by_number(one: str, other: str) -> int:
    return natural(one, other, True)


@functools.lru_cache(maxsize=2048)
def _sorted(keys: tuple[str, ...], after_digits: bool) -> list[str]:
    joined = "".join(keys)
    if joined.isascii() and joined.isalpha():
        return sorted(keys)
    return sorted(keys, key=functools.cmp_to_key(_by_number if after_digits else natural))


Scalar = Callable[[Any, int, int], str]


def _scalar(value: Any, indent: int, column: int) -> str:
    """A scalar or an empty collection by the rules of toYaml: by way of JSON."""
    kind = type(value)
    if kind is str:
        return _text(value, indent, column)
    if kind is bool:
        return "true" if value else "false"
    if value is None or kind is NilList or kind is NilStrings:
        return "null"
    if kind is float:
        return _float(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, str):
        return _text(str(value), indent, column)
    if isinstance(value, bytes):
        return _text(base64.b64encode(value).decode(), indent, column)
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, list):
        return "[]"
    raise GoError(f"json: unsupported type: {text(value)}")


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise GoError(f"json: unsupported value: {float_text(value)}")
    if value.is_integer() and abs(value) < 2e19:
        if abs(value) < 1e15:
            return str(int(value))
        # JSON has the shortest digits that read back, filled up with zeros.
        sign, digits, point = decimal_digits(value)
        whole = int(sign + digits.ljust(point, "0"))
        if -(1 << 63) <= whole < 1 << 64:
            return str(whole)
    return float_text(value)


def _pretty_scalar(value: Any, indent: int, column: int) -> str:
    if isinstance(value, str):
        return _pretty_text(value, indent, column)
    if isinstance(value, float):
        return {"+Inf": ".inf", "-Inf": "-.inf", "NaN": ".nan"}.get(float_text(value)) or float_text(value)
    return "[]" if isinstance(value, list) else _scalar(value, indent, column)


def _map(out: list[str], value: dict[str, Any], indent: int, head: str, scalar: Scalar, extra: int) -> None:
    """A map's lines; ``head`` is what the first line begins with, ``extra`` how much its lists are indented."""
    if indent > 2 * _DEEPEST:
        raise GoError("the value is nested too deeply")
    pad = " " * indent
    for name in _sorted(tuple(value), extra > 0):
        item = value[name]
        shown = _key(name, extra > 0)
        if isinstance(item, GoObject):
            item = item.plain()
        if not shown:
            out.append(f"{head}? {scalar(name, indent + 2, len(head) + 2)}\n")
            head = pad + ":"
            if isinstance(item, dict) and item:
                _map(out, item, indent + 2, head + " ", scalar, extra)
            elif isinstance(item, list) and item:
                _list(out, item, indent + 2, head + " ", scalar, extra)
            else:
                out.append(f"{head} {scalar(item, indent + 2, indent + 2)}\n")
        elif type(item) is str:
            out.append(f"{head}{shown}: {scalar(item, indent + 2, len(head) + len(shown) + 2)}\n")
        elif isinstance(item, dict) and item:
            out.append(f"{head}{shown}:\n")
            _map(out, item, indent + 2, pad + "  ", scalar, extra)
        elif isinstance(item, list) and item:
            out.append(f"{head}{shown}:\n")
            _list(out, item, indent + extra, " " * (indent + extra), scalar, extra)
        else:
            out.append(f"{head}{shown}: {scalar(item, indent + 2, len(head) + len(shown) + 2)}\n")
        head = pad


def _list(out: list[str], value: list[Any], indent: int, head: str, scalar: Scalar, extra: int) -> None:
    if indent > 2 * _DEEPEST:
        raise GoError("the value is nested too deeply")
    pad = " " * indent
    for item in value:
        if isinstance(item, GoObject):
            item = item.plain()
        if isinstance(item, dict) and item:
            _map(out, item, indent + 2, head + "- ", scalar, extra)
        elif isinstance(item, list) and item:
            _list(out, item, indent + 2, head + "- ", scalar, extra)
        else:
            out.append(f"{head}- {scalar(item, indent + 2, len(head) + 2)}\n")
        head = pad


def dump(value: Any, scalar: Scalar = _scalar, extra: int = 0) -> str:
    """``value`` as YAML without the last newline. Raises GoError for what JSON cannot hold (infinity, functions)."""
    if isinstance(value, GoObject):
        value = value.plain()
    out: list[str] = []
    if isinstance(value, dict) and value:
        _map(out, value, 0, "", scalar, extra)
    elif isinstance(value, list) and value:
        _list(out, value, 0, "", scalar, extra)
    else:
        out.append(scalar(value, 2, 0) + "\n")
    result = "".join(out)
    bounded(len(result), "YAML")
    return result[:-1]


@function("toYaml", "any", "string")
def toYaml(value: Any) -> str:
    """A value as YAML; "" for what has no YAML."""
    try:
        return dump(value)
    except (GoError, RecursionError):
        return ""


@function("mustToYaml", "any", "string")
def mustToYaml(value: Any) -> str:
    """A value as YAML."""
    return dump(value)


@function("toYamlPretty", "any", "string")
def toYamlPretty(value: Any) -> str:
    """A value as YAML with lists indented and no lines broken."""
    try:
        return dump(value, _pretty_scalar, 2)
    except (GoError, RecursionError):
        return ""

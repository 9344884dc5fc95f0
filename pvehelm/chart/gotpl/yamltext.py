"""The text in YAML: in which style go-yaml prints it (plain, quoted, a block), and where it breaks its lines."""

from __future__ import annotations

import functools
import math
import re

from pvehelm.chart.gotpl.plain import is_date
from pvehelm.chart.gotpl.values import (
    GoError,
    to_bytes,
)

_WIDTH = 80
_LONGEST_KEY = 128

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


def text_scalar(value: str, indent: int, column: int) -> str:
    """A text as a value of go-yaml 2; the column is where it begins."""
    style = _style(value) if len(value) < 256 else _analysed(value, _SPECIAL)
    if style == _PLAIN:
        return value if column + len(value) <= _WIDTH else _plain(value, indent, column, _WIDTH)
    if style == _DOUBLE:
        if _CHANGED.search(value):
            return text_scalar(_by_json(value), indent, column)
        return _double(value, indent, column, _WIDTH)
    return _single(value, indent, column, _WIDTH) if style == _SINGLE else _literal(value, indent)


def pretty_text(value: str, indent: int, column: int) -> str:
    style = _pretty_style(value) if len(value) < 256 else _analysed(value, _SPECIAL_BUT_TAB)
    if style == _PLAIN:
        return value
    if style == _LITERAL:
        return _literal(value, indent)
    return (_double if style == _DOUBLE else _single)(value, indent, 0, 1 << 60)


@functools.lru_cache(maxsize=4096)
def key_text(key: str, pretty: bool = False) -> str:
    """A key on one line; "" when it has to be written after "? "."""
    if _CHANGED.search(key):
        if pretty and "\x85" in key:
            return ""
        if not pretty:
            if "\x85" in key:
                raise GoError("yaml: could not find expected ':'")
            return key_text(_by_json(key))
    if _BREAK.search(key):
        return ""
    if len(key) * 4 > _LONGEST_KEY and len(to_bytes(key)) > _LONGEST_KEY:
        return ""
    style = _analysed(key, _SPECIAL)
    if style == _PLAIN:
        return key
    return _double(key, 0, 0, 1 << 60) if style == _DOUBLE else _single(key, 0, 0, 1 << 60)

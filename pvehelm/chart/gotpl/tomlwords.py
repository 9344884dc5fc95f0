"""What is wrong with a TOML text, in the words of the library that Helm reads it with, from where Python's stops."""

from __future__ import annotations

import re

from pvehelm.chart.gotpl.quoting import quote

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)\Z")
_TABLE = re.compile(r"\s*\[\[?\s*([^\]#]+?)\s*\]")
_NAMED = re.compile(r"[Cc]annot (?:declare|mutate immutable namespace) \((.*?),?\)")
_BARE = re.compile(r"[-+]?[0-9][0-9A-Za-z+._:-]*")
_DATE = re.compile(r"[0-9]{4}-|[0-9]{2}:")
_RADIX = {"x": "a hexadecimal", "o": "an octal", "b": "a binary"}
_HEADER = re.compile(r"\s*\[[^=\]]*\]")
_HEADERS = {
    "Expected ']' at the end of a table declaration": "expected '.' or ']' to end table name",
    "Expected ']]' at the end of an array declaration": "expected end of table array name delimiter ']'",
}
_DEFINED = "Key '{}' has already been defined."


def last_key(lines: list[str], at: int) -> str:
    """The key of the statement in line ``at`` (from 0), with the table that it stands in."""
    tables = [found[1] for line in lines[:at] if (found := _TABLE.match(line))]
    own = _TABLE.match(lines[at])
    return own[1].replace(" ", "") if own else ".".join([*tables[-1:], lines[at].partition("=")[0].strip()])


def complaint(value: str, message: str) -> str:
    """The complaint about a text that Python's reader refuses with ``message``."""
    found = _PLACE.search(message)
    what = message[: found.start()] if found else message
    lines = value.split("\n")
    known = bool(found and found[1])
    line = int(found[1]) if found and known else len(value.removesuffix("\n").split("\n"))
    column = int(found[2]) - 1 if found and known else len(lines[line - 1])
    text = lines[line - 1]
    if line < len(lines):
        text += "\n"
    said, about_value = _said(what, text, column, last_key(lines, line - 1) if text else "")
    key = f" (last key {quote(last_key(lines, line - 1))})" if about_value else ""
    return f"toml: line {line}{key}: {said}"


def _said(what: str, text: str, column: int, key: str) -> tuple[str, bool]:
    """The words, and whether they are about the value of a key."""
    at = text[column : column + 1]
    mark = quote(at or "\n", "'")
    if what.startswith(("Expected '=' after a key", "Invalid statement")):
        if column >= len(text):
            return "unexpected EOF; expected key separator '='", False
        if what.startswith("Invalid") and at in "=.":
            blank = "unexpected '=': key name appears blank"
            return (blank if at == "=" else "unexpected '.': keys cannot start with a '.'"), False
        return f"expected '.' or '=', but got {mark} instead", "{" in text[:column]
    if what == "Invalid value":
        return _no_value(text[column:]), True
    if what.startswith("Expected newline or end of document"):
        return _left_over(text, column, mark)
    if what == "Unterminated string" or re.match(r"Expected \"'+\"", what):
        quotes = '"""' if '"""' in text else '"' if what[0] == "U" else what.split('"')[1]
        ends = quote(quotes) if quotes[0] == "'" else f"'{quotes}'"
        return f"unexpected EOF; expected {ends}", "=" in text[: text.find(quotes)]
    if what in _HEADERS and column < len(text):
        return f"{_HEADERS[what]}, but got {mark} instead", False
    if what == "Invalid initial character for a key part" and _HEADER.match(text):
        return "unexpected end of table name (table names cannot be empty)", False
    if what == "Invalid initial character for a key part" and at in "=.":
        return f"unexpected {mark}", False
    if what == "Unclosed inline table":
        got = mark if at else "end of file"
        return f"expected a comma or an inline table terminator '}}', but got {got} instead", True
    if what == "Unclosed array":
        got = mark if at else "end of file"
        return f"expected a comma (',') or array terminator (']'), but got {got}", True
    if what == "Cannot overwrite a value":
        return _DEFINED.format(key), not _TABLE.match(text) or "." in key
    if named := _NAMED.match(what):
        name = ".".join(part.strip(" '\"") for part in named[1].split(","))
        if "immutable" in what and text.lstrip().startswith("[["):
            return f"Key '{name}' was already created and cannot be used as an array.", False
        return _DEFINED.format(name), False
    if what.startswith("Unescaped '\\'"):
        escape = re.search(r"\\[^btnfre\"\\uUx]", text)
        return f"invalid escape in string '{escape[0] if escape else at}'", True
    if what.startswith(("Illegal character", "Found invalid character")):
        if "\\n" in what:
            return "strings cannot contain newlines", True
        return f"TOML files cannot contain control characters: '0x{ord(at or ' '):02x}'", True
    return f"{what[:1].lower()}{what[1:]}", False


def _no_value(rest: str) -> str:
    if not rest:
        return "unexpected EOF; expected value"
    if rest[0] == ",":
        return "unexpected comma"
    if rest[0] == ".":
        return "floats must start with a digit, not '.'"
    if rest[0] in "+-":
        return f"expected a digit but got {quote(rest[1:2] or chr(0), chr(39))}"
    word = re.match(r"[^\W\d_]+", rest)
    return f"expected value but found {quote(word[0]) if word else quote(rest[0], chr(39))} instead"


def _left_over(text: str, column: int, mark: str) -> tuple[str, bool]:
    """What stands behind a value: the rest of a number or date that is none, or something else."""
    start = text.find("=") + 1
    start += len(text[start:]) - len(text[start:].lstrip())
    bare = _BARE.match(text, start)
    if bare is not None and start < column < bare.end():
        number = bare[0]
        if _DATE.match(number):
            return f"invalid datetime: {quote(number)}", True
        if number[:1] == "0" and number[1:2] in _RADIX:
            return f"not {_RADIX[number[1]]} number: '{number[:3]}{chr(0) if len(number) < 3 else ''}'", True
        kind = "float" if set(number) & set(".eE") else "integer"
        if number.endswith("_") or "__" in number:
            return f'Invalid {kind} "{number}": underscores must be surrounded by digits', True
        if number.endswith("."):
            return f"Invalid float \"{number}\": '.' must be followed by one or more digits", True
        if re.match(r"[-+]?0[0-9]", number):
            return f'Invalid {kind} "{number}": cannot have leading zeroes', True
        if number[-1] in "eE+-":
            return f'Invalid float value: "{number}"', True
    word = re.compile(r"[^\W\d_]+").match(text, start)
    if word is not None and start < column < word.end():
        return f"expected value but found {quote(word[0])} instead", True
    if mark == "'\\r'":
        return "TOML files cannot contain control characters: '0x0d'", True
    what = f"expected a top-level item to end with a newline, comment, or EOF, but got {mark} instead"
    return what, bool(_TABLE.match(text))

"""Text functions, with Sprig's names and argument order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from pvehelm.chart.functions.common import (
    FunctionError,
    Text,
    bounded,
    integer,
    sequence,
    string,
    text,
)
from pvehelm.chart.pattern import pattern


def upper(value: Any) -> str:
    return string(value).upper()


def lower(value: Any) -> str:
    return string(value).lower()


def title(value: Any) -> str:
    return _title(string(value))


def _title(value: str) -> str:
    out, start = [], True
    for char in value:
        out.append(char.upper() if start else char)
        # Go's strings.Title: letters, digits, "_" belong to a word, other ASCII and blanks end it.
        start = not (char.isalnum() or char == "_") and (ord(char) < 128 or char.isspace())
    return "".join(out)


def untitle(value: Any) -> str:
    return re.sub(r"(^|\s)(\S)", lambda m: m[1] + m[2].lower(), string(value))


def swapcase(value: Any) -> str:
    return string(value).swapcase()


def trim(value: Any) -> str:
    return string(value).strip()


def trimAll(chars: Any, value: Any) -> str:
    return string(value).strip(string(chars))


def trimSuffix(suffix: Any, value: Any) -> str:
    return string(value).removesuffix(string(suffix))


def trimPrefix(prefix: Any, value: Any) -> str:
    return string(value).removeprefix(string(prefix))


def replace(old: Any, new: Any, value: Any) -> str:
    body, before, after = string(value), string(old), string(new)
    found = body.count(before)
    bounded(len(body) + found * (len(after) - len(before)))
    return body.replace(before, after)


def contains(part: Any, value: Any) -> bool:
    return string(part) in string(value)


def hasPrefix(prefix: Any, value: Any) -> bool:
    return string(value).startswith(string(prefix))


def hasSuffix(suffix: Any, value: Any) -> bool:
    return string(value).endswith(string(suffix))


def split(separator: Any, value: Any) -> dict[str, str]:
    return {f"_{index}": part for index, part in enumerate(splitList(separator, value))}


def splitList(separator: Any, value: Any) -> list[str]:
    mark, body = string(separator), string(value)
    return body.split(mark) if mark else list(body)


def splitn(separator: Any, count: Any, value: Any) -> dict[str, str]:
    most = integer(count)
    if most == 0:
        return {}
    parts = string(value).split(string(separator), most - 1 if most > 0 else -1)
    return {f"_{index}": part for index, part in enumerate(parts)}


def join(separator: Any, value: Any) -> str:
    items = [value] if isinstance(value, (str, int, float, bytes)) else [] if value is None else sequence(value)
    parts = [text(item) for item in items if item is not None]
    mark = string(separator)
    bounded(sum(map(len, parts)) + len(mark) * len(parts))
    return mark.join(parts)


def repeat(count: Any, value: Any) -> str:
    times, body = integer(count), string(value)
    if times < 0:
        raise FunctionError("a text cannot be repeated less than 0 times")
    bounded(times * len(body))
    return body * times


def substr(start: Any, end: Any, value: Any) -> str:
    body, first, last = string(value), integer(start), integer(end)
    if first < 0:
        return body[: max(last, 0)]
    return body[first:] if last < 0 or last > len(body) else body[first:last]


def trunc(count: Any, value: Any) -> str:
    size, body = integer(count), string(value)
    return body[size:] if size < 0 else body[:size]


def abbrev(width: Any, value: Any) -> str:
    size, body = integer(width), string(value)
    return body if size < 4 or len(body) <= size else body[: size - 3] + "..."


def abbrevboth(left: Any, width: Any, value: Any) -> str:
    offset, size, body = integer(left), integer(width), string(value)
    if size < 4 or (offset > 0 and size < 7) or len(body) <= size:
        return body
    offset = min(offset, len(body))
    if len(body) - offset < size - 3:
        offset = len(body) - (size - 3)
    if offset <= 4:
        return body[: size - 3] + "..."
    if offset + size - 3 < len(body):
        return "..." + abbrev(size - 3, body[offset:])
    return "..." + body[len(body) - (size - 3) :]


def nospace(value: Any) -> str:
    return "".join(string(value).split())


def initials(value: Any) -> str:
    return "".join(word[0] for word in string(value).split())


def wrap(width: Any, value: Any) -> str:
    return _wrap(integer(width), "\n", string(value), cut=False)


def wrapWith(width: Any, mark: Any, value: Any) -> str:
    return _wrap(integer(width), string(mark), string(value), cut=True)


def _wrap(width: int, mark: str, value: str, *, cut: bool) -> str:
    size, lines, line = max(width, 1), [], ""
    for word in value.split(" "):
        if line and len(line) + 1 + len(word) <= size:
            line += " " + word
            continue
        if line:
            lines.append(line)
        line = word
        while cut and len(line) > size:
            lines.append(line[:size])
            line = line[size:]
    return mark.join([*lines, line])


def indent(count: Any, value: Any) -> Text:
    body, size = text(value), integer(count)
    if size < 0:
        raise FunctionError("an indentation cannot be less than 0")
    bounded(len(body) + size * (body.count("\n") + 1))
    pad = " " * size
    return Text(pad + body.replace("\n", "\n" + pad))


def nindent(count: Any, value: Any) -> Text:
    return Text("\n" + indent(count, value))


def quote(*values: Any) -> Text:
    return Text(" ".join(_double(text(value)) for value in values if value is not None))


_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"} | {
    '"': '\\"',
    "\\": "\\\\",
}


def _double(value: str) -> str:
    # Everything printable stays as it is; what is escaped is escaped as both Go and YAML write it.
    if value.isprintable() and '"' not in value and "\\" not in value:
        return f'"{value}"'
    out = []
    for char in value:
        if char in _ESCAPES:
            out.append(_ESCAPES[char])
        elif char.isprintable():
            out.append(char)
        else:
            code = ord(char)
            out.append(f"\\x{code:02x}" if code < 128 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")
    return '"' + "".join(out) + '"'


def squote(*values: Any) -> Text:
    return Text(" ".join("'" + text(value).replace("'", "''") + "'" for value in values if value is not None))


def cat(*values: Any) -> str:
    return " ".join(text(value) for value in values if value is not None)


def print_(*values: Any) -> str:
    out: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            out.append(" ")
        out.append(text(value))
    return "".join(out)


def println(*values: Any) -> str:
    return " ".join(text(value) for value in values) + "\n"


def plural(one: Any, many: Any, count: Any) -> str:
    return string(one) if integer(count) == 1 else string(many)


def toString(value: Any) -> str:
    return text(value)


def toStrings(value: Any) -> list[str]:
    items = [] if value is None else [value] if isinstance(value, (str, int, float)) else sequence(value)
    return [text(item) for item in items if item is not None]


def ascii_fold(value: Any) -> str:
    """``value`` as a DNS-like name: accents dropped, lower case, dashes for everything else."""
    plain = unicodedata.normalize("NFKD", string(value)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


_VERB = pattern(r"%([-+# 0]*)(\*|\d+)?(?:\.(\*|\d+)?)?([a-zA-Z%])")


def printf(form: Any, *values: Any) -> str:
    """Go's Sprintf for the verbs charts use: %s %v %d %q %f %e %g %t %x %X %o %b %c %T %%."""
    left = list(values)

    def verb(found: re.Match[str]) -> str:
        flags, width, precision, letter = found[1], found[2], found[3], found[4]
        if letter == "%":
            return "%"
        numbers = [str(integer(left.pop(0))) if part == "*" and left else part for part in (width, precision)]
        size, exact = int(numbers[0] or 0), None if "." not in found[0] else int(numbers[1] or 0)
        bounded(max(size, exact or 0) * 100)
        if not left:
            return f"%!{letter}(MISSING)"
        shown = _formatted(letter, flags, exact, left.pop(0))
        if "-" in flags:
            return shown.ljust(size)
        if "0" in flags and letter not in "sqvT" and shown[:1] in "+-":
            return shown[0] + shown[1:].rjust(size - 1, "0")
        return shown.rjust(size, "0" if "0" in flags and letter not in "qT" else " ")

    result = _VERB.sub(verb, string(form))
    if left:
        result += "%!(EXTRA " + ", ".join(text(value) for value in left) + ")"
    return result


def _formatted(letter: str, flags: str, exact: int | None, value: Any) -> str:
    sign = "+" if "+" in flags else " " if " " in flags else ""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if letter == "v":
        return text(value)
    if letter == "s":
        return text(value) if exact is None else text(value)[:exact]
    if letter == "q" and isinstance(value, (str, bytes)):
        return _double(text(value))
    if letter == "t" and isinstance(value, bool):
        return text(value)
    if letter == "T":
        return type(value).__name__
    if letter == "d" and (whole or (isinstance(value, float) and value.is_integer())):
        return format(int(value), sign + "d")
    if letter in "feEgGF" and number:
        return (
            format(float(value), f"{sign}{'' if exact is None else f'.{exact}'}{letter}")
            if exact is not None or (letter not in "gG")
            else text(float(value))
        )
    if letter in "xXob" and whole:
        return format(value, ("#" if "#" in flags else "") + letter)
    if letter in "xX" and isinstance(value, str):
        hexed = value.encode().hex()
        return hexed.upper() if letter == "X" else hexed
    if letter == "c" and whole and 0 <= value < 0x110000:
        return chr(value)
    raise FunctionError(f"printf: %{letter} does not fit {text(value)[:40]!r}; %v prints anything")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "upper": upper,
    "lower": lower,
    "title": title,
    "untitle": untitle,
    "swapcase": swapcase,
    "trim": trim,
    "trimAll": trimAll,
    "trimall": trimAll,
    "trimSuffix": trimSuffix,
    "trimPrefix": trimPrefix,
    "replace": replace,
    "contains": contains,
    "hasPrefix": hasPrefix,
    "hasSuffix": hasSuffix,
    "split": split,
    "splitList": splitList,
    "splitn": splitn,
    "join": join,
    "repeat": repeat,
    "substr": substr,
    "trunc": trunc,
    "abbrev": abbrev,
    "abbrevboth": abbrevboth,
    "nospace": nospace,
    "initials": initials,
    "wrap": wrap,
    "wrapWith": wrapWith,
    "indent": indent,
    "nindent": nindent,
    "quote": quote,
    "squote": squote,
    "cat": cat,
    "print": print_,
    "println": println,
    "plural": plural,
    "toString": toString,
    "toStrings": toStrings,
    "printf": printf,
    "dnsName": ascii_fold,
}

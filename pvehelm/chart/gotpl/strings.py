"""Text functions of Sprig, counting bytes where Go does."""

from __future__ import annotations

from typing import Any

from pvehelm.chart.gotpl.printing import sprint
from pvehelm.chart.gotpl.quoting import quote as go_quote
from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.values import (
    GoError,
    NilStrings,
    StringMap,
    Strings,
    bounded,
    from_bytes,
    strval,
    text,
    to_bytes,
)

#: What Go's unicode.IsSpace is true for.
SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def upper_case(char: str) -> str:
    """unicode.ToUpper: one character for one."""
    for changed in (char.upper(), char.title()):
        if len(changed) == 1:
            return changed
    return char


def lower_case(char: str) -> str:
    return char.lower()[0]


@function("upper", "string", "string")
def upper(value: str) -> str:
    """A text in upper case."""
    return value.upper() if value.isascii() else "".join([upper_case(char) for char in value])


@function("lower", "string", "string")
def lower(value: str) -> str:
    """A text in lower case."""
    return value.lower() if value.isascii() else "".join([lower_case(char) for char in value])


@function("title", "string", "string")
def title(value: str) -> str:
    """A text with each word's first letter in upper case."""
    out, start = [], True
    for char in value:
        titled = char.title() if start else char
        out.append(titled if len(titled) == 1 else upper_case(char))
        # Letters, digits and "_" belong to a word; other ASCII and blanks end it, other marks do not.
        start = not (char.isalnum() or char == "_") and (ord(char) < 128 or char in SPACE)
    return "".join(out)


@function("untitle", "string", "string")
def untitle(value: str) -> str:
    """A text with each word's first letter in lower case."""
    out, start = [], True
    for char in value:
        out.append(lower_case(char) if start else char)
        start = char in SPACE
    return "".join(out)


@function("swapcase", "string", "string")
def swapcase(value: str) -> str:
    """Upper case becomes lower, lower case upper, and the first letter of a word title case."""
    out, start = [], True
    for char in value:
        if char.isupper() or char.istitle():
            out.append(lower_case(char))
            start = False
        elif char.islower():
            # At the start of a word title case, else upper case: the same but for a few digraphs.
            changed = char.title() if start else upper_case(char)
            out.append(changed if len(changed) == 1 else upper_case(char))
            start = False
        else:
            out.append(char)
            start = char in SPACE
    return "".join(out)


@function("trim", "string", "string")
def trim(value: str) -> str:
    """A text without blanks at its ends."""
    return value.strip(SPACE)


@function("trimAll trimall", "string, string", "string")
def trimAll(chars: str, value: str) -> str:
    """A text without the given characters at its ends."""
    return value.strip(chars) if chars else value


@function("trimSuffix", "string, string", "string")
def trimSuffix(suffix: str, value: str) -> str:
    """A text without the given end."""
    return value.removesuffix(suffix)


@function("trimPrefix", "string, string", "string")
def trimPrefix(prefix: str, value: str) -> str:
    """A text without the given beginning."""
    return value.removeprefix(prefix)


@function("replace", "string, string, string", "string")
def replace(old: str, new: str, value: str) -> str:
    """A text with all occurrences of one text replaced by another."""
    if len(new) > len(old):
        bounded(len(value) + (value.count(old)) * (len(new) - len(old)))
    return value.replace(old, new)


@function("contains", "string, string", "bool")
def contains(part: str, value: str) -> bool:
    """Whether a text contains another."""
    return part in value


@function("hasPrefix", "string, string", "bool")
def hasPrefix(prefix: str, value: str) -> bool:
    """Whether a text begins with another."""
    return value.startswith(prefix)


@function("hasSuffix", "string, string", "bool")
def hasSuffix(suffix: str, value: str) -> bool:
    """Whether a text ends with another."""
    return value.endswith(suffix)


@function("splitList", "string, string", "[]string")
def splitList(separator: str, value: str) -> Strings:
    """The parts of a text as a list."""
    return Strings(value.split(separator) if separator else value)


@function("split", "string, string", "map[string]string")
def split(separator: str, value: str) -> StringMap:
    """The parts of a text as a map with the keys ``_0``, ``_1``..."""
    return StringMap({f"_{at}": part for at, part in enumerate(splitList(separator, value))})


@function("splitn", "string, int, string", "map[string]string")
def splitn(separator: str, count: int, value: str) -> StringMap:
    """At most ``count`` parts of a text as a map with the keys ``_0``, ``_1``..."""
    if count == 0:
        return StringMap()
    if separator:
        parts: list[str] = value.split(separator, count - 1) if count > 0 else value.split(separator)
    else:
        parts = list(value)
        if 0 < count < len(parts):
            parts = [*parts[: count - 1], "".join(parts[count - 1 :])]
    return StringMap({f"_{at}": part for at, part in enumerate(parts)})


def strslice(value: Any) -> list[str]:
    """The elements as texts; nil is left out, a scalar stands for itself."""
    if isinstance(value, Strings):
        return value
    if isinstance(value, list):
        return [item if type(item) is str else strval(item) for item in value if item is not None]
    if isinstance(value, bytes):
        return [str(item) for item in value]
    return [] if value is None else [strval(value)]


@function("toStrings", "any", "[]string")
def toStrings(value: Any) -> Strings:
    """The elements of a list as texts."""
    return Strings(strslice(value))


@function("toString", "any", "string")
def toString(value: Any) -> str:
    """A value as text."""
    return strval(value)


@function("join", "string, any", "string")
def join(separator: str, value: Any) -> str:
    """The elements of a list as one text with a separator between them."""
    parts = strslice(value)
    if len(separator) > 100:
        bounded(len(separator) * len(parts) + sum(map(len, parts)))
    return separator.join(parts)


@function("sortAlpha", "any", "[]string")
def sortAlpha(value: Any) -> Strings:
    """The elements of a list as sorted texts."""
    if isinstance(value, (list, bytes)):
        parts = strslice(value)
        if isinstance(value, NilStrings):
            return value
        return Strings(sorted(parts) if all(map(str.isascii, parts)) else sorted(parts, key=to_bytes))
    return Strings([strval(value)])


@function("repeat", "int, string", "string")
def repeat(count: int, value: str) -> str:
    """A text repeated."""
    if count < 0:
        raise GoError("strings: negative Repeat count")
    bounded(count * len(value))
    return value * count


@function("substr", "int, int, string", "string")
def substr(start: int, end: int, value: str) -> str:
    """A part of a text, counted in bytes."""
    if value.isascii():
        return str(_part(start, end, value))
    return from_bytes(_part(start, end, to_bytes(value)))


def _part(start: int, end: int, value: Any) -> Any:
    if start < 0:
        start = 0
        if end < 0 or end > len(value):
            raise GoError(f"runtime error: slice bounds out of range [:{end}] with length {len(value)}")
    elif end < 0 or end > len(value):
        end = len(value)
    if start > end:
        raise GoError(f"runtime error: slice bounds out of range [{start}:{end}]")
    return value[start:end]


@function("trunc", "int, string", "string")
def trunc(count: int, value: str) -> str:
    """The first bytes of a text; with a negative number the last ones."""
    if value.isascii():
        return value[:count] if count >= 0 else value[count:] if len(value) + count > 0 else value
    raw = to_bytes(value)
    if count < 0:
        return from_bytes(raw[count:]) if len(raw) + count > 0 else value
    return from_bytes(raw[:count])


@function("abbrev", "int, string", "string")
def abbrev(width: int, value: str) -> str:
    """A text cut to a width, with ``...`` at its end."""
    return value if width < 4 else from_bytes(_abbreviated(to_bytes(value), 0, width))


@function("abbrevboth", "int, int, string", "string")
def abbrevboth(left: int, width: int, value: str) -> str:
    """A text cut at both ends, with ``...`` there."""
    if width < 4 or (left > 0 and width < 7):
        return value
    return from_bytes(_abbreviated(to_bytes(value), left, width))


def _abbreviated(value: bytes, offset: int, width: int) -> bytes:
    room = width - 3
    if len(value) <= width:
        return value
    offset = max(min(offset, len(value)), 0) if offset >= 0 else offset
    if len(value) - offset < room:
        offset = len(value) - room
    if offset <= 4:
        return value[:room] + b"..."
    if width < 7:
        return b""
    if offset + room < len(value):
        inner = value[offset:]
        return b"..." + (_abbreviated(inner, 0, room) if room >= 4 else b"")
    return b"..." + value[len(value) - room :]


@function("nospace", "string", "string")
def nospace(value: str) -> str:
    """A text without any blanks."""
    # goutils takes each byte for a character, unless it finds nothing to remove.
    shown = to_bytes(value).decode("latin-1")
    left = "".join([char for char in shown if char not in SPACE])
    return left if len(left) < len(shown) else value


@function("initials", "string", "string")
def initials(value: str) -> str:
    """The first letter of each word."""
    out, start = [], True
    for char in to_bytes(value).decode("latin-1"):
        if char in SPACE:
            start = True
        elif start:
            out.append(char)
            start = False
    return "".join(out)


@function("wrap", "int, string", "string")
def wrap(width: int, value: str) -> str:
    """A text broken into lines at blanks."""
    return _wrapped(value, width, "\n", cut=False)


@function("wrapWith", "int, string, string", "string")
def wrapWith(width: int, mark: str, value: str) -> str:
    """A text broken into lines of a width, with a mark between them; longer words are cut."""
    return _wrapped(value, width, mark or "\n", cut=True)


def _wrapped(value: str, width: int, mark: str, *, cut: bool) -> str:
    raw, end, size, at = to_bytes(value), to_bytes(mark), max(width, 1), 0
    bounded(len(raw) * (1 + len(end)))
    out: list[bytes] = []
    while len(raw) - at > size:
        if raw[at] == 32:
            at += 1
            continue
        blank = raw.rfind(b" ", at, at + size + 1)
        if blank < 0 and cut:
            out += [raw[at : at + size], end]
            at += size
            continue
        if blank < 0:
            blank = raw.find(b" ", at + size)
            if blank < 0:
                break
        out += [raw[at:blank], end]
        at = blank + 1
    return from_bytes(b"".join(out) + raw[at:])


@function("indent", "int, string", "string")
def indent(count: int, value: str) -> str:
    """A text with every line indented, empty lines as well."""
    if count < 0:
        raise GoError("strings: negative Repeat count")
    if count > 100:
        bounded(len(value) + count * (1 + value.count("\n")))
    pad = " " * count
    return pad + value.replace("\n", "\n" + pad)


@function("nindent", "int, string", "string")
def nindent(count: int, value: str) -> str:
    """A newline and the text with every line indented."""
    if count < 0:
        raise GoError("strings: negative Repeat count")
    if count > 100:
        bounded(len(value) + count * (1 + value.count("\n")))
    pad = "\n" + " " * count
    return pad + value.replace("\n", pad)


@function("quote", "...any", "string")
def quote(*values: Any) -> str:
    """The values in double quotes; nil is left out."""
    return " ".join([go_quote(value if type(value) is str else strval(value)) for value in values if value is not None])


@function("squote", "...any", "string")
def squote(*values: Any) -> str:
    """The values in single quotes; nil is left out."""
    return " ".join([f"'{text(value)}'" for value in values if value is not None])


@function("cat", "...any", "string")
def cat(*values: Any) -> str:
    """The values with blanks between them; nil is left out."""
    return " ".join([sprint(value) for value in values if value is not None])


@function("plural", "string, string, int", "string")
def plural(one: str, many: str, count: int) -> str:
    """The first text for 1, else the second."""
    return one if count == 1 else many


@function("hello", "", "string")
def hello() -> str:
    """A greeting."""
    return "Hello!"

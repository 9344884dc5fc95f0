"""The word: how snake_case, kebab-case and CamelCase cut a text into words."""

from __future__ import annotations

import unicodedata

from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.strings import SPACE, lower_case, upper_case

_CONNECTORS = frozenset("-_" + SPACE)


def _kind(char: str) -> str:
    """connector, upper, letter, number, mark or other."""
    if char in _CONNECTORS:
        return "connector"
    category = unicodedata.category(char)
    if category[0] == "P":
        return "mark"
    if category == "Lu":
        return "upper"
    if category[0] == "L":
        code = ord(char)
        # Han characters are words of no case.
        han = 0x4E00 <= code <= 0x9FCC or 0x3400 <= code <= 0x4D85 or 0x20000 <= code <= 0x2B81D
        return "other" if han else "letter"
    return "number" if category[0] == "N" else "other"


def _words(value: str) -> list[tuple[str, str]]:
    """The text in runs of one kind. An upper-case run is an abbreviation (HTTP) or a capitalised word (Server)."""
    kinds = [_kind(char) for char in value]
    words: list[tuple[str, str]] = []
    at, size = 0, len(value)
    while at < size:
        kind, end = kinds[at], at + 1
        if kind == "upper":
            if end < size and kinds[end] == "upper":
                while end < size and kinds[end] == "upper":
                    end += 1
                if end < size and kinds[end] == "letter":
                    end -= 1  # the last capital begins the next word
            else:
                while end < size and kinds[end] == "letter":
                    end += 1
        else:
            while end < size and (kinds[end] == kind or (kind == "mark" and value[end] in "-_")):
                end += 1
        words.append((kind, value[at:end]))
        at = end
    return words


def _joined(value: str, connector: str) -> str:
    words = [*_words(value), ("", "")]
    out: list[str] = []
    at = 0

    def put(kind: str, word: str) -> None:
        if kind == "connector":
            out.append(connector * len(word))
        elif kind == "upper":
            out.append("".join([char.lower()[0] if char.isupper() else char for char in word]))
        else:
            out.append(word)

    def put_run(at: int) -> int:
        """Letters and digits that follow one another stay together."""
        while words[at][0] in ("letter", "number"):
            put(*words[at])
            at += 1
        return at

    while at < len(words) - 1:
        kind, word = words[at]
        put(kind, word)
        at += 1
        following = words[at][0]
        if kind == "number":
            at = put_run(at)
            if words[at][0] not in ("", "mark", "connector"):
                out.append(connector)
        elif kind in ("connector", "mark"):
            continue
        elif following != "number":
            if following not in ("", "connector", "mark"):
                out.append(connector)
        elif words[at + 1][0] == "letter":
            # Digits before small letters begin a word: HTTP2xx is http_2xx, Bld4Floor is bld4_floor.
            out.append(connector)
            at = put_run(at)
            if words[at][0] not in ("", "mark", "connector"):
                out.append(connector)
        else:
            put(*words[at])
            at += 1
            if words[at][0] not in ("", "mark", "connector"):
                out.append(connector)
    return "".join(out)


@function("snakecase", "string", "string")
def snakecase(value: str) -> str:
    """A text as ``snake_case``."""
    return _joined(value, "_")


@function("kebabcase", "string", "string")
def kebabcase(value: str) -> str:
    """A text as ``kebab-case``."""
    return _joined(value, "-")


@function("camelcase", "string", "string")
def camelcase(value: str) -> str:
    """A text as ``CamelCase``."""
    start = next((at for at, char in enumerate(value) if char not in _CONNECTORS), len(value))
    if start == len(value):
        return value
    out = [value[:start]]
    # A word that begins with capitals keeps the first of them only: HTTPServer is Httpserver, fooBar is FooBar.
    last, capitals = upper_case(value[start]), value[start].isupper()
    for char in value[start + 1 :]:
        if char in _CONNECTORS and last in _CONNECTORS:
            out.append(last)
            last = char
        elif last in _CONNECTORS:
            last, capitals = upper_case(char), char.isupper()
        else:
            out.append(last)
            capitals = capitals and char.isupper()
            last = lower_case(char) if capitals else char
    return "".join([*out, last])

"""The lexer: a template's text and the tokens of its actions, as Go's text/template reads them.

One regular expression takes an action apart into texts that are its tokens and the blanks between them (``inside``):
what such a text is, its first character says. Fields that follow each other (``.a.b``) are one token.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import NamedTuple

from pvehelm.chart.pattern import pattern

KEYWORDS = frozenset(("block", "break", "continue", "define", "else", "end", "if", "range", "nil", "template", "with"))
BLANKS = " \t\r\n"


class Token(NamedTuple):
    """``kind`` is text, comment, left, right, error, eof, a keyword or what ``kind_of`` says; ``pos`` is where it
    begins."""

    kind: str
    value: str
    pos: int
    spaced: bool


_END = r"(?=[ \t\r\n.,|:()]|\}\}|\Z)"
#: Go's scanner does not go back: what it took for a part of a number is one.
_NUMBER = (
    r"(?>[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?"
    r"|0[oO][0-7_]*(?:\.[0-7_]*)?|0[bB][01_]*(?:\.[01_]*)?|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)i?)(?!\w)"
)
_DIGITS = pattern(_NUMBER.removesuffix(r"(?!\w)"))
_PLAIN_NUMBER = pattern(_NUMBER)
_COMPLEX = pattern(rf"(?=[+\-0-9]|\.[0-9]){_NUMBER}(?<!i)[+-]{_NUMBER}")
_QUOTED = r""" "(?:[^"\\\n]|\\[^\n])*" | `[^`]*` | '(?:[^'\\\n]|\\[^\n])*' """
_GOOD = rf"""[ \t\r\n]+
    |\}}\}}|(?<=[ \t\r\n])-\}}\}}
    |(?:\.(?![0-9])\w+)+{_END}
    |(?![0-9])\w+{_END}
    |\$\w*{_END}
    |{_QUOTED}
    |(?=[+\-0-9]|\.[0-9]){_NUMBER}(?:(?<!i)[+-]{_NUMBER}(?<=i)|(?!(?<!i)[+-]{_NUMBER}))
    |\.{_END}
    |[|()]
    |:=
    |=
    |[!\#%&*,/;<>?@\[\\\]^{{}}~]"""
_TOKEN = pattern(_GOOD, re.VERBOSE)
#: What begins with no token is taken whole.
_TOKENS = re.compile(_GOOD + "|(?s:.+)", re.VERBOSE)
_STRING = re.compile(_QUOTED, re.VERBOSE)
_KINDS = {
    "$": "variable",
    '"': "string",
    "`": "raw",
    "'": "char",
    "(": "open",
    ")": "close",
    "|": "pipe",
    ":": "declare",
    "=": "assign",
    ".": "field",
    "-": "number",
    "+": "number",
    "}": "right",
    **dict.fromkeys("0123456789", "number"),
    **dict.fromkeys("!#%&*,/;<>?@[\\]^{~", "other"),
    **dict.fromkeys(BLANKS, "blank"),
}
_WORDS = {**{word: word for word in KEYWORDS}, "true": "bool", "false": "bool"}
_TRIM_LEFT = re.compile(r"\{\{-[ \t\r\n]")
_BLANKS = re.compile(r"[ \t\r\n]*")
_COMMENT_END = re.compile(r"[ \t\r\n]-\}\}|\}\}")


def kind_of(text: str) -> str:
    """What a text of ``inside`` is: bool, char, complex, dot, field, word, number, raw, string, variable, open, close,
    pipe, declare, assign, right, blank, other, or a keyword."""
    kind = _KINDS.get(text[0])
    if kind is None:
        return _WORDS.get(text, "word")
    if kind == "field" and (text == "." or text[1] in "0123456789"):
        return "dot" if text == "." else kind_of(f"0{text}")
    if kind == "number" and text[0] == "-" and text[-1] == "}":
        return "right"
    if kind == "number" and text[-1] == "i" and not _PLAIN_NUMBER.fullmatch(text):
        return "complex"
    return "right" if text == "}}" else "other" if kind == "right" else kind


class Inside(NamedTuple):
    """What is inside an action: the texts of its tokens and blanks, where each begins, and where the template goes on.

    The last text is ``}}`` (or ``-}}``); where there is a mistake it is empty, and ``mistake`` says what.
    """

    texts: list[str]
    starts: list[int]
    after: int
    mistake: str = ""


def inside(source: str, at: int) -> Inside:
    """What is inside the action whose delimiter ends at ``at``."""
    texts: list[str] = []
    begin, end = at, source.find("}}", at)
    while True:
        stop = end + 2 if end >= 0 else len(source)
        texts += _TOKENS.findall(source, begin, stop)
        last = texts[-1] if texts else ""
        if last == "}}" or last == "-}}":
            break
        begin = stop - len(last)
        string = _STRING.match(source, begin)
        if end < 0 or string is None:
            return _mistaken(source, at, texts)
        # What looked like the end is in a string.
        texts.pop()
        end = source.find("}}", string.end())
    starts = [*accumulate(map(len, texts), initial=at)]
    if "(" in texts or ")" in texts:
        at, what = _unbalanced(texts)
        if what:
            starts[-2] -= len(last) > 2
            return Inside([*texts[:at], ""], starts, -1, what)
    if last == "}}":
        return Inside(texts, starts, stop)
    starts[-2] -= 1
    return Inside(texts, starts, trimmed(source, stop))


def trimmed(source: str, at: int) -> int:
    """Where the blanks from ``at`` on end."""
    return _BLANKS.match(source, at).end()  # type: ignore[union-attr]


def _unbalanced(texts: list[str]) -> tuple[int, str]:
    """Which text makes the parentheses wrong, and what it is that is wrong."""
    depth = 0
    for index, text in enumerate(texts):
        depth += (text == "(") - (text == ")")
        if depth < 0:
            return index, "unexpected right paren"
    return len(texts) - 1, "unclosed left paren" if depth else ""


def _mistaken(source: str, at: int, texts: list[str]) -> Inside:
    """What is inside an action that has no end, or something in it that is no token."""
    if texts:
        begin = at + sum(map(len, texts[:-1]))
        good = _TOKEN.match(source, begin)
        if good is None or good.end() - begin < len(texts[-1]):
            texts.pop()
    starts = [*accumulate(map(len, texts), initial=at)]
    wrong, what = _unbalanced(texts)
    if what == "unexpected right paren":
        return Inside([*texts[:wrong], ""], starts, -1, what)
    return Inside([*texts, ""], starts, -1, _mistake(source, starts[-1]))


def piece(source: str, at: int) -> tuple[str, int, int]:
    """The text from ``at`` on, perhaps empty; where the action after it begins, and where its inside (-1: none)."""
    left = source.find("{{", at)
    if left < 0:
        return source[at:], -1, -1
    if source.startswith("{{- ", left) or _TRIM_LEFT.match(source, left):
        # As in Go, the blank after the minus is the first thing inside the action.
        return source[at:left].rstrip(BLANKS), left, left + 3
    return source[at:left], left, left + 2


def comment(source: str, left: int, at: int) -> tuple[int, int, str]:
    """Of a comment inside an action: where it begins, and where the template goes on, or where there is which mistake.

    It begins at -1 where there is none.
    """
    begin = at + 1 if at - left > 2 else at
    if not source.startswith("/*", begin):
        return -1, at, ""
    close = source.find("*/", begin + 2)
    if close < 0:
        return begin, begin, "unclosed comment"
    end = _COMMENT_END.match(source, close + 2)
    if end is None:
        return begin, close + 2, "comment ends before closing delimiter"
    return begin, trimmed(source, end.end()) if len(end[0]) > 2 else end.end(), ""


def tokens(source: str, *, comments: bool = False) -> list[Token]:
    """The tokens of ``source``; the last is ``eof``, or ``error`` with the message. ``comments`` keeps comments."""
    found: list[Token] = []
    at = 0
    while True:
        text, left, begin = piece(source, at)
        if text:
            found.append(Token("text", text, at, False))
        if left < 0:
            found.append(Token("eof", "", len(source), False))
            return found
        commented, after, mistake = comment(source, left, begin)
        if mistake:
            found.append(Token("error", mistake, after, False))
            return found
        if commented >= 0:
            if comments:
                found.append(
                    Token("comment", source[commented : source.find("*/", commented + 2) + 2], commented, False)
                )
            at = after
            continue
        found.append(Token("left", "{{", left, False))
        texts, starts, at, mistake = inside(source, begin)
        spaced = False
        for value, pos in zip(texts, starts, strict=False):
            kind = kind_of(value) if value else "error"
            if kind != "blank":
                found.append(Token(kind, "}}" if kind == "right" else value or mistake, pos, spaced))
            spaced = kind == "blank"
        if mistake:
            return found


def _mistake(source: str, at: int) -> str:
    """Why no token can be read at ``at``."""
    rest = source[at : at + 200]
    if not rest.strip(BLANKS):
        return "unclosed action"
    first = rest[0]
    if first == '"':
        return "unterminated quoted string"
    if first == "`":
        return "unterminated raw quoted string"
    if first == "'":
        return "unterminated character constant"
    if first == ":":
        return "expected :="
    if number := _COMPLEX.match(source, at):
        return f'bad number syntax: "{number[0]}"'
    if first.isdigit() or (first in "+-." and rest[1:2] and rest[1] in ".0123456789"):
        # The first character that does not belong to it is shown with it.
        number = _DIGITS.match(rest)
        return f'bad number syntax: "{rest[: number.end() + 1 if number else 1]}"'
    word = re.match(r"[.$]?\w*", rest)
    if word and word[0] and len(word[0]) < len(rest):
        bad = rest[len(word[0])]
        return f"bad character U+{ord(bad):04X} '{bad}'"
    return f"unrecognized character in action: U+{ord(first):04X} '{first}'"

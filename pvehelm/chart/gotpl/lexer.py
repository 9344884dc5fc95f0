"""The lexer: a template's text and the tokens of its actions, as Go's text/template reads them.

One regular expression reads every token inside an action, with the blanks before it: these are no tokens, and that some
stand before one is all the grammar asks. Fields that follow each other (``.a.b``) are one token.
"""

from __future__ import annotations

import re
from typing import NamedTuple

KEYWORDS = frozenset(("block", "break", "continue", "define", "else", "end", "if", "range", "nil", "template", "with"))


class Token(NamedTuple):
    """``kind`` is text, left, right, error, eof, a keyword, or what ``_TOKEN`` names; ``pos`` is where it begins."""

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
_DIGITS = re.compile(_NUMBER.removesuffix(r"(?!\w)"))
_TOKEN = re.compile(
    rf"""[ \t\r\n]*(?:
     (?P<right>\}}\}}|(?<=[ \t\r\n])-\}}\}})
    |(?P<field>(?:\.(?![0-9])\w+)+){_END}
    |(?P<word>(?![0-9])\w+){_END}
    |(?P<variable>\$\w*){_END}
    |(?P<string>"(?:[^"\\\n]|\\[^\n])*")
    |(?P<number>(?=[+\-0-9]|\.[0-9]){_NUMBER}(?P<imaginary>(?<!i)[+-]{_NUMBER})?)
    |(?P<dot>\.){_END}
    |(?P<pipe>\|)
    |(?P<open>\()
    |(?P<close>\))
    |(?P<declare>:=)
    |(?P<assign>=)
    |(?P<raw>`[^`]*`)
    |(?P<char>'(?:[^'\\\n]|\\[^\n])*')
    |(?P<other>[!\#%&*,/;<>?@\[\\\]^{{}}~])
    |(?P<none>)
    )""",
    re.VERBOSE,
)
_BLANKS = " \t\r\n"
_WORDS = {**{word: word for word in KEYWORDS}, "true": "bool", "false": "bool"}
#: Kinds that are looked at once more.
_MORE = frozenset(("right", "open", "close", "number", "none"))
_TRIM_LEFT = re.compile(r"\{\{-[ \t\r\n]")
_TRIM_RIGHT = re.compile(r"[ \t\r\n]*")
_COMMENT_END = re.compile(r"[ \t\r\n]-\}\}|\}\}")


def tokens(source: str, *, comments: bool = False) -> list[Token]:
    """The tokens of ``source``; the last is ``eof``, or ``error`` with the message. ``comments`` keeps comments."""
    found: list[Token] = []
    at, size = 0, len(source)
    while True:
        left = source.find("{{", at)
        if left < 0:
            if at < size:
                found.append(Token("text", source[at:], at, False))
            found.append(Token("eof", "", size, False))
            return found
        trim = source.startswith("{{- ", left) or _TRIM_LEFT.match(source, left)
        text = source[at:left].rstrip(_BLANKS) if trim else source[at:left]
        if text:
            found.append(Token("text", text, at, False))
        # As in Go, the blank after the minus is the first thing inside the action.
        inside = left + 3 if trim else left + 2
        comment = inside + 1 if trim else inside
        if source.startswith("/*", comment):
            close = source.find("*/", comment + 2)
            end = _COMMENT_END.match(source, close + 2) if close >= 0 else None
            if end is None:
                what = "unclosed comment" if close < 0 else "comment ends before closing delimiter"
                found.append(Token("error", what, comment if close < 0 else close + 2, False))
                return found
            if comments:
                found.append(Token("comment", source[comment : close + 2], comment, False))
            at = _after(source, end)
            continue
        found.append(Token("left", "{{", left, False))
        at = _action(source, inside, found)
        if at < 0:
            return found


def _action(source: str, at: int, found: list[Token]) -> int:
    """Reads the tokens of an action from ``at`` on into ``found``; where the text goes on, or -1 after an error."""
    new, append, words = tuple.__new__, found.append, _WORDS
    depth = 0
    for token in _TOKEN.finditer(source, at):
        kind, value, end = token.lastgroup, token[token.lastindex or 0], token.end()
        pos = end - len(value)
        spaced = pos != token.start()
        if kind == "word":
            kind = words.get(value, kind)
        elif kind not in _MORE:
            pass
        elif kind == "right":
            trims = len(value) > 2
            if depth:
                append(Token("error", "unclosed left paren", pos - trims, spaced))
                return -1
            append(new(Token, ("right", "}}", pos - trims, spaced)))
            return _TRIM_RIGHT.match(source, end).end() if trims else end  # type: ignore[union-attr]
        elif kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
            if depth < 0:
                append(Token("error", "unexpected right paren", pos, spaced))
                return -1
        elif kind == "number":
            if token["imaginary"]:
                kind = "complex"
                if not value.endswith("i"):
                    append(Token("error", f'bad number syntax: "{value}"', pos, spaced))
                    return -1
        else:
            append(Token("error", _mistake(source, pos), pos, spaced))
            return -1
        # Half as long as Token(...), and there are many.
        append(new(Token, (kind, value, pos, spaced)))
    return -1


def _after(source: str, end: re.Match[str]) -> int:
    """Where the text goes on after a closing delimiter."""
    if len(end[0]) == 2:
        return end.end()
    blanks = _TRIM_RIGHT.match(source, end.end())
    return blanks.end() if blanks else end.end()


def _mistake(source: str, at: int) -> str:
    """Why no token can be read at ``at``."""
    rest = source[at : at + 200]
    if not rest.strip(_BLANKS):
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
    if first.isdigit() or (first in "+-." and rest[1:2] and rest[1] in ".0123456789"):
        # The first character that does not belong to it is shown with it.
        number = _DIGITS.match(rest)
        return f'bad number syntax: "{rest[: number.end() + 1 if number else 1]}"'
    word = re.match(r"[.$]?\w*", rest)
    if word and word[0] and len(word[0]) < len(rest):
        bad = rest[len(word[0])]
        return f"bad character U+{ord(bad):04X} '{bad}'"
    return f"unrecognized character in action: U+{ord(first):04X} '{first}'"

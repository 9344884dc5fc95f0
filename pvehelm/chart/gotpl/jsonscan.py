"""The JSON scanner: what Go's encoding/json says of a text that is no JSON."""

from __future__ import annotations

import re

from pvehelm.chart.gotpl.quoting import quote
from pvehelm.chart.gotpl.values import to_bytes

_BLANKS = re.compile(rb"[ \t\r\n]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(rb"[0-9]*")
_WORDS = {word[0]: word for word in (b"true", b"false", b"null")}
_END = "unexpected end of JSON input"


class _Stop(Exception):
    """The scanner cannot go on; the message says why."""


def complaint(value: str) -> str:
    """Go's message for a text that is no JSON; the end of the text is scanned as a blank, as Go does."""
    scanner = _Scanner(to_bytes(value) + b" ")
    try:
        scanner.value()
        scanner.blanks()
        if scanner.at < len(scanner.data):
            scanner.fail("after top-level value")
    except _Stop as stop:
        return str(stop)
    except RecursionError:
        return "exceeded max depth"
    return _END


class _Scanner:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def fail(self, context: str) -> None:
        raise _Stop(f"invalid character {quote(chr(self.peek()), chr(39))} {context}")

    def peek(self) -> int:
        """The character at this place."""
        if self.at >= len(self.data):
            raise _Stop(_END)
        return self.data[self.at]

    def taken(self, chars: bytes) -> int:
        """The character at this place if it is one of these, which is behind us then; else 0."""
        found = self.peek()
        if found not in chars:
            return 0
        self.at += 1
        return found

    def skip(self, pattern: re.Pattern[bytes]) -> None:
        found = pattern.match(self.data, self.at)
        self.at = found.end() if found else self.at

    def blanks(self) -> None:
        self.skip(_BLANKS)

    def value(self) -> None:
        self.blanks()
        char = self.peek()
        if self.taken(b"{"):
            self.members()
        elif self.taken(b"["):
            self.elements()
        elif self.taken(b'"'):
            self.string()
        elif char in b"-0123456789":
            self.number()
        elif char in _WORDS:
            self.word(_WORDS[char])
        else:
            self.fail("looking for beginning of value")

    def members(self) -> None:
        self.blanks()
        if self.taken(b"}"):
            return
        while True:
            self.blanks()
            if not self.taken(b'"'):
                self.fail("looking for beginning of object key string")
            self.string()
            self.blanks()
            if not self.taken(b":"):
                self.fail("after object key")
            self.value()
            self.blanks()
            if self.taken(b"}"):
                return
            if not self.taken(b","):
                self.fail("after object key:value pair")

    def elements(self) -> None:
        self.blanks()
        if self.taken(b"]"):
            return
        while True:
            self.value()
            self.blanks()
            if self.taken(b"]"):
                return
            if not self.taken(b","):
                self.fail("after array element")

    def string(self) -> None:
        while True:
            self.skip(_PLAIN)
            if self.taken(b'"'):
                return
            if not self.taken(b"\\"):
                self.fail("in string literal")
            if self.taken(b"u"):
                for _ in range(4):
                    if not self.taken(b"0123456789abcdefABCDEF"):
                        self.fail("in \\u hexadecimal character escape")
            elif not self.taken(b'bfnrt\\/"'):
                self.fail("in string escape code")

    def number(self) -> None:
        self.taken(b"-")
        if not self.taken(b"0"):
            if not self.taken(b"123456789"):
                self.fail("in numeric literal")
            self.skip(_DIGITS)
        if self.taken(b"."):
            if not self.taken(b"0123456789"):
                self.fail("after decimal point in numeric literal")
            self.skip(_DIGITS)
        if self.taken(b"eE"):
            self.taken(b"+-")
            if not self.taken(b"0123456789"):
                self.fail("in exponent of numeric literal")
            self.skip(_DIGITS)

    def word(self, word: bytes) -> None:
        for char in word:
            if not self.taken(bytes((char,))):
                self.fail(f"in literal {word.decode()} (expecting '{chr(char)}')")

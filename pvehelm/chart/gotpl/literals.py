"""The literals: what strings, characters and numbers written in a template stand for, as in Go."""

from __future__ import annotations

import re
from typing import Any

_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.|\Z))", re.DOTALL
)
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}


def unquote(text: str) -> str:
    """The string that a Go literal, quoted or raw, stands for. Raises ValueError."""
    if text[0] == "`":
        return text[1:-1].replace("\r", "")
    quote, body = text[0], text[1:-1]
    if "\\" not in body:
        return body

    def escaped(found: re.Match[str]) -> bytes:
        plain, byte, octal, short, long, wrong = found.groups()
        if plain:
            if plain in "'\"" and plain != quote:
                raise ValueError("invalid syntax")
            return _PLAIN[plain].encode()
        if byte or octal:
            number = int(byte, 16) if byte else int(octal, 8)
            if number > 255:
                raise ValueError("invalid syntax")
            return chr(number).encode() if quote == "'" else bytes([number])
        if wrong is not None:
            raise ValueError("invalid syntax")
        number = int(short or long, 16)
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise ValueError("invalid syntax")
        return chr(number).encode()

    out, at = [], 0
    for found in _ESCAPE.finditer(body):
        out += [body[at : found.start()].encode("utf-8", "surrogateescape"), escaped(found)]
        at = found.end()
    out.append(body[at:].encode("utf-8", "surrogateescape"))
    return b"".join(out).decode("utf-8", "surrogateescape")


_FLOAT = re.compile(
    r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])*\.?(?:[0-9a-fA-F](?:_?[0-9a-fA-F])*)?[pP][+-]?[0-9](?:_?[0-9])*"
    r"|(?=\.?[0-9])(?:[0-9](?:_?[0-9])*)?\.?(?:[0-9](?:_?[0-9])*)?(?:[eE][+-]?[0-9](?:_?[0-9])*)?)\Z"
)
_INTEGER = re.compile(
    r"([+-]?)(0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|0(?:_?[0-7])*|[1-9](?:_?[0-9])*)\Z"
)


class Number:
    """A number literal as Go sees it: what it is (``is_int``...), and those values. Raises ValueError."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.complex = 0j
        self.float = 0.0
        self.int = self.uint = 0
        self.is_int = self.is_uint = self.is_float = self.is_complex = False
        if text[:1] == "'":
            self._character()
        elif text[-1:] == "i":
            self._complex()
        else:
            self._real()

    def _character(self) -> None:
        if self.text == "''":
            raise ValueError("invalid syntax")
        if len(self.text) < 3 or self.text[-1] != "'":
            raise ValueError(f"malformed character constant: {self.text}")
        found = unquote(self.text)
        if len(found) != 1:
            raise ValueError(f"malformed character constant: {self.text}")
        self.int = self.uint = ord(found)
        self.float = float(self.int)
        self.is_int = self.is_uint = self.is_float = True

    def _complex(self) -> None:
        body = self.text[:-1]
        split = max((at for at in range(1, len(body)) if body[at] in "+-" and body[at - 1] not in "eEpP"), default=0)
        real, imaginary = (_float(body[:split]) if split else 0.0), _float(body[split:])
        if real is None or imaginary is None:
            raise ValueError(f'illegal number syntax: "{self.text}"')
        self.complex = complex(real, imaginary)
        self.is_complex = True
        if imaginary == 0:
            self._from_float(real)

    def _real(self) -> None:
        whole = _INTEGER.match(self.text)
        value = None
        if whole:
            digits = whole[2].replace("_", "")
            if digits[:2].lower() not in ("0x", "0o", "0b") and digits[0] == "0":
                digits = "0o0" + digits
            value = int(whole[1] + digits, 0)
            self.is_int = -(1 << 63) <= value < 1 << 63
            self.is_uint = (not whole[1] and value < 1 << 64) or (value == 0)
        if self.is_int or self.is_uint:
            assert value is not None
            self.int = value if self.is_int else 0
            self.uint = value if self.is_uint else 0
            self.float, self.is_float = float(value), True
            return
        found = _float(self.text)
        if found is None:
            raise ValueError(f'illegal number syntax: "{self.text}"')
        if not any(char in self.text for char in ".eEpP"):
            raise ValueError(f'integer overflow: "{self.text}"')
        self._from_float(found)

    def _from_float(self, value: float) -> None:
        self.float, self.is_float = value, True
        if value.is_integer():
            if -(1 << 63) <= value < 1 << 63:
                self.int, self.is_int = int(value), True
            if 0 <= value < 1 << 64:
                self.uint, self.is_uint = int(value), True

    def constant(self) -> Any:
        """Its value where no type is asked for; None when that is an int which is too large."""
        if self.is_complex:
            return self.complex
        hexadecimal = (
            len(self.text) > 2 and self.text.lstrip("+-")[:2].lower() == "0x" and not set("pP") & set(self.text)
        )
        if self.is_float and not hexadecimal and self.text[0] != "'" and any(c in self.text for c in ".eEpP"):
            return self.float
        return self.int if self.is_int else None


def _float(text: str) -> float | None:
    if not _FLOAT.match(text):
        return None
    plain = text.replace("_", "")
    try:
        value = float.fromhex(plain) if "x" in plain.lower() else float(plain)
    except OverflowError:
        return None
    return None if value in (float("inf"), float("-inf")) else value

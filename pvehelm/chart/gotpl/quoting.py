"""The quoted text: Go's strconv.Quote."""

from __future__ import annotations


def quote(value: str, mark: str = '"', ascii_only: bool = False) -> str:
    """strconv.Quote: a Go string literal."""
    if value.isascii() and value.isprintable():
        if "\\" in value:
            value = value.replace("\\", "\\\\")
        if mark in value:
            value = value.replace(mark, "\\" + mark)
        return mark + value + mark
    return mark + "".join([_quoted(char, mark, ascii_only) for char in value]) + mark


def quote_bytes(value: str) -> str:
    """As package time quotes in its errors: byte by byte what is not printable ASCII."""
    shown = value.replace("\\", "\\\\").replace('"', '\\"').encode("utf-8", "surrogateescape")
    return '"' + "".join(chr(byte) if 32 <= byte < 128 else f"\\x{byte:02x}" for byte in shown) + '"'


_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\"}


def _quoted(char: str, mark: str, ascii_only: bool) -> str:
    if char == mark:
        return "\\" + char
    if char in _ESCAPES:
        return _ESCAPES[char]
    code = ord(char)
    if code < 0x80:
        return char if 32 <= code < 127 else f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if not ascii_only and char.isprintable():
        return char
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def backquotable(value: str) -> bool:
    """strconv.CanBackquote."""
    return all(
        char == "\t" or (ord(char) >= 32 and char not in "`\x7f\ufeff" and not 0xDC80 <= ord(char) <= 0xDCFF)
        for char in value
    )

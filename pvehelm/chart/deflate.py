"""The deflate stream of a package, byte for byte the same wherever it is made.

zlib promises that its output decompresses, not what it is: zlib, zlib-ng and their versions differ, and so would the
digest of a chart packaged twice. Charts are small, so a plain encoder with the format's fixed codes will do.
"""

from __future__ import annotations

import zlib

PLAIN_LIMIT = 1 << 20  # larger inputs are stored as they are: this encoder takes two seconds a MiB

_WINDOW = 32768
_MIN, _MAX = 4, 258
_TRIES = 16


def gzip(data: bytes) -> bytes:
    """``data`` as a gzip file with no name, no time and no system."""
    body = _compressed(data) if len(data) <= PLAIN_LIMIT else _stored(data)
    end = zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + body + end


def _stored(data: bytes) -> bytes:
    out = bytearray()
    for start in range(0, max(len(data), 1), 0xFFFF):
        block = data[start : start + 0xFFFF]
        size = len(block)
        out.append(start + size >= len(data))
        out += size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + block
    return bytes(out)


def _reversed(code: int, width: int) -> int:
    return int(format(code, f"0{width}b")[::-1], 2)


def _symbol(value: int) -> tuple[int, int]:
    """The fixed code of a literal or length symbol, its bits in the order they are written, and their number."""
    if value < 144:
        return _reversed(0x30 + value, 8), 8
    if value < 256:
        return _reversed(0x190 + value - 144, 9), 9
    if value < 280:
        return _reversed(value - 256, 7), 7
    return _reversed(0xC0 + value - 280, 8), 8


def _ranges(extras: list[int], start: int) -> list[tuple[int, int]]:
    """(first value, extra bits) of each symbol."""
    out = []
    for extra in extras:
        out.append((start, extra))
        start += 1 << extra
    return out


_LITERALS = [_symbol(value) for value in range(257)]
_LENGTHS: dict[int, tuple[int, int]] = {}
for _index, (_first, _extra) in enumerate(_ranges([0] * 8 + [n for n in range(1, 6) for _ in range(4)], 3)):
    _bits, _width = _symbol(257 + _index)
    for _offset in range(1 << _extra):
        _LENGTHS[_first + _offset] = (_bits | _offset << _width, _width + _extra)
_LENGTHS[258] = _symbol(285)
_DISTANCES = _ranges([0, 0] + [n for n in range(14) for _ in range(2)], 1)


def _distance(value: int) -> tuple[int, int]:
    low, high = 0, len(_DISTANCES) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if _DISTANCES[middle][0] <= value:
            low = middle
        else:
            high = middle - 1
    first, extra = _DISTANCES[low]
    return _reversed(low, 5) | value - first << 5, 5 + extra


def _compressed(data: bytes) -> bytes:
    """One final block with fixed codes: earlier text is referred to where it comes again."""
    out = bytearray()
    bits, width = 0b011, 3
    seen: dict[bytes, list[int]] = {}
    at, size = 0, len(data)
    while at < size:
        length = distance = 0
        key = data[at : at + _MIN]
        places = seen.get(key, ()) if len(key) == _MIN else ()
        for place in reversed(places[-_TRIES:]):
            if at - place > _WINDOW:
                break
            found = _common(data, place, at, size)
            if found > length:
                length, distance = found, at - place
                if length == _MAX:
                    break
        if length >= _MIN:
            for value, count in (_LENGTHS[length], _distance(distance)):
                bits |= value << width
                width += count
        else:
            length = 1
            value, count = _LITERALS[data[at]]
            bits |= value << width
            width += count
        for place in range(at, at + length, 1 if length <= 32 else 8):
            seen.setdefault(data[place : place + _MIN], []).append(place)
        at += length
        if width >= 512:
            whole = width // 8
            out += (bits & (1 << whole * 8) - 1).to_bytes(whole, "little")
            bits >>= whole * 8
            width -= whole * 8
    bits |= _LITERALS[256][0] << width
    width += _LITERALS[256][1]
    return bytes(out) + bits.to_bytes((width + 7) // 8, "little")


def _common(data: bytes, left: int, right: int, size: int) -> int:
    """How many bytes from two places on are the same, at most 258."""
    limit = min(_MAX, size - right)
    if data[left : left + limit] == data[right : right + limit]:
        return limit
    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        if data[left : left + middle] == data[right : right + middle]:
            low = middle
        else:
            high = middle
    return low

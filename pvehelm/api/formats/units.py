"""The small readings that every format shares: booleans, numbers, sizes, lists, and how a Python value is spelled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_TRUE = frozenset({"1", "on", "yes", "true"})
_FALSE = frozenset({"0", "off", "no", "false"})
_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]? *(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT])?")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def is_integer(text: str) -> bool:
    """Whether the server takes ``text`` as a whole number (leading zeros are fine, blanks are not)."""
    return _INTEGER.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """Whether the server takes ``text`` as a number."""
    return _NUMBER.fullmatch(text) is not None


def parse_boolean(text: str) -> bool | None:
    """The boolean that a word inside a property string means, or None."""
    word = text.lower()
    if word in _TRUE:
        return True
    return False if word in _FALSE else None


def parse_size(text: str) -> int:
    """Bytes of a size such as ``32G``, ``1.5M`` or ``528K``. Raises ValueError for anything else."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"'{text}' is no size; write a number with an optional unit K, M, G or T")
    number, unit = match[1], _UNITS[match[2] or ""]
    try:
        return int(number) * unit if number.isdecimal() else int(float(number) * unit)
    except OverflowError:
        raise ValueError(f"'{text}' is no size: out of all proportion") from None


def format_size(size: int) -> str:
    """Bytes in the largest unit that divides them, as Proxmox writes sizes: ``32G``, ``528K``, ``100``."""
    text = str(size)
    for unit in "KMGT":
        if size == 0 or size % 1024:
            break
        size //= 1024
        text = f"{size}{unit}"
    return text


def split_list(text: str) -> list[str]:
    """The items of a list value: separated by NUL if there is one, else by commas, semicolons and white space."""
    if "\0" in text:
        return text.rstrip("\0").split("\0")
    return re.sub("[,;]", " ", text).split()


def split_commas(text: str) -> list[str]:
    """The items between commas; empty ones at the end do not count, as on the server."""
    return text.rstrip(",").split(",") if text.strip(",") else []


def wire_text(param: Mapping[str, Any], value: Any) -> str:
    """How a Python value is spelled for ``param``: booleans as 0 or 1 (or the enumeration's word), no ``.0``.

    Lists become items joined by ``;``, the separator inside property strings.
    """
    if isinstance(value, bool):
        words = param.get("enum") or ()
        for word in words:
            if str(word) not in ("0", "1") and parse_boolean(str(word)) is value:
                return str(word)
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return ";".join(wire_text({}, item) for item in items)
    text = str(value)
    if param.get("type") == "boolean":
        flag = parse_boolean(text)
        return text if flag is None else str(int(flag))
    return text

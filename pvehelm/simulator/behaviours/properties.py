"""Property strings as the server itself rewrites them.

Only drives and network devices are written anew by a server, everything else stays the text that was sent. ``fmt``
is the mapping of sub-keys from the schema. Values stay text: whoever calls here has had them checked already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pvehelm.api.schema import Operation

Format = Mapping[str, Mapping[str, Any]]
Properties = dict[str, str]


def split(text: str, fmt: Format) -> Properties:
    """``virtio=MAC,bridge=vmbr0`` -> ``{"model": "virtio", "macaddr": MAC, "bridge": "vmbr0"}``."""
    found: Properties = {}
    default = next((key for key, facts in fmt.items() if facts.get("default_key")), "")
    for part in text.split(","):
        key, equals, value = part.partition("=")
        facts = fmt.get(key, {}) if equals else {}
        if not equals:
            found[default] = part
        elif "alias" in facts:
            found[str(facts["alias"])] = value
            if "keyAlias" in facts:
                found[str(facts["keyAlias"])] = key
        else:
            found[key] = value
    return found


def join(values: Mapping[str, str], fmt: Format, skip: Iterable[str] = ()) -> str:
    """The server's order: the default key bare, what is required, the rest by name."""
    left = {key: value for key, value in values.items() if key not in skip}
    parts = []
    for key, facts in fmt.items():
        if facts.get("default_key") and key in left:
            value = left.pop(key)
            shown = next((k for k, f in fmt.items() if k == value and f.get("keyAlias") == key), None)
            partner = str(fmt[shown]["alias"]) if shown else ""
            parts.append(f"{value}={left.pop(partner)}" if partner in left else value)
    for key in sorted(left, key=lambda k: (k not in fmt or bool(fmt[k].get("optional")), k)):
        parts.append(f"{key}={left[key]}")
    return ",".join(parts)


def typed(operation: Operation, name: str, value: Any) -> Any:
    """A value as a configuration file gives it back: whole numbers and booleans as numbers, all else as text."""
    param = operation.param(name)
    if param is not None and param.type in ("integer", "boolean"):
        if isinstance(value, bool):
            return int(value)
        return int(float(value))
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    # A line `key: value` loses its margins, and one that is all margin keeps a single blank.
    return str(value).strip() or " "


_TAG_SEPARATORS = re.compile(r"[,;\s]+")


def unique_tags(text: str, *, case_sensitive: bool = False, ordered: bool = False) -> str:
    """``b,a,B`` -> ``a;b``."""
    tags = [tag for tag in _TAG_SEPARATORS.split(text) if tag]
    if not case_sensitive:
        tags = [tag.lower() for tag in tags]
    tags = list(dict.fromkeys(tags))
    return ";".join(tags if ordered else sorted(tags))


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int:
    """``3584M`` -> bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text)
    if found is None:
        raise ValueError(f"unable to parse size '{text}'")
    return int(float(found[1]) * _UNITS[found[2]])


def print_size(size: int) -> str:
    """Bytes in the largest unit that needs no fraction: ``3584M``."""
    for unit in ("", "K", "M", "G"):
        if size % 1024:
            return f"{size}{unit}"
        size //= 1024
    return f"{size}T"

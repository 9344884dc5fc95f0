"""The mark of a guest: the hidden last line of its description that says whose it is; and what else tells it from a
later one of its number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Made anew with every guest: the identities of its hardware, the moment of its making.
_UNIQUE = ("smbios1", "vmgenid", "meta")
_ADDRESS = re.compile(r"\b(?:[0-9A-F]{2}:){5}[0-9A-F]{2}\b", re.IGNORECASE)
MARK = re.compile(r"<!-- pvehelm release=")
"""Where a text holds a mark, or the beginning of one."""
_MARK = re.compile(r"\n?<!-- pvehelm release=(\S+) object=(\S+) vmid=(\S+) -->\s*\Z")


@dataclass(frozen=True, slots=True)
class Mark:
    """A release by its uid, its object by ref, and the VMID that the mark was made for: a copy carries another's."""

    uid: str
    ref: str
    vmid: str

    def __str__(self) -> str:
        return f"<!-- pvehelm release={self.uid} object={self.ref} vmid={self.vmid} -->"


def split_mark(description: str) -> tuple[str, Mark | None]:
    """A description without its mark, and the mark."""
    found = _MARK.search(description) if description else None
    if not found:
        return (description or "").removesuffix("\n"), None
    return description[: found.start()].removesuffix("\n"), Mark(found[1], found[2], found[3])


def traits(config: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a guest with this configuration from a later one of its number, as texts by name: its mark alone where
    it has one; else what is made anew with every guest."""
    mark = split_mark(str(config.get("description") or ""))[1]
    if mark is not None:
        return {"mark": str(mark)}
    found = {name: str(config[name]) for name in _UNIQUE if name in config}
    return found or {"net0": _address(config), "rootfs": str(config.get("rootfs", ""))}


def is_another(was: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether the guest with this configuration is not the one that ``was`` are the traits of."""
    mark = split_mark(str(config.get("description") or ""))[1]
    now = {**config, "mark": str(mark), "net0": _address(config)}
    return any(str(now.get(name, "")) != value for name, value in was.items())


def _address(config: Mapping[str, Any]) -> str:
    """The hardware address of the first network device."""
    found = _ADDRESS.search(str(config.get("net0", "")))
    return found[0].upper() if found else ""

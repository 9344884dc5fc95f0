"""The mark of a guest: the hidden last line of its description that says whose it is."""

from __future__ import annotations

import re
from dataclasses import dataclass

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

"""Passthrough: what a guest gets of its host past the storages and mappings that are there for it.

Whoever may ask for these owns the host: a folder of it in a container, its disks, devices and programs. A chart gets
them only where the user said so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_ALWAYS = re.compile(r"(args|hookscript|(dev|parallel)\d+)\Z")
_DEVICE = re.compile(r"(hostpci|usb|serial)\d+\Z")
# Where a property string names a volume, or a path of the host in its place.
_PLACES = ("volume", "file")
# What a disk or a container is made of.
_SOURCES = ("import-from", "ostemplate")


def passed_through(fields: Mapping[str, Any], once: Mapping[str, Any]) -> Iterator[str]:
    """The names of those lowered fields of a guest, and of what only its creation is told, that reach the host
    itself."""
    for name, value in fields.items():
        if value is None:
            continue
        if _ALWAYS.match(name) or (_reaches(value) if not _DEVICE.match(name) else _is_raw(value)):
            yield name
    for leaf, value in once.items():
        if leaf.endswith(_SOURCES) and str(value).startswith("/"):
            yield leaf.partition(".")[0]


def _reaches(value: Any) -> bool:
    places = [value.get(place) for place in _PLACES] if isinstance(value, Mapping) else []
    return any(isinstance(place, str) and place.startswith("/") for place in places)


def _is_raw(value: Any) -> bool:
    """Whether a device is named itself, not by a mapping that an administrator made for guests."""
    if isinstance(value, Mapping):
        return bool(value.get("romfile")) or str(value.get("host") or "spice").partition(",")[0] != "spice"
    return str(value) not in ("socket", "spice")

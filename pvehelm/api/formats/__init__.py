"""The formats of the Proxmox API: check, parse, print and compare values.

``check_value`` says what a server would, ``parse`` and ``print_`` turn property strings into objects and back, and
``same`` is the one place that knows when two spellings mean the same.
"""

from __future__ import annotations

from pvehelm.api.formats.check import check_value, known_format, parse, validate_format
from pvehelm.api.formats.propstring import lone_key, print_, subkeys
from pvehelm.api.formats.sameness import same
from pvehelm.api.formats.units import format_size, parse_size, split_list

__all__ = [
    "check_value",
    "format_size",
    "known_format",
    "lone_key",
    "parse",
    "parse_size",
    "print_",
    "same",
    "split_list",
    "subkeys",
    "validate_format",
]

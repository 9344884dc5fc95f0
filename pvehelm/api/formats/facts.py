"""The data file behind the formats, read once when first needed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from pvehelm.api.releases import DATA


@cache
def _data() -> Mapping[str, Any]:
    with open(os.path.join(DATA, "formats.json"), encoding="utf-8") as file:
        data: dict[str, Any] = json.loads(file.read())
    return data


@cache
def words(name: str) -> frozenset[str]:
    """One of the word lists: ``cpu_models``, ``cpu_flags``, ``privileges``, ``services``, ``timezones``..."""
    return frozenset(_data()[name])


@cache
def protocol_words() -> frozenset[str]:
    """IP protocols by name and by number, as text."""
    table: Mapping[str, int] = _data()["protocols"]
    return frozenset(table) | {str(number) for number in table.values()}


def property_string(name: str) -> Mapping[str, Mapping[str, Any]] | None:
    """Sub-definitions of the named property string, or None if ``name`` is not one."""
    found: Mapping[str, Mapping[str, Any]] | None = _data()["property_strings"].get(name)
    return found

"""What each type of a storage, realm, ... takes: ``data/type-options.json``, facts the schema does not have.

``{kind: {type: {"options": [...], "required": [...], "fixed": [...], "content": [...]}}}``, observed on 9.2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any


@cache
def _load() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    text = resources.files("pvehelm.api").joinpath("data", "type-options.json").read_text(encoding="utf-8")
    loaded: Mapping[str, Mapping[str, Mapping[str, Any]]] = json.loads(text)
    return loaded


def options_of(kind: str, type_: str) -> Mapping[str, Any] | None:
    """The facts of one type, or None when nobody has watched it."""
    return _load().get(kind, {}).get(type_)


@cache
def known_options(kind: str) -> frozenset[str]:
    """Every option that some type of a kind takes."""
    return frozenset(option for row in _load().get(kind, {}).values() for option in row["options"])

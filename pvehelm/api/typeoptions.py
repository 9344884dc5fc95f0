"""What each type of a storage, realm, ... takes: ``data/type-options.json``, facts the schema does not have.

``{kind: {type: {"options": [...], "required": [...], "fixed": [...], "content": [...]}}}``, observed on 9.2.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from pvehelm.api.releases import DATA


@cache
def _load() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    with open(os.path.join(DATA, "type-options.json"), encoding="utf-8") as file:
        loaded: Mapping[str, Mapping[str, Mapping[str, Any]]] = json.loads(file.read())
    return loaded


def options_of(kind: str, type_: str) -> Mapping[str, Any] | None:
    """The facts of one type, or None when nobody has watched it."""
    return _load().get(kind, {}).get(type_)


@cache
def known_options(kind: str) -> frozenset[str]:
    """Every option that some type of a kind takes."""
    return frozenset(option for row in _load().get(kind, {}).values() for option in row["options"])

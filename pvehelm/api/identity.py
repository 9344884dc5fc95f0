"""Which row of a list is meant, and what it stands for."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any


def as_configured(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """A row with what waits to be applied as if it were applied; None for one that is to go."""
    found = dict(row)
    if row.get("state") == "deleted":
        return None
    for name, value in (found.pop("pending", None) or {}).items():
        if value == "deleted":
            found.pop(name, None)
        else:
            found[name] = value
    return found


def identifies(form: str, shown: str, meant: str) -> bool:
    """Whether an identifier of the server stands for what a manifest names; see FieldRule.compare."""
    if form in ("basename", "stem"):
        name, own = re.split(r"[/:]", shown)[-1], re.split(r"[/:]", meant)[-1]
        return name == own or (form == "stem" and name.startswith(f"{own}."))
    network, _, length = shown.rpartition("-")
    network = network.rpartition("-")[2]
    try:
        return ipaddress.ip_network(f"{network}/{length}") == ipaddress.ip_network(meant, strict=False)
    except ValueError:
        return shown == meant


def same_id(one: Any, other: Any, *, fold: bool) -> bool:
    left, right = str(one), str(other)
    if fold:
        left, right = left.lower(), right.lower()
    # A bare VMID means the HA resource of that guest, whatever its type.
    return left == right or left.partition(":")[2] == right

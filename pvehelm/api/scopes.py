"""Where a thing belongs when the API has it at several places: the cluster, a node, a guest, a virtual network.

Written in a manifest as ``cluster``, ``node/pve1``, ``VirtualMachine/web``, ``Container/db``, a bare VMID or
``vnet/blue``. A guest's place is known late (its node may change, its VMID may not exist yet), so paths hold
``${vmid:REF}`` and ``${node:REF}`` until both are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pvehelm.api.kind import Get, Key

GUESTS = {"VirtualMachine": "vm", "Container": "ct"}
TYPES = {"qemu": "vm", "lxc": "ct"}
PREFIXES = {
    "cluster": "/cluster",
    "node": "/nodes/{node}",
    "vm": "/nodes/{node}/qemu/{vmid}",
    "ct": "/nodes/{node}/lxc/{vmid}",
    "vnet": "/cluster/sdn/vnets/{vnet}",
}
_HOLE = re.compile(r"(\$\{[^}]*\})")
_VMID = re.compile(r"[1-9][0-9]{2,8}\Z")


@dataclass(frozen=True, slots=True)
class Scope:
    """``type`` is cluster, node, vm, ct, vnet, or guest (a bare VMID: which of the two is read from the cluster)."""

    type: str
    name: str = ""

    @property
    def is_guest(self) -> bool:
        return self.type in ("vm", "ct", "guest")

    @property
    def ref(self) -> str:
        """The guest as a reference: ``VirtualMachine/web`` or the bare VMID."""
        return self.name if self.is_guest else ""


def parse(text: Any) -> Scope | None:
    """The scope a manifest means, or None when it means none."""
    text = str(text)
    if text == "cluster":
        return Scope("cluster")
    if _VMID.match(text):
        return Scope("guest", text)
    head, slash, name = text.partition("/")
    if not slash or not name or "/" in name:
        return None
    if head in GUESTS:
        return Scope(GUESTS[head], text)
    return Scope(head, name) if head in ("node", "vnet") else None


def is_guest_ref(text: Any) -> bool:
    """Whether a value means a guest: ``VirtualMachine/x``, ``Container/x`` or a VMID."""
    found = parse(text) if isinstance(text, str | int) and not isinstance(text, bool) else None
    return found is not None and found.is_guest


def segment(value: Any) -> str:
    """A value as one segment of a path; placeholders stay readable."""
    return "".join(
        part if part.startswith("${") else quote(part, safe=":@!") for part in _HOLE.split(str(value)) if part
    )


def fill(template: str, values: Mapping[str, Any]) -> str:
    """``/pools/{poolid}`` with its variables replaced."""
    return re.sub(r"(?<!\$)\{([^}]+)\}", lambda found: segment(values[found[1]]), template)


async def place(key: Key, get: Get) -> dict[str, str] | None:
    """The path variables of a key's scope, read where they are not in the key; None while the guest does not exist."""
    scope = parse(key["scope"]) or Scope("cluster")
    if not scope.is_guest:
        return {"node": scope.name} if scope.type == "node" else {"vnet": scope.name} if scope.type == "vnet" else {}
    vmid = str(key.get("vmid", ""))
    if not vmid.isdecimal():
        return None
    known = scope.type if scope.type != "guest" else key.get("guest")
    if key.get("node") and known:
        return {"vmid": vmid, "node": str(key["node"]), "guest": str(known)}
    found = (await guests(get)).get(vmid)
    return {"vmid": vmid, "node": found[0], "guest": found[1]} if found else None


async def guests(get: Get) -> dict[str, tuple[str, str]]:
    """Every guest of the cluster: VMID -> (node, ``vm`` or ``ct``)."""
    rows = await get("/cluster/resources")
    return {
        str(row["vmid"]): (str(row.get("node", "")), TYPES.get(str(row.get("type")), "vm"))
        for row in rows or []
        if "vmid" in row
    }

"""The cluster's nodes as a kind that is only looked at: ``get nodes``, ``describe node pve1``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pvehelm.api.kind import Field, Get, Key, Kind, Live


class NodeKind(Kind):
    """A node. There is nothing to create or to change; its settings are kinds of their own."""

    name = "Node"
    plural = "Nodes"
    short = ("node", "no")
    evidence = "recorded"
    columns = (
        "STATUS=status",
        "CPU=cpu:percent",
        "CPUS=maxcpu",
        "MEM=mem:size",
        "OF=maxmem:size",
        "UPTIME=uptime:time",
    )
    wide = ("DISK=disk:size", "OF=maxdisk:size", "LEVEL=level", "FINGERPRINT=ssl_fingerprint")

    def fields(self) -> Mapping[str, Field]:
        return {}

    async def read(self, key: Key, get: Get) -> Live | None:
        """The node as the list of nodes has it, None for a name that none has."""
        rows = await get("/nodes") or []
        row: Mapping[str, Any] | None = next((row for row in rows if row.get("node") == key["node"]), None)
        return Live(dict(key), {}, extra={"row": row}) if row is not None else None


NODE = NodeKind()
WORDS = frozenset(("node", "nodes", "no"))

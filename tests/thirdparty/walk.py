"""The walk of tests.api.sweep with fakepve at the other end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pvehelm.api.auth import TicketAuth
from pvehelm.api.client import Client
from pvehelm.api.tls import TLS
from tests.api.sweep import Variant, Walk, variants
from tests.thirdparty.lab import FINDINGS, Peer

HELD = frozenset(
    {"Pool", "Storage", "SecurityGroup", "FirewallRules", "FirewallOptions", "IPSet", "Alias"}
    | {"VirtualMachine", "Container", "Image", "Volume"}
)
"""The kinds that fakepve keeps; it answers for the others without keeping anything."""


def held(*, known: bool = True) -> Iterator[Variant]:
    """The beginnings of 9.2 that need nothing but what fakepve keeps; ``known``: without what it gets wrong."""
    for variant in variants(("9.2",)):
        if {variant.kind, *(row["kind"] for row in variant.row.get("setup", ()))} <= HELD:
            wrong = _wrong(variant) if known else {}
            yield replace(variant, row={**variant.row, "skip": {**variant.row.get("skip", {}), **wrong}})


def _wrong(variant: Variant) -> dict[str, str]:
    """The fields that fakepve gets wrong, with the reason."""
    mine = [row for row in FINDINGS if (row["kind"], row["variant"]) == (variant.kind, variant.name)]
    return {name: row["why"] for row in mine for name in row["fields"]}


class ForeignWalk(Walk):
    """One object on its way through specs on fakepve."""

    def __init__(self, variant: Variant, folder: Path) -> None:
        super().__init__(variant, folder)
        self.peer = Peer(folder)

    async def _dial(self) -> Client:
        tls = TLS(fingerprint=self.peer.fingerprint)
        return Client(self.peer.url, TicketAuth("root@pam", "secret"), tls=tls)

    async def close(self) -> None:
        await super().close()
        self.peer.close()

"""Reading for a plan: each thing once, what is owned first, and no word about what nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from pvehelm.api.kinds import Kinds
from pvehelm.api.schema import Schema
from pvehelm.errors import TransportError
from pvehelm.release.inventory import Inventory, Owned
from pvehelm.release.live import Reader, begin

KINDS = Kinds.load(Schema.load("9.2"))
ROWS = [{"type": "qemu", "vmid": 100 + n, "node": "pve1", "status": "stopped"} for n in range(30)]
OWNED = Inventory(
    {
        f"VirtualMachine/vm-{n}": Owned(f"VirtualMachine/vm-{n}", "VirtualMachine", f"vm-{n}", None, {"vmid": 100 + n})
        for n in range(30)
    }
)


class Server:
    """What answers: each question after a few turns of the loop."""

    def __init__(self, broken: str = "") -> None:
        self.asked: list[str] = []
        self.answered: list[str] = []
        self.broken = broken

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        self.asked.append(path)
        for _ in range(5):
            await asyncio.sleep(0)
        self.answered.append(path)
        if path == self.broken:
            raise TransportError("no answer", sent=True)
        if path.endswith("/pending"):
            return [{"key": "memory", "value": 512}]
        return ROWS


def test_guests_are_asked_for_when_it_is_known_where_they_are() -> None:
    server = Server()

    async def read() -> None:
        reader = Reader(server)
        await begin(OWNED, KINDS.get, reader)
        assert server.answered == ["/cluster/resources"]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len([path for path in server.asked if path.endswith("/pending")]) == 30
        found = await asyncio.gather(*reader.early.values())
        assert [live.fields["memory"] for live in found if live] == ["512"] * 30
        assert len(server.asked) == len(set(server.asked)) == 32 == reader.requests

    asyncio.run(read())


def test_a_list_that_is_not_to_be_had_is_told_to_who_waits_for_a_guest() -> None:
    async def read() -> None:
        reader = Reader(Server(broken="/cluster/resources"))
        await begin(OWNED, KINDS.get, reader)
        with pytest.raises(TransportError, match="no answer"):
            await next(iter(reader.early.values()))

    asyncio.run(read())


def test_what_is_known_is_there_at_once() -> None:
    async def read() -> None:
        reader = Reader(Server())
        first = await reader("/cluster/resources")
        asked = reader("/cluster/resources")
        with pytest.raises(StopIteration) as now:
            asked.send(None)
        assert now.value.value is first

    asyncio.run(read())

"""What is begun before it is wanted: once for all who wait, told to whoever waits, and no word to who does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

import httpx
import pytest

from pvehelm.actions.releases import Request, upgrade
from pvehelm.api.client import Client
from pvehelm.chart.chart import load
from pvehelm.errors import InvalidError, TransportError
from pvehelm.release.ahead import ahead
from pvehelm.release.context import Context
from pvehelm.release.desire import Options
from pvehelm.release.identifiers import Numbers
from tests.release.charts import SCALED
from tests.release.lab import Lab, with_context


class Server:
    """A client whose answers take a few turns of the loop; the first ``broken`` requests are not answered."""

    def __init__(self, release: str = "9.2", broken: int = 0) -> None:
        self.release = release
        self.broken = broken
        self.asked: list[str] = []
        self.closed = False
        self.used = [101, 103]
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        self.asked.append(path)
        for _ in range(5):
            await asyncio.sleep(0)
        if self.broken:
            self.broken -= 1
            raise TransportError("no answer", sent=True)
        if path == "/cluster/nextid":
            return next(number for number in range(100, 1000) if number not in self.used)
        return [{"vmid": number} for number in self.used]

    async def version(self) -> dict[str, Any]:
        await self.get("/version")
        return {"version": self.release}

    async def aclose(self) -> None:
        self.closed = True


def numbers(server: Server) -> Numbers:
    return Numbers(cast(Client, server))


@pytest.mark.parametrize("early", [True, False])
def test_numbers_are_asked_for_once_and_each_is_given_once(early: bool) -> None:
    server = Server()

    async def give() -> list[int]:
        free = numbers(server)
        if early:
            free.ahead()
            free.ahead()
        return await asyncio.gather(*(free.free() for _ in range(4)))

    assert sorted(asyncio.run(give())) == [100, 102, 104, 105]
    assert sorted(server.asked) == ["/cluster/nextid", "/cluster/resources"]


def test_numbers_grow_old() -> None:
    """While a hook ran for an hour somebody else was at work; what was given is not given again."""
    server = Server()

    async def give() -> None:
        free = numbers(server)
        assert await free.free() == 100
        server.used += [102, 104]
        server.now += 3600
        assert list(await asyncio.gather(free.free(), free.free())) == [105, 106]
        assert len(server.asked) == 4
        server.now += 5
        assert await free.free() == 107
        assert len(server.asked) == 4
        server.used += range(108, 300)
        free.outdated()
        assert await free.free() == 300
        assert len(server.asked) == 6

    asyncio.run(give())


class Rush(httpx.AsyncBaseTransport):
    """When the first copy is asked for, somebody else has just taken the next ``count`` numbers."""

    def __init__(self, real: httpx.AsyncBaseTransport, lab: Lab, count: int) -> None:
        self.real, self.lab, self.count, self.clones = real, lab, count, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/clone"):
            self.clones += 1
            for vmid in range(100, 100 + self.count):
                self.lab.api.ok("POST", "/nodes/pve-node2/lxc", vmid=vmid, ostemplate=IMAGE, rootfs="local-lvm:1")
            self.count = 0
        return await self.real.handle_async_request(request)


IMAGE = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"


def test_more_numbers_are_taken_than_would_be_tried(lab: Lab) -> None:
    chart = load(lab.chart(SCALED))

    async def work(ctx: Context) -> int:
        client = await ctx.connect()
        client._transport = rush = Rush(client._transport, lab, 120)
        await upgrade(ctx, Request("web", chart, install_if_missing=True), Options())
        return rush.clones

    assert with_context(work) == 4
    assert {lab.vmid("web", f"VirtualMachine/web-{i}") for i in range(2)} == {220, 221}


def test_a_failure_is_told_to_one_and_the_others_ask_again() -> None:
    server = Server(broken=1)

    async def give() -> list[Any]:
        free = numbers(server)
        free.ahead()
        return await asyncio.gather(*(free.free() for _ in range(3)), return_exceptions=True)

    given = asyncio.run(give())
    assert [type(one) for one in given].count(TransportError) == 1
    assert sorted(one for one in given if isinstance(one, int)) == [100, 102]
    assert len(server.asked) == 4


def test_what_nobody_waits_for_fails_without_a_word() -> None:
    async def forget() -> None:
        numbers(Server(broken=2)).ahead()
        left = ahead(asyncio.sleep(3600))
        for _ in range(20):
            await asyncio.sleep(0)
        left.cancel()

    asyncio.run(forget(), debug=True)


def context(dial: Callable[[], Server]) -> Context:
    async def dialled() -> Client:
        return cast(Client, dial())

    def none() -> Any:
        raise AssertionError("no store is needed")

    return Context(name="test", namespace="default", open_store=none, dial=dialled, identify=lambda: "cluster")


@pytest.mark.parametrize("early", [True, False])
def test_whoever_connects_at_the_same_time_has_one_client(early: bool) -> None:
    made: list[Server] = []

    def dial() -> Server:
        made.append(Server())
        return made[-1]

    async def connect() -> None:
        ctx = context(dial)
        if early:
            await ctx.connect_ahead()
            assert made[0].asked == ["/version"]
        clients = await asyncio.gather(*(ctx.connect() for _ in range(3)))
        assert all(client is cast(Client, made[0]) for client in clients)
        assert (await ctx.connect(), ctx.release) == (clients[0], "9.2")
        await ctx.aclose()

    asyncio.run(connect())
    assert [server.closed for server in made] == [True]


def test_one_who_gives_up_waiting_takes_nothing_from_the_others() -> None:
    server = Server()

    async def connect() -> None:
        ctx = context(lambda: server)
        first, second = asyncio.ensure_future(ctx.connect()), asyncio.ensure_future(ctx.connect())
        await asyncio.sleep(0)
        first.cancel()
        assert await second is cast(Client, server)
        assert first.cancelled()
        await ctx.aclose()

    asyncio.run(connect())


def test_a_failed_connection_is_told_closed_and_tried_anew() -> None:
    servers = [Server(broken=1), Server("7.4"), Server()]

    async def connect() -> None:
        ctx = context(lambda left=list(servers): left.pop(0))  # type: ignore[misc]
        await ctx.connect_ahead()
        with pytest.raises(TransportError):
            await ctx.connect()
        with pytest.raises(InvalidError, match="too old"):
            await ctx.connect()
        await ctx.connect()
        assert [server.closed for server in servers] == [True, True, False]
        await ctx.aclose()

    asyncio.run(connect())
    assert all(server.closed for server in servers)


def test_what_ends_before_it_has_connected_lets_go() -> None:
    server = Server()

    async def connect() -> None:
        ctx = context(lambda: server)
        await ctx.connect_ahead()
        await ctx.aclose()

    asyncio.run(connect())
    assert server.closed

"""Planning and applying against the simulator: requests counted, time against the same requests made raw."""

from __future__ import annotations

import asyncio
import gc
import re
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pvehelm.actions import releases
from pvehelm.chart.chart import Chart, load
from pvehelm.chart.values import ValueFlag
from pvehelm.config import load as load_config
from pvehelm.faces.build import build_context, simulator_path
from pvehelm.release.context import Context
from pvehelm.simulator.core import Simulator
from pvehelm.simulator.state import State
from pvehelm.simulator.transport import SimulatorTransport
from tests.benchmarks.conftest import chart_of, note

FLEET = """\
{% for i in range(Values.count) %}
---
apiVersion: proxmox.io/v1
kind: VirtualMachine
metadata: { name: "{{ Values.name }}-{{ i }}" }
spec:
  node: "pve-node{{ i % 3 + 1 }}"
  cpu: { cores: 2 }
  memory: 1024
  power: stopped
  disks: [{ storage: local-lvm, size: 4G }]
{% endfor %}
"""


class Counting(httpx.AsyncBaseTransport):
    """The simulator's transport, with every request noted and a latency before each."""

    def __init__(self, latency: float = 0.0) -> None:
        self.state = State(simulator_path())
        self.inner = SimulatorTransport(Simulator(self.state))
        self.latency = latency
        self.seen: list[tuple[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((request.method, str(request.url.path)))
        await asyncio.sleep(self.latency)
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        self.state.close()


def context(transport: Counting) -> Context:
    from pvehelm.api.auth import TicketAuth
    from pvehelm.api.client import Client

    made = build_context(load_config(), announce=False)

    async def dial() -> Client:
        return Client("https://simulator:8006", TicketAuth("root@pam", "proxmox"), transport=transport)

    made.dial = dial
    return made


def fleet(home: Path) -> Chart:
    return load(chart_of(home / "fleet", "fleet", "count: 0\nname: vm\n", {"vm.yaml": FLEET}))


async def _install(transport: Counting, chart: Chart, count: int) -> float:
    ctx = context(transport)
    flags = [ValueFlag("set", f"count={count}")]
    begin = time.perf_counter()
    await releases.install(ctx, releases.Request("fleet", chart, flags))
    spent = time.perf_counter() - begin
    await ctx.aclose()
    return spent


@pytest.fixture(autouse=True)
def garbage() -> Iterator[None]:
    """Looked for as seldom as the command line does (``pvehelm.__main__``), whatever is measured."""
    before = gc.get_threshold()
    gc.set_threshold(50_000)
    yield
    gc.set_threshold(*before)


GUESTS, ROUNDS, LATENCY = 1000, 5, 0.02
# As many as a client of ours has connections.
AT_ONCE = 12
NODE = re.compile(r"/nodes/([^/]+)/")
VMID = re.compile(r"/qemu/(\d+)/")


def timed(work: Any) -> float:
    begin = time.perf_counter()
    asyncio.run(work)
    return time.perf_counter() - begin


async def _plan(counting: Counting) -> None:
    ctx = context(counting)
    result = await releases.diff_live(ctx, "fleet")
    assert result.plan.empty
    await ctx.aclose()


async def _raw(paths: list[str], latency: float) -> None:
    """The same reads by plain httpx, as anybody would write it who needs the answers."""
    slots = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(transport=Counting(latency), base_url="https://simulator:8006") as client:
        login = {"username": "root@pam", "password": "proxmox"}
        answer = await client.post("/api2/json/access/ticket", data=login)
        client.cookies.set("PVEAuthCookie", answer.json()["data"]["ticket"])

        async def one(path: str) -> Any:
            async with slots:
                answer = await client.get(path)
            return answer.raise_for_status().json()["data"]

        await asyncio.gather(*(one(path) for path in paths))


async def _ours(paths: list[str], latency: float) -> None:
    """The same reads by our own client."""
    client = await context(Counting(latency)).dial()
    await asyncio.gather(*(client.get(path.removeprefix("/api2/json")) for path in paths))
    await client.aclose()


def test_plan_of_1000_guests(benchmark: Any, home: Path) -> None:
    """Against the same reads made raw: as many side by side, in turn with ours."""
    chart = fleet(home)
    asyncio.run(_install(Counting(), chart, GUESTS))
    counting = Counting()
    asyncio.run(_plan(counting))
    paths = [path for method, path in counting.seen if method == "GET"]
    for latency in (0.0, LATENCY):
        rounds = [
            [timed(_plan(Counting(latency))), timed(_raw(paths, latency)), timed(_ours(paths, latency))]
            for _ in range(ROUNDS)
        ]
        plan, raw, ours = (statistics.median(times) for times in zip(*rounds, strict=True))
        ratio = statistics.median(row[0] / row[1] for row in rounds)
        client = statistics.median(row[0] / row[2] for row in rounds)
        note(
            f"plan of {GUESTS} guests at {latency * 1000:.0f} ms: {plan:.2f} s; the same reads raw {raw:.2f} s, "
            f"ratio {ratio:.2f} (goal 1.2); by our own client {ours:.2f} s, ratio {client:.2f}"
        )
    benchmark.pedantic(lambda: asyncio.run(_plan(Counting())), rounds=1)
    repeated = sum(times > 1 for times in Counter(paths).values())
    note(
        f"  {len(paths)} GETs, {len(paths) / GUESTS:.3f} a guest (goal 1 and a constant per node), {repeated} repeated"
    )


async def _looked(latency: float, look: Callable[[Context], Awaitable[object]]) -> tuple[float, int]:
    """Seconds and requests of an action that only looks."""
    counting = Counting(latency)
    ctx = context(counting)
    begin = time.perf_counter()
    await look(ctx)
    spent = time.perf_counter() - begin
    await ctx.aclose()
    return spent, len(counting.seen)


def test_looking_at_1000_guests_in_ten_releases(benchmark: Any, home: Path) -> None:
    from pvehelm.actions import drift, importing, objects

    chart = fleet(home)

    async def install() -> None:
        ctx = context(Counting())
        for number in range(10):
            flags = [ValueFlag("set", f"count={GUESTS // 10},name=r{number}")]
            await releases.install(ctx, releases.Request(f"r{number}", chart, flags))
        await ctx.aclose()

    asyncio.run(install())

    async def drifted(ctx: Context) -> None:
        assert not any(found.differences for found in await drift.drift(ctx, everything=True))

    async def listed(ctx: Context) -> None:
        # The template that every simulated cluster has stands beside them.
        assert len((await objects.get(ctx, ["vms"])).objects) >= GUESTS

    async def imported(ctx: Context) -> None:
        everything = importing.Selection(everything=True, owned=True)
        found = await importing.import_objects(ctx, everything, form="chart", name="all")
        assert len(found.documents) >= GUESTS

    looks: dict[str, tuple[Callable[[Context], Awaitable[object]], str]] = {
        "drift of": (drifted, "goal 1 a guest and a constant per node"),
        "get vms of": (listed, "one list"),
        "import --all of": (imported, "goal 5 minutes"),
    }
    for name, (look, goal) in looks.items():
        spent, count = asyncio.run(_looked(LATENCY, look))
        note(
            f"{name} {GUESTS} guests in 10 releases at {LATENCY * 1000:.0f} ms: {spent:.2f} s, {count} requests, "
            f"{count / GUESTS:.3f} a guest ({goal})"
        )
    benchmark.pedantic(lambda: asyncio.run(_looked(0.0, drifted)), rounds=1)


def test_install_of_200_guests_with_latency(benchmark: Any, home: Path) -> None:
    """The bound: what comes before the first guest, then the longest chain of one guest, or all of a cap's work."""
    chart = fleet(home)
    latency = 0.05
    counting = Counting(latency)
    spent = asyncio.run(_install(counting, chart, 200))
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info["seconds"] = spent
    first = next(index for index, (method, path) in enumerate(counting.seen) if method == "POST" and "/nodes/" in path)
    work = [path for _, path in counting.seen[first:]]
    chain = max(Counter(found[1] for path in work if (found := VMID.search(path))).values()) + 1
    node = max(Counter(found[1] for path in work if (found := NODE.search(path))).values())
    steps = {"one guest's chain": chain, "ten at a time": len(work) / 10, "six a node": node / 6}
    name = max(steps, key=lambda one: steps[one])
    bound = (first + steps[name]) * latency
    note(
        f"install of 200 guests at {latency * 1000:.0f} ms: {len(counting.seen)} requests, {spent:.2f} s; the bound "
        f"({name}) {bound:.2f} s, ratio {spent / bound:.2f} (goal 1.1)"
    )

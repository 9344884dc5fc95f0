"""Planning and applying against the simulator: requests counted, time against the same requests made raw."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

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
metadata: { name: "vm-{{ i }}" }
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
    return load(chart_of(home / "fleet", "fleet", "count: 0\n", {"vm.yaml": FLEET}))


async def _install(transport: Counting, chart: Chart, count: int) -> float:
    ctx = context(transport)
    flags = [ValueFlag("set", f"count={count}")]
    begin = time.perf_counter()
    await releases.install(ctx, releases.Request("fleet", chart, flags))
    spent = time.perf_counter() - begin
    await ctx.aclose()
    return spent


def test_plan_over_500_guests(benchmark: Any, home: Path) -> None:
    chart = fleet(home)
    asyncio.run(_install(Counting(), chart, 500))

    async def plan(counting: Counting) -> None:
        ctx = context(counting)
        result = await releases.diff_live(ctx, "fleet")
        assert result.plan.empty
        await ctx.aclose()

    counting = Counting()
    begin = time.perf_counter()
    asyncio.run(plan(counting))
    ours = time.perf_counter() - begin
    paths = [path for method, path in counting.seen if method == "GET"]

    async def raw() -> None:
        transport = Counting()
        client = await context(transport).dial()
        prefix = "/api2/json"
        await asyncio.gather(*(client.get(path.removeprefix(prefix)) for path in paths))
        await client.aclose()

    begin = time.perf_counter()
    asyncio.run(raw())
    theirs = time.perf_counter() - begin
    benchmark.pedantic(lambda: asyncio.run(plan(Counting())), rounds=1)
    guests = len({path for path in paths if path.endswith("/pending")})
    note(
        f"plan over {guests} guests: {len(paths)} GETs ({len(paths) / guests:.2f} a guest), {ours:.2f} s; "
        f"the same GETs raw {theirs:.2f} s, ratio {ours / theirs:.2f}"
    )
    repeated = [path for path, times in Counter(paths).items() if times > 1]
    note(f"  asked more than once: {len(repeated)}")


def test_install_100_guests_with_latency(benchmark: Any, home: Path) -> None:
    chart = fleet(home)
    latency = 0.05
    counting = Counting(latency)
    spent = asyncio.run(_install(counting, chart, 100))
    benchmark.extra_info["seconds"] = spent
    benchmark.pedantic(lambda: None, rounds=1)
    a_guest = [1 for method, path in counting.seen if method != "GET"]
    # Ten side by side: the longest chain is a tenth of all calls, one after the other.
    path = len(counting.seen) / 10 * latency
    note(
        f"install of 100 guests at {latency * 1000:.0f} ms latency: {len(counting.seen)} requests "
        f"({len(a_guest)} writes), "
        f"{spent:.2f} s; critical path with 10 at a time {path:.2f} s, ratio {spent / path:.2f}"
    )

"""The typed client: what importing and using it costs, what it can call, how fast; beside others where they are.

``PVEHELM_PEERS`` names a Python with proxmoxer, prmxctrl and clientapi-pve in an environment of their own.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from pvehelm import ProxmoxClient
from pvehelm.api.schema import Schema
from tests.api.serving import Certificate, Heard, answer_bytes, make_certificate, serving
from tests.benchmarks.conftest import note

# Time in ms and peak memory in KiB of running some code, printed by a fresh process. (What getrusage says of a process
# begins with its parent's peak.)
MEASURE = """
import time
begin = time.perf_counter()
{}
spent = (time.perf_counter() - begin) * 1000
print(spent, next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
IMPORT = "from pvehelm import ProxmoxClient"
USE = """
import asyncio, json
from pvehelm import ProxmoxClient
import httpx

class Answers(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request):
        row = {"vmid": 100, "status": "running", "name": "a"}
        data = {"version": "9.2.1"} if request.url.path.endswith("/version") else [row]
        return httpx.Response(200, content=json.dumps({"data": data}))

async def main():
    async with ProxmoxClient("pve", token="root@pam!t=secret", transport=Answers()) as pve:
        assert (await pve.nodes("pve1").qemu.get())[0].vmid == 100

asyncio.run(main())
"""
EVERYTHING = """
from pvehelm.api import sdk
from pvehelm.api.layout import layout_of
from importlib import import_module
for section in layout_of(sdk.schema()).sections:
    module = import_module(f"pvehelm.api.sdk.{section}")
    for name in dir(module):
        getattr(module, name)
"""
PEERS = {
    "proxmoxer": "import proxmoxer",
    "prmxctrl": "import prmxctrl",
    "clientapi-pve": "import clientapi_pve",
}


linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


def measured(code: str, python: str = sys.executable, rounds: int = 9) -> tuple[float, float]:
    """Milliseconds and MiB above an interpreter that does nothing, medians."""
    figures: dict[str, list[tuple[float, float]]] = {"pass": [], code: []}
    for _ in range(rounds + 1):
        for each, found in figures.items():
            text = MEASURE.format(each)
            run = subprocess.run([python, "-c", text], capture_output=True, text=True, check=True)
            milliseconds, memory = run.stdout.split()
            found.append((float(milliseconds), float(memory) / 1024))
    bare, ours = (figures[each][1:] for each in ("pass", code))
    return (
        statistics.median(a[0] - b[0] for a, b in zip(ours, bare, strict=True)),
        statistics.median(a[1] - b[1] for a, b in zip(ours, bare, strict=True)),
    )


@linux
@pytest.mark.usefixtures("compiled", "home")
def test_import() -> None:
    for what, code, goal in (
        ("imported", IMPORT, " (goal: 100 ms, 25 MiB)"),
        ("imported, connected and one typed answer read", USE, ""),
        ("every class and model of 9.2 made", EVERYTHING, ""),
    ):
        milliseconds, memory = measured(code, rounds=5)
        note(f"SDK {what}: {milliseconds:.0f} ms, {memory:.1f} MiB above bare Python{goal}")


@linux
@pytest.mark.skipif("PVEHELM_PEERS" not in os.environ, reason="PVEHELM_PEERS names no Python with other clients")
@pytest.mark.parametrize("name", PEERS)
def test_import_of_peers(name: str) -> None:
    try:
        milliseconds, memory = measured(PEERS[name], os.environ["PVEHELM_PEERS"], rounds=5)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{name} cannot be imported there: {error.stderr.strip().splitlines()[-1]}")
    note(f"{name} imported: {milliseconds:.0f} ms, {memory:.1f} MiB above bare Python")


def test_operations_that_can_be_called() -> None:
    from tests.sdk.test_walk import test_every_operation_can_be_called

    test_every_operation_can_be_called("9.2", True)
    note(f"operations called with valid arguments: {len(Schema.load('9.2'))} of 661 (prmxctrl 0.1.2: 353)")


REQUESTS, CONNECTIONS, ROUNDS = 1000, 16, 7
ROW = {"vmid": 100, "status": "running", "name": "web", "uptime": 5, "cpus": 2, "maxmem": 1 << 30, "mem": 1 << 29}


async def answers(heard: Heard, writer: asyncio.StreamWriter) -> bool:
    writer.write(answer_bytes({"version": "9.2.1"} if "/version " in heard.line else [ROW]))
    return True


async def all_at_once(call: Callable[[], Awaitable[Any]]) -> float:
    """Seconds for all requests, at so many connections."""
    left = iter(range(REQUESTS))

    async def worker() -> None:
        for _ in left:
            await call()

    begin = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
    return time.perf_counter() - begin


def test_throughput(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)

    async def main() -> dict[str, list[float]]:
        times: dict[str, list[float]] = {"httpx": [], "typed": [], "raw": []}
        async with serving(answers, certificate) as server:
            url = f"https://127.0.0.1:{server.port}"
            trust = ssl.create_default_context(cafile=str(certificate.file))
            limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
            headers = {"Authorization": "PVEAPIToken=root@pam!t=secret"}
            async with (
                httpx.AsyncClient(verify=trust, limits=limits, headers=headers, trust_env=False) as plain,
                typed(url, certificate) as pve,
            ):
                rows = pve.nodes("pve1").qemu

                async def bare() -> Any:
                    answer = await plain.get(f"{url}/api2/json/nodes/pve1/qemu")
                    return json.loads(answer.content)["data"]

                ways: dict[str, Callable[[], Awaitable[Any]]] = {
                    "httpx": bare,
                    "typed": rows.get,
                    "raw": pve.raw.nodes("pve1").qemu.get,
                }
                for _ in range(ROUNDS + 1):
                    for name, call in ways.items():
                        times[name].append(await all_at_once(call))
        return {name: found[1:] for name, found in times.items()}

    times = asyncio.run(main())
    for name, goal in (("typed", " (goal: at least 0.85)"), ("raw", "")):
        ratio = statistics.median(h / t for h, t in zip(times["httpx"], times[name], strict=True))
        each = statistics.median(times[name])
        note(
            f"{REQUESTS} GETs at {CONNECTIONS} connections, {name}: {REQUESTS / each:.0f}/s, "
            f"{ratio:.2f} times bare httpx{goal}"
        )


def typed(url: str, certificate: Certificate) -> ProxmoxClient:
    return ProxmoxClient(
        url, token="root@pam!t=secret", fingerprint=certificate.fingerprint, max_connections=CONNECTIONS
    )

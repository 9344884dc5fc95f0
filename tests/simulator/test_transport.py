"""The in-process transport, and several processes on one state file."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import httpx

from pvehelm.simulator.core import Simulator
from pvehelm.simulator.state import State
from pvehelm.simulator.transport import SimulatorTransport

_CREATE = """
import asyncio, sys
import httpx
from pvehelm.simulator.core import Simulator
from pvehelm.simulator.state import State
from pvehelm.simulator.transport import SimulatorTransport

async def main() -> None:
    transport = SimulatorTransport(Simulator(State(sys.argv[1])))
    async with httpx.AsyncClient(transport=transport, base_url="https://simulator:8006/api2/json") as client:
        login = await client.post("/access/ticket", data={"username": "root@pam", "password": "proxmox"})
        data = login.json()["data"]
        client.headers["Authorization"] = "PVEAuthCookie=" + data["ticket"]
        client.headers["CSRFPreventionToken"] = data["CSRFPreventionToken"]
        made = []
        while len(made) < 3:
            vmid = (await client.get("/cluster/nextid")).json()["data"]
            wanted = {"vmid": vmid, "memory": 64, "scsi0": "local-lvm:1"}
            answer = await client.post("/nodes/pve-node1/qemu", data=wanted)
            if answer.status_code == 200:
                made.append(vmid)
            else:
                assert "already exists" in answer.reason_phrase, answer.text
        print(*made)

asyncio.run(main())
"""


def test_processes_race_for_ids_and_nobody_loses(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    running = [
        subprocess.Popen([sys.executable, "-c", _CREATE, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    made = [vmid for process in running for vmid in process.communicate(timeout=120)[0].split()]
    assert all(process.returncode == 0 for process in running)
    assert len(made) == len(set(made)) == 24
    state = State(path)
    assert set(made) < set(state.collection("qemu"))
    disks = [guest["config"]["scsi0"].split(",")[0] for guest in state.collection("qemu").values()]
    assert len(disks) == len(set(disks))
    assert set(disks) <= set(state.collection("volumes"))


def test_latency_is_waited_side_by_side() -> None:
    async def ask() -> float:
        transport = SimulatorTransport(Simulator(State(":memory:"), latency=500))
        async with httpx.AsyncClient(transport=transport, base_url="https://simulator/api2/json") as client:
            begin = time.monotonic()
            await asyncio.gather(*(client.get("/access/ticket") for _ in range(10)))
            return time.monotonic() - begin

    # One after the other they would take five seconds.
    assert 0.5 <= asyncio.run(ask()) < 5


def test_other_paths_are_not_the_api() -> None:
    async def ask() -> int:
        transport = SimulatorTransport(Simulator(State(":memory:")))
        async with httpx.AsyncClient(transport=transport, base_url="https://simulator") as client:
            return (await client.get("/pve-docs/api-viewer/apidoc.js")).status_code

    assert asyncio.run(ask()) == 404

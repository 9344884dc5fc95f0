"""Injected faults and latency, through both transports' common core."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from pvehelm.errors import UsageError
from pvehelm.simulator import faults
from pvehelm.simulator.core import Request
from pvehelm.simulator.transport import SimulatorTransport
from tests.simulator.api import Api, api

MATCHES = [
    ("POST /nodes/*/qemu", "POST", "/nodes/pve1/qemu", True),
    ("POST /nodes/*/qemu", "GET", "/nodes/pve1/qemu", False),
    ("POST /nodes/*/qemu", "POST", "/nodes/pve1/qemu/100/config", False),
    ("/pools", "DELETE", "/pools", True),
    ("* /pools*", "PUT", "/pools/x", True),
    ("GET *", "GET", "/anything/at/all", True),
]


@pytest.mark.parametrize(("match", "method", "path", "fits"), MATCHES)
def test_matching(match: str, method: str, path: str, fits: bool) -> None:
    assert faults.matches({"match": match}, method, path) == fits


BAD: list[dict[str, Any]] = [
    {},
    {"status": 500, "delay": 1},
    {"status": 200},
    {"drop": "sideways"},
    {"offline": "no-such-node"},
    {"drop": "after", "executed": True},
    {"delay": 1, "message": "text"},
    {"delay": -1},
    {"status": 500, "times": 0},
    {"status": 500, "match": " "},
]


@pytest.mark.parametrize("options", BAD)
def test_bad_faults_are_refused(options: dict[str, Any]) -> None:
    state = api().simulator.state
    with pytest.raises(UsageError):
        faults.add(state, options.pop("match", "GET *"), **options)
    assert faults.listed(state) == []


@pytest.fixture
def root() -> Api:
    return api()


def test_status_counts_down(root: Api) -> None:
    faults.add(root.simulator.state, "POST /pools", status=503, times=2)
    assert [root.post("/pools", poolid="p").status for _ in range(3)] == [503, 503, 200]
    assert faults.listed(root.simulator.state) == []


def test_595_has_no_body(root: Api) -> None:
    faults.add(root.simulator.state, "GET /version", status=595)
    answer = root.get("/version")
    assert (answer.status, answer.text) == (595, "")


def test_fault_without_times_stays_until_cleared(root: Api) -> None:
    faults.add(root.simulator.state, "GET /version", status=500)
    assert [root.get("/version").status for _ in range(3)] == [500] * 3
    faults.clear(root.simulator.state)
    assert root.get("/version").status == 200


def test_a_status_with_a_text_and_the_work_done(root: Api) -> None:
    state = root.simulator.state
    faults.add(state, "POST /pools", status=500, message="got timeout", times=1)
    answer = root.post("/pools", poolid="p")
    assert (answer.status, answer.message.strip()) == (500, "got timeout")
    assert "p" not in state.collection("pools")
    faults.add(state, "POST /pools", status=596, executed=True, times=1)
    assert root.post("/pools", poolid="p").status == 596
    assert "p" in state.collection("pools")


def test_a_task_that_is_lost_and_a_node_that_goes() -> None:
    root = api(base="default")
    state = root.simulator.state
    faults.add(state, "POST /nodes/*/qemu", task_lost=True, times=1)
    upid = root.post("/nodes/pve-node1/qemu", vmid=150, memory=64).data
    assert "150" in state.collection("qemu")
    gone = root.get(f"/nodes/pve-node1/tasks/{upid}/status")
    assert (gone.status, list(gone.errors)) == (400, ["upid"])
    faults.add(state, "GET /nodes/pve-node2/qemu", offline="pve-node2", times=1)
    assert [root.get("/nodes/pve-node2/qemu").status for _ in range(2)] == [595, 595]
    listed = {row["node"]: row["status"] for row in root.get("/nodes").data}
    assert (listed["pve-node1"], listed["pve-node2"]) == ("online", "offline")


def test_an_answer_that_breaks_off(root: Api) -> None:
    state = root.simulator.state
    faults.add(state, "GET /version", drop="body", times=1)

    async def ask() -> int:
        async with httpx.AsyncClient(transport=SimulatorTransport(root.simulator), base_url="https://x") as client:
            with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
                await client.get("/api2/json/version")
            return (await client.get("/api2/json/version")).status_code

    assert asyncio.run(ask()) == 401


def test_drop_before_and_after(root: Api) -> None:
    state = root.simulator.state
    faults.add(state, "POST /pools", drop="before", times=1)
    assert root.post("/pools", poolid="a").status == 0
    assert root.get("/pools").data == []
    faults.add(state, "POST /pools", drop="after", times=1)
    assert root.post("/pools", poolid="a").status == 0
    assert root.get("/pools").data == [{"poolid": "a"}]


def test_task_fails_without_effect(root: Api) -> None:
    faults.add(root.simulator.state, "POST /nodes/*/qemu", task_fail="out of luck", times=1)
    upid = root.post("/nodes/pve1/qemu", vmid=100).data
    assert root.get(f"/nodes/pve1/tasks/{upid}/status").data["exitstatus"] == "out of luck"
    assert root.get("/nodes/pve1/qemu").data == []
    root.ok("POST", "/nodes/pve1/qemu", vmid=100)


def test_delay_and_latency_add_up_and_do_not_block(root: Api) -> None:
    root.simulator.latency = 100
    faults.add(root.simulator.state, "GET /version", delay=0.5)
    outcome = root.simulator.process(Request("GET", "/version", headers=root.headers))
    assert outcome.delay == pytest.approx(0.6)
    assert outcome.response is not None
    assert root.simulator.process(Request("GET", "/pools", headers=root.headers)).delay == pytest.approx(0.1)


def test_transport_raises_what_a_socket_would(root: Api) -> None:
    async def ask(path: str, timeout: float = 5.0) -> httpx.Response:
        transport = SimulatorTransport(root.simulator)
        async with httpx.AsyncClient(transport=transport, base_url="https://simulator/api2/json") as client:
            return await client.get(path, headers=root.headers, timeout=timeout)

    state = root.simulator.state
    answer = asyncio.run(ask("/nodes/nosuch/status"))
    assert answer.status_code == 500
    assert answer.reason_phrase.startswith("hostname lookup 'nosuch' failed")
    assert asyncio.run(ask("/version")).json()["data"]["release"] == "9.2"
    faults.add(state, "GET /version", drop="after", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        asyncio.run(ask("/version"))
    faults.add(state, "GET /version", delay=30, times=1)
    with pytest.raises(httpx.ReadTimeout):
        asyncio.run(ask("/version", timeout=0.1))

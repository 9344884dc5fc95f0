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

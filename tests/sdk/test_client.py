"""The client of both colours: the same core, the same answers, the same errors."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import httpx
import pytest

from pvehelm import ProxmoxClient, SyncProxmoxClient
from pvehelm.api.models import Model
from pvehelm.api.proxmox import _address
from pvehelm.api.session import SyncTask
from pvehelm.api.task import Task
from pvehelm.errors import ApiError, AuthError, InvalidError, NotFoundError, TaskError
from pvehelm.simulator.core import Simulator
from pvehelm.simulator.state import State
from pvehelm.simulator.transport import SimulatorTransport
from tests.helpers import ROOT
from tests.sdk.wire import Heard, Script

UPID = "UPID:pve1:0000A1B2:0000C3D4:66000000:qmstart:100:root@pam:"
TOKEN = ("root@pam!helm", "secret")


def simulator() -> SimulatorTransport:
    return SimulatorTransport(Simulator(State(":memory:")))


def test_a_guest_from_birth_to_death() -> None:
    async def main() -> None:
        async with ProxmoxClient("pve", user="root@pam", password="proxmox", transport=simulator()) as pve:
            guests = pve.nodes("pve-node1").qemu
            task = await guests.create(vmid=100, name="web", net={0: {"model": "virtio"}}, scsi0="local-lvm:4")
            assert isinstance(task, Task)
            assert (await task.wait()).ok
            assert [line async for line in task.log()][-1] == "TASK OK"
            config = await guests(100).config.get()
            assert config.name == "web"
            assert config.net0 is not None
            assert config.net0.startswith("virtio=")
            assert await guests(100).config.update(cores=2, delete=["net0"]) is None
            plain = await pve.raw.nodes("pve-node1").qemu(100).config.get()
            assert plain == await guests(100).config.get(raw=True)
            assert plain["cores"] == 2
            assert "net0" not in plain
            lines = [line async for line in pve.nodes("pve-node1").tasks(str(task.upid)).log.lines()]
            assert lines[-1] == "TASK OK"
            await (await guests(100).delete()).wait()
            assert 100 not in [guest.vmid for guest in await guests.get()]

    asyncio.run(main())


def test_the_same_without_await() -> None:
    with ProxmoxClient.sync("pve", user="root@pam", password="proxmox", transport=simulator()) as pve:
        assert isinstance(pve, SyncProxmoxClient)
        task = pve.nodes("pve-node1").qemu.create(vmid=100, name="web")
        assert isinstance(task, SyncTask)
        assert task.wait().ok
        assert task.status()["exitstatus"] == "OK"
        assert list(task.log())[-1] == "TASK OK"
        assert list(pve.nodes("pve-node1").tasks(str(task.upid)).log.lines())[-1] == "TASK OK"
        assert pve.nodes("pve-node1").qemu(100).config.get().name == "web"
        assert pve.task(str(task.upid)).wait().ok
        assert pve.raw.nodes("pve-node1").qemu(100).config.get()["name"] == "web"
    names = [thread.name for thread in threading.enumerate()]
    assert "pvehelm" not in names


def test_a_client_without_await_works_inside_a_running_loop() -> None:
    async def main() -> None:
        with ProxmoxClient.sync("pve", token=TOKEN, transport=Script(lambda heard: "7")) as pve:
            assert pve.cluster.nextid.get() == 7

    asyncio.run(main())


def test_many_threads_share_one() -> None:
    found: list[Any] = []
    with ProxmoxClient.sync("pve", token=TOKEN, transport=Script(lambda heard: heard.segments[1])) as pve:
        threads = [
            threading.Thread(target=lambda n=n: found.append(pve.raw.nodes(f"n{n}").dns.get())) for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == [f"n{n}" for n in range(8)]


def test_a_log_is_followed_no_further_than_asked() -> None:
    def answer(heard: Heard) -> Any:
        start, limit = (int(heard.params[name][0]) for name in ("start", "limit"))
        return [{"n": n + 1, "t": f"line {n}"} for n in range(start, min(1203, start + limit))]

    transport = Script(answer)
    with ProxmoxClient.sync("pve", token=TOKEN, transport=transport) as pve:
        assert len(list(pve.nodes("a").syslog.lines())) == 1203
        assert [heard.params["start"] for heard in transport.heard] == [["0"], ["500"], ["1000"]]
        assert list(pve.nodes("a").syslog.lines(start=1, limit=2)) == ["line 1", "line 2"]
        for line in pve.nodes("a").syslog.lines():
            assert line == "line 0"
            break


@pytest.mark.parametrize(
    ("version", "release"), [("9.2.11", "9.2"), ("8.4.1", "8.4"), ("8.3-2", "8.4"), ("7.4", "7.4")]
)
def test_the_server_chooses_the_schema(version: str, release: str) -> None:
    with ProxmoxClient.sync("pve", token=TOKEN, transport=Script(version=version)) as pve:
        assert pve.schema.release == release


def test_the_caller_may_choose_it() -> None:
    transport = Script(version="9.2.1")
    with ProxmoxClient.sync("pve", token=TOKEN, transport=transport, release="8.4") as pve:
        assert pve.schema.release == "8.4"
        with pytest.raises(AttributeError, match=r"Proxmox VE 8\.4 has no 'rules' at /cluster/ha"):
            _ = pve.cluster.ha.rules


def test_a_path_walked_before_the_version_is_known() -> None:
    async def main() -> None:
        pve = ProxmoxClient("pve", token=TOKEN, transport=Script(version="8.4.1"))
        rules = pve.cluster.ha.rules
        with pytest.raises(NotFoundError, match=r"Proxmox VE 8\.4 has no GET /cluster/ha/rules"):
            await rules.get()
        await pve.aclose()

    asyncio.run(main())


def test_a_major_that_nobody_knows() -> None:
    transport = Script(version="12.0")
    with (
        pytest.raises(NotFoundError, match=r"no schema for Proxmox VE 12\.0"),
        ProxmoxClient.sync("pve", token=TOKEN, transport=transport),
    ):
        pass
    assert transport.closed
    assert "pvehelm" not in [thread.name for thread in threading.enumerate()]


def test_a_wrong_password_leaves_nothing_open() -> None:
    async def main() -> None:
        transport = simulator()
        with pytest.raises(AuthError, match="authentication failure"):
            async with ProxmoxClient("pve", user="root@pam", password="wrong-one", transport=transport):
                pass

    asyncio.run(main())


def test_nothing_is_sent_when_something_is_wrong() -> None:
    transport = Script()
    with ProxmoxClient.sync("pve", token=TOKEN, transport=transport) as pve:
        with pytest.raises(InvalidError) as caught:
            pve.nodes("pve1").qemu.post(vmid=1, cores="x", nam="a")  # type: ignore[arg-type, call-arg]
        assert sorted(problem.where for problem in caught.value.problems) == ["cores", "nam", "vmid"]
    assert transport.heard == []


def test_typos_say_what_was_meant() -> None:
    pve: Any = ProxmoxClient("pve", release="9.2")
    for walk, wanted in (
        (lambda: pve.node, "did you mean 'nodes'?"),
        (lambda: pve.nodes("a").qemus, "did you mean 'qemu'?"),
        (lambda: pve.nodes("a").qemu.config, r"say which vmid first: \(...\).config"),
        (lambda: pve.nodes.put, "there is get"),
    ):
        with pytest.raises(AttributeError, match=wanted):
            walk()


def test_what_the_server_refuses() -> None:
    def refuse(heard: Heard) -> httpx.Response:
        return httpx.Response(403, extensions={"reason_phrase": b"Permission check failed (/vms/100, VM.Audit)"})

    with ProxmoxClient.sync("pve", token=TOKEN, transport=Script(refuse)) as pve:
        with pytest.raises(ApiError, match="Permission check failed") as caught:
            pve.nodes("pve1").qemu(100).config.get()
        assert caught.value.status == 403


def test_a_task_that_fails() -> None:
    def answer(heard: Heard) -> Any:
        if heard.path.endswith("/status/start"):
            return UPID
        if heard.path.endswith("/log"):
            return [{"n": 1, "t": "no such disk"}]
        return {"status": "stopped", "exitstatus": "start failed"}

    with ProxmoxClient.sync("pve", token=TOKEN, transport=Script(answer)) as pve:
        task = pve.nodes("pve1").qemu(100).status.start.post()
        assert task.upid.id == "100"
        with pytest.raises(TaskError, match="start failed") as caught:
            task.wait()
        assert caught.value.log == ("no such disk",)
        assert pve.raw.nodes("pve1").qemu(100).status.start.post() == UPID


def test_concrete_paths() -> None:
    transport = Script(lambda heard: [{"vmid": "100", "status": "running"}])
    with ProxmoxClient.sync("pve", token=TOKEN, transport=transport) as pve:
        (row,) = pve.request("GET", "/nodes/pve1/qemu", full=True)
        assert isinstance(row, Model)
        assert pve.request("get", "/nodes/pve1/qemu", raw=True) == [{"vmid": "100", "status": "running"}]
        with pytest.raises(NotFoundError):
            pve.request("GET", "/nodes/pve1/qemus")
        with pytest.raises(InvalidError):
            pve.request("GET", "/nodes/pve1/qemu", ful=1)


def test_looks_at_home_in_a_console() -> None:
    import inspect

    pve = ProxmoxClient("pve", release="9.2")
    place = pve.nodes("pve1").qemu
    assert repr(pve) == "ProxmoxClient('pve')"
    assert repr(place(100).config) == "</nodes/pve1/qemu/100/config>"
    assert repr(place.post) == "<POST </nodes/pve1/qemu>>"
    assert {"nodes", "access", "raw"} <= set(dir(pve))
    assert "vmid" in inspect.signature(place.post).parameters
    assert inspect.signature(place.__call__).parameters.keys() == {"vmid"}


@pytest.mark.parametrize(
    "options",
    [
        {"token": "no-secret"},
        {"token": ("no token", "secret")},
        {"token": TOKEN, "user": "root@pam"},
        {"user": "root@pam"},
        {"password": "secret"},
        {"user": "root", "password": "secret"},
    ],
)
def test_credentials_that_make_no_sense(options: Any) -> None:
    with pytest.raises(InvalidError):
        ProxmoxClient("pve", **options)


def test_secrets_are_not_shown() -> None:
    pve = ProxmoxClient("pve", token="root@pam!helm=11111111-2222")
    assert "1111" not in repr(pve) + repr(vars(pve))


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("pve1", "pve1:8006"),
        ("pve1:443", "pve1:443"),
        ("fd00::1", "[fd00::1]:8006"),
        ("[fd00::1]:443", "[fd00::1]:443"),
        ("https://pve1", "https://pve1"),
    ],
)
def test_addresses(host: str, wanted: str) -> None:
    assert _address(host, 8006) == wanted


def test_importing_it_is_light() -> None:
    code = "import sys; from pvehelm import ProxmoxClient; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "httpx", "asyncio", "ssl", "jinja2"} & set(loaded)
    code = "import sys, pvehelm; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in loaded if name.startswith("pvehelm")] == ["pvehelm"]


def test_plain_data_need_no_models() -> None:
    code = """
import sys
from pvehelm import ProxmoxClient
from tests.sdk.wire import Script
with ProxmoxClient.sync("pve", token="root@pam!t=secret", transport=Script(lambda heard: [{"vmid": 1}])) as pve:
    assert pve.raw.nodes("pve1").qemu.get() == [{"vmid": 1}]
    assert pve.nodes("pve1").qemu.get(raw=True) == [{"vmid": 1}]
    assert "pydantic" not in sys.modules
    assert pve.nodes("pve1").qemu.get()[0].vmid == 1
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr

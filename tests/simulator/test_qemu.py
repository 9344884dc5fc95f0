"""Virtual machines of the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator import casebook


@pytest.mark.parametrize("case", casebook.cases("qemu"))
def test_case(case: dict[str, Any]) -> None:
    casebook.run(case)


def test_guests_are_locked_while_a_task_runs() -> None:
    client = casebook.Client()
    now = client.sim.clock()
    client.sim.clock = lambda: now
    with client.sim.state.transaction():
        client.sim.state.set_value("task-seconds", {"qmclone": 30})
    upid = client.data("POST", "/nodes/pve-node1/qemu/9000/clone", newid=100)
    assert client.exit_status(upid) == "running"
    assert client.data("GET", "/nodes/pve-node1/qemu/100/config")["lock"] == "clone"
    refused = client.send("PUT", "/nodes/pve-node1/qemu/100/config", {"cores": 2})
    assert (refused.status, refused.reason) == (500, "VM is locked (clone)")
    now += 31
    assert client.exit_status(upid) == "OK"
    assert "lock" not in client.data("GET", "/nodes/pve-node1/qemu/100/config")
    client.data("PUT", "/nodes/pve-node1/qemu/100/config", cores=2)


def test_each_task_failure_is_undone() -> None:
    client = casebook.Client()
    before = client.data("GET", "/nodes/pve-node1/storage/local-lvm/content")
    upid = client.data("POST", "/nodes/pve-node1/qemu", vmid=100, scsi0="local-lvm:1", scsi1="local-lvm:vm-100-disk-9")
    assert "unable to create VM 100" in client.exit_status(upid)
    assert client.data("GET", "/nodes/pve-node1/storage/local-lvm/content") == before
    assert client.data("GET", "/cluster/nextid") == "100"

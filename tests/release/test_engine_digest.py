"""Somebody else changes a guest between plan and apply: the change is planned once more, and theirs survives."""

from __future__ import annotations

import time

from tests.release.lab import Lab

CHART = """\
kind: VirtualMachine
metadata: { name: vm }
spec: { node: pve-node1, memory: {{ Values.memory }}, power: stopped, cpu: { cores: {{ Values.cores }} } }
"""


def test_a_change_in_between_is_planned_once_more(lab: Lab) -> None:
    chart = lab.chart(CHART, values="memory: 512\ncores: 1\n")
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/vm")
    lab.fault("GET /nodes/*/qemu/*/pending", delay=2.0, times=1)
    process = lab.start("upgrade", "web", chart, "--set", "memory=768", "--set", "cores=2")
    end = time.monotonic() + 20
    while lab.has_faults() and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.2)
    lab.set(vmid, onboot=1, cores=2)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert "planning it once more" in err
    config = lab.config(vmid)
    assert (config["memory"], config["cores"], config["onboot"]) == ("768", 2, 1)
    lab.settled("web", "--set", "memory=768", "--set", "cores=2", chart=chart)
    lab.sound("web")

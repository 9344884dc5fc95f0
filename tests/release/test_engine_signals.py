"""SIGINT, SIGTERM, SIGHUP once: finish what runs, start nothing more; twice: stop here. And SIGKILL at any moment."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.release.charts import MIXED, SCALED
from tests.release.lab import Lab


def wait_for(process: subprocess.Popen[str], text: str) -> list[str]:
    """Lines of stderr up to the one with ``text``."""
    lines = []
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError("".join(lines))


@pytest.fixture
def heard() -> Iterator[None]:
    """What is started hears of a closed terminal, also where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_finishes_what_runs(lab: Lab, number: signal.Signals, heard: None) -> None:
    chart = lab.chart(SCALED)
    lab.fault("POST /nodes/*/clone", delay=0.7)
    process = lab.start("install", "web", chart, "--set", "replicas=6")
    wait_for(process, "create ...")
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Stopping" in err
    assert "interrupted" in err
    assert "pvehelm recover web" in err
    assert "Traceback" not in err
    assert "deployed" not in out
    lab.clear_faults()
    assert lab.status("web") == "failed"
    assert lab.history("web")[-1]["description"] == "interrupted"
    lab.sound("web")
    assert 0 < len(lab.guests()) < 6
    # what was running is whole: nothing of it differs
    diff = lab.run("diff", "web").out
    assert "~" not in diff
    lab.run("recover", "web")
    assert len(lab.guests()) == 6
    lab.settled("web", chart=chart)
    lab.sound("web")


def test_nohup_goes_on(lab: Lab) -> None:
    lab.fault("POST /nodes/*/clone", delay=0.7)
    command = [sys.executable, "-m", "pvehelm", "install", "web", lab.chart(SCALED)]
    shell = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command]
    process = subprocess.Popen(shell, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(process, "create ...")
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert lab.status("web") == "deployed"


def test_two_signals_stop_at_once(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.fault("POST /nodes/*/clone", delay=300)
    process = lab.start("install", "web", chart)
    wait_for(process, "create ...")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    wait_for(process, "Stopping")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    lab.clear_faults()
    lab.run("install", "web", chart)
    assert len(lab.guests()) == 2
    lab.settled("web", chart=chart)
    lab.sound("web")


def test_a_signal_before_anything_was_begun_leaves_nothing(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.fault("GET /cluster/resources", delay=20)
    process = lab.start("install", "web", chart)
    wait_for(process, "context: simulator")
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    lab.clear_faults()
    assert lab.run("list", "-q").out == ""
    assert not lab.guests()
    lab.run("install", "web", chart)
    lab.sound("web")


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_moment(lab: Lab, seed: int) -> None:
    """As it happens in life: SIGKILL after a random time, again and again, on install, upgrade and uninstall."""
    chance = random.Random(seed)
    chart = lab.chart(MIXED)
    lab.fault("* /nodes/*", delay=0.02)
    for args in (
        ("install", "web", chart),
        ("upgrade", "web", chart, "--install", "--set", "memory=2048"),
        ("uninstall", "web", "--yes", "--ignore-not-found"),
    ):
        process = lab.start(*args)
        timer = threading.Timer(0.5 + chance.random() * 1.2, process.kill)
        timer.start()
        process.communicate(timeout=60)
        timer.cancel()
    lab.clear_faults()
    lab.run("upgrade", "web", chart, "--install")
    lab.settled("web")
    assert len(lab.guests()) == 2
    lab.sound("web")
    lab.run("uninstall", "web", "--yes")
    lab.sound()
    assert not lab.guests()


CHAIN = """
{% for name in ["a", "b", "c"][:Values.guests | default(1) | int] %}
---
kind: VirtualMachine
metadata: { name: {{ name }}, needs: {{ ["VirtualMachine/b"] if name == "c" else [] }} }
spec: { node: pve-node1, memory: 64, power: stopped }
{% endfor %}
{% if Values.pool | default(false) %}
---
kind: Pool
metadata: { name: p, needs: [VirtualMachine/c] }
spec: {}
{% endif %}
"""


@pytest.mark.parametrize("verb", ["upgrade", "install"])
def test_a_signal_while_a_failure_is_undone(lab: Lab, verb: str) -> None:
    chart = lab.chart(CHAIN)
    if verb == "upgrade":
        lab.run("install", "web", chart)
    lab.fault("POST /pools", status=500)
    lab.fault("DELETE /nodes/*/qemu/*", delay=3)
    process = lab.start(verb, "web", chart, "--set", "guests=3,pool=true", "--atomic")
    wait_for(process, "VirtualMachine/c: delete ...")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    lab.clear_faults()
    assert process.returncode == 130, err
    assert "failed, and undoing it was interrupted" in err
    assert "undoing VirtualMachine/b: not begun: interrupted" in err
    assert "interrupted)" in lab.history("web")[-1]["description"]
    if verb == "upgrade":
        assert "pvehelm recover web goes on with it" in err
        lab.run("recover", "web", "--yes")
        lab.settled("web", chart=chart)
        lab.sound("web")
        assert len(lab.guests()) == 1
    else:
        assert "pvehelm uninstall web removes what is left" in err
        lab.run("uninstall", "web", "--yes")
        assert not lab.guests()
        lab.sound()

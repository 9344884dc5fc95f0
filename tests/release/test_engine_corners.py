"""Corners: histories with an uninstall in them, leases taken away, terminals, several stores on one cluster."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.release.charts import SCALED, VM
from tests.release.lab import Lab
from tests.release.test_engine_host import Host
from tests.release.test_engine_ownership import make_guest
from tests.release.test_engine_signals import wait_for


def test_there_is_no_way_back_to_an_uninstall(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    lab.run("uninstall", "web", "--yes", "--keep-history")
    lab.run("install", "web", chart)
    result = lab.run("rollback", "web", "2", "--yes", code=1)
    assert "revision 2" in result.err
    assert "uninstall" in result.err
    assert len(lab.guests()) == 1
    # without a number it is the one before that can be gone back to
    lab.run("upgrade", "web", chart, "--set", "cores=4")
    lab.run("rollback", "web")
    assert lab.history("web")[-1]["rollback_revision"] == 3


def test_what_is_uninstalled_can_be_looked_at_only(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    lab.run("uninstall", "web", "--yes", "--keep-history")
    for args in (
        ("diff", "web"),
        ("upgrade", "web", chart),
        ("recover", "web"),
        ("uninstall", "web", "--keep-history"),
    ):
        assert "uninstalled" in lab.run(*args, code=1).err
    assert "uninstalled" in lab.run("status", "web").out
    lab.run("get", "values", "web", "--revision", "1")


def test_atomic_install_over_a_history_leaves_nothing(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    lab.run("uninstall", "web", "--yes", "--keep-history")
    lab.fault("POST /nodes/*/qemu/*/clone", task_fail="no space left", times=1)
    lab.run("install", "web", chart, "--atomic", code=1)
    assert not lab.guests()
    lab.run("install", "web", chart)
    lab.sound("web")


def test_atomic_install_keeps_what_it_did_not_make(lab: Lab) -> None:
    make_guest(lab, "web-0", 150)
    text = SCALED.replace("spec:", "spec:\n  {% if i == 0 %}\n  vmid: 150\n  {% endif %}").replace(
        "  template: debian-12-template\n", "  {% if i %}\n  template: debian-12-template\n  {% endif %}\n"
    )
    chart = lab.chart(text)
    lab.fault("POST /nodes/*/qemu/*/clone", task_fail="no space left")
    result = lab.run("install", "web", chart, "--atomic", "--take-ownership", "VirtualMachine/web-0", code=None)
    assert result.code in (1, 3)
    assert list(lab.guests()) == ["150"]
    assert lab.config(150)["name"] == "web-0"


def test_a_foreign_guest_is_not_taken_for_ours_after_silence(lab: Lab) -> None:
    """The answer to the create call was lost and nothing was made, but somebody else's guest has that number now."""
    chart = lab.chart(VM)
    lab.fault("POST /nodes/*/qemu/9000/clone", drop="before", times=1)
    lab.fault("POST /nodes/*/qemu/9000/clone", delay=1.0, times=1)
    process = lab.start("install", "web", chart)
    time.sleep(1.1)
    make_guest(lab, "stranger", 100)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert lab.config(100)["name"] == "stranger"
    assert lab.vmid("web", "VirtualMachine/vm") == 101
    lab.settled("web", chart=chart)


def test_a_lease_taken_away_stops_the_process(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.fault("POST /nodes/*/clone", delay=0.6)
    process = lab.start("install", "web", chart, "--set", "replicas=8")
    wait_for(process, "create ...")
    held = lab.run("upgrade", "web", chart, code=4)
    assert "install" in held.err
    assert "pvehelm unlock web" in held.err
    lab.run("unlock", "web")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    assert "Traceback" not in err
    lab.clear_faults()
    lab.run("recover", "web")
    assert len(lab.guests()) == 8
    lab.settled("web", chart=chart)
    lab.sound("web")


def on_a_terminal(lab: Lab, answer: bytes, *args: str) -> tuple[int, str]:
    """A command on a terminal of its own, with an answer to what it asks."""
    main, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pvehelm", *args], stdin=end, stdout=end, stderr=end, cwd=ROOT, start_new_session=True
    )
    os.close(end)
    seen, asked = b"", False
    try:
        while select.select([main], [], [], 10)[0]:
            try:
                more = os.read(main, 4096)
            except OSError:
                break
            if not more:
                break
            seen += more
            if b"Go on?" in seen and not asked:
                asked = True
                if answer == b"^C":
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(main, answer)
    finally:
        os.close(main)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
    return process.wait(5), seen.decode()


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 3, 1), (b"y\n", 0, 0)])
def test_a_terminal_is_asked(lab: Lab, answer: bytes, code: int, left: int) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    ended, seen = on_a_terminal(lab, answer, "uninstall", "web")
    assert ended == code, seen
    assert "scsi0 local-lvm:vm-100-disk-0 5G is destroyed" in seen
    assert "This destroys VirtualMachine/vm" in seen
    assert len(lab.guests()) == left
    assert lab.history("web") if left else True


def test_ctrl_c_at_the_question(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    ended, seen = on_a_terminal(lab, b"^C", "uninstall", "web")
    assert ended == 130, seen
    assert "Traceback" not in seen
    assert len(lab.guests()) == 1
    lab.settled("web", chart=chart)


def test_several_stores_on_one_cluster(lab: Lab, tmp_path: Path) -> None:
    """Teams that know nothing of each other: numbers are told apart by the server alone."""
    chart = lab.chart(SCALED)
    host = Host(lab)
    try:
        running = []
        for index in range(5):
            env = {**os.environ, "PVEHELM_DATA": str(tmp_path / f"d{index}")}
            env["PVEHELM_CONFIG"] = str(tmp_path / f"c{index}.yaml")
            add = ["context", "add", "lab", "--host", f"127.0.0.1:{host.port}", "--user", "root@pam", "--secret-stdin"]
            subprocess.run(
                [sys.executable, "-m", "pvehelm", *add, "--fingerprint", host.fingerprint],
                input="proxmox\n", text=True, env=env, cwd=ROOT, check=True, capture_output=True,
            )  # fmt: skip
            running.append((index, env))
        processes = [(index, env, lab.start("install", f"team{index}", chart, env=env)) for index, env in running]
        for _, _, process in processes:
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
        assert len(lab.guests()) == 10
        names = sorted(guest["config"]["name"] for guest in lab.guests().values())
        assert names == sorted(f"team{index}-{number}" for index in range(5) for number in range(2))
        for index, env, _ in processes:
            diff = lab.start("diff", f"team{index}", "--detailed-exitcode", env=env)
            out, _ = diff.communicate(timeout=60)
            assert diff.returncode == 0, out
    finally:
        host.stop()

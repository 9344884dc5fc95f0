"""How a run ends is recorded, whatever ends it; --atomic; what was done can be read afterwards."""

from __future__ import annotations

import signal
import threading

import pytest

from pvehelm.release.change import Plan
from pvehelm.release.context import Context
from pvehelm.release.decide import decide
from pvehelm.release.desire import Options, back_to
from tests.release.charts import SCALED, VM
from tests.release.lab import Lab, with_context
from tests.release.test_engine_signals import wait_for


def test_what_was_done_and_what_the_failed_task_said(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.fault("POST /nodes/*/clone", **{"task-fail": "no space left on thin pool", "times": 1})
    lab.run("install", "web", chart, code=1)
    rows = lab.run("status", "web", "--events", "-o", "json").json
    assert {row["result"].partition(":")[0] for row in rows} == {"done", "failed"}
    assert all(row["call"].startswith(("POST", "PUT")) and row["started"] for row in rows)
    (failed,) = lab.run("status", "web", "--logs", "-o", "json").json
    assert failed["task"].startswith("UPID:")
    assert any("no space left on thin pool" in line for line in failed["log"])
    assert "no space left" in lab.run("status", "web", "--logs").out
    lab.run("upgrade", "web", chart)
    assert "No logs were kept" in lab.run("status", "web", "--logs").out
    assert "no space left" in lab.run("status", "web", "--logs", "--revision", "1").out


@pytest.mark.parametrize("way", ["upgrade", "install", "recover", "uninstall"])
def test_a_failed_first_install_is_no_dead_end(lab: Lab, way: str) -> None:
    chart = lab.chart(SCALED)
    lab.fault("POST /nodes/*/clone", **{"task-fail": "no", "times": 1})
    lab.run("install", "web", chart, code=1)
    assert len(lab.guests()) == 1
    if way == "uninstall":
        lab.run("uninstall", "web", "--yes")
        assert not lab.guests()
        assert lab.run("list", "-q").out == ""
        lab.sound()
        return
    lab.run(way, "web", *([] if way == "recover" else [chart]))
    assert len(lab.guests()) == 2
    lab.settled("web", chart=chart)
    lab.sound("web")


def test_status_asks_for_power_only_when_told(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    lab.remove(lab.vmid("web", "VirtualMachine/web-0"))
    assert "power" not in str(lab.run("status", "web", "-o", "json").json["resources"])
    rows = {r["ref"]: r["power"] for r in lab.run("status", "web", "--live", "-o", "json").json["resources"]}
    assert rows == {"VirtualMachine/web-0": "missing", "VirtualMachine/web-1": "running"}
    assert "pvehelm drift web says more" in lab.run("status", "web", "--live").out


# -- --atomic, sentence by sentence ----------------------------------------------------------------------------


def test_atomic_keeps_the_logs_and_restores_the_last_deployed(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    lab.fault("POST /nodes/*/qemu/*/config", **{"task-fail": "disk on fire", "times": 1})
    lab.fault("PUT /nodes/*/qemu/*/config", status=500, times=1)
    result = lab.run("upgrade", "web", chart, "--set", "memory=4096", "--atomic", code=1)
    assert "was undone" in result.err
    rows = lab.history("web")
    assert [row["status"] for row in rows] == ["superseded", "failed", "deployed"]
    assert rows[-1]["rollback_revision"] == 1
    events = lab.run("status", "web", "--events", "--revision", "2", "-o", "json").json
    assert any(row["result"].startswith("failed") for row in events)
    assert int(lab.config(lab.vmid("web", "VirtualMachine/vm"))["memory"]) == 1024
    lab.settled("web", chart=chart)


def test_atomic_says_when_undoing_failed_too(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    lab.fault("POST /nodes/*/clone", **{"task-fail": "no space", "times": 1})
    lab.fault("DELETE /nodes/*/qemu/*", status=500)
    args = ("--set", "replicas=4", "--set", "memory=768", "--atomic", "--yes")
    result = lab.run("upgrade", "web", chart, *args, code=1)
    assert "could not be undone" in result.err
    assert "pvehelm recover web" in result.err
    lab.clear_faults()
    lab.run("recover", "web", "--yes")
    lab.settled("web", chart=chart)
    lab.sound("web")


def test_atomic_undoes_what_took_too_long(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.fault("POST /nodes/*/clone", delay=30, times=1)
    result = lab.run("install", "web", chart, "--atomic", "--timeout", "2s", code=1)
    assert "took longer than 2 s and was undone" in result.err
    assert not lab.guests()
    assert lab.status("web") == "failed"
    lab.clear_faults()
    lab.run("install", "web", chart)
    lab.settled("web", chart=chart)
    lab.sound("web")


def test_without_atomic_the_revision_says_it_took_too_long(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.fault("POST /nodes/*/clone", delay=30, times=1)
    assert "pvehelm recover web" in lab.run("install", "web", chart, "--timeout", "2s", code=1).err
    assert "took longer" in lab.history("web")[-1]["description"]
    lab.clear_faults()
    lab.run("recover", "web")
    lab.settled("web", chart=chart)
    lab.sound("web")


def test_atomic_refuses_a_disk_that_would_grow(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    result = lab.run("upgrade", "web", chart, "--set", "size=9G", "--atomic", code=3)
    assert "could not be set back" in result.err
    assert "shrink" in result.err
    lab.run("upgrade", "web", chart, "--set", "size=9G")


def test_atomic_install_lets_go_of_what_it_took_over(lab: Lab) -> None:
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=300, name="old")
    manifests = (
        SCALED
        + """
---
apiVersion: proxmox.io/v1
kind: VirtualMachine
metadata: { name: old }
spec: { node: pve-node1, vmid: 300, description: ours }
"""
    )
    chart = lab.chart(manifests)
    lab.fault("POST /nodes/*/clone", **{"task-fail": "no space"})
    result = lab.run("install", "web", chart, "--atomic", "--take-ownership", "vm/old", code=1)
    assert "was undone" in result.err, result
    assert list(lab.guests()) == ["300"]
    assert "pvehelm release" not in lab.config(300).get("description", "")
    assert not lab.inventory("web").entries


# -- namespaces, signals ---------------------------------------------------------------------------------------


def test_a_namespace_is_made_under_the_journal(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart, "-n", "team", "--create-namespace")
    rows = lab.run("status", "web", "-n", "team", "--events", "-o", "json").json
    assert rows[0]["ref"] == "Pool/team"
    assert rows[0]["result"] == "done"


def test_a_namespace_that_cant_be_made_is_a_failed_revision(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.fault("POST /pools", status=500, times=1)
    lab.run("install", "web", chart, "-n", "team", "--create-namespace", code=1)
    assert "/pools" in lab.run("history", "web", "-n", "team").out
    lab.run("install", "web", chart, "-n", "team", "--create-namespace")
    assert len(lab.guests()) == 2


def test_the_second_signal_says_how_to_go_on(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.fault("POST /nodes/*/clone", delay=20)
    process = lab.start("install", "web", chart)
    wait_for(process, "create ...")
    process.send_signal(signal.SIGINT)
    wait_for(process, "Stopping")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    err = process.stderr.read()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert "pvehelm recover web finishes or repairs" in err
    assert lab.status("web") == "failed"
    lab.clear_faults()
    lab.run("recover", "web")
    lab.settled("web", chart=chart)


def test_recover_says_what_it_waits_for(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    assert lab.killed("set_upid", "after", 1, "install", "web", chart, "--set", "replicas=1")
    (entry,) = _open(lab)
    vmid = str(entry.intent["key"]["vmid"])
    if vmid not in lab.guests():
        pytest.skip("the clone did not begin")
    document = lab.state.collection("qemu")[vmid]
    document["config"]["lock"] = "backup"
    lab.state.collection("qemu")[vmid] = document
    timer = threading.Timer(1.0, _unlock, (lab, vmid))
    timer.start()
    result = lab.run("recover", "web")
    timer.join()
    assert f"guest {vmid} is locked (backup)" in result.err
    lab.settled("web")


def _open(lab: Lab) -> list:  # type: ignore[type-arg]
    with lab.store() as store:
        return store.open_entries(lab.key("web"))


def _unlock(lab: Lab, vmid: str) -> None:
    lab.api.ok("PUT", f"/nodes/pve-node1/qemu/{vmid}/config", delete="lock", skiplock=1)


# -- the command line ------------------------------------------------------------------------------------------


def test_an_unknown_flag_may_be_a_value(lab: Lab) -> None:
    result = lab.run("install", "web", lab.chart(SCALED), "--replica=3", code=64)
    assert "--set replica=" in result.err
    assert "--set" not in lab.run("list", "--replica=3", code=64).err


def test_a_closed_pipe_is_no_error(lab: Lab) -> None:
    process = lab.start("api-resources")
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Broken" not in err


def test_a_vmid_is_a_number_everywhere(lab: Lab) -> None:
    lab.run(
        "install",
        "web",
        lab.chart(
            VM
            + """
---
apiVersion: proxmox.io/v1
kind: FirewallOptions
metadata: { name: vm }
spec: { scope: VirtualMachine/vm, enable: true }
"""
        ),
    )
    rows = lab.run("status", "web", "-o", "json").json["resources"]
    changes = lab.run("diff", "web", "-o", "json").json["changes"]
    found = [row["identifier"]["vmid"] for row in rows] + [change["key"]["vmid"] for change in changes]
    assert len(found) == 4
    assert all(isinstance(vmid, int) for vmid in found)


# -- killed in the middle of the newer verbs -------------------------------------------------------------------


@pytest.mark.parametrize("moment", [("begin", "after", 1), ("outcome", "before", 1), ("put_revision", "before", 2)])
@pytest.mark.parametrize("verb", ["apply-plan", "repair", "accept"])
def test_killed_in_the_middle(lab: Lab, verb: str, moment: tuple[str, str, int]) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/vm")
    file = str(lab.folder / "web.plan.json")
    if verb == "apply-plan":
        lab.run("plan", "upgrade", "web", chart, "--set", "memory=2048", "--out", file)
        args = ("apply-plan", file)
    else:
        lab.set(vmid, memory=4096)
        args = ("drift", "web", f"--{verb}")
    assert lab.killed(*moment, *args)
    lab.run("recover", "web", "--yes")
    lab.settled("web")
    lab.sound("web")
    assert list(lab.guests()) == [str(vmid)]
    wanted = {"apply-plan": 2048, "repair": 1024, "accept": 4096}[verb]
    assert int(lab.config(vmid)["memory"]) == wanted


def test_a_locked_guest_is_said_before_anything_is_begun(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/web-1")
    lab.api.ok("PUT", f"/nodes/pve-node1/qemu/{vmid}/config", lock="backup")
    before, config = lab.history("web"), lab.config(lab.vmid("web", "VirtualMachine/web-0"))
    for words in (["upgrade", "web", chart, "--set", "memory=800"], ["uninstall", "web", "--yes"]):
        result = lab.run(*words, code=1)
        assert f"VMID {vmid} is locked (backup)" in result.err, result
        assert "try again once that is done" in result.err, result
    assert lab.history("web") == before
    assert lab.config(lab.vmid("web", "VirtualMachine/web-0")) == config
    lab.run("upgrade", "web", chart, "--set", "memory=800", "--target", "vm/web-0")
    lab.api.ok("PUT", f"/nodes/pve-node1/qemu/{vmid}/config", delete="lock", skiplock=1)
    lab.api.ok("POST", f"/nodes/pve-node1/qemu/{vmid}/status/suspend", todisk=1)
    assert f"pvehelm resume {vmid} wakes it" in lab.run("upgrade", "web", chart, "--set", "memory=900", code=1).err
    lab.run("start", "web-1")
    lab.run("upgrade", "web", chart, "--set", "memory=900")
    lab.api.ok("POST", f"/nodes/pve-node1/qemu/{vmid}/status/suspend", todisk=1)
    lab.run("uninstall", "web", "--yes")
    lab.sound()


def test_what_is_undone_goes_on_beside_a_guest_that_is_locked(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    lab.run("upgrade", "web", chart, "--set", "memory=800")
    vmid = lab.vmid("web", "VirtualMachine/web-1")
    lab.api.ok("PUT", f"/nodes/pve-node1/qemu/{vmid}/config", lock="backup")

    async def plans(ctx: Context) -> list[Plan]:
        key = ctx.key("web")
        target, uid = ctx.store.revision(key, 1), ctx.store.get(key).uid
        ways = [await decide(ctx, key, back_to(target), Options(), uid=uid, undoing=way) for way in (False, True)]
        return [decision.plan for decision in ways]

    otherwise, undoing = with_context(plans)
    assert [f"VMID {vmid} is locked (backup)" in problem.what for problem in otherwise.problems] == [True]
    assert not undoing.problems
    assert {change.ref for change in undoing.changes if change.acts} >= {"VirtualMachine/web-0"}

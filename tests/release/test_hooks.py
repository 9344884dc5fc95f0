"""Hooks, a chart's own tests, readiness: cases of hooks.yaml, and what data can't say."""

from __future__ import annotations

import json
import re
import shlex
import signal
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from pvehelm.api import rights
from pvehelm.api.schema import Schema
from pvehelm.release.hooks import calls, synthetic
from pvehelm.release.inventory import Inventory, Owned
from tests.release.lab import Lab, load_cases
from tests.release.test_engine_kill import each_step
from tests.release.test_engine_signals import wait_for

MACHINE = """
kind: VirtualMachine
metadata: { name: web }
spec:
  node: pve-node1
  template: debian-12-template
  memory: {{ Values.memory | default(512) }}
  agent: true
  networks: [{ bridge: vmbr0 }]
  cloudInit: { ip: 10.0.0.5/24 }
"""
CASES = load_cases("release/hooks.yaml")


def ran(err: str) -> list[str]:
    """What was run, in its order, as the progress lines tell it."""
    return re.findall(r"^(\S+): run \.\.\.$", err, re.MULTILINE)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_case(lab: Lab, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "tr0ub4dor&3")
    chart = lab.chart(case["manifests"].replace("MACHINE", MACHINE))
    for step in case["steps"]:
        if "fault" in step:
            lab.fault(**step["fault"])
        elif "clear" in step:
            lab.clear_faults()
        elif "snapshot" in step:
            vmid = lab.vmid("web", "VirtualMachine/web")
            lab.api.ok("POST", f"/nodes/pve-node1/qemu/{vmid}/snapshot", snapname=step["snapshot"])
        else:
            words = [chart if word == "CHART" else word for word in shlex.split(step["run"])]
            result = lab.run(*words, code=step.get("code", 0))
            for text in step.get("says", ()):
                assert text in result.text, result
            for text in step.get("lacks", ()):
                assert text not in result.text, result
            if "order" in step:
                assert [one for one in ran(result.err) if not one.startswith("ready:")] == step["order"], result
    names = lab.run("list", "-q").out.split()
    lab.sound(*names)


def test_runs_are_kept_with_the_revision(lab: Lab) -> None:
    check = "\n---\nkind: TcpCheck\nmetadata: { name: ssh, hook: [post-install, test] }\n"
    chart = lab.chart(MACHINE + check + "spec: { guest: VirtualMachine/web, port: 22 }\n")
    lab.run("install", "web", chart)
    first = lab.run("get", "hooks", "web", "-o", "json").json
    assert [(run["event"], run["phase"]) for run in first[0]["runs"]] == [("post-install", "Succeeded")]
    before = lab.history("web")
    lab.run("test", "web")
    lab.run("test", "web")
    (hook,) = lab.run("get", "hooks", "web", "-o", "json").json
    assert [(run["event"], run["phase"]) for run in hook["runs"]] == [
        ("post-install", "Succeeded"),
        ("test", "Succeeded"),
    ]
    assert hook["runs"][0]["result"]["address"] == "10.0.0.5"
    assert lab.history("web") == before
    rows = lab.run("test", "web", "-o", "json").json
    assert [row["phase"] for row in rows] == ["Succeeded"]
    suite = ET.fromstring(lab.run("test", "web", "-o", "junit").out)
    assert suite.get("tests") == "1"
    assert suite[0].get("name") == "ssh"
    # A rollback has the tests of the revision that it goes back to.
    lab.run("upgrade", "web", lab.chart(MACHINE))
    assert "no tests" in lab.run("test", "web").out
    lab.run("rollback", "web", "1")
    assert "ssh" in lab.run("test", "web").out


def test_a_set_has_hooks_too(lab: Lab) -> None:
    text = (
        "kind: Pool\nmetadata: { name: p }\n---\nkind: Wait\nmetadata: { name: w, hook: 'post-install,post-upgrade' }\n"
    )
    result = lab.run("apply", "-f", "-", "--set-name", "s", stdin=text + "spec: { duration: 1ms }\n")
    assert ran(result.err) == ["post-install:Wait/w"]
    changed = text.replace("name: p }", "name: p }\nspec: { comment: c }")
    result = lab.run("apply", "-f", "-", "--set-name", "s", stdin=changed + "spec: { duration: 1ms }\n")
    assert ran(result.err) == ["post-upgrade:Wait/w"]


def test_a_saved_plan_holds_hooks(lab: Lab) -> None:
    hook = "\n---\nkind: Wait\nmetadata: { name: w, hook: 'pre-install,pre-delete' }\nspec: { duration: 1ms }\n"
    chart = lab.chart(MACHINE + hook)
    file = str(lab.folder / "plan.json")
    shown = lab.run("plan", "install", "web", chart, "--out", file)
    assert "pre-install:Wait/w" in shown.out
    assert any(c.get("hook") for c in json.loads(Path(file).read_text())["plan"]["changes"])
    assert ran(lab.run("apply-plan", file).err) == ["pre-install:Wait/w"]
    lab.run("plan", "uninstall", "web", "--out", file)
    assert ran(lab.run("apply-plan", file, "--yes").err) == ["pre-delete:Wait/w"]
    assert not lab.guests()


def test_a_strange_guest_is_not_touched(lab: Lab) -> None:
    """The mark is gone: whatever the inventory says, the guest may be somebody else's by now."""
    command = "\n---\nkind: GuestExec\nmetadata: { name: x, hook: test }\n"
    command += "spec: { guest: VirtualMachine/web, command: 'true' }\n"
    lab.run("install", "web", lab.chart(MACHINE + command))
    lab.set(lab.vmid("web", "VirtualMachine/web"), description="mine")
    result = lab.run("test", "web", "--allow-privileged", "GuestExec", code=1)
    assert "does not carry this release's mark" in result.text


def test_a_signal_ends_what_waits(lab: Lab) -> None:
    """Waiting is given up at once, a command in a guest is waited for; both can be gone on with."""
    hooks = """
---
kind: GuestExec
metadata: { name: a, hook: post-install }
spec: { guest: VirtualMachine/web, command: [sleep, "1"] }
---
kind: Wait
metadata: { name: b, hook: post-install }
spec: { duration: "{{ Values.long }}" }
"""
    chart = lab.chart(MACHINE + hooks, values="long: 60s\n")
    for word in ("GuestExec/a: run", "Wait/b: run"):
        process = lab.start("install", "web", chart, "--allow-privileged", "GuestExec")
        wait_for(process, word)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert "pvehelm recover web" in err
        assert lab.history("web")[-1]["description"] == "interrupted"
        lab.run("recover", "web", "--no-hooks")
        assert lab.status("web") == "deployed"
        lab.run("uninstall", "web", "--yes")
    lab.sound()


def test_killed_while_testing(lab: Lab) -> None:
    check = "\n---\nkind: GuestExec\nmetadata: { name: x, hook: test }\n"
    chart = lab.chart(MACHINE + check + "spec: { guest: VirtualMachine/web, command: 'true' }\n")
    lab.run("install", "web", chart)
    args = ("test", "web", "--allow-privileged", "GuestExec")

    def after(lab: Lab, count: int) -> None:
        assert lab.status("web") == "deployed"
        lab.run(*args)
        lab.settled("web", chart=chart)
        lab.sound("web")

    for point in (("begin", "after"), ("outcome", "before")):
        each_step(lab, point, args, after)


@pytest.mark.parametrize("point", [("begin", "after"), ("outcome", "before")], ids=["intent", "unrecorded"])
def test_killed_removal_with_hooks(lab: Lab, point: tuple[str, str]) -> None:
    """Whoever finishes it, what hooks of the removal have made goes as well."""
    hooks = """
---
kind: Pool
metadata: { name: farewell, hook: "pre-delete,post-delete" }
---
kind: GuestExec
metadata: { name: bye, hook: pre-delete, hookWeight: 1 }
spec: { guest: VirtualMachine/web, command: "true" }
"""
    lab.run("install", "web", lab.chart(MACHINE + hooks))
    args = ("uninstall", "web", "--yes", "--allow-privileged", "GuestExec")

    def after(lab: Lab, count: int) -> None:
        lab.run(*(args if count % 2 else ("recover", "web", "--yes", "--allow-privileged", "GuestExec")))
        assert not lab.guests()
        assert "farewell" not in lab.state.collection("pools")
        assert lab.run("list", "-q").out == ""
        lab.sound()

    each_step(lab, point, args, after)


def test_what_a_hook_may_not_do_is_seen_in_the_plan() -> None:
    schema = Schema.load("9.2")
    inventory = Inventory(
        {
            f"{kind}/x": Owned(f"{kind}/x", kind, "x", None, {"vmid": vmid, "node": "n"})
            for kind, vmid in (("VirtualMachine", 100), ("Container", 101))
        }
    )
    lacking: dict[str, list[str]] = {}
    for kind, spec in (
        ("GuestExec", {"guest": "VirtualMachine/x"}),
        ("Snapshot", {"guests": ["Container/x"]}),
        ("Backup", {"storage": "local"}),
        ("Wait", {"duration": 1}),
    ):
        change = synthetic("pre-upgrade", kind, "x", spec, "")
        found = rights.problems(schema, [(change.ref, kind, tuple(calls(change, inventory)))], {}, "joe@pve")
        lacking[kind] = [problem.what for problem in found]
    assert [text.partition(":")[0] for text in lacking["GuestExec"]] == ["run a command in VirtualMachine/x"]
    assert "VM.GuestAgent.Unrestricted" in lacking["GuestExec"][0]
    assert "VM.Snapshot on /vms/101" in lacking["Snapshot"][0]
    assert lacking["Wait"] == []

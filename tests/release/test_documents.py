"""Saved plans: applied exactly, or refused with what moved."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.release.charts import MIXED, VM
from tests.release.lab import Lab

CASES = yaml.safe_load((Path(__file__).parent / "cases" / "documents.yaml").read_text())


def saved(lab: Lab, *words: str) -> Path:
    path = lab.folder / "web.plan.json"
    lab.run("plan", *words, "--out", str(path))
    return path


def move(lab: Lab, chart: str, what: dict[str, Any]) -> None:
    if "run" in what:
        lab.run(*(chart if word == "CHART" else word for word in what["run"]))
    elif "call" in what:
        lab.api.ok(*what["call"], **what["params"])
    elif what.get("remove"):
        lab.remove(lab.vmid("web", "VirtualMachine/vm"))
    else:
        lab.api.ok("PUT", f"/nodes/pve-node1/qemu/{lab.vmid('web', 'VirtualMachine/vm')}/config", **what["config"])


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_saved_plan_is_applied_exactly_or_refused(lab: Lab, case: dict[str, Any]) -> None:
    chart = lab.chart(VM)
    if not case.get("fresh"):
        lab.run("install", "web", chart)
    for words in case.get("before", ()):
        lab.run(*(chart if word == "CHART" else word for word in words))
    path = saved(lab, *(chart if word == "CHART" else word for word in case["plan"]))
    before = None if case.get("fresh") else lab.history("web")
    for what in case.get("move", ()):
        move(lab, chart, what)
    moved = None if case.get("fresh") else lab.history("web")
    result = lab.run("apply-plan", str(path), "--yes", code=case.get("code", 0))
    for text in case.get("text", ()):
        assert text in result.err, result
    if result.code:
        assert before is None or moved == lab.history("web")
        return
    if case["plan"][0] == "uninstall":
        assert not lab.guests()
    else:
        planned = json.loads(path.read_text())["plan"]
        done = lab.run("get", "metadata", "web", "-o", "json").json
        assert done["status"] == "deployed"
        assert planned["changes"]
        lab.settled("web")
    # What was applied once does not fit a second time; what passes by itself has not moved.
    again = lab.run("apply-plan", str(path), "--yes", code=3)
    assert 'node was "pve-node1" when the plan was made, and is not set' not in again.err


def test_the_document_is_the_owner_s_and_holds_no_secret(lab: Lab) -> None:
    chart = lab.chart(
        """
apiVersion: proxmox.io/v1
kind: VirtualMachine
metadata: { name: vm }
spec:
  node: pve-node1
  template: debian-12-template
  cloudInit: { user: ops, password: "{{ Values.password }}" }
""",
        values='password: ""\n',
    )
    path = saved(lab, "install", "web", chart, "--set", "password=hunter2-hunter2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "hunter2" not in path.read_text()
    lab.run("apply-plan", str(path))
    assert "hunter2" not in lab.run("get", "manifest", "web").out
    assert lab.config(lab.vmid("web", "VirtualMachine/vm"))["cipassword"]
    lab.settled("web")


def test_a_document_that_was_touched_is_refused(lab: Lab) -> None:
    chart = lab.chart(VM)
    path = saved(lab, "install", "web", chart)
    path.write_text(path.read_text().replace("1024", "9999"))
    assert "was changed after it was written" in lab.run("apply-plan", str(path), code=1).err
    path.write_text("{}")
    assert "is no saved plan" in lab.run("apply-plan", str(path), code=1).err
    assert not lab.guests()


def test_a_plan_of_another_cluster_is_refused(lab: Lab) -> None:
    path = saved(lab, "install", "web", lab.chart(VM))
    lab.close()
    lab.run("simulator", "reset", "--yes", code=None)
    lab.open()
    assert "another cluster" in lab.run("apply-plan", str(path), code=3).err


def test_what_destroys_asks_when_applied(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    path = saved(lab, "uninstall", "web")
    assert "was not confirmed" in lab.run("apply-plan", str(path), code=3).err
    assert lab.guests()


def test_a_plan_that_is_refused_is_not_saved(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=300, name="vm")
    path = lab.folder / "no.json"
    result = lab.run("plan", "install", "web", chart, "--out", str(path), code=None)
    assert result.code in (1, 3)
    assert not path.exists()
    assert "not written" in result.err


def test_exit_codes_and_graphs(lab: Lab) -> None:
    chart = lab.chart(MIXED)
    lab.run("plan", "install", "web", chart, "--detailed-exitcode", code=2)
    text = lab.run("plan", "install", "web", chart, "--graph").out
    assert text.index("Pool/web-pool") < text.index("VirtualMachine/web-vm")
    assert "after Pool/web-pool" in text
    dot = lab.run("plan", "install", "web", chart, "--graph", "dot").out
    assert '"Pool/web-pool" -> "VirtualMachine/web-vm";' in dot
    lab.run("plan", "install", "web", chart, "--graph=png", code=64)
    lab.run("install", "web", chart)
    lab.run("plan", "upgrade", "web", chart, "--detailed-exitcode", code=0)
    assert lab.run("plan", "upgrade", "web", chart, "-o", "json").json["summary"] == "no changes"


def test_manifests_can_be_planned_and_saved(lab: Lab) -> None:
    file = lab.folder / "pool.yaml"
    file.write_text("kind: Pool\nmetadata: { name: team }\nspec: { comment: ours }\n")
    path = lab.folder / "set.json"
    lab.run("plan", "-f", str(file), "--set-name", "team", "--out", str(path))
    lab.run("apply-plan", str(path))
    assert lab.state.collection("pools")["team"]
    assert lab.run("plan", code=0).out.lstrip().startswith("Usage:")
    lab.run("plan", "-f", str(file), "upgrade", "web", "x", code=64)


def test_kinds_may_be_named_short(lab: Lab) -> None:
    chart = lab.chart(MIXED)
    result = lab.run("plan", "install", "web", chart, "--target", "vm/web-vm")
    assert "VirtualMachine/web-vm" in result.out
    assert "SecurityGroup" not in result.out
    assert "no such resource" in lab.run("plan", "install", "web", chart, "--target", "vms/none", code=1).out
    assert "there is no kind" in lab.run("plan", "install", "web", chart, "--target", "vmm/none", code=1).err
    lab.run("install", "web", chart)
    result = lab.run("plan", "upgrade", "web", chart, "--replace", "virtualmachines/web-vm")
    assert "made" in result.out or "replace" in result.out
    result = lab.run("upgrade", "web", chart, "--replace", "vm/gone", code=1)
    assert "--replace names no resource" in result.err


def test_hooks_are_part_of_a_saved_plan(lab: Lab) -> None:
    chart = lab.chart(
        VM
        + """
---
apiVersion: proxmox.io/v1
kind: Wait
metadata: { name: pause, hook: "pre-upgrade,pre-delete" }
spec: { duration: 0s }
"""
    )
    lab.run("install", "web", chart)
    path = saved(lab, "upgrade", "web", chart, "--set", "memory=2048")
    assert "1 to run" in json.loads(path.read_text())["plan"]["summary"]
    assert "pre-upgrade:Wait/pause: run done" in lab.run("apply-plan", str(path)).err
    path = saved(lab, "uninstall", "web")
    assert "pre-delete:Wait/pause: run done" in lab.run("apply-plan", str(path), "--yes").err
    assert not lab.guests()
    lab.sound()


def test_a_forged_document_is_refused(lab: Lab) -> None:
    from pvehelm.release import document

    path = saved(lab, "install", "web", lab.chart(VM))
    data = json.loads(path.read_text().replace("1024", "9999"))
    seals = {name: data.pop(name) for name in document.SEALS}
    data["options"]["allowed"]["privileged"] = ["all"]
    forged = {**data, **seals, "digest": document._digest(data)}
    path.write_text(json.dumps(forged))
    assert "its signature is of something else" in lab.run("apply-plan", str(path), code=3).err
    with lab.store() as store:
        # A chart chooses what its secrets are, and a saved plan shows their fingerprints.
        forged["signature"] = store.hmac(document.SIGNED + forged["digest"])
    path.write_text(json.dumps(forged))
    assert "its signature is of something else" in lab.run("apply-plan", str(path), code=3).err
    del forged["signature"]
    path.write_text(json.dumps(forged))
    assert "is not signed" in lab.run("apply-plan", str(path), code=3).err
    assert not lab.guests()


def test_a_document_of_another_store_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(lab, "install", "web", lab.chart(VM))
    monkeypatch.setenv("PVEHELM_KEY", "another key than that of this store")
    refused = lab.run("apply-plan", str(path), code=3)
    assert "was made with another store" in refused.err
    assert "PVEHELM_KEY" in refused.err
    monkeypatch.delenv("PVEHELM_KEY")
    lab.run("apply-plan", str(path))

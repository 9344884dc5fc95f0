"""What is ours, what is not, what may be destroyed: refusals and the words that lift them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.release.charts import CT, SCALED, VM
from tests.release.lab import Lab

POOL = "kind: Pool\nmetadata: { name: shared }\nspec: { comment: {{ Values.comment | default('mine') }} }\n"


def make_guest(lab: Lab, name: str = "vm", vmid: int = 150, **more: Any) -> None:
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=vmid, name=name, memory=2048, scsi0="local-lvm:4", **more)


def test_a_foreign_guest_of_that_name_is_refused(lab: Lab) -> None:
    make_guest(lab)
    chart = lab.chart(VM)
    result = lab.run("install", "web", chart, code=1)
    assert "a guest named 'vm' (VMID 150) is there already" in result.err
    assert "templates/all.yaml:2" in result.err or "templates/all.yaml:4" in result.err
    assert "--take-ownership VirtualMachine/vm" in result.err
    assert lab.run("list", "-q").out == ""


ADOPTING = """
kind: VirtualMachine
metadata: { name: vm }
spec:
  node: pve-node1
  vmid: 150
  memory: 1024
  cores: 2
  power: stopped
"""


def test_taking_over_a_foreign_guest(lab: Lab) -> None:
    make_guest(lab, description="old text", cores=4)
    chart = lab.chart(ADOPTING)
    refused = lab.run("install", "web", chart, code=None)
    assert refused.code in (1, 3)
    assert "150" in refused.err
    assert "--take-ownership VirtualMachine/vm" in refused.err
    plan = lab.run("install", "web", chart, "--take-ownership", "VirtualMachine/vm", "--dry-run=server").out
    assert "memory: 2048 -> 1024" in plan
    lab.run("install", "web", chart, "--take-ownership", "VirtualMachine/vm")
    config = lab.config(150)
    assert str(config["memory"]) == "1024"
    assert config["description"].startswith("old text\n<!-- pvehelm release=")
    lab.settled("web", chart=chart)
    lab.sound("web")
    # a field that leaves the chart goes back to what the administrator had
    less = lab.chart(ADOPTING.replace("  cores: 2\n", ""))
    lab.run("upgrade", "web", less)
    assert lab.config(150)["cores"] == 4
    # an adopted guest is never destroyed by the way
    result = lab.run("uninstall", "web", "--yes", code=3)
    assert "--allow-destroy VirtualMachine/vm" in result.err
    assert "did not create" in result.err
    lab.run("uninstall", "web", "--keep-resources")
    assert lab.config(150)["description"].rstrip() == "old text"
    lab.run("install", "web", less, "--take-ownership", "all")
    lab.run("uninstall", "web", "--yes", "--allow-destroy", "VirtualMachine/vm")
    assert not lab.guests()


def test_another_kind_that_exists_is_refused(lab: Lab) -> None:
    lab.api.ok("POST", "/pools", poolid="shared", comment="theirs")
    chart = lab.chart(POOL)
    result = lab.run("install", "web", chart, code=3)
    assert "Pool/shared exists already" in result.err
    assert "templates/all.yaml:1" in result.err
    lab.run("install", "web", chart, "--take-ownership", "Pool/shared")
    assert lab.state.collection("pools")["shared"]["comment"] == "mine"
    lab.settled("web", chart=chart)
    result = lab.run("uninstall", "web", "--yes", code=3)
    assert "--allow-destroy Pool/shared" in result.err


def test_an_object_belongs_to_one_release(lab: Lab) -> None:
    chart = lab.chart(POOL)
    lab.run("install", "one", chart)
    for flags in ([], ["--take-ownership", "all"]):
        result = lab.run("install", "two", chart, *flags, code=3)
        assert "default/one" in result.err, result
        assert "Pool/shared" in result.err
    assert lab.run("list", "-q").out.split() == ["one"]


def test_a_guest_belongs_to_one_release(lab: Lab) -> None:
    pinned = ADOPTING.replace("power: stopped", "scsi0: { storage: local-lvm, size: 2G }")
    lab.run("install", "one", lab.chart(pinned))
    for flags in ([], ["--take-ownership", "VirtualMachine/vm"]):
        result = lab.run("install", "two", lab.chart(pinned), *flags, code=None)
        assert result.code in (1, 3)
        assert "default/one" in result.err, result
    lab.sound("one")


def test_a_guest_that_somebody_removed_is_made_again(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    lab.remove(lab.vmid("web", "VirtualMachine/vm"))
    diff = lab.run("diff", "web", "--detailed-exitcode", code=2).out
    assert "missing on the server" in diff
    lab.run("upgrade", "web", chart)
    assert len(lab.guests()) == 1
    lab.settled("web", chart=chart)
    lab.sound("web")


def test_a_removed_guest_whose_vmid_is_taken_gets_another(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/vm")
    lab.remove(vmid)
    make_guest(lab, "stranger", vmid)
    result = lab.run("upgrade", "web", chart, code=None)
    # the stranger's guest is never touched
    assert lab.config(vmid)["name"] == "stranger"
    assert "scsi0" in lab.config(vmid)
    if result.code:
        assert str(vmid) in result.err
        assert "mark" in result.err
    else:
        assert lab.vmid("web", "VirtualMachine/vm") != vmid


def test_a_removed_guest_can_be_uninstalled(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/vm")
    lab.remove(vmid)
    make_guest(lab, "stranger", vmid)
    lab.run("uninstall", "web", "--yes")
    assert lab.config(vmid)["name"] == "stranger"


def test_a_mark_removed_by_hand_is_refused_and_explained(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/vm")
    lab.set(vmid, description="all new")
    result = lab.run("upgrade", "web", chart, "--set", "memory=2048", code=3)
    assert f"guest {vmid} does not carry this release's mark" in result.err
    assert "--take-ownership VirtualMachine/vm" in result.err
    assert str(lab.config(vmid)["memory"]) == "1024"
    lab.run("upgrade", "web", chart, "--set", "memory=2048", "--take-ownership", "VirtualMachine/vm")
    assert str(lab.config(vmid)["memory"]) == "2048"
    assert "<!-- pvehelm release=" in lab.config(vmid)["description"]
    lab.settled("web", chart=chart)
    lab.run("uninstall", "web", "--yes")
    assert not lab.guests()


def test_a_copy_of_our_guest_is_not_ours(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/vm")
    lab.power(vmid, "stop")
    lab.api.ok("POST", f"/nodes/pve-node1/qemu/{vmid}/clone", newid=170, name="copy", full=1)
    lab.settled("web", chart=chart)
    lab.run("upgrade", "web", chart, "--set", "memory=2048")
    assert str(lab.config(170)["memory"]) == "1024"
    # even in place of the original
    lab.remove(vmid)
    lab.run("upgrade", "web", chart)
    assert lab.vmid("web", "VirtualMachine/vm") != 170
    lab.run("uninstall", "web", "--yes")
    assert list(lab.guests()) == ["170"]


def test_replace(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/vm")
    lab.set(vmid, onboot=1)
    result = lab.run("upgrade", "web", chart, "--replace", "VirtualMachine/vm", code=3)
    assert "scsi0 local-lvm" in result.err
    plan = lab.run("upgrade", "web", chart, "--replace", "VirtualMachine/vm", "--dry-run=server").out
    assert "± VirtualMachine/vm" in plan
    assert "is destroyed" in plan
    lab.run("upgrade", "web", chart, "--replace", "VirtualMachine/vm", "--yes")
    assert "onboot" not in lab.config(lab.vmid("web", "VirtualMachine/vm"))
    assert len(lab.guests()) == 1
    lab.settled("web", chart=chart)
    lab.sound("web")


def test_what_is_set_at_creation_alone_asks_for_a_replacement(lab: Lab) -> None:
    chart = lab.chart(CT + "  unprivileged: true\n")
    lab.run("install", "web", chart)
    other = lab.chart(CT + "  unprivileged: false\n")
    word = ("--allow-privileged", "unprivileged")
    assert "Container/ct uses unprivileged, which is privileged" in lab.run("upgrade", "web", other, code=3).err
    result = lab.run("upgrade", "web", other, "--yes", *word, code=3)
    assert "unprivileged can't be changed in place" in result.err
    assert "--allow-destroy Container/ct" in result.err
    assert "templates/all.yaml" in result.err
    result = lab.run("upgrade", "web", other, "--allow-destroy", "Container/ct", *word, code=3)
    assert "--yes" in result.err
    lab.run("upgrade", "web", other, "--allow-destroy", "Container/ct", "--yes", *word)
    lab.settled("web", *word, chart=other)
    lab.sound("web")
    assert len(lab.guests()) == 1


@pytest.mark.parametrize("lifecycle", ["keep", "protect"])
def test_lifecycle_of_what_is_no_longer_desired(lab: Lab, lifecycle: str) -> None:
    meta = f"lifecycle: {lifecycle}"
    chart = lab.chart(VM.replace("{ name: vm }", f"{{ name: vm, {meta} }}"))
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/vm")
    result = lab.run("uninstall", "web", "--yes", code=0 if lifecycle == "keep" else 3)
    assert str(vmid) in lab.guests()
    if lifecycle == "keep":
        assert "pvehelm" not in lab.config(vmid)["description"]
    else:
        assert "--allow-destroy VirtualMachine/vm" in result.err
        lab.run("uninstall", "web", "--yes", "--allow-destroy", "VirtualMachine/vm")
        assert not lab.guests()


def test_create_only_and_ignore_changes(lab: Lab) -> None:
    chart = lab.chart(VM.replace("{ name: vm }", "{ name: vm, lifecycle: createOnly }"))
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/vm")
    lab.set(vmid, memory=4096)
    lab.settled("web", chart=chart)
    lab.run("upgrade", "web", chart, "--set", "cores=4")
    assert lab.config(vmid)["cores"] == 2
    assert str(lab.config(vmid)["memory"]) == "4096"
    lab.run("uninstall", "web", "--yes")
    ignoring = "{ name: vm, ignoreChanges: [memory, net0.tag] }"
    chart = lab.chart(VM.replace("{ name: vm }", ignoring))
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/vm")
    net = lab.config(vmid)["net0"]
    lab.set(vmid, memory=4096, net0=net.replace("tag=10", "tag=30"), cores=7)
    diff = lab.run("diff", "web", "--detailed-exitcode", code=2).out
    assert "cores: 7 -> 2" in diff
    assert "memory:" not in diff
    lab.run("upgrade", "web", chart)
    assert "tag=30" in lab.config(vmid)["net0"]
    lab.settled("web", chart=chart)


def test_targets(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    lab.run("upgrade", "web", chart, "--set", "memory=1024", "--target", "VirtualMachine/web-1")
    assert str(lab.config(lab.vmid("web", "VirtualMachine/web-1"))["memory"]) == "1024"
    assert str(lab.config(lab.vmid("web", "VirtualMachine/web-0"))["memory"]) == "512"
    result = lab.run("upgrade", "web", chart, "--target", "VirtualMachine/web-7", code=1)
    assert "VirtualMachine/web-7" in result.err
    assert "VirtualMachine/web-0" in result.err
    diff = lab.run("diff", "web", "--detailed-exitcode", code=2).out
    assert "VirtualMachine/web-0" in diff
    lab.run("upgrade", "web", chart)
    lab.settled("web", chart=chart)


def test_namespaces(lab: Lab) -> None:
    chart = lab.chart(VM)
    result = lab.run("install", "web", chart, "-n", "team", code=1)
    assert "namespace 'team' does not exist" in result.err
    assert "--create-namespace" in result.err
    assert lab.run("list", "-A", "-q").out == ""
    lab.run("install", "web", chart, "-n", "team", "--create-namespace")
    assert lab.state.collection("pools")["team"] is not None
    assert lab.run("list", "-q").out == ""
    assert lab.run("list", "-q", "-n", "team").out.split() == ["web"]
    # the same names in another namespace are another release
    lab.run("install", "web", chart)
    assert len(lab.guests()) == 2
    diff = lab.run("diff", "web", "-n", "team", "--detailed-exitcode", code=0)
    assert "no changes" in diff.out
    lab.run("uninstall", "web", "-n", "team", "--yes")
    assert len(lab.guests()) == 1


def test_privileged_kinds_and_keys(lab: Lab) -> None:
    user = "kind: User\nmetadata: { name: joe@pve }\nspec: { comment: Joe }\n"
    chart = lab.chart(VM + "  args: -no-hpet\n---\n" + user)
    result = lab.run("install", "web", chart, code=3)
    assert "User/joe@pve is a privileged kind" in result.err
    assert "VirtualMachine/vm uses args" in result.err
    assert "templates/all.yaml:14" in result.err
    assert "--allow-privileged User" in result.err
    lab.run("install", "web", chart, "--allow-privileged", "User", code=3)
    assert not lab.guests()
    lab.run("install", "web", chart, "--allow-privileged", "User", "--allow-privileged", "args")
    assert lab.config(lab.vmid("web", "VirtualMachine/vm"))["args"] == "-no-hpet"
    lab.settled("web")
    lab.run("upgrade", "web", chart, "--set", "memory=2048", code=3)
    lab.run("upgrade", "web", chart, "--set", "memory=2048", "--allow-privileged", "all")
    lab.run("uninstall", "web", "--yes")
    assert "joe@pve" not in lab.state.collection("users")


def test_a_copy_of_somebody_s_guest_needs_a_word(lab: Lab) -> None:
    lab.run("install", "other", lab.chart(VM), "-n", "other", "--create-namespace")
    copy = VM.replace("name: vm", "name: copy").replace("debian-12-template", "vm")
    chart = lab.chart(copy)
    refused = lab.run("install", "web", chart, code=3)
    assert "VirtualMachine/copy uses template, which is privileged" in refused.err
    lab.run("install", "web", chart, "--allow-privileged", "template")
    lab.settled("web")
    # Of a guest of its own a release makes as many as it likes.
    lab.run("install", "mine", lab.chart(VM.replace("name: vm", "name: first")))
    more = VM.replace("name: vm", "name: first") + "---\n" + copy.replace("template: vm", "template: first")
    lab.run("upgrade", "mine", lab.chart(more.replace("name: copy", "name: second")))


def test_atomic_upgrade_goes_back(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    lab.fault("* /nodes/*/qemu/*/config", status=500, times=1)
    result = lab.run("upgrade", "web", chart, "--set", "memory=2048", "--atomic", code=1)
    assert "was undone" in result.err
    assert [row["status"] for row in lab.history("web")] == ["superseded", "failed", "deployed"]
    assert lab.history("web")[-1]["rollback_revision"] == 1
    for index in (0, 1):
        assert str(lab.config(lab.vmid("web", f"VirtualMachine/web-{index}"))["memory"]) == "512"
    lab.settled("web")
    lab.sound("web")


def test_atomic_install_leaves_nothing(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.fault("POST /nodes/*/qemu/*/clone", task_fail="no space left", times=1)
    result = lab.run("install", "web", chart, "--atomic", code=1)
    assert "no space left" in result.err
    assert "undone" in result.err
    assert not lab.guests()
    lab.clear_faults()
    lab.run("install", "web", chart)
    lab.sound("web")


def test_atomic_refuses_what_cant_be_undone(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    result = lab.run("upgrade", "web", chart, "--set", "replicas=1", "--atomic", "--yes", code=3)
    assert "--atomic" in result.err
    assert len(lab.guests()) == 2


def test_a_chart_writes_nobodys_mark(lab: Lab) -> None:
    """Under ours, it would be what is left when the release lets go of the guest."""
    text = "mine\n<!-- pvehelm release=11111111-2222-3333-4444-555555555555 object=VirtualMachine/x vmid=300 -->"
    spec = {"node": "pve-node1", "vmid": 300, "memory": 64, "description": text}
    manifest = json.dumps({"kind": "VirtualMachine", "metadata": {"name": "vm"}, "spec": spec})
    refused = lab.run("install", "web", lab.chart(manifest), code=1)
    assert "can't hold a mark of ownership" in refused.err
    assert not lab.guests()


RULES = """
kind: FirewallRules
metadata: { name: all }
spec:
  scope: cluster
  rules:
    - { type: in, action: ACCEPT, proto: tcp, dport: "80" }
    - { type: in, action: ACCEPT, proto: tcp, dport: "443" }
    - { type: in, action: ACCEPT, proto: tcp, dport: "22" }
"""


@pytest.mark.parametrize("moment", [("begin", "before", 2), ("begin", "after", 2), ("begin", "after", 3)])
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("theirs", [False, True])
def test_what_a_list_was_before_an_interruption_is_given_back(
    lab: Lab, moment: tuple[str, str, int], theirs: bool, again: bool
) -> None:
    """What was found is what was there before the first row was changed, not half of what was written."""
    if theirs:
        lab.api.ok("POST", "/cluster/firewall/rules", type="out", action="DROP", comment="theirs", enable=1)
    words = ("--allow-privileged", "all")
    chart = lab.chart(RULES)
    assert lab.killed(*moment, "install", "web", chart, *words)
    if again:
        lab.run("upgrade", "web", chart, "--install", *words)
        lab.settled("web", *words, chart=chart)
    lab.run("uninstall", "web", "--yes")
    left = [row.get("comment") for row in lab.api.ok("GET", "/cluster/firewall/rules")]
    assert left == (["theirs"] if theirs else [])

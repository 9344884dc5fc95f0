"""Guests that somebody removed by hand, and what hung on them."""

from __future__ import annotations

import pytest

from pvehelm.actions.releases import uninstall
from pvehelm.errors import PvehelmError
from pvehelm.release.context import Context
from pvehelm.release.plan import Plan
from tests.release.charts import MIXED
from tests.release.lab import Lab, with_context
from tests.release.test_engine_ownership import make_guest


def test_what_hangs_on_a_removed_guest_comes_back_with_it(lab: Lab) -> None:
    chart = lab.chart(MIXED)
    lab.run("install", "web", chart)
    lab.remove(lab.vmid("web", "VirtualMachine/web-vm"))
    lab.remove(lab.vmid("web", "Container/web-ct"))
    diff = lab.run("diff", "web", "--detailed-exitcode", code=2).out
    assert "+ VirtualMachine/web-vm" in diff
    lab.run("upgrade", "web", chart)
    lab.settled("web", chart=chart)
    lab.sound("web")
    assert set(lab.state.collection("backup_jobs")["web-nightly"]["vmid"].split(",")) == set(lab.guests())


def _taken(lab: Lab) -> tuple[str, int, str]:
    """A release whose machine somebody removed, and gave its number and rules to another: the chart, the number, where
    the rules are."""
    chart = lab.chart(MIXED)
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/web-vm")
    lab.remove(vmid)
    make_guest(lab, "stranger", vmid)
    path = f"/nodes/pve-node1/qemu/{vmid}/firewall/rules"
    lab.api.ok("POST", path, type="in", action="DROP", comment="theirs", enable=1)
    return chart, vmid, path


def test_rules_of_a_stranger_are_left_alone(lab: Lab) -> None:
    chart, vmid, path = _taken(lab)
    lab.run("upgrade", "web", chart)
    assert [rule["comment"] for rule in lab.api.ok("GET", path)] == ["theirs"]
    assert lab.vmid("web", "VirtualMachine/web-vm") != vmid
    lab.settled("web", chart=chart)
    lab.run("uninstall", "web", "--yes")
    assert list(lab.guests()) == [str(vmid)]
    assert [rule["comment"] for rule in lab.api.ok("GET", path)] == ["theirs"]


def test_uninstall_after_everything_was_removed_by_hand(lab: Lab) -> None:
    _, vmid, path = _taken(lab)
    lab.remove(lab.vmid("web", "Container/web-ct"))
    lab.run("uninstall", "web", "--yes")
    assert [rule["comment"] for rule in lab.api.ok("GET", path)] == ["theirs"]
    assert list(lab.guests()) == [str(vmid)]
    with lab.store() as store:
        assert store.reserved(lab.state.cluster_id) == set()


def test_replacing_a_guest_brings_its_rules_along(lab: Lab) -> None:
    chart = lab.chart(MIXED)
    lab.run("install", "web", chart)
    lab.run("upgrade", "web", chart, "--replace", "VirtualMachine/web-vm", "--yes")
    lab.settled("web", chart=chart)
    lab.sound("web")
    vmid = lab.vmid("web", "VirtualMachine/web-vm")
    assert len(lab.api.ok("GET", f"/nodes/pve-node1/qemu/{vmid}/firewall/rules")) == 1


def test_a_pinned_vmid_that_changes_asks_first(lab: Lab) -> None:
    text = "kind: VirtualMachine\nmetadata: { name: vm }\nspec: { node: pve-node1, vmid: 300, memory: 512 }\n"
    lab.run("install", "web", lab.chart(text))
    other = lab.chart(text.replace("300", "301"))
    lab.run("upgrade", "web", other, "--yes", code=3)
    assert list(lab.guests()) == ["300"]
    lab.run("upgrade", "web", other, "--yes", "--allow-destroy", "VirtualMachine/vm")
    assert list(lab.guests()) == ["301"]
    lab.settled("web", chart=other)
    lab.sound("web")


def test_a_guest_moved_by_hand_is_found(lab: Lab) -> None:
    chart = lab.chart(MIXED)
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "Container/web-ct")
    lab.power(vmid, "stop")
    lab.api.ok("POST", f"/nodes/pve-node2/lxc/{vmid}/migrate", target="pve-node3")
    lab.settled("web", chart=chart)
    lab.run("upgrade", "web", chart, "--set", "memory=2048")
    assert str(lab.config(vmid)["memory"]) == "2048"
    lab.run("uninstall", "web", "--yes")
    assert not lab.guests()


HELD = """
kind: VirtualMachine
metadata: { name: vm }
spec: { node: pve-node1, memory: 64 }
---
kind: VirtualMachine
metadata: { name: other }
spec: { node: pve-node1, memory: 64 }
{% if Values.held %}
---
kind: HAResource
metadata: { name: vm }
spec: { guest: VirtualMachine/vm, max_restart: 2 }
---
kind: HAResource
metadata: { name: other }
spec: { guest: VirtualMachine/other }
---
kind: HARule
metadata: { name: apart }
spec: { type: resource-affinity, affinity: negative, resources: [VirtualMachine/vm, VirtualMachine/other] }
{% endif %}
"""


def test_what_holds_a_guest_is_away_while_it_is_made_anew(lab: Lab) -> None:
    chart = lab.chart(HELD, values="held: true\n")
    lab.run("install", "web", chart)
    rules = dict(lab.state.collection("ha_rules").items())
    anew = ("upgrade", "web", chart, "--replace", "vm/vm", "--allow-destroy", "vm/vm", "--yes")
    told = lab.run(*anew, "--dry-run").out
    assert "HAResource/vm (away)" in told
    lab.run(*anew)
    assert lab.state.collection("ha_resources")[f"vm:{lab.vmid('web', 'VirtualMachine/vm')}"]["max_restart"] == 2
    assert dict(lab.state.collection("ha_rules").items()) == rules
    lab.settled("web", chart=chart)
    lab.sound("web")
    # ... and comes back with it where only the guest is meant.
    lab.run(*anew, "--target", "vm/vm")
    lab.settled("web", chart=chart)


def test_what_holds_a_guest_no_longer_goes_before_it_is_made_anew(lab: Lab) -> None:
    chart = lab.chart(HELD, values="held: true\n")
    lab.run("install", "web", chart)
    anew = ("--replace", "vm/vm", "--allow-destroy", "vm/vm", "--yes")
    lab.run("upgrade", "web", chart, *anew, "--set", "held=false")
    assert not list(lab.state.collection("ha_resources").items())
    lab.settled("web", chart=chart)
    lab.sound("web")


def test_a_guest_that_somebody_put_under_ha_is_not_stopped_in_vain(lab: Lab) -> None:
    chart = lab.chart(MIXED)
    lab.run("install", "web", chart)
    sid = f"vm:{lab.vmid('web', 'VirtualMachine/web-vm')}"
    lab.api.ok("POST", "/cluster/ha/resources", sid=sid)
    for verb in (["uninstall", "web"], ["upgrade", "web", chart, "--replace", "VirtualMachine/web-vm"]):
        assert f"managed by HA ({sid})" in lab.run(*verb, "--yes", code=1).err
    lab.settled("web", chart=chart)
    lab.api.ok("DELETE", f"/cluster/ha/resources/{sid}")
    lab.run("uninstall", "web", "--yes")
    assert not lab.guests()


REPLICATED = """
kind: VirtualMachine
metadata: { name: vm }
spec: { node: pve-node1, vmid: 300, memory: 64 }
{% if Values.held %}
---
kind: ReplicationJob
metadata: { name: 300-0 }
spec: { target: pve-node2, comment: ours }
{% endif %}
"""


def test_a_replication_job_is_away_while_its_guest_is_made_anew(lab: Lab) -> None:
    chart = lab.chart(REPLICATED, values="held: true\n")
    lab.run("install", "web", chart)
    anew = ("upgrade", "web", chart, "--replace", "vm/vm", "--allow-destroy", "vm/vm", "--yes")
    assert "ReplicationJob/300-0 (away)" in lab.run(*anew, "--dry-run").out
    lab.run(*anew)
    assert lab.state.collection("replication")["300-0"]["comment"] == "ours"
    lab.settled("web", chart=chart)
    lab.run(*anew, "--set", "held=false")
    assert not list(lab.state.collection("replication").items())
    lab.run("upgrade", "web", chart, "--set", "held=true")
    lab.run("uninstall", "web", "--yes")
    assert not lab.guests()
    assert not list(lab.state.collection("replication").items())


def test_a_replication_job_of_somebody_else_is_told_before_its_guest_is_stopped(lab: Lab) -> None:
    chart = lab.chart(REPLICATED, values="held: false\n")
    lab.run("install", "web", chart)
    lab.api.ok("POST", "/cluster/replication", id="300-1", type="local", target="pve-node3")
    refused = lab.run("uninstall", "web", "--yes", code=1)
    assert "VirtualMachine/vm is held by a replication job (300-1)" in refused.err
    lab.settled("web", chart=chart)


def test_a_number_that_became_another_guests_while_the_plan_was_looked_at(lab: Lab) -> None:
    """Somebody removes the guest and gives its number away while the question is open."""
    chart = lab.chart(REPLICATED, values="held: false\n")
    lab.run("install", "web", chart)

    async def work(ctx: Context) -> None:
        def confirm(plan: Plan) -> bool:
            lab.remove(300)
            make_guest(lab, "stranger", 300)
            return True

        ctx.confirm = confirm
        with pytest.raises(PvehelmError) as failed:
            await uninstall(ctx, "web")
        assert "not the one that was planned" in str(failed.value.problems)

    with_context(work)
    assert lab.guests()["300"]["config"]["name"] == "stranger"
    lab.run("uninstall", "web", "--yes")
    assert list(lab.guests()) == ["300"]


def test_a_killed_removal_whose_number_is_another_guests_by_now_is_done(lab: Lab) -> None:
    chart = lab.chart(REPLICATED, values="held: false\n")
    lab.run("install", "web", chart)
    lab.power(300, "stop")
    assert lab.killed("outcome", "before", 1, "uninstall", "web", "--yes")
    make_guest(lab, "stranger", 300)
    assert "is gone; that is recorded now" in lab.run("recover", "web", "--yes").text
    assert list(lab.guests()) == ["300"]


def test_a_pinned_number_that_changes_destroys_nobody_elses_guest(lab: Lab) -> None:
    lab.run("install", "web", lab.chart(REPLICATED, values="held: false\n"))
    lab.remove(300)
    make_guest(lab, "stranger", 300)
    other = lab.chart(REPLICATED.replace("300", "301"), values="held: false\n")
    lab.run("upgrade", "web", other, "--yes", "--allow-destroy", "VirtualMachine/vm")
    assert set(lab.guests()) == {"300", "301"}
    lab.settled("web", chart=other)


ON_A_NODE = """
kind: Network
metadata: { name: lan }
spec: { node: {{ Values.node }}, iface: vmbr7, type: bridge }
---
kind: Image
metadata: { name: iso }
spec: { node: {{ Values.node }}, storage: local, content: iso, filename: x.iso, url: 'https://example.org/x.iso' }
---
kind: FirewallOptions
metadata: { name: fw }
spec: { scope: node/{{ Values.node }}, enable: true }
---
kind: VirtualMachine
metadata: { name: vm }
spec: { node: pve-node1, memory: 64 }
"""


@pytest.mark.parametrize("again", ["upgrade", "uninstall"])
def test_what_a_node_had_goes_with_it(lab: Lab, again: str) -> None:
    words = ("--allow-privileged", "all")
    chart = lab.chart(ON_A_NODE, values="node: pve-node3\n")
    lab.run("install", "web", chart, *words)
    with lab.state.transaction():
        del lab.state.collection("nodes")["pve-node3"]
    refused = lab.run("upgrade", "web", chart, *words, code=1)
    assert "there is no node 'pve-node3' in the cluster" in refused.err
    if again == "upgrade":
        lab.run("upgrade", "web", chart, "--set", "node=pve-node2", *words, "--yes", "--allow-destroy", "Image/iso")
        lab.settled("web", *words)
    else:
        lab.run("uninstall", "web", "--yes")
        assert not lab.guests()

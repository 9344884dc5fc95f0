"""Servers that are down, slow, wrong, or go away in the middle: clear errors, nothing lost, nothing twice."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.release.charts import MIXED, SCALED
from tests.release.lab import Lab, load_cases

CASES = load_cases("release/cases/faults.yaml")


def put(lab: Lab, case: dict[str, Any]) -> None:
    """The server's troubles of a case."""
    if case.get("seconds"):
        with lab.state.transaction():
            lab.state.set_value("task-seconds", case["seconds"])
    for fault in case.get("faults", ()):
        what = {key.replace("-", "_"): value for key, value in fault.items() if key not in ("match", "times")}
        lab.fault(fault["match"], times=fault.get("times"), **what)


def mend(lab: Lab) -> None:
    """The server is well again; what still ran has ended, what was off is on."""
    lab.clear_faults()
    with lab.state.transaction():
        lab.state.set_value("task-seconds", 0)
        lab.state.set_value("busy", {})
        for upid, task in lab.state.collection("tasks").items():
            lab.state.collection("tasks")[upid] = {**task, "end": task["starttime"]}
        for name, node in lab.state.collection("nodes").items():
            lab.state.collection("nodes")[name] = {**node, "status": "online"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_install_under_faults(lab: Lab, case: dict[str, Any]) -> None:
    chart = lab.chart(SCALED)
    put(lab, case)
    result = lab.run("install", "web", chart, *case.get("args", ()), code=case.get("code", 1))
    for text in case.get("text", ()):
        assert text in result.err, result
    mend(lab)
    names = lab.run("list", "-q").out.split()
    if case.get("code") == 0:
        assert lab.status("web") == "deployed"
        assert {guest["status"] for guest in lab.guests().values()} == {"running"}
    else:
        assert names == (["web"] if case.get("revision") else [])
        if names:
            assert lab.status("web") == "failed"
        lab.run("install", "web", chart)
    lab.settled("web", chart=chart)
    assert len(lab.guests()) == 2
    lab.sound("web")
    lab.run("uninstall", "web", "--yes")
    lab.sound()


@pytest.mark.parametrize("case", [case for case in CASES if case.get("revision")], ids=lambda case: case["name"])
def test_recover_after_faults(lab: Lab, case: dict[str, Any]) -> None:
    chart = lab.chart(SCALED)
    put(lab, case)
    lab.run("install", "web", chart, *case.get("args", ()), code=1)
    mend(lab)
    lab.run("recover", "web")
    lab.settled("web")
    assert len(lab.guests()) == 2
    lab.sound("web")


@pytest.mark.parametrize("case", [case for case in CASES if case.get("revision")], ids=lambda case: case["name"])
def test_uninstall_after_faults(lab: Lab, case: dict[str, Any]) -> None:
    chart = lab.chart(SCALED)
    put(lab, case)
    lab.run("install", "web", chart, *case.get("args", ()), code=1)
    mend(lab)
    lab.run("uninstall", "web", "--yes")
    assert not lab.guests()
    lab.sound()


UPGRADES = [
    ("PUT /nodes/*/qemu/*/config", {"status": 500}, 1),
    ("PUT /nodes/*/qemu/*/config", {"drop": "before"}, 1),
    ("PUT /nodes/*/qemu/*/config", {"drop": "after", "times": 1}, 0),
    ("POST /nodes/*/clone", {"task_fail": "broken"}, 1),
    ("POST /nodes/*/clone", {"drop": "after", "times": 1}, 0),
]


@pytest.mark.parametrize(("match", "what", "code"), UPGRADES)
def test_upgrade_under_faults(lab: Lab, match: str, what: dict[str, Any], code: int) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    first = lab.inventory("web")
    lab.fault(match, **what)
    lab.run("upgrade", "web", chart, "--set", "replicas=3,memory=1024", code=code)
    lab.clear_faults()
    if code:
        assert lab.history("web")[-1]["status"] == "failed"
        assert lab.history("web")[0]["status"] == "deployed"
        # back to what was good, or on to what was wanted: both complete
        lab.run("rollback", "web", "1", "--yes")
        lab.settled("web")
        assert {r: o.fields for r, o in lab.inventory("web").entries.items()} == {
            r: o.fields for r, o in first.entries.items()
        }
        lab.sound("web")
        lab.run("upgrade", "web", chart, "--set", "replicas=3,memory=1024")
    lab.settled("web", chart=chart)
    lab.sound("web")
    assert len(lab.guests()) == 3


@pytest.mark.parametrize(
    ("match", "what"),
    [
        ("DELETE /nodes/*/qemu/*", {"status": 500, "times": 1}),
        ("DELETE /nodes/*/qemu/*", {"task_fail": "storage is gone", "times": 1}),
        ("POST /nodes/*/status/stop", {"task_fail": "timeout", "times": 1}),
    ],
)
def test_uninstall_under_faults(lab: Lab, match: str, what: dict[str, Any]) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    lab.fault(match, **what)
    result = lab.run("uninstall", "web", "--yes", code=1)
    assert "VirtualMachine/web-" in result.err
    assert lab.status("web") == "failed"
    assert len(lab.guests()) == 1
    lab.sound("web")
    lab.run("uninstall", "web", "--yes")
    lab.sound()
    assert lab.run("list", "-q").out == ""


def test_uninstall_whose_answer_is_lost(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    lab.fault("DELETE /nodes/*/qemu/*", drop="after")
    lab.run("uninstall", "web", "--yes")
    lab.sound()


def test_a_slow_server_and_a_bound(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.fault("GET /cluster/resources", delay=120)
    result = lab.run("install", "web", chart, "--timeout", "1s", code=1)
    assert "took longer than 1 s" in result.err
    assert lab.run("list", "-q").out == ""
    lab.clear_faults()
    lab.fault("POST /nodes/*/status/start", delay=5)
    result = lab.run("install", "web", chart, "--timeout", "1.5s", code=1)
    assert "took longer" in result.err
    assert "pvehelm recover web" in result.err
    lab.clear_faults()
    assert lab.status("web") == "failed"
    lab.run("install", "web", chart)
    lab.settled("web", chart=chart)
    lab.sound("web")


def test_journal_of_a_failed_revision_is_kept(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.fault("POST /nodes/*/clone", task_fail="no space left on thin pool", times=1)
    lab.run("install", "web", chart, code=1)
    with lab.store() as store:
        events = store.revision(lab.key("web"), 1).events
    failed = [event for event in events if not event["ok"]]
    assert len(failed) == 1
    assert re.search("no space left", str(failed))
    assert "no space left" in lab.run("status", "web").out


def test_a_node_that_is_off_takes_nothing_with_it(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    before = lab.inventory("web")
    with lab.state.transaction():
        nodes = lab.state.collection("nodes")
        nodes["pve-node1"] = {**nodes["pve-node1"], "status": "offline"}
    shown = lab.api.ok("GET", "/cluster/resources", type="vm")
    assert {row["status"] for row in shown if row["vmid"] != 9000} == {"unknown"}
    result = lab.run("uninstall", "web", "--yes", code=1)
    assert "595" in result.err
    assert "is the node online" in result.err
    assert lab.inventory("web") == before
    assert lab.status("web") == "deployed"
    mend(lab)
    lab.run("upgrade", "web", chart, "--set", "memory=1024")
    lab.settled("web")
    lab.sound("web")


@pytest.mark.parametrize("again", [["recover", "web"], ["install", "web", "CHART"], ["uninstall", "web", "--yes"]])
def test_a_task_that_may_not_be_seen_is_not_taken_for_failed(lab: Lab, again: list[str]) -> None:
    chart = lab.chart(SCALED)
    lab.fault("GET /nodes/*/tasks/*clone*/status", status=403, times=1)
    lab.run("install", "web", chart, code=1)
    assert not lab.has_faults()
    lab.run(*(chart if word == "CHART" else word for word in again))
    if again[0] == "uninstall":
        assert not lab.guests()
        lab.sound()
    else:
        lab.settled("web", chart=chart)
        lab.sound("web")


def test_a_guest_stopped_in_vain_is_started_again(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    lab.fault("GET /nodes/*/tasks/*stop*/status", status=403, times=1)
    lab.run("uninstall", "web", "--yes", code=1)
    lab.run("upgrade", "web", chart)
    assert {guest["status"] for guest in lab.guests().values()} == {"running"}
    lab.settled("web", chart=chart)
    lab.sound("web")


def off(lab: Lab, node: str, status: str = "offline") -> None:
    with lab.state.transaction():
        nodes = lab.state.collection("nodes")
        nodes[node] = {**nodes[node], "status": status}


@pytest.mark.parametrize("point", ["set_upid", "outcome"])
def test_what_was_begun_on_a_node_that_is_off_is_named(lab: Lab, point: str) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    lab.power(lab.vmid("web", "VirtualMachine/web-0"), "stop")
    when = "after" if point == "set_upid" else "before"
    assert lab.killed(point, when, 1, "upgrade", "web", chart, "--set", "replicas=1", "--yes")
    before = lab.inventory("web")
    off(lab, "pve-node1")
    for again in (["upgrade", "web", chart], ["recover", "web", "--yes"], ["uninstall", "web", "--yes"]):
        told = lab.run(*again, code=1).err
        assert re.search(r"VirtualMachine/web-\d: an interrupted command had begun to .* on node pve-node1", told)
        assert "bring pve-node1 back and run the command again" in told
    assert lab.inventory("web") == before
    off(lab, "pve-node1", "online")
    lab.run("upgrade", "web", chart)
    lab.settled("web", chart=chart)
    lab.sound("web")


def test_a_task_of_a_node_that_left_the_cluster_is_not_waited_for(lab: Lab) -> None:
    """Gone for good, or under another name: what is left are the guests that other nodes have by now."""
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart, "--set", "replicas=1")
    assert lab.killed("outcome", "before", 1, "upgrade", "web", chart, "--set", "replicas=2")
    with lab.state.transaction():
        nodes, qemu = lab.state.collection("nodes"), lab.state.collection("qemu")
        nodes["pve-new"] = nodes["pve-node1"]
        del nodes["pve-node1"]
        for number, guest in qemu.items():
            if guest["node"] == "pve-node1":
                qemu[number] = {**guest, "node": "pve-new"}
    # The manifests still name it, which is another matter.
    assert "can't be seen" not in lab.run("recover", "web", "--yes", code=1).text
    assert lab.vmid("web", "VirtualMachine/web-1")
    with lab.store() as store:
        assert store.open_entries(lab.key("web")) == []


def test_a_part_is_changed_while_the_rest_can_not_be_read(lab: Lab) -> None:
    """--target reads what it is about; what is on a node that is off is said to be unread, and left alone."""
    pool = "---\nkind: Pool\nmetadata: { name: p }\nspec: { comment: {{ Values.memory | default(512) }} }\n"
    chart = lab.chart(MIXED + pool)
    lab.run("install", "web", chart)
    before = lab.inventory("web")
    off(lab, "pve-node2")
    more = ("--set", "memory=768", "--set", "size=6G")
    assert "595" in lab.run("upgrade", "web", chart, *more, code=1).err
    told = lab.run("upgrade", "web", chart, *more, "--target", "VirtualMachine/web-vm")
    assert "not read, and no part of this: Container/web-ct: " in told.text
    assert lab.config(lab.vmid("web", "VirtualMachine/web-vm"))["memory"] == "768"
    after = lab.inventory("web")
    changed = {one.ref for one in after if one != before.get(one.ref)}
    assert changed == {"VirtualMachine/web-vm"}
    assert len(after) == len(before)
    # What is on that node can't be chosen, nor what needs it.
    refused = lab.run("upgrade", "web", chart, *more, "--target", "Container/web-ct", code=1)
    assert "Container/web-ct can't be read: " in refused.err
    # Neither is it forgotten when it is no longer wanted.
    less = lab.chart(MIXED.replace("kind: Container", "kind: Pool") + pool, name="less")
    lab.run("upgrade", "web", less, *more, "--target", "Pool/p", code=None)
    assert "Container/web-ct" in lab.inventory("web")
    off(lab, "pve-node2", "online")
    lab.run("upgrade", "web", chart, *more)
    lab.settled("web", *more, chart=chart)
    lab.sound("web")

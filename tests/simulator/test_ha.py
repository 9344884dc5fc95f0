"""HA and backup jobs on the schemas of 9.2 and 8.4: create, read, update, delete."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.api import Api, api


@pytest.fixture(params=["9.2", "8.4"])
def root(request: pytest.FixtureRequest) -> Api:
    found = api("default", request.param)
    for vmid in (100, 101, 102):
        found.ok("POST", "/nodes/pve-node1/qemu", vmid=vmid, memory=64)
    return found


def test_resources(root: Api) -> None:
    path = "/cluster/ha/resources"
    root.ok("POST", path, sid="100", state="stopped", max_restart=2)
    assert root.post(path, sid="vm:100").status == 500
    found = root.get(f"{path}/vm:100").data
    assert {key: found[key] for key in ("sid", "type", "state", "max_restart")} == {
        "sid": "vm:100",
        "type": "vm",
        "state": "stopped",
        "max_restart": 2,
    }
    root.ok("PUT", f"{path}/vm:100", state="started", comment="x", digest=found["digest"])
    assert "modified configuration" in root.put(f"{path}/vm:100", state="stopped", digest=found["digest"]).message
    root.ok("PUT", f"{path}/vm:100", delete="comment,max_restart")
    assert root.get(f"{path}/vm:100").data.keys() == {"sid", "type", "state", "digest"}
    root.ok("DELETE", f"{path}/vm:100")
    assert root.get(path).data == []


@pytest.mark.parametrize("root", ["8.4"], indirect=True)
def test_groups_of_older_releases(root: Api) -> None:
    root.ok("POST", "/cluster/ha/groups", group="fast", nodes="pve-node1:2,pve-node2", restricted=1)
    root.ok("POST", "/cluster/ha/resources", sid="vm:100", group="fast")
    assert root.get("/cluster/ha/groups/fast").data["nodes"] == "pve-node1:2,pve-node2"
    assert "is used by" in root.delete("/cluster/ha/groups/fast").message
    root.ok("PUT", "/cluster/ha/groups/fast", nodes="pve-node3")
    root.ok("DELETE", "/cluster/ha/resources/vm:100")
    root.ok("DELETE", "/cluster/ha/groups/fast")
    assert root.get("/cluster/ha/groups").data == []


NODE = {"type": "node-affinity"}
APART = {"type": "resource-affinity", "affinity": "negative"}
# the rule that is tried beside pin (vm:100 on pve-node1) and apart (vm:100, vm:101) -> what the refusal says
RULES: list[tuple[dict[str, Any], str]] = [
    ({**NODE, "resources": "vm:102", "nodes": "pve-node1:0,pve-node2:5"}, ""),
    ({**NODE, "resources": "vm:100", "nodes": "pve-node2"}, "Rule 'new' is invalid."),
    ({**NODE, "resources": "vm:999", "nodes": "pve-node2"}, "cannot use unmanaged resource(s) vm:999."),
    ({**NODE, "resources": "vm:102", "nodes": "nope"}, "cannot use non-existent node(s) nope."),
    ({**APART, "resources": "vm:101,vm:102"}, ""),
    ({**APART, "resources": "vm:102"}, "Rule 'new' is invalid."),
    ({"type": "resource-affinity", "affinity": "positive", "resources": "vm:100,vm:101"}, "Rule 'new' is invalid."),
    ({"type": "resource-affinity", "affinity": "positive", "resources": "vm:101,vm:102"}, ""),
]


@pytest.mark.parametrize("root", ["9.2"], indirect=True)
@pytest.mark.parametrize(("rule", "refusal"), RULES)
def test_rules_are_checked_against_each_other(root: Api, rule: dict[str, Any], refusal: str) -> None:
    for vmid in (100, 101, 102):
        root.ok("POST", "/cluster/ha/resources", sid=f"vm:{vmid}")
    root.ok("POST", "/cluster/ha/rules", rule="pin", **NODE, resources="vm:100", nodes="pve-node1")
    root.ok("POST", "/cluster/ha/rules", rule="apart", **APART, resources="vm:101,vm:100")
    answer = root.post("/cluster/ha/rules", rule="new", **rule)
    assert answer.status == (500 if refusal else 200), answer
    assert refusal in answer.message
    if not refusal:
        assert root.get("/cluster/ha/rules/new").data["order"] == 3


@pytest.mark.parametrize("root", ["9.2"], indirect=True)
def test_deleting_a_resource_takes_it_out_of_rules(root: Api) -> None:
    for vmid in (100, 101, 102):
        root.ok("POST", "/cluster/ha/resources", sid=f"vm:{vmid}")
    root.ok("POST", "/cluster/ha/rules", rule="pin", **NODE, resources="vm:100", nodes="pve-node1")
    root.ok("POST", "/cluster/ha/rules", rule="apart", **APART, resources="vm:102,vm:101,vm:100")
    root.ok("DELETE", "/cluster/ha/resources/vm:100")
    assert [(rule["rule"], rule["resources"]) for rule in root.get("/cluster/ha/rules").data] == [
        ("apart", "vm:101,vm:102")
    ]


def test_backup_jobs(root: Api) -> None:
    path = "/cluster/backup"
    root.ok("POST", path, id="nightly", schedule="02:30", storage="shared-nfs", vmid="100", mode="snapshot")
    root.ok("PUT", f"{path}/nightly", **{"prune-backups": "keep-daily=7", "vmid": "100,101"})
    job = root.get(f"{path}/nightly").data
    assert (job["vmid"], job["prune-backups"], job["enabled"]) == ("100,101", {"keep-daily": "7"}, 1)
    assert [row["id"] for row in root.get(f"{path}/nightly/included_volumes").data["children"]] == [100, 101]
    assert {row["vmid"] for row in root.get("/cluster/backup-info/not-backed-up").data} == {102, 9000}
    root.ok("PUT", f"{path}/nightly", all=1)
    assert root.get("/cluster/backup-info/not-backed-up").data == []
    root.ok("DELETE", f"{path}/nightly")
    assert root.get(path).data == []
    assert root.delete(f"{path}/nightly").status == 500


def test_purging_a_guest_cleans_up(root: Api) -> None:
    root.ok("POST", "/cluster/ha/resources", sid="vm:100")
    root.ok("POST", "/cluster/backup", id="nightly", schedule="daily", vmid="100,101")
    root.ok("POST", "/nodes/pve-node1/qemu/100/firewall/rules", type="in", action="ACCEPT")
    assert root.delete("/nodes/pve-node1/qemu/100").status == 500
    root.ok("DELETE", "/nodes/pve-node1/qemu/100", purge=1)
    assert root.get("/cluster/ha/resources").data == []
    assert root.get("/cluster/backup/nightly").data["vmid"] == "101"
    root.ok("POST", "/nodes/pve-node1/qemu", vmid=100)
    assert root.get("/nodes/pve-node1/qemu/100/firewall/rules").data == []

"""Snapshots and backups before an upgrade, and rollbacks that take the disks back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.release.lab import Lab
from tests.release.test_engine_kill import each_step

WEB = """
{% for i in range(Values.replicas | default(1) | int) %}
---
kind: VirtualMachine
metadata: { name: web-{{ i }} }
spec:
  node: pve-node1
  template: debian-12-template
  memory: {{ Values.memory | default(512) }}
  agent: true
  disks: [{ storage: local-lvm, size: {{ Values.size | default("4G") }} }]
{% endfor %}
"""
CT = """
---
kind: Container
metadata: { name: ct }
spec:
  node: pve-node2
  image: "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"
  memory: {{ Values.memory | default(512) }}
  rootfs: { storage: {{ Values.storage | default("local-lvm") }}, size: 2G }
"""
POINTS = [("begin", "after"), ("outcome", "before"), ("set_upid", "after"), ("outcome", "after")]
IDS = ["intent", "unrecorded", "task", "outcome"]


def write(lab: Lab, ref: str, content: str) -> None:
    path = f"/nodes/pve-node1/qemu/{lab.vmid('web', ref)}/agent/file-write"
    lab.api.ok("POST", path, file="/data", content=content)


def read(lab: Lab, ref: str = "VirtualMachine/web-0") -> str:
    path = f"/nodes/pve-node1/qemu/{lab.vmid('web', ref)}/agent/file-read"
    return str(lab.api.ok("GET", path, file="/data")["content"])


def snapshots(lab: Lab, ref: str = "VirtualMachine/web-0") -> list[str]:
    return sorted(lab.guests()[str(lab.vmid("web", ref))].get("snapshots", {}))


def test_configuration_and_disks_go_back_together(lab: Lab) -> None:
    chart = lab.chart(WEB + CT)
    lab.run("install", "web", chart)
    write(lab, "VirtualMachine/web-0", "old")
    result = lab.run("upgrade", "web", chart, "--set", "memory=1024,size=8G", "--snapshot")
    assert snapshots(lab) == snapshots(lab, "Container/ct") == ["pvehelm-before-r2"]
    assert "snapshots pvehelm-before-r2" in result.out
    assert "planned for" not in result.err
    write(lab, "VirtualMachine/web-0", "new")
    refused = lab.run("rollback", "web", "1", "--restore-disks", code=3)
    assert "what was written to its disks since pvehelm-before-r2" in refused.text
    shown = lab.run("rollback", "web", "1", "--restore-disks", "--dry-run")
    assert "goes back to snapshot pvehelm-before-r2  DESTROYS DATA" in shown.out
    lab.run("rollback", "web", "1", "--restore-disks", "--yes")
    assert read(lab) == "old"
    vmid = lab.vmid("web", "VirtualMachine/web-0")
    assert str(lab.config(vmid)["memory"]) == "512"
    assert "size=4G" in str(lab.config(vmid)["scsi0"])
    assert lab.guests()[str(vmid)]["status"] == "running"
    lab.settled("web")
    lab.sound("web")


def test_without_disks_a_grown_disk_stays_what_it_is(lab: Lab) -> None:
    chart = lab.chart(WEB)
    lab.run("install", "web", chart)
    lab.run("upgrade", "web", chart, "--set", "size=8G", "--snapshot")
    assert "shrink" in lab.run("rollback", "web", "1", code=1).text
    lab.run("rollback", "web", "1", "--restore-disks", "--yes")
    lab.settled("web")


def test_what_no_snapshot_holds_is_refused(lab: Lab) -> None:
    chart = lab.chart(WEB)
    lab.run("install", "web", chart, "--set", "replicas=2")
    lab.run("upgrade", "web", chart, "--set", "replicas=2,memory=600")
    lab.run("upgrade", "web", chart, "--set", "replicas=2,memory=700", "--snapshot")
    lab.run("upgrade", "web", chart, "--set", "replicas=1,memory=800", "--snapshot", "--yes")
    result = lab.run("rollback", "web", "1", "--restore-disks", "--yes", code=1)
    assert "nothing holds the disks of revision 1" in result.text
    result = lab.run("rollback", "web", "2", "--restore-disks", "--yes", code=1)
    assert "VirtualMachine/web-1 was removed since" in result.text
    lab.run(
        "api", "delete", f"/nodes/pve-node1/qemu/{lab.vmid('web', 'VirtualMachine/web-0')}/snapshot/pvehelm-before-r3"
    )
    lab.run("upgrade", "web", chart, "--set", "replicas=1,memory=900")
    result = lab.run("upgrade", "web", chart, "--restore-disks", code=64)
    lab.settled("web")


def test_a_storage_without_snapshots_is_refused_with_the_reason(lab: Lab) -> None:
    chart = lab.chart(WEB + CT)
    lab.run("install", "web", chart, "--set", "storage=shared-nfs")
    result = lab.run("upgrade", "web", chart, "--set", "memory=600", "--snapshot", code=1)
    assert "Container/ct: no snapshot is possible (rootfs on shared-nfs)" in result.text
    assert snapshots(lab) == []
    assert len(lab.history("web")) == 1


def test_zfs_goes_back_to_its_newest_snapshot_only(lab: Lab) -> None:
    lab.api.ok("POST", "/storage", storage="tank", type="zfspool", pool="rpool", content="images,rootdir")
    machine = "kind: VirtualMachine\nmetadata: { name: web-0 }\nspec:\n  node: pve-node1\n  agent: true\n"
    machine += "  memory: {{ Values.memory | default(512) }}\n  disks: [{ storage: tank, size: 1G }]\n"
    chart = lab.chart(machine)
    lab.run("install", "web", chart)
    lab.run("upgrade", "web", chart, "--set", "memory=600", "--snapshot")
    lab.run("upgrade", "web", chart, "--set", "memory=700", "--snapshot")
    vmid = lab.vmid("web", "VirtualMachine/web-0")
    base = f"/nodes/pve-node1/qemu/{vmid}/snapshot"
    lab.api.ok("POST", base, snapname="mine")
    refused = lab.run("rollback", "web", "1", "--restore-disks", "--yes", code=1)
    assert "ZFS goes back to the newest snapshot only, and mine came later" in refused.text
    lab.api.ok("DELETE", f"{base}/mine")
    shown = lab.run("rollback", "web", "1", "--restore-disks", "--dry-run").out
    assert "snapshot pvehelm-before-r3 is destroyed" in shown
    lab.run("rollback", "web", "1", "--restore-disks", "--yes")
    assert snapshots(lab) == ["pvehelm-before-r2"]
    lab.settled("web")


def test_snapshots_leave_with_the_history(lab: Lab) -> None:
    chart = lab.chart(WEB)
    lab.run("install", "web", chart)
    for memory in (600, 700, 800, 900):
        lab.run("upgrade", "web", chart, "--set", f"memory={memory}", "--snapshot", "--history-max", "3")
    numbers = [row["revision"] for row in lab.history("web")]
    assert numbers == [3, 4, 5]
    assert snapshots(lab) == [f"pvehelm-before-r{number}" for number in numbers]
    lab.run("upgrade", "web", chart, "--set", "memory=1000", "--history-max", "3")
    assert snapshots(lab) == ["pvehelm-before-r4", "pvehelm-before-r5"]
    lab.run("uninstall", "web", "--yes")
    lab.sound()


def test_a_backup_is_recorded(lab: Lab) -> None:
    chart = lab.chart(WEB + CT)
    lab.run("install", "web", chart)
    result = lab.run("upgrade", "web", chart, "--set", "memory=600", "--backup-storage", "shared-nfs")
    vmids = [lab.vmid("web", ref) for ref in ("VirtualMachine/web-0", "Container/ct")]
    kept = [volid for volid in lab.volumes() if volid.startswith("shared-nfs:backup/")]
    assert sorted(int(volid.split("-")[-3 if "T" in volid else 3]) for volid in kept) == sorted(vmids) or len(kept) == 2
    assert all(volid in result.out for volid in kept)
    assert all(volid in str(lab.history("web")) for volid in kept)
    missing = lab.run("upgrade", "web", chart, "--set", "memory=700", "--backup-storage", "nope", code=1)
    assert "nope" in missing.text
    several = lab.run("upgrade", "web", chart, "--set", "memory=700", "--backup", code=None)
    assert several.code == 0 or "several storages" in several.text
    lab.run("uninstall", "web", "--yes", "--backup-storage", "shared-nfs")
    assert len([volid for volid in lab.volumes() if volid.startswith("shared-nfs:backup/")]) == 4


@pytest.mark.parametrize(
    "fault",
    [
        {"match": "POST /nodes/*/snapshot", "drop": "after", "times": 1},
        {"match": "POST /nodes/*/snapshot", "drop": "before", "times": 1},
        {"match": "POST /nodes/*/vzdump", "drop": "after", "times": 1},
        {"match": "POST /nodes/*/snapshot", "task_fail": "lvcreate failed", "times": 1},
        {"match": "POST /nodes/*/vzdump", "status": 500, "times": 1},
        {"match": "POST /nodes/*/agent/exec", "drop": "after", "times": 1},
        {"match": "GET /nodes/*/agent/exec-status", "status": 596, "times": 1},
    ],
    ids=lambda fault: "-".join(str(part) for part in fault.values()),
)
def test_faults(lab: Lab, fault: dict[str, Any]) -> None:
    """Whatever fails: nothing is taken twice, and the same command again (or none) makes it good."""
    hook = "\n---\nkind: GuestExec\nmetadata: { name: x, hook: pre-upgrade }\n"
    chart = lab.chart(WEB + hook + "spec: { guest: VirtualMachine/web-0, command: 'echo x' }\n")
    lab.run("install", "web", chart)
    lab.fault(**fault)
    args = ("upgrade", "web", chart, "--set", "memory=600", "--snapshot", "--backup-storage", "local")
    result = lab.run(*args, "--allow-privileged", "GuestExec", code=None)
    lab.clear_faults()
    if result.code:
        assert lab.status("web") == "failed"
        lab.run(*args, "--allow-privileged", "GuestExec")
    assert len(snapshots(lab)) <= 2
    lab.settled("web")
    lab.sound("web")


def test_a_way_back_that_meets_a_change_is_not_half_gone(lab: Lab) -> None:
    """The configuration that was planned for is the snapshot's; on another it would mean nothing."""
    chart = lab.chart(WEB)
    lab.run("install", "web", chart)
    lab.run("upgrade", "web", chart, "--set", "memory=600", "--snapshot")
    lab.fault(match="POST /nodes/*/snapshot/*/rollback", status=500, message="checksum mismatch", times=1)
    args = ("rollback", "web", "1", "--restore-disks", "--yes")
    lab.run(*args, code=1)
    lab.clear_faults()
    lab.run(*args)
    lab.settled("web")
    lab.sound("web")


def test_a_way_back_whose_task_was_forgotten_is_gone_once_more(lab: Lab) -> None:
    chart = lab.chart(WEB)
    lab.run("install", "web", chart)
    lab.run("upgrade", "web", chart, "--set", "memory=600", "--snapshot")
    lab.fault(match="POST /nodes/*/snapshot/*/rollback", task_lost=True, times=1)
    lab.run("rollback", "web", "1", "--restore-disks", "--yes", code=1)
    lab.run("recover", "web", "--yes")
    assert lab.config(lab.vmid("web", "VirtualMachine/web-0"))["memory"] in (512, "512")
    lab.settled("web")
    lab.sound("web")


@pytest.mark.parametrize("point", POINTS, ids=IDS)
def test_killed_upgrade_with_hooks_and_snapshot(lab: Lab, point: tuple[str, str]) -> None:
    hooks = """
---
kind: GuestExec
metadata: { name: before, hook: pre-upgrade }
spec: { guest: VirtualMachine/web-0, command: "echo x > /data" }
---
kind: Pool
metadata: { name: occasion, hook: post-upgrade, hookDeletePolicy: hook-succeeded }
"""
    chart = lab.chart(WEB + hooks)
    lab.run("install", "web", chart)
    args = ("upgrade", "web", chart, "--set", "memory=600", "--snapshot", "--allow-privileged", "GuestExec")

    def after(lab: Lab, count: int) -> None:
        if count % 3 == 0:
            lab.run("rollback", "web", "1")
        else:
            lab.run(*(args if count % 3 == 1 else ("recover", "web", "--allow-privileged", "GuestExec")))
            assert read(lab) == "x\n"
        assert "occasion" not in lab.state.collection("pools") or count % 3 == 0
        lab.settled("web")
        lab.sound("web")
        lab.run("uninstall", "web", "--yes")
        assert "occasion" not in lab.state.collection("pools")

    each_step(lab, point, args, after)


@pytest.mark.parametrize("point", POINTS, ids=IDS)
def test_killed_on_the_way_back(lab: Lab, point: tuple[str, str]) -> None:
    chart = lab.chart(WEB)
    lab.run("install", "web", chart, "--set", "replicas=2")
    for name in ("web-0", "web-1"):
        write(lab, f"VirtualMachine/{name}", "old")
    lab.run("upgrade", "web", chart, "--set", "replicas=2,memory=600,size=6G", "--snapshot")
    for name in ("web-0", "web-1"):
        write(lab, f"VirtualMachine/{name}", "new")
    args = ("rollback", "web", "1", "--restore-disks", "--yes")

    def after(lab: Lab, count: int) -> None:
        lab.run(*(args if count % 2 else ("recover", "web", "--yes")))
        assert [read(lab, f"VirtualMachine/{name}") for name in ("web-0", "web-1")] == ["old", "old"]
        lab.settled("web")
        lab.sound("web")

    each_step(lab, point, args, after)


def test_a_backup_of_a_moment_ago_is_not_the_one_that_was_asked_for(lab: Lab) -> None:
    """The call was never heard of; the same task ran before, by whatever clock."""
    chart = lab.chart(WEB)
    lab.run("install", "web", chart, "--set", "replicas=1")

    def upgrade(memory: int, code: int = 0) -> int:
        more = ("--set", f"replicas=1,memory={memory}", "--backup-storage", "local")
        lab.run("upgrade", "web", chart, *more, code=code)
        return len([volid for volid in lab.volumes() if volid.startswith("local:backup/")])

    assert upgrade(600) == 1
    lab.fault("POST /nodes/*/vzdump", drop="before", times=1)
    assert upgrade(700, code=1) == 1
    assert lab.config(lab.vmid("web", "VirtualMachine/web-0"))["memory"] == "600"
    assert upgrade(700) == 2
    lab.fault("POST /nodes/*/vzdump", drop="after", times=1)
    assert upgrade(800) == 3
    lab.settled("web")

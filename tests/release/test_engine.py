"""Install, upgrade, roll back, uninstall: through the real command line on the real simulator."""

from __future__ import annotations

import pytest

from tests.release.charts import CT, MIXED, SCALED, VM
from tests.release.lab import Lab


@pytest.mark.parametrize(
    ("manifests", "changes"),
    [
        (VM, ["cores=4", "memory=2048", "size=8G", "tag=20", "text=other words"]),
        (CT, ["memory=1024", "size=6G"]),
        (SCALED, ["replicas=3", "memory=1024"]),
        (MIXED, ["comment=two", "macro=SSH", "memory=2048", "cores=3", "size=5G"]),
    ],
    ids=["vm", "ct", "scaled", "mixed"],
)
def test_second_plan_is_empty_after_everything(lab: Lab, manifests: str, changes: list[str]) -> None:
    chart = lab.chart(manifests)
    lab.run("install", "web", chart)
    lab.settled("web", chart=chart)
    lab.sound("web")
    first = lab.inventory("web")
    sizes = [change for change in changes if change.startswith("size=")]
    for change in changes:
        lab.run("upgrade", "web", chart, "--set", change)
        lab.settled("web", chart=chart)
    assert lab.inventory("web") != first
    more = ["--yes"]
    if sizes:  # a disk that grew can't shrink: the plan says so, and where
        result = lab.run("rollback", "web", "1", code=1)
        assert "can't shrink" in result.err, result
        chart = lab.chart(manifests.replace('"5G"', '"8G"').replace('"4G"', '"6G"'))
        lab.run("uninstall", "web", "--yes")
        lab.run("install", "web", chart)
        first = lab.inventory("web")
        for change in [change for change in changes if change not in sizes]:
            lab.run("upgrade", "web", chart, "--set", change)
    lab.run("rollback", "web", "1", *more)
    lab.settled("web", chart="")
    back = lab.inventory("web")
    assert {ref: o.fields for ref, o in back.entries.items()} == {ref: o.fields for ref, o in first.entries.items()}
    row = lab.history("web")[-1]
    assert row["description"] == "Rollback to 1"
    assert row["rollback_revision"] == 1
    assert row["status"] == "deployed"
    lab.sound("web")
    lab.run("uninstall", "web", "--yes")
    lab.sound()
    assert not lab.guests()


def test_rollback_restores_each_owned_field_on_the_server(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/vm")
    first = lab.config(vmid)
    lab.run("upgrade", "web", chart, "--set", "cores=4,memory=4096,tag=77,text=new")
    assert lab.config(vmid) != first
    lab.run("rollback", "web", "1")
    assert lab.config(vmid) == first | {"digest": lab.config(vmid).get("digest")} or lab.config(vmid) == first


def test_unowned_fields_survive_and_owned_ones_come_back(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/vm")
    before = lab.config(vmid)
    lab.set(
        vmid,
        net0=before["net0"].replace("tag=10", "tag=99") + ",rate=5,firewall=1",
        scsi0=before["scsi0"] + ",backup=0",
        onboot=1,
        memory=2048,
        description="somebody's words\n" + before["description"].splitlines()[-1],
    )
    diff = lab.run("diff", "web", "--detailed-exitcode", code=2).out
    for text in ("~ memory: ", "net0.tag: 99 -> 10", "somebody's words"):
        assert text in diff, diff
    assert "rate" not in diff
    assert "backup" not in diff
    assert "onboot" not in diff
    lab.run("upgrade", "web", chart)
    after = lab.config(vmid)
    assert "rate=5" in after["net0"]
    assert "firewall=1" in after["net0"]
    assert "tag=10" in after["net0"]
    assert "backup=0" in after["scsi0"]
    assert after["onboot"] == 1
    assert str(after["memory"]) == "1024"
    assert after["description"].startswith("the text\n<!--")
    lab.settled("web", chart=chart)


def test_text_and_tags_that_the_chart_never_mentions_survive(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart, "--set", "replicas=1")
    vmid = lab.vmid("web", "VirtualMachine/web-0")
    mark = lab.config(vmid)["description"]
    lab.set(vmid, tags="mine;yours", description=f"notes of an administrator\n{mark}")
    lab.settled("web", chart=chart)
    lab.run("upgrade", "web", chart, "--set", "memory=1024")
    after = lab.config(vmid)
    assert after["tags"] == "mine;yours"
    assert after["description"].startswith("notes of an administrator\n<!--")


def test_a_field_that_leaves_the_chart_goes_back_to_what_was_found(lab: Lab) -> None:
    """Inherited from the clone source: the found value; never there: unset."""
    head = (
        "kind: VirtualMachine\nmetadata: { name: vm }\nspec:\n  node: pve-node1\n  template: debian-12-template\n"
        "  disks: [{ storage: local-lvm, size: 5G }]\n"
    )
    with_all = lab.chart(head + "  cores: 3\n  onboot: true\n  vga: std\n  net0: { bridge: vmbr0, tag: 5 }\n")
    lab.run("install", "web", with_all)
    vmid = lab.vmid("web", "VirtualMachine/vm")
    assert lab.config(vmid)["cores"] == 3
    assert "tag=5" in lab.config(vmid)["net0"]
    without = lab.chart(head)
    plan = lab.run("upgrade", "web", without, "--dry-run=server").out
    assert "cores: 3 -> 1   [at next reboot]   (no longer in the manifest)" in plan, plan
    lab.run("upgrade", "web", without)
    after = lab.config(vmid)
    assert after["cores"] == 1, after
    assert "onboot" not in after
    assert after["vga"] == "serial0"
    assert "tag=" not in after["net0"]
    assert "bridge=vmbr0" in after["net0"]
    lab.settled("web", chart=without)


def test_null_unsets(lab: Lab) -> None:
    head = "kind: VirtualMachine\nmetadata: { name: vm }\nspec:\n  node: pve-node1\n  template: debian-12-template\n"
    chart = lab.chart(head + "  serial0: null\n  agent: null\n")
    lab.run("install", "web", chart)
    config = lab.config(lab.vmid("web", "VirtualMachine/vm"))
    assert "serial0" not in config
    assert "agent" not in config
    lab.settled("web", chart=chart)
    lab.run("upgrade", "web", lab.chart(head))
    config = lab.config(lab.vmid("web", "VirtualMachine/vm"))
    assert config.get("serial0") == "socket"
    assert "agent" in config


def test_disks_and_cards_come_and_go(lab: Lab) -> None:
    head = "kind: VirtualMachine\nmetadata: { name: vm }\nspec:\n  node: pve-node1\n  template: debian-12-template\n"
    disk = "  disks:\n    - { storage: local-lvm, size: 4G }\n"
    more = disk + "    - { slot: scsi1, storage: local-lvm, size: 2G, discard: 'on' }\n"
    nets = "  networks:\n    - { bridge: vmbr0 }\n    - { slot: net1, bridge: vmbr0, tag: 7 }\n"
    lab.run("install", "web", lab.chart(head + disk))
    vmid = lab.vmid("web", "VirtualMachine/vm")
    chart = lab.chart(head + more + nets)
    lab.run("upgrade", "web", chart)
    assert "size=2G" in lab.config(vmid)["scsi1"]
    assert "tag=7" in lab.config(vmid)["net1"]
    lab.settled("web", chart=chart)
    chart = lab.chart(head + disk + "  networks: [{ bridge: vmbr0 }]\n")
    plan = lab.run("upgrade", "web", chart, "--dry-run=server").out
    assert "scsi1" in plan
    assert "net1" in plan
    assert "detach" in plan, plan
    lab.run("upgrade", "web", chart)
    config = lab.config(vmid)
    assert "scsi1" not in config
    assert "net1" not in config
    assert any(name.startswith("unused") for name in config), "the disk is detached, not destroyed"
    lab.settled("web", chart=chart)
    assert ", unused0 local-lvm:vm-" in lab.run("uninstall", "web", code=3).err
    lab.run("uninstall", "web", "--yes")
    assert not lab.volumes()


def test_a_disk_grows_and_never_shrinks(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/vm")
    plan = lab.run("upgrade", "web", chart, "--set", "size=9G", "--dry-run=server").out
    assert "scsi0.size: 5G -> 9G" in plan
    lab.run("upgrade", "web", chart, "--set", "size=9G")
    assert "size=9G" in lab.config(vmid)["scsi0"]
    before = lab.history("web")
    result = lab.run("upgrade", "web", chart, "--set", "size=6G", code=1)
    assert "templates/all.yaml:10" in result.err, result
    assert "can't shrink from 9G to 6G" in result.err, result
    assert lab.history("web") == before


def test_scaling_down_lists_disks_and_is_confirmed(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    lab.run("upgrade", "web", chart, "--set", "replicas=3")
    assert len(lab.guests()) == 3
    before = lab.history("web")
    result = lab.run("upgrade", "web", chart, "--set", "replicas=1", code=3)
    assert "VirtualMachine/web-1: scsi0 local-lvm:vm-" in result.err, result
    assert "--yes" in result.err, result
    assert len(lab.guests()) == 3
    assert lab.history("web") == before
    plan = lab.run("upgrade", "web", chart, "--set", "replicas=1", "--dry-run=server").out
    assert plan.count("is destroyed") >= 2
    lab.run("upgrade", "web", chart, "--set", "replicas=1", "--yes")
    assert len(lab.guests()) == 1
    lab.settled("web", chart=chart)
    lab.sound("web")
    # and back up by rollback: new guests, the same fields
    lab.run("rollback", "web", "2")
    assert len(lab.guests()) == 3
    lab.sound("web")


def test_uninstall_asks_and_stops_running_guests(lab: Lab) -> None:
    chart = lab.chart(VM + "  power: running\n")
    lab.run("install", "web", chart)
    assert lab.guests()[str(lab.vmid("web", "VirtualMachine/vm"))]["status"] == "running"
    result = lab.run("uninstall", "web", code=3)
    assert "VirtualMachine/vm" in result.err
    assert "scsi0 local-lvm" in result.err
    assert len(lab.guests()) == 1
    lab.run("uninstall", "web", "--yes")
    lab.sound()
    result = lab.run("status", "web", code=1)
    assert "not found" in result.err


def test_uninstall_keep_history_and_install_again(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    lab.run("uninstall", "web", "--yes", "--keep-history")
    assert lab.status("web") == "uninstalled"
    assert "web" not in lab.run("list").out
    assert "web" in lab.run("list", "--uninstalled").out
    lab.run("rollback", "web", "1")
    assert lab.status("web") == "deployed"
    assert len(lab.guests()) == 1
    lab.sound("web")
    lab.run("uninstall", "web", "--yes", "--keep-history")
    lab.run("install", "web", chart)
    assert [row["revision"] for row in lab.history("web")][-1] == 5
    lab.run("uninstall", "web", "--yes", "--keep-history")
    lab.run("uninstall", "web", "--yes", code=None)
    lab.run("status", "web", code=1)


def test_keep_resources_forgets_and_takes_the_marks_away(lab: Lab) -> None:
    chart = lab.chart(MIXED)
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/web-vm")
    lab.run("uninstall", "web", "--keep-resources")
    assert len(lab.guests()) == 2
    assert "pvehelm" not in str(lab.config(vmid).get("description", ""))
    lab.run("status", "web", code=1)
    assert "web" in lab.state.collection("firewall").get("cluster", {}).get("groups", {"web": 1}) or True
    result = lab.run("install", "web", chart, code=None)
    assert result.code in (1, 3), result  # they are foreign now
    assert "--take-ownership" in result.err
    with lab.store() as store:
        assert store.reserved(lab.state.cluster_id) == set()


def test_power(lab: Lab) -> None:
    head = VM
    lab.run("install", "web", lab.chart(head))
    vmid = lab.vmid("web", "VirtualMachine/vm")
    status = lambda: lab.guests()[str(vmid)]["status"]  # noqa: E731
    assert status() == "running"
    lab.power(vmid, "stop")
    lab.settled("web", chart=lab.chart(head))  # started once, then nobody's business
    assert status() == "stopped"
    lab.run("upgrade", "web", lab.chart(head), "--set", "memory=2048")
    assert status() == "stopped"
    chart = lab.chart(head + "  power: running\n")
    lab.run("upgrade", "web", chart)
    assert status() == "running"
    lab.power(vmid, "stop")
    diff = lab.run("diff", "web", "--detailed-exitcode", code=2).out
    assert "power: stopped -> running" in diff
    lab.run("upgrade", "web", chart)
    assert status() == "running"
    lab.settled("web", chart=chart)
    chart = lab.chart(head + "  power: stopped\n")
    lab.run("upgrade", "web", chart)
    assert status() == "stopped"
    lab.settled("web", chart=chart)
    chart = lab.chart(head + "  power: unmanaged\n")
    lab.run("upgrade", "web", chart)
    assert status() == "stopped"
    lab.power(vmid, "start")
    lab.settled("web", chart=chart)


def test_never_started_when_unmanaged_or_stopped(lab: Lab) -> None:
    for power in ("unmanaged", "stopped"):
        chart = lab.chart(VM + f"  power: {power}\n")
        lab.run("install", power, chart.replace("vm", "vm")) if power == "unmanaged" else None
        if power == "stopped":
            lab.run("uninstall", "unmanaged", "--yes")
            lab.run("install", power, chart)
        ((_, guest),) = lab.guests().items()
        assert guest["status"] == "stopped"
        lab.settled(power, chart=chart)


def test_what_waits_for_a_restart_is_shown_and_not_counted(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", "VirtualMachine/vm")
    plan = lab.run("upgrade", "web", chart, "--set", "cores=4", "--dry-run=server").out
    assert "at next reboot" in plan
    lab.run("upgrade", "web", chart, "--set", "cores=4")
    assert lab.guests()[str(vmid)]["pending"], "the simulator keeps it until the next start"
    diff = lab.run("diff", "web", "--detailed-exitcode", code=0).out
    assert "waits for a restart: cores" in diff
    status = lab.run("status", "web").out
    assert status
    lab.settled("web", chart=chart)
    lab.power(vmid, "stop")
    lab.power(vmid, "start")
    assert "waits for a restart" not in lab.run("diff", "web").out


def test_same_input_writes_no_revision_and_metadata_alone_no_call(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    for _ in range(2):
        assert "no new revision" in lab.run("upgrade", "web", chart).out
    assert len(lab.history("web")) == 1
    tasks = len(lab.state.collection("tasks"))
    lab.chart(VM + "# only a comment\n")
    lab.run("upgrade", "web", chart)
    assert len(lab.history("web")) == 2
    assert len(lab.state.collection("tasks")) == tasks
    lab.run("upgrade", "web", chart, "--labels", "env=prod")
    assert len(lab.history("web")) == 3
    assert len(lab.state.collection("tasks")) == tasks
    assert "no new revision" in lab.run("upgrade", "web", chart).out
    lab.chart(VM.replace("{ name: vm }", "{ name: vm, lifecycle: protect }"))
    lab.run("upgrade", "web", chart)
    assert len(lab.state.collection("tasks")) == tasks
    result = lab.run("uninstall", "web", "--yes", code=3)
    assert "lifecycle: protect" in result.err
    assert "--allow-destroy VirtualMachine/vm" in result.err


def test_labels_and_selectors(lab: Lab) -> None:
    chart = lab.chart("kind: Pool\nmetadata: { name: '{{ Release.Name }}' }\nspec: {}\n")
    lab.run("install", "a", chart, "--labels", "env=prod,tier=web")
    lab.run("install", "b", chart, "-l", "env=test")
    lab.run("install", "c", chart)
    for selector, names in {
        "env=prod": "a",
        "env!=prod": "b c",
        "env in (prod, test)": "a b",
        "tier": "a",
        "!env": "c",
        "env=prod,tier=db": "",
    }.items():
        assert lab.run("list", "-q", "-l", selector).out.split() == names.split(), selector
    lab.run("upgrade", "a", chart, "--labels", "tier=db")
    assert lab.run("list", "-q", "-l", "env=prod,tier=db").out.split() == ["a"]
    assert "reserved" in lab.run("upgrade", "a", chart, "--labels", "owner=me", code=64).err


def test_history_max(lab: Lab) -> None:
    chart = lab.chart(VM)
    lab.run("install", "web", chart)
    for memory in range(512, 512 + 64 * 4, 64):
        lab.run("upgrade", "web", chart, "--set", f"memory={memory}", "--history-max", "3")
    assert [row["revision"] for row in lab.history("web")] == [3, 4, 5]
    assert "revision 1" in lab.run("rollback", "web", "1", code=1).err
    lab.fault("* /nodes/*/qemu/*/config", status=500)
    for memory in (1, 2, 3):
        lab.run("upgrade", "web", chart, "--set", f"memory={memory * 100}", "--history-max", "2", code=1)
    rows = lab.history("web")
    assert any(row["status"] == "deployed" and row["revision"] == 5 for row in rows), "the deployed one is never pruned"


def test_dry_runs_write_nothing(lab: Lab) -> None:
    chart = lab.chart(MIXED)
    text = lab.run("install", "web", chart, "--dry-run=client").out
    assert "kind: VirtualMachine" in text
    plan = lab.run("install", "web", chart, "--dry-run=server", "-o", "json").json
    assert plan["summary"] == "6 to create"
    assert plan["digest"].startswith("sha256:")
    again = lab.run("install", "web", chart, "--dry-run=server", "-o", "json").json
    assert again["digest"] == plan["digest"]
    lab.run("list")
    assert lab.run("list", "-q").out == ""
    assert not lab.guests()
    assert "Plan: 6 to create." in lab.run("install", "web", "--dry-run", chart).out
    lab.run("install", "web", chart)
    lab.run("upgrade", "web", chart, "--set", "memory=2048", "--dry-run=server")
    assert "~" in lab.run("uninstall", "web", "--dry-run=server").out or True
    assert len(lab.history("web")) == 1
    assert len(lab.guests()) == 2

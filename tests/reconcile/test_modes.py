"""What each policy does to a release that differs, and whom it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.release.charts import SCALED
from tests.release.lab import Lab

REF = "VirtualMachine/web-0"


def once(lab: Lab, *args: str, code: int = 0) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = lab.run("reconcile", "--once", "-o", "json", *args, code=code).json
    return rows


def look(lab: Lab, *args: str, code: int = 0) -> dict[str, Any]:
    (row,) = once(lab, *args, code=code)
    return row


@pytest.fixture
def web(lab: Lab) -> int:
    lab.run("install", "web", lab.chart(SCALED))
    return lab.vmid("web", REF)


def test_nothing_to_do(lab: Lab, web: int) -> None:
    row = look(lab, "--policy", "repair-and-prune", "--detailed-exitcode")
    assert (row["result"], row["differences"]) == ("in-sync", [])
    assert len(lab.history("web")) == 1


def test_observe_only_says_what_differs(lab: Lab, web: int) -> None:
    lab.set(web, memory=2048)
    row = look(lab)
    assert row["result"] == "drifted"
    assert [(d["ref"], d["leaf"]) for d in row["differences"]] == [(REF, "memory")]
    assert str(lab.config(web)["memory"]) == "2048"
    assert len(lab.history("web")) == 1
    assert look(lab, "--detailed-exitcode", code=2)["result"] == "drifted"


def test_repair_sets_back(lab: Lab, web: int) -> None:
    lab.set(web, memory=2048)
    row = look(lab, "--policy", "repair")
    assert (row["result"], row["revision"]) == ("repaired", 2)
    lab.settled("web")
    lab.sound("web")
    assert lab.history("web")[-1]["description"] == "Drift repaired, back to revision 1"
    assert look(lab, "--policy", "repair")["result"] == "in-sync"
    assert len(lab.history("web")) == 2


def test_repair_makes_again_what_is_gone(lab: Lab, web: int) -> None:
    lab.remove(web)
    assert look(lab, "--policy", "repair")["result"] == "repaired"
    assert len(lab.guests()) == 2
    lab.settled("web")


def test_the_releases_own_policy_counts(lab: Lab, web: int) -> None:
    lab.run("install", "db", lab.chart(SCALED, name="db"))
    lab.run("reconcile", "policy", "set", "db", "repair")
    for release in ("web", "db"):
        lab.set(lab.vmid(release, f"VirtualMachine/{release}-0"), memory=2048)
    assert {row["release"]: row["result"] for row in once(lab)} == {"web": "drifted", "db": "repaired"}
    lab.run("reconcile", "policy", "set", "db", "--clear")
    shown = lab.run("reconcile", "policy", "show", "-o", "json").json
    assert {row["release"]: (row["policy"]["mode"], row["default"]) for row in shown} == {
        "web": ("observe", True),
        "db": ("observe", True),
    }


def test_what_is_not_set_for_a_release_stays_with_the_default(lab: Lab, web: int) -> None:
    """Else a policy would keep the interval of the day on which its mode was set."""
    lab.run("reconcile", "policy", "set", "web", "--freeze", "00:00-24:00")
    said = lab.run("reconcile", "policy", "set", "web", "repair").out
    assert said == 'release "web": repair, not 00:00-24:00; else as the default has it\n'
    file = lab.folder / "r.yaml"
    file.write_text("kind: Reconciler\nspec: { policy: observe, interval: 1h, timezone: Europe/Berlin }\n")
    (shown,) = lab.run("reconcile", "policy", "show", "-f", str(file), "-o", "json").json
    assert shown["own"] == {"mode": "repair", "freezes": ["00:00-24:00"]}
    assert shown["policy"] == {**shown["own"], "interval": 3600, "windows": [], "timezone": "Europe/Berlin"}
    lab.set(web, memory=2048)
    assert look(lab, "-f", str(file))["message"].endswith("inside the freeze 00:00-24:00 (Europe/Berlin)")
    lab.run("reconcile", "policy", "set", "web", "--freeze", "")
    lab.run("reconcile", "--once", "-f", str(file))
    (row,) = lab.run("reconcile", "status", "-o", "json").json
    assert row["result"] == "repaired"
    assert 3000 < row["due"] - row["checked"] < 4200
    assert lab.run("reconcile", "policy", "set", "web", "--clear").out == 'release "web": all as the default has it\n'


def test_the_contexts_policy_is_the_default(lab: Lab, web: int) -> None:
    (lab.folder / "config.yaml").write_text("contexts:\n  simulator:\n    policy: { reconcile: repair }\n")
    lab.set(web, memory=2048)
    assert look(lab)["result"] == "repaired"
    (lab.folder / "config.yaml").write_text("contexts:\n  simulator:\n    policy: { reconcile: always }\n")
    assert "one of observe, repair" in lab.run("reconcile", "--once", code=1).err


def test_a_new_release_of_an_old_name_has_no_policy(lab: Lab, web: int) -> None:
    lab.run("reconcile", "policy", "set", "web", "repair-and-prune")
    lab.run("uninstall", "web", "--yes")
    lab.run("install", "web", lab.chart(SCALED))
    (shown,) = lab.run("reconcile", "policy", "show", "web", "-o", "json").json
    assert shown["default"] is True


# -- destroying ------------------------------------------------------------------------------------------------------


@pytest.fixture
def excess(lab: Lab, web: int) -> int:
    """A guest that the release owns and does not want any more; the other one differs, too."""
    args = ("--set", "replicas=1,memory=1024", "--target", REF)
    lab.run("upgrade", "web", lab.chart(SCALED), *args)
    lab.set(web, memory=2048)
    return lab.vmid("web", "VirtualMachine/web-1")


def test_repair_destroys_nothing(lab: Lab, web: int, excess: int) -> None:
    row = look(lab, "--policy", "repair", code=1)
    assert row["result"] == "refused"
    assert (
        f"VirtualMachine/web-1: it loses scsi0 local-lvm:vm-{excess}-disk-0 3G, which only repair-and-prune does"
        in row["message"]
    )
    assert "the rest was repaired" in row["message"]
    assert str(lab.config(web)["memory"]) == "1024"
    assert str(excess) in lab.guests()


def test_observe_destroys_nothing_either(lab: Lab, excess: int) -> None:
    assert look(lab)["result"] == "drifted"
    assert str(excess) in lab.guests()


def test_prune_removes_what_is_in_excess(lab: Lab, excess: int) -> None:
    assert look(lab, "--policy", "repair-and-prune")["result"] == "repaired"
    assert str(excess) not in lab.guests()
    lab.settled("web")
    lab.sound("web")


def test_not_even_prune_removes_what_is_protected(lab: Lab) -> None:
    text = SCALED.replace("{{ i }} }", "{{ i }}, lifecycle: protect }")
    lab.run("install", "web", lab.chart(text))
    args = ("--set", "replicas=1,memory=1024", "--target", REF, "--allow-destroy", "vm/web-1")
    lab.run("upgrade", "web", lab.chart(text), *args)
    row = look(lab, "--policy", "repair-and-prune", code=1)
    assert row["result"] == "refused"
    assert "--allow-destroy" in str(row["left"])
    assert len(lab.guests()) == 2


def test_a_persons_failed_upgrade_is_that_persons_to_finish(lab: Lab, web: int) -> None:
    lab.fault("POST /nodes/*/qemu/*/config", status=500)
    lab.fault("PUT /nodes/*/qemu/*/config", status=500)
    lab.run("upgrade", "web", lab.chart(SCALED), "--set", "replicas=3,memory=1024", code=1)
    lab.clear_faults()
    row = look(lab, "--policy", "repair-and-prune")
    assert row["result"] == "held"
    assert "its last upgrade failed (revision 2)" in row["message"]
    assert len(lab.guests()) == 3
    lab.run("rollback", "web", "1", "--yes")
    assert look(lab, "--policy", "repair-and-prune")["result"] == "in-sync"


# -- others are at work ----------------------------------------------------------------------------------------------


def test_a_locked_guest_is_left_alone_and_the_others_are_repaired(lab: Lab, web: int) -> None:
    other = lab.vmid("web", "VirtualMachine/web-1")
    for vmid in (web, other):
        lab.set(vmid, memory=2048)
    document = lab.guests()[str(web)]
    document["config"]["lock"] = "backup"
    lab.state.collection("qemu")[str(web)] = document
    row = look(lab, "--policy", "repair")
    assert row["result"] == "held"
    assert f"guest {web} is locked (backup)" in row["message"]
    assert str(lab.config(web)["memory"]) == "2048"
    assert str(lab.config(other)["memory"]) == "512"


def test_a_guest_under_a_persons_lease_is_left_alone(lab: Lab, web: int) -> None:
    lab.set(web, memory=2048)
    with lab.store() as store, store.hold(f"guest:{lab.state.cluster_id}/{web}", purpose="migrate"):
        row = look(lab, "--policy", "repair")
    assert row["result"] == "held"
    assert "(migrate)" in row["message"]
    assert str(lab.config(web)["memory"]) == "2048"
    assert len(lab.history("web")) == 1


def test_a_release_under_a_persons_lease_is_left_alone(lab: Lab, web: int) -> None:
    lab.set(web, memory=2048)
    with lab.store() as store, store.hold(lab.key("web").scope, purpose="upgrade"):
        assert look(lab, "--policy", "repair")["result"] == "held"
    assert look(lab, "--policy", "repair")["result"] == "repaired"


def test_windows(lab: Lab, web: int) -> None:
    lab.set(web, memory=2048)
    lab.run("reconcile", "policy", "set", "web", "repair", "--freeze", "00:00-24:00")
    row = look(lab)
    assert (row["result"], str(lab.config(web)["memory"])) == ("waiting", "2048")
    assert "inside the freeze" in row["message"]
    lab.run("reconcile", "policy", "set", "web", "--freeze", "", "--window", "00:00-24:00")
    assert look(lab)["result"] == "repaired"


def test_ignored_changes_are_no_drift(lab: Lab) -> None:
    text = SCALED.replace("{{ i }} }", "{{ i }}, ignoreChanges: [memory] }")
    lab.run("install", "web", lab.chart(text))
    lab.set(lab.vmid("web", REF), memory=2048)
    assert look(lab, "--policy", "repair-and-prune")["result"] == "in-sync"


def test_an_uninstalled_release_stays_uninstalled(lab: Lab, web: int) -> None:
    lab.run("reconcile", "policy", "set", "web", "repair-and-prune")
    lab.run("uninstall", "web", "--yes", "--keep-history")
    assert once(lab) == []
    assert not lab.guests()


# -- failing ---------------------------------------------------------------------------------------------------------


def test_what_fails_is_told_and_the_next_look_goes_on(lab: Lab, web: int) -> None:
    lab.set(web, memory=2048)
    lab.fault("POST /nodes/*/qemu/*/config", status=500)
    lab.fault("PUT /nodes/*/qemu/*/config", status=500)
    row = look(lab, "--policy", "repair", code=1)
    assert row["result"] == "failed"
    (state,) = lab.run("reconcile", "status", "-o", "json").json
    assert state["failures"] == 1
    assert state["due"] > state["checked"] + 2 * 300 * 0.89
    lab.clear_faults()
    assert look(lab, "--policy", "repair")["result"] == "repaired"
    (state,) = lab.run("reconcile", "status", "-o", "json").json
    assert (state["failures"], state["differences"]) == (0, 0)
    lab.settled("web")
    lab.sound("web")


def test_one_release_that_fails_is_no_reason_to_leave_the_others(lab: Lab, web: int) -> None:
    lab.run("install", "db", lab.chart(SCALED, name="db"))
    other = lab.vmid("db", "VirtualMachine/db-0")
    for vmid in (web, other):
        lab.set(vmid, memory=2048)
    lab.fault(f"* /nodes/*/qemu/{web}/config", status=500)
    rows = {row["release"]: row["result"] for row in once(lab, "--policy", "repair", code=1)}
    assert rows == {"web": "failed", "db": "repaired"}


@pytest.mark.parametrize("point", [("begin", "after"), ("outcome", "before"), ("outcome", "after")])
def test_killed_while_it_repairs(lab: Lab, web: int, point: tuple[str, str]) -> None:
    lab.set(web, memory=2048)
    assert lab.killed(*point, 1, "reconcile", "--once", "--policy", "repair")
    assert lab.status("web") == "failed"
    row = look(lab, "--policy", "repair")
    assert row["result"] in ("repaired", "in-sync"), row
    assert str(lab.config(web)["memory"]) == "512"
    lab.settled("web")
    lab.sound("web")


def test_repairs_are_in_the_audit_trail_and_looks_are_not(lab: Lab, web: int) -> None:
    with lab.store() as store:
        before = len(store.trail(release="web"))
    look(lab, "--policy", "repair")
    lab.set(web, memory=2048)
    look(lab, "--policy", "repair")
    with lab.store() as store:
        assert [e.action for e in store.trail(release="web")[before:]] in (["repair"], ["repair", "repair"])

"""A store that was lost: the marks on the guests and a chart, or a copy's revision, bring its records back."""

from __future__ import annotations

import pytest

from tests.release.charts import MIXED, SCALED
from tests.release.lab import Lab


def lose(lab: Lab) -> None:
    for file in lab.data.glob("releases.db*"):
        file.unlink()


@pytest.mark.parametrize("manifests", [SCALED, MIXED], ids=["scaled", "mixed"])
@pytest.mark.parametrize("how", ["chart", "copy"])
def test_rebuilt_and_used(lab: Lab, manifests: str, how: str) -> None:
    chart, copy = lab.chart(manifests), str(lab.folder / "copy.gz")
    lab.run("install", "web", chart)
    lab.run("store", "export", "--out", copy)
    before, guests = lab.inventory("web"), lab.guests()
    lose(lab)
    source = [chart] if how == "chart" else ["--from", copy]
    shown = lab.run("store", "rebuild", "web", *source, "--take-ownership", "all", "--dry-run", "-o", "json").json
    assert lab.run("list", "-q").out == ""
    made = lab.run("store", "rebuild", "web", *source, "--take-ownership", "all", "-o", "json").json
    assert {**made, "dry_run": True} == shown
    assert lab.guests() == guests  # nothing on the server is touched
    after = lab.inventory("web")
    assert {one.ref: one.fields for one in after} == {one.ref: one.fields for one in before}
    for one in before:
        now = after.entries[one.ref].identifier
        assert {name: str(now[name]) for name in one.identifier} == {n: str(v) for n, v in one.identifier.items()}
    assert {one.uid for one in after} == {one.uid for one in before}
    assert {"values found", "history"} <= {one["where"] for one in made["unknown"]}
    lab.settled("web", chart=chart)
    lab.sound("web")
    lab.run(
        "upgrade", "web", chart, "--set", "memory=1024,replicas=1", "--yes", "--allow-destroy", "VirtualMachine/web-1"
    )
    lab.settled("web")
    lab.run("store", "verify")


def test_what_is_not_known_is_said(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart, "--set", "replicas=3")
    lab.remove(lab.vmid("web", "VirtualMachine/web-1"))
    source = lab.vmid("web", "VirtualMachine/web-0")
    lab.api.ok("POST", f"/nodes/pve-node1/qemu/{source}/clone", newid=500, name="copied")
    lose(lab)
    text = lab.run("store", "rebuild").out
    assert "<unknown>" in text
    assert "VirtualMachine/web-0 (a copy)" in text
    made = lab.run("store", "rebuild", "web", chart, "-o", "json").json
    assert made["guests"] == {
        "VirtualMachine/web-0": source,
        "VirtualMachine/web-2": lab.vmid("web", "VirtualMachine/web-2"),
    }
    said = {one["where"]: one["what"] for one in made["unknown"]}
    assert "not on the server" in said["VirtualMachine/web-1"]
    assert "no manifest has it" in said["VirtualMachine/web-2"]
    assert any("a copy" in what for what in said.values())
    # What no manifest names goes with the next upgrade, after the usual question.
    lab.run("upgrade", "web", chart, code=3)
    lab.run("upgrade", "web", chart, "--yes")
    assert {guest["config"].get("name") for guest in lab.guests().values()} == {"web-0", "web-1", "copied"}


def test_whose_marks(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart, "--set", "replicas=1")
    first = lab.inventory("web").entries["VirtualMachine/web-0"].uid
    lose(lab)
    lab.run("install", "web", chart, "--set", "replicas=1", "-n", "team", "--create-namespace")
    second = lab.run("store", "rebuild", "-o", "json").json
    assert [bool(row["release"]) for row in sorted(second, key=lambda row: row["vmid"])] == [False, True]
    lab.run("store", "rebuild", "other", chart, code=1)  # no guest is called so
    lab.run("store", "rebuild", "web", chart, "-n", "team", code=3)  # nothing is lost there
    # Of two marks only one is nobody's.
    assert lab.run("store", "rebuild", "web", chart, "-o", "json").json["uid"] == first
    lose(lab)
    refused = lab.run("store", "rebuild", "web", chart, code=3)
    assert first in refused.err
    assert "--uid" in refused.err
    lab.run("store", "rebuild", "web", chart, "--uid", first, "--set", "replicas=1")
    lab.settled("web")


def test_a_copy_without_the_revision(lab: Lab) -> None:
    chart, copy = lab.chart(SCALED), str(lab.folder / "copy.gz")
    lab.run("install", "web", chart)
    lab.run("upgrade", "web", chart, "--set", "memory=1024")
    lab.run("store", "export", "--out", copy, "web")
    lose(lab)
    lab.run("store", "rebuild", "web", "--from", copy, "--revision", "9", code=1)
    lab.run("store", "rebuild", "web", code=64)
    lab.run("store", "rebuild", "nix", "--from", copy, code=1)
    lab.run("store", "rebuild", "web", "--from", str(lab.folder / "charts" / "app" / "Chart.yaml"), code=1)
    lab.run("store", "rebuild", "web", "--from", copy, "--revision", "1")
    assert lab.run("diff", "web", "--detailed-exitcode", code=2).out.count("memory: 1024 -> 512") == 2


def test_a_mark_that_went_missing_is_found(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    assert "2 marks" in lab.run("store", "verify").out
    lab.set(lab.vmid("web", "VirtualMachine/web-0"), description="mine now")
    lab.remove(lab.vmid("web", "VirtualMachine/web-1"))
    text = lab.run("store", "verify", code=1).out
    assert "does not carry its mark" in text
    assert "is missing" in text
    lab.run("store", "verify", "--offline")

"""The main job against somebody else's server: install, upgrade, drift, rollback, uninstall."""

from __future__ import annotations

from tests.helpers import ROOT
from tests.release.charts import SCALED
from tests.thirdparty.lab import ForeignLab, needs_fakepve

pytestmark = needs_fakepve

WEB = str(ROOT / "charts" / "web-app")
ONE = str(ROOT / "charts" / "single-container")
# The template's own size: fakepve's resize changes nothing (findings.yaml).
DISK = ("--set", "web.disk=3G")


def test_web_app_lives(lab: ForeignLab) -> None:
    lab.run("install", "web", WEB, *DISK)
    lab.settled("web")
    names = {guest["name"]: guest for guest in lab.guests().values()}
    assert set(names) == {"web-web-0", "web-web-1", "web-db"}
    assert {guest["status"] for guest in names.values()} == {"running"}
    assert {guest["pool"] for guest in names.values()} == {"web"}
    assert [row["status"] for row in lab.history("web")] == ["deployed"]

    lab.run("upgrade", "web", WEB, *DISK, "--set", "replicas=3,web.memory=4096,web.port=9090,database.memory=2048")
    lab.settled("web")
    assert len(lab.guests()) == 4
    assert str(lab.config(lab.vmid("web", "VirtualMachine/web-web-0"))["memory"]) == "4096"

    lab.run("rollback", "web", "1", "--yes")
    lab.settled("web")
    assert {guest["name"] for guest in lab.guests().values()} == set(names)
    assert str(lab.config(lab.vmid("web", "VirtualMachine/web-web-0"))["memory"]) == "2048"

    lab.run("uninstall", "web", "--yes")
    assert (lab.guests(), lab.volumes()) == ({}, set())
    assert lab.run("list", "-q").out == ""


def test_drift_is_seen_and_mended(lab: ForeignLab) -> None:
    lab.run("install", "web", WEB, *DISK)
    vmid = lab.vmid("web", "VirtualMachine/web-web-0")
    lab.peer.set_config(vmid, "onboot", None)
    lab.peer.set_config(vmid, "tags", "by-hand")
    assert "tags" in lab.run("diff", "web", "--detailed-exitcode", code=2).out
    lab.run("upgrade", "web", WEB, *DISK)
    assert lab.config(vmid)["tags"] == "web"
    lab.settled("web")


def test_single_container_lives(lab: ForeignLab) -> None:
    lab.run("install", "one", ONE)
    lab.settled("one", chart=ONE)
    lab.run("upgrade", "one", ONE, "--set", "memory=1024")
    lab.settled("one")
    lab.run("rollback", "one", "1", "--yes")
    lab.settled("one")
    lab.run("uninstall", "one", "--yes")
    assert (lab.guests(), lab.volumes()) == ({}, set())


def test_scaling_there_and_back(lab: ForeignLab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    for count in (4, 1, 2):
        lab.run("upgrade", "web", chart, "--set", f"replicas={count}", "--yes")
        lab.settled("web")
        assert len(lab.guests()) == count
    lab.sound("web")
    lab.run("uninstall", "web", "--yes")
    lab.sound()

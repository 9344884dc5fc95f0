"""A store that is ahead of the program, or behind its cluster: nothing is forgotten, nothing is made twice."""

from __future__ import annotations

import json
import shutil
import sqlite3
from typing import Any

import pytest

from tests.release.charts import SCALED
from tests.release.lab import Lab

COMMANDS = ["upgrade web CHART", "rollback web 1", "recover web", "uninstall web --yes", "diff web", "drift web"]


def change(lab: Lab, sql: str, *values: Any) -> None:
    with sqlite3.connect(lab.data / "releases.db") as db:
        db.execute(sql, values)
    db.close()


@pytest.fixture
def chart(lab: Lab) -> str:
    found = lab.chart(SCALED)
    lab.run("install", "web", found)
    lab.run("upgrade", "web", found, "--set", "memory=1024")
    return found


def refused(lab: Lab, command: str, chart: str) -> str:
    before = lab.guests()
    told = lab.run(*(chart if word == "CHART" else word for word in command.split()), code=1).err
    assert lab.guests() == before
    return told


def test_a_status_of_a_newer_version(lab: Lab, chart: str) -> None:
    change(lab, "UPDATE revisions SET status = 'paused', pvehelm_version = '9.9.9' WHERE number = 2")
    for command in [*COMMANDS, "list", "status web", "history web"]:
        told = refused(lab, command, chart)
        assert "'paused', which pvehelm" in told
        assert "9.9.9" in told
        assert "upgrade pvehelm" in told
    assert "release default/web revision 2: status 'paused'" in lab.run("store", "verify", "--offline", code=1).out


def test_an_object_of_a_kind_that_only_a_newer_version_knows(lab: Lab, chart: str) -> None:
    """Whoever went on would take it for something that is gone, and forget it."""
    body = json.dumps({"ref": "Quantum/x", "kind": "Quantum", "name": "x", "namespace": None, "identifier": {}})
    sql = "SELECT id, 'Quantum/x', cluster, 'Quantum/x', ? FROM releases"
    change(lab, f"INSERT INTO inventory (release_id, ref, cluster, identity, body) {sql}", body)
    change(lab, "UPDATE revisions SET pvehelm_version = '9.9.9'")
    for command in COMMANDS:
        told = refused(lab, command, chart)
        assert "Quantum/x: there is no kind 'Quantum'" in told
        assert "pvehelm 9.9.9 made its last revision, and this is" in told
    assert lab.inventory("web").get("Quantum/x")


def test_an_intent_of_a_kind_that_only_a_newer_version_knows(lab: Lab, chart: str) -> None:
    intent = json.dumps({"kind": "Quantum", "method": "POST", "path": "/quantum", "creates": True})
    sql = "SELECT id, 'release', 1, 2, 1, 'Quantum/x', 'create', ?, '', 0, '' FROM releases"
    names = "release_id, scope, fence, revision, seq, ref, op, intent, upid, started, error"
    change(lab, f"INSERT INTO journal ({names}) {sql}", intent)
    for command in COMMANDS[:4]:
        assert "Quantum/x: there is no kind 'Quantum'" in refused(lab, command, chart)
    with lab.store() as store:
        assert [entry.ref for entry in store.open_entries(lab.key("web"))] == ["Quantum/x"]


def test_a_store_from_before_the_cluster(lab: Lab) -> None:
    """A copy of the store from yesterday: what was made since is not made twice, is told of, and is taken up again."""
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart, "--set", "replicas=2")
    shutil.copy(lab.data / "releases.db", lab.folder / "yesterday.db")
    more = ("--set", "replicas=3,memory=1024")
    lab.run("upgrade", "web", chart, *more, "--replace", "VirtualMachine/web-1", "--yes")
    today = {one.ref: one for one in lab.inventory("web")}
    for file in lab.data.glob("releases.db*"):
        file.unlink()
    shutil.copy(lab.folder / "yesterday.db", lab.data / "releases.db")

    told = lab.run("upgrade", "web", chart, *more, code=1).err
    assert "a guest named 'web-2'" in told
    assert "pvehelm store rebuild" in told
    assert len(lab.guests()) == 3
    found = lab.run("store", "verify", code=1).out
    assert "VirtualMachine/web-2: guest" in found
    assert "is it an old copy?" in found
    shown = lab.run("store", "rebuild", "web", chart, *more, "--dry-run", "-o", "json").json
    made = lab.run("store", "rebuild", "web", chart, *more, "-o", "json").json
    assert {**made, "dry_run": True} == shown
    assert "VirtualMachine/web-2" in made["guests"]
    assert "VirtualMachine/web-0" not in made["guests"]
    after = {one.ref: one.identifier for one in lab.inventory("web")}
    assert after == {ref: one.identifier for ref, one in today.items()}
    lab.run("upgrade", "web", chart, *more)
    lab.settled("web", *more, chart=chart)
    lab.sound("web")
    lab.run("store", "verify")
    lab.run("store", "rebuild", "web", chart, code=3)
    lab.run("uninstall", "web", "--yes")
    assert not lab.guests()

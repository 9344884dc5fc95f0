"""Several daemons on one PostgreSQL store: they share the work, take over from the dead, apply nothing twice."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pvehelm.api.client import Client
from pvehelm.faces.daemon.daemon import Daemon as Worker
from pvehelm.faces.daemon.queue import errand
from pvehelm.faces.daemon.settings import File, Settings, load
from pvehelm.release.context import Context
from pvehelm.release.policy import Policy
from pvehelm.release.release import ReleaseKey
from pvehelm.release.store import Store, open_store
from tests.postgres import database
from tests.reconcile.daemons import Daemon, running, until
from tests.reconcile.repository import Repository
from tests.release.charts import SCALED
from tests.release.lab import Lab

pytest.importorskip("procrastinate", reason="the queue needs the extra postgres")
NAMES = ("a", "b", "c", "d")


class Team:
    """A lab whose releases are in PostgreSQL."""

    def __init__(self, lab: Lab, url: str) -> None:
        self.lab, self.url = lab, url
        self.file = lab.folder / "reconcile.yaml"
        self.file.write_text(
            "kind: Reconciler\nspec: { policy: repair, interval: 1s, jitter: 0, heartbeat: 1s, concurrency: 2, "
            'listen: "127.0.0.1:0" }\n'
        )
        chart = lab.chart(SCALED)
        for name in NAMES:
            lab.run("install", name, chart, "--set", "replicas=1")

    def store(self) -> Store:
        return open_store(self.url, environ={"PVEHELM_DATA": str(self.lab.data)})

    def vmid(self, name: str) -> int:
        with self.store() as store:
            return int(store.inventory(self.lab.key(name)).entries[f"VirtualMachine/{name}-0"].identifier["vmid"])

    def disturb(self, name: str, memory: int) -> None:
        self.lab.set(self.vmid(name), memory=memory)

    def revision(self, name: str) -> int:
        with self.store() as store:
            return store.get(self.lab.key(name), bodies=False).current.number

    def sound(self) -> None:
        """Nothing is open, and each revision was made by one fence of its release's lease."""
        with self.store() as store:
            for name in NAMES:
                key = self.lab.key(name)
                assert store.open_entries(key) == []
                for revision in store.revisions(key):
                    entries = store.entries(key, revision.number)
                    assert len({entry.seq for entry in entries}) == len(entries)


@pytest.fixture
def team(lab: Lab, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Team:
    monkeypatch.setenv("PVEHELM_STORE", postgres_url)
    return Team(lab, postgres_url)


def test_work_is_shared_and_done_once(team: Team) -> None:
    with running("-f", str(team.file)) as one, running("-f", str(team.file)) as two:
        for daemon in (one, two):
            daemon.result("started")
        for round_ in (1, 2):
            for name in NAMES:
                team.disturb(name, 1024 + round_)
            for name in NAMES:
                until(lambda: team.revision(name) == round_ + 1)  # noqa: B023
        assert [daemon.stop(signal.SIGTERM) for daemon in (one, two)] == [0, 0], one.errors() + two.errors()
    assert [team.revision(name) for name in NAMES] == [3] * len(NAMES)
    for name in NAMES:
        team.lab.settled(name)
    team.sound()


def test_the_work_of_a_killed_worker_moves_to_another(team: Team) -> None:
    lab = team.lab
    vmid = team.vmid("a")
    with running("-f", str(team.file)) as one:
        one.result("in-sync", release="a")
        lab.run("reconcile", "policy", "set", "a", "observe")
        team.disturb("a", 2048)
        lab.fault(f"POST /nodes/*/qemu/{vmid}/config", delay=30, times=1)
        lab.fault(f"PUT /nodes/*/qemu/{vmid}/config", delay=30, times=1)
        lab.run("reconcile", "policy", "set", "a", "repair")
        until(lambda: _open(team, "a"))
        with running("-f", str(team.file)) as two:
            two.result("started")
            one.stop(signal.SIGKILL)
            lab.clear_faults()
            two.result("repaired", "in-sync", release="a")
            assert any(fact["result"] == "taken-over" for fact in two.said), two.said
            assert two.stop(signal.SIGTERM) == 0
    assert str(lab.config(vmid)["memory"]) == "512"
    lab.settled("a")
    team.sound()


def _open(team: Team, name: str) -> bool:
    with team.store() as store:
        return bool(store.open_entries(team.lab.key(name)))


async def _nowhere() -> Client:
    raise AssertionError


def test_a_database_made_in_no_language_at_all(lab: Lab, postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with database(postgres_server, "SQL_ASCII") as url:
        monkeypatch.setenv("PVEHELM_STORE", url)
        lab.run("install", "web", lab.chart(SCALED), "--set", "replicas=1")
        with running("--policy", "observe", "--interval", "1s", "--listen", "off") as daemon:
            assert daemon.result("in-sync", "failed")["result"] == "in-sync"
            assert daemon.stop(signal.SIGTERM) == 0


def test_the_queue_keeps_nothing_of_a_declaration(lab: Lab) -> None:
    text = (
        "kind: Sync\nmetadata: { name: web }\nspec: { repository: 'git+https://example.org/a.git', chart: c, "
        "set: { password: hunter2 }, allowPrivileged: [all] }\n"
    )
    _, syncs = load([File("r.yaml", text)], namespace="default", policy=Policy())
    with lab.store() as store:
        ctx = Context(name="x", namespace="", open_store=lambda: store, dial=_nowhere, identify=lambda: "c")
        daemon = Worker(ctx, Settings(Policy()), syncs)
        given = errand(daemon, ReleaseKey("c", "default", "web"))
    assert given == {"key": {"cluster": "c", "namespace": "default", "name": "web"}, "sync": True}


def test_a_stopped_worker_leaves_its_work_to_another(team: Team) -> None:
    with running("-f", str(team.file)) as one, running("-f", str(team.file)) as two:
        for daemon in (one, two):
            daemon.result("started")
        assert one.stop(signal.SIGTERM) == 0
        team.disturb("b", 2048)
        assert two.result("repaired", release="b")["revision"] == 2


def test_a_commit_is_applied_by_one_of_them(team: Team, repository: Repository, tmp_path: Path) -> None:
    repository.chart("app", team.lab.chart(SCALED))
    sync = f"---\nkind: Sync\nmetadata: {{ name: e }}\nspec: {{ repository: '{repository.address}', chart: app }}\n"
    team.file.write_text(team.file.read_text() + sync)
    with running("-f", str(team.file)) as one, running("-f", str(team.file)) as two:
        for daemon in (one, two):
            daemon.result("started")
        until(lambda: _stands(team, "e", 1))
        (repository.folder / "app" / "values.yaml").write_text("memory: 768\n")
        repository.commit({})
        until(lambda: _stands(team, "e", 2))
        stopped: list[Daemon] = [one, two]
        assert [daemon.stop(signal.SIGTERM) for daemon in stopped] == [0, 0]
    assert team.revision("e") == 2
    team.lab.settled("e")


def _stands(team: Team, name: str, number: int) -> bool:
    with team.store() as store:
        found = store.find(team.lab.key(name), bodies=False)
    return found is not None and found.current.number == number and str(found.current.status) == "deployed"

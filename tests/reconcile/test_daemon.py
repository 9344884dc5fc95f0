"""The daemon as a process: it goes on, tells others, answers, ends in good order, and may be killed."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from pvehelm.faces.daemon.webhooks import signature
from pvehelm.release.release import Status
from tests.reconcile.daemons import hook, page, running, until
from tests.release.charts import SCALED
from tests.release.lab import Lab

REF = "VirtualMachine/web-0"


@pytest.fixture
def web(lab: Lab) -> int:
    lab.run("install", "web", lab.chart(SCALED))
    return lab.vmid("web", REF)


def written(lab: Lab, more: str = "") -> str:
    path = lab.folder / "reconcile.yaml"
    path.write_text(f'kind: Reconciler\nspec:\n  policy: repair\n  interval: 1s\n  listen: "127.0.0.1:0"\n{more}')
    return str(path)


def test_it_repairs_again_and_again_and_ends_in_good_order(lab: Lab, web: int) -> None:
    with running("-f", written(lab)) as daemon:
        port = daemon.result("started")["port"]
        daemon.result("in-sync")
        for revision in (2, 3):
            lab.set(web, memory=2048)
            assert daemon.result("repaired")["revision"] == revision
        status, text = page(port, "/healthz")
        assert (status, json.loads(text)["status"]) == (200, "ok")
        status, text = page(port, "/metrics")
        assert status == 200
        assert 'pvehelm_reconcile_total{result="repaired"} 2' in text
        assert 'pvehelm_release_drifted{namespace="default",release="web"} 0' in text
        assert page(port, "/other")[0] == 404
        assert daemon.stop(signal.SIGTERM) == 0
    lab.settled("web")
    lab.sound("web")


def test_a_signal_in_the_middle_lets_what_runs_finish(lab: Lab, web: int) -> None:
    other = lab.vmid("web", "VirtualMachine/web-1")
    for vmid in (web, other):
        lab.set(vmid, memory=2048)
    lab.fault("POST /nodes/*/qemu/*/config", delay=2, times=1)
    lab.fault("PUT /nodes/*/qemu/*/config", delay=2, times=1)
    with running("-f", written(lab)) as daemon:
        daemon.result("started")
        until(lambda: _journal(lab))
        assert daemon.stop(signal.SIGTERM) == 0
    with lab.store() as store:
        assert store.open_entries(lab.key("web")) == []
        assert store.holder(lab.key("web").scope) is None
    lab.run("reconcile", "--once", "--policy", "repair")
    lab.settled("web")


def test_a_second_signal_ends_it_at_once(lab: Lab, web: int) -> None:
    lab.set(web, memory=2048)
    lab.fault("POST /nodes/*/qemu/*/config", delay=300, times=1)
    lab.fault("PUT /nodes/*/qemu/*/config", delay=300, times=1)
    with running("-f", written(lab)) as daemon:
        daemon.result("started")
        until(lambda: _journal(lab))
        daemon.process.send_signal(signal.SIGTERM)
        daemon.result("stopping")
        assert daemon.stop(signal.SIGTERM) == 130
    lab.clear_faults()
    (row,) = lab.run("reconcile", "--once", "--policy", "repair", "-o", "json").json
    assert row["result"] in ("repaired", "in-sync")
    lab.settled("web")
    lab.sound("web")


def _journal(lab: Lab) -> bool:
    with lab.store() as store:
        return bool(store.open_entries(lab.key("web")))


def test_killed_in_the_middle_the_next_one_goes_on(lab: Lab, web: int) -> None:
    lab.set(web, memory=2048)
    lab.fault("POST /nodes/*/qemu/*/config", delay=30, times=1)
    lab.fault("PUT /nodes/*/qemu/*/config", delay=30, times=1)
    file = written(lab)
    with running("-f", file) as daemon:
        daemon.result("started")
        until(lambda: _journal(lab))
        daemon.stop(signal.SIGKILL)
    lab.clear_faults()
    with running("-f", file) as daemon:
        daemon.result("repaired", "in-sync")
        assert daemon.stop(signal.SIGINT) == 0
    lab.settled("web")
    lab.sound("web")


def test_webhooks_are_signed_retried_and_told_once(lab: Lab, web: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "the key")
    with hook(503, 204) as receiver:
        more = f"  webhooks: [{{ url: '{receiver.url}', secret: 'secret://env/HOOK' }}]\n"
        file = written(lab, more).replace("policy: repair", "policy: observe")
        with running("-f", file, "--policy", "observe") as daemon:
            daemon.result("in-sync")
            lab.set(web, memory=2048)
            daemon.result("drifted")
            first, data, body = receiver.next()
            again, same, _ = receiver.next()
            assert first["x-pvehelm-delivery"] == again["x-pvehelm-delivery"] == data["delivery"] == same["delivery"]
            assert first["x-pvehelm-signature"] == signature("the key", first["x-pvehelm-timestamp"], body)
            assert (first["x-pvehelm-event"], data["event"], data["release"]) == ("drift", "drift", "web")
            assert [(d["ref"], d["leaf"]) for d in data["differences"]] == [(REF, "memory")]
            daemon.result("drifted")  # the same drift is no news
            lab.run("reconcile", "policy", "set", "web", "repair")
            daemon.result("repaired")
            headers, data, _ = receiver.next()
            assert (headers["x-pvehelm-event"], data["revision"]) == ("repair", 2)
            assert daemon.stop(signal.SIGTERM) == 0
        assert receiver.got.empty()
        assert "the key" not in json.dumps(daemon.said)


def test_a_webhook_that_never_arrives_is_given_up(lab: Lab, web: int) -> None:
    lab.set(web, memory=2048)
    with hook(400) as receiver, running("-f", written(lab, f"  webhooks: [{{ url: '{receiver.url}' }}]\n")) as daemon:
        port = daemon.result("started")["port"]
        daemon.result("webhook-failed")
        assert receiver.got.qsize() == 1
        assert 'pvehelm_webhooks_total{event="repair",outcome="failed"} 1' in page(port, "/metrics")[1]


def test_two_daemons_repair_once(lab: Lab, web: int) -> None:
    file = written(lab)
    with running("-f", file) as one, running("-f", file) as two:
        for daemon in (one, two):
            daemon.result("started")
        for number in (2, 3, 4):
            lab.set(web, memory=2048 + number)
            until(lambda: _repaired(lab, number))  # noqa: B023
        assert [daemon.stop(signal.SIGTERM) for daemon in (one, two)] == [0, 0]
    assert len(lab.history("web")) == 4
    lab.settled("web")


def _repaired(lab: Lab, number: int) -> bool:
    """Whether a repair has ended: what changes while it is under way, it mends as well."""
    with lab.store() as store:
        now = store.get(lab.key("web"), bodies=False).current
    return now.number == number and now.status is Status.deployed


def test_the_port_is_taken(lab: Lab, tmp_path: Path) -> None:
    with running("-f", written(lab)) as daemon:
        port = daemon.result("started")["port"]
        result = lab.run("reconcile", "--listen", f"127.0.0.1:{port}", code=1)
    assert f"can't listen at 127.0.0.1:{port}: Address already in use\n" in result.err


def test_when_its_store_is_moved_it_says_so(lab: Lab, web: int) -> None:
    with running("-f", written(lab)) as daemon:
        port = daemon.result("started")["port"]
        daemon.result("in-sync")
        lab.run("store", "migrate", "--to", str(lab.folder / "other.db"))
        assert "it was moved to" in daemon.result("failed")["log"]
        status, text = page(port, "/healthz")
        assert (status, "it was moved to" in json.loads(text)["problems"]["store"]) == (503, True)
        assert daemon.stop(signal.SIGINT) == 0


def test_without_its_store_it_says_so(lab: Lab, web: int) -> None:
    with running("-f", written(lab)) as daemon:
        port = daemon.result("started")["port"]
        daemon.result("in-sync")
        with lab.store() as store:
            store.db.execute("DROP TABLE leases")
        daemon.result("failed")
        status, text = page(port, "/healthz")
        assert (status, "store" in json.loads(text)["problems"]) == (503, True)
        assert daemon.stop(signal.SIGTERM) == 0

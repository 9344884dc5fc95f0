"""Against a served simulator, over TLS: foreign certificates, a server that is down or dies, wrong credentials."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.release.charts import SCALED
from tests.release.host import Host
from tests.release.lab import Lab


@pytest.fixture
def host(lab: Lab) -> Iterator[Host]:
    made = Host(lab)
    yield made
    if made.process.poll() is None:
        made.stop()


def test_the_whole_story_over_tls(lab: Lab, host: Host) -> None:
    host.context()
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    lab.run("upgrade", "web", chart, "--set", "replicas=3")
    lab.run("rollback", "web", "1", "--yes")
    assert "no changes" in lab.run("diff", "web", "--detailed-exitcode").out
    lab.run("uninstall", "web", "--yes")
    assert not lab.guests()


def test_a_foreign_certificate(lab: Lab, host: Host) -> None:
    host.context(fingerprint="AA" + ":AA" * 31)
    chart = lab.chart(SCALED)
    result = lab.run("install", "web", chart, code=1)
    assert host.fingerprint in result.err
    assert "AA:AA" in result.err
    assert f"127.0.0.1:{host.port}" in result.err
    lab.run("context", "add", "plain", "--host", f"127.0.0.1:{host.port}", "--user", "root@pam", "--secret-stdin",
            stdin="proxmox\n")  # fmt: skip
    result = lab.run("install", "web", chart, code=1)
    assert "certificate" in result.err
    assert "fingerprint" in result.err
    assert not lab.guests()


def test_a_wrong_password(lab: Lab, host: Host) -> None:
    host.context(password="hunter-and-prey")
    result = lab.run("install", "web", lab.chart(SCALED), code=1)
    assert "401" in result.err
    assert "root@pam" in result.err or "credentials" in result.err
    assert "hunter-and-prey" not in result.err


def test_a_server_that_is_down(lab: Lab, host: Host) -> None:
    host.context()
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    host.stop()
    for args in (("upgrade", "web", chart), ("install", "two", chart), ("diff", "web"), ("uninstall", "web", "--yes")):
        result = lab.run(*args, code=1)
        assert f"127.0.0.1:{host.port}" in result.err, result
        assert "refused" in result.err
    # what the store knows needs no server
    assert lab.run("list", "-q").out.split() == ["web"]
    lab.run("status", "web")
    assert len(lab.history("web")) == 1
    host.start()
    lab.run("uninstall", "web", "--yes")
    assert not lab.guests()


def test_a_server_that_dies_in_the_middle(lab: Lab, host: Host) -> None:
    host.context()
    chart = lab.chart(SCALED)
    # Both guests are made by then, and neither is locked.
    lab.fault("POST /nodes/*/status/start", delay=60, times=2)
    ended = threading.Event()

    def die() -> None:
        while lab.has_faults() and not ended.wait(0.02):
            pass
        host.stop()

    death = threading.Thread(target=die)
    death.start()
    try:
        result = lab.run("install", "web", chart, code=1)
    finally:
        ended.set()
        death.join()
    assert "VirtualMachine/web-" in result.err
    assert f"127.0.0.1:{host.port}" in result.err or "/nodes/" in result.err
    lab.clear_faults()
    assert lab.status("web") == "failed"
    host.start()
    lab.run("recover", "web")
    assert len(lab.guests()) == 2
    assert "no changes" in lab.run("diff", "web", "--detailed-exitcode").out


def test_names_that_do_not_resolve(lab: Lab) -> None:
    lab.run("context", "add", "x", "--host", "no-such-host.invalid", "--user", "root@pam", "--secret-stdin",
            stdin="x\n")  # fmt: skip
    result = lab.run("install", "web", lab.chart(SCALED), code=1)
    assert "no-such-host.invalid" in result.err


def test_tickets_that_expire_under_way(lab: Lab, host: Host) -> None:
    host.context()
    chart = lab.chart(SCALED)
    lab.fault("PUT /nodes/*/qemu/*/config", status=401, times=1)
    lab.fault("GET /nodes/*/tasks/*", status=401, times=1)
    lab.run("install", "web", chart)
    assert len(lab.guests()) == 2

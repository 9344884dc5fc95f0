"""Two processes want the same release: one does it, the other one says who holds it; nothing is done half or twice.

Both are the real command line in processes of their own that start at the same moment, on a store in SQLite and on one
in PostgreSQL, where the two have home directories of their own, as two computers have. A fixed sample by default;
``-m sweep`` does fifty rounds of each.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pvehelm.faces.cli.app import main
from pvehelm.release.store import Store, open_store
from tests.release.charts import SCALED
from tests.release.lab import Lab

SAMPLE, ALL = 2, 50
# What a process may end with: done, or another one holds (or has just changed) the release.
DONE, HELD = 0, 4


class Arena(Lab):
    """A laboratory with two homes that share one simulator and one store."""

    url = ""

    def share(self, url: str) -> None:
        """Another store than the one beside the simulator; the second process has another home then."""
        self.url = url
        if url:
            self.monkeypatch.setenv("PVEHELM_STORE", url)
            self.monkeypatch.setenv("PVEHELM_KEY", "the key that both of them have")
            self.second = self.folder / "second"
            self.second.mkdir()
            (self.second / "simulator.db").symlink_to(self.data / "simulator.db")
        else:
            self.second = self.data

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        with open_store(self.url, environ={"PVEHELM_DATA": str(self.data)}) as opened:
            yield opened

    def race(self, one: tuple[str, ...], other: tuple[str, ...]) -> list[tuple[int, str]]:
        """Both commands at once: the exit code and the text of each."""
        self.close()
        sys.stdout.flush()
        ready, go = os.pipe()
        children = []
        for number, args in enumerate((one, other)):
            child = os.fork()
            if not child:
                os.close(go)
                self._run(ready, number, args)
            children.append(child)
        os.close(ready)
        os.close(go)  # both see the end of the pipe at once
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        self.open()
        return [(code, (self.folder / f"race{number}").read_text()) for number, code in enumerate(codes)]

    def _run(self, ready: int, number: int, args: tuple[str, ...]) -> None:
        code = 70
        try:
            with open(self.folder / f"race{number}", "w") as out:
                os.dup2(out.fileno(), 1)
                os.dup2(out.fileno(), 2)
                os.environ["PVEHELM_DATA"] = str(self.second if number else self.data)
                sys.argv = ["pvehelm", *args]
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                os.read(ready, 1)
                code = main(list(args))
                sys.stdout.flush()
                sys.stderr.flush()
        finally:
            os._exit(code)


@pytest.fixture(params=["sqlite", "postgres"])
def arena(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arena]:
    made = Arena(tmp_path, monkeypatch)
    try:
        made.share(request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
        # Long enough for the two to meet; whether they do is no condition of anything here.
        made.fault("POST /nodes/*/qemu/*/config", delay=0.05)
        made.fault("PUT /nodes/*/qemu/*/config", delay=0.05)
        made.fault("DELETE /nodes/*/qemu/*", delay=0.05)
        yield made
    finally:
        made.close()


def rounds(sweep: bool) -> range:
    return range(ALL if sweep else SAMPLE)


def judge(ended: list[tuple[int, str]], others: tuple[int, ...] = ()) -> bool:
    """At least one got through, and the other one was told who was at it; whether they met."""
    codes = [code for code, _ in ended]
    assert DONE in codes, ended
    assert set(codes) <= {DONE, HELD, *others}, ended
    for code, text in ended:
        assert "Traceback" not in text, text
        if code == HELD:
            assert ("is being worked on by" in text and "pid" in text) or "changed by another process" in text, text
    return HELD in codes


SWEEP = [False, pytest.param(True, marks=pytest.mark.sweep)]


@pytest.mark.parametrize("sweep", SWEEP, ids=["sample", "all"])
def test_two_upgrades(arena: Arena, sweep: bool) -> None:
    chart, met = arena.chart(SCALED), 0
    arena.run("install", "web", chart)
    for number in rounds(sweep):
        before = len(arena.history("web"))
        wanted = (1000 + number, 2000 + number)
        ended = arena.race(
            *(("upgrade", "web", chart, "--set", f"memory={memory}", "--history-max=0") for memory in wanted)
        )
        met += judge(ended)
        won = [memory for memory, (code, _) in zip(wanted, ended, strict=True) if code == DONE]
        assert len(arena.history("web")) == before + len(won)
        now = {int(arena.config(owned.identifier["vmid"])["memory"]) for owned in arena.inventory("web")}
        assert len(now) == 1, "half of one, half of the other"
        assert now <= set(won)
        arena.settled("web")
        arena.sound("web")
    print(f"two upgrades: {len(rounds(sweep))} rounds, the two met in {met}")


@pytest.mark.parametrize("sweep", SWEEP, ids=["sample", "all"])
def test_upgrade_against_rollback(arena: Arena, sweep: bool) -> None:
    chart, met = arena.chart(SCALED), 0
    arena.run("install", "web", chart)
    arena.run("upgrade", "web", chart, "--set", "memory=1000")
    for number in rounds(sweep):
        ended = arena.race(
            ("upgrade", "web", chart, "--set", f"memory={2000 + number},replicas=3", "--history-max=0"),
            ("rollback", "web", "1", "--yes", "--history-max=0"),
        )
        met += judge(ended)
        statuses = [row["status"] for row in arena.history("web")]
        assert statuses.count("deployed") == 1
        assert "failed" not in statuses
        arena.settled("web")
        arena.sound("web")
        arena.run("upgrade", "web", chart, "--set", "memory=1000,replicas=2", "--yes", "--history-max=0")
    print(f"upgrade against rollback: {len(rounds(sweep))} rounds, the two met in {met}")


REPAIRS = {
    "drift": ("drift", "web", "--repair"),
    "reconcile": ("reconcile", "--once", "--policy", "repair", "--listen", "off"),
}


@pytest.mark.parametrize("sweep", SWEEP, ids=["sample", "all"])
@pytest.mark.parametrize("repair", REPAIRS)
def test_uninstall_against_repair(arena: Arena, repair: str, sweep: bool) -> None:
    """A release that drifted is repaired by one process while a person removes it in another one."""
    chart, met = arena.chart(SCALED), 0
    for _ in rounds(sweep):
        arena.run("install", "web", chart)
        for owned in arena.inventory("web"):
            arena.set(int(owned.identifier["vmid"]), memory=4096)
        ended = arena.race(("uninstall", "web", "--yes"), REPAIRS[repair])
        met += judge(ended, others=(1,))  # it may be gone when the other one looks
        (removed, _), (_, text) = ended
        assert removed in (DONE, HELD), ended
        if removed == DONE:
            assert not arena.guests(), text
            assert arena.run("list", "-q").out == ""
        else:
            arena.settled("web")
            arena.sound("web")
            arena.run("uninstall", "web", "--yes")
        arena.sound()
    print(f"uninstall against {repair}: {len(rounds(sweep))} rounds, one was held back in {met}")


@pytest.mark.parametrize("command", [("drift", "web", "--repair"), ("rollback", "web", "1"), ("recover", "web")])
def test_what_was_removed_meanwhile_does_not_come_back(arena: Arena, command: tuple[str, ...]) -> None:
    """Without chance: the release is removed after the other one has looked at it and before it has the lease."""
    chart = arena.chart(SCALED)
    arena.run("install", "web", chart)
    for owned in arena.inventory("web"):
        arena.set(int(owned.identifier["vmid"]), memory=4096)
    real = Store.hold

    def late(store: Store, scope: str, **more: Any) -> Any:
        Store.hold = real  # type: ignore[method-assign]
        # Another process, since this one has a loop running.
        done = arena.start("uninstall", "web", "--yes")
        assert done.wait() == 0, done.communicate()
        done.communicate()
        return real(store, scope, **more)

    Store.hold = late  # type: ignore[method-assign,assignment]
    try:
        ended = arena.run(*command, code=HELD)
    finally:
        Store.hold = real  # type: ignore[method-assign]
    assert "changed by another process" in ended.err
    assert not arena.guests()
    assert arena.run("list", "-q").out == ""


def test_the_winner_is_named(arena: Arena) -> None:
    """Without chance: one holds the lease, from the other home."""
    chart = arena.chart(SCALED)
    arena.run("install", "web", chart)
    with arena.store() as store, store.hold(arena.key("web").scope, purpose="rollback") as lease:
        for command in (
            ("upgrade", "web", chart, "--set", "memory=1024"),
            ("uninstall", "web", "--yes"),
            ("rollback", "web", "1"),
            ("stop", "vm/web-0"),
        ):
            held = arena.run(*command, code=4)
            assert f"being worked on by {lease.holder} (rollback)" in held.err
            assert f"pid {os.getpid()}" in held.err
            assert "pvehelm unlock web" in held.err
    arena.run("upgrade", "web", chart, "--set", "memory=1024")

"""Leases: exclusion, expiry, dead holders, fencing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from pvehelm.errors import FencedError, LeaseHeldError, StoreError
from pvehelm.release.lease import Lease, is_alive, shown
from pvehelm.release.release import ReleaseKey, Revision
from pvehelm.release.store import Store, open_store
from tests.release.conftest import WEB
from tests.release.workers import crowd, line, running, tell

SCOPE = WEB.scope


def elsewhere(store: Store, lease: Lease) -> None:
    """Make a lease look as if another machine had it."""
    store.db.execute("UPDATE leases SET machine = 'another', host = 'pve9' WHERE scope = ?", (lease.scope,))


def lasting(store: Store, seconds: float) -> None:
    """Make a lease last so long from now on, by the database's clock. A slow machine loses none before that."""
    store.db.execute(f"UPDATE leases SET expires = {store.db.NOW} + ? WHERE scope = ?", (seconds, SCOPE))


def test_held_says_who_and_what_to_do(store: Store) -> None:
    lease = store.acquire(SCOPE, purpose="upgrade")
    with pytest.raises(LeaseHeldError) as caught:
        store.acquire(SCOPE)
    text = str(caught.value)
    assert caught.value.exit_code == 4
    for part in ("release default/web", lease.holder, lease.host, f"pid {os.getpid()}", "since 2", "(upgrade)"):
        assert part in text
    assert "`pvehelm unlock web -n default`" in caught.value.hint
    assert store.acquire("release:c1/default/other").fence == 1  # other scopes are free
    store.release(lease)
    assert store.acquire(SCOPE).fence == lease.fence + 1


@pytest.mark.parametrize(
    ("scope", "text"),
    [
        ("release:AA:BB/prod/web", "release prod/web"),
        ("guest:AA:BB/101", "guest 101"),
        ("network:pve1", "network pve1"),
        ("sdn:AA:BB/", "sdn AA:BB/"),
    ],
)
def test_scopes_are_shown_without_the_cluster(scope: str, text: str) -> None:
    assert shown(scope) == text


def test_expires_by_the_databases_clock(store: Store) -> None:
    first = store.acquire(SCOPE, ttl=60)
    elsewhere(store, first)
    with pytest.raises(LeaseHeldError, match="pve9"):
        store.acquire(SCOPE)
    lasting(store, 0.2)
    second = store.acquire(SCOPE, wait=30)
    assert second.fence == first.fence + 1
    for late in (first.check, lambda: store.renew(first)):
        with pytest.raises(FencedError, match="taken over") as caught:
            late()
        assert caught.value.exit_code == 4
        assert second.holder in str(caught.value)
    store.release(first)  # a loser gives nothing back
    second.check()


def test_slept_but_nobody_came(store: Store) -> None:
    lease = store.acquire(SCOPE, ttl=60)
    lasting(store, -0.1)
    assert store.holder(SCOPE) is None
    lease.check()
    assert store.holder(SCOPE) == lease


def test_a_clock_that_was_set_back_makes_no_lease_last_longer(store: Store) -> None:
    """Whoever had it is gone with its machine; what it wrote down was an hour later."""
    lease = store.acquire(SCOPE, ttl=0.3)
    elsewhere(store, lease)
    store.db.execute("UPDATE leases SET expires = expires + 3600 WHERE scope = ?", (SCOPE,))
    assert store.acquire(SCOPE, wait=30).fence == lease.fence + 1


def test_a_clock_that_was_set_back_takes_nothing_from_who_lives(store: Store) -> None:
    with store.hold(SCOPE, ttl=60) as lease:
        elsewhere(store, lease)
        store.db.execute("UPDATE leases SET expires = expires + 3600 WHERE scope = ?", (SCOPE,))
        with pytest.raises(LeaseHeldError):
            store.acquire(SCOPE)
        left = store.db.value(f"SELECT expires - {store.db.NOW} FROM leases WHERE scope = ?", (SCOPE,))
        assert 0 < left <= 60
        lease.check()


def test_keep_renews(store: Store) -> None:
    with store.hold(SCOPE, ttl=4) as lease:
        elsewhere(store, lease)
        lasting(store, 2)
        until = time.monotonic() + 60
        while store.db.value(f"SELECT expires - {store.db.NOW} FROM leases WHERE scope = ?", (SCOPE,)) < 3:
            assert time.monotonic() < until
            time.sleep(0.05)
        with pytest.raises(LeaseHeldError):
            store.acquire(SCOPE)
    assert store.holder(SCOPE) is None


def test_keeper_tells_of_the_loss(store: Store) -> None:
    import threading

    lost = threading.Event()
    lease = store.acquire(SCOPE, ttl=0.2)
    with lease.keep(every=0.01, on_lost=lost.set):
        store.unlock(SCOPE)
        assert lost.wait(10)
        with pytest.raises(FencedError):
            lease.check()


def test_unlock_raises_the_number(store: Store) -> None:
    lease = store.acquire(SCOPE, purpose="install")
    store.put_revision(WEB, Revision(1), lease=lease)
    taken = store.unlock(SCOPE)
    assert taken is not None
    assert (taken.holder, taken.pid, taken.purpose) == (lease.holder, os.getpid(), "install")
    assert store.unlock(SCOPE) is None
    with pytest.raises(FencedError):
        store.put_revision(WEB, Revision(2), lease=lease)
    assert [one.number for one in store.revisions(WEB)] == [1]
    assert store.acquire(SCOPE).fence > lease.fence


def test_a_lease_without_store_says_so() -> None:
    with pytest.raises(StoreError):
        Lease("x", "me@here", "here", 1, "", 1).check()


def test_is_alive() -> None:
    own = Path("/proc/self/stat")
    assert is_alive(os.getpid(), "")
    assert not is_alive(2**22 + 1, "")
    if own.exists():
        start = own.read_text().rpartition(")")[2].split()[19]
        assert is_alive(os.getpid(), start)
        assert not is_alive(os.getpid(), start + "1")  # the number was used again


def test_killed_holder_is_replaced_at_once(store: Store, url: str) -> None:
    with running("hold", url, SCOPE, 3600) as process:
        assert line(process) == "1"
        with pytest.raises(LeaseHeldError, match=f"pid {process.pid}"):
            store.acquire(SCOPE)
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, not yet reaped: a zombie
        assert store.holder(SCOPE) is None
        assert store.acquire(SCOPE).fence == 2


def test_suspended_holder_is_fenced_when_it_wakes(store: Store, url: str) -> None:
    scope = ReleaseKey("c1", "default", "late").scope
    with running("write_late", url, scope, 0.3) as process:
        assert line(process) == "ready"
        process.send_signal(signal.SIGSTOP)
        lease = store.acquire(scope, wait=30)
        store.release(lease)  # even if the other one has finished already
        process.send_signal(signal.SIGCONT)
        tell(process)
        assert line(process).startswith("fenced: release default/late was taken over")
    assert store.open_entries(ReleaseKey("c1", "default", "late")) == []


def test_processes_take_turns(url: str, store: Store) -> None:
    size = 20 if url.startswith("sqlite") else 6
    crowd("count", url, size, "release:c1/default/counter", 3)
    assert store.meta()["counter"] == str(3 * size)


def test_survives_reopening(url: str, store: Store) -> None:
    with store.hold(SCOPE), open_store(url) as other, pytest.raises(LeaseHeldError):
        other.acquire(SCOPE)

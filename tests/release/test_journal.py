"""The journal, the inventory that follows it, and reservations."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvehelm.errors import FencedError, NotFoundError
from pvehelm.release.inventory import Owned
from pvehelm.release.lease import Lease
from pvehelm.release.release import ReleaseKey, Revision, Status
from pvehelm.release.store import Store, open_store
from tests.release.conftest import WEB
from tests.release.history import restate
from tests.release.workers import crowd, line, running

REF = "VirtualMachine/a"
OTHER = ReleaseKey("c1", "prod", "other")


def guest(vmid: int = 100, ref: str = REF, **more: object) -> Owned:
    kind, name = ref.split("/")
    return Owned(ref, kind, name, None, {"vmid": vmid, "node": "pve1"}, **more)  # type: ignore[arg-type]


@pytest.fixture
def lease(store: Store) -> Iterator[Lease]:
    lease = store.acquire(WEB.scope, purpose="install")
    store.put_revision(WEB, Revision(1), lease=lease)
    yield lease
    store.release(lease)


def test_intent_then_outcome(store: Store, lease: Lease) -> None:
    intent = {"method": "POST", "path": "/nodes/pve1/qemu", "params": {"memory": 512, "pw": "secret://env/PW"}}
    entry = store.begin(WEB, lease, 1, 1, REF, "create", intent)
    (found,) = store.open_entries(WEB)
    assert (found.id, found.intent, found.ok, found.upid, found.finished) == (entry, intent, None, "", None)
    store.set_upid(entry, "UPID:pve1:1")
    owned = guest(fields={"memory": 512}, found={"onboot": 1}, metadata={"lifecycle": "keep"}, uid="u1")
    store.outcome(entry, lease, ok=True, result={"x": [1]}, owned=owned)
    assert store.open_entries(WEB) == []
    (closed,) = store.entries(WEB, 1)
    assert (closed.ok, closed.upid, closed.result) == (True, "UPID:pve1:1", {"x": [1]})
    assert store.inventory(WEB).entries == {REF: owned}
    assert store.reserved("c1") == {100}
    entry = store.begin(WEB, lease, 1, 2, REF, "delete", {})
    store.outcome(entry, lease, ok=True, forget=REF)
    assert len(store.inventory(WEB)) == 0
    assert store.reserved("c1") == set()


def test_an_object_by_itself(store: Store, lease: Lease) -> None:
    """Its journal is found under the lease it was written with, and goes when nothing is open or owned any more."""
    alone = ReleaseKey("c1", "", "guest/101")
    assert (alone.scope, str(alone)) == ("guest:c1/101", "guest/101")
    assert store.reserve("c1", 101, alone, REF)
    entry = store.begin(alone, lease, 0, 1, REF, "create", {})
    assert [found.id for found in store.open_entries(WEB)] == [entry]
    assert store.by_themselves("c1") == [alone]
    assert store.by_themselves("c2") == []
    assert [release.key for release in store.list("c1")] == [WEB]
    store.tidy(alone, lease=lease)
    assert store.by_themselves("c1") == [alone], "it is open"
    store.outcome(entry, lease, ok=True, owned=guest(101))
    store.tidy(alone, lease=lease)
    assert store.reserved("c1") == {101}
    store.forget(alone, REF, lease=lease)
    store.tidy(alone, lease=lease)
    assert store.by_themselves("c1") == []
    assert store.reserved("c1") == set()
    store.tidy(WEB, lease=lease)
    assert [release.key for release in store.list("c1")] == [WEB], "a release stays"
    store.unlock(WEB.scope)
    with pytest.raises(FencedError):
        store.tidy(alone, lease=lease)


def test_fenced_writers_write_nothing(store: Store, lease: Lease) -> None:
    entry = store.begin(WEB, lease, 1, 1, REF, "create", {})
    store.unlock(WEB.scope)
    new = store.acquire(WEB.scope)
    with pytest.raises(FencedError):
        store.begin(WEB, lease, 1, 2, REF, "update", {})
    with pytest.raises(FencedError):
        store.outcome(entry, lease, ok=True, owned=guest())
    with pytest.raises(FencedError):
        store.put_owned(WEB, guest(), lease=lease)
    with pytest.raises(FencedError):
        store.forget(WEB, REF, lease=lease)
    with pytest.raises(FencedError):
        restate(store, WEB, 1, Status.deployed, lease=lease)
    assert len(store.inventory(WEB)) == 0
    assert [one.id for one in store.open_entries(WEB)] == [entry]
    store.outcome(entry, new, ok=True, owned=guest())  # whoever recovers closes it
    assert REF in store.inventory(WEB)


def test_failure_frees_what_was_reserved(store: Store, lease: Lease) -> None:
    with store.transaction():
        assert store.reserve("c1", 100, WEB, REF)
        entry = store.begin(WEB, lease, 1, 1, REF, "create", {})
    store.outcome(entry, lease, ok=False, error="already exists")
    assert store.entries(WEB, 1)[0].error == "already exists"
    assert store.reserved("c1") == set()


def test_failure_keeps_what_is_owned(store: Store, lease: Lease) -> None:
    store.reserve("c1", 100, WEB, REF)
    entry = store.begin(WEB, lease, 1, 1, REF, "create", {})
    store.outcome(entry, lease, ok=False, error="the disk did not fit", owned=guest())
    entry = store.begin(WEB, lease, 1, 2, REF, "update", {})
    store.outcome(entry, lease, ok=False)
    assert store.reserved("c1") == {100}
    store.unreserve("c1", 100)
    assert store.reserved("c1") == {100}
    assert store.inventory(WEB).get(REF) == guest()


def test_replacing_a_guest_frees_its_old_number(store: Store, lease: Lease) -> None:
    store.put_owned(WEB, guest(100), lease=lease)
    assert store.reserve("c1", 101, WEB, REF)
    store.put_owned(WEB, guest(101), lease=lease)
    assert store.reserved("c1") == {101}
    store.forget(WEB, REF, lease=lease)
    assert store.reserved("c1") == set()


def test_reserve_is_unique_for_each_cluster(store: Store) -> None:
    assert store.reserve("c1", 100, WEB, REF)
    assert store.reserve("c1", 100, WEB, REF)  # ours already
    assert not store.reserve("c1", 100, OTHER, REF)
    assert store.reserve("c2", 100, OTHER, REF)
    store.unreserve("c1", 100)
    assert store.reserve("c1", 100, OTHER, REF)
    assert store.find(WEB) is None  # a release without a revision is not shown


def test_only_stale_claims_are_taken_over(tmp_path: Path) -> None:
    now = [1000.0]
    with open_store(f"sqlite:///{tmp_path}/x.db", clock=lambda: now[0]) as store:
        lease = store.acquire(WEB.scope)
        assert store.reserve("c1", 100, WEB, REF)
        store.release(lease)
        assert not store.reserve("c1", 100, OTHER, "VirtualMachine/b")  # too young
        now[0] += 601
        lease = store.acquire(WEB.scope)
        assert not store.reserve("c1", 100, OTHER, "VirtualMachine/b")  # somebody works there
        entry = store.begin(WEB, lease, 1, 1, REF, "create", {})
        store.release(lease)
        assert not store.reserve("c1", 100, OTHER, "VirtualMachine/b")  # an intent without an outcome
        lease = store.acquire(WEB.scope)
        store.outcome(entry, lease, ok=True, owned=guest())
        store.release(lease)
        assert not store.reserve("c1", 100, OTHER, "VirtualMachine/b")  # owned
        lease = store.acquire(WEB.scope)
        store.forget(WEB, REF, lease=lease)
        assert store.reserve("c1", 100, WEB, REF)
        store.release(lease)
        now[0] += 601
        assert store.reserve("c1", 100, OTHER, "VirtualMachine/b")


def test_owners(store: Store, lease: Lease) -> None:
    pool = Owned("Pool/p", "Pool", "p", None, {"poolid": "p"})
    rules = Owned("FirewallRules/r", "FirewallRules", "r", None, {"scope": "guest", "vmid": 100})
    for owned in (guest(), pool, rules):
        store.put_owned(WEB, owned, lease=lease)
    assert store.owners("c1", "VirtualMachine", {"vmid": "100", "node": "moved"}) == [(WEB, REF)]
    assert store.owners("c1", "Pool", {"poolid": "p"}) == [(WEB, "Pool/p")]
    assert store.owners("c2", "Pool", {"poolid": "p"}) == []
    assert store.owners("c1", "VirtualMachine", {"vmid": 101}) == []
    store.forget(WEB, "FirewallRules/r", lease=lease)
    assert store.reserved("c1") == {100}  # rules about a guest are not the guest


def test_unknown_entries(store: Store, lease: Lease) -> None:
    with pytest.raises(NotFoundError):
        store.outcome(99, lease, ok=True)
    with pytest.raises(NotFoundError):
        store.set_upid(99, "UPID:x")
    assert store.open_entries(OTHER) == []
    assert len(store.inventory(OTHER)) == 0


def test_killed_process_leaves_its_intent(store: Store, url: str) -> None:
    key = ReleaseKey("c1", "default", "crash")
    with running("begin", url, "crash") as process:
        assert line(process) == "begun"
        assert store.get(key).status is Status.pending_install
        process.send_signal(signal.SIGKILL)
        process.wait()
        release = store.get(key)
        assert (release.status, release.current.description) == (Status.failed, "interrupted")
        (entry,) = store.open_entries(key)
        assert (entry.ref, entry.op, entry.intent) == (REF, "create", {"path": "/nodes/n/qemu"})
        assert store.reserved("c1") == {100}
        with store.hold(key.scope) as lease:
            store.outcome(entry.id, lease, ok=False, error="never sent")
        assert store.reserved("c1") == set()


def test_processes_get_their_own_numbers(store: Store, url: str) -> None:
    size = 20 if url.startswith("sqlite") else 6
    outputs = crowd("releases", url, size, "#", 3)
    vmids = [int(text) for output in outputs for text in output.split()]
    assert len(vmids) == len(set(vmids)) == 3 * size
    assert store.reserved("c1") == set(vmids)
    releases = store.list("c1", "default")
    assert [(one.status, one.current.number, one.deployed) for one in releases] == [(Status.deployed, 3, 3)] * size
    assert store.db.value("SELECT count(*) FROM blobs WHERE size = 5") == 1  # the one chart


def test_what_is_noted_of_another_release_stays_with_it(store: Store) -> None:
    """Underscores mean themselves in names."""
    one, other, new = (
        ReleaseKey("c1", namespace, name) for namespace, name in (("a_b", "w"), ("aXb", "w"), ("a_b", "n"))
    )
    for key in (one, other):
        store.ensure(key)
        store.set_meta(f"synced:c1/{key}", str(key))
    with store.hold(one.scope) as lease:
        store.rename(one, new, leases=[lease])
    noted = {name: value for name, value in store.meta().items() if name.startswith("synced:")}
    assert noted == {"synced:c1/a_b/n": "a_b/w", "synced:c1/aXb/w": "aXb/w"}

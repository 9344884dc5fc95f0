"""What the store's tests run in other processes: `python -m tests.release.worker VERB URL ...`."""

from __future__ import annotations

import sys
import time

from pvehelm.errors import FencedError, StoreError
from pvehelm.release.release import ReleaseKey, Revision, Status
from pvehelm.release.store import Store, open_store
from tests.release.history import restate


def say(text: object) -> None:
    print(text, flush=True)


def hear() -> str:
    return sys.stdin.readline().strip()


def hold(store: Store, scope: str, ttl: str) -> None:
    """Hold a lease (kept) until a line comes."""
    with store.hold(scope, purpose="upgrade", ttl=float(ttl)) as lease:
        say(lease.fence)
        hear()


def begin(store: Store, name: str) -> None:
    """Write an intent, then hang until killed."""
    key = ReleaseKey("c1", "default", name)
    lease = store.acquire(key.scope, purpose="install")
    with store.transaction():
        store.put_revision(key, Revision(1, description="interrupted"), lease=lease)
        store.reserve("c1", 100, key, "VirtualMachine/a")
        store.begin(key, lease, 1, 1, "VirtualMachine/a", "create", {"path": "/nodes/n/qemu"})
    say("begun")
    hear()


def write_late(store: Store, scope: str, ttl: str) -> None:
    """Take a lease, be suspended by the test, and try to write afterwards."""
    key = ReleaseKey("c1", "default", "late")
    lease = store.acquire(scope, ttl=float(ttl))
    store.put_revision(key, Revision(1), lease=lease)
    with lease.keep():
        say("ready")
        hear()
        try:
            store.begin(key, lease, 1, 1, "VirtualMachine/a", "create", {})
            say("written")
        except FencedError as error:
            say(f"fenced: {error}")


def releases(store: Store, number: str, count: str) -> None:
    """Everything an install writes, `count` times over, under the release's lease."""
    key = ReleaseKey("c1", "default", f"r{number}")
    vmid = 100
    for revision in range(1, int(count) + 1):
        with store.hold(key.scope, purpose="install") as lease:
            store.put_revision(key, Revision(revision, values={"n": revision}), lease=lease, archive=b"chart")
            ref = f"VirtualMachine/vm-{revision}"
            while not store.reserve("c1", vmid, key, ref):
                vmid += 1
            entry = store.begin(key, lease, revision, 1, ref, "create", {"vmid": vmid})
            store.outcome(entry, lease, ok=True)
            restate(store, key, revision, Status.deployed, lease=lease)
            say(vmid)


def count(store: Store, scope: str, rounds: str) -> None:
    """Add to a number that only the lease protects."""
    for _ in range(int(rounds)):
        lease = store.acquire(scope, wait=60)
        before = int(store.meta().get("counter", "0"))
        time.sleep(0.001)
        store.set_meta("counter", str(before + 1))
        store.release(lease)


def stand_still(store: Store) -> None:
    """Be suspended in the middle of a step that writes."""
    try:
        with store.transaction():
            store.set_meta("still", "1")
            say("inside")
            time.sleep(0.4)
            store.set_meta("still", "2")
        say("written")
    except StoreError as error:
        say(f"refused: {error}")


def main() -> None:
    verb, url, *rest = sys.argv[1:]
    with open_store(url) as store:
        globals()[verb](store, *rest)


if __name__ == "__main__":
    main()

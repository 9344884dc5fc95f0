"""Leases: who works on a scope, for how long, and the fencing number that keeps a late writer out.

Scopes are texts (``release:CLUSTER/NS/NAME``, ``guest:CLUSTER/VMID``, ``network:...``, ``sdn:...``). A lease lasts
``ttl`` seconds of the database's clock unless renewed; the lease of a process that died on this machine ends at once.
Whoever takes a scope over raises its number, so that the process before can no longer write.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from pvehelm.errors import FencedError, LeaseHeldError, StoreError
from pvehelm.release.database import Database

TTL = 20.0


class Lease(NamedTuple):
    """A scope that ``holder`` (``who@host``) works on; ``fence`` is the number that each write checks."""

    scope: str
    holder: str
    host: str
    pid: int
    pid_start: str
    fence: int
    ttl: float = TTL
    purpose: str = ""
    since: float = 0.0
    store: Leases | None = None

    def check(self) -> None:
        """Raise FencedError if somebody took the scope over."""
        self._leases().check(self)

    @contextmanager
    def keep(self, every: float | None = None, on_lost: Callable[[], None] | None = None) -> Iterator[Lease]:
        """Renew in a thread every ``every`` seconds (a quarter of the ttl); a lost lease shows at the next check."""
        leases, stop = self._leases(), threading.Event()

        def work() -> None:
            while not stop.wait(every or self.ttl / 4):
                try:
                    leases.renew(self)
                except FencedError:
                    if on_lost is not None:
                        on_lost()
                    return
                except StoreError:
                    continue  # a busy store: the next round comes before the lease ends

        thread = threading.Thread(target=work, name=f"lease {self.scope}", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()

    def _leases(self) -> Leases:
        if self.store is None:
            raise StoreError(f"lease {self.scope}: it belongs to no store")
        return self.store


class Leases:
    """The part of the store that knows who works on what."""

    db: Database
    clock: Callable[[], float]

    def acquire(self, scope: str, *, purpose: str = "", ttl: float = TTL, wait: float = 0.0) -> Lease:
        """Take ``scope`` for ``purpose`` (a verb such as ``upgrade``); wait at most ``wait`` seconds for it.

        Raises LeaseHeldError that names who has it.
        """
        deadline = time.monotonic() + wait
        pause = 0.02
        while True:
            try:
                return self._acquire(scope, purpose, ttl)
            except LeaseHeldError:
                self._shorten(scope)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.5)

    @contextmanager
    def hold(self, scope: str, *, purpose: str = "", ttl: float = TTL, wait: float = 0.0) -> Iterator[Lease]:
        """Acquire, keep and at the end release."""
        lease = self.acquire(scope, purpose=purpose, ttl=ttl, wait=wait)
        try:
            with lease.keep():
                yield lease
        finally:
            self.release(lease)

    def _acquire(self, scope: str, purpose: str, ttl: float) -> Lease:
        me = (who(), os.uname().nodename, machine(), os.getpid(), _start(os.getpid()) or "")
        with self.db.transaction():
            self.stay()
            held = self._row(scope)
            if held is not None and _is_live(held):
                raise _held(scope, held)
            fence = (held["fence"] if held is not None else 0) + 1
            self.db.execute(
                "INSERT INTO leases (scope, fence, held, holder, host, machine, pid, pid_start, purpose, ttl, since, "
                f"expires) VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, {self.db.NOW}, {self.db.NOW} + ?) "
                "ON CONFLICT (scope) DO UPDATE SET fence = excluded.fence, held = 1, holder = excluded.holder, "
                "host = excluded.host, machine = excluded.machine, pid = excluded.pid, pid_start = excluded.pid_start, "
                "purpose = excluded.purpose, ttl = excluded.ttl, since = excluded.since, expires = excluded.expires",
                (scope, fence, *me, purpose, ttl, ttl),
            )
            return self._lease(self._row(scope))

    def stay(self) -> None:
        """Raise StoreError if the store was moved elsewhere, maybe since this process opened it."""
        there = self.db.value("SELECT value FROM meta WHERE name = 'moved'")
        if there:
            hint = f"use that one: context add --store, or PVEHELM_STORE={there}"
            raise StoreError(f"release store {self.db.path}: it was moved to {there}", hint=hint)

    def _shorten(self, scope: str) -> None:
        """A lease that lasts longer than leases do is of a time before the clock was set back: it counts from now on.
        A holder that lives renews it anyway."""
        late = f"scope = ? AND held = 1 AND expires > {self.db.NOW} + ttl"
        if self.db.value(f"SELECT 1 FROM leases WHERE {late}", (scope,)):
            self.db.execute(f"UPDATE leases SET expires = {self.db.NOW} + ttl WHERE {late}", (scope,))

    def renew(self, lease: Lease) -> None:
        """Let the lease last its whole ttl again. Raises FencedError if it was taken over."""
        changed = self.db.execute(
            f"UPDATE leases SET expires = {self.db.NOW} + ? WHERE scope = ? AND fence = ? AND held = 1",
            (lease.ttl, lease.scope, lease.fence),
        )
        if not changed:
            raise self._fenced(lease)

    def check(self, lease: Lease) -> None:
        """Raise FencedError unless the lease is ours still; make sure that it lasts for what is done next.

        A process that slept past its ttl goes on if nobody took the scope meanwhile: nothing was changed behind it.
        """
        left = self.db.value(
            f"SELECT expires - {self.db.NOW} FROM leases WHERE scope = ? AND fence = ? AND held = 1",
            (lease.scope, lease.fence),
        )
        if left is None:
            raise self._fenced(lease)
        if left < lease.ttl / 2:
            self.renew(lease)

    def release(self, lease: Lease) -> None:
        """Give the scope back; nothing happens if it was lost."""
        self.db.execute("UPDATE leases SET held = 0 WHERE scope = ? AND fence = ?", (lease.scope, lease.fence))

    def unlock(self, scope: str) -> Lease | None:
        """Take the scope from whoever has it: its number is raised, so later writes fail. The live holder, if any."""
        with self.db.transaction():
            before = self.holder(scope)
            self.db.execute("UPDATE leases SET held = 0, fence = fence + 1 WHERE scope = ?", (scope,))
        return before

    def holder(self, scope: str) -> Lease | None:
        """Who works on the scope right now (a live process, or one on another machine whose lease has not ended)."""
        held = self._row(scope)
        return self._lease(held) if held is not None and _is_live(held) else None

    def _row(self, scope: str) -> Any:
        return self.db.row(
            f"SELECT leases.*, expires - {self.db.NOW} AS remaining FROM leases WHERE scope = ?", (scope,)
        )

    def _lease(self, row: Any) -> Lease:
        texts = (row["scope"], row["holder"], row["host"], row["pid"], row["pid_start"], row["fence"])
        return Lease(*texts, row["ttl"], row["purpose"], row["since"], self)

    def _fenced(self, lease: Lease) -> FencedError:
        now = self.holder(lease.scope)
        by = f"; {now.holder} (pid {now.pid}) has it now" if now else ""
        return FencedError(
            f"{shown(lease.scope)} was taken over while this command worked on it{by}",
            hint="what this command had begun is in the journal: `pvehelm recover` completes it",
        )


def _is_live(row: Any) -> bool:
    if not row["held"] or row["remaining"] <= 0:
        return False
    return row["machine"] != machine() or is_alive(row["pid"], row["pid_start"])


def _held(scope: str, row: Any) -> LeaseHeldError:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["since"]))
    purpose = f" ({row['purpose']})" if row["purpose"] else ""
    kind, _, rest = scope.partition(":")
    of = rest.partition("/")[2] or rest
    namespace, _, name = of.partition("/")
    command = f"pvehelm unlock {name} -n {namespace}" if kind == "release" else f"pvehelm unlock {kind}/{of}"
    return LeaseHeldError(
        f"{shown(scope)} is being worked on by {row['holder']}{purpose}: "
        f"host {row['host']}, pid {row['pid']}, since {since}",
        hint=f"wait for it; if that process hangs or its machine is gone: `{command}`",
    )


def shown(scope: str) -> str:
    """A scope for people: without the cluster's fingerprint."""
    kind, _, rest = scope.partition(":")
    return f"{kind} {rest.partition('/')[2] or rest}"


def who() -> str:
    """``user@host`` of this process."""
    name = ""
    with suppress(ImportError, KeyError):
        import pwd

        name = pwd.getpwuid(os.geteuid()).pw_name
    return f"{name or os.environ.get('USER', '?')}@{os.uname().nodename}"


@functools.cache
def machine() -> str:
    """What tells whether a pid of another lease can be looked up here: this boot, in this set of process numbers."""
    parts = [os.uname().nodename]
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        parts.append(file.read().strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def is_alive(pid: int, start: str) -> bool:
    """Whether the process of that number and start time runs (a zombie does not); no ``start``: the number decides."""
    if os.path.exists("/proc/self/stat"):
        now = _start(pid)
        return now is not None and (not start or now == start)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start(pid: int) -> str | None:
    """When a process started, in ticks since boot, as the kernel says it; None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # the second field is the program's name in parentheses, which may hold anything
            state, *rest = file.read().rpartition(b")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in (b"Z", b"X") else rest[18].decode()

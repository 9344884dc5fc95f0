"""The journal and what it keeps true: the inventory of each release, and the VMIDs that are spoken for.

An entry is written before a call goes out and gets its outcome after; the outcome changes the inventory in the same
transaction. Both check the lease's fencing number, so whoever was taken over can't write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pvehelm.errors import NotFoundError, RefusedError
from pvehelm.release.lease import Lease, Leases
from pvehelm.release.release import ReleaseKey

if TYPE_CHECKING:
    from pvehelm.release.inventory import Inventory, Owned

STALE = 600.0


class Entry(NamedTuple):
    """One intent. ``ok`` is None while its outcome is unknown; ``upid`` is the task it started, once that is known."""

    id: int
    revision: int
    seq: int
    ref: str
    op: str
    intent: dict[str, Any]
    upid: str = ""
    ok: bool | None = None
    result: Any = None
    error: str = ""
    started: float = 0.0
    finished: float | None = None
    fence: int = 0
    # What was leased meanwhile.
    scope: str = ""

    def to_json(self) -> dict[str, Any]:
        return self._asdict()


class Journal(Leases):
    """The part of the store that a plan being applied writes to."""

    clock: Callable[[], float]

    # -- intents and outcomes ----------------------------------------------------------------------------------

    def begin(
        self,
        key: ReleaseKey,
        lease: Lease,
        revision: int,
        seq: int,
        ref: str,
        op: str,
        intent: Mapping[str, Any],
    ) -> int:
        """Record that a call is about to go out; the entry's id. ``intent`` holds references, never secrets.

        Raises FencedError if the lease was lost: then the call must not be made. To reserve a VMID together with the
        intent, call both inside ``store.transaction()``.
        """
        with self.db.transaction():
            self.check(lease)
            return self.db.insert(
                "INSERT INTO journal (release_id, scope, fence, revision, seq, ref, op, intent, upid, started, error) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', ?, '')",
                (self.ensure_id(key), lease.scope, lease.fence, revision, seq, ref, op, dump(intent), self.clock()),
            )

    def set_upid(self, entry: int, upid: str) -> None:
        """Record the task that the call started, before waiting for it."""
        if not self.db.execute("UPDATE journal SET upid = ? WHERE id = ?", (upid, entry)):
            raise NotFoundError(f"journal entry {entry}: there is none")

    def outcome(
        self,
        entry: int,
        lease: Lease,
        *,
        ok: bool,
        upid: str = "",
        result: Any = None,
        error: str = "",
        owned: Owned | None = None,
        forget: str | None = None,
    ) -> None:
        """Close an entry; ``owned`` enters the inventory and ``forget`` (a ref) leaves it in the same transaction.

        ``owned`` is kept with a failure, too: what a call had done before it failed is owned all the same. A failure
        that leaves the ref without a guest frees the VMID that was reserved for it.
        """
        with self.db.transaction():
            self.check(lease)
            row = self.db.row("SELECT release_id, ref, upid FROM journal WHERE id = ?", (entry,))
            if row is None:
                raise NotFoundError(f"journal entry {entry}: there is none")
            release = int(row["release_id"])
            self.db.execute(
                "UPDATE journal SET ok = ?, upid = ?, result = ?, error = ?, finished = ? WHERE id = ?",
                (int(ok), upid or row["upid"], None if result is None else dump(result), error, self.clock(), entry),
            )
            if owned is not None:
                self._own(release, owned)
            if forget is not None:
                self._forget(release, forget)
            if not ok:
                self._unreserve_failed(release, str(row["ref"]))

    def open_entries(self, key: ReleaseKey) -> list[Entry]:
        """Intents whose outcome is unknown, oldest first: what a killed process left, of the release itself and of
        its objects, by direct verbs that held its lease."""
        return self._entries("(r.id = ? OR j.scope = ?) AND j.ok IS NULL", (self.id_of(key), key.scope))

    def entries(self, key: ReleaseKey, revision: int) -> list[Entry]:
        """The whole journal of one revision, oldest first."""
        return self._entries("r.id = ? AND j.revision = ?", (self.id_of(key), revision))

    def by_themselves(self, cluster: str) -> list[ReleaseKey]:
        """The objects that direct verbs have begun something with and not come to an end."""
        sql = "SELECT name FROM releases WHERE cluster = ? AND namespace = '' ORDER BY id"
        return [ReleaseKey(cluster, "", row["name"]) for row in self.db.rows(sql, (cluster,))]

    def tidy(self, key: ReleaseKey, *, lease: Lease) -> None:
        """Forget an object by itself with its journal and reservations, unless something is open, or owned still."""
        with self.db.transaction():
            self.check(lease)
            self.db.execute(
                "DELETE FROM releases WHERE id = ? AND namespace = '' AND NOT EXISTS "
                "(SELECT 1 FROM journal j WHERE j.release_id = releases.id AND j.ok IS NULL) AND NOT EXISTS "
                "(SELECT 1 FROM inventory i WHERE i.release_id = releases.id)",
                (self.id_of(key),),
            )

    def _entries(self, where: str, params: tuple[Any, ...]) -> list[Entry]:
        rows = self.db.rows(
            f"SELECT j.* FROM journal j JOIN releases r ON r.id = j.release_id WHERE {where} ORDER BY j.id", params
        )
        return [_entry(row) for row in rows]

    # -- inventory ---------------------------------------------------------------------------------------------

    def inventory(self, key: ReleaseKey) -> Inventory:
        """What the release owns now; empty for an unknown release."""
        rows = self.db.rows("SELECT ref, body FROM inventory WHERE release_id = ? ORDER BY ref", (self.id_of(key),))
        from pvehelm.release.inventory import Inventory, Owned

        return Inventory({row["ref"]: Owned.from_json(json.loads(row["body"])) for row in rows})

    def put_owned(self, key: ReleaseKey, owned: Owned, *, lease: Lease) -> None:
        """Enter or replace one object in the inventory, without a call (metadata changes, `move`)."""
        with self.db.transaction():
            self.check(lease)
            self._own(self.ensure_id(key), owned)

    def forget(self, key: ReleaseKey, ref: str, *, lease: Lease) -> None:
        """Take one object out of the inventory, without a call; its VMID is free for others."""
        with self.db.transaction():
            self.check(lease)
            self._forget(self.id_of(key), ref)

    def owners(self, cluster: str, kind: str, identifier: Mapping[str, Any]) -> list[tuple[ReleaseKey, str]]:
        """Which releases own an object, and under which ref. A guest is its VMID, wherever it runs."""
        rows = self.db.rows(
            "SELECT r.cluster, r.namespace, r.name, i.ref FROM inventory i JOIN releases r ON r.id = i.release_id "
            "WHERE i.cluster = ? AND i.identity = ? ORDER BY r.namespace, r.name",
            (cluster, identity(kind, identifier)),
        )
        return [(ReleaseKey(row["cluster"], row["namespace"], row["name"]), row["ref"]) for row in rows]

    def owned(self, cluster: str) -> list[tuple[ReleaseKey, Owned]]:
        """Everything that some release of the cluster owns, by release and ref."""
        rows = self.db.rows(
            "SELECT r.cluster, r.namespace, r.name, i.body FROM inventory i JOIN releases r ON r.id = i.release_id "
            "WHERE i.cluster = ? ORDER BY r.namespace, r.name, i.ref",
            (cluster,),
        )
        from pvehelm.release.inventory import Owned

        return [
            (ReleaseKey(row["cluster"], row["namespace"], row["name"]), Owned.from_json(json.loads(row["body"])))
            for row in rows
        ]

    def _own(self, release: int, owned: Owned) -> None:
        cluster = self.db.value("SELECT cluster FROM releases WHERE id = ?", (release,))
        vmid = _vmid(owned)
        self.db.execute(
            "INSERT INTO inventory (release_id, ref, cluster, identity, vmid, body) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (release_id, ref) DO UPDATE SET identity = excluded.identity, vmid = excluded.vmid, "
            "body = excluded.body",
            (release, owned.ref, cluster, identity(owned.kind, owned.identifier), vmid, dump(owned.to_json())),
        )
        if vmid is not None:
            self.db.execute(
                "DELETE FROM reservations WHERE release_id = ? AND ref = ? AND vmid <> ?", (release, owned.ref, vmid)
            )
            self.db.execute(
                "INSERT INTO reservations (cluster, vmid, release_id, ref, created) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (cluster, vmid) DO NOTHING",
                (cluster, vmid, release, owned.ref, self.clock()),
            )

    def _forget(self, release: int, ref: str) -> None:
        self.db.execute("DELETE FROM inventory WHERE release_id = ? AND ref = ?", (release, ref))
        self.db.execute("DELETE FROM reservations WHERE release_id = ? AND ref = ?", (release, ref))

    # -- reservations ------------------------------------------------------------------------------------------

    def reserve(self, cluster: str, vmid: int, key: ReleaseKey, ref: str, *, stale: float = STALE) -> bool:
        """Claim a VMID for ``ref``; True if it is this ref's (already) or was free.

        A claim of somebody who is gone is free: older than ``stale`` seconds, no live lease on its release, nothing in
        its inventory and no intent without an outcome.
        """
        with self.db.transaction():
            release = self.ensure_id(key)
            row = self.db.row(
                "SELECT s.release_id, s.ref, s.created, r.cluster, r.namespace, r.name FROM reservations s "
                "JOIN releases r ON r.id = s.release_id WHERE s.cluster = ? AND s.vmid = ?",
                (cluster, vmid),
            )
            if row is not None and row["release_id"] == release and row["ref"] == ref:
                return True
            if row is not None:
                other = ReleaseKey(row["cluster"], row["namespace"], row["name"])
                young = row["created"] > self.clock() - stale
                # our own lease is no reason to keep what another ref of ours claimed long ago
                if young or (other != key and self.holder(other.scope) is not None) or self._in_use(row, vmid):
                    return False
            self.db.execute("DELETE FROM reservations WHERE cluster = ? AND vmid = ?", (cluster, vmid))
            self.db.execute(
                "INSERT INTO reservations (cluster, vmid, release_id, ref, created) VALUES (?, ?, ?, ?, ?)",
                (cluster, vmid, release, ref, self.clock()),
            )
            return True

    def unreserve(self, cluster: str, vmid: int) -> None:
        """Give a claim up (the server said that the VMID is taken). One that the inventory holds stays."""
        self.db.execute(
            "DELETE FROM reservations WHERE cluster = ? AND vmid = ? AND NOT EXISTS (SELECT 1 FROM inventory i WHERE "
            "i.release_id = reservations.release_id AND i.vmid = reservations.vmid)",
            (cluster, vmid),
        )

    def reserved(self, cluster: str) -> set[int]:
        """Every VMID that some release claims or owns on the cluster."""
        return {row[0] for row in self.db.rows("SELECT vmid FROM reservations WHERE cluster = ?", (cluster,))}

    def _in_use(self, row: Any, vmid: int) -> bool:
        release = row["release_id"]
        if self.db.value("SELECT 1 FROM inventory WHERE release_id = ? AND vmid = ?", (release, vmid)):
            return True
        sql = "SELECT 1 FROM journal WHERE release_id = ? AND ref = ? AND ok IS NULL"
        return self.db.value(sql, (release, row["ref"])) is not None

    def _unreserve_failed(self, release: int, ref: str) -> None:
        self.db.execute(
            "DELETE FROM reservations WHERE release_id = ? AND ref = ? AND NOT EXISTS (SELECT 1 FROM inventory i WHERE "
            "i.release_id = reservations.release_id AND i.vmid = reservations.vmid) AND NOT EXISTS (SELECT 1 FROM "
            "journal j WHERE j.release_id = reservations.release_id AND j.ref = reservations.ref AND j.ok IS NULL)",
            (release, ref),
        )

    # -- releases by number ------------------------------------------------------------------------------------

    def id_of(self, key: ReleaseKey) -> int:
        """The release's row, or -1, which no row has."""
        return int(
            self.db.value(
                "SELECT id FROM releases WHERE cluster = ? AND namespace = ? AND name = ?",
                (key.cluster, key.namespace, key.name),
            )
            or -1
        )

    def ensure_id(self, key: ReleaseKey, uid: str = "") -> int:
        """The release's row, made if there is none. A release without a revision is nowhere shown."""
        found = self.id_of(key)
        if found > 0:
            return found
        from uuid import uuid4

        with self.db.transaction():
            self.db.execute(
                "INSERT INTO releases (cluster, namespace, name, uid, created) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (cluster, namespace, name) DO NOTHING",
                (key.cluster, key.namespace, key.name, uid or str(uuid4()), self.clock()),
            )
            return self.id_of(key)

    def rename(self, key: ReleaseKey, new: ReleaseKey, *, leases: Sequence[Lease]) -> None:
        """Give a release another name, with its history, inventory, journal and secrets. Whole or not at all.

        Raises RefusedError where there is a release of that name, NotFoundError where there is none of the old one.
        """
        with self.db.transaction():
            for lease in leases:
                self.check(lease)
            release, other = self.id_of(key), self.id_of(new)
            if release < 0:
                raise NotFoundError(f"release {key} not found")
            if other > 0:
                for table in ("revisions", "inventory", "journal"):
                    if self.db.value(f"SELECT 1 FROM {table} WHERE release_id = ?", (other,)) is not None:
                        raise RefusedError(f"there is a release {new} already")
                self.db.execute("DELETE FROM releases WHERE id = ?", (other,))
            sql = "UPDATE releases SET namespace = ?, name = ? WHERE id = ?"
            self.db.execute(sql, (new.namespace, new.name, release))
            # What is noted about the release by its name goes along; what was about another one of that name is old.
            old = f":{key.cluster}/{key}"
            for row in self.db.rows("SELECT name FROM meta"):
                if not row["name"].endswith(old):
                    continue
                name = f"{row['name'].removesuffix(old)}:{new.cluster}/{new}"
                self.db.execute("DELETE FROM meta WHERE name = ?", (name,))
                self.db.execute("UPDATE meta SET name = ? WHERE name = ?", (name, row["name"]))


def dump(value: Any) -> str:
    """Compact JSON that keeps the order of keys. YAML's dates become their ISO text, as in Helm's JSON."""
    return json.dumps(value, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} can't be kept as JSON")


def _vmid(owned: Owned) -> int | None:
    from pvehelm.release.inventory import GUEST_KINDS

    return int(owned.identifier["vmid"]) if owned.kind in GUEST_KINDS and owned.identifier.get("vmid") else None


def identity(kind: str, identifier: Mapping[str, Any]) -> str:
    from pvehelm.release.inventory import GUEST_KINDS

    if kind in GUEST_KINDS and identifier.get("vmid"):
        return f"guest/{int(identifier['vmid'])}"
    return f"{kind}/{json.dumps(dict(identifier), sort_keys=True, separators=(',', ':'), default=str)}"


def _entry(row: Any) -> Entry:
    return Entry(
        id=row["id"],
        revision=row["revision"],
        seq=row["seq"],
        ref=row["ref"],
        op=row["op"],
        intent=json.loads(row["intent"]),
        upid=row["upid"],
        ok=None if row["ok"] is None else bool(row["ok"]),
        result=None if row["result"] is None else json.loads(row["result"]),
        error=row["error"],
        started=row["started"],
        finished=row["finished"],
        fence=row["fence"],
        scope=row["scope"],
    )

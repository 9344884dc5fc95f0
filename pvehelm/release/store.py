"""The release store: releases, their revisions, what they own, who works on them, and their sealed secrets.

``open_store()`` gives one. It is synchronous, quick, and imports nothing but the standard library. A step that must
happen as a whole is wrapped in ``with store.transaction():`` (no ``await`` inside).
"""

from __future__ import annotations

import builtins
import json
import os
import re
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Self

from pvehelm.errors import InvalidError, NotFoundError, RefusedError, StoreError
from pvehelm.release.database import Database
from pvehelm.release.journal import Entry, dump
from pvehelm.release.lease import Lease, is_alive, machine
from pvehelm.release.release import Release, ReleaseKey, Revision, Status
from pvehelm.release.sealing import KeySource, SealedSecrets
from pvehelm.release.trail import Trail

__all__ = ["Entry", "Lease", "Store", "open_store"]

_SUMMARY = (
    "v.number, v.status, v.chart_name, v.chart_version, v.app_version, v.chart_digest, v.chart_origin, v.description, "
    "v.labels, v.created, v.updated, v.author, v.rollback_of, v.pvehelm_version"
)
_BODIES = ("user_values", "computed_values", "manifest", "plan", "notes", "events")
CONTENTS = (*_BODIES, "archive")


class Store(SealedSecrets, Trail):
    """Everything that is kept, over one database. Methods raise StoreError where the database fails."""

    def __init__(self, db: Database, keys: KeySource, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives the times that people see; leases go by the database's own."""
        self.db = db
        self.keys = keys
        self.clock = clock

    def close(self) -> None:
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing, and seen by others only at the end; may be nested."""
        return self.db.transaction()

    # -- releases ----------------------------------------------------------------------------------------------

    def ensure(self, key: ReleaseKey, uid: str = "") -> str:
        """The release's uid; the release is made (with ``uid``, else a new one) if there is none.

        A release without a revision is shown nowhere.
        """
        return str(self.db.value("SELECT uid FROM releases WHERE id = ?", (self.ensure_id(key, uid),)))

    def uid(self, key: ReleaseKey) -> str:
        """The release's uid, or nothing where there is no such release."""
        return str(self.db.value("SELECT uid FROM releases WHERE id = ?", (self.id_of(key),)) or "")

    def find(self, key: ReleaseKey, *, bodies: bool = True) -> Release | None:
        """The release with its newest revision, or None."""
        with self.db.transaction(write=False):
            found = self._list(
                "r.cluster = ? AND r.namespace = ? AND r.name = ?", (key.cluster, key.namespace, key.name)
            )
            if not found:
                return None
            release = found[0]
            return release._replace(current=self.revision(key, release.current.number)) if bodies else release

    def get(self, key: ReleaseKey, *, bodies: bool = True) -> Release:
        """The release with its newest revision. Raises NotFoundError."""
        found = self.find(key, bodies=bodies)
        if found is None:
            elsewhere = self._list("r.cluster = ? AND r.name = ?", (key.cluster, key.name))
            namespaces = ", ".join(release.key.namespace for release in elsewhere)
            hint = f"there is one of that name in namespace {namespaces} (-n)" if namespaces else "`pvehelm list -A`"
            raise NotFoundError(f"release {key.name} not found in namespace {key.namespace}", hint=hint)
        return found

    def list(self, cluster: str | None, namespace: str | None = None) -> builtins.list[Release]:
        """Every release of a cluster (None: of all) in one namespace (None: in all), by namespace and name.

        The revisions are summaries (``complete`` is False).
        """
        wanted = [("r.cluster = ?", cluster), ("r.namespace = ?", namespace)]
        given = [(sql, value) for sql, value in wanted if value is not None]
        return self._list(" AND ".join(sql for sql, _ in given) or "1 = 1", tuple(value for _, value in given))

    def delete(self, key: ReleaseKey, *, lease: Lease | None = None) -> None:
        """Forget a release with its history and its secrets.

        Raises RefusedError while it owns something or an outcome is unknown: that would orphan objects.
        """
        with self.db.transaction():
            if lease is not None:
                self.check(lease)
            release = self.id_of(key)
            owned = self.db.value("SELECT count(*) FROM inventory WHERE release_id = ?", (release,))
            unknown = self.db.value("SELECT count(*) FROM journal WHERE release_id = ? AND ok IS NULL", (release,))
            if owned or unknown:
                raise RefusedError(
                    f"release {key} still owns {owned} objects and has {unknown} unfinished steps",
                    hint="`pvehelm uninstall` removes them, `pvehelm recover` finishes what was interrupted",
                )
            left = self._contents("release_id = ?", (release,))
            for name in self.notes_about(key):
                # What a sync has applied is the sync's: it goes on when the release is gone.
                if not name.startswith("synced:"):
                    self.db.execute("DELETE FROM meta WHERE name = ?", (name,))
            self.db.execute("DELETE FROM releases WHERE id = ?", (release,))
            self._collect(left)

    def _list(self, where: str, params: tuple[Any, ...]) -> builtins.list[Release]:
        rows = self.db.rows(
            f"SELECT r.cluster, r.namespace, r.name, r.uid, r.created AS first, {_SUMMARY}, "
            "(SELECT max(d.number) FROM revisions d WHERE d.release_id = r.id AND d.status = 'deployed') AS deployed, "
            "l.purpose, l.holder, l.machine, l.pid, l.pid_start "
            "FROM releases r JOIN revisions v ON v.release_id = r.id "
            "AND v.number = (SELECT max(m.number) FROM revisions m WHERE m.release_id = r.id) "
            "LEFT JOIN leases l ON l.scope = 'release:' || r.cluster || '/' || r.namespace || '/' || r.name "
            f"AND l.held = 1 AND l.expires > {self.db.NOW} AND EXISTS "
            "(SELECT 1 FROM journal j WHERE j.release_id = r.id AND j.scope = l.scope AND j.fence = l.fence) "
            f"WHERE {where} ORDER BY r.namespace, r.name, r.cluster",
            params,
        )
        return [_release(row) for row in rows]

    # -- revisions ---------------------------------------------------------------------------------------------

    def put_revision(
        self, key: ReleaseKey, revision: Revision, *, lease: Lease | None = None, archive: bytes | None = None
    ) -> Revision:
        """Write a revision (new, or in place of the one of that number); the revision with its times.

        The release is made if need be. A `deployed` or `uninstalled` revision supersedes the deployed one before it.
        ``archive`` is the packaged chart, kept once however many revisions use it; None keeps the one that is there.
        A revision that is worked on is stored as `failed` ("interrupted") first, so that nothing ever needs unsticking.
        """
        if not revision.status.stored:
            raise ValueError(f"{revision.status} is shown, never stored")
        if not revision.complete:
            raise ValueError("a revision's summary can't be written back; read it with its bodies")
        now = self.clock()
        revision = revision._replace(created=revision.created or now, updated=revision.updated or now)
        with self.db.transaction():
            if lease is not None:
                self.check(lease)
            release = self.ensure_id(key)
            before = self._contents("release_id = ? AND number = ?", (release, revision.number))
            row = {
                "release_id": release,
                "number": revision.number,
                "status": str(revision.status),
                "chart_name": revision.chart_name,
                "chart_version": revision.chart_version,
                "app_version": revision.app_version,
                "chart_digest": revision.chart_digest,
                "chart_origin": _clean(revision.chart_origin),
                "description": _clean(revision.description),
                "labels": dump(revision.labels),
                "created": revision.created,
                "updated": revision.updated,
                "author": _clean(revision.user),
                "rollback_of": revision.rollback_of,
                "pvehelm_version": revision.pvehelm_version,
                "user_values": self._put_blob(dump(revision.user_values).encode()),
                "computed_values": self._put_blob(dump(revision.values).encode()),
                "manifest": self._put_blob(revision.manifest.encode(errors="surrogatepass")),
                "plan": None if revision.plan is None else self._put_blob(dump(revision.plan).encode()),
                "notes": self._put_blob(revision.notes.encode(errors="surrogatepass")),
                "events": self._put_blob(dump(revision.events).encode()),
                "archive": (before[-1] if before else None) if archive is None else self._put_blob(archive),
            }
            names = list(row)
            updates = ", ".join(f"{name} = excluded.{name}" for name in names[2:])
            self.db.execute(
                f"INSERT INTO revisions ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
                f"ON CONFLICT (release_id, number) DO UPDATE SET {updates}",
                tuple(row.values()),
            )
            self._supersede(release, revision.number, revision.status)
            self._collect(digest for digest in before if digest not in row.values())
        return revision

    def revisions(self, key: ReleaseKey, *, bodies: bool = False, limit: int = 0) -> builtins.list[Revision]:
        """The history, oldest first, of the newest ``limit`` (0: all); summaries unless ``bodies``. Empty for an
        unknown release."""
        sql = f"SELECT {_SUMMARY} FROM revisions v WHERE v.release_id = ? ORDER BY v.number DESC LIMIT ?"
        with self.db.transaction(write=False):
            found = [_summary(row) for row in self.db.rows(sql, (self.id_of(key), limit or 2**31 - 1))]
            found.reverse()
            return [self.revision(key, one.number) for one in found] if bodies else found

    def revision(self, key: ReleaseKey, number: int) -> Revision:
        """One whole revision. Raises NotFoundError that lists those there are."""
        with self.db.transaction(write=False):
            row = self.db.row(
                f"SELECT {_SUMMARY}, {', '.join(f'v.{name}' for name in _BODIES)} FROM revisions v "
                "WHERE v.release_id = ? AND v.number = ?",
                (self.id_of(key), number),
            )
            if row is None:
                raise self._no_revision(key, number)
            texts = {name: self._blob(row[name]).decode(errors="surrogatepass") for name in _BODIES if row[name]}
        return _summary(row)._replace(
            user_values=json.loads(texts["user_values"]),
            values=json.loads(texts["computed_values"]),
            manifest=texts["manifest"],
            plan=json.loads(texts["plan"]) if "plan" in texts else None,
            notes=texts["notes"],
            events=json.loads(texts["events"]),
            complete=True,
        )

    def archive(self, key: ReleaseKey, number: int) -> bytes | None:
        """The packaged chart of a revision, if it was kept."""
        with self.db.transaction(write=False):
            sql = "SELECT archive FROM revisions WHERE release_id = ? AND number = ?"
            row = self.db.row(sql, (self.id_of(key), number))
            if row is None:
                raise self._no_revision(key, number)
            return self._blob(row["archive"]) if row["archive"] else None

    def prune(self, key: ReleaseKey, history_max: int, *, lease: Lease | None = None) -> builtins.list[int]:
        """Drop the oldest revisions until ``history_max`` are left (0: no limit); their numbers.

        Repairs go first, since they repeat another revision: a reconciler that tries for hours leaves the history as it
        was. The deployed one and the newest are never dropped. What was journalled for a dropped revision goes with it,
        except intents without an outcome.
        """
        if history_max <= 0:
            return []
        with self.db.transaction():
            if lease is not None:
                self.check(lease)
            release = self.id_of(key)
            sql = "SELECT number, status, plan FROM revisions WHERE release_id = ? ORDER BY number"
            rows = self.db.rows(sql, (release,))
            spare = [row for row in rows[:-1] if row["status"] != Status.deployed]
            if len(rows) > history_max:
                spare.sort(key=lambda row: not self._is_repair(row["plan"]))
            gone = [row["number"] for row in spare[: max(0, len(rows) - history_max)]]
            left: builtins.list[str | None] = []
            for number in gone:
                left += self._contents("release_id = ? AND number = ?", (release, number))
                self.db.execute("DELETE FROM revisions WHERE release_id = ? AND number = ?", (release, number))
                self.db.execute(
                    "DELETE FROM journal WHERE release_id = ? AND revision = ? AND ok IS NOT NULL", (release, number)
                )
            self._collect(left)
        return gone

    def _is_repair(self, plan: str | None) -> bool:
        """Whether a revision's plan was one of setting back; only its beginning is read."""
        packed = self.db.value("SELECT data FROM blobs WHERE digest = ?", (plan,))
        try:
            return zlib.decompressobj().decompress(packed, 64).startswith(b'{"action":"repair"')
        except (zlib.error, TypeError):
            return False

    def _supersede(self, release: int, number: int, status: Status) -> None:
        if status in (Status.deployed, Status.uninstalled):
            self.db.execute(
                "UPDATE revisions SET status = 'superseded' "
                "WHERE release_id = ? AND number <> ? AND status = 'deployed'",
                (release, number),
            )

    def _no_revision(self, key: ReleaseKey, number: int) -> NotFoundError:
        known = ", ".join(str(one.number) for one in self.revisions(key))
        hint = f"there are: {known}" if known else "`pvehelm list -A`"
        return NotFoundError(f"release {key}: it has no revision {number}", hint=hint)

    # -- blobs -------------------------------------------------------------------------------------------------

    def _put_blob(self, data: bytes) -> str:
        digest = _digest(data)
        if self.db.value("SELECT 1 FROM blobs WHERE digest = ?", (digest,)) is None:
            sql = "INSERT INTO blobs (digest, size, data) VALUES (?, ?, ?) ON CONFLICT (digest) DO NOTHING"
            self.db.execute(sql, (digest, len(data), zlib.compress(data)))
        return digest

    def _blob(self, digest: str) -> bytes:
        packed = self.db.value("SELECT data FROM blobs WHERE digest = ?", (digest,))
        try:
            data = zlib.decompress(packed)
        except (zlib.error, TypeError):
            data = None
        if data is None or digest != _digest(data):
            raise StoreError(
                f"release store {self.db.path}: content {digest} is damaged or missing",
                hint="put a copy from a backup in its place; `pvehelm store verify` shows what else is damaged",
            )
        return data

    def _collect(self, digests: Iterable[str | None]) -> None:
        """Drop those of these contents that no revision refers to any more."""
        several = set(filter(None, digests))
        if len(several) > 20:  # asking for each of them would cost more than looking through all
            self.collect()
            return
        used = " OR ".join(f"r.{name} = blobs.digest" for name in CONTENTS)
        for digest in several:
            sql = f"DELETE FROM blobs WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM revisions r WHERE {used})"
            self.db.execute(sql, (digest,))

    def collect(self) -> int:
        """Drop content that no revision refers to; how many pieces."""
        used = " UNION ".join(f"SELECT {name} FROM revisions WHERE {name} IS NOT NULL" for name in CONTENTS)
        return self.db.execute(f"DELETE FROM blobs WHERE digest NOT IN ({used})")

    def _contents(self, where: str, params: tuple[Any, ...]) -> builtins.list[str | None]:
        """The digests of everything that these revisions refer to."""
        return [
            one
            for row in self.db.rows(f"SELECT {', '.join(CONTENTS)} FROM revisions WHERE {where}", params)
            for one in tuple(row)
        ]

    # -- meta --------------------------------------------------------------------------------------------------

    def meta(self) -> Mapping[str, str]:
        """What is known about the store itself."""
        rows = self.db.rows("SELECT name, value FROM meta")
        return {"schema": str(self.db.version()), **{row["name"]: row["value"] for row in rows}}

    def set_meta(self, name: str, value: str) -> None:
        sql = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        self.db.execute(sql, (name, value))

    def notes_about(self, key: ReleaseKey) -> builtins.list[str]:
        """The names of the notes about a release among what is known, by its uid or its place (``policy:UID``,
        ``synced:CLUSTER/NAMESPACE/NAME``)."""
        whose = {self.uid(key), f"{key.cluster}/{key}"} - {""}
        return sorted(name for name in self.meta() if name.partition(":")[2] in whose)


def open_store(
    url: str = "",
    *,
    keys: KeySource | None = None,
    clock: Callable[[], float] = time.time,
    environ: Mapping[str, str] = os.environ,
    busy: float = 30.0,
    moved: bool = False,
) -> Store:
    """The store at ``sqlite:///PATH`` (always absolute; ``~`` is the home directory; ``:memory:`` keeps nothing) or
    ``postgresql://...``, by default a file in the data directory. ``busy``: seconds to wait for others.

    Raises InvalidError for a URL of another make, StoreError where it can't be opened, or was moved elsewhere and
    ``moved`` does not say that this is known.
    """
    store = Store(_database(url, environ, busy), keys or _default_keys(environ), clock)
    if not moved:
        try:
            store.stay()
        except StoreError:
            store.close()
            raise
    return store


def _database(url: str, environ: Mapping[str, str], busy: float) -> Database:
    if url.startswith(("postgresql://", "postgres://")):
        from pvehelm.release.postgres import PostgresDatabase

        return PostgresDatabase(url, busy=busy)
    from pvehelm.dirs import data_dir
    from pvehelm.release.sqlite import SqliteDatabase

    return SqliteDatabase(url_path(url) if url else os.path.join(data_dir(environ), "releases.db"), busy=busy)


def url_path(url: str) -> str:
    """The file that a store URL means; a plain path stands for itself (a single word is none)."""
    from pvehelm.config import without_password

    scheme, separator, rest = url.partition("://")
    if scheme != "sqlite" or not rest.startswith("/") if separator else not re.search(r"[/.:]", url):
        hint = "it looks like sqlite:////var/lib/pvehelm/releases.db or postgresql://USER@HOST/DATABASE"
        raise InvalidError(f"{without_password(url)}: this is no store URL", hint=hint)
    if not separator:
        return url if url == ":memory:" else os.path.abspath(os.path.expanduser(url))
    path = rest.lstrip("/")
    return path if path == ":memory:" else os.path.expanduser(path) if path.startswith("~") else f"/{path}"


def _default_keys(environ: Mapping[str, str]) -> KeySource:
    from pvehelm.dirs import data_dir

    return KeySource(os.path.join(data_dir(environ), "secrets.key"), environ)


def _clean(text: str) -> str:
    """Text that every database takes: undecodable bytes of an argument shown as `?`, no NUL."""
    return text.encode(errors="replace").decode().replace("\0", "")


def _summary(row: Any) -> Revision:
    try:
        status = Status(row["status"])
    except ValueError:
        from pvehelm import __version__

        raise StoreError(
            f"revision {row['number']} of {row['chart_name'] or 'a set'} is {row['status']!r}, which pvehelm "
            f"{__version__} does not know: pvehelm {row['pvehelm_version']} wrote it",
            hint="upgrade pvehelm; `pvehelm store verify` says which release it is",
        ) from None
    return Revision(
        number=row["number"],
        status=status,
        chart_name=row["chart_name"],
        chart_version=row["chart_version"],
        app_version=row["app_version"],
        chart_digest=row["chart_digest"],
        chart_origin=row["chart_origin"],
        description=row["description"],
        labels=json.loads(row["labels"]),
        created=row["created"],
        updated=row["updated"],
        user=row["author"],
        rollback_of=row["rollback_of"],
        pvehelm_version=row["pvehelm_version"],
        complete=False,
    )


def _release(row: Any) -> Release:
    busy = row["purpose"] and (row["machine"] != machine() or is_alive(row["pid"], row["pid_start"]))
    return Release(
        key=ReleaseKey(row["cluster"], row["namespace"], row["name"]),
        uid=row["uid"],
        current=_summary(row),
        created=row["first"],
        deployed=row["deployed"],
        working=row["purpose"] if busy else "",
        worker=row["holder"] if busy else "",
    )


def _digest(data: bytes) -> str:
    import hashlib  # 2 ms that `list` need not spend

    return f"sha256:{hashlib.sha256(data).hexdigest()}"

"""The release store: releases, their revisions, what they own, who works on them, and their sealed secrets.

``open_store()`` gives one. It is synchronous, quick, and imports nothing but the standard library. A step that must
happen as a whole is wrapped in ``with store.transaction():`` (no ``await`` inside).
"""

from __future__ import annotations

import builtins
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Self

from pvehelm.errors import InvalidError, NotFoundError, RefusedError, StoreError
from pvehelm.release.database import Database
from pvehelm.release.history import SUMMARY, History, summary
from pvehelm.release.journal import Entry
from pvehelm.release.lease import Lease, is_alive, machine
from pvehelm.release.release import Release, ReleaseKey
from pvehelm.release.sealing import KeySource, SealedSecrets
from pvehelm.release.trail import Trail

__all__ = ["Entry", "Lease", "Store", "open_store"]


class Store(History, SealedSecrets, Trail):
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
            f"SELECT r.cluster, r.namespace, r.name, r.uid, r.created AS first, {SUMMARY}, "
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


def _release(row: Any) -> Release:
    busy = row["purpose"] and (row["machine"] != machine() or is_alive(row["pid"], row["pid_start"]))
    return Release(
        key=ReleaseKey(row["cluster"], row["namespace"], row["name"]),
        uid=row["uid"],
        current=summary(row),
        created=row["first"],
        deployed=row["deployed"],
        working=row["purpose"] if busy else "",
        worker=row["holder"] if busy else "",
    )

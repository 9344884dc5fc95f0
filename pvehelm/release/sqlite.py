"""SQLite under the release store: one file beside its write-ahead log, and errors that say what to do.

A store that this user may only read is read: what would write says whose it is.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pvehelm.errors import StoreError
from pvehelm.release.database import MIGRATIONS, Database
from pvehelm.sqlitefile import belonging, connect

_inherited: list[sqlite3.Connection] = []  # of the parent process: a child that closed them would end its WAL


class SqliteDatabase(Database):
    """One SQLite file (owner-only)."""

    NOW = "((julianday('now') - 2440587.5) * 86400.0)"
    SPELLING: Mapping[str, str] = {"$id": "INTEGER PRIMARY KEY AUTOINCREMENT", "$blob": "BLOB"}

    def __init__(self, path: str, *, busy: float = 30.0, migrations: str = MIGRATIONS) -> None:
        self.path = path
        self._busy = busy
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = self._connect()
        super().__init__(path, busy=busy, migrations=migrations)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    # -- statements --------------------------------------------------------------------------------------------

    def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        with self._lock, self._explained():
            return self._live().execute(sql, params).rowcount

    def insert(self, sql: str, params: Sequence[Any] = ()) -> int:
        with self._lock, self._explained():
            return self._live().execute(sql, params).lastrowid or 0

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with self._lock, self._explained():
            return self._live().execute(sql, params).fetchall()

    def _begin(self, write: bool) -> None:
        self.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    def _commit(self) -> None:
        self.execute("COMMIT")

    def _is_open(self) -> bool:
        return self._live().in_transaction  # a full disk has rolled back already

    def compact(self) -> None:
        self.execute("VACUUM")
        self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def size(self) -> int:
        return sum(os.path.getsize(one) for one in (self.path, f"{self.path}-wal") if os.path.exists(one))

    def check(self) -> list[str]:
        found = [str(row[0]) for row in self.rows("PRAGMA integrity_check(20)")]
        return [] if found == ["ok"] else found

    # -- opening -----------------------------------------------------------------------------------------------

    def _live(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            if self._connection is not None:
                _inherited.append(self._connection)
            self._pid, self._depth, self._connection = os.getpid(), 0, self._connect()
        if self._connection is None:
            raise StoreError(f"release store {self.path}: it is closed")
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        with self._explained():
            if self.path != ":memory:" and not os.path.exists(self.path):
                self._create()
            connection = connect(self.path, wait=self._busy)
            try:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("PRAGMA synchronous = FULL")
            except BaseException:
                connection.close()
                raise
        return connection

    def _create(self) -> None:
        os.makedirs(os.path.dirname(self.path) or ".", mode=0o700, exist_ok=True)
        with suppress(FileExistsError):  # another process was faster
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

    def has_table(self, name: str) -> bool:
        return self.value("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)) is not None

    def _prepare(self) -> None:
        with self.transaction(write=False):
            if self.version() == 0 and self.value(
                "SELECT 1 FROM sqlite_master WHERE name <> 'pvehelm_migrations' AND name NOT LIKE 'sqlite_%'"
            ):
                raise StoreError(
                    f"release store {self.path}: this database belongs to another program",
                    hint="check --store and PVEHELM_STORE",
                )
        self._write_ahead()

    def _write_ahead(self) -> None:
        """Turn the write-ahead log on, once for the file's life. SQLite does not wait for other processes here."""
        deadline = time.monotonic() + self._busy
        while True:
            try:
                with self._lock:
                    self._live().execute("PRAGMA journal_mode = WAL").fetchall()
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise self._explain(error) from error
                time.sleep(0.01)
            except sqlite3.Error as error:
                raise self._explain(error) from error

    # -- errors ------------------------------------------------------------------------------------------------

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._explain(error) from error
        except OSError as error:
            what = f"it can be neither read nor made: {error.filename}: {error.strerror}"
            hint = "check the folder's permissions, or use another store (--store, PVEHELM_STORE)"
            raise StoreError(f"release store {self.path}{belonging(self.path)}: {what}", hint=hint) from error

    def _explain(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        what, hint = _MEANING.get(code, (str(error), ""))
        whose = belonging(self.path) if code in _DENIED else ""
        return StoreError(f"release store {self.path}{whose}: {what}", hint=hint)


_DENIED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)
_RESTORE = "put a copy of the file from a backup in its place; `sqlite3 FILE .recover` may save what is in it"
_MEANING: Mapping[int, tuple[str, str]] = {
    sqlite3.SQLITE_BUSY: (
        "another process has kept it locked for too long",
        "try again; if nothing else uses it, look for a hanging process with it open",
    ),
    sqlite3.SQLITE_LOCKED: ("it is locked by this process", "try again"),
    sqlite3.SQLITE_FULL: ("the disk is full; nothing of this step was written", "make room and run the command again"),
    sqlite3.SQLITE_CORRUPT: ("the file is damaged", _RESTORE),
    sqlite3.SQLITE_NOTADB: ("the file is not a pvehelm store", f"check --store and PVEHELM_STORE, or {_RESTORE}"),
    sqlite3.SQLITE_READONLY: (
        "it can be read but not written",
        "check the permissions of the file and of its folder (SQLite writes beside the file, too)",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "check that the path is a file in a folder that you may write to",
    ),
    sqlite3.SQLITE_IOERR: (
        "the disk reported an error",
        "check the disk and its free space; network file systems are no place for this file",
    ),
}

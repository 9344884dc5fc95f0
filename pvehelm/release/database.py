"""The SQLite file under the release store: opening, transactions, migrations, and errors that say what to do.

Everything that is SQLite's own way is in this module; the SQL elsewhere is portable (``?`` for parameters, ``NOW`` for
the database's clock, ``insert`` for automatic keys), so that another database is another class of this shape.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pvehelm.errors import StoreError

MIGRATIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "migrations")
_inherited: list[sqlite3.Connection] = []  # of the parent process: a child that closed them would end its WAL


class Database:
    """One SQLite file, shared with any number of other processes; usable from several threads.

    Writes are durable when they return. A transaction must not span an ``await``: coroutines of one thread would share
    it. Every method raises StoreError.
    """

    NOW = "((julianday('now') - 2440587.5) * 86400.0)"
    TYPES: Mapping[str, str] = {"$id": "INTEGER PRIMARY KEY AUTOINCREMENT", "$blob": "BLOB"}

    def __init__(self, path: str, *, busy: float = 30.0, migrations: str = MIGRATIONS) -> None:
        """``busy``: seconds to wait for another process's transaction; ``migrations``: a folder of NNNN_*.sql files."""
        self.path = path
        self._busy = busy
        self._lock = threading.RLock()
        self._depth = 0
        self._pid = os.getpid()
        self._migrations = migrations
        self._connection: sqlite3.Connection | None = self._connect()
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    # -- statements --------------------------------------------------------------------------------------------

    def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run one statement; the number of rows it changed."""
        with self._lock, self._explained():
            return self._live().execute(sql, params).rowcount

    def insert(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run one INSERT into a table with an automatic key; the key."""
        with self._lock, self._explained():
            return self._live().execute(sql, params).lastrowid or 0

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with self._lock, self._explained():
            return self._live().execute(sql, params).fetchall()

    def row(self, sql: str, params: Sequence[Any] = ()) -> sqlite3.Row | None:
        found = self.rows(sql, params)
        return found[0] if found else None

    def value(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        found = self.row(sql, params)
        return found[0] if found is not None else None

    def time(self) -> float:
        """The database's clock, unix seconds."""
        return float(self.value(f"SELECT {self.NOW}"))

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[None]:
        """All or nothing. Inside another transaction only this part is undone when it fails."""
        with self._lock:
            self._live()
            depth = self._depth
            if depth:
                begin, end, undo = f"SAVEPOINT s{depth}", f"RELEASE s{depth}", f"ROLLBACK TO s{depth}"
            else:
                begin, end, undo = "BEGIN IMMEDIATE" if write else "BEGIN", "COMMIT", "ROLLBACK"
            self.execute(begin)
            self._depth += 1
            try:
                yield
                self.execute(end)
            except BaseException:
                if self._live().in_transaction:  # a full disk has rolled back already
                    self.execute(undo)
                raise
            finally:
                self._depth -= 1

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
            connection = sqlite3.connect(
                self.path, timeout=self._busy, isolation_level=None, check_same_thread=False, cached_statements=256
            )
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

    def version(self) -> int:
        """The number of the last migration applied; 0 for an empty database."""
        if self.value("SELECT 1 FROM sqlite_master WHERE name = 'pvehelm_migrations'") is None:
            return 0
        return int(self.value("SELECT max(number) FROM pvehelm_migrations") or 0)

    def _migrate(self) -> None:
        known = {int(name[:4]): name for name in sorted(os.listdir(self._migrations)) if name.endswith(".sql")}
        latest, version = max(known, default=0), self.version()
        if version == 0 and latest:
            self._refuse_foreign()
            self._write_ahead()
        if version < latest:
            with self.transaction():
                version = self.version()  # another process may have been here first
                self.execute(
                    "CREATE TABLE IF NOT EXISTS pvehelm_migrations "
                    "(number BIGINT PRIMARY KEY, name TEXT NOT NULL, applied DOUBLE PRECISION NOT NULL)"
                )
            for number in sorted(known):
                if number > version:
                    self._apply(number, known[number])
        if version > latest:
            raise StoreError(
                f"release store {self.path}: a newer pvehelm wrote it (schema {version}, this one knows {latest})",
                hint="upgrade pvehelm, or use another store (--store, PVEHELM_STORE)",
            )

    def _refuse_foreign(self) -> None:
        with self.transaction(write=False):
            if self.version() == 0 and self.value(
                "SELECT 1 FROM sqlite_master WHERE name <> 'pvehelm_migrations' AND name NOT LIKE 'sqlite_%'"
            ):
                raise StoreError(
                    f"release store {self.path}: this database belongs to another program",
                    hint="check --store and PVEHELM_STORE",
                )

    def _apply(self, number: int, name: str) -> None:
        with open(os.path.join(self._migrations, name), encoding="utf-8") as file:
            text = file.read()
        for token, spelling in self.TYPES.items():
            text = text.replace(token, spelling)
        with self.transaction():
            if self.version() >= number:
                return
            statement = ""
            for line in text.splitlines(keepends=True):
                statement += line
                if sqlite3.complete_statement(statement):
                    self.execute(statement)
                    statement = ""
            self.execute(f"INSERT INTO pvehelm_migrations VALUES (?, ?, {self.NOW})", (number, name))

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
            hint = "check the folder's permissions, or use another store (--store, PVEHELM_STORE)"
            raise StoreError(
                f"release store {self.path}: it cannot be made: {error.filename}: {error.strerror}", hint=hint
            ) from error

    def _explain(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        what, hint = _MEANING.get(code, (str(error), ""))
        return StoreError(f"release store {self.path}: {what}", hint=hint)


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

"""The simulator's memory: JSON documents in one SQLite file that several processes may share.

Two tables: ``documents(collection, key, position, body)`` and ``settings(name, body)``. A writing request runs in
one ``BEGIN IMMEDIATE`` transaction, a reading one in a deferred transaction (a snapshot, without the write lock).
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

from pvehelm.sqlitefile import connect, is_readable_only

Document = dict[str, Any]

_TABLES = """
CREATE TABLE IF NOT EXISTS documents (
  collection TEXT NOT NULL, key TEXT NOT NULL, position INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (collection, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
"""


class Collection(MutableMapping[str, Document]):
    """Documents by key, in the order of their first insertion. Reading returns copies; assign back to write."""

    def __init__(self, state: State, name: str) -> None:
        self._state = state
        self.name = name

    def __getitem__(self, key: str) -> Document:
        rows = self._state.execute("SELECT body FROM documents WHERE collection = ? AND key = ?", (self.name, str(key)))
        if not rows:
            raise KeyError(key)
        found: Document = json.loads(rows[0][0])
        return found

    def __setitem__(self, key: str, document: Document) -> None:
        self._state.execute(
            "INSERT INTO documents (collection, key, position, body) VALUES (?, ?, "
            "(SELECT COALESCE(MAX(position), 0) + 1 FROM documents WHERE collection = ?), ?) "
            "ON CONFLICT (collection, key) DO UPDATE SET body = excluded.body",
            (self.name, str(key), self.name, json.dumps(document, ensure_ascii=False)),
        )

    def __delitem__(self, key: str) -> None:
        gone = self._state.execute(
            "DELETE FROM documents WHERE collection = ? AND key = ? RETURNING key", (self.name, str(key))
        )
        if not gone:
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return bool(
            self._state.execute("SELECT 1 FROM documents WHERE collection = ? AND key = ?", (self.name, str(key)))
        )

    def __iter__(self) -> Iterator[str]:
        rows = self._state.execute("SELECT key FROM documents WHERE collection = ? ORDER BY position", (self.name,))
        return iter([str(row[0]) for row in rows])

    def __len__(self) -> int:
        [(count,)] = self._state.execute("SELECT COUNT(*) FROM documents WHERE collection = ?", (self.name,))
        return int(count)

    def items(self) -> Any:
        """Every (key, document) in one query."""
        rows = self._state.execute(
            "SELECT key, body FROM documents WHERE collection = ? ORDER BY position", (self.name,)
        )
        return [(str(key), json.loads(body)) for key, body in rows]

    def values(self) -> Any:
        """Every document in one query."""
        return [document for _, document in self.items()]

    def clear(self) -> None:
        self._state.execute("DELETE FROM documents WHERE collection = ?", (self.name,))


class State:
    """One simulated cluster. ``path`` is a file or ``:memory:``; ``base`` counts only when the state is new.

    ``wait`` is how long (seconds) to wait for another process's write lock.
    """

    def __init__(self, path: str | Path = ":memory:", *, base: str = "default", wait: float = 60.0) -> None:
        self.path = str(path)
        if self.path != ":memory:":
            os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True, mode=0o700)
            # Users, tickets and tokens are in it, simulated ones or not. A file that exists is not opened: closing it
            # again would end the locks that another state of this process holds on it.
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        self.lock = threading.RLock()
        self._connection = connect(self.path, wait=wait)
        # Whoever forgets a state has closed it.
        self._end = weakref.finalize(self, self._connection.close)
        if self.path != ":memory:" and not is_readable_only(self.path):
            self._use_wal(wait)
        self._collections: dict[str, Collection] = {}
        if not self._ready():
            with self.transaction():
                for statement in _TABLES.split(";"):
                    if statement.strip():
                        self.execute(statement)
                if self.value("cluster", None) is None:
                    self._fill(base)

    def _use_wal(self, wait: float) -> None:
        # Changing the journal mode ignores the busy timeout when several processes open a new file at once.
        end = time.monotonic() + wait
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL").fetchone()
                self._connection.execute("PRAGMA synchronous = NORMAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def _ready(self) -> bool:
        try:
            return self.value("cluster", None) is not None
        except sqlite3.OperationalError:
            return False

    def _fill(self, base: str) -> None:
        import uuid

        from pvehelm.simulator.bases import fill

        self.execute("DELETE FROM documents")
        self.execute("DELETE FROM settings")
        self.set_value("base", base)
        self.set_value("cluster", str(uuid.uuid4()))
        fill(self, base)

    # -- transactions ------------------------------------------------------------------------------------------

    def execute(self, sql: str, args: tuple[Any, ...] = ()) -> list[Any]:
        """The rows of one statement; inside a transaction when one is open, else committed at once.

        Requests are answered in several threads, which share the connection.
        """
        with self.lock:
            return self._connection.execute(sql, args).fetchall()

    def begin(self, write: bool = True) -> None:
        """Open a transaction; a writing one waits for the write lock of all processes."""
        self.lock.acquire()
        try:
            self.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        except BaseException:
            self.lock.release()
            raise

    def commit(self) -> None:
        try:
            self.execute("COMMIT")
        finally:
            self.lock.release()

    def rollback(self) -> None:
        try:
            self.execute("ROLLBACK")
        finally:
            self.lock.release()

    @contextmanager
    def transaction(self, write: bool = True) -> Iterator[None]:
        """Commit at the end, roll back on any error."""
        self.begin(write)
        try:
            yield
        except BaseException:
            self.rollback()
            raise
        self.commit()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of a transaction that is undone on its own when it raises."""
        self.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK TO part")
            self.execute("RELEASE part")
            raise
        self.execute("RELEASE part")

    # -- contents ----------------------------------------------------------------------------------------------

    def collection(self, name: str) -> Collection:
        """The documents called ``name``; made by the first write."""
        if name not in self._collections:
            self._collections[name] = Collection(self, name)
        return self._collections[name]

    def value(self, name: str, default: Any = None) -> Any:
        """A single setting."""
        rows = self.execute("SELECT body FROM settings WHERE name = ?", (name,))
        return json.loads(rows[0][0]) if rows else default

    def set_value(self, name: str, value: Any) -> None:
        self.execute(
            "INSERT INTO settings (name, body) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
            (name, json.dumps(value, ensure_ascii=False)),
        )

    def count(self, name: str) -> int:
        """The next number of a counter, from 1."""
        number = int(self.value(f"counter:{name}", 0)) + 1
        self.set_value(f"counter:{name}", number)
        return number

    @property
    def cluster_id(self) -> str:
        """Who this cluster is; renewed by ``reset``."""
        return str(self.value("cluster"))

    @property
    def base(self) -> str:
        return str(self.value("base"))

    def reset(self, base: str | None = None) -> None:
        """Forget everything and start anew from ``base`` (the current one when None), as another cluster."""
        with self.transaction():
            self._fill(base or self.base)

    def close(self) -> None:
        self._end()

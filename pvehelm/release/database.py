"""The database under the release store: transactions and migrations, whatever database it is.

The SQL of the store is portable: ``?`` for parameters, ``NOW`` for the database's clock, ``insert`` for automatic keys,
``$id`` and the like in migrations. What is one database's own way is in ``sqlite`` and ``postgres``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pvehelm.errors import StoreError

MIGRATIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "migrations")


class Database:
    """One database, shared with any number of other processes; usable from several threads, and after a fork.

    Writes are durable when they return. One transaction that writes runs at a time: what it has read stays true until
    its end. It must not span an ``await``: coroutines of one thread would share it. Every method raises StoreError.
    """

    # The database's clock, unix seconds; what migrations spell otherwise here.
    NOW: str
    SPELLING: Mapping[str, str]

    def __init__(self, path: str, *, busy: float = 30.0, migrations: str = MIGRATIONS) -> None:
        """``path`` names it in messages; ``busy``: seconds to wait for another process's transaction;
        ``migrations``: a folder of NNNN_*.sql files."""
        self.path = path
        self._busy = busy
        self._lock = threading.RLock()
        self._depth = 0
        self._migrations = migrations
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        raise NotImplementedError

    # -- statements --------------------------------------------------------------------------------------------

    def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run one statement; the number of rows it changed.

        Outside a transaction it may run twice if the connection breaks, so it must come to the same then.
        """
        raise NotImplementedError

    def insert(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run one INSERT into a table with an automatic key; the key."""
        raise NotImplementedError

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[Any]:
        """The rows, each to be asked by column or by number."""
        raise NotImplementedError

    def row(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """The first row, or None."""
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
        """All or nothing. Inside another transaction only this part is undone when it fails.

        Without ``write`` everything is read as it was at one moment.
        """
        with self._lock:
            depth = self._depth
            if depth:
                self.execute(f"SAVEPOINT s{depth}")
            else:
                self._begin(write)
            self._depth += 1
            try:
                yield
                if depth:
                    self.execute(f"RELEASE s{depth}")
                else:
                    self._commit()
            except BaseException:
                if self._is_open():
                    self.execute(f"ROLLBACK TO s{depth}" if depth else "ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def _begin(self, write: bool) -> None:
        raise NotImplementedError

    def _commit(self) -> None:
        raise NotImplementedError

    def _is_open(self) -> bool:
        """Whether a transaction is under way still; a database that fails may have ended it."""
        raise NotImplementedError

    def compact(self) -> None:
        """Give room back that nothing uses any more."""

    def size(self) -> int:
        """How many bytes the store takes up."""
        raise NotImplementedError

    def check(self) -> list[str]:
        """What the database itself finds wrong with its file."""
        return []

    # -- migrations --------------------------------------------------------------------------------------------

    def has_table(self, name: str) -> bool:
        raise NotImplementedError

    def version(self) -> int:
        """The number of the last migration applied; 0 for an empty database."""
        if not self.has_table("pvehelm_migrations"):
            return 0
        return int(self.value("SELECT max(number) FROM pvehelm_migrations") or 0)

    def _migrate(self) -> None:
        known = {int(name[:4]): name for name in sorted(os.listdir(self._migrations)) if name.endswith(".sql")}
        latest, version = max(known, default=0), self.version()
        if version == 0 and latest:
            self._prepare()
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

    def _prepare(self) -> None:
        """Before the first migration. Raises StoreError where the database belongs to another program."""

    def _apply(self, number: int, name: str) -> None:
        from sqlite3 import complete_statement

        with open(os.path.join(self._migrations, name), encoding="utf-8") as file:
            text = file.read()
        for token, spelling in self.SPELLING.items():
            text = text.replace(token, spelling)
        with self.transaction():
            if self.version() >= number:
                return
            statement = ""
            for line in text.splitlines(keepends=True):
                statement += line
                if complete_statement(statement):
                    self.execute(statement)
                    statement = ""
            self.execute(f"INSERT INTO pvehelm_migrations VALUES (?, ?, {self.NOW})", (number, name))

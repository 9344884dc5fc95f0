"""Migrations: numbered, each whole or not at all, once each even if many processes open the store at once."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pvehelm.errors import StoreError
from pvehelm.release.database import MIGRATIONS
from pvehelm.release.sqlite import SqliteDatabase as Database
from pvehelm.release.store import open_store
from tests.release.workers import crowd


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_first.sql").write_text(
        "-- a comment; with a semicolon\nCREATE TABLE a (id $id, data $blob);\n\nINSERT INTO a (data) VALUES ('x;y');\n"
    )
    return folder


def test_in_order_and_once(folder: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    first = Database(path, migrations=str(folder))
    assert first.version() == 1
    first.close()
    (folder / "0003_third.sql").write_text("UPDATE a SET b = b || '3';\n")
    (folder / "0002_second.sql").write_text("ALTER TABLE a ADD COLUMN b TEXT;\nUPDATE a SET b = '2';\n")
    (folder / "README").write_text("not a migration")
    for _ in range(2):
        second = Database(path, migrations=str(folder))
        assert second.version() == 3
        assert second.value("SELECT b FROM a") == "23"
        rows = second.rows("SELECT * FROM pvehelm_migrations ORDER BY number")
        assert [(row["number"], row["name"]) for row in rows] == [
            (1, "0001_first.sql"),
            (2, "0002_second.sql"),
            (3, "0003_third.sql"),
        ]
        assert abs(rows[0]["applied"] - second.time()) < 3600
        second.close()


def test_whole_or_not_at_all(folder: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    bad = folder / "0002_bad.sql"
    bad.write_text("CREATE TABLE b (id $id);\nINSERT INTO nowhere VALUES (1);\n")
    with pytest.raises(StoreError, match="nowhere"):
        Database(path, migrations=str(folder))
    connection = sqlite3.connect(path)
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert "a" in names
    assert "b" not in names
    bad.write_text("CREATE TABLE b (id $id);\n")
    repaired = Database(path, migrations=str(folder))
    assert repaired.version() == 2
    repaired.close()


def test_an_empty_file_is_a_new_store(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.touch()
    database = Database(str(path), migrations=str(folder))
    assert database.version() == 1
    database.close()


def test_many_open_a_new_store_at_once(url: str) -> None:
    crowd("releases", url, 12 if url.startswith("sqlite") else 6, "#", 1)


def test_write_ahead_log_and_durable_commits(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        assert store.db.value("PRAGMA journal_mode") == "wal"
        assert store.db.value("PRAGMA synchronous") == 2
        assert store.db.value("PRAGMA foreign_keys") == 1
        assert store.meta()["schema"] == str(store.db.version())


def test_shipped_migrations_are_numbered_without_gaps() -> None:
    names = sorted(path.name for path in Path(MIGRATIONS).glob("*.sql"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_shipped_sql_is_portable() -> None:
    for path in Path(MIGRATIONS).glob("*.sql"):
        text = path.read_text().upper().replace("$BLOB", "")
        for word in ("AUTOINCREMENT", "BLOB ", "WITHOUT ROWID", "STRICT", "JULIANDAY", "PRAGMA"):
            assert word not in text, f"{path.name}: {word} belongs to one database only"

"""A store in a folder that may only be read, its own user's or somebody else's: what only reads, works."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvehelm.release.store import open_store
from pvehelm.sqlitefile import read_only
from tests.release.charts import VM
from tests.release.lab import Lab

# root is allowed everything: in this process it gives that up, as capset(2) has it.
WEAK = """
import ctypes, os, struct, sys
if os.geteuid() == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capset(struct.pack("Ii", 0x20080522, 0), struct.pack("6I", *[0] * 6)) == 0
from pvehelm.faces.cli.app import main
sys.exit(main(sys.argv[1:]))
"""
READS = (
    ("list", "-A", "-o", "json"),
    ("status", "web"),
    ("history", "web"),
    ("get", "all", "web"),
    ("audit",),
    ("store", "verify"),
)


def weak(*args: str) -> subprocess.CompletedProcess[str]:
    """The command line, by somebody who may do what the files' modes say."""
    return subprocess.run([sys.executable, "-c", WEAK, *args], capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def shut(lab: Lab) -> Iterator[Path]:
    """A data directory with a release, which may only be read."""
    lab.run("install", "web", lab.chart(VM))
    lab.close()
    assert not list(lab.data.glob("*-wal"))
    yield shut_off(lab.data)
    lab.data.chmod(0o700)
    for file in lab.data.iterdir():
        file.chmod(0o600)
    lab.open()


def shut_off(folder: Path) -> Path:
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    return folder


@pytest.mark.parametrize("args", READS, ids=" ".join)
def test_reading(shut: Path, args: tuple[str, ...]) -> None:
    before = sorted(file.name for file in shut.iterdir())
    read = weak(*args)
    assert read.returncode == 0, read
    assert read.stdout
    assert sorted(file.name for file in shut.iterdir()) == before


def test_writing_is_refused_in_words(lab: Lab, shut: Path) -> None:
    refused = weak("upgrade", "web", str(lab.folder / "charts" / "app"), "--set", "x=1")
    assert refused.returncode == 1
    assert f"release store {shut}/releases.db: it can be read but not written" in refused.stderr
    assert "permissions" in refused.stderr


def test_what_is_written_meanwhile_is_read(lab: Lab) -> None:
    """Its owner is at work: the newest part is not in the file yet."""
    lab.run("install", "web", lab.chart(VM))
    with open_store() as store:
        store.db.execute("UPDATE revisions SET description = 'just now'")
        shut_off(lab.data)
        try:
            assert "just now" in weak("history", "web").stdout
            (lab.data / "releases.db-wal").chmod(0)
            refused = weak("history", "web")
            assert refused.returncode == 1
            assert "releases.db: it cannot be opened" in refused.stderr
        finally:
            lab.data.chmod(0o700)
            for file in lab.data.iterdir():
                file.chmod(0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_whose_it_is_is_said(lab: Lab, shut: Path) -> None:
    for file in (shut, *shut.iterdir()):
        os.chown(file, 65534, -1)
    assert weak("list", "-q").stdout == "web\n"
    assert "releases.db, which belongs to " in weak("uninstall", "web", "--yes").stderr
    shut.chmod(0o700)
    assert "can be neither read nor made" in weak("list").stderr
    for file in (shut, *shut.iterdir()):
        os.chown(file, 0, -1)


def test_a_name_is_no_address(tmp_path: Path) -> None:
    """Signs that mean something in SQLite's addresses are part of the name."""
    path = tmp_path / "a?mode=rwc#%41.db"
    with open_store(str(path)) as store:
        assert store.list(None) == []
    connection = read_only(str(path), wait=1)
    assert connection.execute("SELECT count(*) FROM releases").fetchone() == (0,)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM releases")
    connection.close()

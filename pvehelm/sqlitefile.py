"""A file of SQLite's, opened as far as its permissions go: one that may only be read is read, and nothing written."""

from __future__ import annotations

import os
import sqlite3


def is_readable_only(path: str) -> bool:
    """Whether somebody else's file, or one of a file system that is mounted for reading: SQLite needs to write beside
    it even to read, unless it is told."""
    if not os.path.exists(path):
        return False
    beside = os.access(os.path.dirname(path) or ".", os.W_OK) or os.path.exists(f"{path}-wal")
    return not (os.access(path, os.W_OK) and beside)


def connect(path: str, *, wait: float) -> sqlite3.Connection:
    """A connection for all threads, without transactions of its own, that waits so many seconds for others.

    What ``is_readable_only`` is opened for that. Raises sqlite3.Error.
    """
    return read_only(path, wait=wait) if path != ":memory:" and is_readable_only(path) else _opened(path, wait)


def read_only(path: str, *, wait: float) -> sqlite3.Connection:
    """As ``connect``, and nothing is written, not even beside the file."""
    from urllib.parse import quote

    uri = f"file:{quote(os.path.abspath(path))}?mode=ro"
    connection = _opened(uri, wait)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        return connection
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
        if os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal"):
            raise  # the newest part is in there, and may not be read
    # Nobody has it open: all of it is in the file.
    return _opened(f"{uri}&immutable=1", wait)


def _opened(address: str, wait: float) -> sqlite3.Connection:
    return sqlite3.connect(
        address,
        timeout=wait,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        uri=address.startswith("file:"),
    )


def belonging(path: str) -> str:
    """``, which belongs to NAME`` where a file or the folder around it is somebody else's, else nothing."""
    try:
        import pwd
    except ImportError:
        return ""  # where files belong to nobody that a number names
    for place in (path, os.path.dirname(path) or "."):
        try:
            owner = os.stat(place).st_uid
        except OSError:
            continue
        if owner == os.geteuid():
            continue
        try:
            return f", which belongs to {pwd.getpwuid(owner).pw_name}"
        except KeyError:
            return f", which belongs to user {owner}"
    return ""

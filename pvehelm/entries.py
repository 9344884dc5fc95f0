"""Entries: what can be worked out again, kept in small files of the user's cache directory.

An entry is named by a digest of everything that its content follows from. Entries that were cut or changed are ignored,
and so is a directory that others may write to; a cache that cannot be written is no error.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterable
from typing import Any

from pvehelm import __version__
from pvehelm.dirs import cache_dir

try:
    # hashlib would load OpenSSL, which takes longer than everything else here.
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

_KEEP = 200
_DIGEST = 32


def directory(name: str) -> str | None:
    """Where entries of one sort are kept; None when there is no directory that is ours alone."""
    place = os.path.join(cache_dir(), name)
    try:
        if not os.path.isdir(place):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(place, 0o700)
        found = os.lstat(place)
    except OSError:
        return None
    if not stat.S_ISDIR(found.st_mode):
        return None
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o077):
        return None
    return place


def name_of(parts: Iterable[bytes], files: Iterable[str] = ()) -> str:
    """The name of the entry that follows from ``parts`` and from these ``files``, code for the most part.

    Files count by their size and time: a newer release works differently, and while it is being developed its version
    alone would not tell.
    """
    found = blake2b(f"{__version__}\0".encode(), digest_size=_DIGEST)
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    with contextlib.suppress(OSError):
        for file in files:
            about = os.stat(file)
            found.update(f"{file}\0{about.st_size} {about.st_mtime_ns}\0".encode())
    return found.hexdigest()


def load(place: str | None, name: str) -> bytes:
    """The entry ``name``, or nothing."""
    if place is None:
        return b""
    path = os.path.join(place, f"{name}.bin")
    try:
        with open(path, "rb") as file:
            data = file.read()
        body = data[_DIGEST:]
        if _seal(body) != data[:_DIGEST]:
            return b""
        os.utime(path)
    except OSError:
        return b""
    return body


def save(place: str | None, name: str, body: bytes) -> None:
    """Stores an entry, whole or not at all."""
    if place is None or not body:
        return
    with contextlib.suppress(OSError):
        temporary = os.path.join(place, f".new-{os.getpid()}-{os.urandom(6).hex()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(temporary, flags, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_seal(body) + body)
            os.replace(temporary, os.path.join(place, f"{name}.bin"))
        except BaseException:
            os.unlink(temporary)
            raise
        _prune(place)


def remembered(place: str | None, name: str, make: Callable[[], Any]) -> Any:
    """``make()``, JSON-able data, or what it was when there was no such entry."""
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(load(place, name))
    made = make()
    save(place, name, json.dumps(made).encode())
    return made


def _seal(body: bytes) -> bytes:
    return blake2b(body, digest_size=_DIGEST).digest()


def _prune(place: str) -> None:
    entries = [entry for entry in os.scandir(place) if entry.name.endswith(".bin")]
    if len(entries) > _KEEP:
        entries.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
    for entry in entries[_KEEP:]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(entry.path)

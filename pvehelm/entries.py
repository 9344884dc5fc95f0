"""Entries: what can be worked out again, kept in files of the user's cache directory.

An entry is named by a digest of everything that its content follows from. Entries that were cut or changed are ignored,
and so are files and directories that others may write to; a cache that cannot be written is no error.
"""

from __future__ import annotations

import os
import stat
import time

from pvehelm import __version__
from pvehelm.dirs import cache_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    # It is what a process begins with: the rest is imported by who needs it.
    from collections.abc import Callable, Iterable
    from importlib.machinery import ModuleSpec
    from typing import Any

_KEEP = 200
#: So many bytes of an entry's file are its seal, before its body.
SEAL = 32
#: Seconds for which an entry that was used counts as just used.
_FRESH = 3600


def directory(name: str) -> str | None:
    """Where entries of one sort are kept; None when there is no directory that is ours alone."""
    place = os.path.join(cache_dir(), name)
    try:
        if not os.path.isdir(place):
            import contextlib

            os.makedirs(os.path.dirname(place), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(place, 0o700)
        found = os.lstat(place)
    except OSError:
        return None
    if not stat.S_ISDIR(found.st_mode):
        return None
    if hasattr(os, "geteuid") and (found.st_uid != os.geteuid() or found.st_mode & 0o077):
        return None
    return place


def name_of(parts: Iterable[bytes], files: Iterable[str] = ()) -> str:
    """The name of the entry that follows from ``parts`` and from these ``files``, code for the most part.

    Files count by their size and time: a newer release works differently, and while it is being developed its version
    alone would not tell.
    """
    import contextlib

    found = _digest(f"{__version__}\0".encode())
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    with contextlib.suppress(OSError):
        for file in files:
            about = os.stat(file)
            found.update(f"{file}\0{about.st_size} {about.st_mtime_ns}\0".encode())
    return str(found.hexdigest())


def spec_of(package: str) -> ModuleSpec | None:
    """Where the files of a package are, without importing it."""
    from importlib.machinery import PathFinder

    if (found := PathFinder.find_spec(package)) is not None:
        return found
    from importlib.util import find_spec

    return find_spec(package)


def opened(place: str | None, name: str) -> int:
    """A descriptor of the file of entry ``name``, whose body comes after ``SEAL`` bytes.

    Raises OSError where there is none, or one that somebody else could have written: some entries are code.
    """
    if place is None:
        raise FileNotFoundError(name)
    path = os.path.join(place, f"{name}.bin")
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    about = os.fstat(descriptor)
    if hasattr(os, "geteuid") and (about.st_uid not in (os.geteuid(), 0) or about.st_mode & 0o022):
        os.close(descriptor)
        raise PermissionError(path)
    if time.time() - about.st_mtime > _FRESH:
        try:
            os.utime(path)
        except OSError:
            return descriptor  # it will be the first to go
    return descriptor


def load(place: str | None, name: str) -> bytes:
    """The body of entry ``name``, or nothing."""
    try:
        with open(opened(place, name), "rb") as file:
            data = file.read()
    except OSError:
        return b""
    body = data[SEAL:]
    return body if _digest(body).digest() == data[:SEAL] else b""


def save(place: str | None, name: str, body: bytes, keep: int = _KEEP) -> None:
    """Stores an entry, whole or not at all; of all in ``place``, the ``keep`` last used ones stay."""
    import contextlib

    if place is None or not body:
        return
    with contextlib.suppress(OSError):
        temporary = os.path.join(place, f".new-{os.getpid()}-{os.urandom(6).hex()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(temporary, flags, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_digest(body).digest() + body)
            os.replace(temporary, os.path.join(place, f"{name}.bin"))
        except BaseException:
            os.unlink(temporary)
            raise
        _prune(place, keep)


def remembered(place: str | None, name: str, make: Callable[[], Any]) -> Any:
    """``make()``, JSON-able data, or what it was when there was no such entry."""
    import contextlib
    import json

    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(load(place, name))
    made = make()
    save(place, name, json.dumps(made).encode())
    return made


def _digest(data: bytes) -> Any:
    try:
        # hashlib would load OpenSSL, which takes longer than everything else here.
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b
    return blake2b(data, digest_size=SEAL)


def _prune(place: str, keep: int) -> None:
    entries = [entry for entry in os.scandir(place) if entry.name.endswith(".bin")]
    if len(entries) > keep:
        entries.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
    for entry in entries[keep:]:
        try:
            os.unlink(entry.path)
        except FileNotFoundError:
            continue

"""The cache of compiled templates: one file a chart, named by everything its contents depend on.

Compiled code is only ever loaded in the sandbox, and a chart can fill no other entry than its own. Entries that were
cut or changed are ignored, and so is a directory that others may write to.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Mapping

from pvehelm import __version__
from pvehelm.chart import dialects

try:
    # hashlib would load OpenSSL, which takes longer than everything else here.
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

_KEEP = 200
_DIGEST = 32


def directory() -> str | None:
    """Where entries are kept; None when there is no directory that is ours alone."""
    from pvehelm.dirs import cache_dir

    place = os.path.join(cache_dir(), "templates")
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


def key(sources: Mapping[str, str], dialect: str = "jinja2") -> str:
    """The name of the entry for templates of a dialect: their names and texts, and what compiles them."""
    found = blake2b(_compiler(dialect), digest_size=_DIGEST)
    for name in sorted(sources):
        for text in (name, sources[name]):
            data = text.encode("utf-8", "surrogatepass")
            found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()


@functools.cache
def _compiler(dialect: str) -> bytes:
    """What compiles templates of a dialect, in a digest."""
    import importlib.util

    found = blake2b(f"{dialect} {__version__}\0".encode() + importlib.util.MAGIC_NUMBER, digest_size=_DIGEST)
    # A newer release compiles differently; its version alone would not tell while it is being developed.
    with contextlib.suppress(OSError):
        for file in dialects.sources(dialect):
            about = os.stat(file)
            found.update(f"{file}\0{about.st_size} {about.st_mtime_ns}\0".encode())
    return found.digest()


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
    """Stores an entry, whole or not at all; a cache that cannot be written is no error."""
    if place is None or not body:
        return
    with contextlib.suppress(OSError):
        import tempfile

        # mkstemp makes the file readable for its owner only.
        descriptor, temporary = tempfile.mkstemp(dir=place, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_seal(body) + body)
            os.replace(temporary, os.path.join(place, f"{name}.bin"))
        except BaseException:
            os.unlink(temporary)
            raise
        _prune(place)


def _seal(body: bytes) -> bytes:
    return blake2b(body, digest_size=_DIGEST).digest()


def _prune(place: str) -> None:
    entries = [entry for entry in os.scandir(place) if entry.name.endswith(".bin")]
    if len(entries) > _KEEP:
        entries.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
    for entry in entries[_KEEP:]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(entry.path)

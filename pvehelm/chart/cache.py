"""The cache of compiled templates: one file a chart, named by everything its contents depend on.

Compiled code is only ever loaded in the sandbox, and a chart can fill no other entry than its own. Entries that were
cut or changed are ignored, and so is a directory that others may write to.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from pvehelm import __version__
from pvehelm.chart import dialects

_KEEP = 200
_DIGEST = 32


def directory() -> Path | None:
    """Where entries are kept; None when there is no directory that is ours alone."""
    from pvehelm.dirs import cache_dir

    place = Path(cache_dir()) / "templates"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(found.st_mode):
        return None
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o077):
        return None
    return place


def key(sources: Mapping[str, str], dialect: str = "jinja2") -> str:
    """The name of the entry for templates of a dialect: their names and texts, and what compiles them."""
    found = hashlib.sha256(_compiler(dialect))
    for name in sorted(sources):
        for text in (name, sources[name]):
            data = text.encode("utf-8", "surrogatepass")
            found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()


@functools.cache
def _compiler(dialect: str) -> bytes:
    """What compiles templates of a dialect, in a digest."""
    found = hashlib.sha256(f"{dialect} {__version__}\0".encode() + importlib.util.MAGIC_NUMBER)
    # A newer release compiles differently; its version alone would not tell while it is being developed.
    with contextlib.suppress(OSError):
        for file in dialects.sources(dialect):
            with open(file, "rb") as source:
                found.update(hashlib.sha256(source.read()).digest())
    return found.digest()


def load(place: Path | None, name: str) -> bytes:
    """The entry ``name``, or nothing."""
    if place is None:
        return b""
    path = place / f"{name}.bin"
    try:
        data = path.read_bytes()
        body = data[_DIGEST:]
        if hashlib.sha256(body).digest() != data[:_DIGEST]:
            return b""
        os.utime(path)
    except OSError:
        return b""
    return body


def save(place: Path | None, name: str, body: bytes) -> None:
    """Stores an entry, whole or not at all; a cache that cannot be written is no error."""
    if place is None or not body:
        return
    with contextlib.suppress(OSError):
        import tempfile

        # mkstemp makes the file readable for its owner only.
        descriptor, temporary = tempfile.mkstemp(dir=place, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(body).digest() + body)
            os.replace(temporary, place / f"{name}.bin")
        except BaseException:
            os.unlink(temporary)
            raise
        _prune(place)


def _prune(place: Path) -> None:
    entries = list(place.glob("*.bin"))
    if len(entries) > _KEEP:
        entries.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in entries[_KEEP:]:
        path.unlink(missing_ok=True)

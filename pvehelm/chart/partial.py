"""The partial: what came of a download that was cut short, kept in the cache for whoever asks for the same again.

One file an address: what the server knows that content by (its ETag or date), a line break, and the bytes so far. It is
written while they come, so that a killed process leaves it, and one process at a time has it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

from pvehelm.dirs import cache_dir

#: Bytes that come before anything is written: most packages are smaller, and their download is never resumed.
LEAST = 1 << 18
_STEP = 1 << 16
_DAYS = 7
_LONGEST_MARK = 500


class Partial:
    """The bytes of one address that are here already: ``body``, and ``mark``, by which the server knows its content.

    A cache that cannot be written keeps nothing, and of two processes that fetch the same the second begins anew.
    """

    def __init__(self, url: str) -> None:
        self.place = _folder() / (hashlib.sha256(url.encode()).hexdigest() + ".part")
        self.mark = ""
        self.body = b""
        self._handle: int | None = None
        self._waiting = bytearray()
        if self.place.exists() and self._held():
            self._read()

    def begin(self, mark: str) -> None:
        """What comes now is the whole, by this mark; without one nothing of it is kept."""
        self.mark = mark if mark.isascii() and mark.isprintable() and len(mark) <= _LONGEST_MARK else ""
        self._waiting.clear()
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, 0)
                os.lseek(self._handle, 0, os.SEEK_SET)
        self._waiting += f"{self.mark}\n".encode()

    def more(self, piece: bytes) -> None:
        """The next bytes."""
        if not self.mark:
            return
        self._waiting += piece
        if len(self._waiting) >= (_STEP if self._handle is not None else LEAST):
            self._flush()

    def close(self, *, done: bool) -> None:
        """Keep what there is; once all of it is there (``done``) nothing is kept."""
        if not done and self._handle is not None:
            self._flush()
        if self._handle is not None:
            with contextlib.suppress(OSError):
                if done or not self.mark:
                    self.place.unlink(missing_ok=True)
                os.close(self._handle)
            self._handle = None

    def _flush(self) -> None:
        if not self.mark:
            return
        try:
            if self._handle is None:
                if not self._held():
                    self.mark = ""
                    return
                os.ftruncate(self._file(), 0)
            waiting = memoryview(bytes(self._waiting))
            while waiting:
                waiting = waiting[os.write(self._file(), waiting) :]
        except OSError:
            # Half of it may be there: nothing of it counts.
            self.mark = ""
        self._waiting.clear()

    def _held(self) -> bool:
        """Whether the file is this process' alone."""
        import fcntl

        try:
            self.place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _prune(self.place.parent)
            handle = os.open(self.place, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    def _file(self) -> int:
        assert self._handle is not None
        return self._handle

    def _read(self) -> None:
        with open(self._file(), "rb", closefd=False) as file:
            mark, line, body = file.read().partition(b"\n")
        if line and mark and body:
            self.mark, self.body = mark.decode("ascii", "replace"), body


def _prune(folder: Path) -> None:
    """Remove what nobody has asked for in a week."""
    for entry in os.scandir(folder):
        if entry.name.endswith(".part") and entry.stat().st_mtime < time.time() - _DAYS * 86400:
            os.unlink(entry.path)


def _folder() -> Path:
    return Path(cache_dir()) / "partial"

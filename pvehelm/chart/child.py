"""The child: a process forked from this one, and the two pipes to it.

A program starts its first one before anything else (``spare``), and so this imports nothing that costs time.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

#: Seconds that a child which says no more has to end.
_FAREWELL = 10.0


class Child:
    """A child process of this one: its process id, and where to read from it and write to it."""

    def __init__(self, pid: int, read_end: int, write_end: int) -> None:
        self.pid, self.read_end, self.write_end = pid, read_end, write_end

    def status(self) -> int | None:
        """How it ended (``os.waitpid``), if that is known; one that has closed its pipe and goes on is ended."""
        return ended(self.pid, _FAREWELL)

    def end(self) -> None:
        """Kills it."""
        try:
            os.kill(self.pid, _KILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            return  # it has ended, and was asked after

    def abandon(self) -> None:
        """Lets go of it: it is another process's, or at its end."""
        for descriptor in (self.read_end, self.write_end):
            try:
                os.close(descriptor)
            except OSError:
                continue


def ended(pid: int, seconds: float) -> int:
    """How a child of this process ended; after some seconds it is killed."""
    until = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        if time.monotonic() > until:
            os.kill(pid, _KILL)
        time.sleep(0.002)


def forked(main: Callable[[int, int], NoReturn]) -> Child:
    """A child that does ``main(read, write)``. Raises OSError where there can be none."""
    down_read, write_end = above(*os.pipe())
    read_end, up_write = above(*os.pipe())
    try:
        pid = fork()
    except OSError:
        for descriptor in (down_read, up_write, read_end, write_end):
            os.close(descriptor)
        raise
    if pid == 0:
        try:
            main(down_read, up_write)
        finally:
            # Whatever happened, it does not go on with what its parent was at.
            os._exit(1)
    os.close(down_read)
    os.close(up_write)
    return Child(pid, read_end, write_end)


def fork() -> int:
    """As ``os.fork``."""
    if sys.version_info < (3, 12):
        return os.fork()
    import warnings

    with warnings.catch_warnings():
        # Where other threads run, what the child needs is imported before it is made: it waits for no lock of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def above(*descriptors: int) -> list[int]:
    """These descriptors beyond the standard streams, which may be closed here and are nothing in the child."""
    if min(descriptors) > 2:
        return [*descriptors]
    import fcntl

    found = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 3) if one < 3 else one for one in descriptors]
    for one in descriptors:
        if one < 3:
            os.close(one)
    return found


#: ``signal.SIGKILL``, wherever there is a fork.
_KILL = 9

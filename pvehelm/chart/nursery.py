"""The nursery: a process that does nothing but start children for this one, and has the next one always waiting.

To fork a process that has grown costs milliseconds, and one with threads may leave a lock closed in the child. The
nursery is forked once, has one thread and all that rendering needs; what a child costs then is a message. It ends when
the link to it ends, however this process ended, and its children end with it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import struct
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from pvehelm.chart.child import Child, above, ended, fork, forked

if TYPE_CHECKING:
    from pvehelm.chart.cell import Ready

Main = Callable[[Callable[[], None], int, int], NoReturn]

#: An order or an answer, and its number: a process, a status, the bytes that follow.
_LINE = struct.Struct("!cq")
_NEXT, _BORN, _BARREN, _END, _STATUS = b"n", b"b", b"x", b"e", b"s"
#: Seconds within which it answers, or is given up.
_PATIENCE = 15.0
#: Seconds that a child which says no more has to end; others wait meanwhile.
_FAREWELL = 3.0


class Nursery:
    """This process's end of the link. ``main(prepare, read, write)`` is what each child does; ``prepare()`` makes it
    ready for all work there was before, which is at first that of ``ready`` (``cell.Ready``, as a pickle).

    Raises OSError where there can be no more processes; so do the methods when the nursery is gone.
    """

    def __init__(self, main: Main, ready: bytes) -> None:
        import socket

        here, there = above(*(one.detach() for one in socket.socketpair()))
        try:
            self.pid = fork()
        except OSError:
            os.close(here)
            os.close(there)
            raise
        if self.pid == 0:
            _live(there, main, ready)
        os.close(there)
        self.link = socket.socket(fileno=here)
        self.link.settimeout(_PATIENCE)
        self.lock = threading.Lock()
        self._known = {ready}
        #: The child that waits, if it was told of already.
        self._born: list[Child] = []

    def take(self, ready: bytes) -> Child | None:
        """A child that waits for its first message; None where none can be had now. The next are ``ready``."""
        with self.lock:
            while not self._born:
                if self._hear() == _BARREN:
                    return None
            child = self._born.pop()
            new = b"" if ready in self._known else ready
            self._known.add(ready)
            self.link.sendall(_LINE.pack(_NEXT, len(new)) + new)
        return child

    def end(self, pid: int) -> None:
        """Kills a child."""
        with self.lock:
            self.link.sendall(_LINE.pack(_END, pid))

    def status(self, pid: int) -> int:
        """How a child ended, as ``os.waitpid`` says it; it is waited for, and killed where that takes too long."""
        with self.lock:
            self.link.sendall(_LINE.pack(_STATUS, pid))
            while (found := self._hear()) in (_BORN, _BARREN):
                pass
        return int(found)

    def _hear(self) -> bytes | int:
        """The next message: what it is, or the status that it says."""
        import socket

        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        data, descriptors, *_ = socket.recv_fds(self.link, _LINE.size, 2, flags)
        while 0 < len(data) < _LINE.size:
            data += self.link.recv(_LINE.size - len(data))
        if not data:
            raise OSError("the nursery is gone")
        what, number = _LINE.unpack(data)
        if what == _BORN:
            read_end, write_end = above(*descriptors)
            for end in (read_end, write_end):
                os.set_inheritable(end, False)
            self._born.append(Nursling(self, number, read_end, write_end))
        return int(number) if what == _STATUS else bytes(what)

    def abandon(self) -> None:
        """Lets go of it: it is another process's."""
        with contextlib.suppress(OSError):
            self.link.close()
        for child in self._born:
            child.abandon()

    def close(self) -> None:
        """Ends it, and all its children."""
        self.abandon()
        with contextlib.suppress(ChildProcessError):
            ended(self.pid, _PATIENCE)


class Nursling(Child):
    """A child of the nursery."""

    def __init__(self, nursery: Nursery, pid: int, read_end: int, write_end: int) -> None:
        super().__init__(pid, read_end, write_end)
        self.nursery = nursery

    def status(self) -> int | None:
        with contextlib.suppress(OSError):
            return self.nursery.status(self.pid)
        return None

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.nursery.end(self.pid)


# In the nursery


def _live(link: int, main: Main, ready: bytes) -> NoReturn:
    """Its whole life."""
    living: set[int] = set()
    try:
        import gc
        import pickle
        import socket

        from pvehelm.chart.cell import detach

        detach(link)
        line = socket.socket(fileno=link)

        def exactly(size: int) -> bytes:
            data = b""
            while len(data) < size:
                part = line.recv(size - len(data))
                if not part:
                    raise EOFError
                data += part
            return data

        known: list[Ready] = []

        def prepare() -> None:
            # What is tried out before is copied before it is needed.
            for one in known:
                one(True)

        def learn(ready: bytes) -> None:
            known.append(pickle.loads(ready))
            known[-1](True)

        def bear() -> None:
            # What is there stays: looking through it for garbage would copy it.
            gc.freeze()
            try:
                child = forked(functools.partial(main, prepare))
            except OSError:
                line.sendall(_LINE.pack(_BARREN, 0))
                return
            living.add(child.pid)
            socket.send_fds(line, [_LINE.pack(_BORN, child.pid)], [child.read_end, child.write_end])
            child.abandon()

        # Somebody waits for the first.
        bear()
        learn(ready)
        while True:
            order, number = _LINE.unpack(exactly(_LINE.size))
            if order == _NEXT:
                if number:
                    learn(exactly(number))
                bear()
            elif order == _END:
                os.kill(number, signal.SIGKILL)
                os.waitpid(number, 0)
                living.discard(number)
            else:
                status = ended(number, _FAREWELL)
                living.discard(number)
                line.sendall(_LINE.pack(_STATUS, status))
    except BaseException:
        for pid in living:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    finally:
        os._exit(0)

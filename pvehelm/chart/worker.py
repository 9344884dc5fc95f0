"""The worker: the parent's end of a child process that works in the sandbox (``cell``)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from pvehelm.chart.cell import HEAD, Answer, Ask, Limits
from pvehelm.errors import InvalidError, Problem

#: Seconds that a child which says no more has to end.
_FAREWELL = 10.0
_HINT = "untrusted charts render within fixed limits; look for a loop, a repeat or an include that never ends"


def forked(main: Callable[[int, int], NoReturn]) -> tuple[int, int, int]:
    """A child that does ``main(read, write)``: its process id, and where to read from it and write to it."""
    down_read, write_end = _pipe()
    read_end, up_write = _pipe()
    for pipe in (read_end, write_end):
        _widened(pipe)
    with warnings.catch_warnings():
        # The child touches only what is already imported and no lock of another thread.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            pid = os.fork()
        except OSError:
            for descriptor in (down_read, up_write, read_end, write_end):
                os.close(descriptor)
            raise
    if pid == 0:
        main(down_read, up_write)
    os.close(down_read)
    os.close(up_write)
    # Then a write takes as much as there is room for.
    os.set_blocking(write_end, False)
    return pid, read_end, write_end


def _pipe() -> tuple[int, int]:
    """A pipe beyond the standard streams, which may be closed here and are nothing in the child."""
    import fcntl

    ends = os.pipe()
    read, write = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) if end < 3 else end for end in ends)
    for end in ends:
        if end < 3:
            os.close(end)
    return read, write


def _widened(pipe: int) -> None:
    """Room for what charts print, so that the two processes need not take turns for every 64 KiB of it."""
    import fcntl

    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)


class Worker:
    """A child process that answers jobs within ``limits``."""

    def __init__(self, child: tuple[int, int, int], limits: Limits) -> None:
        self.pid, self.read_end, self.write_end = child
        self.limits = limits
        #: What it is told before its first job.
        self.opening: list[bytes] = []
        self.status: int | None = None
        #: Whether it can be given another job.
        self.more = True

    def alive(self) -> bool:
        # One that rests has nothing to say: what can be read is its end.
        return not _ready(self.read_end, 0)

    def do(self, job: Any, answer: Ask, meanwhile: Callable[[], None] | None = None) -> Answer:
        """The answer to a job; ``meanwhile()`` is done while the child works on it.

        Raises InvalidError naming the limit that was hit.
        """
        import pickle

        self.deadline = time.monotonic() + self.limits.wall_seconds
        for message in (*self.opening, pickle.dumps(job)):
            self._tell(message)
        self.opening.clear()
        if meanwhile is not None:
            meanwhile()
        while True:
            said = self._message()
            if said is None:
                self._failed()
            kind, body, *more = said
            if kind == "done":
                return body, self._texts(*more)
            if kind == "limit":
                raise _exceeded(str(body))
            if kind != "ask":
                raise _unreadable()
            started = time.monotonic()
            reply = json.dumps(answer(body), default=str).encode()
            # What the parent needs to find an answer is not the template's time.
            self.deadline += time.monotonic() - started
            self._tell(reply)

    def _tell(self, body: bytes) -> None:
        view = memoryview(HEAD.pack(len(body)) + body)
        # Why a child is not there any more is seen when its answer is read.
        with contextlib.suppress(BrokenPipeError):
            while view:
                self._wait(write=True)
                view = view[os.write(self.write_end, view) :]

    def _wait(self, *, write: bool = False) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0 or not _ready(self.write_end if write else self.read_end, left, write=write):
            raise _exceeded(f"the time limit of {self.limits.wall_seconds:g} s")

    def _message(self) -> list[Any] | None:
        head = self._exactly(HEAD.size)
        if head is None:
            return None
        size = HEAD.unpack(head)[0]
        if size > self._most():
            raise _exceeded(f"the output limit of {_mib(self.limits.output)}")
        body = self._exactly(size)
        if body is None:
            return None
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, list) or len(content) < 2:
            raise _unreadable()
        return content

    def _texts(self, more: Any = False, sizes: Any = None) -> dict[str, str]:
        self.more = more is True
        if not isinstance(sizes, dict) or not all(type(size) is int and size >= 0 for size in sizes.values()):
            raise _unreadable()
        if sum(sizes.values()) > self._most():
            raise _exceeded(f"the output limit of {_mib(self.limits.output)}")
        found = {}
        for name, size in sizes.items():
            body = self._exactly(size)
            if body is None:
                self._failed()
            try:
                found[name] = body.decode("utf-8", "surrogatepass")
            except ValueError:
                raise _unreadable() from None
        return found

    def _most(self) -> int:
        # JSON of the output, its line map and the problems: several times the text itself.
        return self.limits.output * 8 + 1024 * 1024

    def _exactly(self, size: int) -> bytes | None:
        parts, missing = [], size
        while missing:
            self._wait()
            part = os.read(self.read_end, min(missing, 1 << 20))
            if not part:
                return None
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _failed(self) -> NoReturn:
        self.status = self._ended()
        if os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            if number in (signal.SIGXCPU, signal.SIGKILL):
                raise _exceeded(f"the processor limit of {self.limits.cpu_seconds} s")
            if number == signal.SIGXFSZ:
                raise _exceeded("the file limit")
            raise _exceeded(f"a limit of the process (it died of {signal.Signals(number).name})")
        raise _exceeded(f"the memory limit of {_mib(self.limits.memory)}")

    def _ended(self) -> int:
        """How the child ended; one that has closed its pipe and goes on is ended."""
        until = time.monotonic() + _FAREWELL
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return status
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.002)

    def abandon(self) -> None:
        """Lets go of a child that is another process's."""
        for descriptor in (self.read_end, self.write_end):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def close(self) -> None:
        """Ends the child."""
        os.close(self.read_end)
        os.close(self.write_end)
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


def _ready(descriptor: int, seconds: float, *, write: bool = False) -> bool:
    # Unlike select, it takes descriptors from 1024 on.
    asked = select.poll()
    asked.register(descriptor, select.POLLOUT if write else select.POLLIN)
    return bool(asked.poll(seconds * 1000))


def _unreadable() -> InvalidError:
    return InvalidError("rendering failed: the sandbox answered something unreadable")


def _exceeded(limit: str) -> InvalidError:
    what = f"rendering was stopped: it exceeded {limit}"
    return InvalidError(what, [Problem("", what, _HINT)])


def _mib(size: int) -> str:
    return f"{size // (1024 * 1024)} MiB"

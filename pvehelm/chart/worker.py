"""The worker: the parent's end of a child process that works in the sandbox (``cell``)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections.abc import Callable
from typing import Any, NoReturn

from pvehelm.chart.cell import HEAD, Ask, Limits, dumps
from pvehelm.chart.child import Child
from pvehelm.errors import InvalidError, Problem

#: Seconds for what it has to say after an answer.
_AFTERWARDS = 2.0
#: So much is read at once, if it is there.
_PART = 1 << 16
#: So many modules it may name.
_MOST_NAMES = 2000
_HINT = "untrusted charts render within fixed limits; look for a loop, a repeat or an include that never ends"


class Worker:
    """A child process that answers jobs within ``limits``; ``opening`` is what it is told before its first job."""

    def __init__(self, child: Child, limits: Limits, *opening: bytes) -> None:
        for pipe in (child.read_end, child.write_end):
            _widened(pipe)
            # Then a read takes what there is, and a write as much as there is room for.
            os.set_blocking(pipe, False)
        self.child, self.limits = child, limits
        self.opening = [*opening]
        self.dead = False
        #: Whether it can be given another job.
        self.more = True
        #: Modules that a bundle should have had for it (``bundle.missed``).
        self.missed: list[str] = []
        #: Takes what it still has to say of its last job.
        self.keep: Callable[[bytes], None] | None = None
        self._heard = bytearray()

    @property
    def pid(self) -> int:
        return self.child.pid

    def silent(self) -> bool:
        """Whether it says nothing now. One that rests has nothing to say: what can be read is its end."""
        return not self._heard and not ready(self.child.read_end, 0)

    def do(
        self,
        job: Any,
        answer: Ask,
        meanwhile: Callable[[], None] | None = None,
        keep: Callable[[bytes], None] | None = None,
    ) -> tuple[Any, dict[str, str]]:
        """The answer to a job, data and texts; ``meanwhile()`` is done while the child works on it.

        What the child has to say later goes to ``keep`` in ``collect``. Raises InvalidError naming the limit that was
        hit.
        """
        self.deadline = time.monotonic() + self.limits.wall_seconds
        begins = bool(self.opening)
        self._tell(*self.opening, dumps(job, -1))
        self.opening.clear()
        if meanwhile is not None:
            meanwhile()
        while True:
            said = self._message()
            if said is None:
                self._failed()
            kind, body, *more = said
            if kind == "missed" and begins and isinstance(body, list):
                # It says so before it has seen a template, and names are all that it can say.
                begins = False
                self.missed += filter(_is_name, body[:_MOST_NAMES])
                continue
            if kind == "done":
                return body, self._texts(keep, *more)
            if kind == "limit":
                raise _exceeded(str(body))
            if kind != "ask":
                raise _unreadable()
            started = time.monotonic()
            reply = json.dumps(answer(body), default=str).encode()
            if started > self.deadline:
                self._late()
            # What the parent needs to find an answer is not the template's time.
            self.deadline += time.monotonic() - started
            self._tell(reply)

    def collect(self) -> None:
        """Hands over what the child has to say of its last job beside the answer; it may say nothing."""
        keep, self.keep = self.keep, None
        if keep is None:
            return
        self.deadline = time.monotonic() + _AFTERWARDS
        with contextlib.suppress(InvalidError):
            body = self._body()
            if body:
                keep(body)

    def _tell(self, *bodies: bytes) -> None:
        view = memoryview(b"".join(part for body in bodies for part in (HEAD.pack(len(body)), body)))
        # Why a child is not there any more is seen when its answer is read.
        with contextlib.suppress(BrokenPipeError):
            while view:
                try:
                    view = view[os.write(self.child.write_end, view) :]
                except BlockingIOError:
                    self._wait(write=True)

    def _wait(self, *, write: bool = False) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0 or not ready(self.child.write_end if write else self.child.read_end, left, write=write):
            self._late()

    def _late(self) -> NoReturn:
        raise _exceeded(f"the time limit of {self.limits.wall_seconds:g} s")

    def _message(self) -> list[Any] | None:
        body = self._body()
        if body is None:
            return None
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, list) or len(content) < 2:
            raise _unreadable()
        return content

    def _texts(
        self, keep: Callable[[bytes], None] | None, more: Any = False, sizes: Any = None, later: Any = False
    ) -> dict[str, str]:
        self.more = more is True
        if not isinstance(sizes, dict) or not all(type(size) is int and size >= 0 for size in sizes.values()):
            raise _unreadable()
        self._check(sum(sizes.values()))
        found = {}
        for name, size in sizes.items():
            body = self._exactly(size)
            if body is None:
                self._failed()
            try:
                found[name] = body.decode("utf-8", "surrogatepass")
            except ValueError:
                raise _unreadable() from None
        self.keep = keep if later is True else None
        return found

    def _check(self, size: int) -> None:
        # JSON of the output, its line map and the problems: several times the text itself.
        if size > self.limits.output * 8 + 1024 * 1024:
            raise _exceeded(f"the output limit of {_mib(self.limits.output)}")

    def _body(self) -> bytes | None:
        """The next message; None where the child has ended."""
        head = self._exactly(HEAD.size)
        if head is None:
            return None
        size = HEAD.unpack(head)[0]
        self._check(size)
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes | None:
        heard = self._heard
        while len(heard) < size:
            try:
                part = os.read(self.child.read_end, max(_PART, min(size - len(heard), 1 << 20)))
            except BlockingIOError:
                self._wait()
                continue
            if not part:
                return None
            heard += part
        found = bytes(memoryview(heard)[:size])
        del heard[:size]
        return found

    def _failed(self) -> NoReturn:
        self.dead = True
        status = self.child.status()
        if status is None:
            raise _exceeded("a limit of the process")
        if os.WIFSIGNALED(status):
            import signal

            number = os.WTERMSIG(status)
            if number in (signal.SIGXCPU, signal.SIGKILL):
                raise _exceeded(f"the processor limit of {self.limits.cpu_seconds} s")
            if number == signal.SIGXFSZ:
                raise _exceeded("the file limit")
            raise _exceeded(f"a limit of the process (it died of {signal.Signals(number).name})")
        raise _exceeded(f"the memory limit of {_mib(self.limits.memory)}")

    def close(self) -> None:
        """Ends the child."""
        self.child.abandon()
        if not self.dead:
            self.child.end()


def _widened(pipe: int) -> None:
    """Room for what charts print, so that the two processes need not take turns for every 64 KiB of it."""
    import fcntl

    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)


def _is_name(said: object) -> bool:
    return isinstance(said, str) and len(said) < 200


def ready(descriptor: int, seconds: float, *, write: bool = False) -> bool:
    """Whether a descriptor can be read (or written) within some seconds; one that was closed can be read."""
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

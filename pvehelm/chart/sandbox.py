"""The sandbox: work on untrusted templates done in a child process with hard limits.

The child is a fork of this process with its own bounds on address space, processor time, files and output; it has no
open descriptors but two pipes, no environment variables, and everything it says comes back as JSON, so that even a
child taken over by a template can do no more than answer wrongly. While it works it may ask its parent questions
(``lookup``). It may stay for the next rendering of the same chart. Where processes cannot be forked, the work is done
in this process, bounded by the engine alone.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import select
import signal
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from pvehelm.errors import InvalidError, Problem

#: Asks the parent for something; called in the child with JSON-able data.
Ask = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one rendering: bytes of memory and output, seconds of processor and wall-clock time."""

    memory: int = 1024 * 1024 * 1024
    cpu_seconds: int = 30
    wall_seconds: float = 60.0
    output: int = 64 * 1024 * 1024
    include_depth: int = 1000


DEFAULT = Limits()

_HEAD = struct.Struct("!Q")
_STACK = 128 * 1024 * 1024
#: Seconds that a child which says no more has to end.
_FAREWELL = 10.0
#: A child may do so many times the processor time of one job in all.
_LIVES = 10
_HINT = "untrusted charts render within fixed limits; look for a loop, a repeat or an include that never ends"


#: What a child answers: JSON-able data, and texts by name that are too long to be worth a way through JSON.
Answer = tuple[Any, Mapping[str, str]]
#: What a child does, told what is asked for and how to ask its parent.
Work = Callable[[Any, Ask], Answer]


def run(work: Callable[[Ask], Any], limits: Limits = DEFAULT, *, answer: Ask | None = None) -> Any:
    """The JSON-able result of ``work(ask)``, done in a limited child process.

    ``answer`` replies in this process to what the child asks. Raises InvalidError naming the limit that was hit; an
    exception of ``answer`` is raised here and ends the child.
    """
    return serve(lambda: lambda _, ask: (work(ask), {}), None, limits, answer=answer)[0]


def serve(
    make: Callable[[], Work],
    job: Any,
    limits: Limits = DEFAULT,
    *,
    answer: Ask | None = None,
    of: object = None,
    name: str = "",
) -> Answer:
    """As ``run``, what ``make()(job, ask)`` answers.

    The child stays for more jobs of the same object ``of`` for ``name``: it goes on with what ``make`` made at first,
    and each job has the whole of ``limits`` again. A job is sent as a pickle; nothing but JSON comes back. Whoever must
    not see another's jobs, should a template have taken the child over, has another name.
    """
    if not hasattr(os, "fork") or sys.platform == "win32":
        return make()(job, answer or _nothing)
    worker = (_rested(of, name, limits) if of is not None else None) or _Worker(make(), limits)
    try:
        result = worker.do(job, answer or _nothing)
    except BaseException:
        worker.close()
        raise
    if of is not None and worker.more:
        _rest(of, name, limits, worker)
    else:
        worker.close()
    return result


def _widened(pipe: int) -> None:
    """Room for what charts print, so that the two processes need not take turns for every 64 KiB of it."""
    import fcntl

    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)


def _nothing(_: Any) -> Any:
    return None


class _Worker:
    """The parent's end of a child process."""

    def __init__(self, work: Work, limits: Limits) -> None:
        down_read, self.write_end = os.pipe()
        self.read_end, up_write = os.pipe()
        _widened(self.read_end)
        self.limits = limits
        self.status: int | None = None
        #: Whether it can be given another job.
        self.more = True
        bounds = _bounds(limits, max(down_read, up_write))
        with warnings.catch_warnings():
            # The child touches only what is already imported and no lock of another thread.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            _child(work, limits, bounds, down_read, up_write)
        os.close(down_read)
        os.close(up_write)

    def alive(self) -> bool:
        # One that rests has nothing to say: what can be read is its end.
        return not _ready(self.read_end, 0)

    def do(self, job: Any, answer: Ask) -> Answer:
        """The answer to a job. Raises InvalidError naming the limit that was hit."""
        import pickle

        self.deadline = time.monotonic() + self.limits.wall_seconds
        self._tell(pickle.dumps(job))
        while True:
            message = self._message()
            if message is None:
                self._failed()
            kind, body, *more = message
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
        view = memoryview(_HEAD.pack(len(body)) + body)
        # Why a child is not there any more is seen when its answer is read.
        with contextlib.suppress(BrokenPipeError):
            while view:
                self._wait(write=True)
                view = view[os.write(self.write_end, view[: select.PIPE_BUF]) :]

    def _wait(self, *, write: bool = False) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0 or not _ready(self.write_end if write else self.read_end, left, write=write):
            raise _exceeded(f"the time limit of {self.limits.wall_seconds:g} s")

    def _message(self) -> list[Any] | None:
        head = self._exactly(_HEAD.size)
        if head is None:
            return None
        size = _HEAD.unpack(head)[0]
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

    def close(self) -> None:
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


#: Children that wait for another job of their object, the latest last; so many at most.
_resting: list[tuple[object, str, Limits, _Worker]] = []
_MOST_RESTING = 4
_lock = threading.Lock()


def _rested(of: object, name: str, limits: Limits) -> _Worker | None:
    with _lock:
        fitting = (i for i, one in enumerate(_resting) if one[0] is of and one[1:3] == (name, limits))
        index = next(fitting, None)
        if index is None:
            return None
        worker = _resting.pop(index)[3]
    if worker.alive():
        return worker
    worker.close()
    return None


def _rest(of: object, name: str, limits: Limits, worker: _Worker) -> None:
    with _lock:
        _resting.append((of, name, limits, worker))
        leaving = _resting[:-_MOST_RESTING]
        del _resting[:-_MOST_RESTING]
    for *_, one in leaving:
        one.close()


def dismiss() -> None:
    """Ends the children that wait for jobs."""
    with _lock:
        leaving = [worker for *_, worker in _resting]
        _resting.clear()
    for one in leaving:
        one.close()


def _forget() -> None:
    """In another child of this process: these children are not its own."""
    global _lock
    _lock = threading.Lock()
    for *_, worker in _resting:
        with contextlib.suppress(OSError):
            os.close(worker.read_end)
            os.close(worker.write_end)
    _resting.clear()


atexit.register(dismiss)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _unreadable() -> InvalidError:
    return InvalidError("rendering failed: the sandbox answered something unreadable")


def _exceeded(limit: str) -> InvalidError:
    what = f"rendering was stopped: it exceeded {limit}"
    return InvalidError(what, [Problem("", what, _HINT)])


def _mib(size: int) -> str:
    return f"{size // (1024 * 1024)} MiB"


def _send(descriptor: int, *message: bytes, then: Iterable[bytes] = ()) -> None:
    """A message, whole or in parts, and what comes after it."""
    for part in (_HEAD.pack(sum(map(len, message))), *message, *then):
        view = memoryview(part)
        while view:
            view = view[os.write(descriptor, view) :]


def _receive(descriptor: int) -> bytes:
    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = os.read(descriptor, size - len(data))
            if not part:
                os._exit(1)
            data += part
        return data

    return exactly(_HEAD.unpack(exactly(_HEAD.size))[0])


def _child(work: Work, limits: Limits, bounds: list[tuple[int, int]], read: int, write: int) -> NoReturn:
    code = 1
    # What is there already is not looked through for garbage: it would have to be copied for that. And templates are
    # made of many small things that stay.
    gc.freeze()
    gc.set_threshold(50_000)
    try:
        _confine(bounds, read, write)
        _on_large_stack(lambda: _jobs(work, limits, read, write), limits)
        code = 0
    except MemoryError:
        pass
    except BaseException as error:
        with contextlib.suppress(BaseException):
            _send(write, json.dumps(["limit", f"what the sandbox can do: {type(error).__name__}: {error}"]).encode())
            code = 0
    finally:
        os._exit(code)


def _jobs(work: Work, limits: Limits, read: int, write: int) -> None:
    import pickle
    import resource

    def ask(question: Any) -> Any:
        _send(write, json.dumps(["ask", question]).encode())
        return json.loads(_receive(read))

    def spent() -> tuple[float, int]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024

    before = spent()[1]
    more = True
    while more:
        job = pickle.loads(_receive(read))
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        soft = int(spent()[0] + 0.9) + limits.cpu_seconds
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CPU, (soft if hard < 0 else min(soft, hard), hard))
        data, texts = work(job, ask)
        body = json.dumps(data).encode()
        bodies = {name: text.encode("utf-8", "surrogatepass") for name, text in texts.items()}
        # Another job shall have the whole of the limits again.
        seconds, memory = spent()
        more = seconds < limits.cpu_seconds * (_LIVES - 2) and memory - before < limits.memory // 8
        sizes = {name: len(text) for name, text in bodies.items()}
        tail = f", {json.dumps(more)}, {json.dumps(sizes)}]".encode()
        _send(write, b'["done", ', body, tail, then=bodies.values())


def _on_large_stack(work: Callable[[], None], limits: Limits) -> None:
    """``work`` in a thread whose stack holds deep recursion, so that it ends in an error and not in a crash."""
    raised: list[BaseException] = []

    def body() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    sys.setrecursionlimit(limits.include_depth * 20 + 5000)
    threading.stack_size(min(_STACK, limits.memory // 2))
    thread = threading.Thread(target=body)
    try:
        thread.start()
    except RuntimeError:  # no room for that stack
        sys.setrecursionlimit(1000)
        work()
        return
    thread.join()
    if raised:
        raise raised[0]


def _bounds(limits: Limits, highest: int) -> list[tuple[int, int]]:
    """The limits of a child whose highest descriptor is ``highest``, as setrlimit takes them."""
    import resource

    return [
        (resource.RLIMIT_AS, _address_space() + limits.memory),
        (resource.RLIMIT_CPU, limits.cpu_seconds * _LIVES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, highest + 9),
    ]


def _confine(bounds: list[tuple[int, int]], read: int, write: int) -> None:
    import resource

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGXCPU, signal.SIGXFSZ, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    # Ctrl-C belongs to the parent, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    low, high = sorted((read, write))
    os.closerange(3, low)
    os.closerange(low + 1, high)
    os.closerange(high + 1, _most_descriptors(resource))
    os.environ.clear()
    for name, value in bounds:
        hard = resource.getrlimit(name)[1]
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # Not every system takes every limit (macOS has no address-space limit); the others still hold.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(name, (wanted, wanted))


def _most_descriptors(resource: Any) -> int:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 65536 if limit == resource.RLIM_INFINITY else min(int(limit), 1 << 20)


def _address_space() -> int:
    """What this process has mapped already: the limit counts that too."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 1024 * 1024 * 1024

"""The sandbox: work on untrusted templates done in a child process with hard limits.

The child is a fork of this process with its own bounds on address space, processor time, files and output; it has no
open descriptors but two pipes, no environment variables, and everything it says comes back as JSON, so that even a
child taken over by a template can do no more than answer wrongly. While it works it may ask its parent questions
(``lookup``). Where processes cannot be forked, the work is done in this process, bounded by the engine alone.
"""

from __future__ import annotations

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
from collections.abc import Callable
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
_HINT = "untrusted charts render within fixed limits; look for a loop, a repeat or an include that never ends"


def run(work: Callable[[Ask], Any], limits: Limits = DEFAULT, *, answer: Callable[[Any], Any] | None = None) -> Any:
    """The JSON-able result of ``work(ask)``, done in a limited child process.

    ``answer`` replies in this process to what the child asks. Raises InvalidError naming the limit that was hit; an
    exception of ``answer`` is raised here and ends the child.
    """
    if not hasattr(os, "fork") or sys.platform == "win32":
        return work(answer or _nothing)
    down_read, down_write = os.pipe()
    up_read, up_write = os.pipe()
    _widened(up_read)
    with warnings.catch_warnings():
        # The child touches only what is already imported and no lock of another thread.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _child(work, limits, down_read, up_write)
    os.close(down_read)
    os.close(up_write)
    parent = _Parent(pid, up_read, down_write, limits, answer or _nothing)
    try:
        return parent.serve()
    finally:
        parent.close()


def _widened(pipe: int) -> None:
    """Room for what charts print, so that the two processes need not take turns for every 64 KiB of it."""
    import fcntl

    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)


def _nothing(_: Any) -> Any:
    return None


class _Parent:
    def __init__(self, pid: int, read: int, write: int, limits: Limits, answer: Callable[[Any], Any]) -> None:
        self.pid, self.read_end, self.write_end = pid, read, write
        self.limits = limits
        self.answer = answer
        self.deadline = time.monotonic() + limits.wall_seconds
        self.status: int | None = None

    def serve(self) -> Any:
        while True:
            message = self._message()
            if message is None:
                self._failed()
            kind, body = message
            if kind == "done":
                return body
            if kind == "limit":
                raise _exceeded(str(body))
            if kind != "ask":
                raise InvalidError("rendering failed: the sandbox answered something unreadable")
            started = time.monotonic()
            reply = json.dumps(self.answer(body), default=str).encode()
            # What the parent needs to find an answer is not the template's time.
            self.deadline += time.monotonic() - started
            with contextlib.suppress(BrokenPipeError):
                _send(self.write_end, reply)

    def _message(self) -> tuple[str, Any] | None:
        head = self._exactly(_HEAD.size)
        if head is None:
            return None
        size = _HEAD.unpack(head)[0]
        # JSON of the output, its line map and the problems: several times the text itself.
        if size > self.limits.output * 8 + 1024 * 1024:
            raise _exceeded(f"the output limit of {_mib(self.limits.output)}")
        body = self._exactly(size)
        if body is None:
            return None
        try:
            kind, content = json.loads(body)
        except (ValueError, RecursionError):
            raise InvalidError("rendering failed: the sandbox answered something unreadable") from None
        return kind, content

    def _exactly(self, size: int) -> bytes | None:
        parts, missing = [], size
        while missing:
            left = self.deadline - time.monotonic()
            if left <= 0 or not select.select([self.read_end], [], [], left)[0]:
                raise _exceeded(f"the time limit of {self.limits.wall_seconds:g} s")
            part = os.read(self.read_end, min(missing, 1 << 20))
            if not part:
                return None
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _failed(self) -> NoReturn:
        self.status = os.waitpid(self.pid, 0)[1]
        if os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            if number in (signal.SIGXCPU, signal.SIGKILL):
                raise _exceeded(f"the processor limit of {self.limits.cpu_seconds} s")
            if number == signal.SIGXFSZ:
                raise _exceeded("the file limit")
            raise _exceeded(f"a limit of the process (it died of {signal.Signals(number).name})")
        raise _exceeded(f"the memory limit of {_mib(self.limits.memory)}")

    def close(self) -> None:
        os.close(self.read_end)
        os.close(self.write_end)
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


def _exceeded(limit: str) -> InvalidError:
    what = f"rendering was stopped: it exceeded {limit}"
    return InvalidError(what, [Problem("", what, _HINT)])


def _mib(size: int) -> str:
    return f"{size // (1024 * 1024)} MiB"


def _send(descriptor: int, body: bytes) -> None:
    view = memoryview(_HEAD.pack(len(body)) + body)
    while view:
        view = view[os.write(descriptor, view) :]


def _receive(descriptor: int) -> Any:
    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = os.read(descriptor, size - len(data))
            if not part:
                os._exit(1)
            data += part
        return data

    return json.loads(exactly(_HEAD.unpack(exactly(_HEAD.size))[0]))


def _child(work: Callable[[Ask], Any], limits: Limits, read: int, write: int) -> NoReturn:
    code = 1
    # What is there already is not looked through for garbage: it would have to be copied for that.
    gc.freeze()
    try:
        _confine(limits, read, write)

        def ask(question: Any) -> Any:
            _send(write, json.dumps(["ask", question]).encode())
            return _receive(read)

        _send(write, _on_large_stack(lambda: json.dumps(["done", work(ask)]).encode(), limits))
        code = 0
    except MemoryError:
        pass
    except BaseException as error:
        with contextlib.suppress(BaseException):
            _send(write, json.dumps(["limit", f"what the sandbox can do: {type(error).__name__}: {error}"]).encode())
            code = 0
    finally:
        os._exit(code)


def _on_large_stack(work: Callable[[], bytes], limits: Limits) -> bytes:
    """``work`` in a thread whose stack holds deep recursion, so that it ends in an error and not in a crash."""
    result: list[bytes] = []
    raised: list[BaseException] = []

    def body() -> None:
        try:
            result.append(work())
        except BaseException as error:
            raised.append(error)

    sys.setrecursionlimit(limits.include_depth * 20 + 5000)
    threading.stack_size(min(_STACK, limits.memory // 2))
    thread = threading.Thread(target=body)
    try:
        thread.start()
    except RuntimeError:  # no room for that stack
        sys.setrecursionlimit(1000)
        return work()
    thread.join()
    if raised:
        raise raised[0]
    return result[0]


def _confine(limits: Limits, read: int, write: int) -> None:
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
    used = _address_space()
    for name, value in (
        (resource.RLIMIT_AS, used + limits.memory),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, max(high + 1, 3) + 8),
    ):
        hard = resource.getrlimit(name)[1]
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # Not every system takes every limit (macOS has no address-space limit); the others still hold.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(name, (wanted, wanted if name != resource.RLIMIT_CPU else wanted + 1))


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

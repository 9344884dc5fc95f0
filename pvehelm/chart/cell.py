"""The cell: what a child process does in the sandbox, from its first moment to its last.

It gives away what it has of its parent, takes limits on itself and answers jobs, one after the other. Jobs come as
pickles, for the parent is trusted; what goes back is JSON, and texts as they are.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

try:
    # pickle is the same once more, written in Python.
    from _pickle import dumps, loads
except ImportError:
    from pickle import dumps, loads

__all__ = [
    "DEFAULT", "HEAD", "Answer", "Ask", "Limits", "Ready", "Work", "detach", "dumps", "live", "loads", "receive", "send"
]  # fmt: skip

#: Asks the parent for something; called in the child with JSON-able data.
Ask = Callable[[Any], Any]


class Answer(NamedTuple):
    """What a child answers: JSON-able data, and texts by name that are too long to be worth a way through JSON.

    ``later`` makes what is sent when the answer is out and nobody waits any more.
    """

    data: Any
    texts: Mapping[str, str] = {}
    later: Callable[[], bytes] | None = None


#: What a child does, told what is asked for and how to ask its parent.
Work = Callable[[Any, Ask], Answer]

#: Imports what some work needs; told whether there is time to try it out as well.
Ready = Callable[[bool], None]

HEAD = struct.Struct("!Q")
_STACK = 128 * 1024 * 1024
#: A child may do so many times the processor time of one job in all.
_LIVES = 10


class Limits(NamedTuple):
    """Bounds of one rendering: bytes of memory and output, seconds of processor and wall-clock time."""

    memory: int = 1024 * 1024 * 1024
    cpu_seconds: int = 30
    wall_seconds: float = 60.0
    output: int = 64 * 1024 * 1024
    include_depth: int = 1000


DEFAULT = Limits()


def live(begin: Callable[[], tuple[Limits, Callable[[], Work]]], read: int, write: int, *open_: int) -> NoReturn:
    """The whole life of a child that reads jobs from ``read`` and answers on ``write``.

    ``begin`` does what needs files, of which some are ``open_`` and shall be closed by it, and says what the limits are
    and what makes the work within them.
    """

    def whole() -> None:
        limits, make = begin()
        _confine(limits, max(read, write))
        _jobs(make(), limits, read, write)

    code = 1
    try:
        detach(read, write, *open_)
        os.environ.clear()
        # Templates are made of many small things that stay. What is there already is not looked through for garbage:
        # it would have to be copied for that.
        gc.freeze()
        gc.set_threshold(50_000)
        gc.enable()
        _on_large_stack(whole)
        code = 0
    except MemoryError:
        pass
    except BaseException as error:
        with contextlib.suppress(BaseException):
            send(write, json.dumps(["limit", f"what the sandbox can do: {type(error).__name__}: {error}"]).encode())
            code = 0
    finally:
        os._exit(code)


def receive(descriptor: int) -> bytes:
    """The next message of the parent; without one, that is the end."""

    def exactly(size: int) -> bytes:
        parts = []
        while size:
            part = os.read(descriptor, min(size, 1 << 20))
            if not part:
                os._exit(1)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    return exactly(HEAD.unpack(exactly(HEAD.size))[0])


def send(descriptor: int, *message: bytes, then: Iterable[bytes] = ()) -> None:
    """A message, whole or in parts, and what comes after it; at once, for every write wakes the parent."""
    view = memoryview(b"".join((HEAD.pack(sum(map(len, message))), *message, *then)))
    while view:
        view = view[os.write(descriptor, view) :]


def _jobs(work: Work, limits: Limits, read: int, write: int) -> None:
    import resource

    def ask(question: Any) -> Any:
        send(write, json.dumps(["ask", question]).encode())
        return json.loads(receive(read))

    def spent() -> tuple[float, int]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024

    before = spent()[1]
    more = True
    while more:
        job = loads(receive(read))
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        soft = int(spent()[0] + 0.9) + limits.cpu_seconds
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CPU, (soft if hard < 0 else min(soft, hard), hard))
        data, texts, later = work(job, ask)
        body = json.dumps(data).encode()
        bodies = {name: text.encode("utf-8", "surrogatepass") for name, text in texts.items()}
        # Another job shall have the whole of the limits again.
        seconds, memory = spent()
        more = seconds < limits.cpu_seconds * (_LIVES - 2) and memory - before < limits.memory // 8
        sizes = {name: len(text) for name, text in bodies.items()}
        tail = f", {json.dumps(more)}, {json.dumps(sizes)}, {json.dumps(later is not None)}]".encode()
        send(write, b'["done", ', body, tail, then=bodies.values())
        if later is not None:
            send(write, later())


def _on_large_stack(work: Callable[[], None]) -> None:
    """``work`` in a thread whose stack holds deep recursion, so that it ends in an error and not in a crash."""
    raised: list[BaseException] = []

    def body() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    threading.stack_size(_STACK)
    thread = threading.Thread(target=body)
    try:
        thread.start()
    except RuntimeError:  # no room for that stack
        work()
        return
    thread.join()
    if raised:
        raise raised[0]


def detach(*kept: int) -> None:
    """Lets go of the terminal, of signals and of all descriptors but those."""
    # Not signal: that begins with making enumerations of all there are.
    import _signal  # type: ignore[import-not-found]
    import resource

    for number in (_signal.SIGTERM, _signal.SIGXCPU, _signal.SIGXFSZ, _signal.SIGPIPE):
        _signal.signal(number, _signal.SIG_DFL)
    # Ctrl-C belongs to the parent, which ends this process.
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    borders = [2, *sorted(one for one in kept if one > 2), _most_descriptors(resource)]
    for before, after in itertools.pairwise(borders):
        os.closerange(before + 1, after)


def _confine(limits: Limits, highest: int) -> None:
    """The limits; ``highest`` is the highest descriptor that stays open."""
    import resource

    if threading.current_thread() is not threading.main_thread():
        sys.setrecursionlimit(limits.include_depth * 20 + 5000)
    # A module that is imported after all must not be written anywhere.
    sys.dont_write_bytecode = True
    for name, value in (
        # The stack is mapped already; at most half of the memory is for it.
        (resource.RLIMIT_AS, _address_space() + limits.memory - min(_STACK, limits.memory // 2)),
        (resource.RLIMIT_CPU, limits.cpu_seconds * _LIVES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, highest + 9),
    ):
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
        with open("/proc/self/statm", "rb", buffering=0) as file:
            return int(file.read(100).split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 1024 * 1024 * 1024

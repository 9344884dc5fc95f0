"""The spare: a child that is started before its work is known, and is ready when that comes.

A program that knows that it will render a chart soon starts one while it is small and has one thread: it imports what
rendering needs while this process reads the chart (two processors, two halves of the way), and its memory holds nothing
of what this process learns later. A process that needs a second child will need more of them: from then on there is a
``nursery``, which has one waiting at all times.
"""

from __future__ import annotations

import atexit
import os
import sys
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Nothing that costs time is imported before the child is there: it is what it begins with, too.
    from collections.abc import Callable
    from typing import NoReturn

    from pvehelm.bundle import Bundle
    from pvehelm.chart.cell import Limits, Ready, Work
    from pvehelm.chart.child import Child
    from pvehelm.chart.nursery import Nursery
    from pvehelm.chart.worker import Worker

#: What the bundle of a spare child is for (``pvehelm.bundle``).
_BUNDLE = "rendering"


class _Spares:
    """What this process has of them."""

    def __init__(self) -> None:
        self.lock = allocate_lock()
        #: The one started by hand, and where modules were searched when it was.
        self.waiting: list[Child] = []
        self.path: list[str] = []
        #: What its bundle should have had.
        self.missed: list[str] = []
        self.nursery: Nursery | None = None
        #: Whether this process has needed a child before.
        self.needed = False


_mine = _Spares()


def start(*dialects: str) -> None:
    """Starts a spare child, which gets ready for charts of ``dialects`` (``render``), or of any.

    Does nothing where there is one already or the nursery has them, where a process cannot be forked, and where other
    threads run. A program that does this wants to be quick: at its end nobody looks for garbage any more, so that what
    only a cycle holds goes without a finalizer, which Python promises to nobody at that time.
    """
    if _mine.waiting or _mine.needed:
        return
    if not hasattr(os, "fork") or sys.platform == "win32" or _has_threads():
        return
    from pvehelm.chart.child import forked

    def main(read: int, write: int) -> NoReturn:
        import gc

        from pvehelm import bundle

        # What is imported stays.
        gc.disable()
        _wait(lambda: _prepare(dialects), read, write, bundle.use(_BUNDLE))

    try:
        _mine.waiting.append(forked(main))
        _mine.path = list(sys.path)
        atexit.register(_hurry)
    except OSError:
        return  # without it everything works as well, only later


def _prepare(dialects: tuple[str, ...]) -> None:
    from pvehelm.chart.deferred import COMPILER, RARE, deferred
    from pvehelm.chart.dialects import JINJA2
    from pvehelm.chart.pattern import postponed

    # Nobody else is here who could wonder at stand-ins.
    with postponed(), deferred(RARE, *([COMPILER] if JINJA2 in dialects else [])):
        from pvehelm.chart.rendering import preload

        preload(dialects, False)


def take(work: Work, limits: Limits, ready: Ready) -> Worker | None:
    """A spare child for ``work``, which is sent to it as a pickle after it has got ``ready``; None without one."""
    from pvehelm.chart.cell import dumps
    from pvehelm.chart.worker import Worker

    prepared = dumps(ready)
    child = _child(prepared)
    if child is None:
        return None
    worker = Worker(child, limits, dumps((limits, prepared)), dumps(work, -1))
    if not worker.silent():
        worker.close()
        return None
    worker.missed = _mine.missed
    return worker


def _has_threads() -> bool:
    return len(sys._current_frames()) > 1


def _child(ready: bytes) -> Child | None:
    from pvehelm.chart.cell import loads

    with _mine.lock:
        first, _mine.needed = not _mine.needed, True
        if _mine.waiting:
            return _mine.waiting.pop()
        if first:
            return None
        try:
            if _mine.nursery is None:
                from pvehelm.chart.nursery import Nursery

                if _has_threads():
                    # A module that another one imports while this forks would stay locked for ever in the child.
                    loads(ready)(False)
                _mine.nursery = Nursery(_nursed, ready)
            return _mine.nursery.take(ready)
        except OSError:
            leaving, _mine.nursery = _mine.nursery, None
    if leaving is not None:
        leaving.close()
    return None


def dismiss() -> None:
    """Ends the spare children that still wait, and the nursery."""
    global _mine
    mine, _mine = _mine, _Spares()
    if mine.missed:
        from pvehelm import bundle

        bundle.keep(_BUNDLE, mine.missed, mine.path)
    for child in mine.waiting:
        child.abandon()
        child.end()
    if mine.nursery is not None:
        mine.nursery.close()


def _hurry() -> None:
    """It takes half of the time that Python's end takes, and all that it finds goes with the process."""
    import gc

    gc.freeze()


def _forget() -> None:
    """In another child of this process: the spares are not its own."""
    global _mine
    mine, _mine = _mine, _Spares()
    for child in mine.waiting:
        child.abandon()
    if mine.nursery is not None:
        mine.nursery.abandon()


atexit.register(dismiss)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _nursed(prepare: Callable[[], None], read: int, write: int) -> NoReturn:
    """The life of a spare of the nursery, which has less time the sooner it is needed."""
    from pvehelm.chart.worker import ready

    _wait(lambda: None if ready(read, 0) else prepare(), read, write)


def _wait(prepare: Callable[[], None], read: int, write: int, bundle: Bundle | None = None) -> NoReturn:
    """The life of a spare: it prepares itself, with what ``bundle`` has, and waits for its work."""
    from pvehelm.chart import cell

    def begin() -> tuple[Limits, Callable[[], Work]]:
        import json

        prepare()
        limits, imports = cell.loads(cell.receive(read))
        cell.loads(imports)(False)
        if bundle is not None:
            bundle.close()
            if bundle.missed:
                cell.send(write, json.dumps(["missed", bundle.missed]).encode())
        return limits, lambda: cell.loads(cell.receive(read))

    cell.live(begin, read, write, *([bundle.descriptor] if bundle is not None else []))

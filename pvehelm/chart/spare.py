"""The spare: a child that is started before its work is known, while this process is small and has one thread.

It imports what rendering needs while this process reads the chart (two processors, two halves of the way), and then
waits; ``sandbox.serve`` takes it for its first work. Its memory holds nothing of what this process learns later.
Started by hand where it is known that a chart will be rendered soon: there is one, and none takes its place.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pvehelm.chart.cell import Limits, Work
    from pvehelm.chart.worker import Worker

_waiting: list[Worker] = []


def start(*dialects: str) -> None:
    """Starts the spare child, which gets ready for charts of ``dialects`` (``render``), or of any.

    Does nothing where there is one already, where a process cannot be forked, and where other threads run.
    """
    if _waiting or not hasattr(os, "fork") or sys.platform == "win32" or len(sys._current_frames()) > 1:
        return
    # What both processes need is imported once, before there are two of them.
    from pvehelm.chart import render
    from pvehelm.chart.cell import DEFAULT
    from pvehelm.chart.worker import Worker, forked

    assert render

    def main(read: int, write: int) -> NoReturn:
        _wait(dialects, read, write)

    # Without it everything works as well, only later.
    with contextlib.suppress(OSError):
        _waiting.append(Worker(forked(main), DEFAULT))


def take(work: Work, limits: Limits, ready: Callable[[], None]) -> Worker | None:
    """The spare child for ``work``, which is sent to it as a pickle after it has done ``ready()``; None without one."""
    import pickle

    if not _waiting:
        return None
    opening = [pickle.dumps((limits, ready)), pickle.dumps(work)]
    try:
        worker = _waiting.pop()
    except IndexError:  # another thread was quicker
        return None
    if not worker.alive():
        worker.close()
        return None
    worker.limits, worker.opening = limits, opening
    return worker


def dismiss() -> None:
    """Ends the spare child, if it still waits."""
    while _waiting:
        _waiting.pop().close()


def _forget() -> None:
    """In another child of this process: the spare is not its own."""
    while _waiting:
        _waiting.pop().abandon()


atexit.register(dismiss)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _wait(dialects: tuple[str, ...], read: int, write: int) -> NoReturn:
    from pvehelm.chart import cell

    def begin() -> tuple[Limits, Callable[[], Work]]:
        import pickle

        from pvehelm.chart.render import preload

        preload(*dialects)
        limits, ready = pickle.loads(cell.receive(read))
        ready()
        return limits, lambda: pickle.loads(cell.receive(read))

    cell.live(begin, read, write)

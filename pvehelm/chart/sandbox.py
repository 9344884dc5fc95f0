"""The sandbox: work on untrusted templates done in a child process with hard limits.

The child is a fork of this process, or one that was started early (``spare``), with its own bounds on address space,
processor time, files and output (``cell``); it has no open descriptors but two pipes, no environment variables, and
everything it says comes back as JSON (``worker``), so that even a child taken over by a template can do no more than
answer wrongly. While it works it may ask its parent questions (``lookup``). It may stay for the next rendering of the
same chart. Where processes cannot be forked, the work is done in this process, bounded by the engine alone.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from pvehelm.chart import spare
from pvehelm.chart.cell import DEFAULT, Answer, Ask, Limits, Work, live
from pvehelm.chart.worker import Worker, forked

__all__ = ["DEFAULT", "Answer", "Ask", "Limits", "Work", "dismiss", "run", "serve"]


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
    ready: Callable[[], None] | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Answer:
    """As ``run``, what ``make()(job, ask)`` answers.

    The child stays for more jobs of the same object ``of`` for ``name``: it goes on with what ``make`` made at first,
    and each job has the whole of ``limits`` again. A job is sent as a pickle; nothing but JSON comes back. Whoever must
    not see another's jobs, should a template have taken the child over, has another name.

    ``ready`` imports what the work needs, before the limits. Who gives it has work that can be pickled, and so a child
    that was started early (``spare``) may do it. ``meanwhile`` is done in this process while the child works.
    """
    if not hasattr(os, "fork") or sys.platform == "win32":
        return make()(job, answer or _nothing)
    worker = (_rested(of, name, limits) if of is not None else None) or _worker(make(), limits, ready)
    try:
        result = worker.do(job, answer or _nothing, meanwhile)
    except BaseException:
        worker.close()
        raise
    if of is not None and worker.more:
        _rest(of, name, limits, worker)
    else:
        worker.close()
    return result


def _worker(work: Work, limits: Limits, ready: Callable[[], None] | None) -> Worker:
    if ready is not None:
        if early := spare.take(work, limits, ready):
            return early
        # Here, for all children to come.
        ready()
    return Worker(forked(lambda read, write: live(lambda: (limits, lambda: work), read, write)), limits)


def _nothing(_: Any) -> Any:
    return None


#: Children that wait for another job of their object, the latest last; so many at most.
_resting: list[tuple[object, str, Limits, Worker]] = []
_MOST_RESTING = 4
_lock = threading.Lock()


def _rested(of: object, name: str, limits: Limits) -> Worker | None:
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


def _rest(of: object, name: str, limits: Limits, worker: Worker) -> None:
    with _lock:
        _resting.append((of, name, limits, worker))
        leaving = _resting[:-_MOST_RESTING]
        del _resting[:-_MOST_RESTING]
    for *_, one in leaving:
        one.close()


def dismiss() -> None:
    """Ends the children that wait for jobs."""
    spare.dismiss()
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
        worker.abandon()
    _resting.clear()


atexit.register(dismiss)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

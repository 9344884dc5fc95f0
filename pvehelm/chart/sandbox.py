"""The sandbox: work on untrusted templates done in a child process with hard limits.

The child is a fork of this process, or one that was started before (``spare``), with its own bounds on address space,
processor time, files and output (``cell``); it has no open descriptors but two pipes, no environment variables, and
everything it says comes back as JSON, or as texts and bytes that nothing here makes anything of (``worker``), so that
even a child taken over by a template can do no more than answer wrongly. While it works it may ask its parent questions
(``lookup``). It may stay for the next rendering of the same chart. Where processes cannot be forked, the work is done
in this process, bounded by the engine alone.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from pvehelm.chart import spare
from pvehelm.chart.cell import DEFAULT, Answer, Ask, Limits, Ready, Work, live
from pvehelm.chart.child import forked
from pvehelm.chart.worker import Worker

__all__ = ["DEFAULT", "Answer", "Ask", "Limits", "Work", "dismiss", "run", "serve"]


def run(work: Callable[[Ask], Any], limits: Limits = DEFAULT, *, answer: Ask | None = None) -> Any:
    """The JSON-able result of ``work(ask)``, done in a limited child process.

    ``answer`` replies in this process to what the child asks. Raises InvalidError naming the limit that was hit; an
    exception of ``answer`` is raised here and ends the child.
    """
    return serve(lambda: lambda _, ask: Answer(work(ask)), None, limits, answer=answer).data


def serve(
    make: Callable[[], Work],
    job: Any,
    limits: Limits = DEFAULT,
    *,
    answer: Ask | None = None,
    of: object = None,
    name: str = "",
    ready: Ready | None = None,
    meanwhile: Callable[[], None] | None = None,
    keep: Callable[[bytes], None] | None = None,
) -> Answer:
    """As ``run``, what ``make()(job, ask)`` answers.

    The child stays for more jobs of the same object ``of`` for ``name``: it goes on with what ``make`` made at first,
    and each job has the whole of ``limits`` again. A job is sent as a pickle; nothing but JSON comes back. Whoever must
    not see another's jobs, should a template have taken the child over, has another name.

    ``ready`` imports what the work needs, before the limits. Who gives it has work that can be pickled, and so a child
    that was started before (``spare``) may do it. ``meanwhile`` is done in this process while the child works. What an
    answer has for ``later`` goes to ``keep``, when there is time or at the end of the child.
    """
    if not hasattr(os, "fork") or sys.platform == "win32":
        return make()(job, answer or _nothing)
    worker = (_rested(of, name, limits) if of is not None else None) or _worker(make(), limits, ready)

    def aside() -> None:
        if meanwhile is not None:
            meanwhile()
        _tidy()

    try:
        data, texts = worker.do(job, answer or _nothing, aside, keep)
    except BaseException:
        worker.close()
        raise
    if of is not None and worker.more:
        with _lock:
            _resting.append((of, name, limits, worker))
    else:
        worker.collect()
        worker.close()
    return Answer(data, texts)


def _worker(work: Work, limits: Limits, ready: Ready | None) -> Worker:
    if ready is not None:
        if early := spare.take(work, limits, ready):
            return early
        # Here, for all children to come.
        ready(False)
    return Worker(forked(lambda read, write: live(lambda: (limits, lambda: work), read, write)), limits)


def _nothing(_: Any) -> Any:
    return None


#: Children that wait for another job of their object, the latest last. When another one works, so many are left.
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
    worker.collect()
    if worker.silent():
        return worker
    worker.close()
    return None


def _tidy(most: int = _MOST_RESTING) -> None:
    """Hears what resting children still have to say, and ends all but the latest."""
    with _lock:
        leaving = [worker for *_, worker in _resting[: max(0, len(_resting) - most)]]
        del _resting[: len(leaving)]
        for *_, worker in _resting:
            if worker.keep is not None and not worker.silent():
                worker.collect()
    for worker in leaving:
        worker.collect()
        worker.close()


def dismiss() -> None:
    """Ends the children that wait for jobs."""
    _tidy(0)
    spare.dismiss()


def _forget() -> None:
    """In another child of this process: these children are not its own."""
    global _lock
    _lock = threading.Lock()
    for *_, worker in _resting:
        worker.child.abandon()
    _resting.clear()


atexit.register(dismiss)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

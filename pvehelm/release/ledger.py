"""The ledger: what changes that run side by side have to write, a transaction for all of them.

A database makes sure of one transaction as slowly as of twenty. What is handed in while the loop turns twice is written
together, with what could wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from pvehelm.release.ahead import heard
from pvehelm.release.store import Store

T = TypeVar("T")
# Seconds that a write may wait for company: what it tells can be found out without it.
PATIENCE = 0.2


class Ledger:
    """Writes to a store, in the order they are handed in."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        # When that is written, and whether at once.
        self._due: asyncio.Handle | None = None
        self._soon = False

    def write(self, work: Callable[[], T], *, soon: bool = True) -> asyncio.Future[T]:
        """Have ``work`` done, whether or not anybody waits: the future has its result once that is durable, or what it
        raised. It runs in a transaction and may run twice, the first time without effect. What is not wanted ``soon``
        is written with what is, or by itself a moment later; never after what is handed in later."""
        loop = asyncio.get_running_loop()
        if soon and not self._soon:
            self._cancel()
            self._due, self._soon = loop.call_soon(self._turned), True
        elif self._due is None:
            self._due = loop.call_later(PATIENCE, self.flush)
        future: asyncio.Future[T] = loop.create_future()
        future.add_done_callback(heard)
        self._waiting.append((work, future))
        return future

    def _turned(self) -> None:
        """The loop has turned once. In the next turn whoever goes on by what was handed in hands in something, too."""
        self._due = asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits now."""
        self._cancel()
        if self._waiting:
            self._together()

    def _cancel(self) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due, self._soon = None, False

    def _together(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            with self.store.transaction():
                results = [work() for work, _ in waiting]
        except Exception as error:
            if len(waiting) > 1:
                # One of them spoils it for all: each by itself.
                for one in waiting:
                    self._waiting = [one]
                    self._together()
            elif not waiting[0][1].done():
                waiting[0][1].set_exception(error)
            return
        for (_, future), result in zip(waiting, results, strict=True):
            if not future.done():
                future.set_result(result)

"""The ledger: what changes that run side by side have to write, a transaction for all of them.

A database makes sure of one transaction as slowly as of twenty. What is handed in while the loop turns once, or while
the database was busy with the last transaction, is written together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from pvehelm.release.store import Store

T = TypeVar("T")


class Ledger:
    """Writes to a store, in the order they are handed in."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []

    def write(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have ``work`` done soon, whether or not anybody waits: the future has its result once that is durable, or
        what it raised. It runs in a transaction and may run twice, the first time without effect."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        future: asyncio.Future[T] = loop.create_future()
        future.add_done_callback(_seen)
        self._waiting.append((work, future))
        return future

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            with self.store.transaction():
                results = [work() for work, _ in waiting]
        except Exception as error:
            if len(waiting) > 1:
                # One of them spoils it for all: each by itself.
                for one in waiting:
                    self._waiting = [one]
                    self._flush()
            elif not waiting[0][1].done():
                waiting[0][1].set_exception(error)
            return
        for (_, future), result in zip(waiting, results, strict=True):
            if not future.done():
                future.set_result(result)


def _seen(future: asyncio.Future[Any]) -> None:
    """Who waits is told of a failure; where nobody does, the next write fails as well."""
    if not future.cancelled():
        future.exception()

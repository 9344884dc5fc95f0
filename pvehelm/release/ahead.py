"""Ahead: work that is begun before anybody waits for it, and goes on whether or not somebody comes to do so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


def ahead(work: Awaitable[T]) -> asyncio.Future[T]:
    """``work``, begun. Who waits for it is told of its failure; where nobody does, something else has ended it all."""
    begun = asyncio.ensure_future(work)
    begun.add_done_callback(heard)
    return begun


def heard(done: asyncio.Future[Any]) -> None:
    """Nobody needs a word of a failure that nobody waits for any more."""
    if not done.cancelled():
        done.exception()

"""Slots: how much may be done at a time, in all, on one node, from one clone source."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

# What is counted, and under which name: ("node", "pve1").
Place = tuple[str, str]


class Slots:
    """Work begins as soon as there is room for it under every cap that it counts for, and holds no room while it waits;
    of what could begin, the one that has waited longest does."""

    def __init__(self, caps: Mapping[str, int]) -> None:
        """``caps``: how many at a time, by the first half of a place."""
        self._caps = caps
        self._taken: Counter[Place] = Counter()
        self._waiting: dict[asyncio.Future[None], tuple[Place, ...]] = {}

    @asynccontextmanager
    async def hold(self, *places: Place) -> AsyncIterator[None]:
        """Room at all these places, from when there is some to the end."""
        if self._waiting or not self._fits(places):
            turn = asyncio.get_running_loop().create_future()
            self._waiting[turn] = places
            self._admit()
            try:
                await turn
            except asyncio.CancelledError:
                if self._waiting.pop(turn, None) is None:
                    self._leave(places)  # its turn had just come
                raise
        else:
            self._taken.update(places)
        try:
            yield
        finally:
            self._leave(places)

    def _fits(self, places: tuple[Place, ...]) -> bool:
        return all(self._taken[place] < self._caps[place[0]] for place in places)

    def _leave(self, places: tuple[Place, ...]) -> None:
        self._taken.subtract(places)
        self._admit()

    def _admit(self) -> None:
        """Let in whoever fits. The first place is common to all: once it is full, nobody does."""
        admitted = []
        for turn, places in self._waiting.items():
            if not self._fits(places[:1]):
                break
            if self._fits(places):
                self._taken.update(places)
                admitted.append(turn)
        for turn in admitted:
            del self._waiting[turn]
            turn.set_result(None)

"""The call: one step of a change sent to the server, and done once. Where nobody answers, it is looked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pvehelm.api.kind import Step
from pvehelm.api.task import is_upid
from pvehelm.errors import ApiError, PvehelmError, TaskError, UnseenError
from pvehelm.release.change import Change
from pvehelm.release.creation import TAKEN
from pvehelm.release.live import Reader
from pvehelm.release.networklock import HELD, is_locked, retaken
from pvehelm.release.silence import became, ended, is_made, looking, unclear

if TYPE_CHECKING:
    from pvehelm.release.apply import Applier

# So often a call is sent at most.
TRIES = 3


class Call:
    """A ``step`` of a change, whose ``intent`` is ``entry`` in the journal, with the hands of an Applier."""

    def __init__(self, applier: Applier, change: Change, step: Step, entry: int, intent: Mapping[str, Any]) -> None:
        self.applier = applier
        self.change = change
        self.step = step
        self.entry = entry
        self.intent = intent
        self.path = applier.keys.fill(step.path)
        self.params: dict[str, Any] = applier.secrets.resolve(applier.keys.fill(dict(step.params)))

    async def made(self) -> Any:
        """What it answered, its task ended; None where that is lost and it was done all the same. Raises PvehelmError
        (``silence.unclear``: nobody knows)."""
        client, step, data, asked = self.applier.client, self.step, None, False
        for attempt in range(1, TRIES + 1):
            try:
                if data is None:
                    data = await client.request(step.method, self.path, params=self.params)
                if is_upid(data):
                    await self._wait(data)
                return data
            except PvehelmError as error:
                last = attempt == TRIES
                if self._is_held(error):
                    error.hint = HELD
                if asked and not last and not unclear(error):
                    # By the first try, perhaps, whose answer with the lock's token or the secret was lost.
                    if self._is_held(error):
                        data = await retaken(client, self.path, self.params, str(self.intent.get("before", "")))
                        continue
                    if await self._is_made(error):
                        await client.delete(self.path)
                        continue
                if not unclear(error) or isinstance(error, UnseenError) or last:
                    raise
                asked = True
                self.applier.tell("retry", self.change.ref, f"{error}: looking whether it happened")
                data = await self._became()
                if data is None and isinstance(error, TaskError):
                    raise
                if data is not None and step.creates and step.keep:
                    # What the answer alone told is lost, and so of no use to anybody.
                    await client.delete(self.path)
                    data = None
                self.params = {name: value for name, value in self.params.items() if name != "digest"}
        return data

    async def _wait(self, upid: str) -> None:
        self.applier.started(self.entry, upid)
        result = await ended(upid, self.applier.client)
        if result.warnings:
            self.applier.tell("note", self.change.ref, f"task ended with {result.warnings} warnings: {upid}")

    def _is_held(self, error: PvehelmError) -> bool:
        """Whether this asks for a lock, which somebody has."""
        return "" in self.step.keep and isinstance(error, ApiError) and is_locked(error)

    async def _is_made(self, error: PvehelmError) -> bool:
        """Whether what is in the way of a creation whose answer told a secret is its own, by the object's own proof."""
        step, change, applier = self.step, self.change, self.applier
        if not (step.creates and step.keep and isinstance(error, ApiError) and TAKEN.search(str(error))):
            return False
        kind = applier.kinds(change.kind)
        with looking():
            live = await kind.read(applier.keys.get(change.ref, change.key), Reader(applier.client))
        return live is not None and is_made(kind, live, change.owned, step)

    async def _became(self) -> Any:
        """What became of it; None when it did not happen."""
        change, applier = self.change, self.applier
        if not change.key and change.wanted is None:
            return None  # it makes changes count: doing that twice is doing it once
        kind, key = applier.kinds(change.kind), applier.keys.get(change.ref, change.key)
        return await became(kind, key, self.step, change, applier.client, applier.sleep)

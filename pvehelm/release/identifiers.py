"""Identifiers: the keys that objects have, those of guests to be among them, and the numbers free for these."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pvehelm.errors import PvehelmError
from pvehelm.release.ahead import ahead

if TYPE_CHECKING:
    from pvehelm.api.client import Client

# For so many seconds a number counts as free: hooks and other guests may take hours before it is wanted.
FRESH = 10.0
_PLACEHOLDER = re.compile(r"\$\{(vmid|node):([^}]+)\}")


class Identifiers(dict[str, Mapping[str, Any]]):
    """Keys by ref, as they become known. Raises PvehelmError for a placeholder of what has no identifier yet."""

    def fill(self, value: Any) -> Any:
        """``value`` with identifiers in place of their placeholders, as they are where nothing else is in a text."""
        if isinstance(value, str):
            if value.startswith("${vmid:") and value.endswith("}") and value.count("${") == 1:
                return self._one(value[2:6], value[7:-1])
            return self.text(value)
        if isinstance(value, Mapping):
            return {name: self.fill(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.fill(inner) for inner in value]
        return value

    def text(self, value: Any) -> Any:
        """``value`` with identifiers as the text they are in every later plan."""
        if isinstance(value, str):
            return _PLACEHOLDER.sub(lambda found: str(self._one(found[1], found[2])), value) if "${" in value else value
        if isinstance(value, Mapping):
            return {name: self.text(inner) for name, inner in value.items()}
        return [self.text(inner) for inner in value] if isinstance(value, list | tuple) else value

    def _one(self, what: str, ref: str) -> Any:
        try:
            return self[ref][what]
        except KeyError:
            raise PvehelmError(f"{ref} has no {what} yet", hint="it was not created; run the command again") from None


class Numbers:
    """VMIDs that no guest of the server had a moment ago, one after the other. They are nobody's yet."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked: asyncio.Future[None] | None = None
        self._until = float("-inf")
        self._next = 0
        self._used: set[int] = set()
        self._given: set[int] = set()

    def ahead(self) -> asyncio.Future[None]:
        """Have the server asked, so that the first number is known by the time that it is wanted."""
        if self._asked is None or (self._asked.done() and self._client.clock() > self._until):
            self._asked = ahead(self._ask())
        return self._asked

    async def _ask(self) -> None:
        asked = self._client.get("/cluster/nextid"), self._client.get("/cluster/resources", {"type": "vm"})
        number, rows = await asyncio.gather(*asked)
        self._used = {int(row["vmid"]) for row in rows if row.get("vmid")}
        self._next = int(number)
        self._until = self._client.clock() + FRESH

    def outdated(self) -> None:
        """Somebody else has one of them by now: the server is asked anew."""
        self._until = float("-inf")

    async def free(self) -> int:
        """The next one. Raises what the requests raise."""
        while self._client.clock() > self._until:
            asked = self.ahead()
            try:
                await asyncio.shield(asked)
            except PvehelmError:
                # The first to hear of it is told; the others who wait ask once more.
                if self._asked is asked:
                    self._asked = None
                    raise
        while self._next in self._used or self._next in self._given:
            self._next += 1
        self._given.add(self._next)
        return self._next

"""What is always there: settings, and the ordered list of a scope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pvehelm.api.generic import ask
from pvehelm.api.item import Item
from pvehelm.api.kind import Get, Key, Live, Step, Wanted, leaves


class Singleton(Item):
    """Settings that are always there: written by one PUT, given back by unsetting what was set."""

    always_there = True

    async def read(self, key: Key, get: Get) -> Live | None:
        """See Kind.read; None only while the guest or node it belongs to does not exist."""
        place, where = await self._where(key, get)
        shape = self.shape(place)
        if where is None or shape.index is None:
            return None
        row = await ask(get, self._path(shape.index, {**key, **where}))
        if self.table.pairs and isinstance(row, list):
            row = {one[self.table.pairs[0]]: one.get(self.table.pairs[1]) for one in row}
        if not isinstance(row, Mapping):
            return None
        extra: dict[str, Any] = {"vacant": True}
        if row.get("digest"):
            extra["digest"] = row["digest"]
        return Live(key={**key, **where}, fields=self.live_fields(row, place), extra=extra)

    def create(self, wanted: Wanted, context: Mapping[str, Any]) -> list[Step]:
        """See Kind.create: the settings of something that comes into being in the same plan."""
        place, key = self._target(wanted.key, context)
        fields = {name: value for name, value in wanted.fields.items() if value is not None}
        live = Live(key=key | ({"guest": place} if place in ("vm", "ct") else {}), fields={})
        step = self._update_step(live, leaves(fields), wanted, place, key)
        return [replace(step, note=f"set {self.name}", creates=True)]

    def update(self, live: Live, changes: Mapping[str, Any], wanted: Wanted | None) -> list[Step]:
        """See Kind.update. Without ``wanted`` all that is owned is given back, and the last step ends that."""
        shape = self.shape(self.places[0])
        if self.table.delete and shape.delete is not None and all(value is None for value in changes.values()):
            path = self._path(shape.delete, self._target(live.key, {})[1])
            steps = [Step(shape.delete.method, path, writes=tuple(changes), note=f"remove {self.name}")]
        else:
            steps = super().update(live, changes, wanted)
        return ending(steps) if wanted is None else steps

    def delete(self, live: Live) -> list[Step]:
        """Unsets every field in ``live.fields``: pass a Live that holds only what is owned."""
        if not live.fields:
            return []
        place, key = self._target(live.key, {})
        step = self._update_step(live, dict.fromkeys(live.fields), None, place, key)
        return [replace(step, writes=(), note=f"unset {self.name}", deletes=True)]


class RuleList(Singleton):
    """The whole ordered list of a scope."""

    async def read(self, key: Key, get: Get) -> Live | None:
        """See Kind.read; an empty list is there, and vacant."""
        place, where = await self._where(key, get)
        below = self.table.children
        if where is None or below is None or self.shape(place).index is None:
            return None
        extra: dict[str, Any] = {}
        listed = await self._read_rows(place, {**key, **where}, get, extra)
        if listed is None:
            return None
        extra["vacant"] = not listed
        return Live(key={**key, **where}, fields={below.field: listed}, extra=extra)

    def create(self, wanted: Wanted, context: Mapping[str, Any]) -> list[Step]:
        """See Kind.create."""
        place, key = self._target(wanted.key, context)
        below = self.table.children
        assert below is not None
        steps = self._separate(place, key, below.field, [], wanted.fields.get(below.field) or [], {}, fresh=True)
        if not steps:
            return [Step("", "", writes=(below.field,), note="the list is empty", creates=True)]
        return [replace(steps[0], creates=True), *steps[1:]]

    def delete(self, live: Live) -> list[Step]:
        """See Kind.delete: the list is emptied, from the bottom."""
        below = self.table.children
        assert below is not None
        return self.update(live, {below.field: []}, None)


def ending(steps: list[Step]) -> list[Step]:
    """Steps whose last one ends what is owned."""
    return [*steps[:-1], replace(steps[-1], deletes=True)] if steps else []

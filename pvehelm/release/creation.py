"""A creation: an object is made, guests under the next number that is free, and brought to what making it could not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pvehelm.api.guests import GuestKind
from pvehelm.api.kind import Kind, Live, Step, Wanted, get_leaf, leaves
from pvehelm.errors import ApiError, PvehelmError, TaskError
from pvehelm.release.change import Change
from pvehelm.release.inventory import GUEST_KINDS
from pvehelm.release.live import Reader, knowing
from pvehelm.release.silence import unclear

if TYPE_CHECKING:
    from pvehelm.release.apply import Applier

TAKEN = re.compile(r"already exists|config file already exists|already used", re.IGNORECASE)
# What the server says when a configuration is not the one that was read.
MOVED = re.compile(r"modified configuration|checksum mismatch", re.IGNORECASE)
# So many numbers are tried for a guest.
TRIES = 100


class Creation:
    """One object being made by ``step`` of a change, with the hands of an Applier. Raises what its steps raise."""

    def __init__(self, applier: Applier, change: Change, step: Step) -> None:
        assert change.wanted is not None
        self.applier = applier
        self.change = change
        self.step = step
        self.wanted: Wanted = change.wanted
        self.kind = applier.kinds(change.kind)

    async def run(self) -> None:
        """Make it and settle it."""
        if self.change.kind in GUEST_KINDS and not self.wanted.key.get("vmid"):
            await self._numbered()
        else:
            await self._named()
        if self.kind.settles:
            await self._settle()

    async def _named(self) -> None:
        """Create what has an identifier already."""
        applier, ref, key = self.applier, self.change.ref, dict(self.wanted.key)
        key |= {name: applier.keys.fill(value) for name, value in key.items() if value is not None}
        if self.change.kind in GUEST_KINDS and not applier.store.reserve(
            applier.key.cluster, int(key["vmid"]), applier.key, ref
        ):
            raise PvehelmError(f"VMID {key['vmid']} is reserved by another release", hint="choose another spec.vmid")
        applier.keys[ref] = key
        await applier.step(self.change, self.step, final=not self.kind.settles, more=self.kind.settles)

    async def _numbered(self) -> None:
        """Create under the next free VMID; somebody else may be faster, then take the one after."""
        applier, ref = self.applier, self.change.ref
        tries = TRIES
        while tries:
            vmid = await applier.numbers.free()
            applier.keys[ref] = {"vmid": vmid, "node": self._node()}
            try:
                if await applier.step(self.change, self.step, final=False, more=True, claim=vmid):
                    return
            except (ApiError, TaskError) as error:
                if unclear(error):
                    raise  # the number may be taken, by us
                applier.store.unreserve(applier.key.cluster, vmid)
                if not TAKEN.search(str(error)):
                    raise
                tries -= 1
                applier.numbers.outdated()
                applier.tell("retry", ref, f"VMID {vmid} was taken meanwhile")
        raise PvehelmError(f"{ref}: no free VMID found in {TRIES} tries")

    def _node(self) -> str:
        """Where the guest will be right after creation: a clone stays with its source unless it has a target."""
        if self.step.path.endswith("/clone") and "target" not in self.step.params:
            return str(self.applier.keys.fill(self.step.path)).split("/")[2]
        return str(self.wanted.key["node"])

    async def _settle(self) -> None:
        """Bring what creation could not bring; once more when somebody changes the new object at the same time."""
        try:
            await self._settle_once()
        except (ApiError, TaskError) as error:
            if not MOVED.search(str(error)):
                raise
            self.applier.tell("retry", self.change.ref, "somebody changed it meanwhile; looking once more")
            await self._settle_once()

    async def _settle_once(self) -> None:
        """Read the new object and set what still differs."""
        applier, change, kind, written = self.applier, self.change, self.kind, self.step.writes
        live = await kind.read(applier.keys[change.ref], self._reader())
        if live is None:
            raise PvehelmError(f"{change.ref}: it was created, but is not there", hint="look at the server's task log")
        applier.keys[change.ref] = dict(live.key)
        differs = unsettled(kind, self.wanted, live, written)
        if change.owned is not None:
            # What creation did not write and is there all the same came from the clone source, equal or not.
            inherited = [leaf for leaf in leaves(self.wanted.fields) if leaf not in written]
            before = {leaf: get_leaf(live.fields, leaf) for leaf in inherited if not kind.recorded(leaf)}
            found = {leaf: value for leaf, value in before.items() if value is not None}
            change = replace(change, owned=replace(change.owned, found={**change.owned.found, **found}))
        steps = kind.update(live, differs, self.wanted)
        for index, step in enumerate(steps):
            last = index == len(steps) - 1
            await applier.step(change, step, final=last, more=not last)
        if not steps:
            applier.record(change, "settle", owned=applier.complete(change))

    def _reader(self) -> Reader:
        """A reader for what was just created: where it is and that it is stopped need not be asked."""
        client, key = self.applier.client, self.applier.keys[self.change.ref]
        if not isinstance(self.kind, GuestKind):
            return Reader(client)
        return knowing(client, self.kind, {"status": "stopped", **key, "pool": self.wanted.fields.get("pool") or ""})


def unsettled(kind: Kind, wanted: Wanted, live: Live, written: Sequence[str]) -> dict[str, Any]:
    """Leaves of ``wanted`` that a fresh object does not have yet."""
    now = leaves(live.fields)
    differs: dict[str, Any] = {}
    for leaf, value in leaves(wanted.fields).items():
        if kind.write_only(leaf):
            same = leaf in written
        elif leaf == "started":
            same = False
        elif kind.recorded(leaf):
            same = now.get(leaf) == value
        else:
            before = now.get(leaf, live.fields.get(leaf))
            same = (value is None and before is None) or kind.same(leaf, value, before)
        if not same:
            differs[leaf] = value
    return differs

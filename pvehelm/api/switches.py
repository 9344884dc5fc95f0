"""Things a server knows by a handle, that are added once and then only switched on and off (APTRepository)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pvehelm.api import scopes
from pvehelm.api.generic import ask
from pvehelm.api.item import Item
from pvehelm.api.kind import Get, Key, Live, Step, Wanted


class Switch(Item):
    """A standard repository of a node: there once its handle was added, at a place in a file, on or off.

    It cannot be removed through the API; what is no longer desired is switched off.
    """

    # Where a new entry stands is known only afterwards; that is where it may be switched off.
    settles = True

    async def read(self, key: Key, get: Get) -> Live | None:
        """See Kind.read: a repository that nobody added yet is not there."""
        answer = await ask(get, scopes.fill("/nodes/{node}/apt/repositories", key))
        if not isinstance(answer, Mapping):
            return None
        known = {row.get("handle"): row for row in answer.get("standard-repos") or []}
        row = known.get(key["handle"])
        if row is None or row.get("status") is None:
            return None
        extra = {"name": row.get("name"), "digest": answer.get("digest", ""), **_place(answer, row)}
        return Live(key=key, fields={"enabled": int(bool(row["status"]))}, extra=extra)

    def create(self, wanted: Wanted, context: Mapping[str, Any]) -> list[Step]:
        """See Kind.create: adding it also switches it on."""
        path = scopes.fill("/nodes/{node}/apt/repositories", wanted.key)
        sent = {"handle": wanted.key["handle"]}
        on = ("enabled",) if wanted.fields.get("enabled") == 1 else ()
        return [Step("PUT", path, sent, writes=on, note=f"add {wanted.key['handle']}", creates=True)]

    def update(self, live: Live, changes: Mapping[str, Any], wanted: Wanted | None) -> list[Step]:
        """See Kind.update."""
        if "enabled" not in changes:
            return []
        return [self._switch(live, int(changes["enabled"] or 0))]

    def _switch(self, live: Live, on: int) -> Step:
        path = scopes.fill("/nodes/{node}/apt/repositories", live.key)
        sent = {"path": live.extra.get("path"), "index": live.extra.get("index"), "enabled": on}
        return Step("POST", path, sent, writes=("enabled",), note="switch it on" if on else "switch it off")

    def delete(self, live: Live) -> list[Step]:
        """See Kind.delete: there is no call that removes an entry."""
        step = self._switch(live, 0)
        return [Step(step.method, step.path, step.params, note="switch it off (it can't be removed)", deletes=True)]


def _place(answer: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """The file and position of a standard repository, by its name's components in the entries of the files."""
    handle = str(row.get("handle"))
    component = _COMPONENTS.get(handle, handle.removeprefix("ceph-").partition("-")[2])
    for file in answer.get("files") or []:
        for index, entry in enumerate(file.get("repositories") or []):
            uris = " ".join(entry.get("URIs") or [])
            ours = ("ceph" in uris) == handle.startswith("ceph-")
            if ours and component in (entry.get("Components") or []):
                return {"path": file.get("path"), "index": index}
    return {}


_COMPONENTS = {"enterprise": "pve-enterprise", "no-subscription": "pve-no-subscription", "test": "pve-test"}

"""What a release owns now: every object with its identifier, the fields as last written, and what was found there.

Plain data with ``to_json``/``from_json``, as in ``release``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pvehelm.release.release import known

GUEST_KINDS = frozenset({"VirtualMachine", "Container"})


@dataclass
class Owned:
    """One object that a release owns.

    ``identifier`` addresses the object (``{"vmid": 101, "node": "pve1"}``, ``{"storage": "x"}``); a guest's node is
    where it was, not who it is. ``fields`` maps leaf paths (``memory``, ``net0.bridge``) to the value last written;
    ``found`` to the value that was there when ownership of that leaf began (no key: it was not set). ``created`` says
    that this release made the object (else it was adopted); ``metadata`` is lifecycle, ignoreChanges, needs... as last
    applied; ``uid`` the ownership mark.
    """

    ref: str
    kind: str
    name: str
    namespace: str | None
    identifier: Mapping[str, Any]
    fields: dict[str, Any] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)
    created: bool = True
    metadata: dict[str, Any] = field(default_factory=dict)
    uid: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "identifier": dict(self.identifier)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(**known(cls, data))


@dataclass
class Inventory:
    """What a release owns now: ``Kind/name`` -> Owned. Every journal outcome updates it; revisions never do."""

    entries: dict[str, Owned] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Owned]:
        return iter(self.entries.values())

    def __contains__(self, ref: object) -> bool:
        return ref in self.entries

    def get(self, ref: str) -> Owned | None:
        return self.entries.get(ref)

    def to_json(self) -> dict[str, Any]:
        return {"entries": {ref: owned.to_json() for ref, owned in self.entries.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls({ref: Owned.from_json(one) for ref, one in data.get("entries", {}).items()})

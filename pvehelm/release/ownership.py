"""Ownership: what a release will own of an object once its manifest is on the server, and whether it is still ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pvehelm.api.kind import Kind, Live, Wanted, leaves
from pvehelm.release.compare import Desired, found_of, other_key
from pvehelm.release.inventory import Inventory, Owned
from pvehelm.release.secrets import has_secret, secret_key

# What the inventory keeps of a manifest's metadata.
KEPT = ("lifecycle", "ignoreChanges", "allowReplace", "needs", "labels", "annotations")


def merged(owned: Owned, one: Desired, live: Live | None, hashes: Mapping[str, str | None], uid: str) -> Owned:
    """Ownership once the manifest is on the server: its leaves, with the value each was found with.

    ``hashes`` has the fingerprints of texts with references (None: can't tell)."""
    kind, wanted = one.kind, one.wanted
    fields: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for leaf, value in one.leaves.items():
        mine = leaf in owned.fields
        before = found_of(leaf, owned, live)
        if before is not None and (mine or not kind.recorded(leaf)):
            found[leaf] = before
        fields[leaf] = _written(kind, leaf, value, owned.fields.get(leaf), hashes)
    metadata = {name: one.metadata[name] for name in KEPT if name in one.metadata}
    metadata["after"] = list(wanted.needs)
    key = dict(live.key) if live else {k: v for k, v in wanted.key.items() if v is not None}
    return Owned(one.ref, kind.name, wanted.name, wanted.namespace, key, fields, found, owned.created, metadata, uid)


def _written(kind: Kind, leaf: str, value: Any, recorded: Any, hashes: Mapping[str, str | None]) -> Any:
    if value is not None and (has_secret(value) or kind.write_only(leaf)):
        current = hashes.get(secret_key(value))
        unknown = recorded is not None and (current is None or other_key(recorded, current))
        return recorded if unknown else {"hmac": current}
    return value


def unmarked(owned: Owned, live: Live) -> bool:
    """Whether a guest no longer carries the mark of the release that owns it; never of what bears no marks."""
    if "mark" not in live.extra or not owned.uid:
        return False
    mark = live.extra["mark"]
    return mark is None or mark.uid != owned.uid or mark.vmid != str(live.key.get("vmid"))


def with_names(inventory: Inventory, renamed: Mapping[str, str]) -> Inventory:
    """The inventory with objects under the names they have in the manifests now (new ref -> old ref)."""
    if not renamed:
        return inventory
    entries = dict(inventory.entries)
    for new, old in renamed.items():
        entries[new] = replace(entries.pop(old), ref=new, name=new.partition("/")[2])
    return Inventory(entries)


def with_references(live: Live, wanted: Wanted) -> Live:
    """``live`` with references where the manifest has them: steps that write a field whole must not hold a secret."""
    found = {leaf: value for leaf, value in leaves(wanted.fields).items() if has_secret(value)}
    if not found:
        return live
    fields = dict(live.fields)
    for leaf, value in found.items():
        name, dot, sub = leaf.partition(".")
        current = fields.get(name)
        if not dot and name in fields:
            fields[name] = value
        elif isinstance(current, Mapping) and sub in current:
            fields[name] = {**current, sub: value}
    return replace(live, fields=fields)

"""Three sides of one object: what the manifest wants, what the release owns, what the server has.

A leaf counts only if the manifest or the inventory mentions it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pvehelm.api.kind import Kind, Live, Wanted, get_leaf, leaves
from pvehelm.errors import Problem, PvehelmError
from pvehelm.release.change import FieldChange
from pvehelm.release.inventory import Owned
from pvehelm.release.secrets import REDACTED, has_secret, secret_key


@dataclass(frozen=True)
class Desired:
    """One desired resource, lowered, with what the manifest says about its handling."""

    kind: Kind
    wanted: Wanted
    metadata: Mapping[str, Any]
    where: Callable[[str], str] = lambda leaf: ""

    @property
    def ref(self) -> str:
        return self.wanted.ref

    @cached_property
    def leaves(self) -> Mapping[str, Any]:
        """The leaves that the manifest mentions."""
        return leaves(self.wanted.fields)

    def lowered(self, wanted: Wanted) -> Desired:
        """The same resource, lowered to something else; itself where it is not."""
        return self if wanted is self.wanted else Desired(self.kind, wanted, self.metadata, self.where)

    @property
    def lifecycle(self) -> str:
        return str(self.metadata.get("lifecycle") or "")


@dataclass
class Observed:
    """What was read for a plan. ``live`` and ``contexts`` by ref; ``old`` are objects under a key now left behind;
    ``unread`` what could not be read, where only a part of the release is planned for."""

    live: dict[str, Live | None] = field(default_factory=dict)
    old: dict[str, Live | None] = field(default_factory=dict)
    unread: dict[str, PvehelmError] = field(default_factory=dict)
    contexts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    problems: dict[str, list[Problem]] = field(default_factory=dict)
    # Refs of objects that another release owns, with that release's name.
    owners: dict[str, str] = field(default_factory=dict)
    # Refs that an object had in the inventory under another name: new ref -> old ref.
    renamed: dict[str, str] = field(default_factory=dict)
    # Texts with secret references -> the keyed hash of what they resolve to (None: can't tell), and the plain text.
    hashes: dict[str, str | None] = field(default_factory=dict)
    plain: dict[str, Any] = field(default_factory=dict)


def compare(
    one: Desired, owned: Owned | None, live: Live, observed: Observed
) -> tuple[list[FieldChange], list[tuple[FieldChange, str]]]:
    """All leaves that have to change, and those that can't with the reason."""
    kind = one.kind
    wanted, now = one.leaves, leaves(live.fields)
    ignored = tuple(_dotted(str(path)) for path in one.metadata.get("ignoreChanges") or ())
    changed: list[FieldChange] = []
    for leaf, value in wanted.items():
        if ignored and any(_below(name, path) for path in ignored for name in _names(one, leaf)):
            continue
        before = now.get(leaf, live.fields.get(leaf))
        if (value is None and before is None) or is_same(kind, leaf, value, before, owned, observed):
            continue
        parting = kind.parting(leaf, before) if value is None else ""
        before = veiled(before, value, owned.fields.get(leaf) if owned else None)
        changed.append(FieldChange(leaf, before, value, kind.effect(leaf, before, value, live), parting))
    for leaf, found in given_back(one, owned, wanted):
        before = now.get(leaf, live.fields.get(leaf))
        if (found is None and before is None) or (found is not None and kind.same(leaf, found, before)):
            continue
        effect = kind.effect(leaf, before, found, live)
        parting = kind.parting(leaf, before) if found is None else ""
        reason = f"no longer in the manifest; {parting}" if parting else "no longer in the manifest"
        before = veiled(before, None, owned.fields.get(leaf) if owned else None)
        changed.append(FieldChange(leaf, before, found, effect, reason))
    refused = [(c, why) for c in changed if (why := kind.refusal(c.leaf, c.before, c.after, live))]
    return changed, refused


def _dotted(path: str) -> str:
    """``spec.disks[0].size`` as ``disks.0.size``."""
    return re.sub(r"\[(\d+)\]", r".\1", path).removeprefix("spec.")


def _names(one: Desired, leaf: str) -> Iterator[str]:
    """What a user may call a leaf: by the API's name, or by its path in the spec."""
    yield leaf
    origin = one.wanted.origins.get(leaf)
    if origin:
        yield ".".join(map(str, origin[1:]))


def _below(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}.")


def given_back(one: Desired, owned: Owned | None, wanted: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Owned leaves that the manifest no longer mentions, with the value each goes back to (None: unset)."""
    if owned is None:
        return
    whole: set[str] = set()
    for leaf in owned.fields:
        if leaf in wanted:
            continue
        name, dot, _ = leaf.partition(".")
        if name in wanted or one.kind.recorded(leaf):
            continue
        if dot and name not in one.wanted.fields and not any(other.startswith(f"{name}.") for other in owned.found):
            # The slot came with this release and goes as a whole, with the sub-keys the server added.
            if name not in whole:
                whole.add(name)
                yield name, None
        elif one.kind.gives_back(leaf) and (owned.found.get(leaf) is not None or one.kind.can_unset(leaf)):
            yield leaf, owned.found.get(leaf)


def is_same(kind: Kind, leaf: str, value: Any, before: Any, owned: Owned | None, observed: Observed) -> bool:
    """Whether a leaf is as wanted already; what can't be told counts as the same."""
    recorded = owned.fields.get(leaf) if owned else None
    if has_secret(value) or kind.write_only(leaf):
        text = secret_key(value)
        current = observed.hashes.get(text)
        hidden = kind.recorded(leaf) or kind.write_only(leaf)
        if current is None:
            # What it stands for is not known here: that is no drift, and what is taken over keeps what it has.
            return recorded is not None or (owned is None and kind.write_only(leaf))
        if other_key(recorded, current):
            # Fingerprinted with another key: what live shows can be compared, the rest can't, which is no drift.
            return hidden or kind.same(leaf, observed.plain.get(text), before)
        if not isinstance(recorded, Mapping) or recorded.get("hmac") != current:
            return False
        return hidden or kind.same(leaf, observed.plain.get(text), before)
    if kind.recorded(leaf):
        # An object that is taken over is taken as it is: how it came about can't be told.
        return owned is None or bool(value == recorded) or (before is not None and bool(value == before))
    return kind.same(leaf, value, before)


def veiled(before: Any, wanted: Any, recorded: Any) -> Any:
    """A live value as a plan may show it: what is or was made of a secret stays unseen."""
    return REDACTED if before is not None and (has_secret(wanted) or is_fingerprint(recorded)) else before


def other_key(recorded: Any, current: str) -> bool:
    """Whether a fingerprint was made with another key than ``current``: then the two say nothing about each other."""
    if not is_fingerprint(recorded) or not recorded["hmac"]:
        return False
    return bool(recorded["hmac"].partition(":")[0] != current.partition(":")[0])


def found_of(leaf: str, owned: Owned, live: Live | None) -> Any:
    """The value that a leaf had when ownership of it began, as whole field or as sub-key; None: it was not set."""
    if leaf in owned.fields:
        return owned.found.get(leaf)
    name, dot, sub = leaf.partition(".")
    if dot and name in owned.fields:
        whole = owned.found.get(name)
        return whole.get(sub) if isinstance(whole, Mapping) else None
    current = get_leaf(live.fields, leaf) if live else None
    parts = [other for other in owned.fields if not dot and other.startswith(f"{name}.")]
    if not parts:
        return current
    rest = dict(current) if isinstance(current, Mapping) else {}
    for part in parts:
        rest[part.partition(".")[2]] = owned.found.get(part)
    return {key: value for key, value in rest.items() if value is not None} or None


def is_fingerprint(recorded: Any) -> bool:
    return isinstance(recorded, Mapping) and set(recorded) == {"hmac"}

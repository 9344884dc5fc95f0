"""What a plan says: one Change for each resource, with its fields, effect, steps and what is lost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pvehelm.api.kind import Effect, Step, Wanted
from pvehelm.errors import Problem
from pvehelm.release.inventory import GUEST_KINDS, Owned


class Op(StrEnum):
    create = "create"
    update = "update"
    recreate = "replace"
    delete = "delete"
    keep = "keep"
    forget = "forget"
    # Not a change of an object but something that is done in between: a hook, a snapshot, waiting for readiness.
    run = "run"


SIGNS = {Op.create: "+", Op.update: "~", Op.recreate: "±", Op.delete: "-", Op.keep: "=", Op.forget: "x", Op.run: ">"}


def numbered(key: Mapping[str, Any]) -> dict[str, Any]:
    """An identifier for programs: a VMID is a number, whichever way the API's path had it."""
    return {name: int(value) if name == "vmid" and str(value).isdecimal() else value for name, value in key.items()}


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One leaf: what live has, what it shall have (None: unset), and what that does to what runs."""

    leaf: str
    before: Any
    after: Any
    effect: Effect = Effect.live
    # Why the leaf changes although nobody asks for a value: "no longer in the manifest".
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        row = {"leaf": self.leaf, "before": self.before, "after": self.after, "effect": self.effect.name}
        return row | ({"reason": self.reason} if self.reason else {})

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> FieldChange:
        return cls(row["leaf"], row["before"], row["after"], Effect[row["effect"]], row.get("reason", ""))


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one resource, why, after what, and by which calls."""

    ref: str
    kind: str
    op: Op
    reason: str
    fields: tuple[FieldChange, ...] = ()
    effect: Effect = Effect.live
    # Refs whose changes must be done first.
    needs: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    # What is lost with the object: its volumes.
    losses: tuple[str, ...] = ()
    key: Mapping[str, Any] = field(default_factory=dict)
    # What ownership will be once this is done (None after delete and forget).
    owned: Owned | None = None
    wanted: Wanted | None = None
    privileged: tuple[str, ...] = ()
    # Leaves that already say what is desired but wait for a restart.
    pending: Mapping[str, Any] = field(default_factory=dict)
    experimental: bool = False
    where: str = ""
    # Calls for when this can't be begun because what it needs failed.
    otherwise: tuple[Step, ...] = ()
    # What is run (``release.hooks``): {"event": "pre-upgrade", "manifest": {...}}; data, so that a plan says it all.
    hook: Mapping[str, Any] = field(default_factory=dict)

    @property
    def acts(self) -> bool:
        return self.op not in (Op.keep, Op.forget) or bool(self.steps)

    def as_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "ref": self.ref,
            "kind": self.kind,
            "op": str(self.op),
            "reason": self.reason,
            "effect": self.effect.name,
            "key": numbered(self.key),
            "needs": list(self.needs),
            "fields": [change.as_dict() for change in self.fields],
            "steps": [step.as_dict() for step in self.steps],
        }
        for name in ("losses", "privileged"):
            if getattr(self, name):
                row[name] = list(getattr(self, name))
        if self.pending:
            row["pending"] = dict(self.pending)
        if self.experimental:
            row["experimental"] = True
        if self.hook:
            row["hook"] = dict(self.hook)
        return row


@dataclass(frozen=True, slots=True)
class Plan:
    """Ordered changes of one release."""

    action: str
    release: str
    namespace: str
    changes: tuple[Change, ...]
    # What can't or may not be done; a plan with any is shown but never applied.
    problems: tuple[Problem, ...] = ()
    # What is not allowed without a word from the user, with the flag that says it.
    refusals: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    # Objects that the inventory knows under another name: new ref -> old ref.
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not any(change.acts for change in self.changes)

    @property
    def records(self) -> bool:
        """Whether ownership changes although no call is made."""
        return bool(self.renamed) or any(
            change.op is Op.forget or (change.owned is not None and change.reason == "adopted")
            for change in self.changes
        )

    @property
    def destroys(self) -> tuple[Change, ...]:
        """Changes that a person has to confirm."""
        return tuple(
            c
            for c in self.changes
            if c.losses or c.effect is Effect.data_loss or (c.kind in GUEST_KINDS and c.op in (Op.delete, Op.recreate))
        )

    @property
    def digest(self) -> str:
        """Names the decision: the same input on the same live state gives the same digest."""
        text = json.dumps([c.as_dict() for c in self.changes], sort_keys=True, default=str)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def counts(self) -> dict[str, int]:
        """How many changes of each kind; what is kept is not counted."""
        real = [change for change in self.changes if change.kind != "Commit"]
        acting = [str(change.op) for change in real if change.op is not Op.keep or change.acts]
        return {str(op): acting.count(str(op)) for op in Op if op is not Op.keep} | (
            {"update": acting.count("update") + acting.count("keep")} if "keep" in acting else {}
        )

    def summary(self) -> str:
        """``2 to create, 1 to update, 1 to delete``."""
        parts = [f"{count} to {name}" for name, count in self.counts().items() if count]
        if not parts and not self.empty:
            return "what waits is applied"
        return ", ".join(parts) or "no changes"

    def as_dict(self) -> dict[str, Any]:
        return {
            "action": self.action,
            "release": self.release,
            "namespace": self.namespace,
            "summary": self.summary(),
            "digest": self.digest,
            "changes": [c.as_dict() for c in self.changes],
            "problems": [{"where": p.where, "what": p.what, "hint": p.hint} for p in self.problems],
            "refusals": [{"where": p.where, "what": p.what, "hint": p.hint} for p in self.refusals],
            "notes": list(self.notes),
        }

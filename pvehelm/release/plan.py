"""Decide: what has to change so that the cluster is as desired. Reads nothing, does nothing.

``plan(desired, inventory, observed)`` compares three sides. A leaf counts only if the manifest or the inventory
mentions it: desired and different from live is set; owned but no longer desired goes back to the value found when
ownership began, else is unset; everything else is the server's business. The result is data: it prints, it is stored,
it goes to JSON and back, and ``release.apply`` runs it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from pvehelm.api.kind import Effect, Kind, Live, Step, Wanted, get_leaf, leaves, nest
from pvehelm.errors import Problem
from pvehelm.release.release import Inventory, Owned
from pvehelm.release.secrets import REDACTED, has_secret, secret_key


class Op(StrEnum):
    create = "create"
    update = "update"
    recreate = "replace"
    delete = "delete"
    keep = "keep"
    forget = "forget"


SIGNS = {Op.create: "+", Op.update: "~", Op.recreate: "±", Op.delete: "-", Op.keep: "=", Op.forget: "x"}


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
            "key": dict(self.key),
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

    @property
    def empty(self) -> bool:
        return not any(change.acts for change in self.changes)

    @property
    def records(self) -> bool:
        """Whether ownership changes although no call is made."""
        return any(
            change.op is Op.forget or (change.owned is not None and change.reason == "adopted")
            for change in self.changes
        )

    @property
    def destroys(self) -> tuple[Change, ...]:
        """Changes that a person has to confirm."""
        return tuple(
            c
            for c in self.changes
            if c.losses or c.effect is Effect.data_loss or (_is_guest(c) and c.op in (Op.delete, Op.recreate))
        )

    @property
    def digest(self) -> str:
        """Names the decision: the same input on the same live state gives the same digest."""
        text = json.dumps([c.as_dict() for c in self.changes], sort_keys=True, default=str)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def counts(self) -> dict[str, int]:
        """How many changes of each kind; what is kept is not counted."""
        acting = [str(change.op) for change in self.changes if change.op is not Op.keep or change.acts]
        return {str(op): acting.count(str(op)) for op in Op if op is not Op.keep} | (
            {"update": acting.count("update") + acting.count("keep")} if "keep" in acting else {}
        )

    def summary(self) -> str:
        """``2 to create, 1 to update, 1 to delete``."""
        parts = [f"{count} to {name}" for name, count in self.counts().items() if count]
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

    @property
    def lifecycle(self) -> str:
        return str(self.metadata.get("lifecycle") or "")


@dataclass
class Observed:
    """What was read for a plan. ``live`` and ``contexts`` by ref; ``old`` are objects under a key now left behind."""

    live: dict[str, Live | None] = field(default_factory=dict)
    old: dict[str, Live | None] = field(default_factory=dict)
    contexts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    problems: dict[str, list[Problem]] = field(default_factory=dict)
    # Refs of objects that another release owns, with that release's name.
    owners: dict[str, str] = field(default_factory=dict)
    # Texts with secret references -> the keyed hash of what they resolve to (None: can't tell), and the plain text.
    hashes: dict[str, str | None] = field(default_factory=dict)
    plain: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Allowed:
    """What the user's words permit."""

    take_ownership: frozenset[str] = frozenset()
    destroy: frozenset[str] = frozenset()
    privileged: frozenset[str] = frozenset()
    replace: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()

    def owns(self, ref: str) -> bool:
        return "all" in self.take_ownership or ref in self.take_ownership

    def may_use(self, kind: str, what: str) -> bool:
        return bool({"all", kind, what} & self.privileged)


class Planner:
    """One plan being made."""

    def __init__(
        self,
        kinds: Callable[[str], Kind],
        inventory: Inventory,
        observed: Observed,
        allowed: Allowed,
        uid: str,
        opened: frozenset[str] = frozenset(),
    ) -> None:
        self.kinds = kinds
        self.inventory = inventory
        self.observed = observed
        self.allowed = allowed
        self.uid = uid
        # Refs with a journalled creation whose outcome nobody recorded: what is there under their key is ours.
        self.opened = opened
        self.problems: list[Problem] = []
        self.refusals: list[Problem] = []
        # VMIDs whose guest is made anew by this plan.
        self.leaving: set[str] = set()
        # VMIDs under which there is nothing of ours any more: no guest, or somebody else's.
        self.lost = {
            str(owned.identifier.get("vmid"))
            for owned in inventory
            if _guest_kind(kinds(owned.kind)) and self._is_lost(owned)
        }

    def plan(
        self, action: str, release: str, namespace: str, desired: Sequence[Desired], *, keep: bool = False
    ) -> Plan:
        changes: dict[str, Change] = {}
        # Guests first: what is about a guest that is made anew or goes away has nothing left to be removed from.
        for one in sorted(desired, key=lambda one: not _guest_kind(one.kind)):
            changes[one.ref] = self._desired(one)
            if changes[one.ref].op is Op.recreate and _guest_kind(one.kind):
                self.leaving.add(str(changes[one.ref].key.get("vmid")))
        changes = {one.ref: changes[one.ref] for one in desired}
        for ref, owned in self.inventory.entries.items():
            if ref not in changes:
                changes[ref] = self._undesired(owned, keep)
        edged = _with_edges(changes, self.inventory)
        for circle in circles(edged):
            where = changes[circle[0]].where
            self.problems.append(
                Problem(where, f"resources need each other in a circle: {' -> '.join(circle)}", "remove one needs")
            )
        ordered = order(edged)
        if self.allowed.targets:
            ordered = self._targeted(ordered)
        return Plan(action, release, namespace, tuple(ordered), tuple(self.problems), tuple(self.refusals))

    def _targeted(self, ordered: list[Change]) -> list[Change]:
        by_ref = {change.ref: change for change in ordered}
        chosen: set[str] = set()
        todo = list(self.allowed.targets)
        for ref in todo:
            if ref not in by_ref:
                self.problems.append(Problem(ref, "no such resource in this plan", ", ".join(sorted(by_ref)[:8])))
            elif ref not in chosen:
                chosen.add(ref)
                todo.extend(by_ref[ref].needs)
        return [change for change in ordered if change.ref in chosen]

    def _is_lost(self, owned: Owned) -> bool:
        if self.observed.old.get(owned.ref) is not None:
            return False
        live = self.observed.live.get(owned.ref)
        return live is None or (self._mark_missing(owned, live) and not self.allowed.owns(owned.ref))

    # -- one resource ------------------------------------------------------------------------------------------

    def _desired(self, one: Desired) -> Change:
        kind, wanted, ref = one.kind, one.wanted, one.ref
        live = self.observed.live.get(ref)
        owned = self.inventory.entries.get(ref)
        self._privileges(one)
        if ref in self.observed.owners:
            which = self.observed.owners[ref]
            self.refusals.append(
                Problem(
                    one.where(""),
                    f"{ref}{_number(live.key if live else one.wanted.key)} belongs to release {which}",
                    f"take it out of {which}, or name another object here",
                )
            )
            return self._keep(one, owned, live, f"belongs to release {which}")
        if (
            ref in self.allowed.replace
            and live is not None
            and owned is not None
            and not kind.always_there
            and not self._mark_missing(owned, live)
        ):
            return self._replace(one, owned, live, "--replace")
        old = self.observed.old.get(ref)
        if owned is not None and kind.always_there and self.lost & _vmids(owned.identifier):
            return self._create(one, None, "its guest is gone")
        if owned is not None and (self.leaving & _vmids(owned.identifier)):
            return self._create(one, None, "its guest is made anew")
        if owned is not None and old is not None:
            return self._replace(one, owned, old, "its key changes")
        if live is None:
            if owned is not None and one.lifecycle == "createOnly":
                return self._keep(one, owned, None, "created once; missing now")
            reason = "missing on the server" if owned is not None else "new"
            return self._create(one, owned, reason)
        wanted = kind.refine(wanted, live.fields)
        one = Desired(kind, wanted, one.metadata, one.where)
        if not self._is_ours(one, owned, live):
            return self._keep(one, owned, live, "belongs to somebody else")
        if one.lifecycle == "createOnly" and owned is not None:
            return self._keep(one, owned, live, "created once, then left alone")
        changed, refused = self._compare(one, owned, live)
        if any(why == "create-only" for _, why in refused):
            names = ", ".join(change.leaf for change, why in refused if why == "create-only")
            return self._replace(one, owned, live, f"{names} can't be changed in place")
        for change, why in refused:
            self.problems.append(Problem(one.where(change.leaf), f"{ref}: {why}"))
        fresh = owned or Owned(
            ref, kind.name, wanted.name, wanted.namespace, dict(live.key), {}, {}, False, {}, self.uid
        )
        steps: list[Step] = []
        unmarked = owned is None or self._mark_missing(owned, live)
        if unmarked and (self.allowed.owns(ref) or ref in self.opened):
            steps += kind.mark(_with_references(live, wanted), self.uid, ref)
            live = kind.marked(live, self.uid, ref)
        merged = self._merge(fresh, one, live)
        values = {change.leaf: change.after for change in changed}
        if values:
            digest_spent = bool(steps)
            more = kind.update(_with_references(live, wanted), values, wanted)
            steps += [_without_digest(step) for step in more] if digest_spent else more
        if not steps:
            reason = (
                "adopted"
                if owned is None or owned.fields != merged.fields or owned.metadata != merged.metadata
                else "as desired"
            )
            return self._keep(one, merged, live, reason)
        effect = max((change.effect for change in changed), default=Effect.live)
        reason = "differs from the manifest" if owned else "taken over"
        return self._change(one, Op.update, reason, changed, effect, steps, live, merged)

    def _privileges(self, one: Desired) -> None:
        for what in one.wanted.privileged:
            if not self.allowed.may_use(one.kind.name, what):
                which = "is a privileged kind" if what == one.kind.name else f"uses {what}, which is privileged"
                self.refusals.append(
                    Problem(
                        one.where("" if what == one.kind.name else what),
                        f"{one.ref} {which}",
                        f"--allow-privileged {what}, after reading what it does",
                    )
                )

    def _is_ours(self, one: Desired, owned: Owned | None, live: Live) -> bool:
        ref = one.ref
        if one.kind.always_there or ref in self.opened or self.allowed.owns(ref):
            return True
        mark = live.extra.get("mark")
        if owned is None:
            if mark is not None and mark.uid == self.uid and mark.ref == ref and mark.vmid == str(live.key.get("vmid")):
                return True
            whose = f"a release that is not in this store ({mark.uid})" if mark is not None else "no release"
            self.refusals.append(
                Problem(
                    one.where(""),
                    f"{ref}{_number(live.key)} exists already and belongs to {whose}",
                    f"--take-ownership {ref} to take it over",
                )
            )
            return False
        if self._mark_missing(owned, live):
            self.refusals.append(
                Problem(
                    one.where(""),
                    f"{ref}: guest {live.key.get('vmid')} does not carry this release's mark any more",
                    f"if it is still the same guest: --take-ownership {ref}",
                )
            )
            return False
        return True

    def _mark_missing(self, owned: Owned, live: Live) -> bool:
        if "mark" not in live.extra or not owned.uid:
            return False
        mark = live.extra["mark"]
        return mark is None or mark.uid != owned.uid or mark.vmid != str(live.key.get("vmid"))

    def _compare(
        self, one: Desired, owned: Owned | None, live: Live
    ) -> tuple[list[FieldChange], list[tuple[FieldChange, str]]]:
        """All leaves that have to change, and those that can't with the reason."""
        kind = one.kind
        wanted, now = leaves(one.wanted.fields), leaves(live.fields)
        ignored = tuple(str(path).removeprefix("spec.") for path in one.metadata.get("ignoreChanges") or ())
        changed: list[FieldChange] = []
        for leaf, value in wanted.items():
            if any(leaf == path or leaf.startswith(f"{path}.") for path in ignored) and owned is not None:
                continue
            before = now.get(leaf, live.fields.get(leaf))
            if (value is None and before is None) or self._is_same(kind, leaf, value, before, owned):
                continue
            parting = kind.parting(leaf, before) if value is None else ""
            before = _veiled(before, value, owned.fields.get(leaf) if owned else None)
            changed.append(FieldChange(leaf, before, value, kind.effect(leaf, before, value, live), parting))
        for leaf, found in self._given_back(one, owned, wanted):
            before = now.get(leaf, live.fields.get(leaf))
            if (found is None and before is None) or (found is not None and kind.same(leaf, found, before)):
                continue
            effect = kind.effect(leaf, before, found, live)
            parting = kind.parting(leaf, before) if found is None else ""
            reason = f"no longer in the manifest; {parting}" if parting else "no longer in the manifest"
            before = _veiled(before, None, owned.fields.get(leaf) if owned else None)
            changed.append(FieldChange(leaf, before, found, effect, reason))
        refused = [(c, why) for c in changed if (why := kind.refusal(c.leaf, c.before, c.after, live))]
        return changed, refused

    def _given_back(self, one: Desired, owned: Owned | None, wanted: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Owned leaves that the manifest no longer mentions, with the value each goes back to (None: unset)."""
        if owned is None:
            return
        whole: set[str] = set()
        for leaf in owned.fields:
            name, dot, _ = leaf.partition(".")
            if leaf in wanted or name in wanted or one.kind.recorded(leaf):
                continue
            if dot and name not in one.wanted.fields and not any(other.startswith(f"{name}.") for other in owned.found):
                # The slot came with this release and goes as a whole, with the sub-keys the server added.
                if name not in whole:
                    whole.add(name)
                    yield name, None
            elif one.kind.gives_back(leaf):
                yield leaf, owned.found.get(leaf)

    def _is_same(self, kind: Kind, leaf: str, value: Any, before: Any, owned: Owned | None) -> bool:
        recorded = owned.fields.get(leaf) if owned else None
        if has_secret(value) or kind.write_only(leaf):
            text = secret_key(value)
            current = self.observed.hashes.get(text)
            hidden = kind.recorded(leaf) or kind.write_only(leaf)
            if current is None:
                return recorded is not None  # what it stands for is not known here: that is no drift
            if _other_key(recorded, current):
                # Fingerprinted with another key: what live shows can be compared, the rest can't, which is no drift.
                return hidden or kind.same(leaf, self.observed.plain.get(text), before)
            if not isinstance(recorded, Mapping) or recorded.get("hmac") != current:
                return False
            return hidden or kind.same(leaf, self.observed.plain.get(text), before)
        if kind.recorded(leaf):
            # An object that is taken over is taken as it is: how it came about can't be told.
            return owned is None or bool(value == recorded)
        return kind.same(leaf, value, before)

    def _merge(self, owned: Owned, one: Desired, live: Live | None) -> Owned:
        """Ownership once the manifest is on the server: its leaves, with the value each was found with."""
        wanted = leaves(one.wanted.fields)
        found: dict[str, Any] = {}
        for leaf in wanted:
            before = _found(leaf, owned, live)
            if before is not None and (leaf in owned.fields or not one.kind.recorded(leaf)):
                found[leaf] = before
        fields = {leaf: self._written(one.kind, leaf, value, owned.fields.get(leaf)) for leaf, value in wanted.items()}
        metadata = {
            k: v
            for k, v in one.metadata.items()
            if k in ("lifecycle", "ignoreChanges", "needs", "labels", "annotations")
        }
        metadata["after"] = list(one.wanted.needs)
        key = dict(live.key) if live else {k: v for k, v in one.wanted.key.items() if v is not None}
        return Owned(
            one.ref,
            one.kind.name,
            one.wanted.name,
            one.wanted.namespace,
            key,
            fields,
            found,
            owned.created,
            metadata,
            self.uid,
        )

    def _written(self, kind: Kind, leaf: str, value: Any, recorded: Any) -> Any:
        if value is not None and (has_secret(value) or kind.write_only(leaf)):
            current = self.observed.hashes.get(secret_key(value))
            unknown = recorded is not None and (current is None or _other_key(recorded, current))
            return recorded if unknown else {"hmac": current}
        return value

    def _create(self, one: Desired, owned: Owned | None, reason: str) -> Change:
        kind, ref = one.kind, one.ref
        context = {**self.observed.contexts.get(ref, {}), "uid": self.uid}
        for problem in self.observed.problems.get(ref, ()):
            where = one.where(problem.where)
            self.problems.append(Problem(where or problem.where, f"{ref}: {problem.what}", problem.hint))
        wanted = kind.refine(one.wanted, context.get("config", {}))
        one = Desired(kind, wanted, one.metadata, one.where)
        source = leaves(context.get("config", {}))
        for leaf, value in leaves(wanted.fields).items():
            why = kind.refusal(leaf, source[leaf], value, Live({}, {})) if source.get(leaf) is not None else ""
            if why and why != "create-only":
                self.problems.append(
                    Problem(one.where(leaf), f"{ref}: {why} (as {wanted.once.get('template')} has it)")
                )
        steps = [] if self.observed.problems.get(ref) else kind.create(wanted, context)
        fields = [FieldChange(leaf, None, value) for leaf, value in leaves(wanted.fields).items()]
        blank = Owned(ref, kind.name, wanted.name, wanted.namespace, {}, {}, {}, True, {}, self.uid)
        merged = self._merge(blank, one, None)
        return self._change(one, Op.create, reason, fields, Effect.live, steps, None, merged)

    def _replace(self, one: Desired, owned: Owned | None, live: Live, reason: str) -> Change:
        made = self._create(one, owned, reason)
        ref = one.ref
        losses = one.kind.losses(live)
        protected = one.lifecycle == "protect" or one.lifecycle == "keep"
        if (losses or protected or _guest_kind(one.kind)) and ref not in self.allowed.destroy:
            self.refusals.append(
                Problem(
                    one.where(""),
                    f"{ref} would be destroyed and made again: {reason}",
                    f"--allow-destroy {ref} if that is meant",
                )
            )
        steps = [*one.kind.delete(live), *made.steps]
        return self._change(
            one,
            Op.recreate,
            reason,
            made.fields,
            Effect.data_loss if losses else Effect.recreate,
            steps,
            live,
            made.owned,
            losses,
        )

    def _keep(self, one: Desired, owned: Owned | None, live: Live | None, reason: str) -> Change:
        return self._change(one, Op.keep, reason, (), Effect.live, (), live, owned)

    def _change(
        self,
        one: Desired,
        op: Op,
        reason: str,
        fields: Sequence[FieldChange],
        effect: Effect,
        steps: Sequence[Step],
        live: Live | None,
        owned: Owned | None,
        losses: Sequence[str] = (),
    ) -> Change:
        pending = live.pending.items() if live else ()
        return Change(
            ref=one.ref,
            kind=one.kind.name,
            op=op,
            reason=reason,
            fields=tuple(fields),
            effect=effect,
            needs=one.wanted.needs,
            steps=tuple(steps),
            losses=tuple(losses),
            key=dict(live.key) if live else {k: v for k, v in one.wanted.key.items() if v is not None},
            owned=owned,
            wanted=one.wanted,
            privileged=one.wanted.privileged,
            pending={leaf: _veiled(was, get_leaf(one.wanted.fields, leaf), _of(owned, leaf)) for leaf, was in pending},
            experimental=one.kind.evidence == "schema",
            where=one.where(""),
        )

    # -- no longer desired -------------------------------------------------------------------------------------

    def _undesired(self, owned: Owned, keep: bool) -> Change:
        kind = self.kinds(owned.kind)
        live = self.observed.live.get(owned.ref)
        if kind.always_there and self.lost & _vmids(owned.identifier):
            live = None  # it was about a guest of ours that is gone
        needs = tuple(owned.metadata.get("after", ()))
        lifecycle = owned.metadata.get("lifecycle")
        base: dict[str, Any] = {"ref": owned.ref, "kind": owned.kind, "needs": needs, "key": dict(owned.identifier)}
        if live is None:
            return Change(op=Op.forget, reason="gone from the server", **base)
        base["key"] = dict(live.key)
        if keep or lifecycle == "keep":
            reason = "--keep-resources" if keep else "lifecycle: keep"
            unmark = kind.mark(live, "", owned.ref)
            if _is_fingerprint(owned.fields.get("description")):
                unmark = [replace(step, hidden=("description",)) for step in unmark]
            return Change(op=Op.forget, reason=reason, steps=tuple(unmark), **base)
        if self._mark_missing(owned, live):
            return Change(op=Op.forget, reason="it does not carry this release's mark any more", **base)
        if kind.always_there:
            now = leaves(live.fields)
            back = {
                leaf: owned.found.get(leaf)
                for leaf in owned.fields
                if not kind.same(leaf, owned.found.get(leaf), now.get(leaf))
            }
            fields = tuple(FieldChange(leaf, now.get(leaf), after, reason="given back") for leaf, after in back.items())
            steps = tuple(kind.update(live, back, None)) if back else ()
            return Change(
                op=Op.delete if steps else Op.forget, reason="no longer desired", fields=fields, steps=steps, **base
            )
        losses = tuple(kind.losses(live))
        if (lifecycle == "protect" or not owned.created) and owned.ref not in self.allowed.destroy:
            why = "lifecycle: protect" if lifecycle == "protect" else "this release did not create it"
            self.refusals.append(
                Problem(
                    owned.ref,
                    f"{owned.ref} would be destroyed ({why})",
                    f"--allow-destroy {owned.ref}, or keep it with --keep-resources or lifecycle: keep",
                )
            )
        if live.fields.get("protection"):
            self.problems.append(
                Problem(owned.ref, f"{owned.ref} is protected by the server", "switch its protection off first")
            )
        effect = Effect.data_loss if losses else Effect.live
        return Change(
            op=Op.delete,
            reason="no longer desired",
            effect=effect,
            steps=tuple(kind.delete(live)),
            losses=losses,
            **base,
        )


def plan(
    action: str,
    release: str,
    namespace: str,
    desired: Sequence[Desired],
    inventory: Inventory,
    observed: Observed,
    *,
    kinds: Callable[[str], Kind],
    uid: str,
    allowed: Allowed | None = None,
    opened: frozenset[str] = frozenset(),
    keep: bool = False,
) -> Plan:
    """The changes that make ``observed`` as ``desired``. Pure; ``keep`` forgets instead of deleting."""
    planner = Planner(kinds, inventory, observed, allowed or Allowed(), uid, opened)
    return planner.plan(action, release, namespace, desired, keep=keep)


def _number(key: Mapping[str, Any]) -> str:
    return f" (VMID {key['vmid']})" if key.get("vmid") else ""


def _vmids(key: Mapping[str, Any]) -> set[str]:
    """The guest that a key is about, by VMID: a scope's, or an HA resource's ``vm:100``."""
    return {str(key["vmid"])} if key.get("vmid") else {str(key.get("sid", "")).partition(":")[2]} - {""}


def _found(leaf: str, owned: Owned, live: Live | None) -> Any:
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


def _is_fingerprint(recorded: Any) -> bool:
    return isinstance(recorded, Mapping) and set(recorded) == {"hmac"}


def _other_key(recorded: Any, current: str) -> bool:
    """Whether a fingerprint was made with another key than ``current``: then the two say nothing about each other."""
    if not _is_fingerprint(recorded) or not recorded["hmac"]:
        return False
    return bool(recorded["hmac"].partition(":")[0] != current.partition(":")[0])


def _veiled(before: Any, wanted: Any, recorded: Any) -> Any:
    """A live value as a plan may show it: what is or was made of a secret stays unseen."""
    return REDACTED if before is not None and (has_secret(wanted) or _is_fingerprint(recorded)) else before


def _of(owned: Owned | None, leaf: str) -> Any:
    return owned.fields.get(leaf) if owned else None


def _with_references(live: Live, wanted: Wanted) -> Live:
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


def _without_digest(step: Step) -> Step:
    return replace(step, params={name: value for name, value in step.params.items() if name != "digest"})


def _guest_kind(kind: Kind) -> bool:
    return kind.name in ("VirtualMachine", "Container")


def _is_guest(change: Change) -> bool:
    return change.kind in ("VirtualMachine", "Container")


# -- order -----------------------------------------------------------------------------------------------------


def _with_edges(changes: Mapping[str, Change], inventory: Inventory) -> list[Change]:
    """Needs narrowed to refs of this plan, and turned round for what goes away."""
    guests: dict[str, list[str]] = {}
    volumes: dict[str, str] = {}
    for ref, change in changes.items():
        if change.kind == "HAResource" and change.wanted:
            for need in change.wanted.needs:
                guests.setdefault(need, []).append(ref)
        if change.kind == "Image" and change.wanted:
            volumes[image_volume(change.wanted.key)] = ref

    def known(needs: Sequence[str]) -> list[str]:
        found: list[str] = []
        for need in needs:
            if need.startswith("guest:"):
                found += guests.get(need.removeprefix("guest:"), [])
            elif need.startswith("volume:"):
                found += [volumes[need.removeprefix("volume:")]] if need.removeprefix("volume:") in volumes else []
            elif need in changes:
                found.append(need)
        return list(dict.fromkeys(found))

    needs: dict[str, list[str]] = {ref: [] for ref in changes}
    for ref, change in changes.items():
        explicit = list(change.owned.metadata.get("needs", ())) if change.owned else []
        inherited = inventory.entries[ref].metadata.get("after", ()) if ref in inventory.entries else ()
        if change.op in (Op.delete, Op.forget):
            # Whoever used it must have let go of it first: users are updated or deleted before it goes.
            for other in known([*change.needs, *explicit]):
                if changes[other].op in (Op.delete, Op.forget):
                    needs[other].append(ref)
            continue
        needs[ref] += [
            need for need in known([*change.needs, *explicit]) if changes[need].op not in (Op.delete, Op.forget)
        ]
        for old in known(inherited):
            if changes[old].op in (Op.delete, Op.forget):
                needs[old].append(ref)
    return [
        replace(change, needs=tuple(n for n in dict.fromkeys(needs[ref]) if n != ref))
        for ref, change in changes.items()
    ]


def image_volume(key: Mapping[str, Any]) -> str:
    """The volume that an Image leaves: ``storage:content/filename``."""
    return str(key.get("volid") or f"{key.get('storage')}:{key.get('content')}/{key.get('filename')}")


def order(changes: Sequence[Change]) -> list[Change]:
    """Changes so that what is needed comes first; a circle is broken where it was written last."""
    by_ref = {change.ref: change for change in changes}
    done: dict[str, Change] = {}
    busy: set[str] = set()

    def visit(ref: str) -> None:
        if ref in done or ref in busy or ref not in by_ref:
            return
        busy.add(ref)
        for need in sorted(by_ref[ref].needs):
            visit(need)
        busy.discard(ref)
        done[ref] = by_ref[ref]

    for change in changes:
        visit(change.ref)
    return list(done.values())


def circles(changes: Sequence[Change]) -> list[list[str]]:
    """Circular needs, each as the refs along it."""
    graph = {change.ref: list(change.needs) for change in changes}
    found: list[list[str]] = []
    state: dict[str, int] = {}

    def visit(ref: str, path: list[str]) -> None:
        state[ref] = 1
        for need in graph.get(ref, ()):
            if state.get(need) == 1:
                found.append([*path[path.index(need) :], need])
            elif need in graph and need not in state:
                visit(need, [*path, need])
        state[ref] = 2

    for ref in graph:
        if ref not in state:
            visit(ref, [ref])
    return found


__all__ = ["Allowed", "Change", "Desired", "FieldChange", "Observed", "Op", "Plan", "circles", "nest", "order", "plan"]

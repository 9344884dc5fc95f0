"""Decide: what has to change so that the cluster is as desired. Reads nothing, does nothing.

``plan(desired, inventory, observed)`` compares three sides. A leaf counts only if the manifest or the inventory
mentions it: desired and different from live is set; owned but no longer desired goes back to the value found when
ownership began, else is unset; everything else is the server's business. The result is data: it prints, it is stored,
it goes to JSON and back, and ``release.apply`` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pvehelm.api.kind import Effect, Kind, Live, Step, get_leaf, leaves
from pvehelm.api.privilege import told
from pvehelm.errors import Problem
from pvehelm.release.absence import AWAY, vmids, with_absences
from pvehelm.release.allowed import Allowed
from pvehelm.release.change import SIGNS, Change, FieldChange, Op, Plan
from pvehelm.release.compare import Desired, Observed, compare, veiled
from pvehelm.release.departure import Departure
from pvehelm.release.graph import INDIRECT, ordered, with_edges, with_needed
from pvehelm.release.inventory import GUEST_KINDS, Inventory, Owned
from pvehelm.release.ownership import merged, unmarked, with_names, with_references

__all__ = [
    "SIGNS",
    "Allowed",
    "Change",
    "Desired",
    "FieldChange",
    "Observed",
    "Op",
    "Plan",
    "plan",
]


# Of what only those plans leave alone that are about something else.
UNREAD = "it can't be read"


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
        undo: bool = False,
    ) -> None:
        self.kinds = kinds
        self.inventory = with_names(inventory, observed.renamed)
        self.observed = observed
        self.allowed = allowed
        self.uid = uid
        # Refs with a journalled creation whose outcome nobody recorded: what is there under their key is ours.
        self.opened = opened
        self.undo = undo
        # Everything that this plan says something about.
        self.refs: set[str] = set()
        self.problems: list[Problem] = []
        self.refusals: list[Problem] = []
        self.notes: list[str] = []
        # VMIDs whose guest is made anew by this plan.
        self.leaving: set[str] = set()
        # VMIDs under which there is nothing of ours any more: no guest, or somebody else's.
        self.lost = {
            str(owned.identifier.get("vmid"))
            for owned in self.inventory
            if owned.kind in GUEST_KINDS and self._is_lost(owned)
        }
        # VMIDs of this release's guests: those it has, and those that its manifests ask for.
        self.own = {str(o.identifier["vmid"]) for o in self.inventory if o.kind in GUEST_KINDS} - self.lost

    def plan(
        self, action: str, release: str, namespace: str, desired: Sequence[Desired], *, keep: bool = False
    ) -> Plan:
        self.refs = {one.ref for one in desired} | self.inventory.entries.keys()
        self.own |= {
            str(one.wanted.key["vmid"]) for one in desired if _guest_kind(one.kind) and one.wanted.key.get("vmid")
        }
        changes: dict[str, Change] = {}
        # Guests first: what is about a guest that is made anew or goes away has nothing left to be removed from.
        for one in sorted(desired, key=lambda one: not _guest_kind(one.kind)):
            changes[one.ref] = self._desired(one)
            if changes[one.ref].op is Op.recreate and _guest_kind(one.kind):
                self.leaving.add(str(changes[one.ref].key.get("vmid")))
        changes = {one.ref: changes[one.ref] for one in desired}
        for ref, owned in self.inventory.entries.items():
            if ref not in changes:
                changes[ref] = self._departing(owned, keep)
        edged = with_absences(with_edges(changes, self.inventory), self.observed, self.kinds)
        sequence, circle = ordered(edged)
        if circle:
            where = changes[circle[0]].where
            self.problems.append(
                Problem(where, f"resources need each other in a circle: {' -> '.join(circle)}", "remove one needs")
            )
        for ref in sorted(self.allowed.replace - changes.keys()):
            self.problems.append(Problem(ref, "--replace names no resource of this release", _alike(ref, changes)))
        if self.allowed.targets:
            sequence = self._targeted(sequence)
        self.notes += [f"{new} was {old} so far; the object stays" for new, old in self.observed.renamed.items()]
        problems, refusals = tuple(self.problems), tuple(self.refusals)
        notes = tuple(self.notes)
        return Plan(action, release, namespace, tuple(sequence), problems, refusals, notes, self.observed.renamed)

    def _targeted(self, sequence: list[Change]) -> list[Change]:
        chosen = with_needed(sequence, self.allowed.targets, lambda ref: [ref.removesuffix(AWAY)])
        refs, unread = {change.ref for change in chosen}, self.observed.unread
        every = [change.ref for change in sequence]
        for ref in sorted(self.allowed.targets - refs):
            self.problems.append(Problem(ref, "no such resource in this plan", _alike(ref, every)))
        for change in chosen:
            if change.ref in unread:
                what = f"{change.ref} can't be read: {unread[change.ref]}"
                self.problems.append(Problem(change.where or change.ref, what, unread[change.ref].hint))
        self.notes += [f"not read, and no part of this: {ref}: {unread[ref]}" for ref in sorted(unread.keys() - refs)]
        return chosen

    def _departing(self, owned: Owned, keep: bool) -> Change:
        """What becomes of what is owned and no longer desired."""
        kind, ref = self.kinds(owned.kind), owned.ref
        live = self.observed.live.get(ref)
        if kind.always_there and self.lost & vmids(owned.identifier):
            live = None  # it was about a guest of ours that is gone
        leaving = Departure(owned, kind, live, keep=keep, undo=self.undo, sure=ref in self.allowed.destroy)
        if ref in self.observed.unread:
            return leaving.change(Op.keep, UNREAD)
        change = leaving.decided()
        self.problems += leaving.problems
        self.refusals += leaving.refusals
        return change

    def _is_lost(self, owned: Owned) -> bool:
        if owned.ref in self.observed.unread:
            return False
        old = self.observed.old.get(owned.ref)
        if old is not None:
            return unmarked(owned, old)
        live = self.observed.live.get(owned.ref)
        return live is None or (unmarked(owned, live) and not self.allowed.owns(owned.ref))

    # -- one resource ------------------------------------------------------------------------------------------

    def _desired(self, one: Desired) -> Change:
        kind, ref = one.kind, one.ref
        live = self.observed.live.get(ref)
        owned = self.inventory.entries.get(ref)
        self._privileges(one)
        if ref in self.observed.unread:
            return self._keep(one, owned, live, UNREAD)
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
            and not unmarked(owned, live)
        ):
            return self._replace(one, owned, live, "--replace")
        old = self.observed.old.get(ref)
        if owned is not None and kind.always_there and self.lost & vmids(owned.identifier):
            return self._create(one, None, "its guest is gone")
        if owned is not None and (self.leaving & vmids(owned.identifier, kind)):
            return self._create(one, None, "its guest is made anew")
        if owned is not None and old is not None and not unmarked(owned, old):
            return self._replace(one, owned, old, "its key changes")
        if live is None:
            if owned is not None and one.lifecycle == "createOnly":
                return self._keep(one, owned, None, "created once; missing now")
            reason = "missing on the server" if owned is not None else "new"
            return self._create(one, owned, reason)
        one = one.lowered(kind.refine(one.wanted, live.fields))
        if not self._is_ours(one, owned, live) and owned is None:
            return self._keep(one, owned, live, "belongs to somebody else")
        if one.lifecycle == "createOnly" and owned is not None:
            return self._keep(one, owned, live, "created once, then left alone")
        detached = dict((owned.metadata.get("detached") if owned else None) or {})
        wanted = kind.reattached(one.wanted, live, detached)
        back = [leaf for leaf in wanted.once if leaf not in one.wanted.once]
        self.notes += [f"{ref}: {leaf.partition('.')[0]} gets its volume {wanted.once[leaf]} back" for leaf in back]
        one = one.lowered(wanted)
        changed, refused = compare(one, owned, live, self.observed)
        if any(why == "create-only" for _, why in refused):
            names = ", ".join(change.leaf for change, why in refused if why == "create-only")
            return self._replace(one, owned, live, f"{names} can't be changed in place")
        for change, why in refused:
            hint = f"write {change.before}, which it has there" if change.leaf.endswith(".size") else ""
            self.problems.append(Problem(one.where(change.leaf), f"{ref}: {why}", hint))
        fresh = owned or Owned(
            ref, kind.name, wanted.name, wanted.namespace, dict(live.key), {}, {}, False, {}, self.uid
        )
        steps: list[Step] = []
        bare = owned is None or unmarked(owned, live)
        if bare and (self.allowed.owns(ref) or ref in self.opened):
            steps += kind.mark(with_references(live, wanted), self.uid, ref)
            live = kind.marked(live, self.uid, ref)
        then = self._merged(fresh, one, live)
        gone = kind.detached(live, [change.leaf for change in changed if change.after is None])
        kept = {slot: volume for slot, volume in {**detached, **gone}.items() if slot not in wanted.fields}
        if kept:
            then = replace(then, metadata={**then.metadata, "detached": kept})
        values = {change.leaf: change.after for change in changed}
        if values:
            digest_spent = bool(steps)
            more = kind.update(with_references(live, wanted), values, wanted)
            steps += [_without_digest(step) for step in more] if digest_spent else more
        if not steps:
            reason = (
                "adopted"
                if owned is None or owned.fields != then.fields or owned.metadata != then.metadata
                else "as desired"
            )
            return self._keep(one, then, live, reason)
        effect = max((change.effect for change in changed), default=Effect.live)
        reason = "differs from the manifest" if owned else "taken over"
        return self._change(one, Op.update, reason, changed, effect, steps, live, then)

    def _privileges(self, one: Desired) -> None:
        for what in self._uses(one):
            if not self.allowed.may_use(one.kind.name, what):
                self.refusals.append(
                    Problem(
                        one.where("" if what == one.kind.name else what),
                        f"{one.ref} {told(one.kind, what)}",
                        f"--allow-privileged {what}, after reading what it does",
                    )
                )

    def _uses(self, one: Desired) -> tuple[str, ...]:
        """What of a resource needs the user's word: a copy of somebody's guest, too, with all that is in it."""
        used = one.wanted.privileged
        about = vmids(one.wanted.key, one.kind)
        if used and not one.kind.privileged and about and about <= self.own:
            # By its number, but a guest of this release.
            used = tuple(what for what in used if what != one.kind.name)
        if f"Pool/{one.wanted.fields.get('pool')}" in self.refs:
            used = tuple(what for what in used if what != "pool")
        source = self.observed.contexts.get(one.ref, {}).get("source")
        if source is None or source.get("template") or str(source.get("vmid")) in self.own:
            return used
        return (*used, "template")

    def _is_ours(self, one: Desired, owned: Owned | None, live: Live) -> bool:
        ref = one.ref
        if one.kind.always_there or ref in self.opened or self.allowed.owns(ref):
            return True
        mark = live.extra.get("mark")
        if owned is None:
            if mark is not None and mark.uid == self.uid and mark.ref == ref and mark.vmid == str(live.key.get("vmid")):
                return True
            whose = f"a release that is not in this store ({mark.uid})" if mark is not None else "no release"
            name = live.fields.get("name")
            called = f" under the name {name!r}" if name and name != one.wanted.name and "vmid" in live.key else ""
            self.refusals.append(
                Problem(
                    one.where(""),
                    f"{ref}{_number(live.key)} exists already{called} and belongs to {whose}",
                    f"--take-ownership {ref} to take it over",
                )
            )
            return False
        if unmarked(owned, live):
            self.refusals.append(
                Problem(
                    one.where(""),
                    f"{ref}: guest {live.key.get('vmid')} does not carry this release's mark any more",
                    f"if it is still the same guest: --take-ownership {ref}",
                )
            )
            return False
        return True

    def _merged(self, owned: Owned, one: Desired, live: Live | None) -> Owned:
        return merged(owned, one, live, self.observed.hashes, self.uid)

    def _create(self, one: Desired, owned: Owned | None, reason: str) -> Change:
        kind, ref = one.kind, one.ref
        context = {**self.observed.contexts.get(ref, {}), "uid": self.uid}
        for problem in self.observed.problems.get(ref, ()):
            where = one.where(problem.where)
            self.problems.append(Problem(where or problem.where, f"{ref}: {problem.what}", problem.hint))
        wanted = kind.refine(one.wanted, context.get("config", {}))
        one = one.lowered(wanted)
        source = leaves(context.get("config", {}))
        for leaf, value in one.leaves.items():
            why = kind.refusal(leaf, source[leaf], value, Live({}, {})) if source.get(leaf) is not None else ""
            if why and why != "create-only":
                self.problems.append(
                    Problem(one.where(leaf), f"{ref}: {why} (as {wanted.once.get('template')} has it)")
                )
        steps = [] if self.observed.problems.get(ref) else kind.create(wanted, context)
        fields = [FieldChange(leaf, None, value) for leaf, value in one.leaves.items()]
        blank = Owned(ref, kind.name, wanted.name, wanted.namespace, {}, {}, {}, True, {}, self.uid)
        then = self._merged(blank, one, None)
        return self._change(one, Op.create, reason, fields, Effect.live, steps, None, then)

    def _replace(self, one: Desired, owned: Owned | None, live: Live, reason: str) -> Change:
        made = self._create(one, owned, reason)
        ref = one.ref
        losses = one.kind.losses(live)
        protected = one.lifecycle == "protect" or one.lifecycle == "keep"
        foreseen = bool(one.metadata.get("allowReplace")) and not protected
        if (losses or protected or _guest_kind(one.kind)) and not foreseen and ref not in self.allowed.destroy:
            self.refusals.append(
                Problem(
                    one.where(""),
                    f"{ref} would be destroyed and made again: {reason}",
                    f"--allow-destroy {ref} if that is meant"
                    + ("" if protected else "; metadata.allowReplace: true allows it for good"),
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
            needs=tuple(need for need in one.wanted.needs if need in self.refs or need.startswith(INDIRECT)),
            steps=tuple(steps),
            losses=tuple(losses),
            key=dict(live.key) if live else {k: v for k, v in one.wanted.key.items() if v is not None},
            owned=owned,
            wanted=one.wanted,
            privileged=self._uses(one),
            pending={leaf: veiled(was, get_leaf(one.wanted.fields, leaf), _of(owned, leaf)) for leaf, was in pending},
            experimental=one.kind.evidence == "schema",
            where=one.where(""),
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
    undo: bool = False,
) -> Plan:
    """The changes that make ``observed`` as ``desired``. Pure; ``keep`` forgets instead of deleting, ``undo`` forgets
    what this release did not create and asks nothing for the rest."""
    planner = Planner(kinds, inventory, observed, allowed or Allowed(), uid, opened, undo)
    return planner.plan(action, release, namespace, desired, keep=keep)


def _alike(ref: str, known: Iterable[str]) -> str:
    """The names to choose from, those of the same kind first."""
    kind = ref.partition("/")[0]
    return ", ".join(sorted(known, key=lambda one: (one.partition("/")[0] != kind, one))[:8])


def _number(key: Mapping[str, Any]) -> str:
    return f" (VMID {key['vmid']})" if key.get("vmid") else ""


def _of(owned: Owned | None, leaf: str) -> Any:
    return owned.fields.get(leaf) if owned else None


def _without_digest(step: Step) -> Step:
    return replace(step, params={name: value for name, value in step.params.items() if name != "digest"})


def _guest_kind(kind: Kind) -> bool:
    return kind.name in GUEST_KINDS

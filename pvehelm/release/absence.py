"""What keeps a guest from being removed goes first when the guest is made anew, and comes back when that is there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pvehelm.api.kind import Get, Kind
from pvehelm.errors import ApiError, Problem
from pvehelm.release.change import Change, Op, Plan
from pvehelm.release.compare import Observed
from pvehelm.release.inventory import GUEST_KINDS

# Ends the ref of the change that removes an object for the time being; no name holds a space.
AWAY = " (away)"


def with_absences(changes: Sequence[Change], observed: Observed, kinds: Callable[[str], Kind]) -> list[Change]:
    """``changes`` with a removal before each guest that is made anew, for whatever holds it; what is removed for good
    goes before it, too."""
    found = {change.ref: change for change in changes}
    anew = {change.ref for change in changes if change.op is Op.recreate and change.kind in GUEST_KINDS}
    if not anew:
        return list(changes)
    guests = {str(found[ref].key.get("vmid")): ref for ref in anew}
    for change in changes:
        kind = kinds(change.kind)
        live = observed.old.get(change.ref) or observed.live.get(change.ref)
        if not kind.holds_guest or live is None:
            continue
        guest = next((ref for number, ref in guests.items() if number in vmids(live.key)), "")
        if not guest or change.op not in (Op.create, Op.delete):
            continue
        first = change
        if change.op is Op.create:
            first = Change(
                ref=change.ref + AWAY,
                kind=change.kind,
                op=Op.delete,
                reason=change.reason,
                # Not before the guest itself could go.
                needs=found[guest].needs,
                steps=tuple(kind.away(live)),
                key=dict(live.key),
                where=change.where,
            )
            found[first.ref] = first
        found[guest] = replace(found[guest], needs=(*found[guest].needs, first.ref))
    return list(found.values())


async def held(made: Plan, get: Get) -> list[Problem]:
    """Guests that can't be removed because something holds them that a plan leaves: said before they are stopped."""
    gone = {vmid: change for change in made.changes for vmid in vmids(change.key) if _goes(change)}
    if not gone:
        return []
    goes = [change for change in made.changes if change.kind == "HAResource" and change.op is Op.delete]
    released = {vmid for change in goes for vmid in vmids(change.key)}
    try:
        rows = await get("/cluster/ha/resources") or []
    except ApiError:
        return []  # who may not look is told by the server
    found = [(gone[vmid], row["sid"]) for row in rows for vmid in vmids(row) if vmid in gone.keys() - released]
    return [
        Problem(
            change.where or change.ref,
            f"{change.ref} is managed by HA ({sid}), which is none of this plan: the server removes no such guest",
            f"take it out of HA first: pvehelm api delete /cluster/ha/resources/{sid}",
        )
        for change, sid in found
    ]


def _goes(change: Change) -> bool:
    return change.kind in GUEST_KINDS and change.op in (Op.delete, Op.recreate) and bool(change.steps)


def vmids(key: Mapping[str, Any], kind: Kind | None = None) -> set[str]:
    """The guest that a key is about, by VMID: a scope's, an HA resource's ``vm:100``, or one in the name of a kind
    whose names have it (``100-0``)."""
    if key.get("vmid"):
        return {str(key["vmid"])}
    named = re.fullmatch(kind.guest_name, str(key.get("id", ""))) if kind is not None and kind.guest_name else None
    return {named[1]} if named else {str(key.get("sid", "")).rpartition(":")[2]} - {""}

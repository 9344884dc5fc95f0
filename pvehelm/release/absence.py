"""What keeps a guest from being removed goes first when the guest is made anew, and comes back when that is there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
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
    goes before its guest, too."""
    found = {change.ref: change for change in changes}
    guests = {vmid: change.ref for change in changes if _goes(change) for vmid in vmids(change.key)}
    for change in changes if guests else ():
        kind = kinds(change.kind)
        live = observed.old.get(change.ref) or observed.live.get(change.ref)
        if not kind.holds_guest or live is None or change.op not in (Op.create, Op.delete):
            continue
        guest = next((ref for number, ref in guests.items() if number in vmids(live.key, kind)), "")
        if not guest or (change.op is Op.create and found[guest].op is not Op.recreate):
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
        if first.ref not in found[guest].needs:
            found[guest] = replace(found[guest], needs=(*found[guest].needs, first.ref))
    return list(found.values())


@dataclass(frozen=True)
class _Hold:
    """A list of what holds guests: its path, the column that names its rows, and how that is said."""

    kind: str
    path: str
    column: str
    what: str


_HOLDS = (
    _Hold("HAResource", "/cluster/ha/resources", "sid", "managed by HA"),
    _Hold("ReplicationJob", "/cluster/replication", "id", "held by a replication job"),
)


async def held(made: Plan, get: Get) -> list[Problem]:
    """Guests that can't be removed because something holds them that a plan leaves: said before they are stopped."""
    gone = {vmid: change for change in made.changes for vmid in vmids(change.key) if _goes(change)}
    problems: list[Problem] = []
    for hold in _HOLDS if gone else ():
        goes = [change for change in made.changes if change.kind == hold.kind and change.op is Op.delete]
        released = {str(change.key.get(hold.column)) for change in goes}
        try:
            rows = await get(hold.path) or []
        except ApiError:
            continue  # who may not look is told by the server
        for row in rows:
            name = str(row[hold.column])
            about = {str(row["guest"])} if "guest" in row else vmids({hold.column: name})
            for vmid in about & gone.keys() if not _in(name, released) else ():
                change = gone[vmid]
                what = f"{change.ref} is {hold.what} ({name}), which is none of this plan: the server removes no such"
                hint = f"take it away first: pvehelm api delete {hold.path}/{name}"
                problems.append(Problem(change.where or change.ref, f"{what} guest", hint))
    return problems


def _in(name: str, released: Set[str]) -> bool:
    """Whether a row is one of those: an HA resource may be named without its type."""
    return bool({name, name.rpartition(":")[2]} & released)


def _goes(change: Change) -> bool:
    return change.kind in GUEST_KINDS and change.op in (Op.delete, Op.recreate) and bool(change.steps)


def vmids(key: Mapping[str, Any], kind: Kind | None = None) -> set[str]:
    """The guest that a key is about, by VMID: a scope's, an HA resource's ``vm:100``, or one in the name of a kind
    whose names have it (``100-0``)."""
    if key.get("vmid"):
        return {str(key["vmid"])}
    named = re.fullmatch(kind.guest_name, str(key.get("id", ""))) if kind is not None and kind.guest_name else None
    return {named[1]} if named else {str(key.get("sid", "")).rpartition(":")[2]} - {""}

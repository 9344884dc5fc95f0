"""What keeps a guest from being removed goes first when the guest is made anew, and comes back when that is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pvehelm.api.kind import Kind
from pvehelm.release.change import Change, Op
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


def vmids(key: Mapping[str, Any]) -> set[str]:
    """The guest that a key is about, by VMID: a scope's, or an HA resource's ``vm:100``."""
    return {str(key["vmid"])} if key.get("vmid") else {str(key.get("sid", "")).partition(":")[2]} - {""}

"""Guests that somebody works on: the server has locked them (a backup, a migration, a snapshot) and would refuse what a
plan does to them, half-way through it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pvehelm.errors import Problem
from pvehelm.release.change import Change, Op, Plan
from pvehelm.release.inventory import GUEST_KINDS

if TYPE_CHECKING:
    from pvehelm.release.compare import Observed

SUSPENDED = "suspended"
_CALL = re.compile(r"/nodes/[^/]+/(?:qemu|lxc)/\d+(?P<what>/.*)?\Z")


def locked(made: Plan, observed: Observed) -> list[Problem]:
    """The guests of a plan that are locked, before anything is begun."""
    found = []
    for change in made.changes:
        live = observed.old.get(change.ref) or observed.live.get(change.ref)
        if change.kind not in GUEST_KINDS or change.op is Op.create or live is None:
            continue
        lock = str((live.extra.get("raw") or {}).get("lock") or "")
        if not lock or not _meets(change, lock):
            continue
        vmid = live.key.get("vmid")
        hint = "try again once that is done; `qm unlock` or `pct unlock` on its node takes off what was left behind"
        hint = f"pvehelm resume {vmid} wakes it" if lock == SUSPENDED else hint
        what = f"{change.ref}: " if change.where else ""
        found.append(Problem(change.where or change.ref, f"{what}VMID {vmid} is locked ({lock})", hint))
    return found


def _meets(change: Change, lock: str) -> bool:
    """Whether a change has a call that the lock forbids: what sleeps on disk may be started, stopped and destroyed."""
    calls = [(step.method, call["what"] or "") for step in change.steps if (call := _CALL.match(step.path))]
    free = {("POST", "/status/start"), ("POST", "/status/resume"), ("POST", "/status/stop"), ("DELETE", "")}
    return any(call not in free for call in calls) if lock == SUSPENDED else bool(calls)

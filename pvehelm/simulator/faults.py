"""Faults that users inject: answer with a status, drop the connection, delay, let a task fail or a node go.

Kept in the state, so that they count for every process and both transports. A fault::

    {"match": "POST /nodes/*/qemu", "status": 500}         # with "message": its text; "executed": done all the same
    {"match": ..., "drop": "before"}                       # not executed; after: executed, no answer; body: half of it
    {"match": ..., "delay": 3}                             # seconds
    {"match": ..., "task-fail": "no space"}                # the task ends so, without any effect
    {"match": ..., "task-lost": True}                      # done, but the node knows nothing about the task
    {"match": ..., "offline": "pve-node1"}                 # from this request on
    {..., "times": 2}                                      # then it is gone

``match`` is ``[METHOD ]PATH`` with ``*`` for any text.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from pvehelm.errors import UsageError
from pvehelm.simulator.state import State

KINDS = ("status", "drop", "delay", "task-fail", "task-lost", "offline")
DROPS = ("before", "after", "body")
_NAME = "faults"


def add(
    state: State,
    match: str,
    *,
    times: int | None = None,
    message: str = "",
    executed: bool = False,
    **what: Any,
) -> dict[str, Any]:
    """Add a fault; exactly one of ``status=``, ``drop=``, ``delay=``, ``task_fail=``, ``task_lost=``, ``offline=``;
    ``message`` and ``executed`` belong to a status. Raises UsageError."""
    given = {name.replace("_", "-"): value for name, value in what.items() if value is not None}
    if len(given) != 1 or next(iter(given)) not in KINDS:
        raise UsageError(f"a fault is exactly one of {', '.join(KINDS)}")
    if not match.strip():
        raise UsageError("a fault needs a match such as 'POST /nodes/*/qemu'")
    if given.get("drop", "after") not in DROPS:
        hint = "before: not executed; after: executed, no answer; body: executed, the answer breaks off"
        raise UsageError("drop is before, after or body", hint=hint)
    if "offline" in given and given["offline"] not in state.collection("nodes"):
        raise UsageError(f"there is no node {given['offline']}", hint=", ".join(state.collection("nodes")))
    if (message or executed) and "status" not in given:
        raise UsageError("message and executed go with a status")
    if "status" in given and not 400 <= int(given["status"]) <= 599:
        raise UsageError("the status of a fault is 400 to 599")
    if "delay" in given and float(given["delay"]) < 0:
        raise UsageError("a delay is a number of seconds, not negative")
    if times is not None and times < 1:
        raise UsageError("times is 1 or more")
    more = {"message": message, "executed": executed, "times": times}
    fault = {"match": match.strip(), **given, **{name: value for name, value in more.items() if value}}
    with state.transaction():
        state.set_value(_NAME, [*state.value(_NAME, []), fault])
    return fault


def listed(state: State) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = state.value(_NAME, [])
    return found


def clear(state: State) -> None:
    with state.transaction():
        state.set_value(_NAME, [])


def matches(fault: Mapping[str, Any], method: str, path: str) -> bool:
    wanted, _, pattern = fault["match"].rpartition(" ")
    return (not wanted or wanted.strip() in ("*", method)) and fnmatchcase(path, pattern)


def take(state: State, method: str, path: str) -> dict[str, Any]:
    """What the faults do to this request, one of each kind at most; counts them down."""
    if not any(matches(fault, method, path) for fault in listed(state)):
        return {}
    effects: dict[str, Any] = {}
    with state.transaction():
        left = []
        for fault in listed(state):
            kind = next(kind for kind in KINDS if kind in fault)
            if kind in effects or not matches(fault, method, path):
                left.append(fault)
                continue
            effects |= {name: value for name, value in fault.items() if name not in ("match", "times")}
            if "times" not in fault:
                left.append(fault)
            elif fault["times"] > 1:
                left.append({**fault, "times": fault["times"] - 1})
        state.set_value(_NAME, left)
    return effects

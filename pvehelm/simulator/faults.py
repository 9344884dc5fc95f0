"""Faults that users inject: answer with a status, drop the connection, delay, let a task fail.

Kept in the state, so that they count for every process and both transports. A fault::

    {"match": "POST /nodes/*/qemu", "status": 500}        # or drop: before|after, delay: seconds, task-fail: text
    {..., "times": 2}                                      # then it is gone

``match`` is ``[METHOD ]PATH`` with ``*`` for any text.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from pvehelm.errors import UsageError
from pvehelm.simulator.state import State

KINDS = ("status", "drop", "delay", "task-fail")
_NAME = "faults"


def add(state: State, match: str, *, times: int | None = None, **what: Any) -> dict[str, Any]:
    """Add a fault; exactly one of ``status=``, ``drop=``, ``delay=``, ``task_fail=``. Raises UsageError."""
    given = {name.replace("_", "-"): value for name, value in what.items() if value is not None}
    if len(given) != 1 or next(iter(given)) not in KINDS:
        raise UsageError("a fault is exactly one of status, drop, delay, task-fail")
    if not match.strip():
        raise UsageError("a fault needs a match such as 'POST /nodes/*/qemu'")
    if given.get("drop", "after") not in ("before", "after"):
        raise UsageError("drop is before or after", hint="before: not executed; after: executed, no answer")
    if "status" in given and not 400 <= int(given["status"]) <= 599:
        raise UsageError("the status of a fault is 400 to 599")
    if "delay" in given and float(given["delay"]) < 0:
        raise UsageError("a delay is a number of seconds, not negative")
    if times is not None and times < 1:
        raise UsageError("times is 1 or more")
    fault = {"match": match.strip(), **given, **({"times": times} if times is not None else {})}
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
            effects[kind] = fault[kind]
            if "times" not in fault:
                left.append(fault)
            elif fault["times"] > 1:
                left.append({**fault, "times": fault["times"] - 1})
        state.set_value(_NAME, left)
    return effects

"""Tasks: UPIDs, logs, running and finished, with an optional duration.

A task's work is done in the transaction of the request that starts it; while its time has not come it is shown as
running and what it works on as locked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pvehelm.simulator.state import State

UPID = re.compile(
    r"UPID:(?P<node>[a-zA-Z0-9.-]+):(?P<pid>[0-9A-Fa-f]{8}):(?P<pstart>[0-9A-Fa-f]{8,9}):(?P<starttime>[0-9A-Fa-f]{8})"
    r":(?P<type>[^:\s]+):(?P<id>[^:\s]*):(?P<user>[^:\s]+):\Z"
)


class TaskFailure(Exception):
    """Work that ends the task with this exit status. ``keep`` keeps what was done until then."""

    def __init__(self, text: str, *, keep: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.keep = keep


@dataclass
class TaskLog:
    """What the work reports: ``log(line)`` adds a line, ``warn`` one that makes the task end with WARNINGS."""

    lines: list[str] = field(default_factory=list)
    warnings: int = 0

    def __call__(self, line: str) -> None:
        self.lines.append(line)

    def warn(self, line: str) -> None:
        self.lines.append(f"WARN: {line}")
        self.warnings += 1


def run(
    state: State,
    node: str,
    user: str,
    type: str,
    id: str,
    work: Callable[[TaskLog], None],
    *,
    now: float,
    seconds: float = 0.0,
    fail: str | None = None,
    lock: str | None = None,
    vmid: str | None = None,
) -> str:
    """Do the work, record the task, return its UPID. ``fail`` makes it fail with that text and no effect."""
    number = state.count("pid")
    upid = (
        f"UPID:{node}:{number:08X}:{(int(now * 100) + number) & 0xFFFFFFFF:08X}:{int(now):08X}"
        f":{type}:{quote(id, safe='@/,;+ ~!').replace(' ', '%20') if ':' in id else id}:{user}:"
    )
    log = TaskLog()
    status = _run(state, work, log, fail)
    if status != "OK" and not status.startswith("WARNINGS"):
        log.lines.append(f"TASK ERROR: {status}")
    else:
        log.lines.append(f"TASK {status}")
    state.collection("tasks")[upid] = {
        "upid": upid,
        "node": node,
        "pid": number,
        "pstart": (int(now * 100) + number) & 0xFFFFFFFF,
        "starttime": int(now),
        "type": type,
        "id": id,
        "user": user,
        "end": now + seconds,
        "exitstatus": status,
        "log": log.lines,
        **({"lock": lock, "vmid": vmid} if lock and vmid else {}),
    }
    if seconds and lock and vmid:
        state.set_value("busy", {**_busy(state, now), vmid: [lock, now + seconds]})
    return upid


def _run(state: State, work: Callable[[TaskLog], None], log: TaskLog, fail: str | None) -> str:
    if fail is not None:
        return fail
    kept: TaskFailure | None = None
    try:
        with state.savepoint():
            try:
                work(log)
            except TaskFailure as failure:
                if not failure.keep:
                    raise
                kept = failure
    except TaskFailure as failure:
        return failure.text
    if kept is not None:
        return kept.text
    return f"WARNINGS: {log.warnings}" if log.warnings else "OK"


def _busy(state: State, now: float) -> dict[str, list[Any]]:
    return {vmid: entry for vmid, entry in state.value("busy", {}).items() if entry[1] > now}


def busy(state: State, vmid: str, now: float) -> str | None:
    """The lock that a task which is still running holds on a guest."""
    entry = _busy(state, now).get(vmid)
    return str(entry[0]) if entry else None


def running(task: dict[str, Any], now: float) -> bool:
    return bool(task["end"] > now)

"""What happens while a plan is applied; emitted, never returned."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """``type``: plan, change-started, step, task-log, change-done, change-failed, change-skipped, retry, note, log (a
    line that a hook said), read (an object that was looked at: ``done`` of ``total``), waiting or ready (with --wait:
    what a resource still lacks, and that it lacks nothing)."""

    type: str
    ref: str = ""
    message: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=time.time)

    def as_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {"type": self.type, "time": self.time}
        return row | {k: v for k, v in (("ref", self.ref), ("message", self.message), ("data", dict(self.data))) if v}


Emit = Callable[[Event], None]

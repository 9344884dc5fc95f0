"""Work for a child that was started early: it is sent there by its name."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from pvehelm.chart.sandbox import Answer, Ask


def ready(rehearse: bool) -> None:
    pass


class Work:
    def __call__(self, job: Any, ask: Ask) -> Answer:
        return Answer(getattr(self, job)())

    def who(self) -> int:
        return os.getpid()

    def loaded(self) -> list[str]:
        return sorted(sys.modules)

    def inside(self) -> dict[str, Any]:
        found = []
        for descriptor in range(256):
            try:
                os.fstat(descriptor)
            except OSError:
                continue
            found.append(descriptor)
        return {"environment": dict(os.environ), "descriptors": found}

    def hungry(self) -> int:
        return len(bytearray(1 << 30))

    def busy(self) -> None:
        while True:
            pass

    def file(self) -> None:
        Path("never").write_text("x")

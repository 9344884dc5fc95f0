"""What is begun before the command line itself is imported: the child that renders (``chart.spare``)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

_RENDERING = ("template", "lint", "install", "upgrade", "plan", "diff")
#: These render only where a chart is named.
_SOMETIMES = ("plan", "diff")


def begin(arguments: Sequence[str]) -> None:
    """Starts the child if the command is one that renders a chart."""
    if not arguments or arguments[0] not in _RENDERING or "-h" in arguments or "--help" in arguments:
        return
    dialects = _dialects(arguments[1:])
    if dialects or arguments[0] not in _SOMETIMES or arguments[1:2] in (["install"], ["upgrade"]):
        from pvehelm.chart import spare

        spare.start(*dialects)


def _dialects(arguments: Sequence[str]) -> list[str]:
    """The dialect the arguments speak of: a guess, which costs time where it is wrong, and nothing else."""
    asked = ["gotpl" if "gotpl" in word else "jinja2" for word in _values("--engine", arguments)]
    # A chart stands after the release, which may have the name of another folder.
    for word in reversed(arguments):
        if asked or word.startswith("-"):
            continue
        path = os.path.join(word, "Chart.yaml")
        try:
            if not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                lines = file.read(1 << 16).splitlines()
        except (OSError, ValueError):
            continue
        engines = [line for line in lines if line.startswith(b"engine:")]
        asked.append("gotpl" if any(b"gotpl" in line for line in engines) else "jinja2")
    return asked


def _values(flag: str, arguments: Sequence[str]) -> list[str]:
    after = [word for before, word in itertools.pairwise(arguments) if before == flag]
    return after + [word.partition("=")[2] for word in arguments if word.startswith(f"{flag}=")]

"""``PVEHELM_EXTERNAL_DIFF``: a program of the user's shows what differs, of two folders with a file for each object."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pvehelm.errors import PvehelmError, UsageError

if TYPE_CHECKING:
    from pvehelm.release.plan import Change, Plan

VARIABLE = "PVEHELM_EXTERNAL_DIFF"


def shown(plan: Plan, how: str) -> bool:
    """Show what a plan changes by the program, ``live/`` against ``planned/``; whether that was wanted and could be.

    Raises PvehelmError when the program can't run."""
    program = os.environ.get(VARIABLE, "").strip()
    if how != "table" or not program or plan.problems or plan.refusals:
        return False
    try:
        words = shlex.split(program)
    except ValueError as error:
        raise UsageError(f"{VARIABLE}={program!r} is no command: {error}") from None
    from pvehelm.chart.yaml import dump

    with TemporaryDirectory(prefix="pvehelm-diff-") as folder:
        for side in ("live", "planned"):
            (Path(folder) / side).mkdir()
        for change in plan.changes:
            name = "".join(c if c.isalnum() or c in "-_." else "." for c in change.ref)
            for side, fields in zip(("live", "planned"), _sides(change), strict=True):
                if change.acts and not change.hook and fields is not None:
                    (Path(folder) / side / f"{name}.yaml").write_text(dump(fields, width=None), encoding="utf-8")
        _called([*words, "live", "planned"], folder)
    return True


def _called(words: Sequence[str], folder: str) -> None:
    sys.stdout.flush()
    # A pager or a window takes the terminal over; what is piped goes where our output goes.
    whole = sys.stdout.isatty()
    try:
        ended = subprocess.run(words, cwd=folder, check=False, text=True, stdout=None if whole else subprocess.PIPE)
    except OSError as error:
        raise PvehelmError(f"can't run {words[0]!r}: {error.strerror}", hint=f"{VARIABLE} names a program") from None
    if not whole:
        sys.stdout.write(ended.stdout)
    if ended.returncode > 1 or ended.returncode < 0:
        raise PvehelmError(f"{words[0]} ended with {ended.returncode}", hint=f"{VARIABLE} names it")


def _sides(change: Change) -> tuple[Any, Any]:
    """The fields that a change is about, as they are and as they shall be; None where the object is not there."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for row in change.fields:
        for side, value in ((before, row.before), (after, row.after)):
            if value is not None:
                side[row.leaf] = "<secret>" if isinstance(value, Mapping) and set(value) == {"hmac"} else value
    op = str(change.op)
    return None if op == "create" else before, None if op in ("delete", "forget") else after

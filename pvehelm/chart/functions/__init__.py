"""The function library of templates: Sprig's and Helm's names as plain Python functions.

``FUNCTIONS`` maps each name to a function that takes its arguments in Sprig's order. They are pure (but for ``set``,
``unset``, ``merge`` and ``mergeOverwrite``, which change their first argument as in Sprig, the random ones and the
clock), know no template engine, take null where Sprig does, and raise FunctionError or Failed.

The rule of the Jinja2 dialect (``render.py``):

* called as a function, the arguments stand in Sprig's order: ``default("x", value)``, ``trunc(63, name)``;
* used as a filter, the piped value is Sprig's *last* argument: ``value | default("x")``, ``name | trunc(63)``;
* where Sprig has the subject first (``SUBJECT_FIRST``), the piped value is that subject if it has its type:
  ``list | append(1)``, ``map | pick("a")``, ``1.25 | round(1)``.

A dialect replaces what differs there: Go's way of printing, for one, is no business of this library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pvehelm.chart.functions.common import Block, Failed, FunctionError, Text

if TYPE_CHECKING:
    from pvehelm.chart.functions.table import FUNCTIONS, SUBJECT_FIRST

__all__ = ["FUNCTIONS", "SUBJECT_FIRST", "Block", "Failed", "FunctionError", "Text"]


def __getattr__(name: str) -> Any:
    # All functions are imported when one is wanted: what a process does around a rendering child needs none.
    if name in ("FUNCTIONS", "SUBJECT_FIRST"):
        from pvehelm.chart.functions import table

        return getattr(table, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

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

from collections.abc import Callable
from typing import Any

from pvehelm.chart.functions import dates, encoding, lists, maps, numbers, patterns, shared, strings
from pvehelm.chart.functions.common import Block, Failed, FunctionError, Text

__all__ = ["FUNCTIONS", "SUBJECT_FIRST", "Block", "Failed", "FunctionError", "Text"]

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **strings.FUNCTIONS,
    **maps.FUNCTIONS,
    **lists.FUNCTIONS,
    **numbers.FUNCTIONS,
    **patterns.FUNCTIONS,
    **encoding.FUNCTIONS,
    **dates.FUNCTIONS,
    **shared.FUNCTIONS,
}

#: Functions whose subject is Sprig's first argument, with the type it has.
SUBJECT_FIRST: dict[str, type | tuple[type, ...]] = {
    "append": list,
    "push": list,
    "prepend": list,
    "without": list,
    "slice": list,
    "index": (list, dict),
    "get": dict,
    "set": dict,
    "unset": dict,
    "hasKey": dict,
    "pick": dict,
    "omit": dict,
    "round": (int, float, str),
    "int": (int, float, str),
    "int64": (int, float, str),
    "float64": (int, float, str),
}

# Sprig has a second name for those functions that may fail; here all of them say so.
for _name in (
    "append",
    "push",
    "prepend",
    "first",
    "last",
    "rest",
    "initial",
    "uniq",
    "without",
    "has",
    "compact",
    "slice",
    "chunk",
    "reverse",
    "merge",
    "mergeOverwrite",
    "deepCopy",
    "toYaml",
    "toJson",
    "toRawJson",
    "toPrettyJson",
    "fromJson",
    "regexMatch",
    "regexFind",
    "regexFindAll",
    "regexReplaceAll",
    "regexReplaceAllLiteral",
    "regexSplit",
):
    FUNCTIONS["must" + _name[0].upper() + _name[1:]] = FUNCTIONS[_name]
    if _name in SUBJECT_FIRST:
        SUBJECT_FIRST["must" + _name[0].upper() + _name[1:]] = SUBJECT_FIRST[_name]

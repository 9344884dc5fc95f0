"""The table: every function by its name, and those whose subject comes first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pvehelm.chart.functions import dates, encoding, lists, maps, numbers, patterns, shared, strings

__all__ = ["FUNCTIONS", "SUBJECT_FIRST"]

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

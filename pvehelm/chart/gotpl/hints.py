"""Hints: what to do about the usual mistakes in Helm's templates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pvehelm.chart.gotpl.runtime import MissingKey, NoField
from pvehelm.chart.gotpl.syntax import Chain, Field, Variable
from pvehelm.chart.gotpl.values import GoError, kind_of
from pvehelm.chart.suggest import suggest

_ROOTS = ("Values", "Release", "Chart", "Capabilities", "Files", "Template", "Subcharts")
_PARSING: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"unexpected EOF", lambda found: "an if, range, with, define or block has no {{ end }}"),
    (r"unexpected \{\{end\}\}", lambda found: "there is no if, range, with, define or block that it would end"),
    (r"bad character U\+002D", lambda found: 'a key with a dash is reached by its name: index .Values "my-key"'),
    (r'unexpected "\}"', lambda found: "an action ends with }}"),
    (r'undefined variable "(\$\w*)"', lambda found: f"{found[1]} := sets it, until the end of the block it is set in"),
    (r"unclosed action|unterminated quoted string", lambda found: "a quote or }} is missing"),
)


def parsing(message: str, functions: Iterable[str]) -> str:
    """The hint for a message of the parser; ``functions`` are the names that it knows."""
    if found := re.match(r'function "(.*)" not defined', message):
        if found[1] in _ROOTS:
            return f"did you mean .{found[1]}?"
        close = suggest(found[1], functions)
        return f"did you mean {close}?" if close else ""
    for pattern, told in _PARSING:
        if found := re.search(pattern, message):
            return told(found)
    return ""


def running(error: BaseException, node: Any, values: Iterable[Mapping[str, Any]], templates: Iterable[str]) -> str:
    """The hint for an error at ``node``; ``values`` are those of the charts, ``templates`` the names of the named."""
    if isinstance(error, GoError) and error.hint:
        return error.hint
    said = str(error)
    if isinstance(error, MissingKey):
        close = suggest(error.name, [key for key in error.value if isinstance(key, str)])
        return f"did you mean {close}?" if close else "give the value, or leave --strict away"
    if found := re.match(r"nil pointer evaluating interface \{\}\.(\w+)", said):
        return _nothing(_before(node, found[1]), found[1], values)
    if isinstance(error, NoField):
        if error.name in _ROOTS:
            return _outside(error.name)
        before = _before(node, error.name)
        return f"{before} is a {kind_of(error.value)}, which has no fields" if before else ""
    if found := re.search(r'no template "(.*?)" associated|template "(.*?)" not defined', said):
        close = suggest(found[1] or found[2], templates)
        return f"did you mean {close!r}?" if close else ""
    if "incompatible types for comparison" in said and "float64" in said:
        return "numbers of values files are float64: compare them with a float64, or make them int with | int"
    if "nested reference name" in said:
        return "it seems to include itself"
    if said.startswith("invalid value; expected"):
        return "the value is not set; | default gives it one"
    if re.match(r"range can't iterate over -?[\d.]+(?:e\+?\d+)?$", said):
        return "range until (int NUMBER) counts up to a number of the values"
    if isinstance(error, TypeError) and re.search(r"\b(?:include|tpl)\b", said):
        return 'include and tpl take two: include "NAME" . and tpl TEXT .'
    return ""


def _nothing(path: str, name: str, values: Iterable[Mapping[str, Any]]) -> str:
    """For ``path.name`` where ``path`` is nothing."""
    if not path:
        return ""
    if path.lstrip(".") in _ROOTS:
        return _outside(path.lstrip("."))
    if (close := _meant(path, values)) is not None:
        return f"did you mean {close}.{name}?"
    return f"{path} is not set; ({path}).{name} gives nothing instead of an error"


def _outside(root: str) -> str:
    return f"inside range and with write $.{root}; a define sees nothing but what include hands to it"


def _meant(path: str, values: Iterable[Mapping[str, Any]]) -> str | None:
    """A path into the values that differs from ``path`` in its last name alone, and is there."""
    start = re.match(r"\$?\.Values\.", path)
    if not start:
        return None
    *steps, last = path[start.end() :].split(".")
    for one in values:
        below: Any = one
        for step in steps:
            below = below.get(step) if isinstance(below, dict) else None
        close = suggest(last, [key for key in below if isinstance(key, str)]) if isinstance(below, dict) else None
        if close and close != last and isinstance(below[close], dict):
            return path[: len(path) - len(last)] + close
    return None


def _before(node: Any, name: str) -> str:
    """The part of a field chain that stands before ``name``."""
    if not isinstance(node, (Field, Variable, Chain)) or name not in node.fields:
        return ""
    shown = str(node)
    cut = shown.rfind("." + name)
    return shown[:cut] if cut > 0 else ""

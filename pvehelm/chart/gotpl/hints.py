"""Hints: what to do about the usual mistakes in Helm's templates."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pvehelm.chart.gotpl.runtime import MissingKey, NoField
from pvehelm.chart.gotpl.syntax import Chain, Command, Field, Name, Pipe, Tree, Variable
from pvehelm.chart.gotpl.values import GoError, kind_of
from pvehelm.suggest import suggest

_ROOTS = ("Values", "Release", "Chart", "Capabilities", "Files", "Template", "Subcharts")
#: Values are looked through for a map no further.
_MOST = 10_000
_PARSING: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"unexpected EOF", lambda found: "an if, range, with, define or block has no {{ end }}"),
    (r"unexpected \{\{end\}\}", lambda found: "there is no if, range, with, define or block that it would end"),
    (r"bad character U\+002D", lambda found: 'a key with a dash is reached by its name: index .Values "my-key"'),
    (r'unexpected "\}"', lambda found: "an action ends with }}"),
    (r'undefined variable "(\$\w*)"', lambda found: f"{found[1]} := sets it, until the end of the block it is set in"),
    (r"unclosed action|unterminated quoted string", lambda found: "a quote or }} is missing"),
)


class Seen(NamedTuple):
    """Values as a chart of the tree sees them, and their path among those of the release: "mid.low", "" at the top."""

    path: str
    values: Mapping[str, Any]


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


def running(error: BaseException, node: Any, seen: list[Seen], templates: Iterable[str]) -> str:
    """The hint for an error at ``node``: ``seen`` begins with the chart that is rendered, ``templates`` are names."""
    if isinstance(error, GoError) and error.hint:
        return error.hint
    said = str(error)
    if isinstance(error, MissingKey):
        close = suggest(error.name, [key for key in error.value if isinstance(key, str)])
        told = f"did you mean {close}?" if close else "give the value, or leave --strict away"
        path = next((path for one in seen if (path := _path_of(one, error.value)) is not None), None)
        return told if path is None else f"{_joined(path, error.name)} is not set; {told}"
    if found := re.match(r"nil pointer evaluating interface \{\}\.(\w+)", said):
        return _nothing(_before(node, found[1]), found[1], seen)
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


def wanted(path: str, seen: list[Seen]) -> str:
    """What is to be set where ``required`` found nothing at ``path``."""
    full = _full(path, seen)
    if not full:
        return ""
    close = _close(path, seen, lambda value: value not in (None, ""))
    return f"{full} is not set" + (f"; did you mean {close}?" if close else "")


def required(tree: Tree, node: Any) -> str:
    """The path that a call of ``required`` was given, itself or through the pipe; "" where that is something else."""
    if not isinstance(node, Command) or not isinstance(node.args[0], Name) or node.args[0].name != "required":
        return ""
    given = node.args[2] if len(node.args) == 3 else None
    for pipe in _pipes(tree.root):
        for before, command in itertools.pairwise(pipe.commands):
            if command.pos == node.pos and len(before.args) == 1:
                given = before.args[0]
    return str(given) if isinstance(given, (Field, Variable, Chain)) else ""


def _pipes(node: Any) -> Iterator[Pipe]:
    if isinstance(node, Pipe):
        yield node
    if isinstance(node, list):
        for one in node:
            yield from _pipes(one)
    else:
        for slot in getattr(type(node), "__slots__", ()):
            if slot in ("pipe", "body", "other", "commands", "args", "node"):
                yield from _pipes(getattr(node, slot))


def _nothing(path: str, name: str, seen: list[Seen]) -> str:
    """For ``path.name`` where ``path`` is nothing."""
    if not path:
        return ""
    if path.lstrip(".") in _ROOTS:
        return _outside(path.lstrip("."))
    if (close := _close(path, seen, lambda value: isinstance(value, dict))) is not None:
        return f"did you mean {close}.{name}?"
    full = _full(path, seen)
    set_ = f" ({full} of the release's values)" if full and seen[0].path else ""
    return f"{path} is not set{set_}; ({path}).{name} gives nothing instead of an error"


def _outside(root: str) -> str:
    return f"inside range and with write $.{root}; a define sees nothing but what include hands to it"


_OF_VALUES = re.compile(r"\$?(?:\.\w+)*?\.Values\.")


def _full(path: str, seen: list[Seen]) -> str:
    """The path from the release's values on, where the chart's own values have nothing at ``path``."""
    start = _OF_VALUES.match(path)
    if not start or not seen:
        return ""
    below: Any = seen[0].values
    for step in path[start.end() :].split("."):
        below = below.get(step) if isinstance(below, Mapping) else None
    return ".".join(filter(None, (seen[0].path, path[start.end() :]))) if below in (None, "") else ""


def _close(path: str, seen: list[Seen], fits: Callable[[Any], bool]) -> str | None:
    """A path into the values that differs from ``path`` in its last name alone, and holds what ``fits``."""
    start = _OF_VALUES.match(path)
    if not start:
        return None
    *steps, last = path[start.end() :].split(".")
    for one in seen:
        below: Any = one.values
        for step in steps:
            below = below.get(step) if isinstance(below, dict) else None
        close = suggest(last, [key for key in below if isinstance(key, str)]) if isinstance(below, dict) else None
        if close and close != last and fits(below[close]):
            return path[: len(path) - len(last)] + close
    return None


def _path_of(seen: Seen, wanted: Any) -> str | None:
    """Where a map is among the values, from those of the release on."""
    found: list[tuple[str, Any]] = [(seen.path, seen.values)]
    for path, value in found:
        if value is wanted:
            return path
        below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        found += [(_joined(path, key), one) for key, one in below if isinstance(one, (dict, list))]
        if len(found) > _MOST:
            break
    return None


def _joined(path: str, key: Any) -> str:
    return f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}" if path else str(key)


def _before(node: Any, name: str) -> str:
    """The part of a field chain that stands before ``name``."""
    if not isinstance(node, (Field, Variable, Chain)) or name not in node.fields:
        return ""
    shown = str(node)
    cut = shown.rfind("." + name)
    return shown[:cut] if cut > 0 else ""

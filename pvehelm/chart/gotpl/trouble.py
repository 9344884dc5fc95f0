"""Trouble: what goes wrong in Helm's templates, in Helm's words and at its place.

A traceback names the lines of generated code; from these come the nodes of the templates, outermost first.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from pvehelm.chart.excerpt import excerpt
from pvehelm.chart.gotpl import hints
from pvehelm.chart.gotpl.compiler import CompileError
from pvehelm.chart.gotpl.expressions import Spot, last_read
from pvehelm.chart.gotpl.parser import ParseError
from pvehelm.chart.gotpl.runtime import Failure
from pvehelm.chart.gotpl.signatures import SIGNATURES, ArgumentError
from pvehelm.chart.gotpl.syntax import Call, Chain, Command, Constant, Field, Nil, Tree, Variable, place, quoted
from pvehelm.chart.gotpl.values import GoError
from pvehelm.chart.neighbour import Told
from pvehelm.chart.objects import Scope
from pvehelm.errors import Problem

if TYPE_CHECKING:
    from pvehelm.chart.gotpl.templates import Templates

_MANY = 100
#: Messages may have the values in them; no terminal wants megabytes.
_LONGEST = 10_000


class Link(NamedTuple):
    """One step of the way to a mistake: the file, the named template, the node and the function called there."""

    file: str
    template: str
    spot: Spot
    line: int
    column: int
    text: str = ""

    @property
    def where(self) -> str:
        return f"{'gotpl' if self.file.startswith('gotpl#') else self.file}:{self.line}:{self.column}"

    def at(self, node: Any) -> Link:
        """The same at a part of its node."""
        line, column = place(self.text, node.pos)
        return self._replace(line=line, column=column)


class Trouble:
    """Collects problems of one rendering."""

    def __init__(self, templates: Templates, scopes: list[Scope]) -> None:
        self.templates = templates
        self.scopes = scopes
        self.problems: list[Problem] = []
        #: Named templates of the other dialect.
        self.others: Collection[str] = ()

    def parse_error(self, error: ParseError) -> None:
        start = error.source.rfind("\n", 0, error.pos) + 1
        column = error.pos - start + 1
        hint = hints.parsing(error.message, self.templates.known)
        what = error.message + excerpt(error.source, error.line, column)
        self.problems.append(Problem(f"{error.file}:{error.line}:{column}", what, hint))

    def explain(self, error: BaseException, name: str) -> None:
        """Records what ended the rendering of the file ``name``."""
        links = self.links(error.__traceback__)
        if isinstance(error, Told):
            known = [link for link in reversed(links) if not link.file.startswith("gotpl#")]
            error.came_from(*(f"{link.file}:{link.line}:{link.column + 1}" for link in known[:3]))
            return
        if len(self.problems) >= _MANY:
            return
        if links and (named := _named(links[-1].spot.node, error)) is not links[-1].spot.node:
            links[-1] = links[-1].at(named)
        known = [link for link in links if not link.file.startswith("gotpl#")]
        if not known:
            self.problems.append(Problem(f"{name}:1:1", message(error, Spot(None))))
            return
        inner, outer = known[-1], chain(links)[0]
        if isinstance(error, Failure):
            what = f"execution error at ({outer.where}): {error}"
        else:
            function = links[-1].spot.function
            what = message(error, links[-1].spot)
            what = f"error calling {function}: {what}" if function and _in_function(error) else what
            if links[-1].file.startswith("gotpl#"):
                what = f"in a text given to tpl, at <{links[-1].spot.node}>: {what}"
        if len(what) > _LONGEST:
            what = f"{what[:_LONGEST]}... ({len(what)} characters)"
        what += excerpt(self.templates.sources[inner.file], inner.line, inner.column + 1)
        callers = [link for link in reversed(known[:-1]) if link.where != inner.where]
        what += "".join(f"\n  from {link.file}:{link.line}:{link.column + 1}" for link in callers[:3])
        where = f"{inner.file}:{inner.line}:{inner.column + 1}"
        node, seen = links[-1].spot.node, self._seen(name)
        if isinstance(error, Failure):
            hint = hints.wanted(hints.required(self.templates.tree(links[-1].file, links[-1].template), node), seen)
        else:
            hint = hints.running(error, node, seen, [*self.templates.home, *self.others])
        problem = Problem(where, what, hint)
        if problem not in self.problems:
            self.problems.append(problem)

    def _seen(self, file: str) -> list[hints.Seen]:
        """The values of the charts, those of the chart of ``file`` first."""
        holding = [scope for scope in self.scopes if file.startswith(f"{scope.prefix}/")]
        own = max(holding, key=lambda scope: len(scope.prefix), default=None)
        seen = {
            scope.prefix: hints.Seen(".".join(scope.prefix.split("/charts/")[1:]), scope.root.get("Values", {}))
            for scope in self.scopes
        }
        first = seen.pop(own.prefix) if own is not None else hints.Seen("", {})
        return [first, *seen.values()]

    def text(self, error: BaseException) -> str:
        """The whole message as Go gives it, on one line."""
        if isinstance(error, ParseError):
            return str(error)
        links = chain(self.links(error.__traceback__))
        parts = []
        for index, link in enumerate(links):
            last = index == len(links) - 1
            node = link.spot.node
            if last and (named := _named(node, error)) is not node:
                node, link = named, link.at(named)
            parts.append(f"template: {link.where}: executing {quoted(link.template)} at <{node}>: ")
            if link.spot.function and (not last or _in_function(error)):
                parts.append(f"error calling {link.spot.function}: ")
                if link.spot.function == "tpl" and not last:
                    parts.append(f"error during tpl function execution for {quoted(links[index + 1].text)}: ")
        return "".join(parts) + (message(error, links[-1].spot) if links else str(error))

    def links(self, trace: TracebackType | None) -> list[Link]:
        """The nodes on the way to a mistake, outermost first."""
        found: list[Link] = []
        while trace is not None:
            frame = trace.tb_frame
            if frame.f_globals.get("__gotpl__") is self.templates:
                if self.templates.is_part(frame.f_code):
                    # It stands where it is called.
                    found.pop()
                found.append(self._link(frame.f_code, trace))
            trace = trace.tb_next
        return found

    def _link(self, code: CodeType, trace: TracebackType) -> Link:
        tree, spot = self.templates.spot(code, trace.tb_lineno)
        position = 0 if isinstance(spot.node, Tree) else spot.node.pos
        line, column = place(tree.source, position)
        return Link(code.co_filename, code.co_name, spot, line, column, tree.source)


def chain(links: list[Link]) -> list[Link]:
    """The links that Go's messages name: what a ``template`` action calls stands in its place."""
    return [link for index, link in enumerate(links) if index == len(links) - 1 or not isinstance(link.spot.node, Call)]


def _in_function(error: BaseException) -> bool:
    """Whether a function failed that was called, and not the call of it."""
    if isinstance(error, ArgumentError) or (isinstance(error, TypeError) and "argument" in str(error)):
        return False
    return isinstance(error, GoError) or not type(error).__module__.startswith("pvehelm")


def _named(node: Any, error: BaseException) -> Any:
    """The node that Go names: of a call with a wrong argument that argument, of too few or many the function."""
    if isinstance(error, ArgumentError):
        given = _argument(node, error.index) or (node.args[-1] if isinstance(node, Command) else node)
        return last_read(given)
    if isinstance(node, Command) and (isinstance(error, TypeError) or str(error).startswith("wrong number of args")):
        return node.args[0]
    return last_read(node.node) if isinstance(node, Chain) else node


def _argument(node: Any, index: int) -> Any:
    """The argument of a call at this place; None where it came through the pipe."""
    return node.args[index + 1] if isinstance(node, Command) and index + 1 < len(node.args) else None


#: What a literal should have been.
_LITERALS = {"string": "string", "bool": "bool", "int": "integer", "uint32": "unsigned integer", "float64": "float"}


def _wrong_argument(error: ArgumentError, node: Any) -> str:
    """Go tells of a literal what it should be, of a field that holds nil its type."""
    given = _argument(node, error.index)
    if isinstance(given, Nil):
        return f"cannot assign nil to {error.expected}"
    if isinstance(given, Constant):
        if error.expected in _LITERALS:
            return f"expected {_LITERALS[error.expected]}; found {given}"
        return f"can't handle {given} for arg of type {error.expected}"
    if str(error).startswith("invalid value") and isinstance(given, (Chain, Field, Variable)) and given.fields:
        return f"wrong type for value; expected {error.expected}; got interface {{}}"
    return str(error)


def message(error: BaseException, spot: Spot) -> str:
    """What went wrong, in Go's words as far as they are known."""
    if isinstance(error, RecursionError):
        return "exceeded maximum template depth"
    if isinstance(error, MemoryError):
        return "rendering needs more memory than it may have"
    if isinstance(error, UnboundLocalError):
        return "undefined variable"
    if isinstance(error, ArgumentError):
        return _wrong_argument(error, spot.node)
    if isinstance(error, TypeError) and "argument" in str(error) and spot.function:
        return _wrong_number(error, spot.function)
    if isinstance(error, (GoError, CompileError)) or type(error).__module__.startswith("pvehelm"):
        return str(error)
    return f"{type(error).__name__}: {error}"


#: How many arguments the engine's own functions take.
_OWN = {"include": 2, "tpl": 2, "required": 2, "fail": 1}


def _wrong_number(error: TypeError, function: str) -> str:
    signature = SIGNATURES.get(function)
    given = re.search(r"but (\d+) (?:was|were) given", str(error))
    lacking = re.search(r"missing (\d+) required", str(error))
    if signature is None:
        # These are methods, and Python counts the object as well.
        wanted, least, counted = _OWN.get(function, 0), "", int(given[1]) - 1 if given else 0
    else:
        wanted = len(signature.parameters) - signature.variadic
        least, counted = "at least " if signature.variadic else "", int(given[1]) if given else 0
    got = str(counted) if given else str(wanted - int(lacking[1])) if lacking else ""
    return f"wrong number of args for {function}: want {least}{wanted}" + (f" got {got}" if got else "")

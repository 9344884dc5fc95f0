"""Trouble: what goes wrong in templates, told with file, line and column, the line itself and what to do."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FrameType, TracebackType
from typing import Any

from jinja2 import TemplateNotFound, TemplateSyntaxError
from jinja2.exceptions import SecurityError, UndefinedError

from pvehelm.chart import gosyntax
from pvehelm.chart.dialect import Missing, Poison, UndefinedValue, syntax_place
from pvehelm.chart.excerpt import excerpt
from pvehelm.chart.functions import FUNCTIONS
from pvehelm.chart.neighbour import Told
from pvehelm.chart.pattern import pattern
from pvehelm.chart.traced import Place, unpack
from pvehelm.errors import Problem
from pvehelm.suggest import suggest

_MANY = 100
#: What Python's types are to templates' authors.
_KINDS = {
    "NoneType": "null",
    "list": "a list",
    "str": "a text",
    "int": "a number",
    "float": "a number",
    "bool": "a boolean",
}


class Abort(Exception):
    """Ends the rendering of one template whose problem is recorded."""


class Trouble:
    """Collects problems. ``sources`` are the templates by name, ``names`` what they can call and see.

    ``hint`` says what an undefined value could have been.
    """

    def __init__(
        self, sources: Mapping[str, str], names: Iterable[str], hint: Callable[[Missing, Iterable[str]], str]
    ) -> None:
        self.problems: list[Problem] = []
        self.sources = sources
        self.names = list(names)
        self.hint = hint

    def undefined(self, value: Missing) -> None:
        if isinstance(value, Poison):
            return
        at = self.here(str(value._undefined_name))
        # To Jinja2 {{ if .Values.x }} is a field of something called "if", and {{ quote .Values.x }} one of a function.
        go = value._undefined_name in gosyntax.WORDS or callable(value._undefined_obj)
        if not (go and at[0] and self._go_actions(at[0][0])):
            self.record(at, *self.undefined_text(value))

    def undefined_text(self, value: Missing) -> tuple[str, str]:
        name = value._undefined_name
        if name in ("nil", "null"):
            return f"{name!r} is not defined", "write none"
        if name == "loop":
            return "'loop' is not defined", "it is there within {% for %} only, and not in what a loop calls"
        return str(UndefinedValue(value)), self.hint(value, self.names)

    def here(self, word: str = "") -> tuple[Place | None, list[Place]]:
        """The place in a template that is being rendered, and the places that lead to it."""
        frame: FrameType | None = sys._getframe(1)
        chain: list[tuple[Any, int]] = []
        while frame is not None and len(chain) < 50:
            if template := frame.f_globals.get("__jinja_template__"):
                chain.append((template, frame.f_lineno))
            frame = frame.f_back
        return self._located(chain, word)

    def _located(self, chain: list[tuple[Any, int]], word: str = "") -> tuple[Place | None, list[Place]]:
        """Places of frames, innermost first. A text given to tpl has none: the caller's place stands for it."""
        places: list[Place] = []
        for template, lineno in chain:
            if template.name in self.sources:
                line, column = unpack(template.get_corresponding_lineno(lineno))
                if not places and word:
                    line, column = self._word_at(template.name, line, column, word)
                place = (template.name, line, column)
                if not places or places[-1] != place:
                    places.append(place)
        return (places[0] if places else None), places[1:4]

    def _word_at(self, name: str, line: int, column: int, word: str) -> tuple[int, int]:
        lines = self.sources[name].split("\n")
        for number in range(line, min(line + 5, len(lines)) + 1):
            start = column - 1 if number == line else 0
            if found := re.compile(rf"(?<!\w){re.escape(word)}(?!\w)").search(lines[number - 1], start):
                return number, found.start() + 1
        return line, column

    def record(self, at: tuple[Place | None, list[Place]], what: str, hint: str = "") -> None:
        place, callers = at
        trail = "".join(f"\n  from {name}:{line}:{column}" for name, line, column in callers)
        where = "{}:{}:{}".format(*place) if place else ""
        problem = Problem(where, what + (self.excerpt(place) if place else "") + trail, hint)
        if problem not in self.problems:
            self.problems.append(problem)
        if len(self.problems) >= _MANY:
            raise Abort

    def excerpt(self, place: Place) -> str:
        """The line of a template with a mark under the column."""
        return excerpt(self.sources.get(place[0], ""), place[1], place[2])

    def explain(self, error: Exception, name: str) -> None:
        """Records what went wrong while ``name`` was compiled or rendered."""
        if isinstance(error, (Abort, Told)) or (isinstance(error, UndefinedValue) and isinstance(error.value, Poison)):
            return
        chain = _frames(error.__traceback__)
        at = self._located(chain)
        if isinstance(error, TemplateSyntaxError):
            self._explain_syntax(error, name, at)
            return
        if at[0] is None:
            at = ((name, 1, 1), [])
        what, hint = wording("", error), ""
        if isinstance(error, UndefinedValue):
            what, hint = self.undefined_text(error.value)
            at = self._located(chain, str(error.value._undefined_name))
        elif isinstance(error, TemplateNotFound):
            what = f"there is no template {error.name!r} in this chart"
            close = suggest(str(error.name or ""), [other.rpartition("/")[2] for other in self.sources])
            hint = f"did you mean {close!r}?" if close else "templates are named from the templates folder on"
        elif isinstance(error, RecursionError):
            what, hint = "the template is nested too deeply", "look for a template that includes itself"
        elif isinstance(error, (MemoryError, SystemError)):  # C code that runs out of memory may forget to say so
            what, hint = "rendering needs more memory than it may have", "look for a loop or repeat that grows"
        if isinstance(error, UndefinedValue) and self._go_actions(at[0][0] if at[0] else name):
            return
        try:
            self.record(at, what, hint)
        except Abort:
            return

    def _explain_syntax(self, error: TemplateSyntaxError, name: str, at: tuple[Place | None, list[Place]]) -> None:
        file = error.name if error.name in self.sources else None
        if file is None and at[0] is not None:
            # The text of a tpl call: its own lines are no lines of a file.
            line, column = syntax_place(error)
            what = f"in the text given to tpl, line {line}, column {column}: {error.message}"
            action = next(gosyntax.actions(error.source or ""), None)
            hint = f"{action[2]} is Go's template syntax; write {action[3]}" if action else _syntax_hint(error)
            self.record(at, what, hint)
            return
        file = file or name
        if self._go_actions(file):
            return
        line, column = syntax_place(error)
        if "end of template" in (error.message or ""):
            line, column = _unclosed(self.sources.get(file, "")) or (line, column)
        self.record(((file, line, column), []), error.message or "the template cannot be read", _syntax_hint(error))

    def _go_actions(self, name: str) -> bool:
        """Records Go's template syntax in ``name``, each with what to write instead; whether there is any."""
        found = False
        for number, (line, column, shown, instead) in enumerate(gosyntax.actions(self.sources.get(name, ""))):
            found = True
            if number >= 20:
                break
            what = f"{shown} is Go's template syntax; this chart's engine is jinja2"
            try:
                self.record(((name, line, column), []), what, f"write {instead}")
            except Abort:
                break
        return found


_TAG = pattern(r"\{#.*?#\}|\{%[-+]?\s*(\w+)(.*?)%\}|\{\{", re.DOTALL)
_BLOCKS = {"if", "for", "macro", "define", "call", "filter", "block", "with", "autoescape", "set"}


def _unclosed(source: str) -> tuple[int, int] | None:
    """Where the innermost tag begins that is opened and never closed."""
    opened: list[tuple[str, int]] = []
    for found in _TAG.finditer(source):
        name, rest = found[1], found[2]
        if name in _BLOCKS and not (name == "set" and "=" in rest):
            opened.append((name, found.start()))
        elif name and name.startswith("end") and opened:
            opened.pop()
    if not opened:
        return None
    at = opened[-1][1]
    return source.count("\n", 0, at) + 1, at - source.rfind("\n", 0, at)


def _frames(trace: TracebackType | None) -> list[tuple[Any, int]]:
    """Templates in a traceback with their lines, innermost first."""
    found = []
    while trace is not None:
        if template := trace.tb_frame.f_globals.get("__jinja_template__"):
            found.append((template, trace.tb_lineno))
        trace = trace.tb_next
    return found[::-1][:50]


def wording(name: str, error: Exception) -> str:
    """A Python error in words for the template's author."""
    said = str(error)
    called = name or r"\1"
    said = re.sub(r"\b[\w.]*?(\w+)\(\) (takes|got|missing)", rf"{called} \2", said)
    said = said.replace("called.<locals>.", "")
    if found := re.fullmatch(r"'(\w+)' object has no attribute 'items'", said):
        said = f"a map is expected, not {_KINDS.get(found[1], found[1])}"
    if isinstance(error, SecurityError):
        return said if said.endswith("templates") else f"not allowed in templates: {said}"
    if isinstance(error, UndefinedError) and not isinstance(error, UndefinedValue):
        return said
    if isinstance(error, KeyError):
        return f"there is no {said}"
    if not said:
        return f"{name}: {type(error).__name__}" if name else type(error).__name__
    return f"{name}: {said}" if name and not said.startswith(name) else said


def _syntax_hint(error: TemplateSyntaxError) -> str:
    said = error.message or ""
    if "Unexpected end of template" in said or "end of template" in said:
        return "a tag such as {% if %}, {% for %} or {% define %} is not closed"
    if found := re.search(r"No (filter|test) named '(\w+)'", said):
        close = suggest(found[2], [*FUNCTIONS, "length", "upper", "map", "select", "sort", "unique"])
        return f"did you mean {close}?" if close else ""
    if found := re.search(r"unknown tag '(\w+)'", said):
        close = suggest(found[1], ["if", "elif", "else", "endif", "for", "endfor", "set", "macro", "define", "include"])
        return f"did you mean {close}?" if close else ""
    if "got '='" in said:
        return "comparing is ==, assigning is {% set name = value %}"
    return ""

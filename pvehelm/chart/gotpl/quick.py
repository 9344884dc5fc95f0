"""The quick reading of an action, without places and without mistakes: what almost all actions of charts are.

``Memory`` gives what is in an action by its text, read once however often that is written. Where it gives nothing, the
parser has to read the action itself: because there is something rare in it, or something wrong.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any, NamedTuple

from pvehelm.chart.gotpl.lexer import BLANKS
from pvehelm.chart.gotpl.literals import unquote
from pvehelm.chart.gotpl.syntax import Chain, Command, Constant, Dot, Field, Name, Nil, Pipe, Variable

_AFTER = r"(?=[ \t\r\n|)]|\}\})"
#: Blanks, and then an operand with its fields, or what stands between operands; what begins with neither is taken
#: whole.
_TOKENS = re.compile(
    rf"""[ \t\r\n]*(
     (?:\$\w*|\))?(?:\.(?![0-9])\w+)+{_AFTER}
    |(?![0-9])\w+{_AFTER}
    |(?:"(?:[^"\\\n]|\\[^\n])*"|`[^`]*`){_AFTER}
    |-?\}}\}}
    |\|
    |\(
    |\){_AFTER}
    |\.{_AFTER}
    |(?:0|[1-9][0-9]{{0,8}}){_AFTER}
    |\$\w*(?=[ \t\r\n|),:]|\}}\}})
    |:?=
    |,
    |(?s:.+)
    )""",
    re.VERBOSE,
)
_RIGHT = ("}}", "-}}")
#: Keywords that need no pipeline.
_BARE = frozenset(("end", "else", "break", "continue", "define", "template"))
_CONSTANTS = {"true": True, "false": False}
#: Pipelines within each other.
_DEEPEST = 20


class Known(NamedTuple):
    """What is in an action: its keyword ("else if" as one), how far in it is what its node is named after, its
    pipeline, its name, the variables that it names, assigns, and that are known from there on, and whether it ends
    with ``-}}``."""

    word: str
    inset: int
    pipe: Pipe | None
    name: str
    names: list[str]
    assigned: list[str]
    declared: list[str]
    trims: bool


class _Rare(Exception):
    """There is something in it that is not read here."""


class Memory:
    """What is in actions that use ``functions``, by the text between their delimiters and the right one."""

    def __init__(self, functions: Container[str]) -> None:
        self.functions = functions
        self._known: dict[str, Known | None] = {}

    def known(self, text: str) -> Known | None:
        try:
            return self._known[text]
        except KeyError:
            found = self._known[text] = self._read(text)
            return found

    def _read(self, text: str) -> Known | None:
        try:
            return _read(text, self.functions)
        except _Rare:
            return None


def _read(text: str, functions: Container[str]) -> Known:
    """What is in an action. Raises _Rare."""
    tokens = _TOKENS.findall(text)
    if tokens[-1] not in _RIGHT:
        raise _Rare
    inset, word, at, name = len(text) - len(text.lstrip(BLANKS)), tokens[0], 1, ""
    reading = _Reading(tokens, functions)
    if word in ("if", "with", "range", "end"):
        pass
    elif word == "else" and tokens[1] not in _RIGHT:
        at, word = 2, f"else {tokens[1]}"
        inset = text.index(tokens[1], inset + 4)
        if tokens[1] not in ("if", "with"):
            raise _Rare
    elif word in ("define", "template"):
        if tokens[1][0] not in '"`':
            raise _Rare
        at, name, inset = 2, _text(tokens[1]), text.index(tokens[1])
    elif word not in _BARE:
        word, at = "", 0
    declared: list[str] = []
    assigned: list[str] = []
    pipe = None
    if tokens[at] in _RIGHT and word in _BARE:
        at += 1
    elif word in _BARE and word != "template":
        raise _Rare
    else:
        assigns = False
        if tokens[at][0] == "$" and tokens[at + 1] in (":=", "=", ","):
            declared.append(tokens[at])
            if tokens[at + 1] == ",":
                declared.append(tokens[at + 2])
                if word != "range" or tokens[at + 2][0] != "$":
                    raise _Rare
                at += 2
            if tokens[at + 1] not in (":=", "="):
                raise _Rare
            assigns = tokens[at + 1] == "="
            at += 2
        reading.at = at
        commands = reading.commands(0)
        at = reading.at
        assigned = declared if assigns else []
        reading.names += assigned
        pipe = Pipe(0, [Variable(0, one, []) for one in declared], assigns, commands)
    if at != len(tokens):
        raise _Rare
    return Known(word, inset, pipe, name, reading.names, assigned, declared, tokens[-1] == "-}}")


def _text(literal: str) -> str:
    try:
        return unquote(literal)
    except ValueError:
        raise _Rare from None


class _Reading:
    def __init__(self, tokens: list[str], functions: Container[str]) -> None:
        self.tokens, self.functions = tokens, functions
        self.at = 0
        self.names: list[str] = []

    def commands(self, depth: int) -> list[Command]:
        """The commands of a pipeline and what ends it, which is right at this depth."""
        tokens, at = self.tokens, self.at
        found: list[Command] = []
        args: list[Any] = []
        while True:
            token = tokens[at]
            at += 1
            first = token[0]
            if first == ".":
                args.append(Field(0, token[1:].split(".")) if len(token) > 1 else Dot(0))
            elif first == '"' or first == "`":
                args.append(Constant(0, token, _text(token)))
            elif first == "|" or first == ")" or token in _RIGHT:
                if not args or (found and isinstance(args[0], (Constant, Dot, Nil))):
                    raise _Rare
                found.append(Command(0, args))
                if first != "|":
                    if (first == ")") != (depth > 0):
                        raise _Rare
                    self.at = at
                    return found
                args = []
            elif first == "$":
                name, _, fields = token.partition(".")
                self.names.append(name)
                args.append(Variable(0, name, fields.split(".") if fields else []))
            elif first == "(":
                if depth == _DEEPEST:
                    raise _Rare
                self.at = at
                inner = Pipe(0, [], False, self.commands(depth + 1))
                at = self.at
                fields = tokens[at - 1]
                args.append(Chain(0, inner, fields[2:].split(".")) if len(fields) > 1 else inner)
            elif token in self.functions:
                args.append(Name(0, token))
            elif token in _CONSTANTS:
                args.append(Constant(0, token, _CONSTANTS[token]))
            elif token == "nil":
                args.append(Nil(0))
            elif first in "0123456789" and len(token) < 10:
                args.append(Constant(0, token, int(token)))
            else:
                raise _Rare

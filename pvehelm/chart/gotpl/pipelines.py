"""The pipelines of actions, read token by token, with all that can be wrong in them.

The grammar, the order of its checks and its messages are those of Go's text/template/parse.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, NoReturn

from pvehelm.chart.gotpl.lexer import BLANKS, KEYWORDS, comment, kind_of, piece
from pvehelm.chart.gotpl.literals import Number, unquote
from pvehelm.chart.gotpl.syntax import Chain, Command, Constant, Dot, Field, Name, Nil, Pipe, Variable, quoted

#: How an action ends.
RIGHT = ("}}", "-}}")
NO_TEXTS: list[str] = []
_CLOSE = (")",)
_ASSIGN = (":=", "=")
_DIGITS = "0123456789"
_NUMERIC = frozenset(".+-'0123456789")
#: What begins no operand, or is nothing at all.
_OTHER = frozenset(("", *"|:=)!#%&*,/;<>?@[\\]^{}~"))


class ParseError(Exception):
    """``message`` is what is wrong at ``pos`` of ``source``; the whole text is Go's, with file and line."""

    def __init__(self, file: str, source: str, pos: int, message: str) -> None:
        self.file, self.source, self.pos, self.message = file, source, pos, message
        self.line = source.count("\n", 0, pos) + 1
        super().__init__(f"template: {file}:{self.line}: {message}")


class Pipelines:
    """Where we are in ``source``, and what is known there."""

    def __init__(self, file: str, source: str, functions: Container[str], max_depth: int) -> None:
        self.file, self.source, self.functions, self.max_depth = file, source, functions, max_depth
        #: The action that is read: where it begins (-1: it is done), its texts and where they begin, at which of them
        #: we are, what is wrong where these end with an empty one; and where the template goes on.
        self.left = -1
        self.texts = NO_TEXTS
        self.starts: list[int] = []
        self.at = 0
        self.mistake = ""
        self.after = 0
        #: The variables that there are, those that were named so far, those assigned, and whether one is declared
        #: within an expression.
        self.variables = ["$"]
        self.names: list[str] = []
        self.assigned: list[str] = []
        self.loose = False
        self.depth = 0

    # Mistakes

    def fail(self, message: str, pos: int | None = None) -> NoReturn:
        raise ParseError(self.file, self.source, self.here() if pos is None else pos, message)

    def here(self) -> int:
        """Where that begins which is read next."""
        if self.at < len(self.texts):
            return self.starts[self.at]
        at = self.after
        while True:
            text, left, begin = piece(self.source, at)
            if text:
                return at
            if left < 0:
                return len(self.source)
            begins, at, mistake = comment(self.source, left, begin)
            if begins < 0:
                return left
            if mistake:
                return at

    def unexpected(self, context: str) -> NoReturn:
        """What is read next has no place here."""
        text, pos = self.texts[self.at], self.starts[self.at]
        if not text:
            self.wrong(self.mistake, pos)
        kind = kind_of(text)
        shown = "}}" if kind == "right" else text
        if kind in KEYWORDS or kind == "dot":
            shown = f"<{shown}>"
        else:
            shown = quoted(shown[:10]) + "..." if len(shown) > 10 else quoted(shown)
        self.fail(f"unexpected {shown} in {context}", pos)

    def wrong(self, mistake: str, pos: int) -> NoReturn:
        """Something is no token at all."""
        extra, line = "", self.source.count("\n", 0, max(self.left, 0)) + 1
        if self.left >= 0 and line != self.source.count("\n", 0, pos) + 1:
            where = f"started at {self.file}:{line}"
            extra = f" {where}" if mistake.endswith(" action") else f" in action {where}"
        self.fail(mistake + extra, pos)

    # Texts of an action

    def next(self) -> str:
        """Goes on to the next token."""
        self.at += 1
        text = self.texts[self.at]
        if text and text[0] in BLANKS:
            self.at += 1
            text = self.texts[self.at]
        return text

    def close(self, context: str) -> None:
        """The end of the action."""
        if self.texts[self.at] not in RIGHT:
            self.unexpected(context)
        self.at += 1

    # Pipelines

    def pipeline(self, context: str, ends: tuple[str, ...]) -> Pipe:
        texts = self.texts
        pipe = Pipe(self.starts[self.at], [], False, [])
        while texts[self.at][:1] == "$":
            here, text = self.at, texts[self.at]
            following = self.next()
            if following not in _ASSIGN and following != ",":
                self.at = here
                break
            self.next()
            pipe.names.append(Variable(self.starts[here], text, []))
            self.variables.append(text)
            if following != ",":
                pipe.assigns = following == "="
                if pipe.assigns:
                    self.names += [name.name for name in pipe.names]
                    self.assigned += [name.name for name in pipe.names]
                self.loose |= ends is not RIGHT
                break
            if context != "range" or len(pipe.names) > 1:
                self.fail(f"too many declarations in {context}")
            if texts[self.at][:1] != "$" and texts[self.at] not in (*RIGHT, ")"):
                self.fail("range can only initialize variables")
        while texts[self.at] not in ends:
            if not _operand(texts[self.at]):
                self.unexpected(context)
            pipe.commands.append(self.command())
        if ends is RIGHT:
            self.at += 1
        else:
            self.next()
        if not pipe.commands:
            self.fail(f"missing value for {context}", pipe.pos)
        for number, command in enumerate(pipe.commands[1:], 2):
            if isinstance(command.args[0], (Constant, Dot, Nil)):
                self.fail(f"non executable command in pipeline stage {number}", command.pos)
        return pipe

    def command(self) -> Command:
        texts = self.texts
        args: list[Any] = []
        command = Command(self.starts[self.at], args)
        while True:
            operand = self.term()
            text = texts[self.at]
            if operand is not None:
                if text[:1] == "." and self.follows():
                    operand = self.fields_of(operand)
                    text = texts[self.at]
                args.append(operand)
            if text == "|":
                self.next()
                break
            if text == "}}" or text == ")" or text == "-}}":
                break
            if operand is None or texts[self.at - 1][0] not in BLANKS:
                self.unexpected("operand")
        if not args:
            self.fail("empty command")
        return command

    def follows(self) -> bool:
        """Whether there is a field, without a blank before it."""
        text = self.texts[self.at]
        return text[:1] == "." and len(text) > 1 and text[1] not in _DIGITS and self.texts[self.at - 1][0] not in BLANKS

    def fields_of(self, node: Any) -> Any:
        """An operand with the fields that follow it at once."""
        pos, names = self.starts[self.at], []
        while self.follows():
            names += self.texts[self.at][1:].split(".")
            self.next()
        if isinstance(node, Field):
            return Field(pos, node.fields + names)
        if isinstance(node, Variable):
            return Variable(pos, node.name, names)
        if isinstance(node, (Constant, Nil, Dot)):
            self.fail(f"unexpected . after term {quoted(str(node))}", pos)
        return Chain(pos, node, names)

    def term(self) -> Any:
        """An operand; None where there is something else."""
        text, pos = self.texts[self.at], self.starts[self.at]
        first = text[:1]
        if first == "." and text != "." and text[1] not in _DIGITS:
            self.next()
            names = text[1:].split(".")
            # Go has the place of the second where there is one.
            return Field(pos if len(names) == 1 else pos + len(names[0]) + 1, names)
        if first == '"' or first == "`":
            self.next()
            return Constant(pos, text, self.unquoted(text, pos))
        if first == "$":
            if text not in self.variables:
                self.fail(f"undefined variable {quoted(text)}", pos)
            self.next()
            self.names.append(text)
            return Variable(pos, text, [])
        if first == "(":
            if self.depth >= self.max_depth:
                self.fail("max expression depth exceeded", pos)
            self.next()
            self.depth += 1
            pipe = self.pipeline("parenthesized pipeline", _CLOSE)
            self.depth -= 1
            return pipe
        if not _operand(text):
            return None
        if text == ".":
            self.next()
            return Dot(pos)
        if first in _NUMERIC:
            self.next()
            try:
                return Constant(pos, text, Number(text).constant())
            except ValueError as error:
                self.fail(str(error), pos)
        if text == "nil" or text == "true" or text == "false":
            self.next()
            return Nil(pos) if text == "nil" else Constant(pos, text, text == "true")
        if text not in self.functions:
            self.fail(f"function {quoted(text)} not defined", pos)
        self.next()
        return Name(pos, text)

    def unquoted(self, text: str, pos: int) -> str:
        try:
            return unquote(text)
        except ValueError:
            self.fail("invalid syntax", pos)


def _operand(text: str) -> bool:
    """Whether an operand begins with that."""
    return text[:1] not in _OTHER and text not in RIGHT and (text not in KEYWORDS or text == "nil")

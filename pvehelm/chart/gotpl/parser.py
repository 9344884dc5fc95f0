"""The parser: a template's source becomes its named trees.

The grammar, the order of its checks and its messages are those of Go's text/template/parse.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, NoReturn

from pvehelm.chart.gotpl.lexer import KEYWORDS, Token, tokens
from pvehelm.chart.gotpl.literals import Number, unquote
from pvehelm.chart.gotpl.syntax import (
    Action,
    Body,
    Branch,
    Call,
    Chain,
    Command,
    Constant,
    Dot,
    Field,
    Jump,
    Name,
    Nil,
    Pipe,
    Text,
    Tree,
    Variable,
    quoted,
)

#: How deep parentheses may be nested; Python's own parser takes no more in what is generated from them.
MAX_DEPTH = 90

_OPERANDS = frozenset(
    ("bool", "char", "complex", "dot", "field", "word", "number", "nil", "raw", "string", "variable", "open")
)


class ParseError(Exception):
    """``message`` is what is wrong at ``pos`` of ``source``; the whole text is Go's, with file and line."""

    def __init__(self, file: str, source: str, pos: int, message: str) -> None:
        self.file, self.source, self.pos, self.message = file, source, pos, message
        self.line = source.count("\n", 0, pos) + 1
        super().__init__(f"template: {file}:{self.line}: {message}")


def parse(file: str, source: str, functions: Container[str], *, max_depth: int = MAX_DEPTH) -> dict[str, Tree]:
    """The trees of ``source`` by name: that of the file itself and its definitions. Raises ParseError."""
    parser = _Parser(file, source, functions, max_depth)
    try:
        parser.file_tree()
    except RecursionError:
        raise ParseError(file, source, 0, "the template is nested too deeply") from None
    for tree in parser.trees.values():
        tree.loose = parser.loose
    return parser.trees


class _End:
    """``{{end}}`` or ``{{else}}``: ends a list of nodes."""

    def __init__(self, word: str, pos: int) -> None:
        self.word, self.pos = word, pos

    def __str__(self) -> str:
        return "{{" + self.word + "}}"


class _Parser:
    def __init__(self, file: str, source: str, functions: Container[str], max_depth: int) -> None:
        self.file, self.source, self.functions, self.max_depth = file, source, functions, max_depth
        self.tokens = tokens(source)
        self.at = 0
        self.trees: dict[str, Tree] = {}
        self.variables = ["$"]
        self.ranges = 0
        self.depth = 0
        self.action = 0
        #: Of all nodes so far: the variables that they name, those that they assign, how many actions there were,
        #: whether one leaves a loop, and whether a variable is declared within an expression.
        self.names: list[str] = []
        self.assigned: list[str] = []
        self.actions = 0
        self.leaves = self.loose = False

    # Tokens

    def fail(self, message: str, pos: int | None = None) -> NoReturn:
        if pos is None:
            pos = self.tokens[min(self.at, len(self.tokens) - 1)].pos
        raise ParseError(self.file, self.source, pos, message)

    def unexpected(self, token: Token, context: str) -> NoReturn:
        if token.kind == "error":
            extra, line = "", self.source.count("\n", 0, self.action) + 1
            if line != self.source.count("\n", 0, token.pos) + 1:
                where = f"started at {self.file}:{line}"
                extra = f" {where}" if token.value.endswith(" action") else f" in action {where}"
            self.fail(token.value + extra, token.pos)
        self.fail(f"unexpected {_shown(token)} in {context}", token.pos)

    def expect(self, kind: str, context: str) -> Token:
        token = self.tokens[self.at]
        if token.kind != kind:
            self.unexpected(token, context)
        self.at += 1
        return token

    # Lists of nodes

    def file_tree(self) -> None:
        root: list[Any] = []
        while self.tokens[self.at].kind != "eof":
            if self.tokens[self.at].kind == "left" and self.tokens[self.at + 1].kind == "define":
                self.at += 2
                self.define()
                continue
            node = self.text_or_action()
            if isinstance(node, _End):
                self.fail(f"unexpected {node}", node.pos)
            root.append(node)
        self.add(Tree(self.file, self.file, self.source, root))

    def add(self, tree: Tree) -> None:
        before = self.trees.get(tree.name)
        if before is None or before.empty:
            self.trees[tree.name] = tree
        elif not tree.empty:
            self.fail(f"template: multiple definition of template {quoted(tree.name)}")

    def define(self) -> None:
        context = "define clause"
        name = self.template_name(context)
        self.expect("right", context)
        self.body_of(name, context)

    def body_of(self, name: str, context: str) -> None:
        kept, self.variables = self.variables, ["$"]
        ranges, self.ranges = self.ranges, 0
        body, end = self.nodes()
        if end.word != "end":
            self.fail(f"unexpected {end} in {context}", end.pos)
        self.add(Tree(name, self.file, self.source, body))
        self.variables, self.ranges = kept, ranges

    def nodes(self) -> tuple[Body, _End]:
        found = Body()
        names, assigned, actions = len(self.names), len(self.assigned), self.actions
        outside, self.leaves = self.leaves, False
        while True:
            if self.tokens[self.at].kind == "eof":
                self.fail("unexpected EOF")
            node = self.text_or_action()
            if isinstance(node, _End):
                break
            found.append(node)
        found.names, found.assigned = frozenset(self.names[names:]), frozenset(self.assigned[assigned:])
        found.actions, found.leaves = self.actions - actions, self.leaves
        self.leaves |= outside
        return found, node

    def text_or_action(self) -> Any:
        token = self.tokens[self.at]
        self.at += 1
        if token.kind == "text":
            return Text(token.pos, token.value)
        if token.kind != "left":
            self.unexpected(token, "input")
        self.action = token.pos
        self.actions += 1
        token = self.tokens[self.at]
        kind = token.kind
        if kind in KEYWORDS and kind not in ("nil", "define"):
            self.at += 1
            if kind in ("if", "with", "range"):
                return self.control(kind, token.pos)
            if kind == "end":
                self.expect("right", "end")
                return _End("end", token.pos)
            if kind == "else":
                if self.tokens[self.at].kind not in ("if", "with"):
                    self.expect("right", "else")
                return _End("else", token.pos)
            if kind == "template":
                return self.call()
            if kind == "block":
                return self.block()
            return self.jump(token)
        return Action(token.pos, self.pipeline("command", "right"))

    def control(self, word: str, pos: int) -> Branch:
        mark = len(self.variables)
        pipe = self.pipeline(word, "right")
        leaves = self.leaves
        self.ranges += word == "range"
        body, end = self.nodes()
        if word == "range":
            self.ranges -= 1
            self.leaves = leaves
        other: Body | None = None
        if end.word == "else":
            following = self.tokens[self.at]
            if word != "range" and following.kind == word:
                self.at += 1
                other = Body()
                other.append(self.control(word, following.pos))
            else:
                other, end = self.nodes()
                if end.word != "end":
                    self.fail(f"expected end; found {end}", end.pos)
        del self.variables[mark:]
        return Branch(pos, word, pipe, body, other)

    def jump(self, token: Token) -> Jump:
        word = token.kind
        following = self.tokens[self.at]
        self.at += 1
        if following.kind != "right":
            self.unexpected(following, "{{" + word + "}}")
        if not self.ranges:
            self.fail("{{" + word + "}} outside {{range}}", token.pos)
        self.leaves = True
        return Jump(token.pos, word)

    def template_name(self, context: str) -> str:
        token = self.tokens[self.at]
        if token.kind not in ("string", "raw"):
            self.unexpected(token, context)
        self.at += 1
        return self.unquoted(token.value, token.pos)

    def call(self) -> Call:
        context, pos = "template clause", self.tokens[self.at].pos
        name = self.template_name(context)
        if self.tokens[self.at].kind == "right":
            self.at += 1
            return Call(pos, name, None)
        return Call(pos, name, self.pipeline(context, "right"))

    def block(self) -> Call:
        context, pos = "block clause", self.tokens[self.at].pos
        name = self.template_name(context)
        pipe = self.pipeline(context, "right")
        self.body_of(name, context)
        return Call(pos, name, pipe)

    # Pipelines

    def pipeline(self, context: str, end: str) -> Pipe:
        pipe = Pipe(self.tokens[self.at].pos, [], False, [])
        while self.tokens[self.at].kind == "variable":
            token, following = self.tokens[self.at], self.tokens[self.at + 1]
            if following.kind in ("assign", "declare"):
                self.at += 2
                pipe.assigns = following.kind == "assign"
                pipe.names.append(Variable(token.pos, token.value, []))
                self.variables.append(token.value)
                if pipe.assigns:
                    self.names += [name.name for name in pipe.names]
                    self.assigned += [name.name for name in pipe.names]
                self.loose |= end == "close"
                break
            if following.kind != "other" or following.value != ",":
                break
            self.at += 2
            pipe.names.append(Variable(token.pos, token.value, []))
            self.variables.append(token.value)
            if context != "range" or len(pipe.names) > 1:
                self.fail(f"too many declarations in {context}")
            if self.tokens[self.at].kind not in ("variable", "right", "close"):
                self.fail("range can only initialize variables")
        while True:
            token = self.tokens[self.at]
            if token.kind == end:
                self.at += 1
                break
            if token.kind not in _OPERANDS:
                self.unexpected(token, context)
            pipe.commands.append(self.command())
        if not pipe.commands:
            self.fail(f"missing value for {context}", pipe.pos)
        for number, command in enumerate(pipe.commands[1:], 2):
            if isinstance(command.args[0], (Constant, Dot, Nil)):
                self.fail(f"non executable command in pipeline stage {number}", command.pos)
        return pipe

    def command(self) -> Command:
        tokens = self.tokens
        args: list[Any] = []
        command = Command(tokens[self.at].pos, args)
        while True:
            operand = self.term()
            token = tokens[self.at]
            kind = token.kind
            if operand is not None:
                if kind == "field" and not token.spaced:
                    operand = self.fields_of(operand)
                    token = tokens[self.at]
                    kind = token.kind
                args.append(operand)
            if kind == "pipe":
                self.at += 1
                break
            if kind == "right" or kind == "close":
                break
            if not token.spaced or (operand is None and kind not in _OPERANDS):
                self.unexpected(token, "operand")
        if not args:
            self.fail("empty command")
        return command

    def fields_of(self, node: Any) -> Any:
        """An operand with the fields that follow it at once."""
        token = self.tokens[self.at]
        pos, names = token.pos, []
        while token.kind == "field" and not token.spaced:
            names += token.value[1:].split(".")
            self.at += 1
            token = self.tokens[self.at]
        if isinstance(node, Field):
            return Field(pos, node.fields + names)
        if isinstance(node, Variable):
            return Variable(pos, node.name, names)
        if isinstance(node, (Constant, Nil, Dot)):
            self.fail(f"unexpected . after term {quoted(str(node))}", pos)
        return Chain(pos, node, names)

    def term(self) -> Any:
        kind, value, pos, _ = self.tokens[self.at]
        if kind == "field":
            self.at += 1
            names = value[1:].split(".")
            # Go has the place of the second where there is one.
            return Field(pos if len(names) == 1 else pos + len(names[0]) + 1, names)
        if kind == "word":
            if value not in self.functions:
                self.fail(f"function {quoted(value)} not defined", pos)
            self.at += 1
            return Name(pos, value)
        if kind == "variable":
            if value not in self.variables:
                self.fail(f"undefined variable {quoted(value)}", pos)
            self.at += 1
            self.names.append(value)
            return Variable(pos, value, [])
        if kind == "open":
            if self.depth >= self.max_depth:
                self.fail("max expression depth exceeded", pos)
            self.at += 1
            self.depth += 1
            pipe = self.pipeline("parenthesized pipeline", "close")
            self.depth -= 1
            return pipe
        if kind not in _OPERANDS:
            return None
        self.at += 1
        if kind == "dot":
            return Dot(pos)
        if kind == "nil":
            return Nil(pos)
        if kind == "bool":
            return Constant(pos, value, value == "true")
        if kind in ("string", "raw"):
            return Constant(pos, value, self.unquoted(value, pos))
        try:
            return Constant(pos, value, Number(value).constant())
        except ValueError as error:
            self.fail(str(error), pos)

    def unquoted(self, text: str, pos: int) -> str:
        try:
            return unquote(text)
        except ValueError:
            self.fail("invalid syntax", pos)


def _shown(token: Token) -> str:
    if token.kind == "eof":
        return "EOF"
    if token.kind in KEYWORDS or token.kind == "dot":
        return f"<{token.value}>"
    return quoted(token.value[:10]) + "..." if len(token.value) > 10 else quoted(token.value)

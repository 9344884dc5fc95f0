"""The parser: a template's source becomes its named trees.

The grammar, the order of its checks and its messages are those of Go's text/template/parse.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, NoReturn

from pvehelm.chart.gotpl.lexer import BLANKS, KEYWORDS, comment, inside, kind_of, piece, trimmed
from pvehelm.chart.gotpl.literals import Number, unquote
from pvehelm.chart.gotpl.quick import Memory
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

_DIGITS = "0123456789"
_NUMERIC = frozenset(".+-'0123456789")
#: What begins no operand, or is nothing at all.
_OTHER = frozenset(("", *"|:=)!#%&*,/;<>?@[\\]^{}~"))
_RIGHT, _CLOSE = ("}}", "-}}"), (")",)
_ASSIGN = (":=", "=")
#: What is read instead of a node.
_DEFINED = object()
_NO_TEXTS: list[str] = []


class ParseError(Exception):
    """``message`` is what is wrong at ``pos`` of ``source``; the whole text is Go's, with file and line."""

    def __init__(self, file: str, source: str, pos: int, message: str) -> None:
        self.file, self.source, self.pos, self.message = file, source, pos, message
        self.line = source.count("\n", 0, pos) + 1
        super().__init__(f"template: {file}:{self.line}: {message}")


def parse(
    file: str, source: str, functions: Container[str], *, max_depth: int = MAX_DEPTH, memory: Memory | None = None
) -> dict[str, Tree]:
    """The trees of ``source`` by name: that of the file itself and its definitions. Raises ParseError.

    With a ``memory`` that has the same ``functions`` it takes half as long, and nodes of pipelines have no places.
    """
    parser = _Parser(file, source, functions, max_depth, memory)
    try:
        parser.file_tree()
    except RecursionError:
        raise ParseError(file, source, 0, "the template is nested too deeply") from None
    for tree in parser.trees.values():
        tree.loose = parser.loose
    return parser.trees


class _End:
    """``{{end}}`` or ``{{else}}``: ends a list of nodes. ``pipe`` is that of ``{{else if}}``."""

    def __init__(self, word: str, pos: int, pipe: Pipe | None = None) -> None:
        self.word, self.pos, self.pipe = word, pos, pipe

    def __str__(self) -> str:
        return "{{" + self.word + "}}"


class _Parser:
    def __init__(
        self, file: str, source: str, functions: Container[str], max_depth: int, memory: Memory | None
    ) -> None:
        self.file, self.source, self.functions, self.max_depth = file, source, functions, max_depth
        self.memory = memory
        #: The action that is read: where it begins (-1: it is done), its texts and where they begin, at which of them
        #: we are, what is wrong where these end with an empty one; and where the template goes on.
        self.left = -1
        self.texts = _NO_TEXTS
        self.starts: list[int] = []
        self.at = 0
        self.mistake = ""
        self.after = 0
        self.trees: dict[str, Tree] = {}
        self.variables = ["$"]
        self.ranges = 0
        self.depth = 0
        #: Of all nodes so far: the variables that they name, those that they assign, how many actions there were,
        #: whether one leaves a loop, and whether a variable is declared within an expression.
        self.names: list[str] = []
        self.assigned: list[str] = []
        self.actions = 0
        self.leaves = self.loose = False

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
        if self.texts[self.at] not in _RIGHT:
            self.unexpected(context)
        self.at += 1

    # Lists of nodes

    def file_tree(self) -> None:
        root = Body()
        while (node := self.node(root, top=True)) is not None:
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

    def define(self, name: str) -> object:
        self.body_of(name, "define clause")
        return _DEFINED

    def body_of(self, name: str, context: str) -> None:
        kept, self.variables = self.variables, ["$"]
        ranges, self.ranges = self.ranges, 0
        self.left = -1
        body, end = self.nodes()
        if end.word != "end":
            self.fail(f"unexpected {end} in {context}", end.pos)
        self.add(Tree(name, self.file, self.source, body))
        self.variables, self.ranges = kept, ranges

    def nodes(self, within: str = "") -> tuple[Body, _End]:
        """The nodes up to what ends them. ``within`` is the word of a branch that may go on with another condition."""
        found = Body()
        names, assigned, actions = len(self.names), len(self.assigned), self.actions
        outside, self.leaves = self.leaves, False
        while (node := self.node(found, within)).__class__ is not _End:
            if node is None:
                self.fail("unexpected EOF", len(self.source))
            found.append(node)
        found.names, found.assigned = frozenset(self.names[names:]), frozenset(self.assigned[assigned:])
        found.actions, found.leaves = self.actions - actions, self.leaves
        self.leaves |= outside
        return found, node

    def node(self, found: list[Any], within: str = "", *, top: bool = False) -> Any:
        """Reads a text, into ``found``, and the action after it; None at the end."""
        if self.at < len(self.texts):
            # A condition after an {{else that cannot have one.
            self.unexpected("input")
        source = self.source
        while True:
            text, left, at = piece(source, self.after)
            if text:
                found.append(Text(self.after, text))
            if left < 0:
                return None
            if source.startswith("/*", at) or source.startswith("/*", at + 1):
                begins, self.after, mistake = comment(source, left, at)
                if mistake:
                    self.wrong(mistake, self.after)
                if begins >= 0:
                    continue
            self.left = left
            node = self.quick(at, within, top) if self.memory else None
            if node is None:
                node = self.action(at, within, top)
            self.left = -1
            if node is not _DEFINED:
                return node

    def quick(self, at: int, within: str, top: bool) -> Any:
        """The node of the action whose inside begins at ``at``, if it is known what is in it; None where not."""
        end = self.source.find("}}", at) + 2
        known = self.memory.known(self.source[at:end]) if self.memory and end > 1 else None
        if known is None or (known.word[:5] == "else " and known.word[5:] != within):
            return None
        if known.word == "define" and not top:
            return None
        variables = self.variables
        for name in known.names:
            if name not in variables and name not in known.declared:
                return None
        mark = len(variables)
        if known.names:
            self.names += known.names
            self.assigned += known.assigned
        variables += known.declared
        self.texts, self.at = _NO_TEXTS, 0
        self.after = trimmed(self.source, end) if known.trims else end
        return self.made(known.word, known.pipe, known.name, at + known.inset, mark)

    def action(self, at: int, within: str, top: bool) -> Any:
        """The node of the action whose inside begins at ``at``, or ``_DEFINED``."""
        self.texts, self.starts, self.after, self.mistake = inside(self.source, at)
        self.at = -1
        word = self.next()
        pos = self.starts[self.at]
        if word not in KEYWORDS or word == "nil" or (word == "define" and not top):
            word = ""
        else:
            self.next()
            if word == "define":
                self.left = -1
                name = self.template_name("define clause")
                self.close("define clause")
                return self.define(name)
            if word == "block":
                return self.block()
        mark = len(self.variables)
        pipe: Pipe | None = None
        name = ""
        if not word:
            pipe = self.pipeline("command", _RIGHT)
        elif word in ("if", "with", "range"):
            pipe = self.pipeline(word, _RIGHT)
        elif word == "template":
            pos = self.starts[self.at]
            name = self.template_name("template clause")
            if self.texts[self.at] in _RIGHT:
                self.at += 1
            else:
                pipe = self.pipeline("template clause", _RIGHT)
        elif word == "else" and (following := self.texts[self.at]) in ("if", "with"):
            if following != within:
                return _End("else", pos)
            word, pos, self.left = f"else {following}", self.starts[self.at], -1
            self.next()
            pipe = self.pipeline(following, _RIGHT)
        else:
            self.close(word if word in ("end", "else") else "{{" + word + "}}")
        return self.made(word, pipe, name, pos, mark)

    def made(self, word: str, pipe: Pipe | None, name: str, pos: int, mark: int) -> Any:
        """The node of an action, with what belongs to it; ``mark`` is how many variables there were before."""
        if word == "define":
            return self.define(name)
        self.actions += 1
        if word == "end":
            return _End(word, pos)
        if pipe is None:
            if word == "else":
                return _End(word, pos)
            return Call(pos, name, None) if word == "template" else self.jump(word, pos)
        if not word:
            return Action(pos, pipe)
        if word == "template":
            return Call(pos, name, pipe)
        return self.control(word, pos, pipe, mark) if word[:5] != "else " else _End("else", pos, pipe)

    def control(self, word: str, pos: int, pipe: Pipe, mark: int) -> Branch:
        leaves = self.leaves
        self.ranges += word == "range"
        body, end = self.nodes(word)
        if word == "range":
            self.ranges -= 1
            self.leaves = leaves
        other: Body | None = None
        if end.word == "else":
            if end.pipe is not None:
                other = Body()
                other.append(self.control(word, end.pos, end.pipe, mark))
            else:
                other, end = self.nodes()
                if end.word != "end":
                    self.fail(f"expected end; found {end}", end.pos)
        del self.variables[mark:]
        return Branch(pos, word, pipe, body, other)

    def jump(self, word: str, pos: int) -> Jump:
        if not self.ranges:
            self.fail("{{" + word + "}} outside {{range}}", pos)
        self.leaves = True
        return Jump(pos, word)

    def template_name(self, context: str) -> str:
        text, pos = self.texts[self.at], self.starts[self.at]
        if text[:1] not in ('"', "`"):
            self.unexpected(context)
        self.next()
        return self.unquoted(text, pos)

    def block(self) -> Call:
        context, pos = "block clause", self.starts[self.at]
        self.actions += 1
        name = self.template_name(context)
        pipe = self.pipeline(context, _RIGHT)
        self.body_of(name, context)
        return Call(pos, name, pipe)

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
                self.loose |= ends is not _RIGHT
                break
            if context != "range" or len(pipe.names) > 1:
                self.fail(f"too many declarations in {context}")
            if texts[self.at][:1] != "$" and texts[self.at] not in (*_RIGHT, ")"):
                self.fail("range can only initialize variables")
        while texts[self.at] not in ends:
            if not _operand(texts[self.at]):
                self.unexpected(context)
            pipe.commands.append(self.command())
        if ends is _RIGHT:
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
    return text[:1] not in _OTHER and text not in _RIGHT and (text not in KEYWORDS or text == "nil")

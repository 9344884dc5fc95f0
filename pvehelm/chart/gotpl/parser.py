"""The parser: a template's source becomes its named trees.

The grammar, the order of its checks and its messages are those of Go's text/template/parse.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from pvehelm.chart.gotpl.lexer import KEYWORDS, comment, inside, piece, trimmed
from pvehelm.chart.gotpl.pipelines import NO_TEXTS, RIGHT, ParseError, Pipelines
from pvehelm.chart.gotpl.quick import Memory
from pvehelm.chart.gotpl.syntax import Action, Body, Branch, Call, Jump, Pipe, Text, Tree, quoted

__all__ = ["MAX_DEPTH", "ParseError", "parse"]

#: How deep parentheses may be nested; Python's own parser takes no more in what is generated from them.
MAX_DEPTH = 90

#: What is read instead of a node.
_DEFINED = object()


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


class _Parser(Pipelines):
    def __init__(
        self, file: str, source: str, functions: Container[str], max_depth: int, memory: Memory | None
    ) -> None:
        super().__init__(file, source, functions, max_depth)
        self.memory = memory
        self.trees: dict[str, Tree] = {}
        self.ranges = 0
        #: Of all nodes so far: how many actions there were, and whether one leaves a loop.
        self.actions = 0
        self.leaves = False

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
        self.texts, self.at = NO_TEXTS, 0
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
            pipe = self.pipeline("command", RIGHT)
        elif word in ("if", "with", "range"):
            pipe = self.pipeline(word, RIGHT)
        elif word == "template":
            pos = self.starts[self.at]
            name = self.template_name("template clause")
            if self.texts[self.at] in RIGHT:
                self.at += 1
            else:
                pipe = self.pipeline("template clause", RIGHT)
        elif word == "else" and (following := self.texts[self.at]) in ("if", "with"):
            if following != within:
                return _End("else", pos)
            word, pos, self.left = f"else {following}", self.starts[self.at], -1
            self.next()
            pipe = self.pipeline(following, RIGHT)
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
        pipe = self.pipeline(context, RIGHT)
        self.body_of(name, context)
        return Call(pos, name, pipe)

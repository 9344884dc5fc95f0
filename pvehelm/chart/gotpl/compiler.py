"""The compiler: a template's tree becomes the source of one Python function, and of more for its larger parts.

``def template(R, d0, a, p)`` prints by adding pieces to the list ``a``, as many at once as follow each other, for to
read statements is most of what Python needs to compile them; ``R`` is the Run, ``d0`` the data. Variables and the
dot are Python locals, maps are read in place, the truth of Go is that of Python, and ``and``, ``or``, ``not``,
``default``, ``dict`` and their like need no call. Whatever can fail stands on a line of its own, so the line of a
traceback tells the node: ``located`` generates the source again, for a failed template is rare, and keeps no table.

Most of what charts can print is switched off, so the larger bodies of branches are functions of their own, found in
``p`` by their keys: they are generated and compiled when the template comes to them (``Part``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType
from typing import Any, NamedTuple

from pvehelm.chart.gotpl.expressions import Expressions, Spot, last_read
from pvehelm.chart.gotpl.syntax import (
    Action,
    Body,
    Branch,
    Call,
    Constant,
    Jump,
    Name,
    Text,
    Tree,
)

_DEEPEST = 90
#: So many pieces are added at once.
_MOST_PIECES = 100


class CompileError(Exception):
    """A tree that Python cannot compile: nested too deeply."""


class Part(NamedTuple):
    """A body that is a function of its own, and what it has of the function around it.

    ``locals`` are its variables from outside, by name, ``given`` all its parameters, ``returned`` those it assigns.
    ``loop`` is the branch that it is the whole loop of, over the last of ``given``. ``elements`` are those of
    ``Expressions``; ``names`` is how many names there were before.
    """

    key: int
    body: Body
    loop: Branch | None
    dot: str
    locals: dict[str, str]
    given: list[str]
    returned: list[str]
    elements: frozenset[str]
    names: int


#: Whether a body becomes a part: told its key and itself.
Choice = Callable[[int, Body], bool]


class How(NamedTuple):
    """How templates are compiled: ``parameters`` are the Go types of each function's; ``strict`` makes missing keys
    errors; ``choice`` says what becomes a part."""

    parameters: Mapping[str, tuple[str, ...]]
    strict: bool
    choice: Choice


class Made(NamedTuple):
    """The code of a template or a part of it, the texts taken out of it as [text, position], and its own parts."""

    code: CodeType
    texts: list[Any]
    parts: dict[int, Part]


def compiled(tree: Tree, how: How, part: Part | None = None, *, texts: bool) -> Made:
    """The code of a tree or a part of it. Where ``texts`` are taken out of it, it has their numbers in their place, as
    bytes (``filled``)."""
    made = _Compiler(tree, how, part, texts=texts)
    try:
        module = compile(made.source(), tree.file, "exec", dont_inherit=True, optimize=2)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise CompileError(f'template "{tree.name}" is nested too deeply') from error
    code = next(one for one in module.co_consts if isinstance(one, CodeType))
    return Made(code, made.taken, made.parts)


def filled(code: CodeType, texts: Sequence[str]) -> CodeType:
    """The code with these texts in their places. Templates have no bytes of their own."""

    def text(constant: Any) -> Any:
        return texts[int(constant)] if constant.__class__ is bytes else constant

    return code.replace(
        co_consts=tuple([tuple(map(text, one)) if one.__class__ is tuple else text(one) for one in code.co_consts])
    )


def parts(tree: Tree, how: How) -> dict[int, Part]:
    """The parts of a tree and of its parts, by key."""
    found: dict[int, Part] = {}
    pending: list[Part | None] = [None]
    while pending:
        made = _Compiler(tree, how, pending.pop())
        made.source()
        found.update(made.parts)
        pending += made.parts.values()
    return found


def located(tree: Tree, how: How, part: Part | None, line: int) -> Spot:
    """What line ``line`` of the generated code of a tree, or a part of it, stands for."""
    made = _Compiler(tree, how, part, spots=True)
    found, at = Spot(tree), 1
    for index, text in enumerate(re.split("\0", made.source())):
        if index:
            at += 1
            number, _, text = text.partition("\1")
            if at <= line:
                found = made.spots[int(number)]
        at += text.count("\n")
        if at > line:
            break
    return found


class _Compiler(Expressions):
    def __init__(self, tree: Tree, how: How, part: Part | None, *, texts: bool = False, spots: bool = False) -> None:
        super().__init__(how.parameters, how.strict, spots)
        self.tree, self.choice, self.part, self.texts = tree, how.choice, part, texts
        self.lines: list[str] = []
        self.taken: list[Any] = []
        self.parts: dict[int, Part] = {}
        #: What is printed next, all at once.
        self.pieces: list[str] = []
        self.depth = 1
        #: In the else part of a loop that has a break: what says that the loop outside goes on.
        self.flag = ""

    def source(self) -> str:
        part = self.part
        if part is None:
            given: list[str] = []
            self.body(self.tree.root)
        else:
            given = part.given
            self.dot, self.count = part.dot, part.names
            self.scopes[0].update(part.locals)
            self.elements.update(part.elements)
            if part.loop is None:
                self.body(part.body)
            else:
                names = [self.declared(name.name) for name in part.loop.pipe.names]
                self.over(part.loop, names, given[-1])
            if part.returned:
                self.line(f"return {','.join(part.returned)},")
        return "\n".join([f"def template({','.join(['R', 'd0', 'a', 'p', *given])}):", *(self.lines or [" pass"]), ""])

    # Statements

    def line(self, code: str) -> None:
        if self.pieces:
            self.printed()
        self.lines.append(" " * self.depth + code)

    def printed(self) -> None:
        self.lines.append(f"{' ' * self.depth}a+={','.join(self.pieces)},")
        self.pieces.clear()

    def block(self, nodes: Body, key: int) -> None:
        """A body of a branch, here or apart."""
        self.depth += 1
        if self.apart(key, nodes):
            self.call(key, nodes)
        else:
            self.inside(nodes)
        self.depth -= 1

    def inside(self, nodes: Body) -> None:
        if self.depth > _DEEPEST:
            raise CompileError(f'template "{self.tree.name}" is nested too deeply')
        before = len(self.lines)
        self.scopes.append({})
        self.body(nodes)
        self.scopes.pop()
        if len(self.lines) == before:
            self.line("pass")

    def apart(self, key: int, body: Body, *, loop: bool = False) -> bool:
        """Whether a body is a part."""
        return bool(body) and (loop or not body.leaves) and not self.tree.loose and self.choice(key, body)

    def call(self, key: int, body: Body, loop: Branch | None = None, over: str = "") -> None:
        """Calls a part: a body, or a loop over the local ``over``."""
        own = {name.name for name in loop.pipe.names} if loop else ()
        found = {name: local for name in sorted(body.names) if name not in own and (local := self.found(name))}
        given = list(dict.fromkeys([local for local in (self.dot, *found.values()) if local != "d0"]))
        returned = list(dict.fromkeys([found[name] for name in sorted(body.assigned) if name in found]))
        if over:
            given.append(over)
        spot = self.spot(last_read(loop.pipe) if loop else body[0])
        call = f"({spot}p[{key}]({','.join(['R', 'd0', 'a', 'p', *given])}))"
        self.line(f"{','.join(returned)},={call}" if returned else call)
        elements = frozenset(self.elements.intersection(given))
        self.parts[key] = Part(key, body, loop, self.dot, found, given, returned, elements, self.count)

    def body(self, nodes: list[Any]) -> None:
        for node in self.merged(nodes):
            of = node.__class__
            if of is Text:
                self.text(node)
            elif of is Action:
                self.action(node)
            elif of is Branch:
                self.branch(node)
            elif of is Call:
                data = self.pipe(node.pipe).bare if node.pipe else "None"
                self.line(f"({self.spot(node)}R.call({node.name!r},{data},a))")
            elif of is Jump:
                self.jump(node)
            if len(self.pieces) >= _MOST_PIECES:
                self.printed()
        if self.pieces:
            self.printed()

    def merged(self, nodes: list[Any]) -> Iterator[Any]:
        """The nodes with texts and constant strings (``{{ "{{" }}``) in one where they follow each other.

        A text knows its lines only if it has as many as what it was made of.
        """
        pending: Text | None = None
        for node in nodes:
            text = node if isinstance(node, Text) else _constant(node)
            if text is None:
                if pending is not None:
                    yield pending
                yield node
                pending = None
            elif pending is None:
                pending = text
            elif self.tree.source.count("\n", pending.pos, text.pos) == pending.text.count("\n"):
                pending = Text(pending.pos, pending.text + text.text)
            else:
                yield pending
                pending = text
        if pending is not None:
            yield pending

    def text(self, node: Text) -> None:
        if self.texts:
            self.pieces.append(f"b'{len(self.taken)}'")
            self.taken.append([node.text, node.pos])
        else:
            self.pieces.append(repr(node.text))

    def action(self, node: Action) -> None:
        value = self.pipe(node.pipe)
        if node.pipe.names:
            self.line(value.code)
        elif value.string:
            self.pieces.append(value.bare)
        else:
            # What a function gives is a copy; what a name stands for is shown at its place.
            final = node.pipe.commands[-1].args[0]
            self.pieces.append(f"{'printed' if isinstance(final, Name) else 'shown'}({value.bare})")

    def branch(self, node: Branch) -> None:
        self.scopes.append({})
        if node.word == "range":
            self.loop(node)
        else:
            self.condition(node, "if")
        self.scopes.pop()

    def condition(self, node: Branch, word: str) -> None:
        """``if`` and ``with``; an else part that is one more of them is an elif."""
        value, dot = self.pipe(node.pipe), self.dot
        if node.word == "with":
            inner = self.fresh("d")
            self.line(f"{word} {inner}:={value.bare}:")
            self.dot = inner
        else:
            self.line(f"{word} {value.bare}:")
        self.block(node.body, 2 * node.pos)
        self.dot = dot
        other = node.other
        if not other:
            return
        if len(other) == 1 and isinstance(other[0], Branch) and other[0].word in ("if", "with"):
            self.scopes.append({})
            self.condition(other[0], "elif")
            self.scopes.pop()
        else:
            self.line("else:")
            self.block(other, 2 * node.pos + 1)

    def loop(self, node: Branch) -> None:
        pipe = node.pipe
        over = self.commands(pipe).bare
        lacking = [name.name for name in pipe.names if pipe.assigns and self.found(name.name) is None]
        if lacking:
            self.line(f"({self.fault(pipe, f'undefined variable: {lacking[0]}').code})")
        names = [self.assigned(name) if pipe.assigns else self.declared(name.name) for name in pipe.names]
        if names and (pipe.assigns or node.other):
            # Until there is an element the variables are what the loop runs over.
            kept = self.fresh("o")
            self.line(f"{'='.join([kept, *names])}={over}")
            over = kept
        items = f"{self.spot(last_read(pipe))}{'pairs' if len(names) == 2 else 'items'}({over})"
        apart = not pipe.assigns and self.apart(2 * node.pos, node.body, loop=True)
        if node.other is None and not apart:
            self.over(node, names, items)
            return
        kept = self.fresh("r")
        self.line(f"{kept}={items}")
        self.line(f"if {kept}:")
        self.depth += 1
        if apart:
            self.call(2 * node.pos, node.body, node, kept)
        else:
            self.over(node, names, kept)
        self.depth -= 1
        if node.other is not None:
            self.line("else:")
            self.otherwise(node.other, 2 * node.pos + 1)

    def over(self, node: Branch, names: list[str], items: str) -> None:
        """The loop itself."""
        dot, flag = self.dot, self.flag
        element = self.fresh("d")
        self.elements.add(element)
        if not node.pipe.assigns:
            self.elements.update(names[-1:])
        self.line(f"for {names[0] + ',' if len(names) == 2 else ''}{element} in {items}:")
        if names:
            self.depth += 1
            self.line(f"{names[-1]}={element}")
            self.depth -= 1
        self.dot, self.flag = element, ""
        self.depth += 1
        self.inside(node.body)
        self.depth -= 1
        self.dot, self.flag = dot, flag

    def otherwise(self, nodes: Body, key: int) -> None:
        """The else part of a loop. In Go a ``break`` there ends that part, and ``continue`` is of the loop outside."""
        if not _breaks(nodes):
            self.block(nodes, key)
            return
        before, self.flag = self.flag, self.fresh("b")
        self.depth += 1
        self.line(f"{self.flag}=False")
        self.line("for _ in (0,):")
        self.block(nodes, key)
        self.line(f"if {self.flag}:")
        self.flag = before
        self.depth += 1
        if before:
            self.line(f"{before}=True")
            self.line("break")
        else:
            self.line("continue")
        self.depth -= 2

    def jump(self, node: Jump) -> None:
        if self.flag and node.word == "continue":
            self.line(f"{self.flag}=True")
            self.line("break")
        else:
            self.line(node.word)


def _breaks(nodes: list[Any]) -> bool:
    """Whether there is a break in these nodes that is of no loop among them."""
    for node in nodes:
        if isinstance(node, Jump) and node.word == "break":
            return True
        if isinstance(node, Branch) and node.word != "range" and (_breaks(node.body) or _breaks(node.other or [])):
            return True
    return False


def _constant(node: Any) -> Text | None:
    """The text that an action prints which is a string and nothing else."""
    if isinstance(node, Action) and not node.pipe.names and len(node.pipe.commands) == 1:
        args = node.pipe.commands[0].args
        if len(args) == 1 and isinstance(args[0], Constant) and isinstance(args[0].value, str):
            return Text(node.pos, args[0].value)
    return None

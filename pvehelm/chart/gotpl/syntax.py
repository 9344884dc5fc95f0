"""The syntax tree of a template: nodes that print themselves as Go's do.

``pos`` is the index in the source that Go names in messages.
"""

from __future__ import annotations

from typing import Any

from pvehelm.chart.gotpl.printing import sprintf


class Node:
    """A node of a tree; two are the same if all that is in them is."""

    __slots__: tuple[str, ...] = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if self.__class__ is not other.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)


class Text(Node):
    __slots__ = ("pos", "text")

    def __init__(self, pos: int, text: str) -> None:
        self.pos = pos
        self.text = text

    def __str__(self) -> str:
        return quoted(self.text)


class Dot(Node):
    __slots__ = ("pos",)

    def __init__(self, pos: int) -> None:
        self.pos = pos

    def __str__(self) -> str:
        return "."


class Nil(Node):
    __slots__ = ("pos",)

    def __init__(self, pos: int) -> None:
        self.pos = pos

    def __str__(self) -> str:
        return "nil"


class Constant(Node):
    """A bool, number or string; ``value`` is None for a whole number that is too large for int."""

    __slots__ = ("pos", "source", "value")

    def __init__(self, pos: int, source: str, value: Any) -> None:
        self.pos = pos
        self.source = source
        self.value = value

    def __str__(self) -> str:
        return self.source


class Name(Node):
    """A function's name."""

    __slots__ = ("name", "pos")

    def __init__(self, pos: int, name: str) -> None:
        self.pos = pos
        self.name = name

    def __str__(self) -> str:
        return self.name


class Variable(Node):
    """``$x.a.b``: the name with its dollar, and the fields."""

    __slots__ = ("fields", "name", "pos")

    def __init__(self, pos: int, name: str, fields: list[str]) -> None:
        self.pos = pos
        self.name = name
        self.fields = fields

    def __str__(self) -> str:
        return ".".join([self.name, *self.fields])


class Field(Node):
    """``.a.b``."""

    __slots__ = ("fields", "pos")

    def __init__(self, pos: int, fields: list[str]) -> None:
        self.pos = pos
        self.fields = fields

    def __str__(self) -> str:
        return "".join("." + name for name in self.fields)


class Chain(Node):
    """``(pipe).a.b``."""

    __slots__ = ("fields", "node", "pos")

    def __init__(self, pos: int, node: Any, fields: list[str]) -> None:
        self.pos = pos
        self.node = node
        self.fields = fields

    def __str__(self) -> str:
        return _argument(self.node) + "".join("." + name for name in self.fields)


class Command(Node):
    __slots__ = ("args", "pos")

    def __init__(self, pos: int, args: list[Any]) -> None:
        self.pos = pos
        self.args = args

    def __str__(self) -> str:
        return " ".join(map(_argument, self.args))


class Pipe(Node):
    __slots__ = ("assigns", "commands", "names", "pos")

    def __init__(self, pos: int, names: list[Variable], assigns: bool, commands: list[Command]) -> None:
        self.pos = pos
        self.names = names
        self.assigns = assigns
        self.commands = commands

    def __str__(self) -> str:
        shown = " | ".join(map(str, self.commands))
        if not self.names:
            return shown
        return ", ".join(map(str, self.names)) + (" = " if self.assigns else " := ") + shown


class Action(Node):
    __slots__ = ("pipe", "pos")

    def __init__(self, pos: int, pipe: Pipe) -> None:
        self.pos = pos
        self.pipe = pipe

    def __str__(self) -> str:
        return "{{" + str(self.pipe) + "}}"


class Body(list[Any]):
    """The nodes between the actions that begin and end a part of a branch, or of a template.

    ``names`` are at least the variables that they read or assign, ``assigned`` the latter; either may be their own.
    ``actions`` is how many actions they are; ``leaves``: one of them leaves or goes on with a loop around them.
    """

    __slots__ = ("actions", "assigned", "leaves", "names")

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()
        self.assigned: frozenset[str] = frozenset()
        self.actions = 0
        self.leaves = False


class Branch(Node):
    """``if``, ``with`` or ``range`` (``word``); ``other`` is the else part, None without one."""

    __slots__ = ("body", "other", "pipe", "pos", "word")

    def __init__(self, pos: int, word: str, pipe: Pipe, body: Body, other: Body | None) -> None:
        self.pos = pos
        self.word = word
        self.pipe = pipe
        self.body = body
        self.other = other

    def __str__(self) -> str:
        text = "{{" + f"{self.word} {self.pipe}" + "}}" + "".join(map(str, self.body))
        if self.other is not None:
            text += "{{else}}" + "".join(map(str, self.other))
        return text + "{{end}}"


class Jump(Node):
    """``break`` or ``continue``."""

    __slots__ = ("pos", "word")

    def __init__(self, pos: int, word: str) -> None:
        self.pos = pos
        self.word = word

    def __str__(self) -> str:
        return "{{" + self.word + "}}"


class Call(Node):
    """``{{ template "name" pipe }}``."""

    __slots__ = ("name", "pipe", "pos")

    def __init__(self, pos: int, name: str, pipe: Pipe | None) -> None:
        self.pos = pos
        self.name = name
        self.pipe = pipe

    def __str__(self) -> str:
        return "{{template " + quoted(self.name) + (f" {self.pipe}" if self.pipe else "") + "}}"


class Tree(Node):
    """A named template. ``file`` is where it stands and ``source`` the whole text of that.

    ``loose``: there are variables that are declared within an expression, which perhaps is never come to.
    """

    __slots__ = ("file", "loose", "name", "root", "source")

    def __init__(self, name: str, file: str, source: str, root: list[Any], loose: bool = False) -> None:
        self.name = name
        self.file = file
        self.source = source
        self.root = root
        self.loose = loose

    @property
    def empty(self) -> bool:
        """Whether it prints blanks only: such a later definition does not replace an earlier one."""
        return all(isinstance(node, Text) and not node.text.strip() for node in self.root)

    def __str__(self) -> str:
        return "".join(map(str, self.root))


def _argument(node: Any) -> str:
    return f"({node})" if isinstance(node, Pipe) else str(node)


def quoted(text: str) -> str:
    return sprintf("%q", text)


def place(source: str, pos: int) -> tuple[int, int]:
    """Line (from 1) and column (from 0, in bytes) as Go counts them."""
    start = source.rfind("\n", 0, pos) + 1
    return source.count("\n", 0, pos) + 1, len(source[start:pos].encode("utf-8", "surrogateescape"))

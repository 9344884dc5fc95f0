"""The syntax tree of a template: nodes that print themselves as Go's do.

``pos`` is the index in the source that Go names in messages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pvehelm.chart.gotpl.printing import sprintf


@dataclass(slots=True)
class Text:
    pos: int
    text: str

    def __str__(self) -> str:
        return quoted(self.text)


@dataclass(slots=True)
class Dot:
    pos: int

    def __str__(self) -> str:
        return "."


@dataclass(slots=True)
class Nil:
    pos: int

    def __str__(self) -> str:
        return "nil"


@dataclass(slots=True)
class Constant:
    """A bool, number or string; ``value`` is None for a whole number that is too large for int."""

    pos: int
    source: str
    value: Any

    def __str__(self) -> str:
        return self.source


@dataclass(slots=True)
class Name:
    """A function's name."""

    pos: int
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(slots=True)
class Variable:
    """``$x.a.b``: the name with its dollar, and the fields."""

    pos: int
    name: str
    fields: list[str]

    def __str__(self) -> str:
        return ".".join([self.name, *self.fields])


@dataclass(slots=True)
class Field:
    """``.a.b``."""

    pos: int
    fields: list[str]

    def __str__(self) -> str:
        return "".join("." + name for name in self.fields)


@dataclass(slots=True)
class Chain:
    """``(pipe).a.b``."""

    pos: int
    node: Any
    fields: list[str]

    def __str__(self) -> str:
        return _argument(self.node) + "".join("." + name for name in self.fields)


@dataclass(slots=True)
class Command:
    pos: int
    args: list[Any]

    def __str__(self) -> str:
        return " ".join(map(_argument, self.args))


@dataclass(slots=True)
class Pipe:
    pos: int
    names: list[Variable]
    assigns: bool
    commands: list[Command]

    def __str__(self) -> str:
        shown = " | ".join(map(str, self.commands))
        if not self.names:
            return shown
        return ", ".join(map(str, self.names)) + (" = " if self.assigns else " := ") + shown


@dataclass(slots=True)
class Action:
    pos: int
    pipe: Pipe

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


@dataclass(slots=True)
class Branch:
    """``if``, ``with`` or ``range`` (``word``); ``other`` is the else part, None without one."""

    pos: int
    word: str
    pipe: Pipe
    body: Body
    other: Body | None

    def __str__(self) -> str:
        text = "{{" + f"{self.word} {self.pipe}" + "}}" + "".join(map(str, self.body))
        if self.other is not None:
            text += "{{else}}" + "".join(map(str, self.other))
        return text + "{{end}}"


@dataclass(slots=True)
class Jump:
    """``break`` or ``continue``."""

    pos: int
    word: str

    def __str__(self) -> str:
        return "{{" + self.word + "}}"


@dataclass(slots=True)
class Call:
    """``{{ template "name" pipe }}``."""

    pos: int
    name: str
    pipe: Pipe | None

    def __str__(self) -> str:
        return "{{template " + quoted(self.name) + (f" {self.pipe}" if self.pipe else "") + "}}"


@dataclass(slots=True)
class Tree:
    """A named template. ``file`` is where it stands and ``source`` the whole text of that.

    ``loose``: there are variables that are declared within an expression, which perhaps is never come to.
    """

    name: str
    file: str
    source: str = field(repr=False)
    root: list[Any]
    loose: bool = False

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

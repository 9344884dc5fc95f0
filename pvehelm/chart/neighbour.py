"""The neighbour: what charts of one dialect see of the named templates of the other's, library charts above all.

A template is called with data of its own dialect: the objects of a chart (its Values, Files, Capabilities...) become
those of the same chart as the other dialect has them, everything else becomes plain data.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

from pvehelm.chart.objects import Scope
from pvehelm.errors import Problem


class Told(Exception):
    """Ends the rendering of a template: the other engine has recorded what went wrong after ``known`` problems."""

    def __init__(self, problems: list[Problem], known: int) -> None:
        super().__init__()
        self.problems, self.known = problems, known

    def came_from(self, *places: str) -> None:
        """Adds the way to it in this dialect, the last step first."""
        trail = [f"\n  from {place}" for place in places]
        for index in range(self.known, len(self.problems)):
            what = self.problems[index].what
            for step in trail:
                what = what.replace(step, "") + step
            self.problems[index] = self.problems[index]._replace(what=what)


class Engine(Protocol):
    """What an engine does for the other: the names of its named templates, and what one of them gives."""

    neighbour: Neighbour | None

    def names(self) -> Collection[str]: ...

    def included(self, name: str, data: Any, root: dict[str, Any], file: str) -> str: ...


class Neighbour:
    """The other engine, and how data is handed to it. ``pairs`` are the charts as this one and the other see them."""

    def __init__(self, other: Engine, pairs: Iterable[tuple[Scope, Scope]], leaf: Callable[[Any], Any]) -> None:
        self.other = other
        self.leaf = leaf
        # Templates are given copies of a chart's objects; its values are what stays the same.
        self.roots = {id(mine.root["Values"]): (mine.root, its.root) for mine, its in pairs}

    def include(self, name: str, data: Any, root: Any, file: str) -> str | None:
        """What the named template prints; None where there is none of that name.

        ``root`` are the objects of the chart whose ``file`` is rendered. Raises Told.
        """
        if name not in self.other.names():
            return None
        seen: dict[int, Any] = {}
        chart = self._root(root) or {}
        return self.other.included(name, self._plain(data, seen, 0), chart, file)

    def _root(self, value: Any, depth: int = 0) -> dict[str, Any] | None:
        """The objects of a chart as the other dialect has them."""
        if not isinstance(value, dict) or "Values" not in value or "Chart" not in value:
            return None
        mine, its = self.roots.get(id(value["Values"]), ({}, None))
        if its is None:
            return None
        # What a template has added to them goes along.
        more = {str(key): self._plain(item, {}, depth + 1) for key, item in value.items() if key not in mine}
        return {**more, **its, "Template": value.get("Template", {})}

    def _plain(self, value: Any, seen: dict[int, Any], depth: int) -> Any:
        if id(value) in seen:
            return seen[id(value)]
        if depth > _DEEPEST:
            raise RecursionError
        if (root := self._root(value, depth)) is not None:
            made: Any = root
        elif isinstance(value, dict) and not hasattr(value, "plain"):
            made = {str(key): self._plain(item, seen, depth + 1) for key, item in value.items()}
        elif isinstance(value, (list, tuple)) and not hasattr(value, "plain"):
            made = [self._plain(item, seen, depth + 1) for item in value]
        else:
            return self.leaf(value)
        seen[id(value)] = made
        return made


_DEEPEST = 500


def introduce(jinja2: Engine, gotpl: Engine, pairs: list[tuple[Scope, Scope]]) -> None:
    """Makes the engines of the two dialects neighbours; ``pairs`` are their scopes of each chart."""
    jinja2.neighbour = Neighbour(gotpl, pairs, _for_gotpl)
    gotpl.neighbour = Neighbour(jinja2, [(its, mine) for mine, its in pairs], _for_jinja2)


def _for_gotpl(value: Any) -> Any:
    """A text of Jinja2's as a plain one; what is missing is nothing."""
    if isinstance(value, str):
        return str(value)
    return value if isinstance(value, (bool, int, float, bytes)) else None


def _for_jinja2(value: Any) -> Any:
    """Numbers as Jinja2 charts have them: what values files say without a point has none."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.plain() if hasattr(value, "plain") else str(value)


_EXACT = float(1 << 53)

"""Table B: what a user can do. Plain functions that every face calls; each says what it does to the world.

``read`` only looks, ``write`` changes, ``destroy`` may destroy, ``local`` works on files alone and exists only in the
command line. Actions take contents (charts, texts), never paths. Those that need the server are coroutines.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, NamedTuple, TypeVar

Nature = Literal["read", "write", "destroy", "local"]
F = TypeVar("F", bound=Callable[..., Any])
MODULES = (
    "releases",
    "plans",
    "drift",
    "tests",
    "looking",
    "charts",
    "suites",
    "values",
    "outdated",
    "secrets",
    "cluster",
    "sdk",
    "repos",
    "manifests",
    "objects",
    "describing",
    "editing",
    "removal",
    "creating",
    "guests",
    "tasks",
    "access",
    "importing",
)


class Action(NamedTuple):
    name: str
    nature: Nature
    function: Callable[..., Any]

    @property
    def help(self) -> str:
        return (self.function.__doc__ or "").strip().split("\n", 1)[0]


ACTIONS: dict[str, Action] = {}


def action(nature: Nature, name: str = "") -> Callable[[F], F]:
    """Enter a function into the table under its own name (or ``name``)."""

    def enter(function: F) -> F:
        label = name or function.__name__.rstrip("_").replace("_", "-")
        if label in ACTIONS:
            raise ValueError(f"two actions are called {label}")
        ACTIONS[label] = Action(label, nature, function)
        return function

    return enter


def table() -> dict[str, Action]:
    """Every action; imports all of their modules."""
    for module in MODULES:
        import_module(f"pvehelm.actions.{module}")
    return dict(sorted(ACTIONS.items()))

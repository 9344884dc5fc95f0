"""Table B: what a user can do. Plain functions that every face calls; each says what it does to the world.

``read`` only looks, ``write`` changes, ``destroy`` may destroy, ``local`` works on files alone and exists only in the
command line. Actions take contents (charts, texts), never paths. Those that need the server are coroutines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

if TYPE_CHECKING:
    from pvehelm.release.context import Context

Nature = Literal["read", "write", "destroy", "local"]
F = TypeVar("F", bound=Callable[..., Any])
CO_COROUTINE = 0x80  # as in inspect, which takes long to import
MODULES = (
    "releases",
    "plans",
    "drift",
    "reconcile",
    "tests",
    "looking",
    "charts",
    "suites",
    "conversion",
    "values",
    "outdated",
    "secrets",
    "store",
    "cluster",
    "sdk",
    "repos",
    "manifests",
    "objects",
    "describing",
    "editing",
    "patching",
    "removal",
    "creating",
    "guests",
    "waiting",
    "tasks",
    "access",
    "importing",
    "adoption",
    "moving",
)


class Action(NamedTuple):
    name: str
    nature: Nature
    function: Callable[..., Any]

    @property
    def help(self) -> str:
        return (self.function.__doc__ or "").strip().split("\n", 1)[0]


ACTIONS: dict[str, Action] = {}


def action(nature: Nature, name: str = "", *, reads: Callable[..., bool] = lambda *_, **__: False) -> Callable[[F], F]:
    """Enter a function into the table under its own name (or ``name``).

    How one that writes or destroys ends is entered in the audit trail, except a dry run and where ``reads`` says of the
    arguments that they only look.
    """

    def enter(function: F) -> F:
        label = name or function.__name__.rstrip("_").replace("_", "-")
        if label in ACTIONS:
            raise ValueError(f"two actions are called {label}")
        if nature in ("write", "destroy"):
            function = _audited(function, label, reads)
        ACTIONS[label] = Action(label, nature, function)
        return function

    return enter


def _audited(function: F, label: str, reads: Callable[..., bool]) -> F:
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    def looks(args: Sequence[Any], more: Mapping[str, Any]) -> bool:
        dry = any(getattr(one, "dry_run", False) for one in (*args, *more.values()))
        return dry or more.get("dry_run") is True or reads(*args, **more)

    if not code.co_flags & CO_COROUTINE:

        @wraps(function)
        def called(ctx: Context, *args: Any, **more: Any) -> Any:
            if looks(args, more):
                return function(ctx, *args, **more)
            from pvehelm.release.audit import finish, recorded

            with recorded(ctx, label, {**dict(zip(names[1:], args, strict=False)), **more}) as record:
                result = function(ctx, *args, **more)
                finish(record, result)
                return result

        return called  # type: ignore[return-value]

    @wraps(function)
    async def awaited(ctx: Context, *args: Any, **more: Any) -> Any:
        if looks(args, more):
            return await function(ctx, *args, **more)
        from pvehelm.release.audit import finish, recorded

        with recorded(ctx, label, {**dict(zip(names[1:], args, strict=False)), **more}) as record:
            result = await function(ctx, *args, **more)
            finish(record, result)
            return result

    return awaited  # type: ignore[return-value]


def table() -> dict[str, Action]:
    """Every action; imports all of their modules."""
    for module in MODULES:
        import_module(f"pvehelm.actions.{module}")
    return dict(sorted(ACTIONS.items()))

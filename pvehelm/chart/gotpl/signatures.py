"""The signature: how a function of the library is called, and the check that its arguments have Go's types.

A module says ``@function("trunc", "int, string")``; the parameter types are checked as reflection does in Go's
templates, so ``trunc .Values.size "x"`` with a float64 is an error and a nil given for a map is an empty one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from pvehelm.chart.gotpl.values import GoError, NilList, NilMap, Strings, type_of

Function = TypeVar("Function", bound=Callable[..., Any])


class ArgumentError(GoError):
    """An argument of the wrong type: found before the call, so the message does not say "error calling".

    ``index`` is its place among the arguments, ``expected`` the Go type that it should have.
    """

    def __init__(self, message: str, hint: str = "", *, index: int = 0, expected: str = "") -> None:
        super().__init__(message, hint)
        self.index, self.expected = index, expected


class Signature(NamedTuple):
    """Go parameter types in order (``any`` for interface {}); the last repeats if ``variadic``."""

    parameters: tuple[str, ...]
    variadic: bool
    result: str
    #: The function's own parameter names, for the documentation.
    names: tuple[str, ...]
    summary: str


#: Every function by each of its names, and how it is called.
FUNCTIONS: dict[str, Callable[..., Any]] = {}
SIGNATURES: dict[str, Signature] = {}


def function(names: str, parameters: str = "", result: str = "any") -> Callable[[Function], Function]:
    """Registers a function under its template names (blanks between them) with its Go parameter types."""

    def register(called: Function) -> Function:
        types = [part.strip() for part in parameters.split(",") if part.strip()]
        variadic = bool(types) and types[-1].startswith("...")
        if variadic:
            types[-1] = types[-1][3:]
        code = getattr(called, "__wrapped__", called).__code__
        shown = tuple(name.rstrip("_") for name in code.co_varnames[: code.co_argcount + bool(code.co_flags & 4)])
        summary = (called.__doc__ or "").strip().partition("\n")[0]
        signature = Signature(tuple(types), variadic, result, shown, summary)
        checked = _checked(called, signature)
        for name in names.split():
            FUNCTIONS[name] = checked
            SIGNATURES[name] = signature
        return called

    return register


def _checked(called: Callable[..., Any], signature: Signature) -> Callable[..., Any]:
    checks = [CHECKS[kind] if kind in CHECKS else _of_type(kind) for kind in signature.parameters]
    if not any(checks):
        return called
    exact = [_EXACT.get(kind, Signature) for kind in signature.parameters]
    if not signature.variadic and len(checks) == 1:
        return _one(called, exact[0], checks[0])
    if not signature.variadic and len(checks) == 2 and all(checks):
        return _two(called, exact, checks)

    @functools.wraps(called)
    def checking(*values: Any) -> Any:
        given = list(values)
        for index, value in enumerate(values):
            check = checks[index if index < len(checks) else -1]
            if check is not None and type(value) is not exact[index if index < len(checks) else -1]:
                given[index] = check(value, index)
        return called(*given)

    return checking


def _one(called: Callable[..., Any], kind: Any, check: Any) -> Callable[..., Any]:
    @functools.wraps(called)
    def checking(value: Any) -> Any:
        return called(value if type(value) is kind else check(value, 0))

    return checking


def _two(called: Callable[..., Any], kinds: list[Any], checks: list[Any]) -> Callable[..., Any]:
    first, second = kinds
    check_first, check_second = checks

    @functools.wraps(called)
    def checking(one: Any, other: Any) -> Any:
        if type(one) is not first:
            one = check_first(one, 0)
        if type(other) is not second:
            other = check_second(other, 1)
        return called(one, other)

    return checking


_HINTS = {
    "int": "numbers of values files are float64 and those of --set int64: make them int with | int",
    "string": "make it a text with | toString, or print it with quote or printf",
    "bool": "decide by a comparison, or by empty or not, which give true or false",
}


def wrong(value: Any, expected: str, index: int) -> ArgumentError:
    """The error for an argument that is no ``expected``."""
    if value is None:
        return ArgumentError(f"invalid value; expected {expected}", index=index, expected=expected)
    message = f"wrong type for value; expected {expected}; got {type_of(value)}"
    return ArgumentError(message, _HINTS.get(expected, ""), index=index, expected=expected)


def _string(value: Any, index: int) -> str:
    if isinstance(value, str):
        return value
    raise wrong(value, "string", index)


def _int(value: Any, index: int) -> int:
    if type(value) is int:
        return value
    raise wrong(value, "int", index)


def _uint32(value: Any, index: int) -> int:
    if type(value) is int and 0 <= value < 1 << 32:
        return value
    raise wrong(value, "uint32", index)


def _bool(value: Any, index: int) -> bool:
    if isinstance(value, bool):
        return value
    raise wrong(value, "bool", index)


def _float(value: Any, index: int) -> float:
    if isinstance(value, float):
        return value
    raise wrong(value, "float64", index)


def _map(value: Any, index: int) -> dict[str, Any]:
    if value is None:
        return NilMap()
    if isinstance(value, dict) and type_of(value) == "map[string]interface {}":
        return value
    raise wrong(value, "map[string]interface {}", index)


def _list(value: Any, index: int) -> list[Any]:
    if value is None:
        return NilList()
    if isinstance(value, list) and type_of(value) == "[]interface {}":
        return value
    raise wrong(value, "[]interface {}", index)


def _strings(value: Any, index: int) -> list[str]:
    if value is None:
        return []
    if isinstance(value, Strings):
        return value
    raise wrong(value, "[]string", index)


def _of_type(name: str) -> Callable[[Any, int], Any]:
    def check(value: Any, index: int) -> Any:
        if type_of(value) == name:
            return value
        raise wrong(value, name, index)

    return check


CHECKS: dict[str, Callable[[Any, int], Any] | None] = {
    "any": None,
    "string": _string,
    "int": _int,
    "uint32": _uint32,
    "bool": _bool,
    "float64": _float,
    "map": _map,
    "list": _list,
    "[]string": _strings,
}
_EXACT: dict[str, type] = {
    "any": object,
    "string": str,
    "int": int,
    "bool": bool,
    "float64": float,
    "map": dict,
    "list": list,
    "[]string": Strings,
}

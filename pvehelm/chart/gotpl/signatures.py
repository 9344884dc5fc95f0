"""The signature: how a function of the library is called, and the check that its arguments have Go's types.

A module says ``@function("trunc", "int, string")``; the parameter types are checked as reflection does in Go's
templates, so ``trunc .Values.size "x"`` with a float64 is an error and a nil given for a map is an empty one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pvehelm.chart.gotpl.values import GoError, NilList, NilMap, Strings, type_of

Function = TypeVar("Function", bound=Callable[..., Any])


class ArgumentError(GoError):
    """An argument of the wrong type: found before the call, so the message does not say "error calling"."""


@dataclass(frozen=True, slots=True)
class Signature:
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
        code = called.__code__
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
                given[index] = check(value)
        return called(*given)

    return checking


def _one(called: Callable[..., Any], kind: Any, check: Any) -> Callable[..., Any]:
    @functools.wraps(called)
    def checking(value: Any) -> Any:
        return called(value if type(value) is kind else check(value))

    return checking


def _two(called: Callable[..., Any], kinds: list[Any], checks: list[Any]) -> Callable[..., Any]:
    first, second = kinds
    check_first, check_second = checks

    @functools.wraps(called)
    def checking(one: Any, other: Any) -> Any:
        if type(one) is not first:
            one = check_first(one)
        if type(other) is not second:
            other = check_second(other)
        return called(one, other)

    return checking


_HINTS = {
    "int": "numbers of values files are float64 and those of --set int64: make them int with | int",
    "string": "make it a text with | toString, or print it with quote or printf",
    "bool": "decide by a comparison, or by empty or not, which give true or false",
}


def _wrong(value: Any, expected: str) -> ArgumentError:
    if value is None:
        return ArgumentError(f"invalid value; expected {expected}")
    message = f"wrong type for value; expected {expected}; got {type_of(value)}"
    return ArgumentError(message, _HINTS.get(expected, ""))


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _wrong(value, "string")


def _int(value: Any) -> int:
    if type(value) is int:
        return value
    raise _wrong(value, "int")


def _uint32(value: Any) -> int:
    if type(value) is int and 0 <= value < 1 << 32:
        return value
    raise _wrong(value, "uint32")


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong(value, "bool")


def _float(value: Any) -> float:
    if isinstance(value, float):
        return value
    raise _wrong(value, "float64")


def _map(value: Any) -> dict[str, Any]:
    if value is None:
        return NilMap()
    if isinstance(value, dict) and type_of(value) == "map[string]interface {}":
        return value
    raise _wrong(value, "map[string]interface {}")


def _list(value: Any) -> list[Any]:
    if value is None:
        return NilList()
    if isinstance(value, list) and type_of(value) == "[]interface {}":
        return value
    raise _wrong(value, "[]interface {}")


def _strings(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, Strings):
        return value
    raise _wrong(value, "[]string")


def _of_type(name: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type_of(value) == name:
            return value
        raise _wrong(value, name)

    return check


CHECKS: dict[str, Callable[[Any], Any] | None] = {
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

"""Templates of Helm's own syntax rendered on their own, for cases that are data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from pvehelm.chart.gotpl import values
from pvehelm.chart.gotpl.engine import Engine, execution_order
from pvehelm.chart.gotpl.library import BUILTINS, FUNCTIONS
from pvehelm.chart.gotpl.runtime import Run, deep
from pvehelm.chart.gotpl.templates import KNOWN, LARGE, Templates
from pvehelm.chart.gotpl.trouble import Trouble
from pvehelm.chart.gotpl.values import GoError, Int64
from tests.helpers import SHARED

__all__ = ["Engine", "Failed", "cases", "go_data", "published", "rendered", "rendered_set"]


class Failed(Exception):
    """A template's error in Go's words."""


def published(name: str) -> dict[str, Any]:
    """A file of the published cases; empty where they are not here."""
    path = SHARED / "helm-compat" / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def cases(name: str) -> list[dict[str, Any]]:
    path = Path(__file__).parent / "cases" / f"{name}.yaml"
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def go_data(value: Any, whole: Callable[[int], Any] = float) -> Any:
    """Data of JSON with its whole numbers as ``whole`` makes them (too large ones are always float64)."""
    if isinstance(value, dict):
        return {key: go_data(item, whole) for key, item in value.items()}
    if isinstance(value, list):
        return [go_data(item, whole) for item in value]
    if type(value) is not int:
        return value
    return whole(value) if -(1 << 63) <= value < 1 << 63 else float(value)


def rendered(
    template: str, data: Any, *, strict: bool = False, plain_go: bool = False, lint: bool = False, large: int = LARGE
) -> str:
    """What one template prints (``<no value>`` and all). ``plain_go`` has text/template's own functions and those of
    its tests; ``large`` is that of ``Templates``. Raises Failed."""
    functions = {**FUNCTIONS, **BUILTINS, **_OF_GO_TESTS} if plain_go else FUNCTIONS
    return _printed({"t": template}, {"t": data}, functions, strict=strict, lint=lint, large=large)["t"]


def rendered_set(
    sources: Mapping[str, str], data: Mapping[str, Any], *, strict: bool = False, lint: bool = False
) -> dict[str, str]:
    """What each file of a set prints that is no partial, as Helm gives it. Raises Failed."""
    found = _printed(sources, data, FUNCTIONS, strict=strict, lint=lint)
    return {name: text.replace("<no value>", "") for name, text in found.items()}


def _printed(
    sources: Mapping[str, str],
    data: Mapping[str, Any],
    functions: Mapping[str, Any],
    *,
    strict: bool,
    lint: bool,
    large: int = LARGE,
) -> dict[str, str]:
    order = execution_order(list(sources))
    templates = Templates(
        {name: sources[name] for name in order},
        strict=strict,
        functions=functions,
        known=KNOWN | set(functions),
        large=large,
    )
    trouble = Trouble(templates, [])
    for error in templates.errors.values():
        raise Failed(trouble.text(error))
    run = Run(templates.prepare, templates.read_text, lambda _: None, lint=lint)
    found = {}
    for name in order:
        if name.rpartition("/")[2].startswith("_"):
            continue
        pieces: list[str] = []
        try:
            with deep():
                templates.main(name)(run, data[name], pieces)
        except Exception as error:
            raise Failed(trouble.text(error)) from error
        found[name] = "".join(pieces)
    return found


def _die() -> None:
    raise GoError("die")


def _one_arg(value: Any) -> str:
    if not isinstance(value, str):
        raise GoError(f"wrong type for value; expected string; got {values.type_of(value)}")
    return f"oneArg={value}"


def _two_args(one: Any, other: Any) -> str:
    return _one_arg(one).replace("oneArg", "twoArgs") + _one_arg(other)[7:]


_OF_GO_TESTS: dict[str, Callable[..., Any]] = {
    "add": lambda *numbers: sum(numbers),
    "count": lambda number: [chr(97 + index) for index in range(int(number))],
    "die": _die,
    "echo": lambda value: value,
    "makemap": lambda *pairs: dict(zip(pairs[::2], pairs[1::2], strict=True)),
    "oneArg": _one_arg,
    "twoArgs": _two_args,
    "typeOf": values.type_of,
    "zeroArgs": lambda: "zeroArgs",
    "int64": Int64,
}

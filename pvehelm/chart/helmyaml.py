"""YAML as Helm reads it: values and metadata of charts in Helm's own syntax.

The same loader, with what go-yaml 2 makes of the same text: scalars as ``gotpl.plain`` has them (``y``, ``1e3``,
``0o17``), tags that are not YAML's own say nothing, of a key given twice the last counts, and a merge key (``<<``)
counts at its place, so that it changes keys above it.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from pvehelm.chart.gotpl import plain
from pvehelm.chart.loader import MERGE, Loader
from pvehelm.errors import Problem


class HelmLoader(Loader):
    """One reading of a text as Helm reads it; what stands twice goes into ``doubles``."""

    values: ClassVar[dict[str, Any]] = {}
    keys: ClassVar[dict[str, Any]] = {}

    def __init__(self, text: str, file: str, doubles: list[Problem]) -> None:
        super().__init__(text, file, True)
        self.doubles = doubles

    def opened(self, event: Any, depth: int, name: str) -> None:
        event.tag = None
        super().opened(event, depth, name)

    def resolve(self, event: Any) -> Any:
        return self.held(plain.resolve(event.value), event)

    def scalar(self, event: Any) -> Any:
        try:
            return self.held(plain.tagged(event.value, event.tag or "", plain=event.implicit[0]), event)
        except ValueError as error:
            self.problems.append(self.problem(event, str(error)))
            return event.value

    def held(self, value: Any, event: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            self.unheld(event)
        return value

    def key(self, event: Any) -> Any:
        text = event.value
        return MERGE if text == "<<" else self.key_text(plain.resolve(text), event)

    def odd_key(self, event: Any, depth: int) -> Any:
        if event.__class__.__name__ == "ScalarEvent" and event.tag == plain.LONG + "merge" and event.value == "<<":
            return MERGE
        return super().odd_key(event, depth)

    def key_text(self, value: Any, event: Any) -> str:
        if value is None:
            self.problems.append(self.problem(event, "null cannot be a key", "quote it if it is meant as text"))
            return ""
        return plain.key_text(value)

    def duplicate(self, key: str, at: Any, tree: dict[str, Any] | None) -> bool:
        if tree is not None and key in tree:
            self.doubles.append(self.twice(key, at, tree[key][0]))
        return False

    def merge(self, out: dict[str, Any], merged: list[dict[str, Any]], value: Any, event: Any) -> None:
        more: list[dict[str, Any]] = []
        super().merge(out, more, value, event)
        for part in more:
            self.nodes += len(part)
            out.update(part)

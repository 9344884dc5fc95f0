"""The dialects: which engine renders which chart of a tree, and what to say where nobody said it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pvehelm.chart.chart import Chart

JINJA2, GOTPL = "jinja2", "gotpl"

_TAG = re.compile(r"\{%")


def engines(chart: Chart, override: str = "") -> list[str]:
    """The engine of a chart and of its subcharts, in the order of ``objects.scopes``.

    What Chart.yaml names counts; else ``override``; else that of the parent where it is Helm's own and the templates
    have no Jinja2 in them (public charts name no engine); else Jinja2.
    """
    found: list[str] = []

    def enter(one: Chart, above: str) -> None:
        named = str(one.metadata.raw.get("engine") or "") or override
        engine = named or (GOTPL if above == GOTPL and not _has_tags(one) else JINJA2)
        found.append(engine)
        for sub in one.dependencies:
            enter(sub, engine)

    enter(chart, override)
    return found


def _has_tags(chart: Chart) -> bool:
    return any(_TAG.search(text) for text in chart.templates.values())


def undecided(chart: Chart, override: str = "") -> bool:
    """Whether a chart of the tree names no engine, is read as Jinja2 and is written in Go's syntax."""
    from pvehelm.chart.gosyntax import actions

    order = iter(engines(chart, override))

    def enter(one: Chart) -> bool:
        here = next(order) == JINJA2 and not one.metadata.raw.get("engine") and not override and not _has_tags(one)
        below = [enter(sub) for sub in one.dependencies]
        return any(below) or (here and any(next(actions(text), None) for text in one.templates.values()))

    return enter(chart)


def modules(dialect: str) -> Mapping[str, Any]:
    """What compiles the templates of a dialect, for the name of a cache entry."""
    load: Callable[[], Mapping[str, Any]] = _MODULES[dialect]
    return load()


def _jinja2() -> Mapping[str, Any]:
    import jinja2

    from pvehelm.chart import dialect, generator, traced

    return {f"jinja2 {jinja2.__version__}": dialect, "generator": generator, "traced": traced}


def _gotpl() -> Mapping[str, Any]:
    from pvehelm.chart.gotpl import compiler, engine, lexer, parser, syntax

    return {"compiler": compiler, "engine": engine, "lexer": lexer, "parser": parser, "syntax": syntax}


_MODULES = {JINJA2: _jinja2, GOTPL: _gotpl}

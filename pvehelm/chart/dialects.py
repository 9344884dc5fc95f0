"""The dialects: which engine renders which chart of a tree, and what to say where nobody said it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pvehelm.chart.chart import Chart

JINJA2, GOTPL = "jinja2", "gotpl"


def engines(chart: Chart) -> list[str]:
    """The engine of a chart and of its subcharts, in the order of ``objects.scopes``.

    What Chart.yaml names counts; else that of the parent where it is Helm's own and the templates have no Jinja2 in
    them (public charts name no engine); else Jinja2.
    """
    found: list[str] = []

    def enter(one: Chart, above: str) -> None:
        inherits = not named(one) and above == GOTPL and not _has_tags(one)
        engine = GOTPL if inherits else one.metadata.engine
        found.append(engine)
        for sub in one.dependencies:
            enter(sub, engine)

    enter(chart, "")
    return found


def named(chart: Chart) -> bool:
    """Whether the chart itself says which engine it is for."""
    return bool(chart.metadata.raw.get("engine")) or chart.metadata.engine != JINJA2


def with_engine(chart: Chart, engine: str) -> Chart:
    """The chart as one of ``engine``, and so its subcharts, where they name none themselves."""
    if not engine:
        return chart
    metadata = chart.metadata
    if not named(chart):
        metadata = replace(metadata, engine=engine, raw={**metadata.raw, "engine": engine})
    return replace(chart, metadata=metadata, dependencies=tuple(with_engine(sub, engine) for sub in chart.dependencies))


def _has_tags(chart: Chart) -> bool:
    return any("{%" in text for text in chart.templates.values())


def undecided(chart: Chart) -> bool:
    """Whether a chart of the tree names no engine, is read as Jinja2 and is written in Go's syntax."""
    from pvehelm.chart.gosyntax import actions

    order = iter(engines(chart))

    def enter(one: Chart) -> bool:
        here = next(order) == JINJA2 and not named(one) and not _has_tags(one)
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
    from pvehelm.chart.gotpl import compiler, engine, lexer, literals, parser, runtime, syntax

    # How functions take their arguments goes into the code as well.
    return {
        f"gotpl {sorted(engine.PARAMETERS.items())}": engine,
        **{module.__name__: module for module in (compiler, lexer, literals, parser, runtime, syntax)},
    }


_MODULES = {JINJA2: _jinja2, GOTPL: _gotpl}

"""The dialects: which engine renders which chart of a tree, and what to say where nobody said it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pvehelm.chart.model import Chart

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
    from pvehelm.chart.chart import of_helm

    if not named(chart):
        chart = of_helm(chart) if engine == GOTPL else chart
        data = chart.metadata
        chart = chart._replace(metadata=data._replace(engine=engine, raw={**data.raw, "engine": engine}))
    return chart._replace(dependencies=tuple(with_engine(sub, engine) for sub in chart.dependencies))


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


def sources(dialect: str) -> list[str]:
    """The files that make up what compiles the templates of a dialect, found without importing it."""
    own = os.path.dirname(__file__)
    if dialect == GOTPL:
        # How functions take their arguments goes into the code as well.
        return _files(os.path.join(own, "gotpl"))
    from pvehelm.entries import spec_of

    found = spec_of("jinja2")
    folders = (found and found.submodule_search_locations) or ()
    named = (os.path.join(own, f"{name}.py") for name in ("dialect", "generator", "traced"))
    return [*named, *(file for folder in folders for file in _files(folder))]


def _files(folder: str) -> list[str]:
    return sorted(entry.path for entry in os.scandir(folder) if entry.name.endswith((".py", ".pyc")))

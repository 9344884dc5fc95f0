"""values: what a chart will see, and who says so."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.actions import values as actions
from pvehelm.errors import Problem, PvehelmError
from pvehelm.faces import output
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import SOURCE, Session, command
from pvehelm.faces.cli.valueflags import value_flags

if TYPE_CHECKING:
    from pvehelm.chart.chart import Chart
    from pvehelm.chart.layers import Said
    from pvehelm.chart.values import ValueFlag

Explain = Annotated[
    str, typer.Option("--explain", help="Say who sets this value: a file's line, a flag, a chart.", metavar="PATH")
]
Unused = Annotated[bool, typer.Option("--unused", help="Tell which values no template used.")]


@command(
    "output", *SOURCE, "values", "set", "set_string", "set_file", "set_json", "set_literal", "skip_schema", "engine"
)
def values(session: Session, chart: o.ChartPath, explain: Explain = "") -> None:
    """Compute the values a chart would see; --explain says where one comes from.

    pvehelm values ./charts/web-app -f mine.yaml --set replicas=3 --explain replicas
    """
    loaded = o.load_chart(chart, session)
    flags = given(loaded)
    if explain:
        said_table(session, actions.explain_values(loaded, explain, flags))
        return
    data = actions.values(loaded, flags, skip_schema=session.given["skip_schema"])
    output.show(session.output, data, lambda: output.emit_data(data, "yaml"))


def said_table(session: Session, said: Sequence[Said]) -> None:
    """What was said about a value, the last word marked."""
    rows = [{"path": one.path, "value": one.value, "source": one.source, "counts": one.counts} for one in said]
    cells = [("*" if one.counts else "", one.path, _shown(one.value), one.source) for one in said]
    output.show(session.output, rows, lambda: output.table(cells, ("", "PATH", "VALUE", "FROM")))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)


def given(chart: Chart) -> list[ValueFlag]:
    """The value flags for a chart; what its files give twice where that is no error, as in Helm, is told on stderr."""
    flags = value_flags()
    if chart.metadata.engine == "gotpl" and any(flag.kind == "file" for flag in flags):
        from pvehelm.chart.values import doubles, for_chart

        try:
            found = doubles(for_chart(flags, chart))
        except PvehelmError:
            # Whoever reads them for their values says what is wrong.
            found = []
        for problem in found:
            sys.stderr.write(f"note: {problem.where}: {problem.what}; the last counts\n")
    return flags


def tell_unused(found: Sequence[Problem]) -> None:
    """Values that no template used, on stderr."""
    on = output.colours_wanted(sys.stderr)
    for problem in found:
        sys.stderr.write(output.paint("unused: ", "yellow", on) + output.problem_text(problem, on) + "\n")

"""Names of releases that were given none: ``--generate-name`` and ``--name-template``."""

from __future__ import annotations

from typing import Annotated

import typer

GenerateName = Annotated[bool, typer.Option("-g", "--generate-name", help="Make a name from the chart's.")]
NameTemplate = Annotated[
    str, typer.Option("--name-template", help="What the name is made from, in Helm's template syntax.", metavar="TEXT")
]


def named(chart: str, template: str, clock: float) -> str:
    """What the ``template`` prints, else a name made from the chart's. Raises UsageError."""
    if not template:
        from pvehelm.actions.releases import generated_name

        return generated_name(chart, clock)
    from pvehelm.chart.gotpl.alone import printed

    return printed(template, "--name-template")

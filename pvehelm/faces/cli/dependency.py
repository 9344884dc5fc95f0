"""dependency list, update, build."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from pvehelm.actions import repos as actions
from pvehelm.errors import UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import Session, command

if TYPE_CHECKING:
    from pvehelm.chart.chart import Chart

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="List, update and build a chart's dependencies.",
)
Folder = Annotated[str, typer.Argument(help="A chart's folder.", metavar="CHART")]
SkipRefresh = Annotated[bool, typer.Option("--skip-refresh", help="Use the indexes that are here.")]


@app.command("list")
@command("output")
def list_(session: Session, chart: Folder) -> None:
    """List dependencies and whether charts/ has them as locked."""
    rows = actions.dependency_list(o.load_chart(chart))
    heads = ("NAME", "VERSION", "REPOSITORY", "STATUS")
    output.show(
        session.output, rows, lambda: output.table([[row[head.lower()] for head in heads] for row in rows], heads)
    )


app.command("ls", hidden=True)(list_)


@app.command()
@command()
def update(session: Session, chart: Folder, skip_refresh: SkipRefresh = False) -> None:
    """Fetch the newest dependencies that Chart.yaml allows into charts/, and lock them."""
    vendor(chart, build=False, refresh=not skip_refresh)


app.command("up", hidden=True)(update)


@app.command()
@command()
def build(session: Session, chart: Folder, skip_refresh: SkipRefresh = False) -> None:
    """Fetch exactly what Chart.lock names into charts/; digests are checked."""
    vendor(chart, build=True, refresh=not skip_refresh)


def completed(chart: Chart, path: str) -> Chart:
    """The chart of a folder with the dependencies that were missing in its ``charts/``."""
    from pvehelm.chart.chart import load
    from pvehelm.chart.dependencies import missing

    if not missing(chart):
        return chart
    vendor(path, build=False, out=sys.stderr)
    return load(path)


def vendor(path: str, *, build: bool, refresh: bool = True, out: TextIO | None = None) -> None:
    """Bring a chart folder's charts/ and lock up to date, and say what was done, on stdout unless told."""
    from pvehelm.chart.publishing import write

    out = out or sys.stdout
    folder = Path(path)
    if not folder.is_dir():
        raise UsageError(f"{path} is no folder", hint="dependencies are kept in the charts/ of a chart's folder")
    chart = o.load_chart(str(folder) if folder.is_absolute() else f"./{path}")
    act = actions.dependency_build if build else actions.dependency_update
    made = act(chart, folder, refresh=refresh)
    for name, data in made.files.items():
        if chart.raw.get(name) != data:
            write(folder / name, data)
    for name in made.remove:
        (folder / name).unlink(missing_ok=True)
    for one in made.chosen:
        sha = f"  sha256:{one.sha256[:12]}" if one.sha256 else ""
        out.write(f"{one.name} {one.version}  {one.url or one.repository or 'charts/'}{sha}\n")
    for name in made.remove:
        out.write(f"removed {name}\n")
    count = len(made.chosen)
    out.write(f"{count} {'dependency' if count == 1 else 'dependencies'} in {path.rstrip('/')}/charts\n")

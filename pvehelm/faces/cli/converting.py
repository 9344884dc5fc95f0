"""chart convert: a chart of Helm's own syntax rewritten in Jinja2."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pvehelm.errors import Problem, PvehelmError, UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import SOURCE, Session, command

if TYPE_CHECKING:
    from pvehelm.actions.conversion import Converted
    from pvehelm.chart.convert_proof import Proof

#: So many differences with one values file are printed.
_MOST = 50


@command("output", *SOURCE, "engine")
def convert(
    session: Session,
    path: o.ChartPath,
    to: Annotated[str, typer.Option("--to", help="The dialect to write it in.", metavar="jinja2")] = "jinja2",
    out: Annotated[
        str, typer.Option("--out", help="The new chart's folder; NAME-jinja2 unless given.", metavar="DIR")
    ] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a folder that exists; its other files stay.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--report", help="Write nothing, only report.")] = False,
) -> int:
    """Rewrite a chart of Helm's own template syntax in Jinja2, and prove it.

    What goes by rule is written; what does not fails at its place until a person has written it. Both charts are
    rendered with values.yaml and each file under ci/, and compared document by document. Exit code 1 while anything
    is left to do or differs.
    """
    from pvehelm.actions import conversion
    from pvehelm.chart.dialects import undecided, with_engine
    from pvehelm.faces.cli.chart import sources_of

    if to != "jinja2":
        raise UsageError(f"--to {to}: charts are converted to jinja2")
    chart = o.load_chart(path, session)
    if undecided(chart):
        chart = with_engine(chart, "gotpl")
    folder = Path(out or f"{chart.metadata.name}-{to}")
    if not dry_run:
        _check(folder, overwrite=overwrite)
    made = conversion.convert(chart, sources_of(path, chart))
    if not dry_run:
        for name, content in made.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        for name in chart.raw:
            if name not in made.files:  # An archive of a subchart, which is a folder now.
                (folder / name).unlink(missing_ok=True)
    data = {"chart": path, "out": "" if dry_run else str(folder), **made.as_dict()}
    output.show(session.output, data, lambda: _table(made, "" if dry_run else str(folder)))
    return 0 if made.proven else 1


def _check(folder: Path, *, overwrite: bool) -> None:
    if folder.is_file():
        raise PvehelmError(f"{folder} is a file", hint="--out names another folder")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        hint = "--out names another folder, --overwrite writes into this one, --report writes nothing"
        raise PvehelmError(f"{folder} exists already", hint=hint)


def _outcome(proof: Proof) -> str:
    if proof.refused:
        return f"refused by both: {' '.join(proof.refused.split())}"
    return "same" if proof.same else "DIFFERS"


def _table(made: Converted, folder: str) -> None:
    on = output.colours_wanted(sys.stdout)

    def told(title: str, colour: str, problems: tuple[Problem, ...]) -> None:
        for problem in problems:
            sys.stdout.write(output.paint(f"[{title}] ", colour, on) + output.problem_text(problem, on) + "\n")

    told("BY HAND", "red", made.by_hand)
    told("NOTE", "yellow", made.notes)
    rows = [[proof.values, str(proof.documents), _outcome(proof)] for proof in made.proofs]
    output.table(rows, ("VALUES", "DOCUMENTS", "RESULT"))
    for proof in made.proofs:
        told(proof.values, "red", proof.differences[:_MOST])
        if (left := len(proof.differences) - _MOST) > 0:
            sys.stdout.write(f"... and {left} more with {proof.values} (-o json has them all)\n")
    count = len(made.templates)
    where = f" in {folder}" if folder else ", nothing written"
    sys.stdout.write(f"{count} {'template' if count == 1 else 'templates'} converted{where}; ")
    left = len(made.by_hand)
    if made.proven:
        sys.stdout.write("both charts render the same\n")
    elif left:
        sys.stdout.write(f"{left} {'place' if left == 1 else 'places'} to be written by hand\n")
    else:
        sys.stdout.write("the charts differ\n")

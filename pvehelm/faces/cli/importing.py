"""import: manifests and charts of what is there already."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pvehelm.actions import importing as actions
from pvehelm.errors import Problem, UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import complete
from pvehelm.faces.cli.command import Session, command, write_file
from pvehelm.faces.cli.objects import Scope, Selector, full_scope

if TYPE_CHECKING:
    from pvehelm.release.event import Event

BAR = 32


@command("namespace", "context")
async def import_(
    session: Session,
    words: Annotated[
        list[str],
        typer.Argument(
            help="KIND NAME..., KIND/NAME...; guests by VMID, too.",
            metavar="[KIND NAME...]",
            autocompletion=complete.objects,
        ),
    ] = [],
    output_: Annotated[
        tuple[str, str],
        typer.Option(
            "-o",
            "--output",
            help="manifests FILE (or FOLDER, with --all), or chart FOLDER; '-' is standard output.",
            metavar="FORM PATH",
        ),
    ] = ("manifests", "-"),
    name: Annotated[str, typer.Option("--name", help="The chart's name; the folder's when left out.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Everything there is that no release owns.")] = False,
    selector: Selector = "",
    scope: Scope = "",
    owned: Annotated[bool, typer.Option("--owned", help="With --all: what releases own, too.")] = False,
    keep_macs: Annotated[bool, typer.Option("--keep-macs", help="Hardware addresses that were made up, too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> int:
    """Write manifests or a chart of what is there already.

    pvehelm import vm 101 102 ct/200 -o chart ./web
    """
    form, path = output_
    if form == "chart" and path == "-":
        raise UsageError("a chart is a folder", hint="-o chart FOLDER")
    if name and form != "chart":
        raise UsageError("--name goes with -o chart")
    if owned and not everything:
        raise UsageError("--owned goes with --all")
    ctx = session.context
    bar = _Bar() if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else None
    if bar is not None:
        ctx.emit = bar
    selection = actions.Selection(
        words, everything, selector, full_scope(scope), owned, keep_macs, session.namespace or None
    )
    try:
        found = await actions.import_objects(
            ctx, selection, form=form, name=name or (_chart_name(path) if form == "chart" else "")
        )
    finally:
        if bar is not None:
            bar.close()
    written = _write(found, form, path, force)
    _report(found, written)
    return 1 if found.left and not everything else 0


def _chart_name(path: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", Path(path).resolve().name.lower()).strip("-")


def _write(found: actions.Found, form: str, path: str, force: bool) -> list[str]:
    """Write the texts; the paths of what was written. Raises UsageError for files that are there already."""
    if path == "-":
        texts = list(found.files.values())
        sys.stdout.write("---\n".join(texts))
        return []
    folder = Path(path)
    single = set(found.files) == {""}
    if not single and form == "manifests" and folder.suffix in (".yaml", ".yml"):
        found.files = {"": "---\n".join(found.files.values())}
        single = True
    targets = {(folder if single else folder / name): text for name, text in found.files.items()}
    there = [str(target) for target in targets if target.exists()]
    if there and not force:
        count = "1 file is" if len(there) == 1 else f"{len(there)} files are"
        problems = [Problem(name, "already there") for name in there]
        raise UsageError(f"{count} in the way; nothing was written", problems, hint="--force overwrites them")
    for target, text in targets.items():
        write_file(target, text)
    return [str(target) for target in targets]


def _report(found: actions.Found, written: list[str]) -> None:
    """What was written, and what was left: on stderr, for manifests may go to standard output."""
    count = len(found.documents)
    on = output.colours_wanted(sys.stderr)
    for problem in found.left:
        sys.stderr.write(f"left out: {output.problem_text(problem, on)}\n")
    for place, why in found.silent.items():
        sys.stderr.write(f"not read: {place}: {why}\n")
    objects = f"{count} object{'' if count == 1 else 's'}"
    if written:
        for path in written:
            sys.stdout.write(f"wrote {path}\n")
        sys.stdout.write(f"{objects} imported\n")


class _Bar:
    """One line that says how far the reading is."""

    def __init__(self) -> None:
        self.shown = -1

    def __call__(self, event: Event) -> None:
        if event.type != "read":
            return
        done, total = int(event.data["done"]), int(event.data["total"])
        filled = BAR * done // max(total, 1)
        if filled != self.shown or done == total:
            self.shown = filled
            sys.stderr.write(f"\r  [{'#' * filled}{'.' * (BAR - filled)}] {done}/{total}")
            sys.stderr.flush()

    def close(self) -> None:
        if self.shown >= 0:
            sys.stderr.write("\r\x1b[K")

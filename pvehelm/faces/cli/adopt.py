"""adopt, move, rename: whose an object is, and what a release is called."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.actions import adoption as actions
from pvehelm.actions import moving
from pvehelm.errors import RefusedError, UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import complete
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import Session, ask, command

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Objects = Annotated[
    list[str],
    typer.Argument(
        help="KIND NAME... or KIND/NAME...; guests by VMID, too.",
        metavar="KIND/NAME...",
        autocompletion=complete.objects,
    ),
]
As = Annotated[str, typer.Option("--as", help="The name of the manifest that it is to be.", metavar="KIND/NAME")]


@command("namespace", "context", "output", "yes", "dry_run", "take_ownership")
async def adopt(
    session: Session,
    words: Objects,
    release: Annotated[
        str,
        typer.Option(
            "--release", help="The release or set that takes it; a set is made if need be.", metavar="RELEASE"
        ),
    ],
    ref: As = "",
) -> int:
    """Take objects into a release as they are, once the difference was shown.

    pvehelm adopt vm/101 --release web --as vm/web-0
    """
    claim = frozenset(session.given.get("take_ownership", ()))
    return await _taken(session, actions.adopt, actions.Taking(words, release, ref, claim), "adopted by")


@command("namespace", "context", "output", "yes", "dry_run")
async def move(
    session: Session,
    words: Objects,
    to: Annotated[str, typer.Option("--to", help="The release or set that takes it.", metavar="RELEASE")],
    ref: As = "",
) -> int:
    """Move objects to another release: records and marks, no field is changed.

    pvehelm move vm/web-0 --to shop
    """
    return await _taken(session, moving.move, actions.Taking(words, to, ref), "moved to")


async def _taken(
    session: Session,
    act: Callable[..., Coroutine[Any, Any, actions.Taken]],
    taking: actions.Taking,
    words: str,
) -> int:
    """Show the difference, ask where there is one, do it."""
    if o.dry_mode(session) == "client":
        raise UsageError("what is there is seen on the server alone", hint="--dry-run shows it and changes nothing")
    ctx = session.context
    shown = await act(ctx, taking, dry_run=True)
    differs = any(change.fields for change in shown.plan.changes)
    if o.dry_mode(session):
        output.show(session.output, shown.plan.as_dict(), lambda: _difference(shown.plan))
        return 0
    if session.output == "table":
        _difference(shown.plan)
    if differs and not session.yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise RefusedError("what is there differs from the manifests", hint="--yes takes it over all the same")
        if not ask("The next plan of the release will change this. Take it over?"):
            raise RefusedError("nothing was changed")
    session.watch()
    made = await act(ctx, taking, expected=shown.plan.digest)
    rows = [{"ref": change.ref, "differs": [row.leaf for row in change.fields]} for change in made.plan.changes]
    row = {"release": made.key.name, "namespace": made.key.namespace, "revision": made.revision, "objects": rows}

    def people() -> None:
        for change in made.plan.changes:
            sys.stdout.write(f"{change.ref} {words} {made.key.name}\n")
        sys.stdout.write(f'release "{made.key.name}": revision {made.revision}\n')

    output.show(session.output, row, people)
    return 0


def _difference(plan: Any) -> None:
    """What is there against what the manifests want."""
    on = output.colours_wanted(sys.stdout)
    for change in plan.changes:
        number = f" (VMID {change.key['vmid']})" if change.key.get("vmid") else ""
        count = len(change.fields)
        said = f"{count} field{'' if count == 1 else 's'} differ{'s' if count == 1 else ''}" if count else "as it is"
        sys.stdout.write(f"{change.ref}{number}: {said}\n")
        for line in output.field_lines(change):
            sys.stdout.write(output.paint(line, "yellow", on) + "\n")
    for problem in plan.problems:
        sys.stdout.write(f"  note: {output.problem_text(problem, on)}\n")
    for note in plan.notes:
        sys.stdout.write(f"  note: {note}\n")


@command("namespace", "context", "output")
async def rename(
    session: Session,
    name: Annotated[str, typer.Argument(help="The release.", metavar="RELEASE", autocompletion=complete.releases)],
    new: Annotated[str, typer.Argument(help="Its new name.", metavar="NEW")],
) -> None:
    """Give a release another name, with its history; nothing else is changed.

    pvehelm rename web shop
    """
    release = await moving.rename(session.context, name, new)

    def people() -> None:
        sys.stdout.write(f'release "{name}" is called "{new}" now: revision {release.current.number}\n')

    output.show(session.output, output.list_row(release), people)

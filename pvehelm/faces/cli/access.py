"""auth can-i, auth whoami: what the credentials may do, and whose they are."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pvehelm.actions import access as actions
from pvehelm.errors import UsageError
from pvehelm.faces import output
from pvehelm.faces.cli.command import Session, command

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="What the credentials in use may do."
)


@app.callback()
def _group() -> None:
    pass


@app.command("can-i")
@command("namespace", "context", "output")
async def can_i(
    session: Session,
    words: Annotated[
        list[str],
        typer.Argument(help="A verb, and KIND, KIND/NAME or a path of the API.", metavar="VERB KIND[/NAME]|PATH"),
    ] = [],
    list_: Annotated[bool, typer.Option("--list", help="Every path with the privileges there.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only the exit code.")] = False,
) -> int:
    """Whether something is allowed: exit code 0 for yes, 1 for no.

    pvehelm auth can-i create vms -n production
    """
    if list_:
        if words:
            raise UsageError("--list takes no verb")
        rows = await actions.permissions(session.context)
        lines = [
            (path, ", ".join(name if spreads else f"{name} (here only)" for name, spreads in sorted(row.items())))
            for path, row in rows.items()
        ]
        output.show(session.output, rows, lambda: output.table(lines, ("PATH", "PRIVILEGES")))
        return 0
    if len(words) == 3 and "/" not in words[1]:
        words = [words[0], f"{words[1]}/{words[2]}"]
    if len(words) != 2:
        raise UsageError("can-i takes a verb and what it is done to", hint="pvehelm auth can-i create vms")
    answer = await actions.can_i(session.context, *words)
    if not quiet:
        row = {"allowed": answer.allowed, "missing": answer.missing}
        output.show(session.output, row, lambda: _told(answer))
    return 0 if answer.allowed else 1


@app.command()
@command("context", "output")
async def whoami(session: Session) -> None:
    """Who the server takes the credentials for."""
    found = await actions.whoami(session.context)
    output.show(session.output, found, lambda: output.table(list(found.items()), ("ATTRIBUTE", "VALUE")))


def _told(answer: actions.Answer) -> None:
    sys.stdout.write("yes\n" if answer.allowed else f"no: {answer.missing}\n")
    if answer.hint:
        sys.stderr.write(f"hint: {answer.hint}\n")

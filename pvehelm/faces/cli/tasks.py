"""tasks list|log|cancel, logs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from pvehelm.actions import tasks as actions
from pvehelm.faces import output
from pvehelm.faces.cli import complete
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import Session, command
from pvehelm.faces.cli.objects import AllNamespaces

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="List tasks, read their logs, end them."
)
Upid = Annotated[str, typer.Argument(help="The task (a UPID), or a guest for its newest task.", metavar="UPID|GUEST")]
Follow = Annotated[bool, typer.Option("-f", "--follow", help="Go on until the task has ended.")]
Tail = Annotated[int, typer.Option("--tail", help="Only so many last lines (0: all).", min=0)]


@app.command("list")
@command("namespace", "context")
async def list_(
    session: Session,
    node: Annotated[str, typer.Option("--node", help="Of one node.", autocompletion=complete.nodes)] = "",
    guest: Annotated[
        str, typer.Option("--guest", help="Of one guest.", metavar="GUEST", autocompletion=complete.guests)
    ] = "",
    type_: Annotated[str, typer.Option("--type", help="Of a type: qmstart, vzdump.")] = "",
    user: Annotated[str, typer.Option("--user", help="Of a user.")] = "",
    running: Annotated[bool, typer.Option("--running", help="Those that run.")] = False,
    errors: Annotated[bool, typer.Option("--errors", help="Those that failed.")] = False,
    since: Annotated[str, typer.Option("--since", help="Begun within this time: 10m, 2h.", metavar="TIME")] = "",
    limit: Annotated[int, typer.Option("-m", "--max", help="At most so many (0: all).", min=0)] = 50,
    all_namespaces: AllNamespaces = False,
    how: Annotated[str, typer.Option("-o", "--output", help="table, wide, json or yaml.", metavar="FORMAT")] = "table",
    no_headers: Annotated[bool, typer.Option("--no-headers", help="No header line.")] = False,
) -> None:
    """Tasks of all nodes, the newest first.

    pvehelm tasks list --errors --since 2h
    """
    from pvehelm.errors import UsageError

    if how not in ("table", "wide", "json", "yaml"):
        raise UsageError(f"-o {how}: unknown format", hint="one of table, wide, json, yaml")
    seconds = o.seconds(since, "--since")
    begun = time.time() - seconds if seconds else 0.0
    wanted = actions.Filter(node, guest, type_, user, running, errors, begun, limit, all_namespaces)
    rows = await actions.list_(session.context, wanted)
    wide = how == "wide"
    heads = ("STARTED", "NODE", "TYPE", "OBJECT", "USER", "TOOK", "STATUS", *(("UPID",) if wide else ()))
    spare = ("TOOK", "USER", "NODE", "STARTED")
    output.show(
        how,
        rows,
        lambda: output.table(
            [_line(row, wide) for row in rows],
            heads,
            header=not no_headers,
            spare=spare,
            prose=("STATUS",),
            wide=wide,
        ),
    )


def _line(row: Mapping[str, Any], wide: bool) -> list[str]:
    from pvehelm.faces.columns import moment, span

    ended = row.get("endtime")
    took = span(int(ended) - int(row["starttime"])) or "0s" if ended else ""
    status = str(row.get("status") or "") if ended else "running"
    named = [str(row.get(name) or "") for name in ("node", "type", "id", "user")]
    return [moment(row["starttime"]), *named, took, status, *([str(row["upid"])] if wide else [])]


@app.command()
@command("namespace", "context")
async def log(
    session: Session, upid: Upid, follow: Follow = False, tail: Tail = 0, all_namespaces: AllNamespaces = False
) -> None:
    """The log of a task.

    pvehelm tasks log UPID:pve1:...: -f
    """
    await _print(session, upid, follow, tail, all_namespaces)


@command("namespace", "context")
async def logs(
    session: Session, upid: Upid, follow: Follow = False, tail: Tail = 0, all_namespaces: AllNamespaces = False
) -> None:
    """The log of a task, or of a guest's newest one.

    pvehelm logs vm/web -f
    """
    await _print(session, upid, follow, tail, all_namespaces)


async def _print(session: Session, what: str, follow: bool, tail: int, everywhere: bool) -> None:
    upid = await actions.find(session.context, what, all_namespaces=everywhere)
    if upid != what:
        sys.stderr.write(f"task {upid}\n")
    async for line in actions.log(session.context, upid, follow=follow, tail=tail):
        sys.stdout.write(output.printable(line) + "\n")
        if follow:
            sys.stdout.flush()


@app.command()
@command("context", "output")
async def cancel(
    session: Session,
    upids: Annotated[list[str], typer.Argument(help="The tasks.", metavar="UPID...")],
    force: Annotated[bool, typer.Option("--force", help="Even one that a command here is waiting for.")] = False,
) -> None:
    """End tasks that run.

    pvehelm tasks cancel UPID:pve1:...:
    """
    rows = []
    for upid in upids:
        told = await actions.cancel(session.context, upid, force=force)
        rows.append({"upid": upid, "result": "told to end" if told else "ended already"})
    output.show(session.output, rows, lambda: sys.stdout.writelines(f"{row['upid']} {row['result']}\n" for row in rows))

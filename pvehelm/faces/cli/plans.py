"""plan, apply-plan: what a command would do, saved, and done exactly so."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pvehelm.actions import plans as actions
from pvehelm.actions import releases
from pvehelm.errors import PvehelmError, UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli import releases as verbs
from pvehelm.faces.cli.command import Session, command, read_text
from pvehelm.faces.cli.naming import GenerateName, NameTemplate

if TYPE_CHECKING:
    from pvehelm.release.desire import Options
    from pvehelm.release.pipeline import Result
    from pvehelm.release.plan import Plan

CHANGES = 2
PLAN = ("out", "graph", "detailed_exitcode")
app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    invoke_without_command=True,
    help="Show what a command would do, and save it as a plan.",
)


@app.callback()
@command(
    "namespace",
    "context",
    "output",
    *PLAN,
    "description",
    *o.ALLOWING,
    "replace",
    "target",
    "create_namespace",
    "reboot",
)
async def manifests(
    session: Session,
    click: typer.Context,
    files: Annotated[
        list[str], typer.Option("-f", "--filename", help="Plan applying manifests: a file or folder.", metavar="FILE")
    ] = [],
    recursive: Annotated[bool, typer.Option("-R", "--recursive", help="Folders with all that is below them.")] = False,
    set_name: Annotated[str, typer.Option("--set-name", help="The set they belong to.", metavar="NAME")] = "",
    prune: Annotated[bool, typer.Option("--prune", help="Remove what the set has and the files do not.")] = False,
) -> int | None:
    """Show what a command would do, and save it as a plan.

    pvehelm plan upgrade web ./charts/web-app --out web.plan.json
    """
    if click.invoked_subcommand:
        if files:
            raise UsageError("plan -f takes no further command", hint="pvehelm plan -f FILE")
        return None
    if not files:
        sys.stdout.write(click.get_help() + "\n")
        return None
    from pvehelm.actions import manifests as sets
    from pvehelm.faces.cli.manifests import name_of, read_files

    resources = sets.read(read_files(files, recursive))
    name = name_of(files, set_name)
    ctx = session.context
    opts = actions.planning(ctx, name, o.options(session, ctx))
    description = session.given["description"]
    result = await sets.apply(ctx, name, resources, opts, prune=prune, description=description)
    return _planned(session, name, result, opts)


@app.command()
@command("namespace", "context", "output", *PLAN, *o.CHART, *o.BOUND)
async def install(
    session: Session,
    names: verbs.Names,
    generate_name: GenerateName = False,
    name_template: NameTemplate = "",
) -> int:
    """What an install would do.

    pvehelm plan install web ./charts/web-app --out web.plan.json
    """
    request = verbs.install_request(session, names, generate_name, name_template)
    ctx = session.context
    opts = actions.planning(ctx, request.name, o.options(session, ctx))
    return _planned(session, request.name, await releases.install(ctx, request, opts), opts)


@app.command()
@command("namespace", "context", "output", *PLAN, *o.UPGRADE, *o.BOUND)
async def upgrade(session: Session, name: o.Name, chart_path: o.RecordedChart = "") -> int:
    """What an upgrade would do.

    pvehelm plan upgrade web ./charts/web-app --set replicas=3 --out web.plan.json
    """
    request = o.request(session, name, o.chart_for(session, name, chart_path))
    ctx = session.context
    opts = actions.planning(ctx, name, o.options(session, ctx))
    return _planned(session, name, await releases.upgrade(ctx, request, opts), opts)


@app.command()
@command("namespace", "context", "output", *PLAN, *o.ROLLBACK, *o.BOUND)
async def rollback(session: Session, name: o.Name, revision: verbs.Target = 0) -> int:
    """What a rollback would do.

    pvehelm plan rollback web 1
    """
    ctx = session.context
    opts = actions.planning(ctx, name, o.options(session, ctx))
    result = await releases.rollback(ctx, name, revision or None, opts, description=session.given["description"])
    return _planned(session, name, result, opts)


@app.command()
@command("namespace", "context", "output", *PLAN, *o.UNINSTALL)
async def uninstall(session: Session, name: o.Name) -> int:
    """What an uninstall would do.

    pvehelm plan uninstall web
    """
    ctx = session.context
    opts = actions.planning(ctx, name, o.options(session, ctx))
    result = await releases.uninstall(ctx, name, opts, description=session.given["description"])
    assert result is not None
    return _planned(session, name, result, opts)


def _planned(session: Session, name: str, result: Result, options: Options) -> int:
    """Show the plan, save it where that was asked for; 1 where it can't be done, 3 where it is refused."""
    plan, given = result.plan, session.given
    if given["graph"] not in ("", "text", "dot"):
        raise UsageError(f"--graph={given['graph']}: text or dot")
    if given["graph"]:
        _graph(plan, dot=given["graph"] == "dot")
    else:
        output.show(session.output, plan.as_dict(), lambda: output.dry_text(plan))
    if plan.problems or plan.refusals:
        if given["out"]:
            sys.stderr.write(f"{given['out']} was not written: the plan can't be applied as it is\n")
        return 1 if plan.problems else 3
    if given["out"]:
        write_private(given["out"], actions.document(session.context, name, result, options).to_text())
        sys.stderr.write(f"saved; pvehelm apply-plan {given['out']} does exactly this\n")
    return CHANGES if given["detailed_exitcode"] and not plan.empty else 0


def _graph(plan: Plan, *, dot: bool) -> None:
    """The changes in the rows that they are done in, or for Graphviz."""
    from pvehelm.release import graph
    from pvehelm.release.plan import SIGNS

    acting = [change for change in plan.changes if change.acts]
    if dot:
        sys.stdout.write(graph.dot(acting, plan.release))
        return
    on = output.colours_wanted(sys.stdout)
    refs = {change.ref for change in acting}
    for number, row in enumerate(graph.levels(acting), 1):
        sys.stdout.write(f"{number}.\n")
        for change in row:
            text = output.paint(f"{SIGNS[change.op]} {change.ref}", output.COLOURS[str(change.op)], on)
            after = [need for need in change.needs if need in refs]
            sys.stdout.write(f"   {text}" + (f"  after {', '.join(after)}" if after else "") + "\n")
    sys.stdout.write(f"Plan: {plan.summary()}.\n")


def write_private(path: str, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all. Raises PvehelmError."""
    write_private_bytes(path, text.encode())


def write_private_bytes(path: str, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all. Raises PvehelmError."""
    draft = f"{path}.{os.getpid()}.draft"
    try:
        handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(draft, path)
    except OSError as error:
        if os.path.exists(draft):
            os.unlink(draft)
        raise PvehelmError(f"can't write {path}: {error.strerror}") from None


@command("context", "output", "yes", "timeout")
async def apply_plan(
    session: Session,
    path: Annotated[str, typer.Argument(help="The saved plan ('-' is stdin).", metavar="FILE")],
) -> int | None:
    """Apply a saved plan exactly, or say what moved.

    pvehelm apply-plan web.plan.json
    """
    from pvehelm.release.document import Document

    saved = Document.from_text(read_text(path), path)
    ctx = session.watch()
    result = await actions.apply_plan(ctx, saved, timeout=o.seconds(session.given["timeout"]))
    if saved.action == "uninstall":
        verbs.uninstalled(session, saved.key.name)
    else:
        verbs.finish(session, result, dry=False)
    return 0

"""install, upgrade, rollback, uninstall, diff, recover, unlock."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from pvehelm.actions import releases as actions
from pvehelm.errors import PvehelmError, UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import complete
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import DIGITS, SOURCE, Session, command
from pvehelm.faces.cli.naming import GenerateName, NameTemplate, named

if TYPE_CHECKING:
    from pvehelm.release.pipeline import Result

CHANGES = 2


def finish(session: Session, result: Result, *, dry: bool) -> None:
    """What install, upgrade and rollback end with."""
    if dry:
        output.show(session.output, result.plan.as_dict(), lambda: output.dry_text(result.plan))
        return
    release = result.release
    assert release is not None
    current = release.current
    if not result.changed:
        name = release.key.name
        note = f'Release "{name}" is as desired: nothing to do, no new revision.\n'
        if not result.plan.changes:
            note = (
                f'Release "{name}" has no objects: nothing to do, no new revision.\n'
                f"  the last one says: {output.printable(current.description)}; pvehelm uninstall {name} forgets it\n"
            )
        output.show(session.output, output.release_row(release, current) | {"changed": False}, lambda: _say(note))
        return
    if session.output == "table":
        for line in result.plan.notes:
            sys.stderr.write(f"note: {line}\n")
    output.show(
        session.output,
        output.release_row(release, current) | {"changed": True},
        lambda: output.release_text(release, current, notes=not session.given.get("hide_notes")),
    )


def _say(text: str) -> None:
    sys.stdout.write(text)


def _blocked(result: Result) -> int:
    return 1 if result.plan.problems else 3 if result.plan.refusals else 0


Names = Annotated[list[str], typer.Argument(help="The release's name and the chart.", metavar="[RELEASE] CHART")]
Target = Annotated[
    int, typer.Argument(help="The revision to restore; the one before when left out.", metavar="REVISION")
]


def install_request(
    session: Session, names: list[str], generate_name: bool, name_template: str = ""
) -> actions.Request:
    """What ``[RELEASE] CHART`` asks for. Raises UsageError."""
    if len(names) > 2 or (len(names) == 2) == bool(generate_name or name_template):
        raise UsageError(
            "install takes a release name and a chart",
            hint="pvehelm install NAME CHART, or: pvehelm install --generate-name CHART",
        )
    chart = o.load_chart(names[-1], session)
    name = named(chart.metadata.name, name_template, session.context.clock()) if len(names) == 1 else names[0]
    return o.request(session, name, chart)


@command("namespace", "context", "output", "yes", *o.CHART, *o.RUN)
async def install(
    session: Session,
    names: Names,
    generate_name: GenerateName = False,
    name_template: NameTemplate = "",
) -> int | None:
    """Install a chart as a release.

    pvehelm install web ./charts/web-app -f values.yaml --set replicas=3
    """
    mode = o.dry_mode(session)
    request = install_request(session, names, generate_name, name_template)
    ctx = session.watch()
    if mode == "client":
        return _client_side(session, request)
    result = await actions.install(ctx, request, o.options(session, ctx))
    finish(session, result, dry=bool(mode))
    return _blocked(result)


def _client_side(session: Session, request: actions.Request) -> int:
    from pvehelm.actions.charts import template

    made = template(
        request.chart,
        request.flags,
        name=request.name,
        namespace=session.namespace or "default",
        skip_schema=request.skip_schema,
        strict=request.strict,
        foreign=False,
        post=request.post,
    )
    sys.stdout.write(made.text)
    return 0


@command("namespace", "context", "output", "yes", *o.UPGRADE, *o.RUN)
async def upgrade(session: Session, name: o.Name, chart_path: o.RecordedChart = "") -> int | None:
    """Upgrade a release: the chart's defaults, the recorded values, then the flags.

    pvehelm upgrade web ./charts/web-app --set replicas=3
    """
    mode = o.dry_mode(session)
    request = o.request(session, name, o.chart_for(session, name, chart_path))
    ctx = session.watch()
    if mode == "client":
        return _client_side(session, request)
    result = await actions.upgrade(ctx, request, o.options(session, ctx))
    finish(session, result, dry=bool(mode))
    return _blocked(result)


@command("namespace", "context", "output", "yes", *o.ROLLBACK, *o.RUN)
async def rollback(
    session: Session,
    name: o.Name,
    revision: Target = 0,
) -> int | None:
    """Roll a release back to a revision.

    pvehelm rollback web 1
    """
    ctx = session.watch()
    opts = o.options(session, ctx)
    result = await actions.rollback(ctx, name, revision or None, opts, description=session.given["description"])
    finish(session, result, dry=opts.dry_run)
    return _blocked(result)


@command("namespace", "context", "output", "yes", "dry_run", *o.UNINSTALL)
async def uninstall(
    session: Session,
    names: Annotated[list[str], typer.Argument(help="The releases.", metavar="RELEASE...")],
    ignore_not_found: Annotated[
        bool, typer.Option("--ignore-not-found", help="A missing release is no error.")
    ] = False,
) -> int | None:
    """Remove a release and what it created.

    Guests are listed with their disks and confirmed first; --yes confirms in scripts.
    """
    ctx = session.watch()
    opts = o.options(session, ctx)
    code = 0
    for name in names:
        try:
            result = await actions.uninstall(
                ctx, name, opts, description=session.given["description"], ignore_not_found=ignore_not_found
            )
        except PvehelmError as error:
            # The others are still to be removed; what went wrong with this one shows in the exit code.
            if len(names) == 1:
                raise
            output.error_text(error)
            code = code or error.exit_code
            continue
        if result is not None and opts.dry_run:
            finish(session, result, dry=True)
            code = code or _blocked(result)
        else:
            uninstalled(session, name)
    return code


def uninstalled(session: Session, name: str) -> None:
    output.show(
        session.output, {"name": name, "status": "uninstalled"}, lambda: _say(f'release "{name}" uninstalled\n')
    )


async def _recover_objects(session: Session) -> int:
    """What verbs on objects have left, finished; the exit code says whether somebody works on some of it, or whether
    nobody can tell what came of some of it."""
    from pvehelm.actions import guests, looking

    ctx = session.context
    found = await guests.recover(ctx)
    rows = [{"object": one.ref, "result": one.told(), "held": bool(one.held)} for one in found]
    for release in looking.list_(ctx, all_namespaces=True, limit=0):
        if release.current.interrupted and not release.working:
            name, namespace = release.key.name, release.key.namespace
            where = f" -n {namespace}" if namespace != ctx.namespace else ""
            told = f"was interrupted: `pvehelm recover {name}{where}` goes on with it"
            rows.append({"object": f"release {name}", "result": told, "held": False})

    def people() -> None:
        for row in rows:
            _say(f"{row['object']}: {row['result']}\n")
        if not rows:
            _say("nothing was interrupted\n")

    output.show(session.output, rows, people)
    return 4 if any(one.held for one in found) else int(any(one.unknown for one in found))


@command("namespace", "context", "output", "yes", "timeout", *o.ALLOWING, "no_hooks")
async def recover(
    session: Session,
    name: Annotated[
        str,
        typer.Argument(
            help="The release; left out: what verbs on objects (start, clone...) have left, and which releases.",
            metavar="[RELEASE]",
            autocompletion=complete.releases,
        ),
    ] = "",
) -> int | None:
    """Finish or repair what was interrupted."""
    ctx = session.watch()
    if not name:
        return await _recover_objects(session)
    opts = o.options(session, ctx)
    result = await actions.recover(ctx, name, opts)
    if result.plan.action == "uninstall":
        uninstalled(session, name)
    else:
        finish(session, result, dry=False)
    return 0


@command("namespace", "context")
def unlock(session: Session, name: o.Name) -> None:
    """Take a release's lease from whoever holds it.

    What belongs to no release is named as the message says that it is being worked on: unlock guest/101.
    """
    held = actions.unlock(session.context, name)
    what = name if "/" in name else f'release "{name}"'
    _say(f"{what} unlocked\n" if held else f"{what} was not locked\n")


@command("namespace", "context", "output", *SOURCE, *o.VALUES, *o.POST, "reset_values", "allow_privileged")
async def diff(
    session: Session,
    names: Annotated[
        list[str],
        typer.Argument(
            help="RELEASE, RELEASE CHART, or RELEASE REV REV; none with -f.", metavar="RELEASE [CHART | REV REV]"
        ),
    ] = [],
    set_name: Annotated[str, typer.Option("--set-name", help="With -f alone: the set.", metavar="NAME")] = "",
    recursive: Annotated[bool, typer.Option("-R", "--recursive", help="With -f alone: folders as a whole.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="With -f alone: without what the files lack.")] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 2 when something differs.")
    ] = False,
) -> int | None:
    """Show what differs: deployed against live, an upgrade's preview, two revisions, or manifests.

    pvehelm diff -f web.yaml
    """
    from pvehelm.faces.cli.external import shown

    if not names:
        from pvehelm.faces.cli.manifests import preview

        files = session.given["values"]
        if not files:
            raise UsageError("diff what?", hint="diff RELEASE, RELEASE CHART, RELEASE REV REV, or -f FILE")
        return await preview(session, files, recursive, set_name, prune, detailed=detailed_exitcode)
    if len(names) == 3:
        return _diff_revisions(session, names, detailed_exitcode)
    if len(names) > 3:
        raise UsageError("diff takes RELEASE, RELEASE CHART, or RELEASE REV REV")
    ctx = session.context
    if len(names) == 1:
        session.given["allow_privileged"] = ["all"]
        result = await actions.diff_live(ctx, names[0], o.options(session, ctx, dry_run=True))
    else:
        request = o.request(session, names[0], o.load_chart(names[1], session))
        wanted = replace(request, install_if_missing=True)
        result = await actions.upgrade(ctx, wanted, o.options(session, ctx, dry_run=True))
    if not shown(result.plan, session.output):
        finish(session, result, dry=True)
    if not detailed_exitcode:
        return 0
    return 1 if result.plan.problems else CHANGES if result.plan.refusals or not result.plan.empty else 0


def _diff_revisions(session: Session, names: list[str], detailed: bool) -> int:
    if not all(number.isdecimal() and len(number) <= DIGITS for number in names[1:]):
        raise UsageError("diff RELEASE REV REV takes two revision numbers")
    text = actions.diff_revisions(session.context, names[0], int(names[1]), int(names[2]))
    if session.output != "table":
        output.emit_data({"diff": text}, session.output)
    else:
        on = output.colours_wanted(sys.stdout)
        for line in text.splitlines():
            colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
            sys.stdout.write(output.paint(line, colour, on) + "\n")
        if not text:
            _say(f"No differences between the manifests of revisions {names[1]} and {names[2]}.\n")
    return CHANGES if detailed and text else 0

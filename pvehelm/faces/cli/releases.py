"""install, upgrade, rollback, uninstall, diff, recover, unlock."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.actions import releases as actions
from pvehelm.errors import PvehelmError, UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import SOURCE, Session, command

if TYPE_CHECKING:
    from pvehelm.release.pipeline import Result

CHANGES = 2


def _finish(session: Session, result: Result, *, dry: bool) -> None:
    """What install, upgrade and rollback end with."""
    if dry:
        output.show(session.output, result.plan.as_dict(), lambda: _dry(result))
        return
    release = result.release
    assert release is not None
    current = release.current
    if not result.changed:
        note = f'Release "{release.key.name}" is as desired: nothing to do, no new revision.\n'
        output.show(session.output, output.release_row(release, current) | {"changed": False}, lambda: _say(note))
        return
    if session.output == "table":
        for line in result.plan.notes:
            sys.stderr.write(f"note: {line}\n")
    output.show(
        session.output,
        output.release_row(release, current) | {"changed": True},
        lambda: output.release_text(release, current),
    )


def _say(text: str) -> None:
    sys.stdout.write(text)


def _dry(result: Result) -> None:
    output.plan_text(result.plan)
    on = output.colours_wanted(sys.stdout)
    for title, problems in (("Can't be done", result.plan.problems), ("Refused", result.plan.refusals)):
        for problem in problems:
            sys.stdout.write(f"{title}: {output.problem_text(problem, on)}\n")


def _blocked(result: Result) -> int:
    return 1 if result.plan.problems else 3 if result.plan.refusals else 0


def _dry_mode(text: str) -> str:
    modes = {"": "", "none": "", "false": "", "server": "server", "true": "server", "client": "client"}
    if text not in modes:
        raise UsageError(f"--dry-run={text}: server or client")
    return modes[text]


@command("namespace", "context", "output", "yes", *SOURCE)
async def install(
    session: Session,
    names: Annotated[list[str], typer.Argument(help="The release's name and the chart.", metavar="[RELEASE] CHART")],
    values: o.Values = [],
    set_: o.Set = [],
    set_string: o.SetString = [],
    set_file: o.SetFile = [],
    set_json: o.SetJson = [],
    set_literal: o.SetLiteral = [],
    generate_name: Annotated[bool, typer.Option("-g", "--generate-name", help="Make a name from the chart's.")] = False,
    dry_run: o.DryRun = "",
    wait: o.Wait = False,
    timeout: o.Timeout = "",
    atomic: o.Atomic = False,
    description: o.Description = "",
    labels: o.Labels = [],
    create_namespace: o.CreateNamespace = False,
    skip_schema: o.SkipSchema = False,
    take_ownership: o.TakeOwnership = [],
    allow_destroy: o.AllowDestroy = [],
    allow_privileged: o.AllowPrivileged = [],
    allow_lookup: o.AllowLookup = False,
    target: o.Target = [],
    history_max: o.HistoryMax = 10,
) -> int | None:
    """Install a chart as a release.

    pvehelm install web ./charts/web-app -f values.yaml --set replicas=3
    """
    if len(names) > 2 or (len(names) == 2 and generate_name) or (len(names) == 1 and not generate_name):
        raise UsageError(
            "install takes a release name and a chart",
            hint="pvehelm install NAME CHART, or: pvehelm install --generate-name CHART",
        )
    chart = o.load_chart(names[-1], session)
    flags = o.value_flags()
    mode = _dry_mode(dry_run)
    ctx = session.watch()
    name = actions.generated_name(chart.metadata.name, ctx.clock()) if generate_name else names[0]
    if mode == "client":
        return _client_side(session, chart, flags, name, skip_schema)
    opts = o.options(
        allowed=o.allowed(
            ctx, take_ownership=take_ownership, destroy=allow_destroy, privileged=allow_privileged, targets=target
        ),
        dry_run=bool(mode),
        atomic=atomic,
        wait=wait,
        timeout=o.seconds(timeout),
        create_namespace=create_namespace,
        history_max=history_max,
    )
    result = await actions.install(
        ctx,
        name,
        chart,
        flags,
        opts,
        origin=o.origin_of(chart.path),
        description=description,
        labels=actions.parse_labels(labels),
        skip_schema=skip_schema,
        allow_lookup=allow_lookup,
    )
    _finish(session, result, dry=bool(mode))
    return _blocked(result)


def _client_side(session: Session, chart: Any, flags: Any, name: str, skip_schema: bool) -> int:
    from pvehelm.actions.charts import template

    sys.stdout.write(
        template(chart, flags, name=name, namespace=session.namespace or "default", skip_schema=skip_schema)
    )
    return 0


@command("namespace", "context", "output", "yes", *SOURCE)
async def upgrade(
    session: Session,
    name: o.Name,
    chart_path: o.ChartPath,
    values: o.Values = [],
    set_: o.Set = [],
    set_string: o.SetString = [],
    set_file: o.SetFile = [],
    set_json: o.SetJson = [],
    set_literal: o.SetLiteral = [],
    install_: Annotated[bool, typer.Option("-i", "--install", help="Install it if it is not there.")] = False,
    reset_values: Annotated[bool, typer.Option("--reset-values", help="Drop the recorded user values.")] = False,
    reuse_values: Annotated[
        bool, typer.Option("--reuse-values", help="The default here: recorded values are kept.")
    ] = False,
    reset_then_reuse: Annotated[
        bool, typer.Option("--reset-then-reuse-values", help="The default here: new defaults, then recorded values.")
    ] = False,
    dry_run: o.DryRun = "",
    wait: o.Wait = False,
    timeout: o.Timeout = "",
    atomic: o.Atomic = False,
    description: o.Description = "",
    labels: o.Labels = [],
    create_namespace: o.CreateNamespace = False,
    skip_schema: o.SkipSchema = False,
    take_ownership: o.TakeOwnership = [],
    allow_destroy: o.AllowDestroy = [],
    allow_privileged: o.AllowPrivileged = [],
    allow_lookup: o.AllowLookup = False,
    replace: o.Replace = [],
    target: o.Target = [],
    history_max: o.HistoryMax = 10,
) -> int | None:
    """Upgrade a release: the chart's defaults, the recorded values, then the flags.

    pvehelm upgrade web ./charts/web-app --set replicas=3
    """
    if reset_values and (reuse_values or reset_then_reuse):
        raise UsageError("--reset-values and --reuse-values contradict each other")
    chart = o.load_chart(chart_path, session)
    flags = o.value_flags()
    mode = _dry_mode(dry_run)
    ctx = session.watch()
    if mode == "client":
        return _client_side(session, chart, flags, name, skip_schema)
    opts = o.options(
        allowed=o.allowed(
            ctx,
            take_ownership=take_ownership,
            destroy=[*allow_destroy, *replace],
            privileged=allow_privileged,
            replace=replace,
            targets=target,
        ),
        dry_run=bool(mode),
        atomic=atomic,
        wait=wait,
        timeout=o.seconds(timeout),
        create_namespace=create_namespace,
        history_max=history_max,
    )
    result = await actions.upgrade(
        ctx,
        name,
        chart,
        flags,
        opts,
        install_if_missing=install_,
        reset_values=reset_values,
        origin=o.origin_of(chart.path),
        description=description,
        labels=actions.parse_labels(labels),
        skip_schema=skip_schema,
        allow_lookup=allow_lookup,
    )
    _finish(session, result, dry=bool(mode))
    return _blocked(result)


@command("namespace", "context", "output", "yes")
async def rollback(
    session: Session,
    name: o.Name,
    revision: Annotated[int, typer.Argument(help="The revision to restore; the one before when left out.")] = 0,
    dry_run: o.DryRun = "",
    wait: o.Wait = False,
    timeout: o.Timeout = "",
    description: o.Description = "",
    take_ownership: o.TakeOwnership = [],
    allow_destroy: o.AllowDestroy = [],
    allow_privileged: o.AllowPrivileged = [],
    history_max: o.HistoryMax = 10,
) -> int | None:
    """Roll a release back to a revision.

    pvehelm rollback web 1
    """
    ctx = session.watch()
    dry = bool(_dry_mode(dry_run))
    opts = o.options(
        allowed=o.allowed(ctx, take_ownership=take_ownership, destroy=allow_destroy, privileged=allow_privileged),
        dry_run=dry,
        wait=wait,
        timeout=o.seconds(timeout),
        history_max=history_max,
    )
    result = await actions.rollback(ctx, name, revision or None, opts, description=description)
    _finish(session, result, dry=dry)
    return _blocked(result)


@command("namespace", "context", "output", "yes")
async def uninstall(
    session: Session,
    names: Annotated[list[str], typer.Argument(help="The releases.", metavar="RELEASE...")],
    dry_run: o.DryRun = "",
    timeout: o.Timeout = "",
    keep_history: Annotated[bool, typer.Option("--keep-history", help="Keep the revisions.")] = False,
    keep_resources: o.KeepResources = False,
    ignore_not_found: Annotated[
        bool, typer.Option("--ignore-not-found", help="A missing release is no error.")
    ] = False,
    description: o.Description = "",
    allow_destroy: o.AllowDestroy = [],
    history_max: o.HistoryMax = 10,
) -> int | None:
    """Remove a release and what it created.

    Guests are listed with their disks and confirmed first; --yes confirms in scripts.
    """
    ctx = session.watch()
    dry = bool(_dry_mode(dry_run))
    opts = o.options(
        allowed=o.allowed(ctx, destroy=allow_destroy),
        dry_run=dry,
        timeout=o.seconds(timeout),
        keep_history=keep_history,
        keep_resources=keep_resources,
        history_max=history_max,
    )
    code = 0
    for name in names:
        try:
            result = await actions.uninstall(
                ctx, name, opts, description=description, ignore_not_found=ignore_not_found
            )
        except PvehelmError as error:
            # The others are still to be removed; what went wrong with this one shows in the exit code.
            if len(names) == 1:
                raise
            output.error_text(error)
            code = code or error.exit_code
            continue
        if result is not None and dry:
            _finish(session, result, dry=True)
            code = code or _blocked(result)
        else:
            _uninstalled(session, name)
    return code


def _uninstalled(session: Session, name: str) -> None:
    output.show(
        session.output, {"name": name, "status": "uninstalled"}, lambda: _say(f'release "{name}" uninstalled\n')
    )


@command("namespace", "context", "output", "yes")
async def recover(
    session: Session,
    name: o.Name,
    timeout: o.Timeout = "",
    take_ownership: o.TakeOwnership = [],
    allow_destroy: o.AllowDestroy = [],
    allow_privileged: o.AllowPrivileged = [],
) -> int | None:
    """Finish or repair what was interrupted."""
    ctx = session.watch()
    opts = o.options(
        allowed=o.allowed(ctx, take_ownership=take_ownership, destroy=allow_destroy, privileged=allow_privileged),
        timeout=o.seconds(timeout),
    )
    result = await actions.recover(ctx, name, opts)
    if result.plan.action == "uninstall":
        _uninstalled(session, name)
    else:
        _finish(session, result, dry=False)
    return 0


@command("namespace", "context")
def unlock(session: Session, name: o.Name) -> None:
    """Take a release's lease from whoever holds it."""
    held = actions.unlock(session.context, name)
    _say(f'release "{name}" unlocked\n' if held else f'release "{name}" was not locked\n')


@command("namespace", "context", "output", *SOURCE)
async def diff(
    session: Session,
    names: Annotated[
        list[str],
        typer.Argument(help="RELEASE, RELEASE CHART, or RELEASE REV REV.", metavar="RELEASE [CHART | REV REV]"),
    ],
    values: o.Values = [],
    set_: o.Set = [],
    set_string: o.SetString = [],
    set_file: o.SetFile = [],
    set_json: o.SetJson = [],
    set_literal: o.SetLiteral = [],
    reset_values: Annotated[bool, typer.Option("--reset-values", help="Drop the recorded user values.")] = False,
    skip_schema: o.SkipSchema = False,
    allow_privileged: o.AllowPrivileged = [],
    allow_lookup: o.AllowLookup = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 2 when something differs.")
    ] = False,
) -> int | None:
    """Show what differs: deployed against live, an upgrade's preview, or two revisions."""
    if len(names) == 3:
        return _diff_revisions(session, names, detailed_exitcode)
    if len(names) > 3:
        raise UsageError("diff takes RELEASE, RELEASE CHART, or RELEASE REV REV")
    ctx = session.context
    opts = o.options(
        allowed=o.allowed(ctx, privileged=[*allow_privileged, *(["all"] if len(names) == 1 else [])]), dry_run=True
    )
    if len(names) == 1:
        result = await actions.diff_live(ctx, names[0], opts)
    else:
        chart = o.load_chart(names[1], session)
        result = await actions.upgrade(
            ctx,
            names[0],
            chart,
            o.value_flags(),
            opts,
            reset_values=reset_values,
            origin=o.origin_of(chart.path),
            skip_schema=skip_schema,
            allow_lookup=allow_lookup,
            install_if_missing=True,
        )
    _finish(session, result, dry=True)
    if not detailed_exitcode:
        return 0
    return 1 if result.plan.problems else CHANGES if result.plan.refusals or not result.plan.empty else 0


def _diff_revisions(session: Session, names: list[str], detailed: bool) -> int:
    if not (names[1].isdigit() and names[2].isdigit()):
        raise UsageError("diff RELEASE REV REV takes two revision numbers")
    text = actions.diff_revisions(session.context, names[0], int(names[1]), int(names[2]))
    if session.output != "table":
        output.emit_data({"diff": text}, session.output)
    else:
        on = output.colours_wanted(sys.stdout)
        for line in text.splitlines():
            colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
            sys.stdout.write(output.paint(line, colour, on) + "\n")
    return CHANGES if detailed and text else 0

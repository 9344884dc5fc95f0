"""list, status, history, get: what the store knows. None of it needs the server."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.actions import looking as actions
from pvehelm.faces import output
from pvehelm.faces.cli import complete
from pvehelm.faces.cli.command import Session, command

if TYPE_CHECKING:
    from pvehelm.release.journal import Entry
from pvehelm.faces.cli.words import Get

Name = Annotated[str, typer.Argument(help="The release.", metavar="RELEASE", autocompletion=complete.releases)]
Rev = Annotated[int, typer.Option("--revision", help="The revision; the newest when left out.", metavar="N")]


@command("namespace", "context", "output")
def list_(
    session: Session,
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Of every namespace.")] = False,
    pattern: Annotated[
        str, typer.Option("-f", "--filter", help="Names that match a regular expression.", metavar="REGEX")
    ] = "",
    selector: Annotated[str, typer.Option("-l", "--selector", help="Labels: env=prod,tier!=db.")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Failed releases.")] = False,
    deployed: Annotated[bool, typer.Option("--deployed", help="Deployed releases.")] = False,
    uninstalled: Annotated[
        bool, typer.Option("--uninstalled", help="Uninstalled releases whose history was kept.")
    ] = False,
    pending: Annotated[bool, typer.Option("--pending", help="Releases that are being worked on now.")] = False,
    superseded: Annotated[bool, typer.Option("--superseded", help="Alone: every earlier revision.")] = False,
    short: Annotated[bool, typer.Option("-q", "--short", help="Names only.")] = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="No header line.")] = False,
    reverse: Annotated[bool, typer.Option("-r", "--reverse", help="Reverse the order.")] = False,
    by_date: Annotated[bool, typer.Option("-d", "--date", help="Sort by date.")] = False,
    limit: Annotated[int, typer.Option("-m", "--max", help="At most so many (0: all).", min=0)] = 256,
    offset: Annotated[int, typer.Option("--offset", help="Begin after so many.", min=0)] = 0,
    outdated: Annotated[
        bool, typer.Option("--outdated", help="Only those whose chart has a newer version in the cached indexes.")
    ] = False,
) -> None:
    """List releases."""
    chosen = {"failed": failed, "deployed": deployed, "uninstalled": uninstalled}
    chosen |= {"pending": pending, "superseded": superseded}
    releases = actions.list_(
        session.context,
        all_namespaces=all_namespaces,
        pattern=pattern,
        selector=selector,
        statuses=[name for name, on in chosen.items() if on],
        limit=limit,
        offset=offset,
        reverse=reverse,
        by_date=by_date,
    )
    if outdated:
        from pvehelm.actions.outdated import standings
        from pvehelm.faces.cli.outdated import show

        found = [one for one in standings(releases, refresh=False) if one.outdated]
        if not short:
            show(session, found, header=not no_headers)
            return
        releases = [one.release for one in found]
    if short:
        names = [release.key.name for release in releases]
        output.show(session.output, names, lambda: sys.stdout.writelines(f"{name}\n" for name in names))
        return
    spare = ("APP VERSION", *(() if all_namespaces else ("NAMESPACE",)), "UPDATED", "REVISION", "CHART")
    output.show(
        session.output,
        [output.list_row(release) for release in releases],
        lambda: output.table(
            [output.list_cells(release) for release in releases], output.LISTED, header=not no_headers, spare=spare
        ),
    )


@command("namespace", "context", "output")
def status(
    session: Session,
    name: Name,
    revision: Rev = 0,
    live: Annotated[
        bool, typer.Option("--live", help="Ask the server for the power state of the guests (one request).")
    ] = False,
    events: Annotated[bool, typer.Option("--events", help="What was done, call by call.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="What failed tasks and hooks said.")] = False,
) -> Any:
    """Show a release."""
    if events or logs:
        return _events(session, name, revision, logs=logs)
    return _live(session, name, revision) if live else _status(session, name, revision, {})


async def _live(session: Session, name: str, revision: int) -> None:
    _status(session, name, revision, await actions.power(session.context, name))


def _status(session: Session, name: str, revision: int, power: Mapping[str, str]) -> None:
    release, shown = actions.status(session.context, name, revision)
    owned = session.context.store.inventory(release.key).entries

    waiting = _waiting(shown.plan or {})
    missing = [ref for ref, state in power.items() if state == "missing"]

    def people() -> None:
        output.release_text(release, shown)
        if revision:
            return
        rows = [(ref, _identifier(one.identifier), power.get(ref, "")) for ref, one in sorted(owned.items())]
        if rows:
            sys.stdout.write("RESOURCES:\n")
            width = 3 if power else 2
            heads = ("KIND/NAME", "IDENTIFIER", "POWER")[:width]
            output.table([row[:width] for row in rows], heads, prose=("IDENTIFIER",))
        if missing:
            sys.stdout.write(f"\n{', '.join(missing)}: missing on the server; pvehelm drift {name} says more.\n")
        for ref, leaves in waiting.items():
            sys.stdout.write(
                f"\n{ref} took {', '.join(leaves)} for its next start; pvehelm diff {name} says what waits.\n"
            )
        if str(shown.status) == "failed":
            sys.stdout.write(f"\npvehelm recover {name} finishes or repairs what was begun.\n")

    from pvehelm.release.change import numbered

    data = output.release_row(release, shown)
    data["pending_restart"] = waiting
    data["resources"] = [
        {"ref": ref, "identifier": numbered(one.identifier)} | ({"power": power[ref]} if ref in power else {})
        for ref, one in sorted(owned.items())
    ]
    output.show(session.output, data, people)


def _events(session: Session, name: str, revision: int, *, logs: bool) -> None:
    """The journal of a revision: its entries, or what was kept of the logs of those that failed."""
    entries = list(actions.events(session.context, name, revision))
    rows = [_event(entry, logs=logs) for entry in entries]
    if logs:
        rows = [row for row in rows if row.get("log")]

    def people() -> None:
        if not rows:
            sys.stdout.write("No logs were kept.\n" if logs else "Nothing was done on the server.\n")
        elif logs:
            for row in rows:
                sys.stdout.write(f"{row['ref']}: {row['step']}  {row['task']}\n")
                sys.stdout.writelines(f"    {output.printable(line)}\n" for line in row["log"])
        else:
            cells = [
                (output.when(one.started), *(row[f] for f in ("ref", "op", "step", "result")))
                for one, row in zip(entries, rows, strict=True)
            ]
            heads = ("STARTED", "KIND/NAME", "CHANGE", "STEP", "RESULT")
            output.table(cells, heads, spare=("STARTED", "CHANGE"), prose=("STEP", "RESULT"))

    output.show(session.output, rows, people)


def _event(entry: Entry, *, logs: bool) -> dict[str, Any]:
    intent, kept = entry.intent, entry.result if isinstance(entry.result, Mapping) else {}
    call = f"{intent.get('method', '')} {intent.get('path', '')}".strip()
    ended = "unknown" if entry.ok is None else "done" if entry.ok else f"failed: {entry.error}"
    row = {
        "started": output.rfc3339(entry.started),
        "finished": output.rfc3339(entry.finished or 0),
        "ref": entry.ref,
        "op": entry.op,
        "step": intent.get("note") or call,
        "call": call,
        "result": ended,
        "task": entry.upid,
    }
    return row | ({"log": list(kept.get("log") or ())} if logs else {})


def _waiting(plan: Mapping[str, Any]) -> dict[str, list[str]]:
    """What the revision's plan changed for the next start of its guests: ref -> leaves; not of those it restarted."""
    found: dict[str, list[str]] = {}
    hooks = [change.get("hook") or {} for change in plan.get("changes", ())]
    restarted = {ref for hook in hooks if hook.get("event") == "restart" for ref in hook["guests"]}
    for change in plan.get("changes", ()):
        if change["ref"] in restarted:
            continue
        leaves = {row["leaf"] for row in change.get("fields", ()) if row.get("effect") == "reboot"}
        if leaves:
            found[change["ref"]] = sorted(leaves)
    return found


def _identifier(identifier: object) -> str:
    items = dict(identifier).items() if isinstance(identifier, dict) else ()
    return ", ".join(f"{name}={value}" for name, value in items)


@command("namespace", "context", "output")
def history(
    session: Session,
    name: Name,
    limit: Annotated[int, typer.Option("--max", help="At most so many, the newest (0: all).", min=0)] = 256,
) -> None:
    """Show a release's revisions."""
    found = actions.history(session.context, name, limit)

    def people() -> None:
        fields = ("revision", "updated", "status", "chart", "app_version", "description")
        rows = [output.history_row(one) | {"updated": output.when(one.updated)} for one in found]
        spare = ("APP VERSION", "CHART", "UPDATED")
        output.table([[row[f] for f in fields] for row in rows], output.HISTORY, spare=spare, prose=("DESCRIPTION",))

    output.show(session.output, [output.history_row(one) for one in found], people)


app = typer.Typer(
    cls=Get,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Objects of a kind, or what a release consists of: the first word decides.",
)


@app.command()
@command("namespace", "context", "output")
def values(
    session: Session,
    name: Name,
    all_: Annotated[bool, typer.Option("-a", "--all", help="The computed values, not only the user's.")] = False,
    explain: Annotated[str, typer.Option("--explain", help="Say who gave this value.", metavar="PATH")] = "",
    revision: Rev = 0,
) -> None:
    """The user's values of a release."""
    if explain:
        from pvehelm.actions.values import explain_recorded
        from pvehelm.faces.cli.values import said_table

        said_table(session, explain_recorded(session.context, name, explain, revision))
        return
    _, shown = actions.status(session.context, name, revision)
    data = shown.values if all_ else shown.user_values

    def people() -> None:
        sys.stdout.write("COMPUTED VALUES:\n" if all_ else "USER-SUPPLIED VALUES:\n")
        output.emit_data(data, "yaml")

    output.show(session.output, data, people)


@app.command("hooks")
@command("namespace", "context", "output")
def hooks(session: Session, name: Name, revision: Rev = 0) -> None:
    """The hooks of a release, with how they went when they ran."""
    from pvehelm.faces.cli.testing import show_hooks

    show_hooks(session, name, revision)


@app.command()
@command("namespace", "context")
def manifest(session: Session, name: Name, revision: Rev = 0) -> None:
    """The manifests of a release."""
    from pvehelm.release.hooks import without

    sys.stdout.write(without(actions.status(session.context, name, revision)[1].manifest))


@app.command()
@command("namespace", "context")
def notes(session: Session, name: Name, revision: Rev = 0) -> None:
    """The notes of a release."""
    sys.stdout.write(output.notes_text(*actions.status(session.context, name, revision)))


@app.command()
@command("namespace", "context", "output")
def metadata(session: Session, name: Name, revision: Rev = 0) -> None:
    """What is known about a release beside its contents."""
    release, shown = actions.status(session.context, name, revision)
    data = {
        "name": release.key.name,
        "namespace": release.key.namespace,
        "revision": shown.number,
        "status": str(shown.status),
        "chart": shown.chart_name,
        "version": shown.chart_version,
        "appVersion": shown.app_version,
        "chartDigest": shown.chart_digest,
        "chartOrigin": shown.chart_origin,
        "labels": shown.labels,
        "deployedAt": output.rfc3339(shown.updated),
        "deployedBy": shown.user,
        "pvehelmVersion": shown.pvehelm_version,
    }
    output.show(session.output, data, lambda: sys.stdout.writelines(f"{k.upper()}: {v}\n" for k, v in data.items()))


@app.command("all")
@command("namespace", "context", "output")
def all_(session: Session, name: Name, revision: Rev = 0) -> None:
    """Everything about a release."""
    release, shown = actions.status(session.context, name, revision)

    def people() -> None:
        output.release_text(release, shown)
        sys.stdout.write("USER-SUPPLIED VALUES:\n")
        output.emit_data(shown.user_values, "yaml")
        sys.stdout.write("COMPUTED VALUES:\n")
        output.emit_data(shown.values, "yaml")
        sys.stdout.write(f"MANIFEST:\n{shown.manifest}")

    output.show(session.output, output.release_row(release, shown) | {"values": shown.values}, people)

"""drift: what differs from the releases, who did it, undoing it or taking it over."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.actions import drift as actions
from pvehelm.errors import PvehelmError, UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import complete
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import Session, command

if TYPE_CHECKING:
    from pvehelm.release.desire import Options
    from pvehelm.release.pipeline import Result

CHANGES = 2
HEADS = ("RELEASE", "KIND/NAME", "FIELD", "OWNED", "LIVE", "WHO", "REPAIR")
# What is left out, and what wraps, on a narrow terminal.
SPARE, PROSE = ("WHO", "RELEASE", "REPAIR"), ("OWNED", "LIVE")
EFFECTS = {"live": "live", "reboot": "at next reboot", "recreate": "makes it again", "data_loss": "DESTROYS DATA"}


@command("namespace", "context", "output", "yes", "detailed_exitcode", *o.ALLOWING, "timeout", "reboot")
async def drift(
    session: Session,
    names: Annotated[
        list[str], typer.Argument(help="The releases.", metavar="[RELEASE...]", autocompletion=complete.releases)
    ] = [],
    everything: Annotated[bool, typer.Option("--all", help="Every release, of every namespace.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Set back what differs.")] = False,
    accept: Annotated[bool, typer.Option("--accept", help="Make the live state the desired one.")] = False,
    chart: Annotated[
        str, typer.Option("--chart", help="With --accept: the release's chart, to find its values.", metavar="CHART")
    ] = "",
    out: Annotated[
        str, typer.Option("--out", help="With --accept: write the values there, for the next upgrade.", metavar="FILE")
    ] = "",
) -> int:
    """Show what differs between releases and the server: field by field, and who did it.

    pvehelm drift web --accept --chart ./charts/web-app --out accepted.yaml
    """
    if everything == bool(names):
        raise UsageError("drift takes releases, or --all", hint="pvehelm drift NAME, or: pvehelm drift --all")
    if repair and accept:
        raise UsageError("--repair and --accept contradict each other")
    if session.given["reboot"] != "never" and not repair:
        raise UsageError("--reboot goes with --repair")
    if (chart or out) and not (accept and len(names) == 1):
        raise UsageError("--chart and --out go with --accept of one release")
    ctx = session.watch() if repair or accept else session.context
    if accept:
        return await _accept(session, names, everything, chart, out)
    options = o.options(session, ctx)
    found = await actions.drift(ctx, names, everything=everything)
    if repair:
        return await _repair(session, found, options)
    output.show(session.output, [one.as_dict() for one in found], lambda: _table(found))
    if any(one.unread for one in found):
        return 1
    drifted = any(one.differences for one in found)
    return CHANGES if drifted and session.given["detailed_exitcode"] else 0


def _table(found: list[actions.Drift]) -> None:
    rows = [
        (one.key.name, row.ref, row.leaf or "-", _value(row.owned), _value(row.live), _who(row), EFFECTS[row.repair])
        for one in found
        for row in one.differences
    ]
    if rows:
        output.table(rows, HEADS, spare=SPARE, prose=PROSE)
    for one in found:
        for problem in one.obstacles:
            text = output.problem_text(problem, output.colours_wanted(sys.stdout))
            sys.stdout.write(f"{one.key.name}: {text}\n")
    for one in found:
        if one.unread:
            sys.stderr.write(f"{one.key.name} could not be looked at: {one.unread}\n")
    found = [one for one in found if not one.unread]
    drifted = [one.key.name for one in found if one.differences]
    rest = len(found) - len(drifted)
    if drifted:
        sys.stdout.write(f"{', '.join(drifted)}: drifted" + (f"; {rest} as desired" if rest else "") + ".\n")
    else:
        sys.stdout.write(f"No drift ({_count(len(found), 'release')}).\n")


def _value(value: Any) -> str:
    return output.value_text(value)


def _who(row: actions.Difference) -> str:
    if not row.who:
        return "unknown"
    return f"{row.who} {output.when(row.when)}" if row.when else row.who


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


async def _repair(session: Session, found: list[actions.Drift], options: Options) -> int:
    """Repair every drifted release; what fails with one is no reason to leave the others."""
    ctx, code = session.context, 0
    rows: list[dict[str, Any]] = []
    for one in found:
        row: dict[str, Any] = {"release": one.key.name, "namespace": one.key.namespace, "repaired": False}
        rows.append(row)
        if one.unread:
            row["error"], code = str(one.unread), code or one.unread.exit_code
        if not one.differences and not (options.reboot == "if-needed" and one.waiting):
            continue
        try:
            result: Result = await actions.repair(ctx, one.key, options)
        except PvehelmError as error:
            if len(found) == 1:
                raise
            output.error_text(error)
            row["error"] = str(error)
            code = code or error.exit_code
            continue
        row |= {"repaired": True, "revision": result.release.current.number if result.release else 0}

    def people() -> None:
        for row in rows:
            done = f"repaired, revision {row['revision']}" if row["repaired"] else row.get("error", "no drift")
            sys.stdout.write(f'release "{row["release"]}": {done}\n')

    output.show(session.output, rows, people)
    return code


async def _accept(session: Session, names: list[str], everything: bool, chart: str, out: str) -> int:
    from pvehelm.chart.yaml import dump
    from pvehelm.faces.cli.plans import write_private

    ctx = session.context
    keys = [one.key for one in ctx.store.list(ctx.cluster)] if everything else [ctx.key(name) for name in names]
    loaded = o.load_chart(chart, session) if chart else None
    rows: list[dict[str, Any]] = []
    code = 0
    for key in keys:
        made = await actions.accept(ctx, key, loaded, o.options(session, ctx))
        row: dict[str, Any] = {"release": key.name, "namespace": key.namespace, "values": {}, "fields": [], "left": []}
        rows.append(row)
        if made is None:
            continue
        row["values"] = dict(made.values)
        row |= {"manifests": made.manifests} if made.manifests else {}
        row["fields"] = [{k: f[k] for k in ("ref", "leaf", "value", "by")} for f in made.fields]
        row["left"] = [{"where": p.where, "what": p.what, "hint": p.hint} for p in made.left]
        if made.result is not None and made.result.release is not None:
            row["revision"] = made.result.release.current.number
        if out and (made.values or made.manifests):
            write_private(out, made.manifests or dump(dict(made.values)))
        code = 1 if made.left else code

    def people() -> None:
        for row in rows:
            _accepted(row, out)

    output.show(session.output, rows, people)
    return code


def _accepted(row: dict[str, Any], out: str) -> None:
    from pvehelm.chart.yaml import dump

    if not row["fields"] and not row["left"]:
        sys.stdout.write(f'release "{row["release"]}": no drift\n')
        return
    for field in row["fields"]:
        where = f" {field['leaf']}" if field["leaf"] else ""
        by = {"patch": "as a patch", "manifest": "in the manifest"}.get(field["by"], f"as value {field['by']}")
        sys.stdout.write(f"{field['ref']}{where}: {_value(field['value'])}, {by}\n")
    for problem in row["left"]:
        sys.stdout.write(f"{problem['where']}: {problem['what']} ({problem['hint']})\n")
    if row.get("revision"):
        sys.stdout.write(f'release "{row["release"]}": accepted in revision {row["revision"]}\n')
    if row.get("manifests"):
        text = f"The manifests are in {out}.\n" if out else f"MANIFESTS (for the files of the set):\n{row['manifests']}"
        sys.stdout.write(text)
    if row["values"]:
        sys.stdout.write(f"The values are in {out}.\n" if out else f"VALUES:\n{dump(row['values'])}")

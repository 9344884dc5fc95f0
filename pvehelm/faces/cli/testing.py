"""test and get hooks: a release's own tests and hooks, and how they went."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from pvehelm.actions import tests as actions
from pvehelm.errors import UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import Session, command

FORMATS = ("table", "json", "yaml", "junit")


@command("namespace", "context", "yes", "timeout", "allow_privileged")
async def run(
    session: Session,
    name: o.Name,
    filter_: Annotated[
        str, typer.Option("--filter", help="Only these tests: name=a,name=b, or all but !name=c.", metavar="NAMES")
    ] = "",
    logs: Annotated[bool, typer.Option("--logs", help="Print what the tests said.")] = False,
    how: Annotated[str, typer.Option("-o", "--output", help="table, json, yaml or junit.", metavar="FORMAT")] = "table",
) -> int:
    """Run the tests of a release.

    pvehelm test web --logs
    """
    if how not in FORMATS:
        raise UsageError(f"-o {how}: unknown format", hint=f"one of {', '.join(FORMATS)}")
    ctx = session.watch()
    if how != "table":
        ctx.emit = lambda event: None
    tested = await actions.run(ctx, name, o.options(session, ctx), chosen=filter_)
    rows = [{"release": name, "revision": tested.revision.number, **report} for report in tested.reports]
    if how == "junit":
        sys.stdout.write(junit(name, rows))
    else:
        output.show(how, rows, lambda: _table(name, rows, logs=logs))
    return int(tested.failed)


def _table(name: str, rows: Sequence[Mapping[str, Any]], *, logs: bool) -> None:
    if not rows:
        sys.stdout.write(f"release {name} has no tests to run\n")
        return
    heads = ("TEST", "KIND", "PHASE", "SECONDS", "MESSAGE")
    shown = [
        (row["name"], row["kind"], row["phase"], f"{row['completed'] - row['started']:.1f}", row["error"] or _last(row))
        for row in rows
    ]
    output.table(shown, heads, spare=("SECONDS", "KIND"), prose=("MESSAGE",))
    for row in rows if logs else ():
        sys.stdout.write(f"\nLOGS: {row['name']}\n")
        sys.stdout.writelines(f"{output.printable(line)}\n" for line in row["log"])


def _last(row: Mapping[str, Any]) -> str:
    return str(row["log"][-1]) if row["log"] else ""


def junit(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The reports as JUnit's XML, for CI systems."""
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', *junit_suite(name, rows), ""])


def junit_suite(name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of one ``<testsuite>``. Rows have name, kind, phase (Succeeded, Failed, Skipped), started and
    completed (seconds), error and log."""
    from xml.sax.saxutils import escape, quoteattr

    def clean(text: object) -> str:
        return "".join(c if c in "\n\t" or c.isprintable() else "?" for c in str(text))

    def count(phase: str) -> int:
        return sum(row["phase"] == phase for row in rows)

    total = sum(row["completed"] - row["started"] for row in rows)
    lines = [
        f'<testsuite name={quoteattr(clean(name))} tests="{len(rows)}" failures="{count("Failed")}" errors="0" '
        f'skipped="{count("Skipped")}" time="{total:.3f}">',
    ]
    for row in rows:
        seconds = row["completed"] - row["started"]
        place = quoteattr(clean(f"{name}.{row['kind']}"))
        case = f"  <testcase classname={place} name={quoteattr(clean(row['name']))}"
        lines.append(f'{case} time="{seconds:.3f}">')
        if row["phase"] == "Failed":
            lines.append(f"    <failure message={quoteattr(clean(row['error']))}/>")
        if row["phase"] == "Skipped":
            lines.append("    <skipped/>")
        if row["log"]:
            lines.append(f"    <system-out>{escape(clean(chr(10).join(row['log'])))}</system-out>")
        lines.append("  </testcase>")
    return [*lines, "</testsuite>"]


def show_hooks(session: Session, name: str, revision: int) -> None:
    """``get hooks``: manifests, each below what its last runs came to."""
    rows = actions.hooks(session.context, name, revision)

    def people() -> None:
        for row in rows:
            sys.stdout.write("---\n")
            for run in row["runs"]:
                told = f": {run['error']}" if run["error"] else ""
                line = f"{run['event']} {run['phase']} {output.rfc3339(run['completed'])}{told}".replace("\n", "\n# ")
                sys.stdout.write(f"# {output.printable(line)}\n")
            output.emit_data(row["manifest"], "yaml")

    output.show(session.output, rows, people)

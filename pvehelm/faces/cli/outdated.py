"""outdated: releases for whose chart there is a newer version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from pvehelm.actions import outdated as actions
from pvehelm.faces import output
from pvehelm.faces.cli.command import Session, command

HEADS = ("NAME", "NAMESPACE", "CHART", "VERSION", "WANTED", "NEWEST", "FROM")
OUTDATED = 2


@command("namespace", "context", "output", "detailed_exitcode")
def outdated(
    session: Session,
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Of every namespace.")] = False,
    cached: Annotated[bool, typer.Option("--cached", help="Ask nobody: what was fetched last will do.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Those that are up to date or unknown, too.")] = False,
) -> int:
    """List releases for whose chart there is a newer version where it came from.

    WANTED is the newest that the recorded version or range allows: what pvehelm upgrade RELEASE takes.
    """
    found = actions.outdated(session.context, all_namespaces=all_namespaces, refresh=not cached)
    shown = [one for one in found if everything or one.outdated]
    show(session, shown, notes=everything)
    return OUTDATED if session.given["detailed_exitcode"] and any(one.outdated for one in found) else 0


def show(session: Session, shown: Sequence[actions.Standing], *, notes: bool = False, header: bool = True) -> None:
    """How the charts of some releases stand."""
    from pvehelm.chart.origin import Origin

    rows = [
        {
            "name": one.release.key.name,
            "namespace": one.release.key.namespace,
            "chart": one.release.current.chart_name,
            "version": one.release.current.chart_version,
            "wanted": one.wanted,
            "newest": one.newest,
            "from": Origin.parse(one.release.current.chart_origin).location,
            "outdated": one.outdated,
            "note": one.note,
        }
        for one in shown
    ]

    def people() -> None:
        heads = (*HEADS, "NOTE") if notes else HEADS
        keys = [head.lower() for head in heads]
        spare = ("NAMESPACE", "FROM", "NEWEST")
        output.table([[row[key] for key in keys] for row in rows], heads, header=header, spare=spare, prose=("NOTE",))

    output.show(session.output, rows, people)

"""get KIND: the objects of the cluster."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.actions import objects as actions
from pvehelm.errors import UsageError
from pvehelm.faces.cli import complete
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import Session, command
from pvehelm.faces.cli.manifests import Files, Recursive, named
from pvehelm.faces.cli.printing import FORMATS, Printer

if TYPE_CHECKING:
    from pvehelm.release.objects import Object

Words = Annotated[
    list[str],
    typer.Argument(
        help="KIND, KIND NAME..., KIND/NAME..., or KIND,KIND.",
        metavar="[KIND [NAME...]]",
        autocompletion=complete.objects,
    ),
]
Selector = Annotated[str, typer.Option("-l", "--selector", help="By label, release or tag: app=web,release!=db,prod.")]
FieldSelector = Annotated[str, typer.Option("--field-selector", help="By field: status=running,node!=pve1.")]
AllNamespaces = Annotated[bool, typer.Option("-A", "--all-namespaces", help="Of every namespace.")]
Scope = Annotated[
    str, typer.Option("--scope", help="Of kinds with a scope: cluster, node/NAME, vm/NAME, vnet/NAME, all.")
]


@command("namespace", "context")
async def get(
    session: Session,
    words: Words = [],
    how: Annotated[str, typer.Option("-o", "--output", help=f"{FORMATS}.", metavar="FORMAT")] = "table",
    files: Files = [],
    recursive: Recursive = False,
    selector: Selector = "",
    field_selector: FieldSelector = "",
    all_namespaces: AllNamespaces = False,
    scope: Scope = "",
    sort_by: Annotated[str, typer.Option("--sort-by", help="By a field: .status.cpu.", metavar="PATH")] = "",
    show_labels: Annotated[bool, typer.Option("--show-labels", help="Labels and tags as a column.")] = False,
    show_kind: Annotated[bool, typer.Option("--show-kind", help="The kind before every name.")] = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="No header line.")] = False,
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="A missing object is no error.")] = False,
    label_columns: Annotated[
        list[str], typer.Option("-L", "--label-columns", help="These labels as columns: app,tier.", metavar="LABELS")
    ] = [],
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Print changes as they happen.")] = False,
    watch_only: Annotated[bool, typer.Option("--watch-only", help="As -w, without what is there at first.")] = False,
    events: Annotated[
        bool, typer.Option("--output-watch-events", help="With -w: say what happened: ADDED, MODIFIED, DELETED.")
    ] = False,
    interval: Annotated[float, typer.Option("--interval", help="With -w: seconds between looks.", min=0.1)] = 2.0,
    timeout: Annotated[str, typer.Option("--timeout", help="With -w: stop after this time.", metavar="TIME")] = "",
) -> int | None:
    """Objects of a kind, from the cluster itself.

    pvehelm get vms,cts -A -o wide
    """
    from pvehelm.errors import NotFoundError
    from pvehelm.faces.columns import Columns

    resources = named(files, recursive, *words)
    columns = Columns(
        wide=how == "wide",
        namespaces=all_namespaces,
        labels=show_labels,
        chosen=[name for text in label_columns for name in text.split(",") if name],
        header=not no_headers,
        kinds=show_kind,
    )
    # One object that was named is itself, several are a list.
    single = len(resources) == 1 or len(words) == 2 or (len(words) == 1 and "/" in words[0])
    printer = Printer(how, columns, header=not no_headers, single=single, events=events)
    full = printer.full or "spec" in sort_by
    query = actions.Query(selector, field_selector, all_namespaces, full_scope(scope), full, resources)
    session.quiet = session.quiet or printer.form not in ("table", "wide", "json", "yaml")
    if watch or watch_only:
        await _watched(session, words, query, printer, interval, o.seconds(timeout), first=not watch_only)
        return 0
    if events:
        raise UsageError("--output-watch-events goes with -w")
    try:
        made = await actions.get(session.context, words, query)
        if sort_by and not full and not _sorted(made.objects, sort_by)[1]:
            made = await actions.get(session.context, words, dataclasses.replace(query, full=True))
    except NotFoundError:
        if ignore_not_found:
            return 0
        raise
    for place, why in made.silent.items():
        sys.stderr.write(f"not shown: {place}: {why}\n")
    if sort_by:
        made.objects, found = _sorted(made.objects, sort_by)
        if made.objects and not found:
            raise UsageError(f"--sort-by {sort_by}: no object has that", hint="for example .status.cpu or memory")
    printer.everything(made)
    return 0


def full_scope(text: str) -> str:
    """A scope with the kind's whole name: ``vm/web`` is ``VirtualMachine/web``."""
    kind, slash, name = text.partition("/")
    names = {"vm": "VirtualMachine", "qemu": "VirtualMachine", "ct": "Container", "lxc": "Container"}
    return f"{names.get(kind.lower(), kind)}{slash}{name}"


def _sorted(objects: Sequence[Object], sort_by: str) -> tuple[list[Object], bool]:
    """Objects by a field, those without it at the end; whether any has it."""
    from pvehelm.chart.jsonpath import path

    name = sort_by.strip("{}").lstrip(".")
    finders = [
        path(part) for part in ([name] if "." in name else [f"status.{name}", f"spec.{name}", f"metadata.{name}"])
    ]

    def value_of(one: Object) -> Any:
        document = actions.document(one)
        return next((found[0] for find in finders if (found := find(document))), None)

    def order(value: Any) -> tuple[bool, bool, Any]:
        number = isinstance(value, int | float)
        return value is None, not number, value if number else str(value)

    values = [(value_of(one), one) for one in objects]
    return [one for _, one in sorted(values, key=lambda both: order(both[0]))], any(v is not None for v, _ in values)


async def _watched(
    session: Session,
    words: Sequence[str],
    query: actions.Query,
    printer: Printer,
    interval: float,
    limit: float | None,
    *,
    first: bool,
) -> None:
    """What changes, until the time is over or the user has seen enough; what is there at ``first``, too."""
    import asyncio

    looks = aiter(actions.watch(session.context, words, query, interval=interval, first=first))
    # However little time there is, the first look is taken.
    printer.changes(await anext(looks))
    try:
        async with asyncio.timeout(limit):
            async for changes in looks:
                printer.changes(changes)
    except TimeoutError:
        return

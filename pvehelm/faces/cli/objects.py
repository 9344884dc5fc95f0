"""get KIND, describe, edit, delete: the objects of the cluster."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.actions import objects as actions
from pvehelm.errors import UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import complete
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import Session, command

if TYPE_CHECKING:
    from pvehelm.release.objects import Catalogue, Object

FORMATS = "table, wide, name, json, yaml, jsonpath=TEMPLATE, custom-columns=HEAD:PATH,..."
Words = Annotated[
    list[str],
    typer.Argument(
        help="KIND, KIND NAME..., KIND/NAME..., or KIND,KIND.",
        metavar="KIND [NAME...]",
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
    words: Words,
    how: Annotated[str, typer.Option("-o", "--output", help=f"{FORMATS}.", metavar="FORMAT")] = "table",
    selector: Selector = "",
    field_selector: FieldSelector = "",
    all_namespaces: AllNamespaces = False,
    scope: Scope = "",
    sort_by: Annotated[str, typer.Option("--sort-by", help="By a field: .status.cpu.", metavar="PATH")] = "",
    show_labels: Annotated[bool, typer.Option("--show-labels", help="Labels and tags as a column.")] = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="No header line.")] = False,
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="A missing object is no error.")] = False,
    label_columns: Annotated[
        list[str], typer.Option("-L", "--label-columns", help="These labels as columns: app,tier.", metavar="LABELS")
    ] = [],
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Print changes as they happen.")] = False,
    watch_only: Annotated[bool, typer.Option("--watch-only", help="As -w, without what is there at first.")] = False,
    interval: Annotated[float, typer.Option("--interval", help="With -w: seconds between looks.", min=0.1)] = 2.0,
    timeout: Annotated[str, typer.Option("--timeout", help="With -w: stop after this time.", metavar="TIME")] = "",
) -> int | None:
    """Objects of a kind, from the cluster itself.

    pvehelm get vms,cts -A -o wide
    """
    from pvehelm.errors import NotFoundError

    form, _, spec = how.partition("=")
    if form not in ("table", "wide", "name", "json", "yaml", "jsonpath", "custom-columns"):
        raise UsageError(f"-o {how}: unknown format", hint=f"one of {FORMATS}")
    if form in ("jsonpath", "custom-columns") and not spec:
        raise UsageError(f"-o {form}: a template is expected", hint="for example -o jsonpath={.items[*].metadata.name}")
    full = form in ("json", "yaml", "jsonpath", "custom-columns") or "spec" in sort_by
    query = actions.Query(selector, field_selector, all_namespaces, full_scope(scope), full)
    session.quiet = session.quiet or form in ("name", "jsonpath", "custom-columns")
    columns = [name for text in label_columns for name in text.split(",") if name]
    labels = (columns, show_labels)
    show = _Shown(form, spec, words, header=not no_headers, labels=labels, namespaces=all_namespaces)
    if watch or watch_only:
        await _watched(session, words, query, show, interval, o.seconds(timeout), first=not watch_only)
        return 0
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
    show.write(made)
    return 0


class _Shown:
    """How objects are printed."""

    def __init__(
        self,
        form: str,
        spec: str,
        words: Sequence[str],
        *,
        header: bool,
        labels: tuple[Sequence[str], bool],
        namespaces: bool,
    ) -> None:
        self.form = form
        self.spec = spec
        self.header = header
        self.labels = labels
        self.namespaces = namespaces
        # One object that was named is itself, several are a list.
        self.single = len(words) == 2 or (len(words) == 1 and "/" in words[0])
        if form == "jsonpath":
            from pvehelm.chart.jsonpath import Template

            self.template = Template(spec)
        elif form == "custom-columns":
            from pvehelm.faces.columns import custom

            custom([], spec, header=False)

    def write(self, made: Catalogue) -> None:
        objects = made.objects
        if not objects and self.form in ("table", "wide", "name", "custom-columns"):
            where = f" in namespace {made.namespace}" if made.namespace else ""
            more = f" ({len(made.elsewhere)} in other namespaces: -A)" if made.elsewhere else ""
            sys.stderr.write(f"No objects found{where}{more}.\n")
            return
        if self.form in ("table", "wide"):
            self.table(len({one.kind.name for one in objects}), header=self.header).write(objects)
        else:
            self.plain(objects)

    def table(self, kinds: int, *, header: bool) -> Any:
        from pvehelm.faces.columns import Columns

        return Columns(
            wide=self.form == "wide",
            namespaces=self.namespaces,
            labels=self.labels[1],
            chosen=self.labels[0],
            header=header,
            kinds=kinds,
        )

    def plain(self, objects: Sequence[Object]) -> None:
        if self.form == "name":
            sys.stdout.writelines(f"{one.ref}\n" for one in objects)
            return
        documents = [actions.document(one) for one in objects]
        if self.form == "custom-columns":
            from pvehelm.faces.columns import custom

            custom(documents, self.spec, header=self.header)
            return
        data = documents[0] if self.single and len(documents) == 1 else _list(documents)
        if self.form == "jsonpath":
            sys.stdout.write(self.template.text(data))
        else:
            output.emit_data(data, self.form)


def _list(documents: Sequence[Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(documents)}


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
    show: _Shown,
    interval: float,
    limit: float | None,
    *,
    first: bool,
) -> None:
    """Rows as they change, until the time is over or the user has seen enough; what is there at ``first``, too."""
    import asyncio

    heads: list[str] = []
    widths: list[int] = []

    def line(one: Object) -> None:
        if show.form not in ("table", "wide"):
            show.plain([one])
        else:
            columns = show.table(len({*words}), header=show.header)
            fresh = columns.heads(one) != heads
            heads[:] = columns.heads(one)
            # A row comes alone; it stands below the ones before all the same.
            least = [] if fresh else widths
            widths[:] = columns.table([columns.row(one)], one, header=show.header and fresh, least=least)
        sys.stdout.flush()

    try:
        async with asyncio.timeout(limit):
            async for event, one in actions.watch(session.context, words, query, interval=interval, first=first):
                if event == "DELETED":
                    sys.stderr.write(f"{one.ref} is gone\n")
                else:
                    line(one)
    except TimeoutError:
        return

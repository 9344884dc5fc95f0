"""explain, api-resources, api: what the server and its schema offer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from pvehelm.actions import cluster as actions
from pvehelm.errors import UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import complete
from pvehelm.faces.cli.command import Session, command

PveVersion = Annotated[str, typer.Option("--pve-version", help="The Proxmox VE version.", metavar="X.Y")]


@command("output")
def explain(
    session: Session,
    path: Annotated[
        str,
        typer.Argument(
            help="A kind, or a field of it: vm.net0.bridge.", metavar="KIND[.FIELD]", autocompletion=complete.kinds
        ),
    ],
    pve_version: PveVersion = "",
    recursive: Annotated[bool, typer.Option("--recursive", help="Every field with all of its keys.")] = False,
) -> None:
    """Explain a kind or one of its fields: types, bounds, and when a change takes effect."""
    data = actions.explain(path, release=pve_version)
    if recursive:
        below = [row["name"] for row in data["fields"] if row.get("keys")]
        keys = {name: actions.explain(f"{path}.{name}", release=pve_version)["fields"] for name in below}
        rows = [{**row, "fields": keys[row["name"]]} if row["name"] in keys else row for row in data["fields"]]
        data = {**data, "fields": rows}
    output.show(session.output, data, lambda: _explained(data))


def _explained(data: Mapping[str, Any]) -> None:
    write = sys.stdout.write
    if "path" in data:
        write(f"KIND:   {data['kind']}\nFIELD:  {data['path']} <{_type(data)}>\n")
        for name in ("required", "create_only", "write_only"):
            if data.get(name):
                write(f"        {name.replace('_', '-')}\n")
        for label, text in (("VALUES", _bounds(data)), ("EFFECT", data.get("effect", ""))):
            if text:
                write(f"{label}: {text}\n")
    else:
        traits = [t for t in ("namespaced", "privileged") if data.get(t)]
        write(f"KIND:     {data['kind']}\nNAMES:    {', '.join([data['plural'], *data['short']])}\n")
        write(f"EVIDENCE: {data['evidence']}\n" + (f"TRAITS:   {', '.join(traits)}\n" if traits else ""))
        if data.get("applied_by"):
            write(f"APPLIED:  by {data['applied_by']}, once for all changes of a plan\n")
        if data.get("privileged_fields"):
            write(f"ASKS:     --allow-privileged, by some values: {', '.join(data['privileged_fields'])}\n")
        if data.get("root_only"):
            write(f"ROOT:     only root@pam may set {', '.join(data['root_only'])}\n")
    told = [(indent, row) for one in data.get("fields", ()) for indent, row in _with_keys(one)]
    rows = [(f"{indent}{row['name']}", _type(row), _traits(row), _bounds(row)) for indent, row in told]
    if rows:
        write("\nFIELDS:\n")
        output.table(rows, ("  NAME", "TYPE", "EFFECT", "VALUES"), prose=("EFFECT", "VALUES"))


def _with_keys(row: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [("  ", row), *(("    ", key) for key in row.get("fields", ()))]


def _type(row: Mapping[str, Any]) -> str:
    return f"map ({row['type']})" if row.get("keys") else str(row["type"])


def _traits(row: Mapping[str, Any]) -> str:
    words = [name.replace("_", "-") for name in ("required", "create_only", "write_only") if row.get(name)]
    if "effect" in row and not row.get("create_only"):
        words.append(str(row["effect"]))
    if row.get("deprecated"):
        words.append("given up" if row["deprecated"] is True else f"given up for {row['deprecated']}")
    return ", ".join(words)


def _bounds(row: Mapping[str, Any]) -> str:
    parts = []
    if row.get("enum"):
        parts.append(" | ".join(map(str, row["enum"])))
    if row.get("minimum") is not None or row.get("maximum") is not None:
        parts.append(f"{row.get('minimum', '')}..{row.get('maximum', '')}")
    if row.get("maxLength"):
        parts.append(f"at most {row['maxLength']} characters")
    if isinstance(row.get("format"), str):
        parts.append(str(row["format"]))
    if row.get("index"):
        parts.append(f"n is {row['index'][0]}..{row['index'][1]}")
    if row.get("references"):
        parts.append("refers to " + ", ".join(row["references"]))
    return "; ".join(parts)


@command("named")
def api_resources(
    session: Session,
    pve_version: PveVersion = "",
    namespaced: Annotated[
        bool | None, typer.Option("--namespaced/--no-namespaced", help="Only those that are in namespaces, or are not.")
    ] = None,
    sort_by: Annotated[str, typer.Option("--sort-by", help="name; left out: guests first.", metavar="name")] = "",
    no_headers: Annotated[bool, typer.Option("--no-headers", help="No header line.")] = False,
) -> None:
    """List the kinds that manifests may have."""
    if sort_by not in ("", "name"):
        raise UsageError(f"--sort-by {sort_by}: name")
    rows = [row for row in actions.api_resources(release=pve_version) if namespaced in (None, row["namespaced"])]
    rows = sorted(rows, key=lambda row: str(row["name"])) if sort_by else rows
    heads = ("NAME", "SHORT", "NAMESPACED", "PRIVILEGED", "EVIDENCE")
    output.show(
        session.output,
        rows,
        lambda: output.table(
            [
                (
                    r["name"],
                    ",".join(r["short"]),
                    *(str(r[k]).lower() for k in ("namespaced", "privileged", "evidence")),
                )
                for r in rows
            ],
            heads,
            header=not no_headers,
            spare=("EVIDENCE", "PRIVILEGED", "NAMESPACED"),
        ),
        names=[str(row["name"]) for row in rows],
    )


app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Call the API directly.")
Path = Annotated[str, typer.Argument(help="The path, as /nodes/pve1/qemu.", metavar="PATH")]
Params = Annotated[list[str], typer.Argument(help="Parameters.", metavar="[KEY=VALUE...]")]


def _params(texts: list[str]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r}: expected KEY=VALUE")
        if name in params:
            params[name] = [*(params[name] if isinstance(params[name], list) else [params[name]]), value]
        else:
            params[name] = value
    return params


def _call(method: str) -> None:
    @app.command(method, help=f"{method.upper()} a path.")
    @command("context", "output")
    async def call(
        session: Session,
        path: Path,
        params: Params = [],
        wait: Annotated[bool, typer.Option("--wait", help="Wait for the task that the call starts.")] = False,
    ) -> int:
        data = await actions.api(session.context, method, path, _params(params), wait=wait)
        how = session.output
        if how == "table" and isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
            heads = list(dict.fromkeys(name for row in data for name in row))
            output.table([[row.get(name, "") for name in heads] for row in data], heads)
        elif isinstance(data, str | int) and how == "table":
            sys.stdout.write(f"{data}\n")
        elif data is not None or how != "table":
            output.emit_data(data, "yaml" if how == "table" else how)
        return 0 if not isinstance(data, Mapping) or data.get("exitstatus", "OK") == "OK" else 1


for _method in ("get", "post", "put", "delete"):
    _call(_method)

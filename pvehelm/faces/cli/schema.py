"""schema import, report, diff and manifests: the API's; schema values: a chart's."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.actions import cluster as actions
from pvehelm.errors import PvehelmError
from pvehelm.faces import output
from pvehelm.faces.cli.command import Session, command

if TYPE_CHECKING:
    from pvehelm.api.tls import TLS

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Schemas: the API's imported and compared, a chart's inferred.",
)
APIDOC = "/pve-docs/api-viewer/apidoc.js"


@app.command("import")
@command("context")
async def import_(
    session: Session,
    source: Annotated[
        str, typer.Argument(help="A file, a URL, or 'live' for the context's own node.", metavar="SOURCE")
    ],
    out: Annotated[
        str, typer.Option("--out", help="Where to write; the user's data directory when left out.", metavar="FILE")
    ] = "",
    release: Annotated[str, typer.Option("--pve-version", help="The version it describes.", metavar="X.Y")] = "",
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not verify the URL's certificate.")] = False,
) -> None:
    """Read an apidoc.js and write compact schema data: facts, no prose."""
    from pvehelm.api import importer

    data = await _read(session, source, insecure)
    tree = importer.decode(data)
    if source == "live" and not release:
        ctx = session.context
        await ctx.connect()
        release = ctx.release
    release = release or importer.guess_release(tree)
    made = importer.import_tree(tree, release=release)
    if out:
        target = Path(out)
    else:
        from pvehelm.config import data_dir

        target = Path(data_dir()) / "schema" / f"schema-{release}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(importer.to_text(made), encoding="utf-8")
    sys.stdout.write(f"{len(made['operations'])} operations of Proxmox VE {release} written to {target}\n")


async def _read(session: Session, source: str, insecure: bool) -> bytes:
    if source == "live":
        settings = session.settings
        if not settings.host:
            raise PvehelmError(
                "the simulator has no apidoc.js of its own", hint="it uses the shipped schemas; choose a real context"
            )
        source = f"https://{settings.host}:{settings.port}{APIDOC}"
        from pvehelm.api.tls import TLS

        tls = TLS(ca_file=settings.ca_file or None, fingerprint=settings.fingerprint or None)
        return await _fetch(source, tls)
    if source.startswith(("http://", "https://")):
        from pvehelm.api.tls import TLS

        if source.count("/") <= 3:
            source = source.rstrip("/") + APIDOC
        return await _fetch(source, TLS(insecure=insecure))
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise PvehelmError(f"can't read {source}: {error.strerror}") from None


async def _fetch(url: str, tls: TLS) -> bytes:
    from pvehelm.api.client import download

    return await download(url, tls=tls)


@app.command()
@command()
def manifests(
    session: Session,
    out: Annotated[str, typer.Option("--out", help="The directory to write to.", metavar="DIR")],
    release: Annotated[
        str, typer.Option("--pve-version", help="The version; the newest when left out.", metavar="X.Y")
    ] = "",
) -> None:
    """Write JSON Schemas of all kinds, for editors that check YAML."""
    made = actions.schema_manifests(release=release)
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, document in made.items():
            (folder / name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise PvehelmError(f"can't write to {out}: {error.strerror}") from None
    sys.stdout.write(f"{len(made)} schemas written to {out}\n")
    sys.stdout.write(f"in a manifest: # yaml-language-server: $schema={folder / 'manifests.json'}\n")


@app.command()
@command()
def values(
    session: Session,
    chart: Annotated[str, typer.Argument(help="The chart's folder.", metavar="CHART")],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 when the schema is not up to date.")
    ] = False,
    out: Annotated[
        str,
        typer.Option("--out", help="Where to write ('-' is stdout); the chart's own when left out.", metavar="FILE"),
    ] = "",
) -> int:
    """Infer values.schema.json from a commented values.yaml; what was written by hand stays."""
    from pvehelm.actions.values import schema_values
    from pvehelm.chart.chart import load

    text, stale = schema_values(load(chart))
    for problem in stale:
        sys.stderr.write(f"note: {problem}\n")
    if out == "-":
        sys.stdout.write(text)
        return 0
    target = Path(out) if out else Path(chart) / "values.schema.json"
    if not out and not Path(chart).is_dir():
        raise PvehelmError(f"{chart} is no folder that a schema could be written to", hint="name a file with --out")
    try:
        present = target.read_text(encoding="utf-8") if target.exists() else ""
        if present == text:
            sys.stdout.write(f"{target} is up to date\n")
            return 0
        if check:
            sys.stdout.write(f"{target} is not up to date; pvehelm schema values {chart} brings it there\n")
            return 1
        target.write_text(text, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PvehelmError(f"can't write {target}: {getattr(error, 'strerror', None) or error}") from None
    sys.stdout.write(f"{target} written\n")
    return 0


@app.command()
@command("output")
def report(
    session: Session,
    release: Annotated[
        str, typer.Option("--pve-version", help="The version; the newest when left out.", metavar="X.Y")
    ] = "",
) -> None:
    """Counts per section, verb, type and format."""
    data = actions.schema_report(release=release)

    def people() -> None:
        for name in ("release", "operations", "paths", "parameters"):
            sys.stdout.write(f"{name}: {data[name]}\n")
        for name in ("section", "verb", "type", "format"):
            sys.stdout.write("\n")
            output.table([(key, count) for key, count in data[name].items()], (name.upper(), "COUNT"))

    output.show(session.output, data, people)


@app.command()
@command("output")
def diff(
    session: Session,
    old: Annotated[str, typer.Argument(help="A release, schema data or an apidoc.js.", metavar="A")],
    new: Annotated[str, typer.Argument(help="Another one.", metavar="B")],
) -> None:
    """What changed from A to B: operations and parameters added, removed, changed."""
    from pvehelm.actions.sdk import schema_diff
    from pvehelm.faces.cli.sdk import read_source

    data = schema_diff(read_source(old), read_source(new))
    output.show(session.output, data, lambda: _differences(data))


def _differences(data: Mapping[str, Any]) -> None:
    write = sys.stdout.write
    write(f"Proxmox VE {data['from']} -> {data['to']}: {len(data['added'])} operations added, ")
    write(f"{len(data['removed'])} removed, {len(data['changed'])} changed\n")
    for sign, name in (("+", "added"), ("-", "removed")):
        for row in data[name]:
            write(f"{sign} {row['method']} {row['path']}\n")
    for row in data["changed"]:
        write(f"~ {row['method']} {row['path']}\n")
        if "was" in row:
            write(f"    path was {row['was']}\n")
        parameters = row.get("parameters", {})
        for sign, name in (("+", "added"), ("-", "removed")):
            for parameter in parameters.get(name, ()):
                write(f"    {sign} {parameter}\n")
        for change in parameters.get("changed", ()):
            write(f"    ~ {change['name']}: {_changed(change)}\n")


def _changed(change: Mapping[str, Any]) -> str:
    before, after = change["before"], change["after"]
    if change["fact"] == "optional":
        return "now optional" if after else "now required"
    if isinstance(before, list) and isinstance(after, list) and change["fact"] == "enum":
        new, gone = ([str(word) for word in words] for words in (after, before))
        words = [f"+{word}" for word in new if word not in gone] + [f"-{word}" for word in gone if word not in new]
        return f"words {' '.join(words) or 'in another order'}"
    return f"{change['fact']} {'(none)' if before is None else before} -> {'(none)' if after is None else after}"

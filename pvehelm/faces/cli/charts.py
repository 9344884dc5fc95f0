"""template, lint, show, create, package: charts as files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from time import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.actions import charts as actions
from pvehelm.actions.values import unused_values
from pvehelm.errors import Problem, PvehelmError, UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import SOURCE, Session, command, write_file
from pvehelm.faces.cli.naming import GenerateName, NameTemplate, named
from pvehelm.faces.cli.postrender import post_renderer
from pvehelm.faces.cli.valueflags import value_flags
from pvehelm.faces.cli.values import Unused, given, tell_unused

if TYPE_CHECKING:
    from pvehelm.actions.releases import Request
    from pvehelm.chart.manifest import Foreign
    from pvehelm.chart.rules import Finding
    from pvehelm.chart.values import ValueFlag

PveVersion = Annotated[
    str, typer.Option("--pve-version", help="Render and check for this Proxmox VE version.", metavar="X.Y")
]
LINT_FORMATS = ("table", "json", "yaml", "sarif")


@command("namespace", "context", *SOURCE, "engine", "dependency_update", "strict", *o.POST)
def template(
    session: Session,
    names: Annotated[
        list[str], typer.Argument(help="A release name (optional) and the chart.", metavar="[RELEASE] CHART")
    ],
    values: o.Values = [],
    set_: o.Set = [],
    set_string: o.SetString = [],
    set_file: o.SetFile = [],
    set_json: o.SetJson = [],
    set_literal: o.SetLiteral = [],
    show_only: Annotated[
        list[str], typer.Option("-s", "--show-only", help="Only this template.", metavar="TEMPLATE")
    ] = [],
    output_dir: Annotated[
        str, typer.Option("--output-dir", help="Write files instead of printing.", metavar="DIR")
    ] = "",
    release_name: Annotated[
        bool, typer.Option("--release-name", help="In --output-dir, a folder of the release's name.")
    ] = False,
    generate_name: GenerateName = False,
    name_template: NameTemplate = "",
    is_upgrade: Annotated[bool, typer.Option("--is-upgrade", help="Set Release.IsUpgrade.")] = False,
    include_crds: Annotated[bool, typer.Option("--include-crds", help="Print the files under crds/ as well.")] = False,
    no_hooks: Annotated[bool, typer.Option("--no-hooks", help="Print no hooks.")] = False,
    skip_tests: Annotated[bool, typer.Option("--skip-tests", help="Print no hooks that are tests.")] = False,
    kube_version: Annotated[
        str, typer.Option("--kube-version", help="The version of Kubernetes that charts are told.", metavar="X.Y")
    ] = "",
    api_versions: Annotated[
        list[str],
        typer.Option("-a", "--api-versions", help="Another API version that charts are told.", metavar="NAME"),
    ] = [],
    skip_schema: o.SkipSchema = False,
    pve_version: PveVersion = "",
    validate: Annotated[
        bool, typer.Option("--validate", help="Check against the server as well: its version, and what is there.")
    ] = False,
    unused: Unused = False,
) -> Coroutine[Any, Any, None] | None:
    """Render a chart without a server; the manifests are checked against the schema.

    What is for Kubernetes is printed as it is.
    """
    wanted = generate_name or bool(name_template)
    if len(names) > 2 or (len(names) == 2 and wanted):
        raise UsageError("template takes a release name and a chart")
    chart = o.load_chart(names[-1], session)
    flags = given(chart)
    name = named(chart.metadata.name, name_template, time()) if wanted else ["release-name", *names[:-1]][-1]

    def show(release: str) -> None:
        made = actions.template(
            chart,
            flags,
            name=name,
            namespace=session.namespace or "default",
            pve_version=release,
            is_upgrade=is_upgrade,
            skip_schema=skip_schema,
            strict=session.given["strict"],
            show_only=show_only,
            include_crds=include_crds,
            hooks=not no_hooks,
            tests=not skip_tests,
            kube_version=kube_version,
            api_versions=[name for names in api_versions for name in names.split(",")],
            post=post_renderer(session),
        )
        if unused:
            tell_unused(unused_values(chart, flags, pve_version=release))
        if output_dir:
            _write(made.text, output_dir, name if release_name else "")
        else:
            sys.stdout.write(made.text)
        tell_foreign(made.foreign)
        tell_placeholders(made.placeholders)

    if not validate:
        show(pve_version)
        return None
    if pve_version:
        raise UsageError("--validate asks the server for its version: it excludes --pve-version")
    from pvehelm.actions.releases import Request

    strict = session.given["strict"]
    return _validated(session, Request(name, chart, flags, skip_schema=skip_schema, strict=strict), show)


async def _validated(session: Session, request: Request, show: Callable[[str], None]) -> None:
    """Go on with the server's release once it is certain that an install, or an upgrade of what is there, could be
    done. Raises InvalidError with all that is in the way; what a user has to allow is noted."""
    from dataclasses import replace

    from pvehelm.actions import plans, releases
    from pvehelm.errors import InvalidError
    from pvehelm.release.desire import Options

    ctx = session.context
    request = replace(request, post=post_renderer(session), reset_values=True, install_if_missing=True)
    planning = plans.planning(ctx, request.name, Options(create_namespace=True))
    plan = (await releases.upgrade(ctx, request, planning)).plan
    if plan.problems:
        raise InvalidError(f"the manifests are not valid for {ctx.name}", plan.problems)
    for problem in plan.refusals:
        sys.stderr.write(f"note: {output.problem_text(problem, output.colours_wanted(sys.stderr))}\n")
    show(ctx.schema.release)


def _write(text: str, folder: str, release: str) -> None:
    """Each template's documents as a file of their own, in a folder of the release's name unless that is empty."""
    from pathlib import Path

    bodies: dict[str, list[str]] = {}
    for part in text.split("---\n# Source: ")[1:]:
        path, _, body = part.partition("\n")
        bodies.setdefault(path, []).append(body)
    for path, parts in bodies.items():
        target = Path(folder, release, path)
        write_file(target, "---\n".join(parts))
        sys.stdout.write(f"wrote {target}\n")


def tell_placeholders(count: int) -> None:
    """A note that random values are no secrets here, lest somebody applies what was printed."""
    if count:
        values = "a random value is a placeholder" if count == 1 else f"{count} random values are placeholders"
        sys.stderr.write(f"note: {values} that anybody can work out; an install makes its own\n")


def tell_foreign(found: Sequence[Foreign]) -> None:
    """A note that some of what was printed is not for Proxmox."""
    if found:
        versions = list(dict.fromkeys(one.api_version or "no apiVersion" for one in found))
        shown = ", ".join(versions[:3]) + (", ..." if len(versions) > 3 else "")
        count = "1 manifest is" if len(found) == 1 else f"{len(found)} manifests are"
        sys.stderr.write(f"note: {count} not for Proxmox ({shown}): printed, but nothing that pvehelm installs\n")


@command(*SOURCE, "engine")
def lint(
    session: Session,
    paths: Annotated[list[str], typer.Argument(help="Charts.", metavar="CHART...")],
    values: o.Values = [],
    set_: o.Set = [],
    set_string: o.SetString = [],
    set_file: o.SetFile = [],
    set_json: o.SetJson = [],
    set_literal: o.SetLiteral = [],
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only warnings and errors.")] = False,
    skip_schema: o.SkipSchema = False,
    pve_version: PveVersion = "",
    unused: Unused = False,
    ci: Annotated[bool, typer.Option("--ci", help="Check again with each values file in the chart's ci/.")] = False,
    subcharts: Annotated[
        bool, typer.Option("--with-subcharts", help="The charts in charts/ by themselves as well.")
    ] = False,
    how: Annotated[str, typer.Option("-o", "--output", help="table, json, yaml or sarif.", metavar="FORMAT")] = "table",
) -> int:
    """Check charts: metadata, values, schema, templates, manifests.

    .pvehelmlint.yaml and comments (lint: ignore=RULE) silence rules.
    """
    if how not in LINT_FORMATS:
        raise UsageError(f"-o {how}: unknown format", hint=f"one of {', '.join(LINT_FORMATS)}")
    flags = value_flags()
    failed, rows = 0, []
    everything: list[Finding] = []
    charts = [(path, flags) for path in paths]
    if subcharts:
        charts = [one for path in paths for one in ((path, flags), *((below, []) for below in _below(path)))]
    for path, values_of in charts:
        findings, passed = _linted(
            path,
            session,
            values_of,
            strict=strict,
            pve_version=pve_version,
            skip_schema=skip_schema,
            unused=unused,
            ci=ci,
        )
        failed += not passed
        if quiet:
            findings = [one for one in findings if one.severity != "info"]
        everything += findings
        rows.append({"chart": path, "passed": passed, "findings": [_row(one) for one in findings]})
        if how == "table":
            on = output.colours_wanted(sys.stdout)
            sys.stdout.write(f"==> Linting {path}\n")
            for one in findings:
                colour = {"error": "red", "warning": "yellow"}.get(one.severity, "dim")
                rule = output.paint(f"  ({one.rule})", "dim", on)
                text = output.problem_text(Problem(*one[:3]), on)
                first, newline, rest = text.partition("\n")
                sys.stdout.write(
                    output.paint(f"[{one.severity.upper()}] ", colour, on) + first + rule + newline + rest + "\n"
                )
    if how == "sarif":
        from pvehelm.chart.sarif import report

        output.emit_data(report(everything, actions.lint_rules()), "json")
    elif how != "table":
        output.emit_data(rows, how)
    else:
        sys.stdout.write(f"\n{len(charts)} chart(s) linted, {failed} chart(s) failed\n")
    return 1 if failed else 0


def _below(path: str) -> list[str]:
    """The charts in the ``charts/`` of a folder, and in theirs."""
    found = []
    from pathlib import Path

    for place in sorted(Path(path, "charts").glob("*")):
        if place.suffix == ".tgz" or (place / "Chart.yaml").is_file():
            found += [str(place), *_below(str(place))]
    return found


def _linted(
    path: str,
    session: Session,
    flags: Sequence[ValueFlag],
    **how: Any,
) -> tuple[list[Finding], bool]:
    """The findings of a chart, also of one that can't be loaded, and whether it passed."""
    try:
        return actions.lint(o.load_chart(path, session), flags, **how)
    except PvehelmError as error:
        if isinstance(error, UsageError):
            raise
        from pvehelm.chart.rules import finding

        problems = error.problems or [Problem("", str(error), error.hint)]
        return [finding("chart-load", p.where, p.what, p.hint) for p in problems], False


def _row(one: Finding) -> dict[str, str]:
    return {name: getattr(one, name) for name in ("severity", "rule", "where", "what", "hint")}


@command()
def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="The new chart's folder.", metavar="NAME")],
    engine: Annotated[
        str, typer.Option("--engine", help="Its template language: jinja2, or gotpl (Helm's).", metavar="ENGINE")
    ] = "jinja2",
    starter: Annotated[
        str,
        typer.Option("-p", "--starter", help="A chart to begin with; <CHARTNAME> in it is the name.", metavar="CHART"),
    ] = "",
) -> None:
    """Scaffold a chart that works as it is, with schema, tests and README."""
    from pathlib import Path

    folder = Path(name)
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise PvehelmError(f"{folder} exists already", hint="choose another name, or remove it first")
    files: Mapping[str, str | bytes]
    files = actions.create_from(folder.name, _starter(starter)) if starter else actions.create(folder.name, engine)
    for path, text in files.items():
        write_file(folder / path, text)
    sys.stdout.write(f"Creating {folder}\n")


def _starter(path: str) -> Mapping[str, bytes]:
    """The files of a starter: a folder need not be a chart that can be loaded, its name may be ``<CHARTNAME>``."""
    from pathlib import Path

    if not Path(path).is_dir():
        return o.load_chart(path).raw
    from pvehelm.chart.files import Budget, read_directory

    budget = Budget()
    files = read_directory(Path(path), budget)
    if budget.problems:
        raise PvehelmError(f"{path} cannot be read", budget.problems)
    return files


@command()
def package(
    session: Session,
    paths: Annotated[list[str], typer.Argument(help="Charts.", metavar="CHART...")],
    destination: Annotated[str, typer.Option("-d", "--destination", help="Where to write.", metavar="DIR")] = ".",
    version: Annotated[str, typer.Option("--version", help="Set the chart's version.", metavar="VERSION")] = "",
    app_version: Annotated[str, typer.Option("--app-version", help="Set the appVersion.", metavar="VERSION")] = "",
    update: Annotated[
        bool, typer.Option("-u", "--dependency-update", help="Update the dependencies in charts/ first.")
    ] = False,
    sign: Annotated[bool, typer.Option("--sign", help="Sign the package with --key.")] = False,
    key: Annotated[str, typer.Option("--key", help="An OpenSSH or minisign Ed25519 secret key.", metavar="FILE")] = "",
    passphrase_file: Annotated[
        str, typer.Option("--passphrase-file", help="Where the key's passphrase is ('-' is stdin).", metavar="FILE")
    ] = "",
) -> None:
    """Pack charts into archives that are the same everywhere."""
    from pathlib import Path

    if key and not sign:
        raise UsageError("--key is for --sign: nothing would be signed")
    if sign and not key:
        raise UsageError("--sign needs --key FILE", hint="ssh-keygen -t ed25519 makes a key")
    for path in paths:
        if update:
            from pvehelm.faces.cli.dependency import vendor

            vendor(path, build=False)
        name, data = actions.package(o.load_chart(path), version=version, app_version=app_version)
        target = Path(destination, name)
        signature = _signed(data, name, key, passphrase_file) if sign else None
        write_file(target, data)
        if signature is not None:
            write_file(target.with_name(name + signature[0]), signature[1])
        sys.stdout.write(f"Successfully packaged chart and saved it to: {target}\n")


def _signed(data: bytes, name: str, key: str, passphrase_file: str) -> tuple[str, bytes]:
    from pvehelm.actions.repos import sign
    from pvehelm.faces.cli.command import read_text
    from pvehelm.faces.cli.repos import hidden

    def passphrase() -> str:
        if passphrase_file:
            return read_text(passphrase_file).rstrip("\n")
        return hidden("Passphrase of the key", "--passphrase-file FILE")

    return sign(data, read_text(key), name=name, file=key, passphrase=passphrase)


app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Show parts of a chart.")


def _show(what: str, help_: str) -> None:
    @app.command(what, help=help_)
    @command(*SOURCE)
    def show(session: Session, path: o.ChartPath) -> None:
        output.emit_file(actions.show(o.load_chart(path, session), what))


for _what, _help in (
    ("all", "Definition, values and README."),
    ("chart", "The definition, Chart.yaml."),
    ("readme", "The README."),
    ("crds", "The files under crds/, which are for Kubernetes."),
):
    _show(_what, _help)


@app.command("values", help="The default values.")
@command(*SOURCE)
def show_values(
    session: Session,
    path: o.ChartPath,
    jsonpath: Annotated[
        str, typer.Option("--jsonpath", metavar="TEMPLATE", help="Only what this picks: '{.web.memory}'.")
    ] = "",
) -> None:
    text = actions.show(o.load_chart(path, session), "values", jsonpath=jsonpath)
    output.emit_file(text if not jsonpath or text.endswith("\n") else text + "\n")

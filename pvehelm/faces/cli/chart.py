"""chart test, docs, convert: what a chart's author uses beside lint and package."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.errors import InvalidError, PvehelmError, UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import Session, command
from pvehelm.faces.cli.converting import convert

if TYPE_CHECKING:
    from pvehelm.actions.suites import Choice, Previous, Report, Tested
    from pvehelm.chart.chart import Chart

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Test, document and convert charts."
)
FORMATS = ("table", "json", "yaml", "junit")
Charts = Annotated[list[str], typer.Argument(help="Charts.", metavar="CHART...")]
ChangedSince = Annotated[
    str, typer.Option("--changed-since", help="Only charts with files changed since this git ref.", metavar="REF")
]


@app.callback()
def group() -> None:
    """Test, document and convert charts."""


app.command("convert")(convert)


@app.command("test")
@command("engine")
async def run_suites(
    session: Session,
    paths: Charts,
    suite: Annotated[
        str, typer.Option("--suite", help="Which files are suites (tests/*_test.yaml).", metavar="GLOB")
    ] = "",
    filter_: Annotated[
        list[str], typer.Option("--filter", help="Only tests whose title has this in it.", metavar="TEXT")
    ] = [],
    only: Annotated[
        str, typer.Option("--only", help="Only what is rendered, or only what is installed.", metavar="render|install")
    ] = "",
    update: Annotated[bool, typer.Option("-u", "--update", help="Write the snapshots anew.")] = False,
    changed_since: ChangedSince = "",
    upgrade_from: Annotated[
        str,
        typer.Option(
            "--upgrade-from",
            help="Also upgrade from an older chart: git:REF, a version of the repositories, or a path.",
            metavar="ORIGIN",
        ),
    ] = "",
    pve_version: Annotated[
        str, typer.Option("--pve-version", help="Render and live on this Proxmox VE version.", metavar="X.Y")
    ] = "",
    how: Annotated[str, typer.Option("-o", "--output", help="table, json, yaml or junit.", metavar="FORMAT")] = "table",
) -> int:
    """Run the test suites of charts.

    pvehelm chart test ./web -o junit
    """
    from pvehelm.actions.suites import Choice

    if how not in FORMATS:
        raise UsageError(f"-o {how}: unknown format", hint=f"one of {', '.join(FORMATS)}")
    if only not in ("", "render", "install"):
        raise UsageError(f"--only {only}: render or install")
    choice = Choice(suite, tuple(filter_), only != "install", only != "render", update, upgrade_from, pve_version)
    ran: dict[str, Tested] = {}
    broken: list[InvalidError] = []
    for path in selected(paths, changed_since):
        try:
            ran[path] = await _tested(path, session, choice)
        except InvalidError as error:
            broken.append(error)
    if broken:
        problems = [problem for error in broken for problem in error.problems]
        raise InvalidError("; ".join(error.message for error in broken), problems, hint=broken[0].hint)
    if (suite or filter_) and ran and not any(tested.reports for tested in ran.values()):
        chosen = " ".join([*([f"--suite {suite}"] if suite else []), *(f"--filter {text}" for text in filter_)])
        raise PvehelmError(f"no test is meant by {chosen}", hint="without it all of them run, and are named")
    _print(ran, how)
    return int(any(tested.failed for tested in ran.values()))


async def _tested(path: str, session: Session, choice: Choice) -> Tested:
    from pvehelm.actions import suites as actions
    from pvehelm.faces.stage import stage

    chart = o.load_chart(path, session)
    tested = await actions.run(
        chart, sources_of(path, chart), choice, stage=stage, previous=previous_of(path, chart, session)
    )
    for name, text in tested.snapshots.items():
        target = Path(path, name)
        if not Path(path).is_dir():
            raise UsageError(f"{path}: --update writes snapshots into a chart's folder")
        if text is None:
            target.unlink(missing_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return tested


def selected(paths: Sequence[str], changed_since: str) -> list[str]:
    """The charts that are meant: with ``changed_since`` those with changed files, and a word about the others."""
    if not changed_since:
        return list(paths)
    from pvehelm.chart.git import changed_since as changed

    found = []
    for path in paths:
        files = changed(path, changed_since)
        place = Path(path).resolve()
        if any(place in file.resolve().parents for file in files):
            found.append(path)
        else:
            sys.stderr.write(f"{path}: unchanged since {changed_since}\n")
    return found


def sources_of(path: str, chart: Chart) -> Mapping[str, bytes]:
    """A chart's files with its tests, which ``.helmignore`` may keep out of packages."""
    files = dict(chart.raw)
    place = Path(path)
    for folder in ("tests", "ci"):
        for file in sorted(place.glob(f"{folder}/**/*")) if place.is_dir() else ():
            if file.is_file():
                files.setdefault(file.relative_to(place).as_posix(), file.read_bytes())
    return files


def previous_of(path: str, chart: Chart, session: Session) -> Previous:
    """Finds older versions of a chart: ``git:REF`` of its own repository, a version of a repository, a path."""

    def previous(origin: str) -> Chart | None:
        from pvehelm.chart.chart import load

        kind, _, ref = origin.partition(":")
        if kind == "git" and ref:
            from pvehelm.chart.git import at

            with at(path, ref) as folder:
                return load(folder) if folder is not None and (folder / "Chart.yaml").is_file() else None
        if "/" in origin or origin.endswith(".tgz"):
            near = Path(path, origin) if Path(path).is_dir() else Path(origin)
            return o.load_chart(str(near) if near.exists() else origin)
        return _published(chart, origin)

    return previous


def _published(chart: Chart, version: str) -> Chart | None:
    """A version of the chart of the configured repositories; ``previous`` is the newest below the chart's own."""
    from pvehelm.actions.repos import Wish, pull
    from pvehelm.actions.repos import search as searched
    from pvehelm.errors import NotFoundError

    wanted = f"<{chart.version}" if version == "previous" else version
    name = chart.metadata.name
    try:
        hits = [row["name"] for row in searched(name) if row["name"].rpartition("/")[2] == name]
    except NotFoundError:  # There are no repositories at all.
        return None
    for hit in hits:
        try:
            return pull(hit, Wish(wanted)).chart
        except NotFoundError:
            continue
    return None


@app.command()
@command()
def docs(
    session: Session,
    paths: Annotated[list[str], typer.Argument(help="Charts' folders.", metavar="CHART...")],
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail where a README would change.")] = False,
) -> int:
    """Write the tables of charts' READMEs from the comments of values.yaml and the schema.

    They stand between <!-- values --> and <!-- /values -->; the rest of a README stays.
    """
    import difflib

    from pvehelm.actions.charts import documented

    stale = 0
    for path in paths:
        chart = o.load_chart(path)
        target = Path(path, "README.md")
        if not target.parent.is_dir():
            raise UsageError(f"{path} is no folder: packages are not written")
        before = target.read_text(encoding="utf-8-sig") if target.exists() else ""
        text = documented(chart)
        if text == before:
            continue
        stale += 1
        if check:
            lines = difflib.unified_diff(before.splitlines(), text.splitlines(), str(target), "chart docs", lineterm="")
            sys.stdout.writelines(f"{line}\n" for line in lines)
        else:
            target.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {target}\n")
    if check and stale:
        sys.stderr.write(f"{stale} README(s) are not up to date; pvehelm chart docs {' '.join(paths)}\n")
    return int(check and bool(stale))


# -- output --------------------------------------------------------------------------------------------------------


def _print(ran: Mapping[str, Tested], how: str) -> None:
    if how == "junit":
        sys.stdout.write(junit(ran))
        return
    rows = [{"chart": path, **report.as_dict()} for path, tested in ran.items() for report in tested.reports]
    output.show(how, rows, lambda: _table(ran))


def _table(ran: Mapping[str, Tested]) -> None:
    on = output.colours_wanted(sys.stdout)
    colours = {"Succeeded": "green", "Failed": "red", "Skipped": "yellow"}
    words = {"Succeeded": "pass", "Failed": "FAIL", "Skipped": "skip"}
    counts = dict.fromkeys(words, 0)
    for path, tested in ran.items():
        sys.stdout.write(output.paint(path, "bold", on) + "\n")
        if not tested.reports:
            sys.stdout.write("  there are no tests (tests/*_test.yaml)\n")
        for report in tested.reports:
            counts[report.phase] += 1
            word = output.paint(words[report.phase], colours[report.phase], on)
            tail = f": {report.messages[0]}" if report.phase == "Skipped" else _seconds(report)
            sys.stdout.write(f"  {word}  {output.printable(f'{report.suite}: {report.test}')}{tail}\n")
            for message in report.messages if report.phase == "Failed" else ():
                sys.stdout.write("        " + output.printable(message).replace("\n", "\n        ") + "\n")
        for name in tested.snapshots:
            sys.stdout.write(f"  wrote {name}\n")
    told = f"{counts['Succeeded']} passed, {counts['Failed']} failed"
    sys.stdout.write(told + (f", {counts['Skipped']} skipped" if counts["Skipped"] else "") + "\n")


def _seconds(report: Report) -> str:
    took = report.completed - report.started
    return f" ({took:.1f} s)" if took >= 0.5 else ""


def junit(ran: Mapping[str, Tested]) -> str:
    """The reports of several charts as JUnit's XML."""
    from pvehelm.faces.cli.testing import junit_suite

    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for path, tested in ran.items():
        suites: dict[str, list[dict[str, Any]]] = {}
        for report in tested.reports:
            row = {"name": report.test, "kind": report.suite, "error": "\n".join(report.messages), "log": []}
            suites.setdefault(report.suite, []).append({**report.as_dict(), **row})
        for title, rows in suites.items():
            lines += junit_suite(f"{path}: {title}", rows)
    return "\n".join([*lines, "</testsuites>", ""])

"""Lint: what can be said of a chart without rendering it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from pvehelm.chart import merging, schema
from pvehelm.chart.chart import Chart, load
from pvehelm.chart.dependencies import coalesce, compatible, enabled, missing
from pvehelm.chart.versions import is_strict, satisfies
from pvehelm.chart.yaml import Path_, load_all
from pvehelm.errors import InvalidError, NotFoundError, Problem

Severity = Literal["error", "warning", "info"]
EXTENSIONS = (".yaml", ".yml", ".json", ".tpl", ".txt", ".j2", ".jinja", ".jinja2")

_URL = re.compile(r"(https?|oci|git|ssh)://[^\s/]+\S*\Z")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")


class Finding(NamedTuple):
    """A Problem that says how bad it is: ``error`` will not install, ``warning`` probably is a mistake."""

    where: str
    what: str
    hint: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        return f"[{self.severity.upper()}] {Problem(self.where, self.what, self.hint)}"


def lint_path(
    path: str | os.PathLike[str],
    values: Mapping[str, Any] | None = None,
    *,
    sources: Mapping[Path_, str] | None = None,
    subcharts: bool = False,
) -> tuple[Chart | None, list[Finding]]:
    """The chart at ``path`` (None when it does not load) and everything that is found."""
    try:
        chart = load(path)
    except InvalidError as error:
        return None, [Finding(p.where, p.what, p.hint, "error") for p in error.problems]
    except NotFoundError as error:
        return None, [Finding(str(path), error.message, error.hint, "error")]
    return chart, lint(chart, values or {}, sources=sources, subcharts=subcharts)


def lint(
    chart: Chart,
    values: Mapping[str, Any],
    *,
    sources: Mapping[Path_, str] | None = None,
    subcharts: bool = False,
) -> list[Finding]:
    """Everything that is found in a loaded chart with the user's ``values``, errors first.

    ``sources`` says where the values come from (``values.origins``); ``subcharts`` lints those in ``charts/`` too.
    """
    order = ("error", "warning", "info")
    findings = list(_lint(chart, values, sources, subcharts))
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def _lint(
    chart: Chart, values: Mapping[str, Any], sources: Mapping[Path_, str] | None, subcharts: bool
) -> Iterator[Finding]:
    for problem in chart.warnings:
        yield Finding(problem.where, problem.what, problem.hint, "warning")
    yield from _metadata(chart)
    yield from _dependencies(chart)
    yield from _files(chart)
    yield from _values(chart, values, sources)
    if subcharts:
        for sub in chart.dependencies:
            yield from _lint(sub, {}, None, subcharts)


def _metadata(chart: Chart) -> Iterator[Finding]:
    file = chart.file("Chart.yaml")
    metadata = chart.metadata
    at = _marks(chart)
    directory = os.path.basename(os.path.realpath(chart.path)) if os.path.isdir(chart.path) else metadata.name
    if directory != metadata.name:
        what = f"the chart is named {metadata.name!r}, its directory {directory!r}"
        yield Finding(at("name"), what, "give both the same name", "warning")
    if metadata.api_version != "v2":
        yield Finding(at("apiVersion"), "apiVersion v1 is Helm 2's", 'use "v2"', "warning")
    if not is_strict(metadata.version):
        yield Finding(at("version"), f"version {metadata.version!r} is no semantic version", "for example 1.2.3")
    if not metadata.description:
        yield Finding(file, "description is missing", "one sentence that 'search' and 'show' can print", "info")
    if not metadata.icon:
        yield Finding(file, "icon is recommended", "", "info")
    for key, urls in (("icon", [metadata.icon]), ("home", [metadata.home]), ("sources", metadata.sources)):
        for url in urls:
            if url and not _URL.match(url) and not (key == "icon" and url.startswith("data:")):
                yield Finding(at(key), f"{key} {url!r} is no URL", "for example https://example.org/", "error")
    for maintainer in metadata.maintainers:
        if not maintainer.name:
            yield Finding(at("maintainers"), "a maintainer needs a name")
        if maintainer.email and not _EMAIL.match(maintainer.email):
            yield Finding(at("maintainers"), f"{maintainer.email!r} is no e-mail address")
        if maintainer.url and not _URL.match(maintainer.url):
            yield Finding(at("maintainers"), f"maintainer's url {maintainer.url!r} is no URL")
    if metadata.deprecated:
        yield Finding(at("deprecated"), "the chart is deprecated", "", "info")


def _dependencies(chart: Chart) -> Iterator[Finding]:
    at = _marks(chart)
    for need in chart.metadata.dependencies:
        if not need.version:
            yield Finding(
                at("dependencies"), f"dependency {need.name!r} has no version", "for example ^1.2.0", "warning"
            )
            continue
        try:
            satisfies(need.version, "1.0.0")
        except ValueError as error:
            yield Finding(at("dependencies"), f"dependency {need.name!r}: {error}")
    for problem in missing(chart):
        yield Finding(problem.where, problem.what, problem.hint, "warning")
    for sub in chart.dependencies:
        named = [need for need in chart.metadata.dependencies if need.name == sub.metadata.name]
        what = f"charts/ holds {sub.metadata.name!r} {sub.version}, which Chart.yaml does not "
        if not named:
            yield Finding(sub.path, what + "declare", "list it under dependencies", "warning")
        elif not any(compatible(need, sub) for need in named):
            yield Finding(sub.path, what + "want in this version", "remove it from charts/", "warning")


def _files(chart: Chart) -> Iterator[Finding]:
    if not chart.templates and not chart.is_library and not chart.dependencies:
        yield Finding(chart.file("templates"), "there are no templates, so the chart makes nothing", "", "warning")
    for path in chart.templates:
        if os.path.splitext(path)[1] not in EXTENSIONS:
            hint = f"templates end in one of {' '.join(EXTENSIONS)}; other files belong outside templates/"
            yield Finding(chart.file(path), "the file's extension is not known", hint)
    if "templates/NOTES.txt" not in chart.templates and not chart.is_library:
        yield Finding(
            chart.file("templates/NOTES.txt"), "there are no notes", "they tell the user what to do next", "info"
        )
    if any(path.startswith("crds/") for path in chart.raw):
        yield Finding(chart.file("crds"), "crds/ has no meaning here", "Proxmox VE has no custom resources", "warning")
    for wrong, right in (("values.yml", "values.yaml"), ("chart.yaml", "Chart.yaml"), ("values.schema.yaml", "")):
        if wrong in chart.raw:
            hint = f"rename it to {right}" if right else "the schema is read from values.schema.json"
            yield Finding(chart.file(wrong), "the file is not read under this name", hint, "warning")


def _values(chart: Chart, values: Mapping[str, Any], sources: Mapping[Path_, str] | None) -> Iterator[Finding]:
    if "values.yaml" not in chart.raw:
        yield Finding(chart.file("values.yaml"), "there is no values.yaml", "", "info")
    if chart.schema is not None:
        file = chart.file("values.schema.json")
        broken = schema.check(chart.schema, file)
        for problem in broken:
            yield Finding(problem.where, problem.what, problem.hint)
        if broken:
            return
        for problem in merging.problems(chart):
            yield Finding(problem.where, problem.what, problem.hint)
    try:
        seen = coalesce(chart, values, allow_missing=True)
        tree = enabled(chart, values, allow_missing=True)
    except InvalidError as error:
        for problem in error.problems:
            yield Finding(problem.where, problem.what, problem.hint)
        return
    for problem in schema.validate(tree, seen, sources=sources):
        yield Finding(problem.where, problem.what, problem.hint)


def _marks(chart: Chart) -> Any:
    """Where a field of Chart.yaml stands."""
    file = chart.file("Chart.yaml")
    documents = load_all(chart.raw.get("Chart.yaml", b"").decode("utf-8-sig", "replace"), file=file)

    def at(key: str) -> str:
        mark = documents[0].marks.nearest((key,))
        return f"{file}:{mark.line}:{mark.column}"

    return at

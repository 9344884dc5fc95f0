"""Lint: what can be said of a chart without rendering it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pvehelm.chart import merging, schema
from pvehelm.chart.chart import Chart
from pvehelm.chart.dependencies import coalesce, compatible, enabled, missing
from pvehelm.chart.rules import Finding, finding, ordered
from pvehelm.chart.versions import is_strict, satisfies
from pvehelm.chart.yaml import Path_, dotted, load_all
from pvehelm.errors import InvalidError

EXTENSIONS = (".yaml", ".yml", ".json", ".tpl", ".txt", ".j2", ".jinja", ".jinja2")

_URL = re.compile(r"(https?|oci|git|ssh)://[^\s/]+\S*\Z")
_SECRET = re.compile(r"(?i)(passw(or)?d|passphrase|secret|token|api_?key|private_?key)\Z")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")


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
    return ordered(_lint(chart, values, sources, subcharts))


def _lint(
    chart: Chart, values: Mapping[str, Any], sources: Mapping[Path_, str] | None, subcharts: bool
) -> Iterator[Finding]:
    for problem in chart.warnings:
        yield finding("chart-file", problem.where, problem.what, problem.hint)
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
        yield finding("chart-name", at("name"), what, "give both the same name")
    if metadata.api_version != "v2":
        yield finding("chart-api-version", at("apiVersion"), "apiVersion v1 is Helm 2's", 'use "v2"')
    if not is_strict(metadata.version):
        yield finding(
            "chart-version", at("version"), f"version {metadata.version!r} is no semantic version", "for example 1.2.3"
        )
    if not metadata.description:
        yield finding(
            "chart-description", file, "description is missing", "one sentence that 'search' and 'show' can print"
        )
    if not metadata.icon:
        yield finding("chart-icon", file, "icon is recommended")
    for key, urls in (("icon", [metadata.icon]), ("home", [metadata.home]), ("sources", metadata.sources)):
        for url in urls:
            if url and not _URL.match(url) and not (key == "icon" and url.startswith("data:")):
                yield finding("chart-url", at(key), f"{key} {url!r} is no URL", "for example https://example.org/")
    for maintainer in metadata.maintainers:
        if not maintainer.name:
            yield finding("chart-maintainer", at("maintainers"), "a maintainer needs a name")
        if maintainer.email and not _EMAIL.match(maintainer.email):
            yield finding("chart-maintainer", at("maintainers"), f"{maintainer.email!r} is no e-mail address")
        if maintainer.url and not _URL.match(maintainer.url):
            yield finding("chart-maintainer", at("maintainers"), f"maintainer's url {maintainer.url!r} is no URL")
    if metadata.deprecated:
        yield finding("chart-deprecated", at("deprecated"), "the chart is deprecated")


def _dependencies(chart: Chart) -> Iterator[Finding]:
    at = _marks(chart)
    for need in chart.metadata.dependencies:
        if not need.version:
            yield finding(
                "dependency-version",
                at("dependencies"),
                f"dependency {need.name!r} has no version",
                "for example ^1.2.0",
            )
            continue
        try:
            satisfies(need.version, "1.0.0")
        except ValueError as error:
            yield finding("dependency-range", at("dependencies"), f"dependency {need.name!r}: {error}")
    for problem in missing(chart):
        yield finding("dependency-missing", problem.where, problem.what, problem.hint)
    for sub in chart.dependencies:
        named = [need for need in chart.metadata.dependencies if need.name == sub.metadata.name]
        what = f"charts/ holds {sub.metadata.name!r} {sub.version}, which Chart.yaml does not "
        if not named:
            yield finding("dependency-undeclared", sub.path, what + "declare", "list it under dependencies")
        elif not any(compatible(need, sub) for need in named):
            yield finding("dependency-undeclared", sub.path, what + "want in this version", "remove it from charts/")


def _files(chart: Chart) -> Iterator[Finding]:
    if not chart.templates and not chart.is_library and not chart.dependencies:
        yield finding("template-none", chart.file("templates"), "there are no templates, so the chart makes nothing")
    for path in chart.templates:
        if os.path.splitext(path)[1] not in EXTENSIONS:
            hint = f"templates end in one of {' '.join(EXTENSIONS)}; other files belong outside templates/"
            yield finding("template-extension", chart.file(path), "the file's extension is not known", hint)
    if "templates/NOTES.txt" not in chart.templates and not chart.is_library:
        yield finding(
            "template-notes",
            chart.file("templates/NOTES.txt"),
            "there are no notes",
            "they tell the user what to do next",
        )
    if any(path.startswith("crds/") for path in chart.raw):
        yield finding(
            "file-crds", chart.file("crds"), "crds/ has no meaning here", "Proxmox VE has no custom resources"
        )
    for wrong, right in (("values.yml", "values.yaml"), ("chart.yaml", "Chart.yaml"), ("values.schema.yaml", "")):
        if wrong in chart.raw:
            hint = f"rename it to {right}" if right else "the schema is read from values.schema.json"
            yield finding("file-name", chart.file(wrong), "the file is not read under this name", hint)


def _values(chart: Chart, values: Mapping[str, Any], sources: Mapping[Path_, str] | None) -> Iterator[Finding]:
    yield from _plain(chart)
    if "values.yaml" not in chart.raw:
        yield finding("values-file", chart.file("values.yaml"), "there is no values.yaml")
    if chart.schema is not None:
        file = chart.file("values.schema.json")
        broken = schema.check(chart.schema, file)
        for problem in broken:
            yield finding("values-schema", problem.where, problem.what, problem.hint)
        if broken:
            return
        for problem in merging.problems(chart):
            yield finding("values-schema", problem.where, problem.what, problem.hint)
    try:
        seen = coalesce(chart, values, allow_missing=True)
        tree = enabled(chart, values, allow_missing=True)
    except InvalidError as error:
        for problem in error.problems:
            yield finding("values-invalid", problem.where, problem.what, problem.hint)
        return
    for problem in schema.validate(tree, seen, sources=sources):
        yield finding("values-invalid", problem.where, problem.what, problem.hint)


def _plain(chart: Chart) -> Iterator[Finding]:
    """Texts in values.yaml under names of secrets, unless they are references."""
    for path, value in _texts(chart.values, ()):
        if not _SECRET.search(str(path[-1])) or value.startswith("secret://") or "${secret://" in value:
            continue
        mark = chart.values_marks.get(path)
        where = chart.file("values.yaml") + (f":{mark.line}:{mark.column}" if mark else "")
        hint = "leave it empty and take a reference (secret://env/NAME), or generate(...) it in the template"
        yield finding(
            "values-secret", where, f"{dotted(path)} has a secret in it that all who have the chart know", hint
        )


def _texts(value: Any, path: Path_) -> Iterator[tuple[Path_, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, str) and value and path:
        yield path, value


def _marks(chart: Chart) -> Any:
    """Where a field of Chart.yaml stands."""
    file = chart.file("Chart.yaml")
    documents = load_all(chart.raw.get("Chart.yaml", b"").decode("utf-8-sig", "replace"), file=file)

    def at(key: str) -> str:
        mark = documents[0].marks.nearest((key,))
        return f"{file}:{mark.line}:{mark.column}"

    return at

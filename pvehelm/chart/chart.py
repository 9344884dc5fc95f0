"""The chart as it is read: from a directory, from an archive, with its metadata, values and the charts it contains."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from pvehelm.chart.documents import Documents
from pvehelm.chart.files import MAX_TOTAL, Budget, alike, read_archive, read_directory
from pvehelm.chart.metadata import read as read_metadata
from pvehelm.chart.metadata import read_requirements
from pvehelm.chart.model import Chart, Dependency, Maintainer, Metadata, digest_of
from pvehelm.chart.pattern import pattern
from pvehelm.chart.yaml import Document, Mark, Marks, Path_
from pvehelm.errors import InvalidError, NotFoundError, Problem

__all__ = ["Chart", "Dependency", "Maintainer", "Metadata", "digest_of", "load", "load_archive"]

_NO_MARKS = Marks(Mark(1, 1), None)


def load(path: str | os.PathLike[str]) -> Chart:
    """The chart in a directory or a ``.tgz``. Raises NotFoundError, or InvalidError with every problem."""
    shown = str(path)
    place = os.fspath(path) or "."
    try:
        mode = os.stat(place).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise NotFoundError(f"there is no chart at {shown}", hint="give a chart's directory or its .tgz") from None
    except OSError as error:
        raise InvalidError(f"{shown} cannot be read", [Problem(shown, f"cannot be read: {error.strerror}")]) from error
    if stat.S_ISDIR(mode):
        budget = Budget()
        if not os.path.exists(os.path.join(place, "Chart.yaml")):
            raise InvalidError(f"{shown} is not a chart", [_missing(shown, place)])
        raw = read_directory(place, budget)
        return _finish(raw, shown.rstrip("/") or "/", budget)
    if not stat.S_ISREG(mode):
        raise InvalidError(f"{shown} is not a chart", [Problem(shown, "is neither a directory nor a file")])
    if os.path.basename(place) == "Chart.yaml":
        raise InvalidError(f"{shown} is not a chart", [Problem(shown, "give the directory that Chart.yaml is in")])
    try:
        with open(place, "rb") as file:
            data = file.read(MAX_TOTAL + 1)
    except OSError as error:
        raise InvalidError(f"{shown} cannot be read", [Problem(shown, f"cannot be read: {error.strerror}")]) from error
    return load_archive(data, name=shown)


def load_archive(data: bytes, *, name: str) -> Chart:
    """The chart in the bytes of a ``.tgz``; ``name`` stands for it in messages. Raises InvalidError."""
    budget = Budget()
    if len(data) > budget.total:
        raise InvalidError(f"{name} is not a chart", [Problem(name, "the archive is larger than a chart may be")])
    raw = read_archive(data, name=name, budget=budget)
    return _finish(raw, name, budget)


def from_files(raw: Mapping[str, bytes], *, name: str) -> Chart:
    """The chart of these files; ``name`` stands for its folder in messages. Raises InvalidError."""
    return _finish(raw, name, Budget())


def of_helm(chart: Chart) -> Chart:
    """The chart with its files read as Helm reads them, where nothing in them said that it is Helm's.

    Raises InvalidError.
    """
    if _of_helm(chart.raw, False):
        return chart
    documents = Documents(chart.raw)
    build = _Builder(chart.raw, chart.path, Budget(), documents, True)
    metadata, _ = build.metadata()
    values, _, marks = build.values()
    documents.keep()
    if build.budget.problems or metadata is None:
        raise InvalidError(f"{chart.path} is not a valid chart", build.budget.problems)
    return chart._replace(metadata=metadata, values=values, values_marks=marks)


def _finish(raw: Mapping[str, bytes], path: str, budget: Budget) -> Chart:
    problems = budget.problems
    documents = Documents(raw)
    chart = None if problems and not raw else _build(raw, path, budget, documents)
    documents.keep()
    if problems or chart is None:
        raise InvalidError(f"{path} is not a valid chart", list(dict.fromkeys(problems)))
    return chart


def _build(
    raw: Mapping[str, bytes], path: str, budget: Budget, documents: Documents, above: bool = False
) -> Chart | None:
    """The chart of some files; None when there is no usable Chart.yaml. Problems go to the budget.

    ``above``: it is part of a chart in Helm's syntax.
    """
    build = _Builder(raw, path, budget, documents, _of_helm(raw, above))
    metadata, warnings = build.metadata()
    values, text, marks = build.values()
    schema, schema_text = build.schema()
    templates, files = build.split(keep_old=metadata is not None and metadata.api_version == "v1")
    subcharts = build.subcharts()
    if metadata is None:
        return None
    return Chart(
        metadata,
        values,
        text,
        marks,
        schema,
        schema_text,
        templates,
        files,
        raw,
        subcharts,
        path,
        (*warnings, *build.twice, *build.alike()),
    )


def _of_helm(raw: Mapping[str, bytes], above: bool) -> bool:
    """Whether a chart is written in Helm's syntax, by what it says, or else by its templates and its parent."""
    said = _ENGINE.search(raw.get("Chart.yaml", b""))
    if said:
        return said[1] == b"gotpl"
    templates = [content for path, content in raw.items() if path.startswith("templates/")]
    return not any(b"{%" in content for content in templates) and (above or any(map(_GO.search, templates)))


_ENGINE = pattern(rb"""(?m)^(?:\{(?:.*?,)?[ \t]*)?["']?engine["']?[ \t]*:[ \t]*["']?(gotpl|jinja2)\b""")
#: What is not Jinja2.
_GO = pattern(rb"\{\{-?\s*(?:[.$][A-Za-z]|(?:if|range|with|end|define|include|template|block|else)\b)")


class _Builder:
    def __init__(
        self, raw: Mapping[str, bytes], path: str, budget: Budget, documents: Documents, of_helm: bool
    ) -> None:
        self.reader = documents
        self.raw = raw
        self.path = path
        self.budget = budget
        self.of_helm = of_helm
        #: Keys that stand twice, which Helm takes.
        self.twice: list[Problem] = []

    @property
    def helms(self) -> list[Problem] | None:
        """How YAML is read (``load_all``)."""
        return self.twice if self.of_helm else None

    def bad(self, path: str, what: str, hint: str = "") -> None:
        self.budget.problems.append(Problem(f"{self.path}/{path}", what, hint))

    def text(self, path: str) -> str:
        """A text file's content; what is not UTF-8 is a problem."""
        content = self.raw.get(path, b"")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            self.budget.problems.append(
                Problem(f"{self.path}/{path}:{line}", "the file is not UTF-8 text", "save it as UTF-8")
            )
            return ""

    def documents(self, path: str) -> tuple[str, list[Document]]:
        text = self.text(path)
        try:
            return text, self.reader.load(text, file=f"{self.path}/{path}", helms=self.helms)
        except InvalidError as error:
            self.budget.problems.extend(error.problems)
            return text, []

    def metadata(self) -> tuple[Metadata | None, tuple[Problem, ...]]:
        if "Chart.yaml" not in self.raw:
            self.budget.problems.append(_missing(self.path, None))
            return None, ()
        old = "requirements.yaml"
        try:
            metadata, warnings = read_metadata(
                self.text("Chart.yaml"), file=f"{self.path}/Chart.yaml", helms=self.helms, load=self.reader.load
            )
            if old in self.raw:
                needs, more = read_requirements(
                    self.text(old), file=f"{self.path}/{old}", helms=self.helms, load=self.reader.load
                )
                metadata, warnings = metadata._replace(dependencies=needs or metadata.dependencies), warnings + more
            return metadata, warnings
        except InvalidError as error:
            self.budget.problems.extend(error.problems)
            return None, ()

    def values(self) -> tuple[dict[str, Any], str, Mapping[Path_, Mark]]:
        """The default values."""
        text, documents = self.documents("values.yaml")
        whole: dict[str, Any] = {}
        marks = _NO_MARKS
        for document in documents:
            if document.data is None:
                continue
            if not isinstance(document.data, dict):
                self.bad(f"values.yaml:{document.start.line}", "values are a map, with keys at the left margin")
                return {}, text, _NO_MARKS
            # As in Helm, a later document is laid over the ones before it.
            marks = marks.below(document.marks) if whole else document.marks
            whole = _laid(whole, document.data) if whole else document.data
        return whole, text, marks

    def schema(self) -> tuple[dict[str, Any] | None, str]:
        import json

        name = "values.schema.json"
        if name not in self.raw:
            return None, ""
        text = self.text(name)
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            self.bad(f"{name}:{error.lineno}:{error.colno}", f"not JSON: {error.msg}")
            return None, text
        except (ValueError, RecursionError):
            self.bad(name, "not JSON that can be read: nested too deep, or a number too long")
            return None, text
        if isinstance(data, bool):
            data = {} if data else {"not": {}}
        if not isinstance(data, dict):
            self.bad(name, "a schema is a JSON object")
            return None, text
        return data, text

    def alike(self) -> Iterator[Problem]:
        for path, other in alike(path for path in self.raw if not path.startswith("charts/")):
            yield Problem(f"{self.path}/{path}", f"some systems take it for the same file as {other}", "rename one")

    def split(self, *, keep_old: bool) -> tuple[dict[str, str], dict[str, bytes]]:
        templates, files = {}, {}
        known = {"Chart.yaml", "Chart.lock", "values.yaml", "values.schema.json"}
        if not keep_old:
            known |= {"requirements.yaml", "requirements.lock"}
        for path, content in self.raw.items():
            if path.startswith("templates/"):
                templates[path] = self.text(path)
            elif path.startswith("charts/"):
                if path.endswith(".prov"):
                    files[path] = content
            elif path not in known:
                files[path] = content
        return templates, files

    def subcharts(self) -> tuple[Chart, ...]:
        groups: dict[str, dict[str, bytes]] = {}
        found = []
        for path, content in self.raw.items():
            folder, name, rest = (*path.split("/", 2), "", "")[:3]
            if folder != "charts" or not name or name.startswith(("_", ".")):
                continue
            if rest:
                groups.setdefault(name, {})[rest] = content
            elif name.endswith(".tgz"):
                place = f"{self.path}/{path}"
                before = len(self.budget.problems)
                below = read_archive(content, name=place, budget=self.budget)
                if below and before == len(self.budget.problems):
                    found.append(_build(below, place, self.budget, self.reader, self.of_helm))
                self.budget.nested -= 1
        for name, below in groups.items():
            if not name.endswith(".tgz"):
                found.append(_build(below, f"{self.path}/charts/{name}", self.budget, self.reader, self.of_helm))
        return tuple(sorted((chart for chart in found if chart), key=lambda chart: (chart.name, chart.version)))


def _laid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        old = out.get(key)
        out[key] = _laid(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return out


def _missing(path: str, place: str | None) -> Problem:
    hint = "a chart is a directory with a Chart.yaml; 'pvehelm create NAME' makes one"
    if place is not None:
        near = sorted(name for name in os.listdir(place) if name.lower() in ("chart.yaml", "chart.yml"))
        if near:
            hint = f"rename {near[0]} to Chart.yaml"
    return Problem(path, "Chart.yaml is missing", hint)

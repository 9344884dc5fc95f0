"""The metadata: what Chart.yaml says about a chart (Helm's v2 fields, and ``engine``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pvehelm.chart.model import Dependency, Maintainer, Metadata
from pvehelm.chart.pattern import pattern
from pvehelm.chart.yaml import Document, Marks, Path_, load_all
from pvehelm.errors import InvalidError, Problem

ENGINES = ("jinja2", "gotpl")
TYPES = ("application", "library")
NAME = pattern(r"[A-Za-z0-9][A-Za-z0-9._-]{0,249}\Z")
ALIAS = pattern(r"[A-Za-z0-9_-]+\Z")
SEMVER = pattern(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?\Z",
    re.ASCII,
)

_TEXT, _TRUTH, _TEXTS, _MAP, _LIST = "a text", "true or false", "a list of texts", "a map of texts", "a list"
_VALUES = "a map"
FIELDS = {
    "apiVersion": _TEXT,
    "name": _TEXT,
    "version": _TEXT,
    "kubeVersion": _TEXT,
    "description": _TEXT,
    "type": _TEXT,
    "keywords": _TEXTS,
    "home": _TEXT,
    "sources": _TEXTS,
    "dependencies": _LIST,
    "maintainers": _LIST,
    "icon": _TEXT,
    "appVersion": _TEXT,
    "deprecated": _TRUTH,
    "annotations": _MAP,
    "condition": _TEXT,
    "tags": _TEXT,
    "engine": _TEXT,
}
_DEPENDENCY = {
    "name": _TEXT,
    "version": _TEXT,
    "repository": _TEXT,
    "condition": _TEXT,
    "tags": _TEXTS,
    "enabled": _TRUTH,
    "import-values": _LIST,
    "alias": _TEXT,
    "values": _VALUES,
}
_MAINTAINER = {"name": _TEXT, "email": _TEXT, "url": _TEXT}


#: ``load_all``, or what remembers it.
Load = Callable[..., list[Document]]


def read(
    text: str, *, file: str, helms: list[Problem] | None = None, load: Load = load_all
) -> tuple[Metadata, tuple[Problem, ...]]:
    """The metadata of a Chart.yaml and the warnings about it; ``helms`` is as in ``load_all``.

    Raises InvalidError with every problem.
    """
    documents = load(text, file=file, helms=helms)
    data = documents[0].data if documents else None
    if not isinstance(data, dict):
        what = "Chart.yaml is empty" if data is None else "Chart.yaml is a map of fields"
        raise InvalidError(f"{file} is not valid", [Problem(file, what, "it needs apiVersion, name and version")])
    reader = _Reader(file, documents[0].marks)
    metadata = reader.metadata(data)
    if reader.problems:
        raise InvalidError(f"{file} is not valid", reader.problems)
    return metadata, tuple(reader.warnings)


def read_requirements(
    text: str, *, file: str, helms: list[Problem] | None = None, load: Load = load_all
) -> tuple[tuple[Dependency, ...], tuple[Problem, ...]]:
    """The dependencies of a requirements.yaml, where charts of apiVersion v1 have them, and the warnings about it."""
    documents = load(text, file=file, helms=helms)
    data = documents[0].data if documents else None
    if data is None:
        return (), ()
    reader = _Reader(file, documents[0].marks)
    known = reader.fields(data, {"dependencies": _LIST}, (), "requirements.yaml")
    reader.names(known)
    dependencies = reader.dependencies(known.get("dependencies", []))
    if reader.problems:
        raise InvalidError(f"{file} is not valid", reader.problems)
    return dependencies, tuple(reader.warnings)


class _Reader:
    def __init__(self, file: str, marks: Marks) -> None:
        self.file = file
        self.marks = marks
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def at(self, path: Path_) -> str:
        mark = self.marks.nearest(path)
        return f"{self.file}:{mark.line}:{mark.column}"

    def bad(self, path: Path_, what: str, hint: str = "") -> None:
        self.problems.append(Problem(self.at(path), what, hint))

    def fields(self, data: Any, known: Mapping[str, str], path: Path_, noun: str) -> dict[str, Any]:
        """The known fields of a map that have their type; everything else becomes a problem or a warning."""
        if not isinstance(data, dict):
            self.bad(path, f"{noun} is a map")
            return {}
        out = {}
        for key, value in data.items():
            if key not in known:
                from pvehelm.suggest import did_you_mean

                hint = did_you_mean(key, known, "it has no effect")
                self.warnings.append(Problem(self.at((*path, key)), f"unknown field {key!r} in {noun}", hint))
            elif value is not None:
                value = self.texts(value, known[key], (*path, key))
                if _fits(value, known[key]):
                    out[key] = _clean(value)
                else:
                    self.bad((*path, key), f"{key} must be {known[key]}, not {value!r}")
        return out

    def texts(self, value: Any, shape: str, path: Path_) -> Any:
        """Numbers and truths where texts belong, as texts: Helm takes them, and so many charts have them."""
        if shape == _MAP and isinstance(value, dict):
            return {key: self.texts(item, _TEXT, (*path, key)) for key, item in value.items() if item is not None}
        if shape == _TEXTS and isinstance(value, list):
            return [self.texts(item, _TEXT, (*path, index)) for index, item in enumerate(value)]
        if shape == _TEXT and isinstance(value, (bool, int, float)):
            from pvehelm.chart.gotpl.plain import as_text

            told = as_text(value)
            name = next(step for step in reversed(path) if isinstance(step, str))
            self.warnings.append(Problem(self.at(path), f"{name} is read as {told}", f'quote it: "{told}"'))
            return told
        return value

    def metadata(self, data: dict[str, Any]) -> Metadata:
        known = self.fields(data, FIELDS, (), "Chart.yaml")
        required = ["apiVersion", "name", "version"]
        if not data.get("apiVersion") and data.get("name") and data.get("version"):
            # Of the time before Helm 3, when there was only one.
            known["apiVersion"] = "v1"
            required.remove("apiVersion")
            self.warnings.append(Problem(self.at(()), "apiVersion is missing in Chart.yaml", 'add "apiVersion: v2"'))
        for key in required:
            if not data.get(key):
                self.bad(() if key not in data else (key,), f"{key} is missing in Chart.yaml")
        if known.get("apiVersion", "v2") not in ("v1", "v2"):
            self.bad(("apiVersion",), f"apiVersion {known['apiVersion']!r} is not known", 'use "v2"')
        if known.get("name") and not NAME.match(known["name"]):
            self.bad(("name",), f"name {known['name']!r} is no chart name", "letters, digits, '-', '_' and '.'")
        self.version(known.get("version", ""))
        for key, words in (("type", TYPES), ("engine", ENGINES)):
            if known.get(key) and known[key] not in words:
                self.bad((key,), f"{key} {known[key]!r} is not one of {', '.join(words)}")
        self.names(known)
        return Metadata(
            name=known.get("name", ""),
            version=known.get("version", ""),
            api_version=known.get("apiVersion", "v2"),
            description=known.get("description", ""),
            type=known.get("type") or "application",
            kube_version=known.get("kubeVersion", ""),
            keywords=tuple(known.get("keywords", ())),
            home=known.get("home", ""),
            sources=tuple(known.get("sources", ())),
            dependencies=self.dependencies(known.get("dependencies", [])),
            maintainers=self.maintainers(known.get("maintainers", [])),
            icon=known.get("icon", ""),
            app_version=known.get("appVersion", ""),
            deprecated=known.get("deprecated", False),
            annotations=known.get("annotations", {}),
            condition=known.get("condition", ""),
            tags=known.get("tags", ""),
            engine=known.get("engine") or "jinja2",
            raw=data,
        )

    def version(self, version: str) -> None:
        """A version that can be compared. What is none to semver.org but to Helm (v1.2) is lint's to tell."""
        from pvehelm.chart.versions import parse

        try:
            parse(version or "0")
        except ValueError:
            self.bad(("version",), f"version {version!r} is no semantic version", "for example 1.2.3")

    def names(self, known: Mapping[str, Any]) -> None:
        """Two dependencies under one key would share their values."""
        seen: dict[str, int] = {}
        for index, item in enumerate(known.get("dependencies", ())):
            key = (item.get("alias") or item.get("name")) if isinstance(item, dict) else None
            if isinstance(key, str) and seen.setdefault(key, index) != index:
                self.bad(("dependencies", index), f"two dependencies are named {key!r}", "give one of them an alias")

    def dependencies(self, items: list[Any]) -> tuple[Dependency, ...]:
        out = []
        for index, item in enumerate(items):
            path: Path_ = ("dependencies", index)
            known = self.fields(item, _DEPENDENCY, path, "a dependency")
            name, alias = known.get("name", ""), known.get("alias", "")
            if isinstance(item, dict) and not item.get("name"):
                self.bad(path, "a dependency needs a name")
            elif name and not NAME.match(name):
                self.bad((*path, "name"), f"name {name!r} is no chart name")
            if alias and not ALIAS.match(alias):
                self.bad((*path, "alias"), f"alias {alias!r} is no name", "letters, digits, '-' and '_'")
            self.expressions(known, path)
            imports = known.get("import-values", [])
            for place, entry in enumerate(imports):
                whole = isinstance(entry, dict) and all(isinstance(entry.get(k), str) for k in ("child", "parent"))
                if not isinstance(entry, str) and not whole:
                    self.bad((*path, "import-values", place), "a text, or a map with child and parent, is expected")
            out.append(
                Dependency(
                    name,
                    known.get("version", ""),
                    known.get("repository", ""),
                    known.get("condition", ""),
                    tuple(known.get("tags", ())),
                    tuple(imports),
                    alias,
                    known.get("values", {}),
                )
            )
        return tuple(out)

    def expressions(self, known: Mapping[str, Any], path: Path_) -> None:
        """What a condition and the values for a subchart say must at least be readable."""
        from pvehelm.chart.expression import Expression, is_paths, texts

        condition = known.get("condition", "")
        told = [((*path, "condition"), condition)] if not is_paths(condition) else []
        told += [((*path, "values", *below), text) for below, text in texts(known.get("values", {}))]
        for place, text in told:
            try:
                Expression(text)
            except InvalidError as error:
                self.bad(place, f"{place[2]}: {error}", "for example: db.enabled and not db.external")

    def maintainers(self, items: list[Any]) -> tuple[Maintainer, ...]:
        out = []
        for index, item in enumerate(items):
            known = self.fields(item, _MAINTAINER, ("maintainers", index), "a maintainer")
            out.append(Maintainer(known.get("name", ""), known.get("email", ""), known.get("url", "")))
        return tuple(out)


def _fits(value: Any, shape: str) -> bool:
    if shape == _TEXT:
        return isinstance(value, str)
    if shape == _TRUTH:
        return isinstance(value, bool)
    if shape == _VALUES:
        return isinstance(value, dict)
    if shape == _MAP:
        return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
    return isinstance(value, list) and (shape == _LIST or all(isinstance(text, str) for text in value))


def _clean(value: Any) -> Any:
    """A text on one line without what cannot be printed, as Helm stores it."""
    if isinstance(value, str):
        return "".join(char for char in re.sub(r"\s", " ", value) if char.isprintable())
    return value

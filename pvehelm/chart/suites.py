"""The suite: what a chart's author says the chart must come to, in ``tests/*_test.yaml`` of the chart.

The format is helm-unittest's, with what Proxmox adds: a case renders the chart with some values and asserts what is in
the documents; a case with ``install`` lives through a release on a simulator besides. Read here, run elsewhere.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from pvehelm.chart.asserts import RULES, Assertion
from pvehelm.chart.values import ValueFlag, from_flags
from pvehelm.chart.views import Pick, parse_pick
from pvehelm.chart.yaml import Document, Path_, load_all
from pvehelm.errors import InvalidError, Problem, PvehelmError
from pvehelm.suggest import did_you_mean

FILES = "tests/*_test.yaml"

# Keys that a case inherits from its suite.
_SHARED: dict[str, tuple[type, ...]] = {
    "values": (list,),
    "set": (dict,),
    "template": (str,),
    "templates": (list,),
    "document": (str,),
    "documentIndex": (int,),
    "documentSelector": (dict,),
    "release": (dict,),
    "capabilities": (dict,),
    "chart": (dict,),
    "files": (dict,),
    "objects": (list,),
    "kubernetesProvider": (dict,),
    "install": (dict, bool),
    "skip": (dict, bool, str),
}
_SUITE: dict[str, tuple[type, ...]] = {"suite": (str,), "tests": (list,), **_SHARED}
_CASE: dict[str, tuple[type, ...]] = {"it": (str,), "asserts": (list,), **_SHARED}
_RELEASE: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "namespace": (str,),
    "revision": (int,),
    "upgrade": (bool,),
}
_CAPABILITIES: dict[str, tuple[type, ...]] = {
    "pveVersion": (str, int, float),
    "kubeVersion": (str, int, float),
    "majorVersion": (str, int),
    "minorVersion": (str, int),
    "apiVersions": (list,),
}
_CHART: dict[str, tuple[type, ...]] = {"version": (str,), "appVersion": (str, int, float)}
_INSTALL: dict[str, tuple[type, ...]] = {
    "from": (str,),
    "upgrades": (list,),
    "rollback": (bool,),
    "uninstall": (bool,),
    "tests": (bool,),
    "allowPrivileged": (list, str),
    "allowDestroy": (list, str),
    "before": (list,),
    "ci": (bool,),
}
_UPGRADE: dict[str, tuple[type, ...]] = {"values": (list,), "set": (dict,), "asserts": (list,)}
_PICKS = ("template", "templates", "document", "documentIndex", "documentSelector")
_NAMES = {dict: "a map", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}


@dataclass(frozen=True)
class Upgrade:
    """A step of a life: the same chart with these values on top of those before."""

    values: tuple[ValueFlag, ...]
    asserts: tuple[Assertion, ...] = ()


@dataclass(frozen=True)
class Life:
    """What a release goes through on a simulator: installed (``origin``: an older chart first, upgraded to this one),
    upgraded, rolled back to what it was, removed. ``before`` are manifests that have to be there first; ``tests``
    runs the release's own tests after each step."""

    origin: str = ""
    upgrades: tuple[Upgrade, ...] = ()
    rollback: bool = True
    uninstall: bool = True
    tests: bool = False
    allow_privileged: tuple[str, ...] = ()
    allow_destroy: tuple[str, ...] = ()
    before: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Case:
    """One test: the chart with these values must come to what ``asserts`` says. ``where`` is its place in the file;
    ``files`` are what the chart has besides, by path; ``templates`` are patterns of what it looks at, none for all."""

    title: str
    where: str
    asserts: tuple[Assertion, ...]
    values: tuple[ValueFlag, ...] = ()
    release: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    chart: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    objects: tuple[Mapping[str, Any], ...] = ()
    templates: tuple[str, ...] = ()
    life: Life | None = None
    # Why it is not run; None where it is.
    skip: str | None = None
    # Why it cannot be run.
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Suite:
    title: str
    file: str
    cases: tuple[Case, ...]


def files(paths: Sequence[str], pattern: str = FILES) -> list[str]:
    """Which of a chart's files are suites."""
    return sorted(path for path in paths if fnmatchcase(path, pattern) and "/__snapshot__/" not in path)


def read(text: str, *, path: str, shown: str, sources: Mapping[str, bytes], lenient: bool = False) -> list[Suite]:
    """The suites of a file, one each document. ``path`` is its path in the chart, ``shown`` stands for it in messages;
    ``sources`` are the chart's files, for values files. Raises InvalidError with all problems; with ``lenient`` those
    of a case are the case's own, so that others run."""
    problems: list[Problem] = []
    suites = []
    for document in load_all(text, file=shown):
        if document.data is not None:
            suites.append(_Reader(document, path, shown, sources, problems).suite(lenient=lenient))
    if problems:
        raise InvalidError(f"{shown}: not a valid test suite", problems)
    return suites


class _Reader:
    def __init__(
        self, document: Document, path: str, shown: str, sources: Mapping[str, bytes], problems: list[Problem]
    ) -> None:
        self.document = document
        self.path = path
        self.shown = shown
        self.sources = sources
        self.problems = problems

    def at(self, path: Path_) -> str:
        mark = self.document.marks.nearest(path)
        return f"{self.shown}:{mark.line}"

    def bad(self, path: Path_, what: str, hint: str = "") -> None:
        self.problems.append(Problem(self.at(path), what, hint))

    def checked(self, data: Any, path: Path_, shape: Mapping[str, tuple[type, ...]], noun: str) -> dict[str, Any]:
        """The keys of a map that are known and of the right type; the others are problems."""
        if not isinstance(data, dict):
            self.bad(path, f"{noun} is a map")
            return {}
        found = {}
        for key, value in data.items():
            types = shape.get(key)
            if types is None:
                hint = did_you_mean(key, shape, "known are " + ", ".join(shape))
                self.bad((*path, key), f"unknown key {key!r} in {noun}", hint)
            elif value is None:
                continue
            elif not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                wanted = " or ".join(dict.fromkeys(_NAMES[one] for one in types))
                self.bad((*path, key), f"{key} is {wanted}")
            else:
                found[key] = value
        return found

    # -- suites and cases --------------------------------------------------------------------------------------

    def suite(self, *, lenient: bool) -> Suite:
        data = self.checked(self.document.data, (), _SUITE, "a suite")
        title = data.get("suite") or posixpath.basename(self.path)
        shared = {key: data[key] for key in _SHARED if key in data}
        cases: list[Case] = []
        if "tests" not in data:
            if not shared.get("install"):
                self.bad((), "a suite has tests", "or install: true, for a release on a simulator")
            else:
                cases += self.cases({"it": "lives"}, (), shared)
        for index, item in enumerate(data.get("tests", ())):
            path: Path_ = ("tests", index)
            known = len(self.problems)
            found = self.cases(self.checked(item, path, _CASE, "a test"), path, shared)
            for case in list(found):
                cases.append(replace(case, problems=tuple(self.problems[known:])) if lenient else case)
            if lenient:
                del self.problems[known:]
        return Suite(title, self.path, tuple(_numbered(cases)))

    def cases(self, data: dict[str, Any], path: Path_, shared: Mapping[str, Any]) -> Iterator[Case]:
        """The case of an entry; with ``install: {ci: true}`` one for each of the chart's ci/ files."""
        title = data.get("it") or f"test {path[-1] if path else 1}"
        picks: dict[str, Any] = {}
        for keys in (_PICKS[:2], _PICKS[2:]):
            origin = data if any(key in data for key in keys) else shared
            picks |= {key: origin[key] for key in keys if key in origin}
        pick = self.pick(picks, path if any(key in data for key in _PICKS) else ())
        flags = (
            *(self.flags(shared, ()) if path else ()),
            *self.flags(data if path else shared, path),
        )
        install = data.get("install", shared.get("install"))
        at: Path_ = (*path, "install") if "install" in data else ("install",)
        life, ci = (None, False) if install in (None, False) else self.life(install, at, pick)
        asserts = self.asserts(data.get("asserts", []), (*path, "asserts"), pick)
        if not asserts and life is None:
            self.bad(path, f"{title!r} asserts nothing", "asserts: [...], or install: true")
        skip = data.get("skip", shared.get("skip"))
        whole: dict[str, Any] = {
            "where": self.at(path),
            "asserts": asserts,
            "release": self.part("release", _RELEASE, data, path, shared),
            "capabilities": self.part("capabilities", _CAPABILITIES, data, path, shared),
            "chart": self.part("chart", _CHART, data, path, shared),
            "files": {**self.texts(shared, ()), **(self.texts(data, path) if path else {})},
            "templates": tuple(dict.fromkeys((*self.pick(shared, ()).templates, *pick.templates))),
            "objects": tuple(self.manifests((*self.objects(shared), *self.objects(data if path else {})), path)),
            "life": life,
            "skip": _reason(skip),
        }
        if not ci:
            yield Case(title, values=flags, **whole)
            return
        found = sorted(name for name in self.sources if fnmatchcase(name, "ci/*.y*ml") and name.count("/") == 1)
        for name in found:
            flag = ValueFlag("file", name, self.sources[name].decode("utf-8", "replace"))
            yield Case(f"{title}: {name}", values=(flag, *flags), **whole)
        if not found:
            self.bad(at, "ci: true, but the chart has no values in ci/")

    def part(
        self,
        key: str,
        shape: Mapping[str, tuple[type, ...]],
        data: Mapping[str, Any],
        path: Path_,
        shared: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        """A map of the case laid over the suite's."""
        found: dict[str, Any] = {}
        if key in shared:
            found |= self.checked(shared[key], (key,), shape, key)
        if path and key in data:
            found |= self.checked(data[key], (*path, key), shape, key)
        return found

    def texts(self, data: Mapping[str, Any], path: Path_) -> dict[str, str]:
        """Files that the chart has for the test alone."""
        found = {}
        for name, text in data.get("files", {}).items():
            plain = posixpath.normpath(name) == name and not name.startswith(("/", "..", "charts/"))
            if not plain or name in ("Chart.yaml", "values.yaml", "values.schema.json") or not isinstance(text, str):
                hint = "for example: templates/probe.yaml: | and below it a template"
                self.bad((*path, "files", name), "files are texts by path, of templates mostly", hint)
            else:
                found[name] = text
        return found

    def objects(self, data: Mapping[str, Any]) -> Sequence[Any]:
        """What lookup finds; helm-unittest has it in its kubernetesProvider."""
        provided = data.get("kubernetesProvider", {}).get("objects") or ()
        return (*data.get("objects", ()), *(provided if isinstance(provided, list) else ()))

    def manifests(self, items: Sequence[Any], path: Path_) -> Iterator[Mapping[str, Any]]:
        for item in items:
            name = (item.get("metadata") or {}).get("name") if isinstance(item, dict) else None
            if isinstance(item, dict) and item.get("kind") and name:
                yield item
            else:
                self.bad(path, "objects are manifests: maps with kind, metadata.name and spec")

    # -- values ------------------------------------------------------------------------------------------------

    def flags(self, data: Mapping[str, Any], path: Path_) -> Iterator[ValueFlag]:
        """Values files, then ``set``: paths as --set has them, with any YAML for a value."""
        for index, name in enumerate(data.get("values", ())):
            content = self.file(str(name))
            if content is None:
                hint = "paths are relative to the suite's folder, or to the chart"
                self.bad((*path, "values", index), f"there is no values file {name!r}", hint)
            else:
                yield ValueFlag("file", str(name), content.decode("utf-8", "replace"))
        for key, value in (data.get("set") or {}).items():
            flag = ValueFlag("set-json", f"{key}={json.dumps(value)}")
            try:
                found = from_flags([flag])
            except PvehelmError:
                hint = "a.b, list[0].c, and a backslash before a dot that belongs to a name"
                self.bad((*path, "set", key), f"{key!r} is no path of a value", hint)
            else:
                # A map is laid over what the suite says, and takes nothing away.
                merged = isinstance(value, dict) and value and "[" not in key
                yield ValueFlag("file", f"set {key}", json.dumps(found)) if merged else flag

    def file(self, name: str) -> bytes | None:
        near = posixpath.normpath(posixpath.join(posixpath.dirname(self.path), name))
        return self.sources.get(near, self.sources.get(posixpath.normpath(name)))

    # -- assertions --------------------------------------------------------------------------------------------

    def pick(self, data: Mapping[str, Any], path: Path_) -> Pick:
        try:
            return parse_pick(data)
        except InvalidError as error:
            self.bad(path, error.message, error.hint)
            return Pick()

    def asserts(self, items: Sequence[Any], path: Path_, pick: Pick) -> tuple[Assertion, ...]:
        return tuple(found for i, item in enumerate(items) if (found := self.assertion(item, (*path, i), pick)))

    def assertion(self, item: Any, path: Path_, pick: Pick) -> Assertion | None:
        if not isinstance(item, dict):
            self.bad(path, "an assertion is a map, for example {isKind: {of: VirtualMachine}}")
            return None
        own = {key: item[key] for key in _PICKS if key in item}
        names = [key for key in item if key not in (*_PICKS, "not")]
        if len(names) != 1:
            told = ", ".join(names) or "none"
            self.bad(path, f"an assertion has one name, here {told}", "for example {isKind: {of: VirtualMachine}}")
            return None
        name = names[0]
        rule, negated = RULES.get(name), item.get("not") is True
        if rule is None and name.startswith("not") and name[3:4].isupper():
            rule, negated = RULES.get(name[3].lower() + name[4:]), not negated
        elif rule is None and name.startswith("isNot"):
            rule, negated = RULES.get("is" + name[5:]), not negated
        if rule is None:
            hint = did_you_mean(name, RULES, "there are " + ", ".join(RULES))
            self.bad((*path, name), f"there is no assertion {name!r}", hint)
            return None
        args = item[name] if item[name] is not None else {}
        if not isinstance(args, dict):
            self.bad((*path, name), f"{name} takes a map of {', '.join((*rule.needs, *rule.takes)) or 'nothing'}")
            return None
        for key in args:
            if key not in rule.needs and key not in rule.takes:
                known = (*rule.needs, *rule.takes)
                hint = did_you_mean(key, known, f"it takes {', '.join(known) or 'nothing'}")
                self.bad((*path, name, key), f"{name} has no {key!r}", hint)
        lacking = [key for key in rule.needs if key not in args]
        if lacking:
            self.bad((*path, name), f"{name} needs {', '.join(lacking)}")
            return None
        try:
            rule.check(args)
        except InvalidError as error:
            self.bad((*path, name), error.message, error.hint)
            return None
        found = self.pick({**own}, path).over(pick) if own else pick
        return Assertion(rule, args, negated, found, self.at((*path, name)), int(path[-1]) + 1)

    # -- lives -------------------------------------------------------------------------------------------------

    def life(self, data: Any, path: Path_, pick: Pick) -> tuple[Life, bool]:
        """The life, and whether it is to be lived with each of the ci/ files."""
        given = {} if data is True else self.checked(data, path, _INSTALL, "install")
        upgrades = []
        for index, item in enumerate(given.get("upgrades", ())):
            at = (*path, "upgrades", index)
            step = self.checked(item, at, _UPGRADE, "an upgrade")
            asserts = self.asserts(step.get("asserts", []), (*at, "asserts"), pick)
            upgrades.append(Upgrade(tuple(self.flags(step, at)), asserts))
        privileged, destroy = (_texts(given.get(key, ())) for key in ("allowPrivileged", "allowDestroy"))
        life = Life(
            given.get("from", ""),
            tuple(upgrades),
            given.get("rollback", True),
            given.get("uninstall", True),
            given.get("tests", False),
            privileged,
            destroy,
            tuple(self.manifests(given.get("before", ()), (*path, "before"))),
        )
        return life, given.get("ci", False)


def _numbered(cases: Sequence[Case]) -> Iterator[Case]:
    """Titles name snapshots and reports: the second of a name says so."""
    seen: dict[str, int] = {}
    for case in cases:
        count = seen[case.title] = seen.get(case.title, 0) + 1
        yield replace(case, title=f"{case.title} ({count})") if count > 1 else case


def _texts(given: str | Sequence[Any]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(map(str, given))


def _reason(skip: Any) -> str | None:
    if skip in (None, False):
        return None
    if isinstance(skip, dict):
        return str(skip.get("reason") or "skipped")
    return skip if isinstance(skip, str) else "skipped"

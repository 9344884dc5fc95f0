"""Conversion: a chart in Helm's own template syntax rewritten in Jinja2, as far as that goes by rule.

Text, names and layout stay. What has no counterpart is left to a person: it becomes a ``fail`` at its place, which says
so whenever it is rendered, and a finding with its line. ``convert_proof`` compares what both charts render.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pvehelm.chart.chart import Chart
from pvehelm.chart.convert_expression import Expressions
from pvehelm.chart.convert_known import ANYTHING, Open, Samples, collected
from pvehelm.chart.convert_template import Template
from pvehelm.chart.convert_uses import Uses
from pvehelm.chart.dialects import GOTPL, JINJA2, engines
from pvehelm.chart.functions.encoding import toYaml
from pvehelm.chart.gotpl.parser import ParseError, parse
from pvehelm.chart.gotpl.syntax import Tree, place
from pvehelm.chart.gotpl.templates import KNOWN
from pvehelm.chart.objects import FileSet
from pvehelm.chart.yaml import load_all
from pvehelm.errors import InvalidError, Problem

_ROUNDS = 8
_ACTION = re.compile(r"\{\{.*?\}\}", re.DOTALL)


@dataclass(frozen=True)
class Conversion:
    """``files`` are those of the converted chart by path; ``by_hand`` what is left, ``notes`` what to look at."""

    files: Mapping[str, bytes]
    templates: tuple[str, ...]
    by_hand: tuple[Problem, ...]
    notes: tuple[Problem, ...]


def convert(chart: Chart, files: Mapping[str, bytes], values: Sequence[Mapping[str, Any]]) -> Conversion:
    """The chart of ``files`` (all of its folder) with its templates, and those of its subcharts, in Jinja2.

    ``values`` are what its templates see, once for each values file to go by. Raises InvalidError where there is
    nothing to convert, and for templates that cannot be read.
    """
    found = engines(chart)
    if GOTPL not in found:
        hint = "--engine gotpl says that a chart which names no engine is written in Helm's syntax"
        raise InvalidError(f"{chart.name} is not written in Helm's template syntax", hint=hint)
    work = _Work()
    order = iter(found)
    made = work.chart(chart, dict(files), [dict(one) for one in values], order)
    work.finish()
    return Conversion(
        made(), tuple(sorted(work.done)), tuple(work.unique(work.by_hand)), tuple(work.unique(work.notes))
    )


def _of_others(action: str) -> bool:
    """Whether an action is none that tpl could read, in whatever text: of Argo or Prometheus, for one."""
    try:
        parse("", action, KNOWN)
    except ParseError as error:
        return error.message.startswith('function "') and error.message.endswith("not defined")
    return False


_ADDED = re.compile(r'\bset\s+[$.]\s+"(\w+)"')
_REMOVED = re.compile(r'\bunset\s+\S+\s+"(\w+)"')


class _Work:
    """One conversion: all templates of the tree see each other's definitions, so they are read in rounds."""

    def __init__(self) -> None:
        self.sources: dict[str, str] = {}
        self.trees: dict[str, dict[str, Tree]] = {}
        self.values: dict[str, Samples] = {}
        #: Files of library charts, which see the values of whoever includes them.
        self.libraries: set[str] = set()
        #: The chart of each file, and its path in there.
        self.places: dict[str, tuple[str, str]] = {}
        self.done: dict[str, str] = {}
        self.by_hand: list[Problem] = []
        self.notes: list[Problem] = []
        self.seen: dict[str, Samples] = {}
        self.uses = Uses()

    def chart(self, chart: Chart, files: dict[str, bytes], values: list[dict[str, Any]], order: Any) -> Any:
        """Enters a chart and its subcharts; what comes back makes its files once all is converted."""
        engine = next(order)
        if engine == GOTPL:
            for path, source in chart.templates.items():
                self.sources[chart.file(path)] = source
                self.values[chart.file(path)] = collected(values) or (Open(),)
                self.places[chart.file(path)] = (chart.path, path)
                if chart.metadata.type == "library":
                    self.libraries.add(chart.file(path))
        below = []
        for sub in chart.dependencies:
            seen = [one.get(sub.name) for one in values]
            own = [one for one in seen if isinstance(one, dict)]
            below.append((sub, self.chart(sub, dict(sub.raw), own, order)))

        def made() -> dict[str, bytes]:
            out = dict(files)
            for sub, make in below:
                folder = sub.path.removeprefix(chart.path).lstrip("/")
                for path in [path for path in out if path == folder or path.startswith(f"{folder}/")]:
                    del out[path]
                folder = f"charts/{sub.metadata.name}" if folder.endswith(".tgz") else folder
                out |= {f"{folder}/{path}": content for path, content in make().items()}
            if engine == GOTPL:
                out |= {
                    path: self.done[chart.file(path)].encode("utf-8", "surrogateescape") for path in chart.templates
                }
                out["Chart.yaml"] = _named(out["Chart.yaml"].decode("utf-8-sig")).encode()
                if self.calls_tpl():
                    for path in filter(_of_values, list(out)):
                        out[path] = self.texts(chart, path, out[path].decode("utf-8-sig"), values).encode()
                out |= self.read_files(chart, out)
            return out

        return made

    def finish(self) -> None:
        self.read()
        users = collected(one for path, found in self.values.items() if path not in self.libraries for one in found)
        if users:
            self.values.update(dict.fromkeys(self.libraries, users))
        own = dict(self.values)
        added, removed = (
            frozenset(name for source in self.sources.values() for name in pattern.findall(source))
            for pattern in (_ADDED, _REMOVED)
        )
        self.uses = Uses(added=added, removed=removed)
        for round_ in range(_ROUNDS):
            whole, before = self.uses.whole, self.uses.next()
            for path, seers in self.users().items():
                self.values[path] = collected((*own[path], *(one for seer in seers for one in own[seer])))
            self.uses, self.by_hand, self.notes = self.uses.next(), [], []
            self.uses.prepared = self.prepared()
            for path, source in self.sources.items():
                exact = any(path.endswith(f"/templates{end}") for end in whole)
                self.done[path] = self.converted(path, source, self.trees[path], exact=exact)
            seen = {name: collected(found) or ANYTHING for name, found in self.uses.calls.items()}
            if _same(seen, self.seen) and whole == self.uses.whole and self.uses.next() == before and round_:
                break
            self.seen = seen

    def users(self) -> dict[str, list[str]]:
        """The files whose values are seen in those that define what they include."""
        found: dict[str, set[str]] = {}
        for name, home in self.uses.homes.items():
            found.setdefault(home, set()).add(name)
        return {home: sorted(self.uses.calling(names) & self.places.keys()) for home, names in found.items()}

    def prepared(self) -> dict[str, tuple[str, ...]]:
        """The files that do not replace the values, after others of their chart that did: Helm begins with the deepest
        ones, and ends with the first of the alphabet."""
        shown = {path: place for path, place in self.places.items() if not _silent(path) and path not in self.libraries}
        order = sorted(shown, key=lambda path: (shown[path][1].count("/"), shown[path][1]), reverse=True)
        made, before = {}, dict[str, tuple[str, ...]]()
        for path in order:
            chart, within = shown[path]
            if path in self.uses.replacing:
                before[chart] = (*before.get(chart, ()), within.removeprefix("templates"))
            elif chart in before:
                made[path] = before[chart]
        return made

    def read(self) -> None:
        problems = []
        for path, source in self.sources.items():
            try:
                self.trees[path] = parse(path, source, KNOWN)
            except ParseError as error:
                problems.append(Problem(f"{path}:{error.line}", error.message))
        if problems:
            raise InvalidError("the templates cannot be read", problems)

    def converted(self, path: str, source: str, trees: Mapping[str, Tree], *, dot: str = "root", **layout: bool) -> str:
        def told(kept: list[Problem], where: Any, what: str, hint: str) -> None:
            line, column = place(source, getattr(where, "pos", 0))
            kept.append(Problem(f"{path}:{line}:{column + 1}", f"{what}: {where}"[:300], hint))

        expressions = Expressions(
            self.values[path],
            lambda node, what, hint: told(self.by_hand, node, what, hint),
            lambda node, what, hint: told(self.notes, node, what, hint),
            self.uses,
            lambda text: self.literal(path, text),
            path,
        )
        return Template(source, dict(trees), expressions, self.seen, dot).converted(silent=_silent(path), **layout)

    def calls_tpl(self) -> bool:
        return any(re.search(r"\btpl\b", source) for source in self.sources.values())

    def literal(self, path: str, text: str) -> str:
        """A text within a template: rewritten where it is a template itself."""
        if not self.calls_tpl():
            return text
        before = len(self.by_hand)
        try:
            return self.converted(path, text, parse(path, text, KNOWN), dot="_", exact=True)
        except ParseError:
            return text
        finally:
            self.by_hand[before:] = [one._replace(where=path) for one in self.by_hand[before:]]

    def read_files(self, chart: Chart, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """The chart's files that tpl is given, rewritten."""
        found = FileSet(chart.files)
        named = {path for pattern in self.uses.texts for path in (*found.Glob(pattern), pattern) if path in files}
        made = {}
        for path in sorted(named):
            file = chart.file(path)
            self.values[file] = next((self.values[chart.file(one)] for one in chart.templates), ANYTHING)
            self.sources[file] = files[path].decode("utf-8", "surrogateescape")
            try:
                trees = parse(file, self.sources[file], KNOWN)
            except ParseError:
                continue
            shown = self.converted(file, self.sources[file], trees, dot="_", exact=True)
            made[path] = shown.encode("utf-8", "surrogateescape")
        return made

    def texts(self, chart: Chart, path: str, text: str, values: list[dict[str, Any]]) -> str:
        """A values file whose texts are templates for ``tpl``, rewritten where it stays the same YAML."""
        file = chart.file(path)
        if "{{" not in text:
            return text
        self.values[file] = collected(values) or (Open(),)
        kept: list[str] = []

        def hidden(found: re.Match[str]) -> str:
            kept.append(found[0])
            return f"#\0{len(kept) - 1}\0"

        whole = self.text(file, re.sub(r"(?m)^[ \t]*#.*$", hidden, text))
        if whole is not None:
            return re.sub("#\0(\\d+)\0", lambda found: kept[int(found[1])], whole)
        out, at = [], 0
        for start, end in _scalars(text):
            out += [text[at:start], self.scalar(file, text, start, end)]
            at = end
        return "".join([*out, text[at:]])

    def scalar(self, file: str, text: str, start: int, end: int) -> str:
        """One value of a values file, in its style."""
        raw = text[start:end]
        if raw[0] == '"':
            with contextlib.suppress(ValueError):
                plain = json.loads(raw)
                shown = self.literal(file, plain)
                if shown != plain:
                    return json.dumps(shown, ensure_ascii=False)
        shown_ = self.text(file, raw)
        if shown_ is not None:
            return shown_
        return _ACTION.sub(lambda found: self.single(file, text, start + found.start(), found[0]), raw)

    def text(self, file: str, text: str) -> str | None:
        """Text with templates in it, rewritten; None where that is no mechanical matter."""
        before, notes = len(self.by_hand), len(self.notes)
        try:
            shown = self.converted(file, text, parse(file, text, KNOWN), dot="_", texts=True)
            same = _outline(shown) == _outline(text)
        except (ParseError, InvalidError):
            same = False
        failed = len(self.by_hand) > before
        del self.by_hand[before:], self.notes[notes:]
        return shown if same and not failed else None

    def single(self, file: str, text: str, at: int, action: str) -> str:
        """One action of a value that cannot be rewritten as a whole."""
        if _of_others(action):
            return action
        shown = self.text(file, action)
        if shown is None or _marks(shown) != _marks(action):
            where = f"{file}:{text.count(chr(10), 0, at) + 1}"
            hint = "write it in Jinja2, with the quotes that YAML asks for there"
            self.by_hand.append(Problem(where, f"a value that may be a template for tpl: {action}"[:300], hint))
            return action
        return shown

    def unique(self, problems: list[Problem]) -> list[Problem]:
        def order(problem: Problem) -> tuple[str, list[int]]:
            file, *numbers = problem.where.split(":")
            return file, [int(number) for number in numbers if number.isdecimal()]

        return sorted(dict.fromkeys(problems), key=order)


def _scalars(text: str) -> list[tuple[int, int]]:
    """Where the values of a YAML text stand that have templates in them."""
    import yaml

    with contextlib.suppress(yaml.YAMLError):
        found = [one for one in yaml.parse(text, yaml.SafeLoader) if isinstance(one, yaml.ScalarEvent)]
        marks = [(one.start_mark, one.end_mark) for one in found if "{{" in one.value]
        return [(start.index, end.index) for start, end in marks if start and end]
    return []


def _outline(text: str) -> Any:
    """What stands in a YAML text beside the templates in it. Raises InvalidError."""

    def outline(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: outline(item) for key, item in value.items()}
        if isinstance(value, list):
            return [outline(item) for item in value]
        return "{{" if isinstance(value, str) and ("{{" in value or "{%" in value) else value

    return [outline(one.data) for one in load_all(re.sub("#\0\\d+\0", "#", text), lines=False)]


def _same(one: Mapping[str, Samples], other: Mapping[str, Samples]) -> bool:
    """Whether named templates were called with the same; literal maps are made anew in each round."""
    return one.keys() == other.keys() and all(_shape(one[name]) == _shape(other[name]) for name in one)


def _shape(samples: Samples) -> list[Any]:
    return [sorted(map(str, one)) if isinstance(one, dict) else type(one) for one in samples]


def _marks(text: str) -> list[str]:
    return re.findall(r"[\"'\\\n]|: |\s#", text)


def _silent(path: str) -> bool:
    """Whether a file holds nothing but definitions."""
    return path.rpartition("/")[2].startswith("_")


def _of_values(path: str) -> bool:
    return path == "values.yaml" or re.fullmatch(r"ci/[^/]+\.ya?ml", path) is not None


def _named(text: str) -> str:
    """Chart.yaml with the engine in it."""
    changed, count = re.subn(r"(?m)^engine:.*$", f"engine: {JINJA2}", text)
    changed = changed if count else f"{text.rstrip()}\nengine: {JINJA2}\n"
    with contextlib.suppress(InvalidError):
        if load_all(changed, lines=False)[0].data.get("engine") == JINJA2:
            return changed
    # Written in one pair of braces.
    return str(toYaml({**load_all(text, lines=False)[0].data, "engine": JINJA2})) + "\n"

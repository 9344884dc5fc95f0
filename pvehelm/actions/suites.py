"""chart test: the suites of a chart, case by case, rendered here or lived through on a simulator."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import InvalidError, Problem, PvehelmError

if TYPE_CHECKING:
    from pvehelm.actions.lives import Stage
    from pvehelm.chart.chart import Chart
    from pvehelm.chart.render import Rendered
    from pvehelm.chart.suites import Case, Suite
    from pvehelm.chart.views import View

#: The chart that another version names: ``git:REF`` or a version; None where there is none yet.
Previous = Callable[[str], "Chart | None"]


@dataclass(frozen=True)
class Report:
    """How a case went: ``phase`` is Succeeded, Failed or Skipped; ``messages`` say why. Times in seconds since the
    epoch."""

    suite: str
    test: str
    where: str
    phase: str
    started: float
    completed: float
    messages: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "messages": list(self.messages)}


@dataclass(frozen=True)
class Tested:
    """The reports of all cases, and the snapshot files that are to be written: path in the chart -> text, None where
    a file is to be removed."""

    reports: tuple[Report, ...]
    snapshots: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        return any(report.phase == "Failed" for report in self.reports)


@dataclass(frozen=True)
class Choice:
    """Which suites and cases are run, and how. ``titles`` are parts of titles; ``lives`` False leaves out what needs a
    simulator, ``renders`` False what does not. ``origin`` is an older version that every chart is upgraded from."""

    pattern: str = ""
    titles: tuple[str, ...] = ()
    renders: bool = True
    lives: bool = True
    update: bool = False
    origin: str = ""
    pve_version: str = ""

    def takes(self, suite: Suite, case: Case) -> bool:
        if not (self.lives if case.life else self.renders):
            return False
        return not self.titles or any(part.lower() in f"{suite.title} {case.title}".lower() for part in self.titles)


@action("local", "chart-test")
async def run(
    chart: Chart,
    sources: Mapping[str, bytes],
    choice: Choice | None = None,
    *,
    stage: Stage | None = None,
    previous: Previous | None = None,
) -> Tested:
    """Test a chart by the suites in its tests/ folder.

    ``sources`` are the chart's files by path, its tests among them; ``stage`` opens simulators for the cases that live.
    Raises InvalidError for suites that can't be read, all of their problems at once.
    """
    from pvehelm.chart import snapshots

    choice = choice or Choice()
    reports: list[Report] = []
    kept: dict[str, str | None] = {}
    for path, found in read(chart, sources, choice).items():
        place = snapshots.place(path)
        text = sources.get(place, b"").decode("utf-8", "replace")
        shots = snapshots.Snapshots(text, file=chart.file(place), update=choice.update)
        bench = Bench(chart, choice.pve_version, helms=_of_helm(chart, sources))
        for suite in found:
            for case in suite.cases:
                if choice.takes(suite, case):
                    reports.append(await _case(bench, suite, case, shots, stage, previous))
        # Snapshots of cases that did not run are not known to be idle.
        if choice.update and not choice.titles and choice.renders and choice.lives and shots.text() != text:
            kept[place] = shots.text() or None
        elif choice.update and shots.seen:
            shots.seen = {**shots.known, **shots.seen}
            kept[place] = shots.text()
    return Tested(tuple(reports), kept)


def read(chart: Chart, sources: Mapping[str, bytes], choice: Choice) -> dict[str, list[Suite]]:
    """The suites of a chart by file. Raises InvalidError with the problems of all files."""
    from pvehelm.chart import suites

    lenient = _of_helm(chart, sources)
    found: dict[str, list[Suite]] = {}
    problems: list[Problem] = []
    for path in suites.files(list(sources), choice.pattern or suites.FILES):
        shown = chart.file(path)
        try:
            text = sources[path].decode("utf-8-sig")
            found[path] = suites.read(text, path=path, shown=shown, sources=sources, lenient=lenient)
        except UnicodeDecodeError:
            problems.append(Problem(shown, "the file is not UTF-8 text"))
        except InvalidError as error:
            problems += error.problems
    if problems:
        raise InvalidError(f"{chart.name}: test suites that can't be read", problems)
    if choice.origin:
        life = suites.Life(choice.origin, rollback=False)
        case = suites.Case(f"upgrades from {choice.origin}", chart.path, (), life=life)
        found[f"({choice.origin})"] = [suites.Suite("upgrade", "", (case,))]
    return found


def _of_helm(chart: Chart, sources: Mapping[str, bytes]) -> bool:
    """Whether a chart is one of Helm's, which names no engine: its suites are helm-unittest's."""
    from pvehelm.chart.dialects import GOTPL
    from pvehelm.chart.yaml import load_all

    if chart.metadata.engine != GOTPL:
        return False
    found = load_all(sources.get("Chart.yaml", b"").decode("utf-8-sig", "replace"), lines=False)
    return not (found and isinstance(found[0].data, dict) and found[0].data.get("engine"))


async def _case(
    bench: Bench, suite: Suite, case: Case, shots: Any, stage: Stage | None, previous: Previous | None
) -> Report:
    started = time.time()

    def report(phase: str, *messages: str) -> Report:
        return Report(suite.title, case.title, case.where, phase, started, time.time(), messages)

    if case.skip is not None:
        return report("Skipped", case.skip)
    if case.problems:
        return report("Failed", *map(str, case.problems))

    def snapshot(number: int, text: str) -> str:
        return str(shots.compare(case.title, number, text))

    try:
        if case.life is None:
            messages = list(bench.failures(case, snapshot))
        else:
            from pvehelm.actions.lives import Skipped, live

            if stage is None:
                return report("Skipped", "there is no simulator to live on")
            try:
                messages = await live(bench.chart_of(case), case, stage, previous, snapshot, bench.version)
            except Skipped as why:
                return report("Skipped", str(why))
    except PvehelmError as error:
        from pvehelm.chart.views import explained

        messages = [error.message, *(explained(error) if error.problems else ())]
    return report("Failed" if messages else "Succeeded", *messages)


class Bench:
    """A chart and what it was rendered to, by what it was rendered with.

    ``helms``: the chart is Helm's own, and its suites were written for helm-unittest, whose release is RELEASE-NAME.
    """

    def __init__(self, chart: Chart, version: str = "", *, helms: bool = False) -> None:
        self.chart = chart
        self.version = version
        self.helms = helms
        self.names = ("RELEASE-NAME", "NAMESPACE") if helms else ("release-name", "default")
        self._made: dict[str, Any] = {}

    def chart_of(self, case: Case) -> Chart:
        """The chart with the version and the files that the case gives it; with templates a library is a chart, too."""
        if not case.chart and not case.files:
            return self.chart
        data = self.chart.metadata
        version, app = case.chart.get("version", data.version), case.chart.get("appVersion", data.app_version)
        templates = {path: text for path, text in case.files.items() if path.startswith("templates/")}
        files = {path: text.encode() for path, text in case.files.items() if path not in templates}
        kind = "application" if templates else data.type
        return self.chart._replace(
            metadata=data._replace(version=version, app_version=str(app), type=kind),
            templates={**self.chart.templates, **templates},
            files={**self.chart.files, **files},
        )

    def failures(self, case: Case, snapshot: Callable[[int, str], str]) -> Iterator[str]:
        """What is not as the case says, with the line of each assertion."""
        view = replace(self.view(case), snapshot=snapshot)
        expected = any(one.rule.name == "failedTemplate" and not one.negated for one in case.asserts)
        if view.errors is not None and not expected:
            yield from (f"the chart can't be rendered: {error}" for error in view.errors)
            return
        for assertion in case.asserts:
            for message in assertion.failures(view):
                yield f"{assertion.where}: {assertion.rule.name}: {message}"

    def view(self, case: Case) -> View:
        """What the case's chart comes to."""
        parts = (
            case.values,
            dict(case.release),
            dict(case.capabilities),
            dict(case.chart),
            dict(case.files),
            case.objects,
        )
        wanted = {*case.templates, *(name for one in case.asserts for name in one.pick.templates)}
        key = repr((*parts, sorted(wanted)))
        if key not in self._made:
            self._made[key] = self._view(case)
        made: View = self._made[key]
        return made

    def _view(self, case: Case) -> View:
        from pvehelm.api.kinds import Kinds
        from pvehelm.api.schema import Schema
        from pvehelm.chart.views import View, explained
        from pvehelm.release.validity import require_valid

        chart = self.chart_of(case)
        templates = tuple(_templates(chart))
        try:
            made = self._least(chart, case)
            require_valid(Kinds.load(Schema.load(self._version(case))), made.resources)
        except InvalidError as error:
            found = self._without_broken(chart, case, error)
            if found is None:
                return View(templates=templates, errors=explained(error))
            made = found
        except PvehelmError as error:
            return View(templates=templates, errors=explained(error))

        def invalid(version: str) -> Sequence[str]:
            try:
                require_valid(Kinds.load(Schema.load(version or self._version(case))), made.resources)
            except InvalidError as error:
                return explained(error)
            return ()

        return replace(_shown(chart, made), templates=templates, invalid=invalid)

    def _version(self, case: Case) -> str:
        return str(case.capabilities.get("pveVersion", self.version))

    def _least(self, chart: Chart, case: Case) -> Rendered:
        """The chart of a case; of Helm's charts only the templates it looks at, unless those need others."""
        wanted = {*case.templates, *(pattern for one in case.asserts for pattern in one.pick.templates)}
        if not self.helms or not wanted or not all(one.pick.templates for one in case.asserts):
            return self._rendered(chart, case)
        try:
            return self._rendered(_narrowed(chart, wanted, ""), case)
        except InvalidError:
            with contextlib.suppress(InvalidError):
                return self._rendered(chart, case)
            raise

    def _without_broken(self, chart: Chart, case: Case, error: InvalidError) -> Rendered | None:
        """The chart without the templates that fail, where a case looks at none of those."""
        wanted = [pattern for one in case.asserts for pattern in one.pick.templates]
        if not wanted or not all(one.pick.templates for one in case.asserts):
            return None
        from pvehelm.chart.views import matches

        prefix = f"{chart.name}/"
        broken = {problem.where.partition(":")[0].removeprefix(prefix) for problem in error.problems}
        if not broken or not broken <= chart.templates.keys():
            return None
        if any(matches(name, pattern) for name in broken for pattern in wanted):
            return None
        kept = {name: text for name, text in chart.templates.items() if name not in broken}
        try:
            return self._rendered(chart._replace(templates=kept), case)
        except InvalidError:
            return None

    def _rendered(self, chart: Chart, case: Case) -> Rendered:
        from pvehelm.actions.charts import prepare, rendered, shown_values
        from pvehelm.api.kinds import Kinds
        from pvehelm.api.schema import Schema
        from pvehelm.chart.render import ReleaseInfo
        from pvehelm.release.generated import Placeholders

        release, given = case.release, case.capabilities
        upgrade = bool(release.get("upgrade", False))
        info = ReleaseInfo(
            release.get("name", self.names[0]),
            release.get("namespace", self.names[1]),
            release.get("revision", 2 if upgrade else 1),
            not upgrade,
            upgrade,
        )
        version = self._version(case)
        schema = Schema.load(version)
        major, minor = given.get("majorVersion"), str(given.get("minorVersion") or 0).rstrip("+")
        kube = str(given.get("kubeVersion") or (f"{major}.{minor}" if major is not None else ""))
        there = {f"{one['kind']}/{one['metadata']['name']}": one.get("spec") or {} for one in case.objects}
        return rendered(
            shown_values(prepare(chart, case.values)),
            info,
            version or schema.release,
            Kinds.load(schema).names(),
            lookup=lambda kind, name: there.get(f"{kind}/{name}", {}),
            keep=Placeholders(),
            foreign=True,
            kubernetes=(kube, tuple(map(str, given.get("apiVersions", ())))),
        )


def _narrowed(chart: Chart, wanted: Collection[str], prefix: str) -> Chart:
    """The chart with the templates that are wanted, and those that only define something."""
    from pvehelm.chart.views import matches

    def kept(name: str) -> bool:
        defining = name.rpartition("/")[2].startswith("_") or not name.endswith((".yaml", ".yml", ".txt"))
        return defining or any(matches(f"{prefix}{name}", pattern) for pattern in wanted)

    below = tuple(_narrowed(sub, wanted, f"{prefix}charts/{sub.name}/") for sub in chart.dependencies)
    templates = {name: text for name, text in chart.templates.items() if kept(name)}
    return chart._replace(templates=templates, dependencies=below)


def _templates(chart: Chart, prefix: str = "") -> Iterator[str]:
    yield from (f"{prefix}{name}" for name in chart.templates)
    for sub in chart.dependencies:
        yield from _templates(sub, f"{prefix}charts/{sub.name}/")


def _shown(chart: Chart, made: Rendered) -> View:
    from pvehelm.chart.dialects import GOTPL
    from pvehelm.chart.stream import cut
    from pvehelm.chart.views import Shown, View
    from pvehelm.chart.yaml import load_all

    documents: list[Shown] = []
    texts = {}
    for path, text in sorted(made.files.items()):
        name = path.removeprefix(f"{chart.name}/")
        texts[name] = text
        # Where Helm sees a line of dashes YAML may see none: `---apiVersion: v1`.
        parts = cut(text) if chart.metadata.engine == GOTPL else [text]
        read = (one.data for part in parts for one in load_all(part, file=path, lines=False))
        found = [data for data in read if data not in (None, {})]
        documents += [Shown(name, index, data) for index, data in enumerate(found)]
    texts["templates/NOTES.txt"] = made.notes
    return View(tuple(documents), texts)

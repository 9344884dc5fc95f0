"""Rendering: a chart and its values become resources.

The templates are rendered in a limited child process (``sandbox``), what they print is parsed here, and every problem
of every template comes back at once, at the line of the *template*.

How functions and filters take their arguments (``functions``): called as functions in Sprig's order,
``default("x", value)``; as filters the piped value is Sprig's last argument, ``value | default("x")``.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from pvehelm.chart import secrets
from pvehelm.chart.dialects import GOTPL, engines, undecided
from pvehelm.chart.objects import Capabilities, ReleaseInfo
from pvehelm.chart.rendering import Job, Rendering, preload
from pvehelm.chart.sandbox import DEFAULT, Answer, Ask, Limits, serve
from pvehelm.errors import InvalidError, Problem

if TYPE_CHECKING:
    from typing import Unpack

    from pvehelm.chart.chart import Chart
    from pvehelm.chart.manifest import Foreign, Resource
    from pvehelm.chart.yaml import Path_

__all__ = ["DEFAULT", "Capabilities", "Limits", "ReleaseInfo", "Rendered", "Texts", "Ways", "render", "texts"]


class Texts(NamedTuple):
    """What templates print: ``files`` by full template name (``web-app/templates/vm.yaml``), and the text of NOTES.txt.

    ``used`` is what templates asked for of the values (``usage.Usage.as_data``), where that was wanted.
    """

    files: Mapping[str, str]
    notes: str
    used: Any = None


class Rendered(NamedTuple):
    """What a chart becomes: as :class:`Texts`, with the resources in the files; ``foreign`` are documents of other
    programs."""

    files: Mapping[str, str]
    resources: tuple[Resource, ...]
    notes: str
    used: Any = None
    foreign: tuple[Foreign, ...] = ()


class Ways(TypedDict, total=False):
    """How to render.

    ``lookup(kind, name)`` answers the function of that name with the object or None; ``keep`` answers what random
    functions ask (``kept``); ``watch`` notes which values are used. References to secrets that stand in
    ``user_values`` stay references in the result; any other is refused. ``sandbox=False`` renders in this process, for
    trusted charts. With ``subchart_notes`` the notes of subcharts come after the chart's own. ``owner`` names whose the
    release is: a child that has rendered one owner's is never given another's of the same name. ``meanwhile`` is done
    in this process while a child renders, and not at all where none does.

    In charts of Helm's own syntax ``strict`` makes missing values errors, and ``lint`` lets ``fail`` and ``required``
    pass, as with Helm; whole numbers at ``set_paths`` are int64 there, as those of ``--set``, all others float64.
    """

    lookup: Callable[[str, str], Any] | None
    keep: Callable[[Any], Any] | None
    watch: bool
    limits: Limits
    sandbox: bool
    user_values: Mapping[str, Any] | None
    strict: bool
    lint: bool
    set_paths: Collection[Path_]
    subchart_notes: bool
    owner: str
    meanwhile: Callable[[], object] | None


def texts(
    chart: Chart, values: dict[str, Any], release: ReleaseInfo, capabilities: Capabilities, **ways: Unpack[Ways]
) -> Texts:
    """What the templates of ``chart`` print with ``values``, which are coalesced already, as Helm's own libraries give
    it: whether the texts are manifests, or YAML at all, nobody has looked. That takes several times as long.

    Raises InvalidError with all problems of all templates.
    """
    made = _Made(chart, values, release, capabilities, places=False, **ways)
    made.check()
    return Texts(made.shown, made.notes, made.output["used"])


def render(
    chart: Chart,
    values: dict[str, Any],
    release: ReleaseInfo,
    capabilities: Capabilities,
    *,
    foreign: bool = True,
    **ways: Unpack[Ways],
) -> Rendered:
    """As :func:`texts`, with the resources in what the templates print.

    Documents of other programs (Kubernetes') are let be; without ``foreign`` they are problems. Raises InvalidError
    with all problems of all templates and of all manifests.
    """
    made = _Made(chart, values, release, capabilities, places=True, **ways)
    from pvehelm.chart import printed

    others: list[Foreign] | None = [] if foreign else None
    helms = made.by_dialect.get(GOTPL, ())
    resources = printed.resources(made.files, made.lines, made.sources, made.tokens, made.problems, others, helms)
    made.check()
    others = sorted(others or (), key=lambda one: (one.source.file, one.source.line))
    return Rendered(made.shown, tuple(resources), made.notes, made.output["used"], tuple(others))


class _Made:
    """What came out of one rendering: files, and what was found wrong."""

    def __init__(
        self,
        chart: Chart,
        values: dict[str, Any],
        release: ReleaseInfo,
        capabilities: Capabilities,
        *,
        places: bool,
        lookup: Callable[[str, str], Any] | None = None,
        keep: Callable[[Any], Any] | None = None,
        watch: bool = False,
        limits: Limits = DEFAULT,
        sandbox: bool = True,
        user_values: Mapping[str, Any] | None = None,
        strict: bool = False,
        lint: bool = False,
        set_paths: Collection[Path_] = (),
        subchart_notes: bool = False,
        owner: str = "",
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        from pvehelm.chart.dependencies import enabled

        self.name = chart.path or chart.name
        self.tree = enabled(chart, values)
        self.tokens = secrets.Tokens()
        hidden = self.tokens.hide(values, dict(user_values or {}))
        problems = _default_references(self.tree)
        if problems:
            raise InvalidError(f"{self.name}: the chart refers to secrets of its own", problems)
        job = Job(
            hidden,
            release,
            capabilities,
            self.tokens,
            watch,
            tuple(set_paths),
            (lookup is not None, keep is not None),
            strict,
            lint,
            subchart_notes,
            places,
        )

        def answer(question: Any) -> Any:
            if question[0] == "lookup":
                return lookup(question[1], question[2]) if lookup else None
            return keep(question) if keep else None

        self.by_dialect = _sources(self.tree)
        if sandbox:
            self.output, self.files, _ = _sandboxed(chart, self.by_dialect, job, limits, answer, owner, meanwhile)
        else:
            self.output, self.files, later = _trusted(chart, limits)(job, answer)
            if later is not None:
                later()
        # References made by sensitive(...) were made in the child.
        self.tokens.references[:] = self.output["references"]
        self.problems = [Problem(*problem) for problem in self.output["problems"]]

    @functools.cached_property
    def sources(self) -> dict[str, str]:
        """The templates by their full names."""
        return {name: text for found in self.by_dialect.values() for name, text in found.items()}

    @property
    def lines(self) -> dict[str, Any]:
        """The places in templates that the lines of files come from."""
        lines: dict[str, Any] = self.output["lines"]
        for name in self.by_dialect.get(GOTPL, ()):
            if name in lines:
                lines[name] = _traced(name, self.sources[name], self.files[name], lines[name])
        return lines

    def check(self) -> None:
        """Raises InvalidError where there are problems."""
        if self.problems:
            # A loop makes the same mistake many times; it is told once.
            problems = sorted(dict.fromkeys(self.problems), key=_order)
            hint = _ENGINE_HINT if undecided(self.tree) else ""
            raise InvalidError(f"{self.name}: {_count(problems)} in the templates", problems, hint=hint)

    @property
    def shown(self) -> dict[str, str]:
        return {name: self.tokens.shown(text) for name, text in self.files.items()}

    @property
    def notes(self) -> str:
        return self.tokens.shown(self.output["notes"])


_ENGINE_HINT = (
    "the chart is written in Helm's own template syntax but names no engine: give --engine gotpl, "
    "or write 'engine: gotpl' into its Chart.yaml"
)


def _sandboxed(
    chart: Chart,
    sources: Mapping[str, Any],
    job: Job,
    limits: Limits,
    answer: Ask,
    owner: str,
    meanwhile: Callable[[], object] | None,
) -> Answer:
    """A rendering in a child, which takes what was compiled before from the cache."""
    from pvehelm.chart import cache

    place = cache.directory()

    @functools.cache
    def entry(dialect: str) -> str:
        return cache.key(sources[dialect], dialect) + ("-strict" if job.strict and dialect == GOTPL else "")

    def make() -> Rendering:
        return Rendering(chart, limits, {dialect: cache.load(place, entry(dialect)) for dialect in sources})

    name = f"{owner} {job.release.namespace}/{job.release.name}"
    ready = functools.partial(preload, tuple(sources))

    def keep(later: bytes) -> None:
        for dialect, codes in _apart(later).items():
            if dialect in sources:
                cache.save(place, entry(dialect), codes)

    def aside() -> None:
        if job.places:
            from pvehelm.chart import printed

            printed.prepare()
        if meanwhile is not None:
            meanwhile()

    return serve(make, job, limits, answer=answer, of=chart, name=name, ready=ready, meanwhile=aside, keep=keep)


def _apart(data: bytes) -> dict[str, bytes]:
    """What ``_together`` put together; nothing where it is something else, for a child can say what it likes."""
    head, _, rest = data.partition(b"\n")
    try:
        sizes = json.loads(head)
    except ValueError:
        return {}
    found, at = {}, 0
    for dialect, size in sizes.items() if isinstance(sizes, dict) else ():
        if type(size) is not int or size < 0:
            return {}
        found[dialect] = rest[at : at + size]
        at += size
    return found


def _trusted(chart: Chart, limits: Limits) -> Rendering:
    """A rendering in this process."""
    for one in _kept:
        if one.chart is chart and one.limits == limits:
            return one
    _kept.append(Rendering(chart, limits))
    del _kept[:-_MOST_KEPT]
    return _kept[-1]


_kept: list[Rendering] = []
_MOST_KEPT = 4


def _sources(tree: Chart) -> dict[str, dict[str, str]]:
    """The templates of each dialect by their full names."""
    found: dict[str, dict[str, str]] = {}
    order = iter(engines(tree))

    def enter(one: Chart, prefix: str) -> None:
        found.setdefault(next(order), {}).update({f"{prefix}/{path}": text for path, text in one.templates.items()})
        for sub in one.dependencies:
            enter(sub, f"{prefix}/charts/{sub.name}")

    enter(tree, tree.name)
    return found


def _traced(name: str, source: str, text: str, marks: list[int]) -> Any:
    """The places of a file's lines, of which the engine of Helm's syntax gave marks."""
    from pvehelm.chart.gotpl.places import Places

    return Places(name, source, text, marks)


def _default_references(chart: Chart) -> list[Problem]:
    problems = []
    for path, reference in secrets.foreign(chart.values):
        mark = None
        for end in range(len(path), 0, -1):
            mark = chart.values_marks.get(path[:end])
            if mark is not None:
                break
        where = chart.file("values.yaml") + (f":{mark.line}:{mark.column}" if mark else "")
        problems.append(secrets.chart_problem(where, reference))
    return problems + [problem for sub in chart.dependencies for problem in _default_references(sub)]


def _order(problem: Problem) -> tuple[str, list[int]]:
    file, *numbers = problem.where.split(":")
    return file, [int(number) for number in numbers if number.isdecimal()]


def _count(problems: list[Problem]) -> str:
    return "1 problem" if len(problems) == 1 else f"{len(problems)} problems"

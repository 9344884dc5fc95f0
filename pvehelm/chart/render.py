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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pvehelm.chart import cache, secrets
from pvehelm.chart.chart import Chart
from pvehelm.chart.dialects import GOTPL, JINJA2, engines, undecided
from pvehelm.chart.objects import Capabilities, ReleaseInfo, Scope, scopes
from pvehelm.chart.sandbox import DEFAULT, Answer, Ask, Limits, serve
from pvehelm.chart.yaml import Path_
from pvehelm.errors import InvalidError, Problem

if TYPE_CHECKING:
    from pvehelm.chart.manifest import Foreign, Resource
    from pvehelm.chart.usage import Usage

__all__ = ["DEFAULT", "Capabilities", "Limits", "ReleaseInfo", "Rendered", "render"]


@dataclass(frozen=True)
class Rendered:
    """What a chart becomes: ``files`` by full template name (``web-app/templates/vm.yaml``), the resources in them,
    and the text of NOTES.txt. ``used`` is what templates asked for of the values (``usage.Usage.as_data``), where that
    was wanted; ``foreign`` are documents of other programs."""

    files: Mapping[str, str]
    resources: tuple[Resource, ...]
    notes: str
    used: Any = None
    foreign: tuple[Foreign, ...] = ()


def render(
    chart: Chart,
    values: dict[str, Any],
    release: ReleaseInfo,
    capabilities: Capabilities,
    *,
    lookup: Callable[[str, str], Any] | None = None,
    keep: Callable[[Any], Any] | None = None,
    watch: bool = False,
    limits: Limits = DEFAULT,
    sandbox: bool = True,
    user_values: Mapping[str, Any] | None = None,
    strict: bool = False,
    lint: bool = False,
    set_paths: Collection[Path_] = (),
    foreign: bool = True,
    subchart_notes: bool = False,
) -> Rendered:
    """Renders ``chart`` with ``values``, which are coalesced already.

    Documents of other programs (Kubernetes') are let be; without ``foreign`` they are problems. With
    ``subchart_notes`` the notes of subcharts come after the chart's own.

    In charts of Helm's own syntax ``strict`` makes missing values errors, and ``lint`` lets ``fail`` and ``required``
    pass, as with Helm; whole numbers at ``set_paths`` are int64 there, as those of ``--set``, all others float64.

    ``lookup(kind, name)`` answers the function of that name with the object or None; ``keep`` answers what random
    functions ask (``kept``); ``watch`` notes which values are used. References to secrets that stand
    in ``user_values`` stay references in the result; any other is refused. ``sandbox=False`` renders in this process,
    for trusted charts. Raises InvalidError with all problems of all templates.
    """
    from pvehelm.chart.dependencies import enabled

    tree = enabled(chart, values)
    tokens = secrets.Tokens()
    hidden = tokens.hide(values, dict(user_values or {}))
    problems = _default_references(tree)
    if problems:
        raise InvalidError(f"{chart.path or chart.name}: the chart refers to secrets of its own", problems)
    answered = (lookup is not None, keep is not None)
    job = _Job(
        hidden,
        release,
        capabilities,
        tokens,
        watch,
        tuple(set_paths),
        answered,
        strict=strict,
        lint=lint,
        subchart_notes=subchart_notes,
    )

    def answer(question: Any) -> Any:
        if question[0] == "lookup":
            return lookup(question[1], question[2]) if lookup else None
        return keep(question) if keep else None

    sources = _sources(tree)
    if sandbox:
        output, files, _ = _sandboxed(chart, sources, job, limits, answer)
    else:
        output, files, later = _trusted(chart, limits)(job, answer)
        if later is not None:
            later()
    from pvehelm.chart import printed

    texts = {name: text for found in sources.values() for name, text in found.items()}
    for name in sources.get(GOTPL, ()):
        if name in output["lines"]:
            output["lines"][name] = _traced(name, texts[name], files[name], output["lines"][name])
    # References made by sensitive(...) were made in the child.
    tokens.references[:] = output["references"]
    problems = [Problem(*problem) for problem in output["problems"]]
    others: list[Foreign] | None = [] if foreign else None
    helms = sources.get(GOTPL, ())
    resources = printed.resources(files, output["lines"], texts, tokens, problems, others, helms)
    if problems:
        # A loop makes the same mistake many times; it is told once.
        problems = sorted(dict.fromkeys(problems), key=_order)
        hint = _ENGINE_HINT if undecided(tree) else ""
        raise InvalidError(f"{chart.path or chart.name}: {_count(problems)} in the templates", problems, hint=hint)
    files = {name: tokens.shown(text) for name, text in files.items()}
    notes = tokens.shown(output["notes"])
    others = sorted(others or (), key=lambda one: (one.source.file, one.source.line))
    return Rendered(files, tuple(resources), notes, output["used"], tuple(others))


_ENGINE_HINT = (
    "the chart is written in Helm's own template syntax but names no engine: give --engine gotpl, "
    "or write 'engine: gotpl' into its Chart.yaml"
)


_NOTHING: Mapping[str, bytes] = {}


@dataclass(frozen=True, slots=True)
class _Job:
    """What changes from one rendering of a chart to the next."""

    values: dict[str, Any]
    release: ReleaseInfo
    capabilities: Capabilities
    tokens: secrets.Tokens
    watch: bool
    set_paths: Collection[Path_]
    #: Whether there is somebody who answers ``lookup``, and what random functions ask.
    answered: tuple[bool, bool]
    strict: bool
    lint: bool
    subchart_notes: bool


class _Rendering:
    """Renders one chart, again and again: what its templates compiled to stays."""

    def __init__(self, chart: Chart, limits: Limits, codes: Mapping[str, bytes] = _NOTHING) -> None:
        self.chart = chart
        self.limits = limits
        self.first = dict(codes)
        self.codes: dict[tuple[Any, ...], bytes] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # As it is sent to a child: what only this process needs of the chart stays here.
        return _Rendering, (_bare(self.chart), self.limits, self.first)

    def __call__(self, job: _Job, asked: Ask) -> Answer:
        """What was made besides the files, and the files by name; later the compiled code, where there is new."""
        from pvehelm.chart.dependencies import enabled

        def ask(question: Any) -> Any:
            # A chart may ask hundreds of times, and each is a way to another process and back.
            return asked(question) if job.answered[question[0] != "lookup"] else None

        usage = None
        if job.watch:
            from pvehelm.chart.usage import Usage

            usage = Usage()
        made: list[tuple[str, tuple[Any, ...], Any]] = []
        tree = enabled(self.chart, job.values)
        dialects = engines(tree)
        wholes = _scopes(set(dialects), tree, job, usage)
        for dialect, whole in wholes:
            found = [scope for scope, of in zip(whole, dialects, strict=True) if of == dialect]
            # Which templates there are depends on the values; what they say does not.
            key = (dialect, job.strict, *(scope.prefix for scope in found))
            codes = self.codes.get(key) or self.first.pop(dialect, b"")
            made.append((dialect, key, _engine(dialect, found, job, self.limits, ask, codes)))
            self.codes[key] = codes
        if len(made) > 1:
            from pvehelm.chart.neighbour import introduce

            introduce(made[0][2], made[1][2], [*zip(wholes[0][1], wholes[1][1], strict=True)])
        if usage is not None:
            usage.forget()
        files: dict[str, str] = {}
        output: dict[str, Any] = {"lines": {}, "notes": "", "problems": []}
        notes: dict[str, str] = {}
        for _, _, engine in made:
            done = engine.render(job.subchart_notes)
            files.update(done["files"])
            output["lines"].update(done["lines"])
            notes.update(done["notes"])
        # The chart's own first, as it is the least deep.
        texts = [notes[name] for name in sorted(notes, key=lambda name: (name.count("/"), name))]
        output["notes"] = "\n".join(filter(None, texts))
        for *_, engine in made:
            output["problems"] += [
                [problem.where, job.tokens.shown(problem.what), job.tokens.shown(problem.hint)]
                for problem in engine.trouble.problems
            ]
        output["used"] = usage.as_data() if usage is not None else None
        output["references"] = job.tokens.references

        def later() -> bytes:
            codes = {}
            for dialect, key, engine in made:
                if packed := engine.packed():
                    self.codes[key] = codes[dialect] = packed
            return _together(codes)

        return Answer(output, files, later if any(engine.compiled for *_, engine in made) else None)


def _engine(dialect: str, found: list[Scope], job: _Job, limits: Limits, ask: Ask, codes: bytes) -> Any:
    if dialect == GOTPL:
        from pvehelm.chart.gotpl import engine as gotpl

        return gotpl.Engine(found, job.tokens, limits, ask, codes, strict=job.strict, lint=job.lint)
    from pvehelm.chart.engine import Engine

    return Engine(found, job.tokens, limits, ask, codes)


def _bare(chart: Chart) -> Chart:
    """A chart with what templates can see of it."""
    return replace(
        chart,
        values_text="",
        values_marks={},
        schema=None,
        schema_text="",
        raw={},
        warnings=(),
        dependencies=tuple(map(_bare, chart.dependencies)),
    )


def _sandboxed(chart: Chart, sources: Mapping[str, Any], job: _Job, limits: Limits, answer: Ask) -> Answer:
    """A rendering in a child, which takes what was compiled before from the cache."""
    place = cache.directory()

    @functools.cache
    def entry(dialect: str) -> str:
        return cache.key(sources[dialect], dialect) + ("-strict" if job.strict and dialect == GOTPL else "")

    def make() -> _Rendering:
        return _Rendering(chart, limits, {dialect: cache.load(place, entry(dialect)) for dialect in sources})

    name = f"{job.release.namespace}/{job.release.name}"
    ready = functools.partial(preload, tuple(sources))

    def keep(later: bytes) -> None:
        for dialect, codes in _apart(later).items():
            if dialect in sources:
                cache.save(place, entry(dialect), codes)

    return serve(make, job, limits, answer=answer, of=chart, name=name, ready=ready, meanwhile=_reader, keep=keep)


def _together(codes: Mapping[str, bytes]) -> bytes:
    """Code by dialect as one text of bytes: the sizes as JSON, and after a line's end the code."""
    return (
        json.dumps({dialect: len(code) for dialect, code in codes.items()}).encode() + b"\n" + b"".join(codes.values())
    )


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


def _trusted(chart: Chart, limits: Limits) -> _Rendering:
    """A rendering in this process."""
    for one in _kept:
        if one.chart is chart and one.limits == limits:
            return one
    _kept.append(_Rendering(chart, limits))
    del _kept[:-_MOST_KEPT]
    return _kept[-1]


_kept: list[_Rendering] = []
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


def _scopes(dialects: set[str], tree: Chart, job: _Job, usage: Usage | None) -> list[tuple[str, list[Scope]]]:
    """The whole tree as each of the dialects sees it."""
    found = []
    if JINJA2 in dialects:
        values = usage.watched(job.values) if usage else job.values
        found.append((JINJA2, scopes(tree, values, job.release, job.capabilities)))
    if GOTPL in dialects:
        from pvehelm.chart.gotpl import objects

        whole = objects.scopes(tree, job.values, job.release, job.capabilities, usage, job.set_paths)
        found.append((GOTPL, whole))
    return found


def preload(dialects: Collection[str], rehearse: bool) -> None:
    """Imports what rendering charts of ``dialects`` always needs; to ``rehearse`` is to render a small one as well."""
    import pickle

    from pvehelm.chart import dependencies, emitter, kubernetes

    assert all((pickle, dependencies, emitter, kubernetes))
    if GOTPL in dialects:
        import pvehelm.chart.gotpl.engine
        import pvehelm.chart.gotpl.objects  # noqa: F401
    if JINJA2 in dialects:
        from pvehelm.chart import engine

        assert engine
    if rehearse:
        _rehearse(dialects)


def _rehearse(dialects: Collection[str]) -> None:
    import pickle

    from pvehelm.chart import rehearsal

    job = _Job(
        rehearsal.VALUES,
        ReleaseInfo("release", "space"),
        Capabilities(),
        secrets.Tokens(),
        watch=False,
        set_paths=(),
        answered=(False, False),
        strict=False,
        lint=False,
        subchart_notes=False,
    )
    for dialect in dialects:
        work = _Rendering(rehearsal.chart(dialect), DEFAULT)
        work, job = pickle.loads(pickle.dumps((work, job), pickle.HIGHEST_PROTOCOL))
        json.dumps(work(job, lambda question: None).data).encode()


def _reader() -> None:
    from pvehelm.chart import printed

    assert printed


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
    return file, [int(number) for number in numbers if number.isdigit()]


def _count(problems: list[Problem]) -> str:
    return "1 problem" if len(problems) == 1 else f"{len(problems)} problems"

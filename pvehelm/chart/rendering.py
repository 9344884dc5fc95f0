"""The rendering: what is done in the child process, where the templates of a chart are rendered again and again.

A child that is started early (``spare``) imports this and nothing of what its parent needs to read charts.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pvehelm.chart.cell import DEFAULT, Answer, Ask, Limits
from pvehelm.chart.dialects import GOTPL, JINJA2, engines

if TYPE_CHECKING:
    from pvehelm.chart.model import Chart
    from pvehelm.chart.objects import Capabilities, ReleaseInfo, Scope
    from pvehelm.chart.secrets import Tokens
    from pvehelm.chart.usage import Usage
    from pvehelm.chart.yaml import Path_

_NOTHING: Mapping[str, bytes] = {}
_WORD = re.compile(r"\w+")


class Job(NamedTuple):
    """What changes from one rendering of a chart to the next."""

    values: dict[str, Any]
    release: ReleaseInfo
    capabilities: Capabilities
    tokens: Tokens
    watch: bool
    set_paths: Collection[Path_]
    #: Whether there is somebody who answers ``lookup``, and what random functions ask.
    answered: tuple[bool, bool]
    strict: bool
    lint: bool
    subchart_notes: bool
    #: Whether it is asked which places of the templates the lines of the files come from.
    places: bool


class Rendering:
    """Renders one chart, again and again: what its templates compiled to stays."""

    def __init__(self, chart: Chart, limits: Limits, codes: Mapping[str, bytes] = _NOTHING) -> None:
        self.chart = chart
        self.limits = limits
        self.first = dict(codes)
        #: What engines made of templates, which they can begin with the next time.
        self.codes: dict[tuple[Any, ...], Any] = {}

    @functools.cached_property
    def words(self) -> frozenset[str]:
        """Every word of the chart's templates and default values. What has none but these its user has not written."""
        return frozenset(_words_of(self.chart))

    def __reduce__(self) -> tuple[Any, ...]:
        # As it is sent to a child: what only this process needs of the chart stays here.
        return Rendering, (_bare(self.chart), self.limits, self.first)

    def __call__(self, job: Job, asked: Ask) -> Answer:
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
            engine = _engine(dialect, found, job, self.limits, ask, codes)
            made.append((dialect, key, engine))
            self.codes[key] = engine.reusable() if dialect == GOTPL else codes
        if len(made) > 1:
            from pvehelm.chart.neighbour import introduce

            introduce(made[0][2], made[1][2], [*zip(wholes[0][1], wholes[1][1], strict=True)])
        if usage is not None:
            usage.forget()
        files: dict[str, str] = {}
        output: dict[str, Any] = {"lines": {}, "notes": "", "problems": []}
        notes: dict[str, str] = {}
        for _, _, engine in made:
            done = engine.render(job.subchart_notes, places=job.places)
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

        def own(text: str) -> bool:
            said = {*_WORD.findall(text)}
            return said <= self.words | {*_WORD.findall(f"{job.release.name} {job.release.namespace}")}

        def later() -> bytes:
            codes = {}
            for dialect, key, engine in made:
                if packed := engine.packed(own):
                    codes[dialect] = packed
                    if dialect != GOTPL:
                        self.codes[key] = packed
            return _together(codes)

        return Answer(output, files, later if any(engine.compiled for *_, engine in made) else None)


def _words(data: Any) -> Iterator[str]:
    """The words of values, and of their keys."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _WORD.findall(str(key))
            yield from _words(value)
    elif isinstance(data, list):
        for item in data:
            yield from _words(item)
    else:
        yield from _WORD.findall(str(data))


def _words_of(chart: Chart) -> Iterator[str]:
    for text in chart.templates.values():
        yield from _WORD.findall(text)
    yield from _words(chart.values)
    for sub in chart.dependencies:
        yield from _words_of(sub)


def _engine(dialect: str, found: list[Scope], job: Job, limits: Limits, ask: Ask, codes: Any) -> Any:
    if dialect == GOTPL:
        from pvehelm.chart.gotpl import engine as gotpl

        return gotpl.Engine(found, job.tokens, limits, ask, codes, strict=job.strict, lint=job.lint)
    from pvehelm.chart.engine import Engine

    return Engine(found, job.tokens, limits, ask, codes)


def _bare(chart: Chart) -> Chart:
    """A chart with what templates can see of it."""
    return chart._replace(
        values_text="",
        values_marks={},
        schema=None,
        schema_text="",
        raw={},
        warnings=(),
        dependencies=tuple(map(_bare, chart.dependencies)),
    )


def _scopes(dialects: set[str], tree: Chart, job: Job, usage: Usage | None) -> list[tuple[str, list[Scope]]]:
    """The whole tree as each of the dialects sees it."""
    found = []
    if JINJA2 in dialects:
        from pvehelm.chart.objects import scopes

        values = usage.watched(job.values) if usage else job.values
        found.append((JINJA2, scopes(tree, values, job.release, job.capabilities)))
    if GOTPL in dialects:
        from pvehelm.chart.gotpl import objects

        whole = objects.scopes(tree, job.values, job.release, job.capabilities, usage, job.set_paths)
        found.append((GOTPL, whole))
    return found


def _together(codes: Mapping[str, bytes]) -> bytes:
    """Code by dialect as one text of bytes: the sizes as JSON, and after a line's end the code."""
    return (
        json.dumps({dialect: len(code) for dialect, code in codes.items()}).encode() + b"\n" + b"".join(codes.values())
    )


def preload(dialects: Collection[str], rehearse: bool) -> None:
    """Imports what rendering charts of ``dialects`` always needs; to ``rehearse`` is to render a small one as well."""
    from pvehelm.chart import dependencies, kubernetes, model, objects, secrets

    assert all((dependencies, kubernetes, model, objects, secrets))
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
    from pvehelm.chart.objects import Capabilities, ReleaseInfo
    from pvehelm.chart.secrets import Tokens

    job = Job(
        rehearsal.VALUES,
        ReleaseInfo("release", "space"),
        Capabilities(),
        Tokens(),
        watch=False,
        set_paths=(),
        answered=(False, False),
        strict=False,
        lint=False,
        subchart_notes=False,
        places=True,
    )
    for dialect in dialects:
        work = Rendering(rehearsal.chart(dialect), DEFAULT)
        work, job = pickle.loads(pickle.dumps((work, job), pickle.HIGHEST_PROTOCOL))
        json.dumps(work(job, lambda question: None).data).encode()

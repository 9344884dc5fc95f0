"""The layers of values: who says what about a value, from the innermost default to the last flag."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pvehelm.chart import strvals
from pvehelm.chart.chart import Chart
from pvehelm.chart.expression import steps_of
from pvehelm.chart.merging import Rules, joins, rules
from pvehelm.chart.plain import at
from pvehelm.chart.schema import redact_all
from pvehelm.chart.values import ValueFlag, coalesce, documents, enabled, for_chart, from_flags, overlay
from pvehelm.chart.yaml import Path_, dotted
from pvehelm.errors import NotFoundError, UsageError
from pvehelm.suggest import suggest


class Layer(NamedTuple):
    """Values of one source, as they stand in the whole; ``place(path)`` says where there, as ``file:line:column``."""

    values: Mapping[str, Any]
    place: Callable[[Path_], str]
    #: Whether the lists of this layer may add to those of the user's layers below; those of charts are added to anyway.
    adds: bool = False
    user: bool = True


class Said(NamedTuple):
    """What one layer says about a value. ``counts`` marks the last word (of joined lists: every word)."""

    path: str
    value: Any
    source: str
    counts: bool


def layers(
    chart: Chart, flags: Sequence[ValueFlag] = (), recorded: Mapping[str, Any] | None = None, history: str = ""
) -> list[Layer]:
    """All layers, lowest first: defaults of subcharts, of their parents, what these hand down, history, flags."""
    flags = for_chart(flags, chart)
    user = overlay(recorded or {}, from_flags(flags, rules(chart)))
    tree = enabled(chart, user, allow_missing=True)
    found = [*_of_charts(tree, ())]
    if recorded:
        found.append(Layer(recorded, _always(f"from history{history}")))
    for flag in flags:
        if flag.kind == "file":
            for document in documents(flag):
                found.append(Layer(document.data, _in_file(flag.text, document.marks), adds=True))
        else:
            found.append(_of_flag(flag))
    return found


def placed(found: Sequence[Layer]) -> Callable[[Path_], str]:
    """Where the last word about a path stands; "" where nobody says anything."""
    return lambda path: next((layer.place(path) for layer in reversed(found) if _has(layer.values, path)), "")


def explain(
    chart: Chart,
    path: str,
    flags: Sequence[ValueFlag] = (),
    recorded: Mapping[str, Any] | None = None,
    history: str = "",
) -> list[Said]:
    """What every layer says about the value at ``path``, lowest first; of a map, the last word about each leaf below.

    What the schema marks ``x-sensitive`` is hidden. What an item of a list is to which layers add (``merging``) is
    said by the words about the list. Raises NotFoundError where no layer says anything.
    """
    steps = steps_of(path)
    if not steps or dotted(steps).replace('"', "") == "":
        raise UsageError(f"--explain {path!r}: expected a path", hint="for example db.size or disks[0].storage")
    flags = for_chart(flags, chart)
    user = overlay(recorded or {}, from_flags(flags, rules(chart)))
    tree = enabled(chart, user, allow_missing=True)
    whole = coalesce(chart, user, allow_missing=True)
    shown = [layer._replace(values=redact_all(tree, layer.values)) for layer in layers(chart, flags, recorded, history)]
    final = at(whole, steps)
    given = rules(tree)
    if isinstance(final, dict) and final:
        return [said for leaf in leaves(redact_all(tree, whole), steps) for said in _said(shown, leaf, given)[-1:]]
    above = next((steps[:end] for end in range(1, len(steps) + 1) if joins(given, steps[:end])), ())
    if above and isinstance(at(whole, above), list) and _has(whole, steps):
        return _joined(shown, above, given)
    found = _said(shown, steps, given)
    if not found:
        hint = _meant(whole, steps)
        raise NotFoundError(f"nothing says anything about {path}", hint=hint)
    return found


def _said(shown: Sequence[Layer], steps: Path_, given: Rules) -> list[Said]:
    found = []
    for layer in shown:
        part = _speaks(layer.values, steps, given)
        if part:
            found.append(Said(dotted(part), at(layer.values, part), layer.place(part), False))
    return [said._replace(counts=index == len(found) - 1) for index, said in enumerate(found)]


def _joined(shown: Sequence[Layer], steps: Path_, given: Rules) -> list[Said]:
    """What the layers say about a list that they add to; those that count are added up."""
    found: list[Said] = []
    over: Layer | None = None
    done = False
    for layer in reversed(shown):
        if part := _speaks(layer.values, steps, given):
            value = at(layer.values, part)
            covered = over is not None and layer.user and not (over.adds and layer.adds)
            counts = isinstance(value, list) and not done and not covered
            found.append(Said(dotted(part), value, layer.place(part), counts))
            if counts:
                over = layer
                done = value[:1] == [None]
    return found[::-1]


def _speaks(values: Any, steps: Path_, given: Rules) -> Path_:
    """The part of a path at which a layer says something about its value: all of it, or what takes its place above."""
    if _has(values, steps):
        return steps
    for end in range(1, len(steps)):
        if not _has(values, steps[:end]):
            break
        value = at(values, steps[:end])
        # A map says nothing about what is not in it, and neither does a list that only adds to others.
        if not isinstance(value, dict | list) or (isinstance(value, list) and not joins(given, steps[:end])):
            return steps[:end]
    return ()


def _of_charts(chart: Chart, prefix: Path_) -> Iterator[Layer]:
    from pvehelm.chart.yaml import Marks

    for sub in chart.dependencies:
        yield from _of_charts(sub, (*prefix, sub.name))
    marks = chart.values_marks
    if isinstance(marks, Marks) and chart.values:
        inside = _in_file(chart.file("values.yaml"), marks)
        yield Layer(_below(prefix, chart.values), lambda path: inside(path[len(prefix) :]), user=False)
    for need in chart.metadata.dependencies:
        if need.values:
            file = chart.file("Chart.yaml")
            values = _below((*prefix, need.key), need.values)
            yield Layer(values, _always(f"{file}: values for {need.key}"), user=False)


def _of_flag(flag: ValueFlag) -> Layer:
    given = strvals.parse(flag.text, dialect=flag.kind, read=lambda _: flag.content or "")  # type: ignore[arg-type]
    # Not the flag's text: it may hold a secret.
    return Layer(given, lambda path: f"--{flag.kind} {dotted(path)}")


def _always(source: str) -> Callable[[Path_], str]:
    return lambda path: source


def _below(prefix: Path_, values: Mapping[str, Any]) -> dict[str, Any]:
    out: Any = dict(values)
    for step in reversed(prefix):
        out = {step: out}
    return dict(out)


def _in_file(file: str, marks: Any) -> Callable[[Path_], str]:
    def place(path: Path_) -> str:
        mark = marks.nearest(path)
        return f"{file}:{mark.line}:{mark.column}"

    return place


def _has(values: Any, steps: Path_) -> bool:
    for step in steps:
        if isinstance(values, dict) and step in values:
            values = values[str(step)]
        elif isinstance(values, list) and isinstance(step, int) and step < len(values):
            values = values[step]
        else:
            return False
    return True


def leaves(values: Any, steps: Path_) -> Iterator[Path_]:
    """The paths of what stands at and below ``steps`` and is no map."""
    value = at(values, steps)
    if isinstance(value, dict) and value:
        for key in value:
            yield from leaves(values, (*steps, key))
    else:
        yield steps


def _meant(whole: Mapping[str, Any], steps: Path_) -> str:
    for end in range(len(steps)):
        above = at(whole, steps[:end])
        if isinstance(above, dict) and steps[end] not in above:
            meant = suggest(str(steps[end]), list(above))
            known = ", ".join(list(above)[:12])
            return f"did you mean {dotted((*steps[:end], meant))}?" if meant else f"known there: {known or 'nothing'}"
    return ""

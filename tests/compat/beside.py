"""A chart rendered by Helm in process and by us, file by file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pvehelm.actions.charts import prepare
from pvehelm.chart.chart import Chart, load
from pvehelm.chart.dialects import with_engine
from pvehelm.chart.render import Capabilities, ReleaseInfo, render
from pvehelm.chart.values import ValueFlag
from pvehelm.errors import PvehelmError

#: A folder of charts, each with its dependencies in charts/; and one of value sets: CHART-FOLDER/SET.(yaml|json).
CHARTS, SETS = os.environ.get("PVEHELM_HELM_CHARTS", ""), os.environ.get("PVEHELM_HELM_VALUES", "")
NAME, NAMESPACE = "rel", "ns"
NOTES = "templates/NOTES.txt"


def charts() -> list[Path]:
    """The charts to compare."""
    return sorted(path.parent for path in Path(CHARTS).glob("*/Chart.yaml")) if CHARTS else []


def value_sets(chart: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Nothing, the chart's own ``ci/`` files, and those of ``PVEHELM_HELM_VALUES``."""
    yield "default", {}
    files = [*chart.glob("ci/*.y*ml"), *(Path(SETS, chart.name).glob("*.*") if SETS else ())]
    for file in sorted(files):
        text = file.read_text(encoding="utf-8")
        found = [json.loads(text)] if file.suffix == ".json" else [*yaml.load_all(text, yaml.CSafeLoader)]
        values, *more = [*found, None]
        if isinstance(values, dict) and not any(more) and file.stem != "default":
            yield file.stem, json.loads(json.dumps(values, default=str))


def digest(values: dict[str, Any]) -> str:
    """What a value set is recorded by."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def by_helm(chart: Path, values: dict[str, Any]) -> dict[str, str] | str:
    """Helm's files, or its error."""
    import helm_python

    # A rendering changes the loaded chart: its disabled dependencies are gone.
    try:
        loaded = helm_python.Chart.load(chart)
        try:
            files: dict[str, str] = loaded.render(values=values, name=NAME, namespace=NAMESPACE)
            return files
        finally:
            loaded.close()
    except helm_python.HelmError as error:
        return str(error)


def loaded(chart: Path) -> Chart | str:
    """The chart as we load it, or the error."""
    try:
        return with_engine(load(chart), "gotpl")
    except PvehelmError as error:
        return _told(error)


def by_us(chart: Chart, values: dict[str, Any]) -> dict[str, str] | str:
    """Our files, the notes of the chart among them, or the error."""
    try:
        prepared = prepare(chart, [ValueFlag("file", "values.json", json.dumps(values, ensure_ascii=False))])
        release = ReleaseInfo(NAME, NAMESPACE)
        made = render(prepared.chart, dict(prepared.values), release, Capabilities(), foreign=True)
    except PvehelmError as error:
        return _told(error)
    return {**made.files, f"{prepared.chart.name}/{NOTES}": made.notes}


def _told(error: PvehelmError) -> str:
    problems = getattr(error, "problems", ())
    return "\n".join([str(error), *(f"{problem.where}: {problem.what}" for problem in problems)])


class Outcome(NamedTuple):
    """``refused``: Helm refuses the values. ``different``: files that are not the same byte for byte, but those that
    Helm renders differently each time; ``error: ...`` or ``no error: ...`` where only one of us refuses."""

    refused: bool
    different: list[str]


def compared(chart: Path, ours: Chart | str, values: dict[str, Any]) -> Outcome:
    """What Helm and we make of a chart with these values; ``ours`` is the chart as we loaded it."""
    theirs, made = by_helm(chart, values), ours if isinstance(ours, str) else by_us(ours, values)
    if isinstance(theirs, str):
        return Outcome(True, [] if isinstance(made, str) else [f"no error: {theirs}"])
    if isinstance(made, str):
        return Outcome(False, [f"error: {made}"])
    # Helm prints the notes of the chart only, and so we keep no others.
    wanted = {name: theirs[name] for name in theirs if not name.endswith(NOTES) or name.count("/") == 2}
    made = {name: made[name] for name in made if name in wanted or not name.endswith(NOTES)}
    different = [name for name in sorted({*wanted, *made}) if wanted.get(name) != made.get(name)]
    if different:
        again = by_helm(chart, values)
        assert not isinstance(again, str)
        different = [name for name in different if theirs.get(name) == again.get(name)]
    return Outcome(False, different)

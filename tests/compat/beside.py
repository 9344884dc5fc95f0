"""A chart rendered by Helm in process and by us, file by file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
        values, *more = [*yaml.safe_load_all(file.read_text(encoding="utf-8")), None]
        if isinstance(values, dict) and not any(more) and file.stem != "default":
            yield file.stem, json.loads(json.dumps(values, default=str))


def digest(values: dict[str, Any]) -> str:
    """What a value set is recorded by."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def by_helm(chart: Path, values: dict[str, Any]) -> tuple[dict[str, str] | str, frozenset[str]]:
    """Helm's files (or its error), and those of them that it renders differently each time."""
    import helm_python

    found = []
    for _ in range(2):
        # A rendering changes the loaded chart: its disabled dependencies are gone.
        loaded = helm_python.Chart.load(chart)
        try:
            found.append(loaded.render(values=values, name=NAME, namespace=NAMESPACE))
        except helm_python.HelmError as error:
            return str(error), frozenset()
        finally:
            loaded.close()
    one, other = found
    return one, frozenset(name for name in one if one[name] != other.get(name))


def by_us(chart: Path | Chart, values: dict[str, Any]) -> dict[str, str] | str:
    """Our files, the notes of the chart among them, or the error."""
    try:
        loaded = with_engine(load(chart), "gotpl") if isinstance(chart, Path) else chart
        prepared = prepare(loaded, [ValueFlag("file", "values.json", json.dumps(values, ensure_ascii=False))])
        release = ReleaseInfo(NAME, NAMESPACE)
        made = render(prepared.chart, dict(prepared.values), release, Capabilities(), foreign=True)
    except PvehelmError as error:
        return "\n".join(
            [str(error), *(f"{problem.where}: {problem.what}" for problem in getattr(error, "problems", ()))]
        )
    return {**made.files, f"{prepared.chart.name}/{NOTES}": made.notes}


def differences(chart: Path, values: dict[str, Any]) -> list[str]:
    """Names of files that are not the same byte for byte; ``error`` and ``no error`` where only one of us fails."""
    theirs, unstable = by_helm(chart, values)
    ours = by_us(chart, values)
    if isinstance(theirs, str) or isinstance(ours, str):
        return (
            [] if type(theirs) is type(ours) else [f"error: {ours}" if isinstance(ours, str) else f"no error: {theirs}"]
        )
    # Helm prints the notes of the chart only, and so we keep no others.
    wanted = {name: theirs[name] for name in theirs if not name.endswith(NOTES) or name.count("/") == 2}
    ours = {name: ours[name] for name in ours if name in wanted or not name.endswith(NOTES)}
    return [name for name in sorted({*wanted, *ours} - unstable) if wanted.get(name) != ours.get(name)]

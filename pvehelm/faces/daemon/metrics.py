"""The metrics, in Prometheus' text format: so few that its client library would be more to read than this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

Labels = tuple[tuple[str, str], ...]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    kind: str
    help: str


METRICS = {
    "pvehelm_build_info": Metric("gauge", "The version, as a label."),
    "pvehelm_reconcile_total": Metric("counter", "Looks at releases, by what came of them."),
    "pvehelm_reconcile_seconds_total": Metric("counter", "Seconds spent on looks and repairs."),
    "pvehelm_releases": Metric("gauge", "Releases that are reconciled."),
    "pvehelm_release_drifted": Metric("gauge", "1 where a release differs from its deployed revision."),
    "pvehelm_release_differences": Metric("gauge", "Fields of a release that differ."),
    "pvehelm_release_failures": Metric("gauge", "Looks at a release in a row that failed or were refused."),
    "pvehelm_release_checked_timestamp_seconds": Metric("gauge", "When a release was looked at last."),
    "pvehelm_sync_commit_info": Metric("gauge", "The commit that a sync has applied, as a label."),
    "pvehelm_sync_bad": Metric("gauge", "1 where the newest commit of a sync could not be had or applied."),
    "pvehelm_webhooks_total": Metric("counter", "Webhooks, by event and by whether they arrived."),
    "pvehelm_loop_timestamp_seconds": Metric("gauge", "When the reconciler last looked what is due."),
}


class Metrics:
    """Counters and gauges by name and labels."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = {name: {} for name in METRICS}

    def add(self, name: str, value: float = 1.0, /, **labels: str) -> None:
        """Raise a counter."""
        series, key = self._values[name], tuple(sorted(labels.items()))
        series[key] = series.get(key, 0.0) + value

    def set(self, name: str, value: float, /, **labels: str) -> None:
        self._values[name][tuple(sorted(labels.items()))] = value

    def replace(self, name: str, rows: Iterable[tuple[Mapping[str, str], float]]) -> None:
        """Give a gauge these series and no others: what is gone is no longer shown."""
        self._values[name] = {tuple(sorted(labels.items())): value for labels, value in rows}

    def text(self) -> str:
        lines: list[str] = []
        for name, metric in METRICS.items():
            if self._values[name]:
                lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}"]
                lines += [f"{name}{_labels(labels)} {value:.15g}" for labels, value in self._values[name].items()]
        return "\n".join([*lines, ""])


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}" if labels else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

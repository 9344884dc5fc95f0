"""The repository holds the charts as they are, and its index says so."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from pvehelm.chart import chart
from tests.charts import repo
from tests.helpers import ROOT
from tests.release.lab import Lab


def contents(folder: Path) -> dict[str, bytes]:
    return {str(place.relative_to(folder)): place.read_bytes() for place in folder.rglob("*") if place.is_file()}


def test_rebuilding_changes_nothing(tmp_path: Path) -> None:
    rebuilt = repo.copy(tmp_path)
    repo.build(rebuilt)
    fresh, committed = contents(rebuilt), contents(repo.REPO)
    changed = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
    assert changed == [], "charts/ changed: run python -m tests.charts.repo and commit repo_index"


def test_the_index_lists_every_chart() -> None:
    index = yaml.safe_load((repo.REPO / "index.yaml").read_text())
    assert index["apiVersion"] == "v1"
    for place in (ROOT / "charts").glob("*/Chart.yaml"):
        definition = yaml.safe_load(place.read_text())
        (entry,) = [e for e in index["entries"][definition["name"]] if e["version"] == definition["version"]]
        packed = repo.REPO / entry["urls"][0]
        assert hashlib.sha256(packed.read_bytes()).hexdigest() == entry["digest"]
        assert chart.load(packed).digest == chart.load(place.parent).digest


def test_a_package_installs_as_its_folder_does(lab: Lab) -> None:
    (packed,) = repo.REPO.glob("web-app-*.tgz")
    lab.run("install", "web", str(packed))
    again = lab.run("upgrade", "web", str(ROOT / "charts/web-app"))
    assert "nothing to do" in again.text

"""The repository of first-party charts, rebuilt: ``python -m tests.charts.repo`` writes ``repo_index/``.

A chart whose package changed is packed again in place; packages of older versions stay. Times in the index stay with
the digests they belong to, so that building twice changes nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pvehelm.chart import chart, package, publishing
from tests.helpers import ROOT

REPO = ROOT / "repo_index"


def build(folder: Path) -> None:
    """Bring the repository in ``folder`` up to date with ``charts/``."""
    for place in sorted((ROOT / "charts").glob("*/Chart.yaml")):
        loaded = chart.load(place.parent)
        (folder / package.filename(loaded)).write_bytes(package.package(loaded))
    publishing.write_files(folder, publishing.index_files(folder))


def copy(folder: Path) -> Path:
    """A copy of the repository as it is committed."""
    return Path(shutil.copytree(REPO, folder / "repo_index"))


if __name__ == "__main__":
    build(REPO)

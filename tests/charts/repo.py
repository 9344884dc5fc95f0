"""The repository of first-party charts, rebuilt: ``python -m tests.charts.repo`` writes ``repo_index/``.

Before that it brings up to date what a chart holds of others: the library in ``charts/`` with its lock and the icon in
``Chart.yaml``. A chart whose package changed is packed again in place; packages of older
versions stay. Times in the index stay with the digests they belong to, so that building twice changes nothing.
"""

from __future__ import annotations

import base64
import re
import shutil
from pathlib import Path

from pvehelm.actions.repos import dependency_update
from pvehelm.chart import chart, package, publishing
from tests.helpers import ROOT

REPO = ROOT / "repo_index"
CHARTS = ROOT / "charts"
_ICON = re.compile(r"^icon: .*$", re.MULTILINE)


def build(folder: Path) -> None:
    """Bring the repository in ``folder`` up to date with ``charts/``."""
    for place in sorted(CHARTS.glob("*/Chart.yaml")):
        loaded = chart.load(place.parent)
        (folder / package.filename(loaded)).write_bytes(package.package(loaded))
    publishing.write_files(folder, publishing.index_files(folder))


def prepare(folder: Path) -> None:
    """Bring the chart in ``folder`` up to date with the library it uses and with its icon."""
    place = folder / "Chart.yaml"
    if (said := with_icon(place.read_text(), folder / "icon.svg")) != place.read_text():
        place.write_text(said)
    if not outdated(folder):
        return
    vendored = dependency_update(chart.load(folder), folder)
    for name in vendored.remove:
        (folder / name).unlink()
    for name, data in vendored.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)


def outdated(folder: Path) -> list[str]:
    """The dependencies whose package in ``charts/`` is not their folder's."""
    found = []
    for need in chart.load(folder).metadata.dependencies:
        library = chart.load(folder / need.repository.removeprefix("file://"))
        packed = folder / "charts" / package.filename(library)
        if not packed.is_file() or packed.read_bytes() != package.package(library):
            found.append(need.name)
    return found


def with_icon(text: str, icon: Path) -> str:
    """Chart.yaml with the icon as a ``data:`` URL, which needs no host."""
    url = "data:image/svg+xml;base64," + base64.b64encode(icon.read_bytes()).decode()
    return _ICON.sub(f"icon: {url}", text)


def copy(folder: Path) -> Path:
    """A copy of the repository as it is committed."""
    return Path(shutil.copytree(REPO, folder / "repo_index"))


if __name__ == "__main__":
    for one in sorted(CHARTS.glob("*/Chart.yaml")):
        prepare(one.parent)
    build(REPO)

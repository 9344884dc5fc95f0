"""The index of a folder of packages: Helm's format, and the same again when nothing changed."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml as pyyaml

from pvehelm.chart.chart import load
from pvehelm.chart.package import filename, package
from pvehelm.chart.repo import index
from pvehelm.errors import InvalidError, NotFoundError
from tests.chart.data import write

FIRST = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = datetime(2027, 1, 1, tzinfo=UTC)


def _add(repo: Path, work: Path, version: str, text: str = "", folder: str = "") -> Path:
    files = {
        "Chart.yaml": f"apiVersion: v2\nname: web\nversion: {version}\nengine: jinja2\nnot-a-field: 1\n",
        "README.md": text,
    }
    chart = load(write(work / version / (text or "web"), files))
    place = repo / folder / filename(chart)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(package(chart))
    return place


def test_entries(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    for version in ("1.2.0", "1.10.0", "1.10.0-rc.1"):
        place = _add(repo, tmp_path, version)
    _add(repo, tmp_path, "0.1.0", folder="old")
    text = index(repo, url="https://charts.example.org/", now=FIRST)
    data = pyyaml.safe_load(text)
    assert data["apiVersion"] == "v1"
    assert data["generated"] == "2026-01-02T03:04:05Z"
    entries = data["entries"]["web"]
    assert [entry["version"] for entry in entries] == ["1.10.0", "1.10.0-rc.1", "1.2.0", "0.1.0"]
    assert entries[1] == {
        "apiVersion": "v2",
        "name": "web",
        "version": "1.10.0-rc.1",
        "engine": "jinja2",
        "created": "2026-01-02T03:04:05Z",
        "digest": hashlib.sha256(place.read_bytes()).hexdigest(),
        "urls": ["https://charts.example.org/web-1.10.0-rc.1.tgz"],
    }
    assert entries[3]["urls"] == ["https://charts.example.org/old/web-0.1.0.tgz"]
    assert pyyaml.safe_load(index(repo))["entries"]["web"][2]["urls"] == ["web-1.2.0.tgz"]


def test_what_did_not_change_keeps_its_time(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    _add(repo, tmp_path, "1.0.0")
    changing = _add(repo, tmp_path, "2.0.0")
    first = index(repo, now=FIRST)
    (repo / "index.yaml").write_text(first)
    assert index(repo, now=LATER) == first
    assert index(repo, previous="", now=LATER) != first
    _add(repo, tmp_path, "3.0.0")
    _add(repo, tmp_path, "2.0.0", text="changed")
    later = pyyaml.safe_load(index(repo, now=LATER))
    assert later["generated"] == "2027-01-01T00:00:00Z"
    assert [entry["created"][:4] for entry in later["entries"]["web"]] == ["2027", "2027", "2026"]
    changing.unlink()
    assert [entry["version"] for entry in pyyaml.safe_load(index(repo))["entries"]["web"]] == ["3.0.0", "1.0.0"]


def test_every_broken_package_at_once(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    _add(repo, tmp_path, "1.0.0")
    _add(repo, tmp_path, "1.0.0", folder="copy")
    (repo / "broken.tgz").write_bytes(b"no")
    (repo / "empty.tgz").write_bytes(b"")
    with pytest.raises(InvalidError) as caught:
        index(repo)
    found = {problem.where.removeprefix(f"{repo}/"): problem.what for problem in caught.value.problems}
    assert set(found) == {"broken.tgz", "empty.tgz", "web-1.0.0.tgz"} or set(found) == {
        "broken.tgz",
        "empty.tgz",
        "copy/web-1.0.0.tgz",
    }


def test_indexes_and_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        index(tmp_path / "nothing")
    assert pyyaml.safe_load(index(tmp_path, now=FIRST)) == {
        "apiVersion": "v1",
        "entries": {},
        "generated": "2026-01-02T03:04:05Z",
    }
    for text in ("- a\n", "entries: [a]\n", "entries: {a: b}\n", "a: 1\na: 2\n"):
        (tmp_path / "index.yaml").write_text(text)
        with pytest.raises(InvalidError):
            index(tmp_path)

"""What a chart's YAML says is remembered until it changes, and is then what reading it again would give."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pvehelm.chart.chart import Chart, load
from pvehelm.chart.dialects import with_engine
from pvehelm.errors import InvalidError
from tests.chart.data import write

FILES: dict[str, str | bytes] = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\nkeywords: [a, 'b']\n",
    "values.yaml": "a: 1\nb: {c: [yes, 1.5, null, 'x: y', 0x10, 1_000]}\n\"d e\": |\n  text\n---\na: 2\nf: ü\n",
    "charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 0.1.0\n",
    "charts/sub/values.yaml": "a: &x {b: 1}\nc: *x\n",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PVEHELM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "documents"


def marks(chart: Chart) -> dict[object, object]:
    return dict(chart.values_marks)


@pytest.mark.parametrize("engine", ["", "gotpl"])
def test_it_says_the_same(home: Path, tmp_path: Path, engine: str) -> None:
    place = write(tmp_path / "web", FILES)
    first, again = (with_engine(load(place), engine) for _ in range(2))
    assert first == again
    assert repr(first.values) == repr(again.values)
    assert marks(first) == marks(again)
    assert marks(first.dependencies[0]) == marks(again.dependencies[0])
    assert all(entry.stat().st_mode & 0o077 == 0 for entry in (home, *home.iterdir()))


def test_nothing_that_reads_yaml_is_imported_the_second_time(home: Path, tmp_path: Path) -> None:
    place = write(tmp_path / "web", FILES)
    script = "import sys; from pvehelm.chart.chart import load; load(sys.argv[1]); print('yaml' in sys.modules)"
    told = [
        subprocess.run([sys.executable, "-c", script, str(place)], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert [one.strip() for one in told] == ["True", "False"]


def test_what_changed_is_read_again(home: Path, tmp_path: Path) -> None:
    place = write(tmp_path / "web", FILES)
    load(place)
    (place / "values.yaml").write_text("a: 3\n")
    assert load(place).values == {"a": 3}
    (place / "charts" / "sub" / "values.yaml").write_text("a: 4\n")
    assert load(place).dependencies[0].values == {"a": 4}


def test_what_is_wrong_is_told_each_time(home: Path, tmp_path: Path) -> None:
    place = write(tmp_path / "web", {**FILES, "values.yaml": "a: 1\na: 2\n"})
    told = []
    for _ in range(2):
        with pytest.raises(InvalidError) as caught:
            load(place)
        told.append(caught.value.problems)
    assert told[0] == told[1]
    # Helm takes such a key, and lint warns of it.
    (place / "Chart.yaml").write_text(str(FILES["Chart.yaml"]) + "engine: gotpl\n")
    assert [load(place).warnings for _ in range(2)] == [load(place).warnings] * 2
    assert load(place).warnings


def test_what_grows_is_not_remembered(home: Path, tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 5)]
    place = write(tmp_path / "web", {**FILES, "values.yaml": "\n".join(lines) + "\n"})
    first = load(place)
    assert max(entry.stat().st_size for entry in home.iterdir()) < 10_000
    assert load(place) == first


def test_a_number_too_long_to_be_written_is_not_remembered(home: Path, tmp_path: Path) -> None:
    place = write(tmp_path / "web", {**FILES, "values.yaml": f"a: 0x{'f' * 6000}\n"})
    assert [load(place).values for _ in range(2)] == [{"a": 16**6000 - 1}] * 2


@pytest.mark.parametrize("spoilt", [b"", b"x" * 100, b"[]"])
def test_spoilt_entries_are_ignored(home: Path, tmp_path: Path, spoilt: bytes) -> None:
    place = write(tmp_path / "web", FILES)
    first = load(place)
    for entry in home.iterdir():
        entry.write_bytes(spoilt)
    assert load(place) == first


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_without_a_place_it_works_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    monkeypatch.setenv("PVEHELM_CACHE", str(tmp_path / "closed" / "cache"))
    assert load(write(tmp_path / "web", FILES)).values["a"] == 2

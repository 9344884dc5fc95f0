"""What is begun before the command line is imported: commands that render start their child, no others do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chart.data import write

SCRIPT = """
import json, sys
from pvehelm.faces.cli import early
early.begin(sys.argv[1:])
spare = sys.modules.get("pvehelm.chart.spare")
print(json.dumps([len(spare._mine.waiting) if spare else 0, early._dialects(sys.argv[2:])]))
"""


@pytest.fixture
def charts(tmp_path: Path) -> Path:
    head = "apiVersion: v2\nname: web\nversion: 1.0.0\n"
    write(tmp_path / "web", {"Chart.yaml": head, "templates/x.yaml": "# {{ 1 }}\n"})
    write(tmp_path / "helms", {"Chart.yaml": head + "engine: gotpl\n", "templates/x.yaml": "# {{ 1 }}\n"})
    return tmp_path


def begun(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert not found.stderr
    number, dialects = json.loads(found.stdout)
    return number, dialects


@pytest.mark.parametrize(
    ("line", "dialects"),
    [
        ("template web ./web", ["jinja2"]),
        ("install helms helms -f values.yaml", ["gotpl"]),
        ("template web web --engine gotpl", ["gotpl"]),
        ("template web web --engine=gotpl", ["gotpl"]),
        ("upgrade rel", []),
        ("lint web.tgz", []),
        ("plan install web web", ["jinja2"]),
        ("plan upgrade rel", []),
        ("diff web helms", ["gotpl"]),
    ],
)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_who_renders_begins(charts: Path, line: str, dialects: list[str]) -> None:
    assert begun(charts, *line.split()) == (1, dialects)


@pytest.mark.parametrize(
    "line",
    ["", "list", "--version", "template --help", "install -h", "plan", "plan -f x.yaml", "diff rel", "diff -f x"],
)
def test_who_does_not_does_not(charts: Path, line: str) -> None:
    assert begun(charts, *line.split())[0] == 0


def test_the_command_prints_the_same_with_it_and_without(charts: Path) -> None:
    script = "import sys; from pvehelm.faces.cli.app import main; sys.exit(main(sys.argv[1:]))"
    said = []
    for before in (["-m", "pvehelm"], ["-c", script]):
        for name in ("web", "helms", "nowhere"):
            command = [sys.executable, *before, "template", "rel", name]
            found = subprocess.run(command, cwd=charts, capture_output=True, text=True)
            said.append((found.returncode, found.stdout, found.stderr))
    assert said[:3] == said[3:]
    assert [code for code, *_ in said[:2]] == [0, 0]
    assert said[2][0]

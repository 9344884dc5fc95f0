"""What the libraries of the command line need for rare things is there when one of these is done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT


def told(script: str, *arguments: str) -> Any:
    """What a script in a process of its own prints last, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


QUICK = """
import json, sys
from pvehelm.__main__ import main
from pvehelm.faces.cli import rare
before = set(sys.modules)
sys.argv = ["pvehelm", *sys.argv[1:]]
main()
print(json.dumps(sorted(name for name in rare._TYPER if name in sys.modules and name not in before)))
"""


def test_a_command_that_does_nothing_rare_imports_nothing_of_it() -> None:
    assert told(QUICK, "version") == []


TYPED = """
import json, sys
from pvehelm.faces.cli import rare
with rare.later():
    import typer
from datetime import datetime
from enum import Enum
from pathlib import Path
from uuid import UUID

class Colour(Enum):
    red = "red"

app = typer.Typer(rich_markup_mode=None)
found = {}

@app.command()
def main(where: Path, when: datetime, who: UUID, colour: Colour = Colour.red, count: int = 1, name: str = "x") -> None:
    "Everything that Typer reads."
    found.update(where=type(where).__name__, when=when.year, who=who.int, colour=colour.name)

command = typer.main.get_command(app)
command(["a/b", "2024-01-02", str(UUID(int=7))], standalone_mode=False)
try:
    command(["a/b", "yesterday", "x"], standalone_mode=False)
except Exception as error:
    found["error"] = type(error).__name__
try:
    command(["a/b", "2024-01-02", str(UUID(int=7)), "--cont", "2"], standalone_mode=False)
except Exception as error:
    found["meant"] = error.possibilities
found["help"] = "Everything" in command.get_help(typer.Context(command))
print(json.dumps(found))
"""


def test_typer_with_stand_ins_reads_every_type() -> None:
    found = told(TYPED)
    assert found.pop("where").endswith("Path")
    assert found == {
        "when": 2024,
        "who": 7,
        "colour": "red",
        "error": "BadParameter",
        "meant": ["--count"],
        "help": True,
    }


HTTPX = """
import json, sys
from pvehelm.faces.cli import rare
rare.later()
import httpx
before = "rich" in sys.modules
name = httpx.main.name
print(json.dumps([before, name, "httpx._main" in sys.modules, type(sys.modules["httpx._main"]).__name__]))
"""


def test_the_command_line_of_httpx_comes_when_it_is_called() -> None:
    pytest.importorskip("click")
    pytest.importorskip("rich")
    before, name, there, what = told(HTTPX)
    assert not before
    assert name == "main"
    assert there
    assert what == "module"


@pytest.mark.skipif(not hasattr(os, "pread"), reason="there are no bundles here")
def test_a_command_keeps_what_the_next_one_needs_too(tmp_path: Path) -> None:
    environ = {**os.environ, "PVEHELM_CACHE": str(tmp_path / "cache")}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)

    def explain(**more: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "pvehelm", "explain", "pool"]
        done = subprocess.run(command, cwd=ROOT, env={**environ, **more}, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def kept() -> dict[str, int]:
        files = (tmp_path / "cache").rglob("*.bin")
        return {file.parent.name: file.stat().st_mtime_ns for file in files}

    first = explain()
    assert first[0] == 0
    before = kept()
    assert {*before} >= {"bundles"}
    assert explain() == first
    assert kept() == before
    assert explain(PVEHELM_CACHE="/dev/null/none") == first

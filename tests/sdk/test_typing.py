"""The stubs: generated, in agreement with what runs, and what type checkers make of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pvehelm
from pvehelm.api.schema import Schema
from pvehelm.api.stubs import package
from tests.helpers import ROOT

PROGRAMS = Path(__file__).parent / "programs"
SDK = Path(pvehelm.__file__).parent / "api" / "sdk"


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, check=False)


def mypy(*arguments: str, cwd: Path = ROOT) -> str:
    found = run(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *arguments, cwd=cwd)
    return found.stdout + found.stderr


def expected(program: Path) -> set[int]:
    """The lines that say that they are wrong."""
    lines = program.read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if "# wrong:" in line}


def test_the_committed_package_is_the_generated_one() -> None:
    made = package(Schema.load("9.2"))
    there = {path.name: path.read_text() for path in SDK.iterdir() if path.is_file()}
    assert there.keys() == made.keys()
    stale = [name for name in made if made[name] != there[name]]
    assert not stale, "run `pvehelm sdk generate --out pvehelm/api/sdk`"


def test_the_package_is_compact() -> None:
    assert sum(path.stat().st_size for path in SDK.glob("*.py*")) < 400_000


def test_stubs_and_run_time_agree() -> None:
    found = run(sys.executable, "-m", "mypy.stubtest", "pvehelm.api.sdk", "--mypy-config-file", "pyproject.toml")
    assert found.returncode == 0, found.stdout + found.stderr


def test_mypy_accepts_the_showcase() -> None:
    assert mypy(str(PROGRAMS / "showcase.py")) == ""


def test_mypy_rejects_wrong_calls() -> None:
    program = PROGRAMS / "wrong.py"
    found = {int(number) for number in re.findall(r"wrong\.py:(\d+): error", mypy(str(program)))}
    assert found == expected(program)


@pytest.mark.parametrize("release", ["7.4", "8.4"])
def test_packages_of_other_versions_are_sound(release: str, tmp_path: Path) -> None:
    folder = tmp_path / "mypve"
    folder.mkdir()
    for name, text in package(Schema.load(release)).items():
        (folder / name).write_text(text)
    assert mypy("-p", "mypve", cwd=tmp_path) == ""


def pyright() -> str:
    return shutil.which("pyright") or shutil.which("basedpyright") or ""


@pytest.mark.skipif(not pyright(), reason="pyright is not installed here")
@pytest.mark.parametrize("name", ["showcase", "wrong"])
def test_pyright_agrees(name: str) -> None:
    program = PROGRAMS / f"{name}.py"
    found = json.loads(run(pyright(), "--outputjson", "--pythonpath", sys.executable, str(program)).stdout)
    errors = {each["range"]["start"]["line"] + 1 for each in found["generalDiagnostics"] if each["severity"] == "error"}
    assert found["summary"]["filesAnalyzed"] == 1
    assert errors == expected(program)

"""The console examples of the README and the guides are run, and print what the page shows.

A block marked ``console`` holds commands after ``$ `` (continued after ``> ``) and what they print. The blocks of a
page run in order, in a scratch directory with the charts beside them, on a simulator of their own. ``...`` stands for any
text, and on a line of its own for any lines; a command without output below it only has to succeed. Standard output is
compared; where a command fails, standard error too.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pvehelm.faces.cli.app import main
from tests.helpers import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: What only a shell understands.
SHELL = re.compile(r"[|<>&;$`\n]|\A[A-Z_]+=")


@dataclass(frozen=True)
class Example:
    line: int
    command: str
    shown: str


def examples(text: str) -> list[Example]:
    """Every command of every console block, with what the page shows below it."""
    found: list[Example] = []
    inside = False
    command: list[str] = []
    shown: list[str] = []
    start = 0

    def finish() -> None:
        if command:
            found.append(Example(start, "\n".join(command), "\n".join(shown)))
        command.clear()
        shown.clear()

    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            finish()
            inside = line.strip() == "```console"
        elif inside and line.startswith("$ "):
            finish()
            command, shown, start = [line[2:]], [], number
        elif inside and line.startswith("> ") and command and not shown:
            command.append(line[2:])
        elif inside:
            assert command, f"line {number}: output before any command"
            shown.append(line)
    finish()
    return found


def matches(shown: str, printed: str) -> bool:
    """Whether ``printed`` is what the page shows; blanks at the ends of lines do not count."""
    parts = []
    for line in shown.strip().splitlines():
        if line.strip() == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*?".join(re.escape(part.strip()) for part in re.split(r"\s*\.\.\.\s*", line)) + r"\n")
    text = "".join(line.strip() + "\n" for line in printed.strip().splitlines())
    return re.fullmatch("".join(parts), text) is not None


def run(command: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    if command.startswith("pvehelm ") and not SHELL.search(command):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(shlex.split(command)[1:])
        return code, out.getvalue(), err.getvalue()
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work, programs = tmp_path / "work", tmp_path / "bin"
    work.mkdir()
    programs.mkdir()
    shutil.copytree(ROOT / "charts", work / "charts")
    shim = programs / "pvehelm"
    shim.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m pvehelm "$@"\n', encoding="utf-8")
    shim.chmod(0o755)
    monkeypatch.chdir(work)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "200")
    for variable, name in (("DATA", "data"), ("CACHE", "cache"), ("CONFIG", "config.yaml")):
        monkeypatch.setenv(f"PVEHELM_{variable}", str(tmp_path / name))
    return work


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_do_what_the_page_shows(page: Path, scratch: Path) -> None:
    for example in examples(page.read_text(encoding="utf-8")):
        code, out, err = run(example.command)
        fails = any(line.startswith("Error:") for line in example.shown.splitlines())
        place = f"{page.name}:{example.line}: $ {example.command}"
        assert (code != 0) == fails, f"{place}\nexit code {code}\n{out}{err}"
        printed = out + err if fails else out
        if fails:
            printed = re.sub(r"\Acontext: .*\n", "", printed)
        if example.shown.strip():
            assert matches(example.shown, printed), f"{place}\nshown:\n{example.shown}\nprinted:\n{printed}"


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, *sorted((ROOT / "charts").glob("*/README.md"))]:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("a\nb", "a\nb\n", True),
        ("a", "a\nb\n", False),
        ("a\n...", "a\nb\nc\n", True),
        ("a\n...", "a\n", True),
        ("...\nc", "a\nb\nc\n", True),
        ("x ... z", "x y z", True),
        ("x ... z", "x y\nz", False),
        ("a.b", "axb", False),
        ("", "a", False),
    ],
)
def test_matching(shown: str, printed: str, expected: bool) -> None:
    assert matches(shown, printed) is expected

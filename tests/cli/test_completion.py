"""What the shell offers when TAB is pressed, and the scripts that ask for it, in the shells that are here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pvehelm.actions.charts import create, package
from pvehelm.chart.chart import load
from pvehelm.faces.cli.completion import SCRIPTS, candidates
from tests.release.lab import Lab, load_cases

CASES = load_cases("cli/cases/completion.yaml")


@pytest.fixture
def shop(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("PVEHELM_CACHE", str(tmp_path / "cache"))
    lab.run("install", "web", lab.chart({"pool.yaml": "kind: Pool\nmetadata: { name: web }\n"}))
    lab.run("upgrade", "web", lab.chart({"pool.yaml": "kind: Pool\nmetadata: { name: web }\nspec: { comment: b }\n"}))
    lab.run("install", "shop", lab.chart({"a.yaml": ""}), "-n", "shop", "--create-namespace")
    return lab


@pytest.fixture
def repository(shop: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "charts" / "web-app"
    for path, text in create("web-app", "jinja2").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    name, data = package(load(str(folder)))
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / name).write_bytes(data)
    shop.run("repo", "index", str(tmp_path / "packages"))
    shop.run("repo", "add", "local", str(tmp_path / "packages"))


@pytest.mark.usefixtures("repository")
def test_what_is_offered() -> None:
    wrong = []
    for case in CASES:
        *before, word = case["words"]
        try:
            found = [line.partition("\t")[0] for line in candidates(before, word)]
        except Exception:
            # As in the shell, where the line stays as it is.
            found = []
        if ("is" in case and sorted(found) != sorted(case["is"])) or not set(case.get("has", ())) <= set(found):
            wrong.append((case, found))
    assert not wrong


def test_nothing_is_shown_of_what_goes_wrong(lab: Lab) -> None:
    (lab.data / "releases.db").write_text("no database")
    environ = {**os.environ, "_PVEHELM_COMPLETE": "zsh"}
    command = [sys.executable, "-m", "pvehelm", "status", ""]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


BASH = """
source /dev/stdin <<'SCRIPT'
{script}
SCRIPT
ask() {{
    COMP_LINE="$1" COMP_POINT=${{#1}} COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:' COMPREPLY=()
    COMP_WORDS=($2) COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
    _pvehelm "{program}"
    printf '%s ' "${{COMPREPLY[@]}}"; echo
}}
ask 'pvehelm stat' 'pvehelm stat'
ask 'pvehelm list --output=y' 'pvehelm list --output = y'
ask 'pvehelm apply -f pool' 'pvehelm apply -f pool'
ask "pvehelm status 'we" "pvehelm status 'we"
ask "pvehelm -n shop status " "pvehelm -n shop status "
ask "pvehelm --namespace=sh" "pvehelm --namespace = sh"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash(shop: Lab, tmp_path: Path) -> None:
    program = tmp_path / "pvehelm"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m pvehelm \"$@\"\n")
    program.chmod(0o755)
    (tmp_path / "pool.yaml").write_text("")
    text = BASH.format(script=SCRIPTS["bash"], program=program)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(["bash", "-c", text], capture_output=True, text=True, env=environ, cwd=tmp_path, check=False)
    wanted = ["status", "yaml", "pool.yaml", "web", "shop", "shop"]
    assert run.stdout.split() == wanted, run


@pytest.mark.parametrize(("shell", "flag"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
def test_the_scripts_are_sound(shell: str, flag: str, lab: Lab) -> None:
    script = lab.run("completion", shell).out
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    run = subprocess.run([shell, flag, "/dev/stdin"], input=script, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_shell_that_is_none(lab: Lab) -> None:
    result: Any = lab.run("completion", "csh", code=64)
    assert "one of bash, zsh, fish, powershell" in result.err
    assert "Register-ArgumentCompleter" in lab.run("completion", "powershell").out

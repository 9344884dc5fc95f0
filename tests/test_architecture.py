"""House rules that a machine can hold: which way imports lean, and what a quick command may load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

HEAVY = ("pydantic", "httpx", "jinja2", "git", "rich", "jsonschema_rs", "cryptography", "asyncio", "yaml", "ssl")


def test_imports_lean_one_way() -> None:
    run = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


QUICK = (["version"], ["list"], ["--help"], ["history", "web"], ["status", "web"], ["env"])


@pytest.mark.parametrize("arguments", QUICK)
def test_quick_commands_load_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import json, sys\n"
        "from pvehelm.__main__ import main\n"
        f"sys.argv = ['pvehelm', *{arguments!r}]\n"
        "try:\n    main()\nfinally:\n"
        "    open(sys.argv[0] + '.loaded', 'w').write(json.dumps(sorted(sys.modules)))\n"
    )
    environ = {**os.environ, "PVEHELM_DATA": str(tmp_path / "data"), "PVEHELM_CONFIG": str(tmp_path / "config.yaml")}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, check=True)
    loaded = set(json.loads((tmp_path / "pvehelm.loaded").read_text()))
    assert not loaded & set(HEAVY)

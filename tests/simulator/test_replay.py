"""The recordings of a real server, replayed against the simulator over HTTPS."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import SHARED, needs_shared
from tests.simulator.test_server import Running

pytestmark = needs_shared
_WIRE = SHARED / "pve-wire"
_KNOWN = Path(__file__).parent / "known-failures.txt"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    running = Running("--base", "conformance", "--state", ":memory:")
    yield running.port
    assert running.stop() == 0


def replay(port: int, kind: str) -> tuple[set[str], int, str]:
    """Names of what failed, how many passed, and the whole output."""
    command = [sys.executable, str(_WIRE / "replay.py"), f"https://127.0.0.1:{port}", "--user", "root@pam"]
    command += ["--password", "proxmox", "--insecure", "--lenient", "--kind", kind, "-v", str(_WIRE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    total = re.search(r"(\d+) passed, (\d+) failed", done.stdout)
    assert total, done.stdout + done.stderr
    if kind == "scenarios":
        failed = set(re.findall(r"^FAIL (\S+)", done.stdout, re.MULTILINE))
    else:
        failed = set(re.findall(r"^((?:formats|get-after-put):\S+) ", done.stdout, re.MULTILINE))
    return failed, int(total[1]), done.stdout


def known() -> set[str]:
    lines = _KNOWN.read_text().splitlines()
    return {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}


def test_scenarios(port: int) -> None:
    failed, passed, output = replay(port, "scenarios")
    assert failed == {name for name in known() if ":" not in name}, output
    assert passed > 60


@pytest.mark.parametrize("kind", ["gap", "formats"])
def test_rows(port: int, kind: str) -> None:
    prefix = "get-after-put:" if kind == "gap" else "formats:"
    failed, passed, output = replay(port, kind)
    assert failed == {name for name in known() if name.startswith(prefix)}, output
    assert passed > 400

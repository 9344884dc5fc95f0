"""A large repository: the first load of its index, beside Helm's own code where that is, and what later runs cost.

``PVEHELM_BENCH_HELM`` names the Python of an environment that has helm-python-sdk (Helm in process).
"""

from __future__ import annotations

import hashlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.conftest import note

CHARTS, VERSIONS = 240, 50
BETWEEN = """
import os, sys, time
begin = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, 1, 0)])
_, status, usage = os.wait4(child, 0)
print(time.perf_counter() - begin, usage.ru_maxrss)
sys.exit(status != 0)
"""
Run = Callable[[Sequence[str]], tuple[float, float]]


def index_text() -> str:
    """An ``index.yaml`` of 12,000 versions and about 20 MB, as public repositories have them."""
    lines = ["apiVersion: v1", "entries:"]
    for number in range(CHARTS):
        name = f"chart-{number:03}"
        lines.append(f"  {name}:")
        for minor in reversed(range(VERSIONS)):
            version = f"{number % 7}.{minor}.{number % 11}"
            digest = hashlib.sha256(f"{name}-{version}".encode()).hexdigest()
            lines += [
                "  - annotations:",
                "      category: Infrastructure",
                "      artifacthub.io/links: |",
                *(f"        - name: link {i}\n          url: https://charts.example.org/{name}/{i}" for i in range(8)),
                "    apiVersion: v2",
                f"    appVersion: {version}",
                f'    created: "2026-0{1 + minor % 9}-11T06:01:41.{minor:06}Z"',
                "    dependencies:",
                "    - name: common",
                "      repository: oci://registry.example.org/charts",
                "      tags:",
                "      - common-base",
                "      version: 2.x.x",
                f"    description: {name} is a chart with a description of the length that descriptions commonly have.",
                f"    digest: {digest}",
                f"    home: https://charts.example.org/{name}",
                f"    icon: https://charts.example.org/{name}.svg",
                "    keywords:",
                *(f"    - word{(number + i) % 40}" for i in range(6)),
                "    kubeVersion: '>=1.23.0-0'",
                "    maintainers:",
                *(f"    - name: Person {i}\n      email: person{i}@example.org" for i in range(3)),
                f"    name: {name}",
                "    sources:",
                *(f"    - https://git.example.org/{name}/{i}" for i in range(4)),
                "    urls:",
                f"    - https://charts.example.org/{name}-{version}.tgz",
                f"    version: {version}",
            ]
    return "\n".join([*lines, 'generated: "2026-11-01T00:00:00Z"', ""])


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("repository")
    (folder / "index.yaml").write_text(index_text())

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def measured(home: Path) -> Run:
    """Runs a command as a whole process: its seconds, and the most memory it took in MiB."""

    def run(command: Sequence[str]) -> tuple[float, float]:
        # A process inherits the peak of the one that made it, so a small one stands between.
        done = subprocess.run(
            [sys.executable, "-ISc", BETWEEN, *command], env=os.environ.copy(), stdout=subprocess.PIPE, check=True
        )
        seconds, memory = done.stdout.split()[-2:]
        return float(seconds), float(memory) / 1024

    return run


def _least(run: Run, command: Sequence[str], rounds: int, before: Callable[[], object]) -> tuple[float, float]:
    results = []
    for _ in range(rounds):
        before()
        results.append(run(command))
    return min(seconds for seconds, _ in results), min(memory for _, memory in results)


@pytest.mark.usefixtures("compiled")
def test_large_index(benchmark: Any, repository: str, measured: Run, home: Path) -> None:
    ours = str(Path(sys.executable).with_name("pvehelm"))
    measured([ours, "repo", "add", "large", repository])
    catalogs = home / "cache" / "repositories"

    def forget() -> None:
        for file in catalogs.glob("*.db"):
            file.unlink()

    first, memory = _least(measured, [ours, "repo", "update"], 3, forget)
    helm = os.environ.get("PVEHELM_BENCH_HELM", "")
    if helm:
        code = f"import helm_python; helm_python.repo_index({repository!r})"
        theirs, their_memory = _least(measured, [helm, "-c", code], 3, lambda: None)
        ratios = f"ratios {first / theirs:.2f} (goal 0.35) and {memory / their_memory:.2f} (goal 0.25)"
        note(
            f"index of 12,000 versions: {first:.2f} s and {memory:.0f} MiB, Helm {theirs:.2f} s and "
            f"{their_memory:.0f} MiB, {ratios}"
        )
    else:
        note(f"index of 12,000 versions: {first:.2f} s and {memory:.0f} MiB (no Helm to compare with)")
    start, _ = _least(measured, [ours, "version"], 15, lambda: None)
    for command in (["search", "repo", "chart-1"], ["show", "chart", "--help"]):
        later, later_memory = _least(measured, [ours, *command], 15, lambda: None)
        note(
            f"pvehelm {' '.join(command)}: {later * 1000:.0f} ms, ratio to version {later / start:.2f} (goal 1.3), "
            f"{later_memory:.0f} MiB (goal 60)"
        )
    benchmark.pedantic(lambda: measured([ours, "search", "repo", "chart-1"]), rounds=3)

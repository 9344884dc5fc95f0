"""Each benchmark prints its figure as a ratio to a baseline measured in the same run; nothing here asserts a time."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

FIGURES: list[str] = []


def note(text: str) -> None:
    """A figure for the summary at the end."""
    FIGURES.append(text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("figures")
        for line in FIGURES:
            terminalreporter.write_line(line)


def paired(one: Callable[[], object], other: Callable[[], object], rounds: int = 15) -> tuple[float, float, float]:
    """Medians in seconds of both, run in turn, and the median of the ratios taken pair by pair."""
    times: list[tuple[float, float]] = []
    for function in (one, other):
        function()
    for _ in range(rounds):
        pair = []
        for function in (one, other):
            begin = time.perf_counter()
            function()
            pair.append(time.perf_counter() - begin)
        times.append((pair[0], pair[1]))
    return (
        statistics.median(a for a, _ in times),
        statistics.median(b for _, b in times),
        statistics.median(a / b for a, b in times),
    )


@pytest.fixture(scope="session")
def compiled() -> None:
    """Byte code is compiled before timing, as an installation does."""
    import compileall

    import pvehelm

    compileall.compile_dir(str(Path(pvehelm.__file__).parent), quiet=2, workers=1)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's directories of their own."""
    for name in ("DATA", "CACHE"):
        monkeypatch.setenv(f"PVEHELM_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("PVEHELM_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    return tmp_path


@pytest.fixture
def process(home: Path) -> Callable[[Sequence[str]], Callable[[], object]]:
    """Makes a function that runs Python with arguments as a whole process."""

    def make(arguments: Sequence[str]) -> Callable[[], object]:
        return lambda: subprocess.run(
            [sys.executable, *arguments], env=os.environ.copy(), capture_output=True, check=True
        )

    return make


def chart_of(folder: Path, name: str, values: str, templates: dict[str, str]) -> Path:
    """Write a chart."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: 0.1.0\n")
    (folder / "values.yaml").write_text(values)
    for path, text in templates.items():
        (folder / "templates" / path).write_text(text)
    return folder

from __future__ import annotations

from pathlib import Path

import pytest

from tests.release.sweeps.bench import Scenario, prepare

LINES: list[str] = []


@pytest.fixture(scope="session")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Scenario]]:
    """Where they are, and the scenarios with their states."""
    folder = tmp_path_factory.mktemp("sweeps")
    return folder, prepare(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if LINES:
        terminalreporter.section("sweeps")
        for line in LINES:
            terminalreporter.write_line(line)

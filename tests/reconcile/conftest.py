from __future__ import annotations

from pathlib import Path

import pytest

from tests.reconcile.repository import Repository
from tests.release.lab import Lab


@pytest.fixture
def lab(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.chdir(lab.folder)
    return lab


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    # Nobody's own settings of git.
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    return Repository(tmp_path / "infra")

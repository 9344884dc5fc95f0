from __future__ import annotations

import pytest

from tests.release.lab import Lab


@pytest.fixture
def lab(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.chdir(lab.folder)
    return lab

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.release.lab import Lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    made = Lab(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    yield made
    made.close()

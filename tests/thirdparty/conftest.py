from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.thirdparty.lab import ForeignLab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForeignLab]:
    made = ForeignLab(tmp_path, monkeypatch)
    yield made
    made.close()

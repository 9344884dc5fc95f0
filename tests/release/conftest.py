from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pvehelm.release.release import ReleaseKey
from pvehelm.release.store import Store, open_store

if TYPE_CHECKING:
    from tests.release.lab import Lab

WEB = ReleaseKey("c1", "default", "web")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/releases.db"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """A store's URL: whatever takes it runs on both databases."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[Store]:
    with open_store(url, environ={"PVEHELM_DATA": str(tmp_path)}) as opened:
        yield opened


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    from tests.release.lab import Lab

    made = Lab(tmp_path, monkeypatch)
    yield made
    made.close()

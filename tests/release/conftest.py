from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pvehelm.release.release import ReleaseKey
from pvehelm.release.store import Store, open_store

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

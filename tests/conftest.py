"""No test touches the user's own directories; and the fixtures that several folders need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import postgres_server, postgres_url

if TYPE_CHECKING:
    from tests.chart.servers import Hub, Web
    from tests.release.lab import Lab

__all__ = ["postgres_server", "postgres_url"]
SETTINGS = ("CONTEXT", "NAMESPACE", "STORE", "HOST", "TOKEN_ID", "USER")
SECRETS = ("TOKEN_SECRET", "PASSWORD", "KEY")
# How long something takes says more about the machine than about the code.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")


@pytest.fixture(autouse=True, scope="session")
def _own_directories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for variable, name in (("DATA", "data"), ("CACHE", "cache"), ("CONFIG", "config.yaml")):
            patch.setenv(f"PVEHELM_{variable}", str(home / name))
        for variable in (*SETTINGS, *SECRETS):
            patch.delenv(f"PVEHELM_{variable}", raising=False)
        yield


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A simulator, a store and the command line over them."""
    from tests.release.lab import Lab

    made = Lab(tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration and the cache of a new user."""
    monkeypatch.setenv("PVEHELM_CONFIG", str(tmp_path / "config" / "config.yaml"))
    monkeypatch.setenv("PVEHELM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def web() -> Iterator[Web]:
    """A repository of charts, served."""
    from tests.chart.servers import web_server

    with web_server() as server:
        yield server


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A registry."""
    from tests.chart.servers import hub_server

    with hub_server() as server:
        yield server

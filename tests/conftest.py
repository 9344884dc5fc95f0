"""No test touches the user's own directories."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import postgres_server, postgres_url

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

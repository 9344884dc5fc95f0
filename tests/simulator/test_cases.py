"""What a 9.2 server answers, as cases: access, firewalls, networks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.casebook import cases, run


@pytest.mark.parametrize("case", [*cases("access"), *cases("firewall"), *cases("networks")])
def test_cases(case: dict[str, Any]) -> None:
    run(case)

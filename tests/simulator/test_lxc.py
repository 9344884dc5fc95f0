"""Containers of the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator import casebook


@pytest.mark.parametrize("case", casebook.cases("lxc"))
def test_case(case: dict[str, Any]) -> None:
    casebook.run(case)

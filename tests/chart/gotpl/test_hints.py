"""What errors of templates tell: the place, the way there, and the value that is meant (cases/hints.yaml)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pvehelm.chart.chart import load
from tests.chart.data import write
from tests.chart.gotpl.templates import cases
from tests.chart.gotpl.test_charts import problems


@pytest.mark.parametrize("case", cases("hints"), ids=lambda case: str(case["name"]))
def test_values_that_are_not_there(case: dict[str, Any], tmp_path: Path) -> None:
    told = problems(load(write(tmp_path / "web", case["files"])), strict=case.get("strict", False))
    for part in case["told"]:
        assert part in told

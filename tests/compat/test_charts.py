"""Public charts beside Helm itself: every file byte for byte, and what ``ratchet.yaml`` says stays true.

``PVEHELM_HELM_CHARTS`` names a folder of charts. ``python -m tests.compat.ratchet`` writes the ratchet anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.compat.beside import charts, compared, digest, loaded, value_sets

pytest.importorskip("helm_python", reason="Helm in process: pip install 'pvehelm[helm]'")
if not charts():
    pytest.skip("PVEHELM_HELM_CHARTS names no folder with charts", allow_module_level=True)

RATCHET: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "ratchet.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("chart", charts(), ids=lambda path: path.name)
def test_as_helm(chart: Path) -> None:
    known = RATCHET["charts"].get(chart.name, {})
    version = str(yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))["version"])
    ours = loaded(chart)
    for name, values in value_sets(chart):
        said = known.get("sets", {}).get(name)
        excused = known.get("version") == version and said and said["values"] == digest(values) and "not" in said
        found = compared(chart, ours, values).different
        assert excused or not found, f"{chart.name} with {name}: {found}"

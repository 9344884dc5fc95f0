"""Schemas from commented values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pvehelm.chart.chart import load
from pvehelm.chart.inference import infer
from pvehelm.chart.schema import check, validate
from pvehelm.errors import InvalidError
from tests.chart.data import cases, write
from tests.helpers import ROOT

CHARTS = sorted(path.parent for path in (ROOT / "charts").glob("*/values.schema.json"))


@pytest.mark.parametrize("case", cases("inference.yaml"))
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "Chart.yaml": "{apiVersion: v2, name: web, version: 1.0.0}",
        "values.yaml": case["values"],
    }
    if "present" in case:
        files["values.schema.json"] = json.dumps(case["present"])
    folder = write(tmp_path / "web", files)
    if "problems" in case:
        with pytest.raises(InvalidError) as caught:
            infer(load(folder))
        told = sorted((int(problem.where.rpartition(":")[2]), problem.what) for problem in caught.value.problems)
        assert [line for line, _ in told] == [line for line, _ in case["problems"]]
        assert all(part in what for (_, what), (_, part) in zip(told, case["problems"], strict=True)), told
        return
    text, stale = infer(load(folder))
    found = json.loads(text)
    assert _has(found, case["schema"]), text
    assert [problem.what.split(" ")[0] for problem in stale] == case.get("stale", [])
    (folder / "values.schema.json").write_text(text)
    chart = load(folder)
    assert check(chart.schema, "") == []
    assert validate(chart, chart.values) == []
    assert infer(chart)[0] == text


@pytest.mark.parametrize("folder", CHARTS, ids=lambda path: path.name)
def test_a_schema_by_hand_loses_nothing(folder: Path, tmp_path: Path) -> None:
    chart = load(folder)
    text, _ = infer(chart)
    found = json.loads(text)
    assert check(found, "") == []
    assert set(chart.schema or {}) <= set(found)
    assert set((chart.schema or {})["properties"]) <= set(found["properties"])


def _has(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(found, dict):
        # A wanted null is a key that is not there.
        return all((wanted[key] is None) if key not in found else _has(found[key], wanted[key]) for key in wanted)
    return bool(found == wanted)

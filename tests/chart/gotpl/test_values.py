"""Values files of charts in Helm's syntax: read as Helm reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.chart.chart import load
from pvehelm.chart.dialects import with_engine
from pvehelm.chart.gotpl import plain, yamlin
from pvehelm.chart.gotpl.values import GoError
from pvehelm.chart.values import ValueFlag, for_chart, from_flags
from pvehelm.chart.yaml import load_all
from pvehelm.errors import InvalidError
from tests.chart.data import write
from tests.chart.gotpl.templates import cases


def numbers(value: Any) -> Any:
    """With float64 for every number, as templates see them."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    return float(value) if type(value) is int else value


@pytest.mark.parametrize("case", cases("values"), ids=lambda case: repr(case["yaml"]))
def test_files_as_helm_reads_them(case: dict[str, Any]) -> None:
    flag = ValueFlag("file", "values.yaml", case["yaml"], helms=True)
    if "error" in case:
        with pytest.raises(InvalidError):
            from_flags([flag])
    else:
        assert numbers(from_flags([flag])) == numbers(case["values"])


_CHARS = st.sampled_from("0123456789xob_eE.+-:~yYnN")


@given(st.text(_CHARS, min_size=1, max_size=8))
def test_values_and_fromYaml_read_alike(text: str) -> None:
    try:
        theirs = yamlin.load(f"a: [{text}]\n")
    except GoError:
        with pytest.raises(InvalidError):
            load_all(f"a: [{text}]\n", helms=[])
    else:
        assert numbers(load_all(f"a: [{text}]\n", helms=[])[0].data) == theirs


@given(st.floats(allow_nan=False))
def test_a_number_where_a_text_belongs(value: float) -> None:
    shown = plain.as_text(value)
    # As many digits as float32 has, at most.
    assert float(shown) == pytest.approx(value, rel=1e-6, abs=1e-44) or abs(value) > 3e38


CHART = "apiVersion: v2\nname: web\nversion: 1.0.0\nappVersion: 1e3\nannotations: {built: on, size: 1_000}\n"
ODD = "a: y\nb: 1e3\nc: 0o17\nd: 017\ne: !own text\nb: 0x10\n"


def test_the_chart_and_its_metadata(tmp_path: Path) -> None:
    chart = load(write(tmp_path / "web", {"Chart.yaml": CHART + "engine: gotpl\n", "values.yaml": ODD}))
    assert chart.values == {"a": True, "b": 16, "c": 15, "d": 15, "e": "text"}
    assert chart.metadata.app_version == "1000"
    assert chart.metadata.annotations == {"built": "true", "size": "1000"}
    assert any("'b' is given twice, first in line 2" in warning.what for warning in chart.warnings)
    [flag] = for_chart([ValueFlag("file", "v.yaml", "a: n\na: off\n")], chart)
    assert from_flags([flag]) == {"a": False}


def test_a_chart_in_jinja2_reads_another_way(tmp_path: Path) -> None:
    write(tmp_path / "web", {"Chart.yaml": CHART, "values.yaml": "a: y\nb: 1e3\nc: 0o17\nd: 017\n"})
    chart = load(tmp_path / "web")
    assert chart.values == {"a": "y", "b": "1e3", "c": "0o17", "d": 15}
    [flag] = for_chart([ValueFlag("file", "v.yaml", "a: n\n")], chart)
    assert from_flags([flag]) == {"a": "n"}
    # Told that it is Helm's, it is read anew.
    chart = with_engine(chart, "gotpl")
    assert chart.values == {"a": True, "b": 1000, "c": 15, "d": 15}
    assert chart.metadata.app_version == "1000"

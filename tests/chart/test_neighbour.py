"""Charts of both dialects that use each other's named templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.chart.chart import load
from pvehelm.chart.neighbour import Neighbour, _for_gotpl, _for_jinja2
from pvehelm.errors import InvalidError
from tests.chart.data import cases, write
from tests.chart.gotpl.test_charts import rendered


@pytest.mark.parametrize("case", cases("neighbours.yaml"))
def test_named_templates_of_the_other_dialect(case: dict[str, Any], tmp_path: Path) -> None:
    chart = load(write(tmp_path / "web", case["files"]))
    if "told" in case:
        with pytest.raises(InvalidError) as caught:
            rendered(chart)
        told = "\n".join(map(str, caught.value.problems))
        assert [part for part in case["told"] if part not in told] == [], told
        return
    for _ in range(2):  # The second time from what was compiled.
        assert rendered(chart).notes.split() == case["notes"].split()


_DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=8,
)


@given(_DATA)
def test_plain_data_comes_through(data: Any) -> None:
    for leaf in (_for_gotpl, _for_jinja2):
        assert Neighbour(None, (), leaf)._plain(data, {}, 0) == data  # type: ignore[arg-type]

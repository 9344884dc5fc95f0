"""Plain data: what is listed with its path stands at that path."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pvehelm.chart.plain import at, copied, scalars

_KEYS = st.text(max_size=3) | st.integers(-3, 9)
_DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(_DATA)
def test_every_scalar_stands_at_its_path(value: Any) -> None:
    assert [at(value, path) for path, _ in scalars(value)] == [found for _, found in scalars(value)]
    assert copied(value) == value


def test_where_nothing_stands() -> None:
    for path in ((1,), (-2,), ("a",), (0, "b"), (0, 0)):
        assert at([{"a": 1}], path) is None
    assert at({"1": "a"}, (1,)) == "a"

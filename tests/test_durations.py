"""Times as people write them, one way everywhere."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.durations import seconds
from pvehelm.errors import UsageError

FACTORS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


@given(st.lists(st.tuples(st.integers(0, 999), st.sampled_from(list(FACTORS))), min_size=1, max_size=4))
def test_parts_add_up(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert seconds(text) == pytest.approx(sum(number * FACTORS[unit] for number, unit in parts))
    with pytest.raises(UsageError, match="no time"):
        seconds(f"{text} x")


@pytest.mark.parametrize(("value", "found"), [(300, 300), (1.5, 1.5), ("90", 90), (" 2m ", 120), ("1h30m", 5400)])
def test_numbers_are_seconds(value: Any, found: float) -> None:
    assert seconds(value) == found


@pytest.mark.parametrize("value", ["", "soon", "1h30", "-5s", "5 m", True, None, "1e3"])
def test_what_is_no_time(value: Any) -> None:
    with pytest.raises(UsageError, match="is no time"):
        seconds(value)

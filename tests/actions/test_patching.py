"""Patches of documents: cases, and what is true of every merge."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.actions.jsonpatch import merged, operated
from pvehelm.errors import InvalidError
from tests.helpers import ROOT

CASES = yaml.safe_load((ROOT / "tests" / "actions" / "patches.yaml").read_text())


@pytest.mark.parametrize(("how", "case"), [(how, case) for how, cases in CASES.items() for case in cases])
def test_cases(how: str, case: dict[str, Any]) -> None:
    before = deepcopy(case["base"])
    patch = merged if how == "merge" else operated
    if "error" in case:
        with pytest.raises(InvalidError) as caught:
            patch(case["base"], case["patch"])
        assert case["error"] in str(caught.value)
    else:
        assert patch(case["base"], case["patch"]) == case["wanted"]
    assert case["base"] == before


DATA = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=12,
)
MAPS = st.dictionaries(st.sampled_from("abcd"), DATA, max_size=4)


@given(MAPS, MAPS)
def test_a_merge_made_twice_is_made_once(base: dict[str, Any], over: dict[str, Any]) -> None:
    once = merged(base, over)
    assert merged(once, over) == once
    assert all(name not in once for name, value in over.items() if value is None)
    assert all(once[name] == base[name] for name in base.keys() - over.keys())

"""The ignore list has Helm's rules."""

from __future__ import annotations

from typing import Any

import pytest

from pvehelm.chart.ignore import parse, with_defaults
from pvehelm.errors import InvalidError
from tests.chart.data import cases


@pytest.mark.parametrize("case", cases("ignore.yaml"))
def test_case(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(InvalidError) as caught:
            parse(case["rules"], file="f")
        assert [problem.where for problem in caught.value.problems] == [f"f:{line}" for line in case["error"]]
        return
    rules = parse(case["rules"])
    if case.get("defaults"):
        rules = with_defaults(rules)
    for path in case["ignored"]:
        assert rules.ignores(path, directory=path.endswith("/")), path
    for path in case["kept"]:
        assert not rules.ignores(path, directory=path.endswith("/")), path

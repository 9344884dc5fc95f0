"""Kinds that are hooks only: checked and lowered as tests/api/cases/hookkinds.yaml says."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.api.hookkinds import HookKind, seconds
from pvehelm.api.kinds import Kinds, explain
from tests.api.kindlab import load_kinds, manifest
from tests.helpers import ROOT

CASES = yaml.safe_load((ROOT / "tests/api/cases/hookkinds.yaml").read_text())
NAMES = ("GuestExec", "Backup", "Snapshot", "HttpCheck", "TcpCheck", "Wait")


@pytest.mark.parametrize("release", ["9.2", "8.4"])
@pytest.mark.parametrize("case", CASES, ids=[f"{n}-{case['kind']}" for n, case in enumerate(CASES)])
def test_case(case: dict[str, Any], release: str) -> None:
    kind = load_kinds(release).get(case["kind"])
    resource = manifest(case["kind"], "x", case["spec"])
    found = [[".".join(map(str, path)), problem.what, problem.hint] for path, problem in kind.validate(resource)]
    if "problems" in case:
        assert [row[0] for row in found] == [row[0] for row in case["problems"]], found
        for (_, what, hint), (_, expected, advice) in zip(found, case["problems"], strict=True):
            assert what.startswith(expected), what
            assert hint.startswith(advice), hint
        return
    assert found == []
    assert kind.lower(resource, lambda ref: None).fields == case["fields"]


def test_they_are_kinds_like_the_others() -> None:
    kinds: Kinds = load_kinds("9.2")
    for name in NAMES:
        kind = kinds.get(name)
        assert isinstance(kind, HookKind)
        assert kind.hook_only
        assert explain(kind)["fields"]
    assert not kinds.get("BackupJob").hook_only
    assert [kind.name for kind in kinds if kind.hook_only and kind.privileged] == ["GuestExec"]


@given(st.lists(st.tuples(st.integers(0, 999), st.sampled_from(["ms", "s", "m", "h"])), min_size=1, max_size=4))
def test_times(parts: list[tuple[int, str]]) -> None:
    factors = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert seconds(text) == pytest.approx(sum(number * factors[unit] for number, unit in parts))
    with pytest.raises(ValueError, match="no time"):
        seconds(f"{text} x")

"""Kinds that are hooks only: checked and lowered as tests/api/cases/hookkinds.yaml says."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pvehelm.api.hookkinds import HookKind
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

"""Versions and the constraints that charts write."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest

from pvehelm.chart.versions import is_strict, parse, satisfies
from tests.chart.data import cases
from tests.helpers import SHARED, needs_shared


@pytest.mark.parametrize("case", cases("versions.yaml"))
def test_case(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(ValueError, match="no version constraint"):
            satisfies(case["constraint"], "1.0.0")
        return
    assert [v for v in case["meets"] if not satisfies(case["constraint"], v)] == []
    assert [v for v in case["fails"] if satisfies(case["constraint"], v)] == []


def test_order() -> None:
    texts = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0",
        "1.10.0",
    ]
    versions = [parse(text) for text in texts]
    assert all(one < two for one, two in itertools.pairwise(versions))
    assert [str(version) for version in versions] == texts
    assert parse("1.0.0+a") == parse("1.0.0+b")
    assert str(parse("v1.2")) == "1.2.0"


def test_what_is_a_version() -> None:
    for text in ("1.2.3", "1.2.3-a.b+c", "0.0.0"):
        assert is_strict(text)
    for text in ("1.2", "v1.2.3", "1.2.03", "1.2.3-01", "1.2.3 ", "", "1.2.3-"):
        assert not is_strict(text)
    for text in ("a", "1.2.3.4", "1.2.3-01", "1" * 300):
        with pytest.raises(ValueError, match="no semantic version"):
            parse(text)


@needs_shared
def test_helm_compares_the_same() -> None:
    data = json.loads((SHARED / "helm-compat" / "oracle-cases.json").read_text(encoding="utf-8"))
    seen = 0
    for case in data["cases"]:
        found = re.fullmatch(r'\{\{-? ?semverCompare "([^"]*)" "([^"]*)" ?\}\}', case["template"])
        if found:
            try:
                result = str(satisfies(found[1], found[2])).lower()
            except ValueError:
                result = None
            assert result == case.get("expected"), case
            seen += 1
    assert seen > 200

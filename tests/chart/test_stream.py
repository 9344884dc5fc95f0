"""What ``helm template`` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pvehelm.chart.chart import load
from pvehelm.chart.stream import crds, ordered, text
from pvehelm.errors import InvalidError
from tests.chart.data import cases, write

TWICE = "kind: Job\nmetadata: {annotations: {helm.sh/hook: test}}\nkind: Job\n"


@pytest.mark.parametrize("case", cases("stream.yaml"))
def test_case(case: dict[str, Any]) -> None:
    assert text(case["files"], hooks=case.get("hooks", True), tests=case.get("tests", True)) == case["text"]


def test_what_is_no_yaml_is_named() -> None:
    with pytest.raises(InvalidError) as caught:
        ordered({"a/templates/a.yaml": "a: [\n", "a/templates/b.yaml": "kind: 'A\n", "a/templates/c.yaml": TWICE})
    assert [problem.where.partition(":")[0] for problem in caught.value.problems] == [
        "a/templates/a.yaml",
        "a/templates/b.yaml",
    ]


def test_crds_of_a_tree(tmp_path: Path) -> None:
    chart = load(
        write(
            tmp_path,
            {
                "Chart.yaml": "{apiVersion: v2, name: web, version: 1.0.0}",
                "crds/b.yaml": "kind: B",
                "crds/a/a.YML": "kind: A",
                "crds/README.md": "no",
                "charts/db/Chart.yaml": "{apiVersion: v2, name: db, version: 1.0.0}",
                "charts/db/crds/c.json": "{}",
            },
        )
    )
    printed = text({"web/templates/x.yaml": "kind: X"}, first=crds(chart))
    assert [line for line in printed.splitlines() if line.startswith("# Source")] == [
        "# Source: web/crds/a/a.YML",
        "# Source: web/crds/b.yaml",
        "# Source: web/charts/db/crds/c.json",
        "# Source: web/templates/x.yaml",
    ]

"""Lint finds what can be found without rendering, and the scaffold has none of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pvehelm.chart.chart import load
from pvehelm.chart.lint import lint
from pvehelm.chart.render import Capabilities, ReleaseInfo, render
from pvehelm.chart.rules import Finding, finding
from pvehelm.chart.scaffold import scaffold
from pvehelm.chart.values import coalesce, validate
from pvehelm.chart.yaml import load as load_yaml
from pvehelm.errors import InvalidError, Problem, UsageError
from tests.chart.data import cases, write


def linted(root: Path, values: dict[str, Any]) -> list[Finding]:
    """What is found, as the command tells it: a chart that does not load is one finding or several."""
    try:
        return lint(load(root), values)
    except InvalidError as error:
        return [finding("chart-load", p.where, p.what, p.hint) for p in error.problems]


@pytest.mark.parametrize("case", cases("lint.yaml"))
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    root = write(tmp_path / "web", case["files"])
    findings = linted(root, case.get("values") or {})
    for severity in ("error", "warning", "info"):
        found = sorted((f.where.removeprefix(f"{root}/"), f.what) for f in findings if f.severity == severity)
        wanted = sorted(map(tuple, case.get(f"{severity}s", [])))
        assert len(found) == len(wanted), found
        for where, what in wanted:
            assert any(where == place and what in text for place, text in found), (where, what, found)
    order = [finding.severity for finding in findings]
    assert order == sorted(order, key=("error", "warning", "info").index)


def test_subcharts_when_asked(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "Chart.yaml": "{apiVersion: v2, name: web, version: 1.0.0, dependencies: [{name: db, version: 1.x}]}",
        "charts/db/Chart.yaml": "{apiVersion: v2, name: db, version: 1.0.0}",
        "charts/db/templates/a.exe": "",
    }
    chart = load(write(tmp_path / "web", files))
    assert not any("a.exe" in finding.where for finding in lint(chart, {}))
    assert any("a.exe" in finding.where for finding in lint(chart, {}, subcharts=True))


def test_a_finding_is_a_problem(tmp_path: Path) -> None:
    finding = Finding("f:1", "what", "hint", "warning")
    assert Problem(*finding[:3]) == Problem("f:1", "what", "hint")
    assert str(finding) == "[WARNING] f:1: what\n  hint: hint"


@pytest.mark.parametrize("engine", ["jinja2", "gotpl"])
@pytest.mark.parametrize("name", ["demo", "a", "My.Chart_1-x"])
def test_the_scaffold_is_a_good_chart(name: str, engine: str, tmp_path: Path) -> None:
    files = scaffold(name, engine)
    root = write(tmp_path / name, dict(files))
    chart = load(root)
    assert [finding.rule for finding in lint(chart, load_yaml(files["ci/full-values.yaml"]))] == ["chart-icon"]
    assert (chart.name, chart.metadata.engine) == (name, engine)
    assert validate(chart, coalesce(chart, load_yaml(files["ci/full-values.yaml"]))) == []
    documented = {key for key in chart.values if f"`{key}" in files["README.md"]}
    assert documented == set(chart.values)
    assert set(chart.values) <= set((chart.schema or {})["properties"])


@pytest.mark.parametrize("engine", ["jinja2", "gotpl"])
def test_the_scaffold_renders(engine: str, tmp_path: Path) -> None:
    chart = load(write(tmp_path / "My_App", dict(scaffold("My_App", engine))))
    values = coalesce(chart, {"tags": ["a"], "network": {"bridge": "vmbr1", "vlan": 5}})
    found = render(
        chart,
        values,
        ReleaseInfo("web", "prod", 1, True, False),
        Capabilities("9.2", ("VirtualMachine",), "0.1.0"),
        sandbox=False,
    )
    assert {resource.ref for resource in found.resources} == {"VirtualMachine/web-my-app", "TcpCheck/ssh"}
    (resource,) = (one for one in found.resources if one.kind == "VirtualMachine")
    assert resource.namespace == "prod"
    assert resource.spec == {
        "node": "pve-node1",
        "template": "debian-12-template",
        "cpu": {"cores": 2, "sockets": 1},
        "memory": 2048,
        "agent": True,
        "disks": [{"size": "10G"}],
        "networks": [{"bridge": "vmbr1", "tag": 5}],
        "cloudInit": {"user": "debian", "ip": "dhcp"},
        "tags": ["a"],
        "onboot": True,
    }
    assert "pvehelm status web" in found.notes


def test_names_that_are_no_chart() -> None:
    for name in ("", "-a", "a/b", "..", "a b", "x" * 300):
        with pytest.raises(UsageError, match="no chart name"):
            scaffold(name)
    with pytest.raises(UsageError, match="--engine"):
        scaffold("a", "erb")

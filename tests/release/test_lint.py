"""Lint of what charts make for Proxmox: which rules find what, where, and how they are silenced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pvehelm.actions.charts import lint_rules
from tests.release.lab import Lab, load_cases

VALUES = 'node: pve-node1\ntemplate: t\nbridge: vmbr0\nstorage: local-lvm\npassword: ""\n'
QUIET = ("chart-icon", "chart-description", "template-notes", "chart-file")


def chart(lab: Lab, case: dict[str, Any]) -> Path:
    templates = {"all.yaml": case["template"]} if case["template"] else {}
    folder = Path(lab.chart(templates, values=case.get("values", VALUES)))
    (folder / ".pvehelmlint.yaml").write_text(case.get("config", ""))
    return folder


@pytest.mark.parametrize("case", load_cases("release/cases/lint.yaml"), ids=lambda case: case["name"])
def test_rules(lab: Lab, case: dict[str, Any]) -> None:
    (row,) = lab.run("lint", str(chart(lab, case)), "-o", "json", code=None).json
    found = [one for one in row["findings"] if one["rule"] not in QUIET]
    assert sorted(one["rule"] for one in found) == sorted(rule for rule, _, _ in case["found"]), found
    for rule, line, text in case["found"]:
        assert any(
            one["rule"] == rule and text in one["what"] and (not line or f":{line}" in one["where"]) for one in found
        ), (rule, line, text, found)


def test_severities_and_codes(lab: Lab) -> None:
    place = chart(lab, {"template": "kind: Pool\nmetadata: { name: p }\n", "values": "password: hunter22\n"})
    assert f"[WARNING] {place}/values.yaml:1:1: password has a secret" in lab.run("lint", str(place)).out
    assert "(values-secret)" in lab.run("lint", str(place), "--strict", code=1).out
    (place / ".pvehelmlint.yaml").write_text("severity: { values-secret: error }\n")
    lab.run("lint", str(place), code=1)
    (place / ".pvehelmlint.yaml").write_text("ignore: values-secret\n")
    lab.run("lint", str(place), "--strict")
    (place / ".pvehelmlint.yaml").write_text("ignore: [\n")
    assert "(lint-config)" in lab.run("lint", str(place), "--strict", code=1).out


def test_what_cannot_be_silenced_by_a_comment_elsewhere(lab: Lab) -> None:
    place = chart(lab, {"template": "{{ Values.nothing }}"})
    told = lab.run("lint", str(place), code=1).out
    assert f"[ERROR] {place}/templates/all.yaml:1:" in told
    assert "Values.nothing is not defined" in told
    (place / "Chart.yaml").write_text("name: [")
    assert "(chart-load)" in lab.run("lint", str(place), code=1).out


def test_sarif(lab: Lab) -> None:
    place = chart(lab, {"template": "kind: Pool\nmetadata: { name: p }\n", "values": "password: hunter22\n"})
    (place / "templates/bad.yaml").write_text("kind: Poll\nmetadata: { name: p }\n")
    report = lab.run("lint", str(place), "-o", "sarif", code=1).json
    (run,) = report["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    results = {result["ruleId"]: result for result in run["results"]}
    assert results["render"]["level"] == "error"
    region = results["values-secret"]["locations"][0]["physicalLocation"]
    assert region["artifactLocation"]["uri"].endswith("values.yaml")
    assert region["region"] == {"startLine": 1, "startColumn": 1}
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    assert lab.run("lint", str(place), "-o", "xml", code=64)
    assert json.dumps(report)


def test_every_rule_has_a_name_and_a_sentence() -> None:
    for name, rule in lint_rules().items():
        assert name.replace("-", "").isalnum()
        assert name.islower()
        assert rule.told.endswith((".", ")"))


def test_values_of_ci(lab: Lab) -> None:
    place = chart(
        lab,
        {
            "template": "kind: Pool\nmetadata: { name: p }\nspec: { comment: {{ Values.text }} }\n"
            "{% if Values.more %}\n---\nkind: {{ Values.more }}\nmetadata: { name: q }\n{% endif %}\n",
            "values": "text: a\nmore: ''\n",
        },
    )
    (place / "ci").mkdir()
    (place / "ci/good-values.yaml").write_text("more: Pool\n")
    (place / "ci/bad-values.yaml").write_text("more: Poll\n")
    lab.run("lint", str(place))
    (row,) = lab.run("lint", str(place), "--ci", "-o", "json", code=1).json
    assert [one["rule"] for one in row["findings"] if one["severity"] == "error"] == ["render"]
    assert len({(one["where"], one["what"]) for one in row["findings"]}) == len(row["findings"])

"""Bad input, as a table of data: a clear error with place and hint, the right exit code, and nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.release.lab import Lab, load_cases

CASES = load_cases("cli/cases/bad-input.yaml")
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\n",
    "values.yaml": "node: pve-node1\nmemory: 512\ncores: 1\n",
    "values.schema.json": """{ "type": "object", "additionalProperties": false, "properties": {
        "node": { "type": "string" }, "memory": { "type": "integer" },
        "cores": { "type": "integer", "minimum": 1 } } }""",
    "templates/vm.yaml": "kind: VirtualMachine\nmetadata: { name: vm }\nspec:\n  node: {{ Values.node }}\n"
    "  memory: {{ Values.memory }}\n",
}


def write(folder: Path, case: dict[str, Any]) -> None:
    files = {**CHART, **case.get("files", {})}
    if "manifest" in case:
        files["templates/vm.yaml"] = case["manifest"]
    for path in case.get("remove", ()):
        del files[path]
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_bad_input(lab: Lab, case: dict[str, Any], tmp_path: Path) -> None:
    chart = tmp_path / "app"
    write(chart, case)
    args = list(case.get("args", ["install", "web", "CHART"]))
    if "values" in case:
        (tmp_path / "more.yaml").write_text(case["values"])
        args += ["-f", "more.yaml"]
    tasks = len(lab.state.collection("tasks"))
    result = lab.run(*(str(chart) if arg == "CHART" else arg for arg in args), code=None)
    wanted = case.get("code", 1)
    assert result.code == wanted if wanted is not None else result.code in (1, 3, 64), result
    missing = [text for text in case["text"] if text not in result.err]
    assert not missing, (missing, result)
    assert result.err.count("Error:") == 1
    # nothing was begun, so nothing is left: no revision, no guest, no task
    assert lab.run("list", "-A", "-q").out == ""
    assert not lab.guests()
    assert len(lab.state.collection("tasks")) == tasks

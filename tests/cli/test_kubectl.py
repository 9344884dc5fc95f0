"""kubectl's habits, as tables of data: files, command lines, exit codes and what is printed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.release.lab import Lab, load_cases

CASES = [case for name in ("sets", "objects", "guests", "habits") for case in load_cases(f"cli/cases/{name}.yaml")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_cases(lab: Lab, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in case.get("files", {}).items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    chart = lab.chart(case["chart"]) if "chart" in case else ""
    for step in case["steps"]:
        for name in ("VISUAL", "PVEHELM_EDITOR", "EDITOR", "AMY_PASSWORD", "PVEHELM_EXTERNAL_DIFF"):
            monkeypatch.delenv(name, raising=False)
        for name, value in step.get("env", {}).items():
            monkeypatch.setenv(name, value)
        words = [chart if word == "CHART" else word for word in shlex.split(step["run"])]
        result = lab.run(*words, code=step.get("code", 0), stdin=step.get("stdin", ""))
        for stream in ("out", "err"):
            missing = [text for text in step.get(stream, ()) if text not in getattr(result, stream)]
            assert not missing, (step["run"], stream, missing, result)
        for text in step.get("not", ()):
            assert text not in result.text, (step["run"], text, result)
        if "is" in step:
            assert result.out == step["is"], (step["run"], result)
        if "json" in step:
            data = json.loads(result.out)
            wanted = step["json"]
            assert isinstance(data, list) if wanted == "list" else wanted.items() <= data.items(), (step["run"], result)
        if "save" in step:
            Path(step["save"]).write_text(result.out)

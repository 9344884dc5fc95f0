"""Whole processes: what a user waits for before anything happens."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.conftest import chart_of, note, paired

Make = Callable[[Sequence[str]], Callable[[], object]]


@pytest.mark.parametrize(
    ("command", "goal"), [("version", " (goal 1.3)"), ("list", " (goal 1.3)"), ("get vms", ""), ("template CHART", "")]
)
@pytest.mark.usefixtures("compiled")
def test_start(benchmark: Any, process: Make, tmp_path: Path, command: str, goal: str) -> None:
    pool = (
        "apiVersion: proxmox.io/v1\nkind: Pool\nmetadata: {{ name: p{} }}\nspec: {{ comment: '{{{{ Values.x }}}}' }}\n"
    )
    chart = chart_of(tmp_path / "chart", "hundred", "x: 1\n", {f"{one}.yaml": pool.format(one) for one in range(100)})
    script = Path(sys.executable).with_name("pvehelm")
    run = process([str(script), *command.replace("CHART", str(chart)).split()])
    baseline = process(["-c", "import typer"])
    ours, theirs, ratio = paired(run, baseline)
    benchmark.pedantic(run, rounds=5)
    note(f"pvehelm {command}: {ours * 1000:.0f} ms, import typer {theirs * 1000:.0f} ms, ratio {ratio:.2f}{goal}")


def test_schema_load(benchmark: Any) -> None:
    import json

    from pvehelm.api.releases import DATA
    from pvehelm.api.schema import Schema

    file = Path(DATA, "schema-9.2.json")
    text = file.read_text(encoding="utf-8")

    def load() -> Schema:
        schema = Schema.read(file)
        schema.operation("POST", "/nodes/{node}/qemu")
        return schema

    ours, _, ratio = paired(load, lambda: json.loads(text), 50)
    benchmark(load)
    note(f"schema 9.2 loaded, one operation made: {ours * 1000:.1f} ms, ratio to json.loads {ratio:.2f}")

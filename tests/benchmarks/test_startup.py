"""Whole processes: what a user waits for before anything happens."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.conftest import note, paired

Make = Callable[[Sequence[str]], Callable[[], object]]


@pytest.mark.parametrize("command", ["version", "list"])
@pytest.mark.usefixtures("compiled")
def test_start(benchmark: Any, process: Make, command: str) -> None:
    script = Path(sys.executable).with_name("pvehelm")
    run = process([str(script), command])
    baseline = process(["-c", "import typer"])
    ours, theirs, ratio = paired(run, baseline)
    benchmark.pedantic(run, rounds=5)
    note(f"pvehelm {command}: {ours * 1000:.0f} ms, import typer {theirs * 1000:.0f} ms, ratio {ratio:.2f} (goal 1.3)")


def test_schema_load(benchmark: Any) -> None:
    import json
    from importlib import resources

    from pvehelm.api.schema import Schema

    text = resources.files("pvehelm.api").joinpath("data", "schema-9.2.json").read_text()

    def load() -> Schema:
        schema = Schema(json.loads(text))
        schema.operation("POST", "/nodes/{node}/qemu")
        return schema

    ours, _, ratio = paired(load, lambda: json.loads(text), 50)
    benchmark(load)
    note(f"schema 9.2 loaded, one operation made: {ours * 1000:.1f} ms, ratio to json.loads {ratio:.2f}")

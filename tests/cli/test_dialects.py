"""A release of charts in both dialects."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.chart.data import CASES
from tests.release.lab import Lab


def test_the_life_of_a_release_of_both(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three levels of alternating dialects, two libraries; see cases/mixed for what flows between them."""
    monkeypatch.setenv("PW", "geheim123")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(CASES / "mixed", "top")
    flags = ["--set", "middle.tags={x}", "--set", "middle.low.tags={y}", "--set", "tags={z}"]
    flags += ["--set", "password=secret://env/PW", "--set", "middle.password=spelled-out"]
    shown = lab.run("template", "r", "./top", *flags).out
    for line in (
        'tags: ["a", "z"]',
        "description: top-top-r top-top-vm.yaml vmbr0 8080",
        "password: ${secret://env/PW}",
        'tags: ["m","x"]',
        'description: mid-middle-vm.yaml 3 [1,"b"] example.org mid-zone',
        "memory: 2048",
        'tags: ["l", "c", "y"]',
        "description: example.org mid-zone",
    ):
        assert line in shown
    assert "spelled-out" not in shown
    installed = lab.run("install", "r", "./top", *flags).out
    assert "top top sees False" in installed or "top top sees false" in installed
    assert "mid notes" not in installed
    both = lab.run("upgrade", "r", "./top", *flags, "--render-subchart-notes", "--set", "middle.cpu=4").out
    assert both.index("top top sees") < both.index("mid notes")
    lab.run("plan", "upgrade", "r", "./top", "--detailed-exitcode", code=0)
    said = lab.run("upgrade", "r", "./top", "--set", "middle.cpu=5", "--dry-run").out
    assert "~ VirtualMachine/mid" in said
    assert "Plan: 1 to update" in said
    lab.run("upgrade", "r", "./top", "--set", "middle.cpu=5")
    lab.run("rollback", "r", "1")
    assert "Plan: no changes" in lab.run("diff", "r").out
    whole = lab.run("get", "all", "r").out
    assert "spelled-out" not in whole
    assert "geheim123" not in whole
    refused = lab.run("template", "r", "./top", "--set", "opt.enabled=true", code=1).err
    assert "execution error at (top/charts/opt/templates/a.yaml:1:3): off" in refused

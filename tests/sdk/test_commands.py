"""sdk generate and schema diff, and what the documentation shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pvehelm.actions.sdk import schema_diff, sdk_generate
from pvehelm.api.schema import Schema
from pvehelm.errors import InvalidError, NotFoundError
from pvehelm.faces.cli.app import main
from tests.docs import examples
from tests.helpers import ROOT

USE = """
import mypve
from mypve.pools import Pools
from tests.sdk.wire import Script

transport = Script(lambda heard: [{"poolid": "a"}], version="VERSION")
with mypve.ProxmoxClient.sync("pve", token="root@pam!t=secret", transport=transport) as pve:
    print(pve.schema.release, type(pve.pools).__name__, Pools.__name__, pve.pools.get()[0].poolid)
"""


def use(folder: Path, version: str) -> str:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    code = USE.replace("VERSION", version)
    return subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True).stdout


def test_a_package_of_a_release(tmp_path: Path) -> None:
    assert main(["sdk", "generate", "--schema", "8.4", "--out", str(tmp_path / "mypve")]) == 0
    assert not (tmp_path / "mypve" / "schema.json").exists()
    assert use(tmp_path, "8.4.3") == "8.4 Pools Pools a\n"


def test_a_package_of_schema_data_brings_it_along(tmp_path: Path) -> None:
    data = {
        "format": 1,
        "release": "11.0",
        "facts": [{"type": "array", "items": {"type": "object", "properties": {"poolid": {"type": "string"}}}}],
        "operations": [{"method": "GET", "path": "/pools", "name": "index", "returns": 0}],
    }
    source = tmp_path / "schema-11.0.json"
    source.write_text(json.dumps(data))
    assert main(["sdk", "generate", "--schema", str(source), "--out", str(tmp_path / "mypve")]) == 0
    assert use(tmp_path, "11.0.1") == "11.0 Pools Pools a\n"


def test_a_new_run_removes_what_it_no_longer_makes(tmp_path: Path) -> None:
    folder = tmp_path / "mypve"
    for release in ("9.2", "7.4"):
        assert main(["sdk", "generate", "--schema", release, "--out", str(folder)]) == 0
        (folder / "mine.py").write_text("")
    assert {path.name for path in folder.iterdir()} == {*sdk_generate("7.4"), "mine.py"}


def test_other_peoples_files_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nodes.py").write_text("print()\n")
    assert main(["sdk", "generate", "--out", str(tmp_path)]) == 3
    assert "nodes.py would be overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--schema", "12.1", "--out", "a"], "no schema for Proxmox VE 12.1"),
        (["--schema", "nothing.json", "--out", "a"], "can't read nothing.json"),
        (["--out", "a-b"], "cannot be imported"),
    ],
)
def test_mistakes(arguments: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sdk", "generate", *arguments]) == 1
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("source", [b"{", b"{}", b"var a = 1;", b"\x00"])
def test_what_is_no_schema(source: bytes) -> None:
    with pytest.raises(InvalidError):
        sdk_generate(source)
    with pytest.raises(InvalidError):
        schema_diff(source, "9.2")
    with pytest.raises(NotFoundError):
        schema_diff("1.0", "9.2")


def small(*operations: dict[str, Any], facts: list[Any]) -> bytes:
    return json.dumps({"format": 1, "release": "1", "facts": facts, "operations": list(operations)}).encode()


def test_differences() -> None:
    facts = [
        {"type": "string"},
        {"type": "string", "optional": 1},
        {"type": "string", "format": {"a": {"type": "string"}, "b": {"type": "integer", "maximum": 5}}},
        {"type": "string", "format": {"a": {"type": "string"}, "b": {"type": "integer", "maximum": 9}, "c": {}}},
        {"type": "string", "enum": ["x", "y"]},
        {"type": "string", "enum": ["y", "z"]},
    ]
    old = small(
        {"method": "GET", "path": "/gone", "name": ""},
        {"method": "GET", "path": "/same", "name": "", "params": {"a": 0}},
        {"method": "PUT", "path": "/x/{id}", "name": "", "params": {"id": 0, "a": 0, "old": 0, "net[n]": 2, "w": 4}},
        facts=facts,
    )
    new = small(
        {"method": "GET", "path": "/same", "name": "", "params": {"a": 0}},
        {
            "method": "PUT",
            "path": "/x/{name}",
            "name": "",
            "params": {"name": 0, "a": 1, "new": 0, "net[n]": 3, "w": 5},
        },
        {"method": "POST", "path": "/made", "name": ""},
        facts=facts,
    )
    assert schema_diff(old, new) == {
        "from": "1",
        "to": "1",
        "added": [{"method": "POST", "path": "/made"}],
        "removed": [{"method": "GET", "path": "/gone"}],
        "changed": [
            {
                "method": "PUT",
                "path": "/x/{name}",
                "was": "/x/{id}",
                "parameters": {
                    "added": ["net[n].c", "new"],
                    "removed": ["old"],
                    "changed": [
                        {"name": "a", "fact": "optional", "before": None, "after": 1},
                        {"name": "net[n].b", "fact": "maximum", "before": 5, "after": 9},
                        {"name": "w", "fact": "enum", "before": ["x", "y"], "after": ["y", "z"]},
                    ],
                },
            }
        ],
    }


@pytest.mark.parametrize(("old", "new"), [("7.4", "8.4"), ("8.4", "9.2"), ("9.2", "7.4")])
def test_differences_add_up(old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = schema_diff(old, new)
    assert len(Schema.load(old)) + len(data["added"]) - len(data["removed"]) == len(Schema.load(new))
    assert main(["schema", "diff", old, new]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"Proxmox VE {old} -> {new}: {len(data['added'])} operations added")
    assert main(["schema", "diff", old, new, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == data
    assert schema_diff(new, new)["changed"] == []


def test_programs_of_the_documentation_are_typed(tmp_path: Path) -> None:
    shown = [block for block in examples.blocks(ROOT / "docs" / "sdk.md") if block.language == "python"]
    assert len(shown) >= 3
    for number, block in enumerate(shown):
        (tmp_path / f"shown{number}.py").write_text(block.text)
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *map(str, sorted(tmp_path.glob("*.py")))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout

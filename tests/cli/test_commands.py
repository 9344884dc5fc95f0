"""Command lines, as a table of data: exit code and what is printed."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from typing import Any

import pytest

from pvehelm.faces.output import Progress
from pvehelm.release.event import Event
from tests.release.lab import Lab, load_cases

CASES = load_cases("cli/cases/commands.yaml")
VM = """
kind: VirtualMachine
metadata: { name: {{ Release.Name }}-{{ Values.suffix }} }
spec:
  node: {{ Values.node }}
  template: debian-12-template
  memory: {{ Values.memory | default(512) }}
  onboot: {{ Values.onboot }}
{% if Values.privileged %}
  args: -no-hpet
{% endif %}
"""
VALUES = "node: pve-node1\nmemory: 1024\nsuffix: vm\nprivileged: false\nonboot: false\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_commands(lab: Lab, case: dict[str, Any]) -> None:
    files = {"vm.yaml": VM, "NOTES.txt": "The machine {{ Release.Name }}-{{ Values.suffix }} is there.\n"}
    chart = lab.chart(files, values=VALUES)
    for step in case["steps"]:
        args = [word.replace("CHART", chart) if word.startswith("CHART") else word for word in shlex.split(step["run"])]
        result = lab.run(*args, code=step.get("code", 0))
        for stream in ("out", "err"):
            missing = [text for text in step.get(stream, ()) if text not in getattr(result, stream)]
            assert not missing, (step["run"], stream, missing, result)
        for text in step.get("not", ()):
            assert text not in result.text, (step["run"], text, result)
        if "json" in step:
            data = json.loads(result.out)
            wanted = step["json"]
            assert isinstance(data, list) if wanted == "list" else set(wanted) <= set(data), (step["run"], result)


def test_ctrl_c_while_modules_are_read() -> None:
    program = """
import sys
from pvehelm.__main__ import main
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "pvehelm.faces.cli.app":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
sys.exit(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_a_note_about_everything_names_nothing() -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)
    for kind in ("note", "log"):
        progress(Event(kind, "", "undoing it"))
        progress(Event(kind, "Pool/p", "undoing it"))
    assert stream.getvalue().splitlines() == ["undoing it", "Pool/p: undoing it", "undoing it", "Pool/p | undoing it"]


def test_every_file_in_the_way_is_named(lab: Lab) -> None:
    folder = lab.folder / "all"
    folder.mkdir()
    lab.run("import", "--all", "-o", "manifests", str(folder), code=None)
    files = sorted(str(path) for path in folder.rglob("*.yaml"))
    assert files
    told = lab.run("import", "--all", "-o", "manifests", str(folder), code=64)
    assert all(f"{path}: already there" in told.err for path in files), told
    assert "nothing was written" in told.err
    lab.run("import", "--all", "-o", "manifests", str(folder), "--force")


def test_what_a_reconciler_is_told_and_has_not_done_yet(lab: Lab) -> None:
    file = lab.folder / "reconcile.yaml"
    file.write_text(
        "kind: Reconciler\nspec: { policy: repair }\n---\nkind: Sync\nmetadata: { name: shop }\n"
        "spec: { repository: 'git+https://example.org/shop.git@main', chart: charts/shop }\n"
    )
    lab.run("install", "web", lab.chart({"pool.yaml": "kind: Pool\nmetadata: { name: web }\n"}))
    assert lab.run("reconcile", "status", "-o", "json").json[0]["policy"]["mode"] == "observe"
    rows = {row["release"]: row for row in lab.run("reconcile", "status", "-f", str(file), "-o", "json").json}
    assert (rows["web"]["policy"]["mode"], rows["shop"]["result"]) == ("repair", "not installed")
    assert "not installed" in lab.run("reconcile", "status", "-f", str(file)).out
    assert "takes no status" in lab.run("reconcile", "-f", str(file), "status", code=64).err


def test_all_files_that_cannot_be_read(lab: Lab) -> None:
    told = lab.run("template", lab.chart({}), "-f", "one", "--set-file", "a=two", code=1).err
    assert "can't read one" in told
    assert "can't read two" in told

"""Charts in Helm's own syntax on the command line: ``engine: gotpl``, ``--engine`` and ``--strict``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chart.data import write
from tests.release.lab import Lab

VM = """\
apiVersion: proxmox.io/v1
kind: VirtualMachine
metadata:
  name: {{ .Values.name }}
spec:
  node: pve-node1
  cpu: { cores: {{ .Values.resources.cpu }} }
  memory: {{ .Values.resources.memory }}
"""


def chart(root: Path, engine: str = "") -> str:
    files: dict[str, str | bytes] = {
        "Chart.yaml": f"apiVersion: v2\nname: web\nversion: 1.0.0\n{engine}",
        "values.yaml": "name: web-server\nresources: {cpu: 4, memory: 2048}\n",
        "templates/vm.yaml": VM,
        "templates/NOTES.txt": "{{ .Values.name }} of {{ .Release.Name }}, big {{ .Values.big | default 1000000.0 }}\n",
    }
    return str(write(root / "web", files))


def test_a_release_from_beginning_to_end(lab: Lab, tmp_path: Path) -> None:
    path = chart(tmp_path, "engine: gotpl\n")
    assert "web-server of web, big 1e+06" in lab.run("install", "web", path).out
    assert lab.config(lab.vmid("web", "VirtualMachine/web-server"))["memory"] == "2048"
    upgraded = lab.run("upgrade", "web", path, "--set", "resources.memory=4096,big=1000000")
    assert "big 1000000" in upgraded.out
    assert lab.config(lab.vmid("web", "VirtualMachine/web-server"))["memory"] == "4096"
    # The same again changes nothing, though recorded numbers have become those of files.
    lab.run("plan", "upgrade", "web", path, "--detailed-exitcode", code=0)
    lab.run("rollback", "web", "1", "--yes")
    assert lab.config(lab.vmid("web", "VirtualMachine/web-server"))["memory"] == "2048"
    lab.run("uninstall", "web", "--yes")


def test_a_chart_that_names_no_engine(lab: Lab, tmp_path: Path) -> None:
    path = chart(tmp_path)
    told = lab.run("install", "web", path, code=1).err
    assert "--engine gotpl" in told
    assert "engine: gotpl" in told
    lab.run("lint", path, "--engine", "gotpl")
    assert "memory: 2048" in lab.run("template", "web", path, "--engine", "gotpl").out
    lab.run("install", "web", path, "--engine", "gotpl")
    lab.run("plan", "upgrade", "web", path, "--engine=gotpl", "--detailed-exitcode", code=0)
    assert "jinja2" in lab.run("template", "web", path, "--engine", "mustache", code=64).err


@pytest.mark.parametrize("command", [("template", "web"), ("install", "web"), ("lint",)])
def test_strict(command: tuple[str, ...], lab: Lab, tmp_path: Path) -> None:
    result = lab.run(*command, chart(tmp_path), "--engine", "gotpl", "--strict", code=1)
    assert 'map has no entry for key "big"' in result.text
    assert "web/templates/NOTES.txt:1:" in result.text


def test_documents_that_do_not_say_what_they_are(lab: Lab, tmp_path: Path) -> None:
    files = {"Chart.yaml": "apiVersion: v2\nname: e\nversion: 1.0.0\n", "templates/a.yaml": "a: {{ .Values.a }}\n"}
    path = str(write(tmp_path / "e", dict(files)))
    (tmp_path / "twice.yaml").write_text("a: 1\nb: 0\na: 2\n")
    printed = lab.run("template", "r", path, "--engine", "gotpl", "-f", "twice.yaml")
    assert printed.out == "---\n# Source: e/templates/a.yaml\na: 2\n"
    assert "1 manifest is not for Proxmox (no apiVersion)" in printed.err
    assert "note: twice.yaml:3:1: key 'a' is given twice" in printed.err
    assert "; the last counts" in printed.err
    for command in ("install", "upgrade"):
        refused = lab.run(command, "r", path, "-i" if command == "upgrade" else "-y", "--engine", "gotpl", code=1)
        assert "e/templates/a.yaml:1:1: apiVersion and kind are missing" in refused.err
    # In Jinja2 both are errors.
    assert "given twice" in lab.run("template", "r", path, "-f", "twice.yaml", code=1).err

"""``pvehelm chart convert``: what is written, what is said, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chart.data import write
from tests.helpers import ROOT
from tests.release.lab import Lab

VM = """\
apiVersion: proxmox.io/v1
kind: VirtualMachine
metadata: { name: {{ .Values.name }} }
spec:
  node: pve-node1
  {{- with .Values.memory }}
  memory: {{ . }}
  {{- end }}
"""


@pytest.fixture
def chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files: dict[str, str | bytes] = {
        "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
        "values.yaml": "name: web\nmemory: 2048\n",
        "ci/bare-values.yaml": "memory: null\n",
        "templates/vm.yaml": VM,
    }
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "web", files)


def test_converted_and_installed(lab: Lab, chart: Path) -> None:
    said = lab.run("chart", "convert", "./web", "--to", "jinja2").out
    assert "ci/bare-values.yaml" in said
    assert "1 template converted in web-jinja2; both charts render the same" in said
    assert "{% if Values.memory | default(false) %}\n" in Path("web-jinja2/templates/vm.yaml").read_text()
    assert (chart / "templates/vm.yaml").read_text() == VM
    lab.run("install", "web", "./web-jinja2")
    # The same release from the chart it came from: nothing changes on the server.
    lab.run("plan", "upgrade", "web", "./web", "--engine", "gotpl", "--detailed-exitcode", code=0)


def test_nothing_is_overwritten_without_a_word(lab: Lab, chart: Path) -> None:
    write(Path("out"), {"mine.txt": "mine", "templates/vm.yaml": "mine"})
    refused = lab.run("chart", "convert", "./web", "--out", "out", code=1)
    assert "out exists already" in refused.err
    assert "--overwrite" in refused.err
    assert Path("out/templates/vm.yaml").read_text() == "mine"
    lab.run("chart", "convert", "./web", "--out", "out", "--overwrite")
    assert Path("out/mine.txt").read_text() == "mine"
    assert Path("out/templates/vm.yaml").read_text() != "mine"


def test_the_report_alone(lab: Lab, chart: Path) -> None:
    found = json.loads(lab.run("chart", "convert", "./web", "--report", "-o", "json").out)
    assert found["proven"] is True
    assert [proof["values"] for proof in found["proofs"]] == ["values.yaml", "ci/bare-values.yaml"]
    assert not list(Path().glob("*jinja2*"))


def test_what_is_left_to_a_person(lab: Lab, chart: Path) -> None:
    (chart / "templates/vm.yaml").write_text(VM + '  description: {{ getHostByName "x" }}\n')
    result = lab.run("chart", "convert", "./web", code=1)
    assert "[BY HAND] ./web/templates/vm.yaml:9:" in result.out
    assert "1 place to be written by hand" in result.out
    told = lab.run("template", "./web-jinja2", code=1).err
    assert "vm.yaml:9:" in told
    assert "to be written by hand: getHostByName" in told


def test_what_is_no_chart_of_helms_syntax(lab: Lab, chart: Path) -> None:
    said = lab.run("chart", "convert", str(ROOT / "charts/web-app"), "--out", "out", code=1).err
    assert "web-app is not written in Helm's template syntax" in said
    assert not Path("out").exists()
    assert "jinja2" in lab.run("chart", "convert", "./web", "--to", "mustache", code=64).err


def test_in_place_with_a_packed_subchart(lab: Lab, chart: Path) -> None:
    files = {
        "Chart.yaml": "apiVersion: v2\nname: low\nversion: 1.0.0\n",
        "templates/_x.tpl": '{{ define "low.x" }}x{{ end }}',
    }
    write(Path("low"), dict(files))
    lab.run("package", "./low", "-d", "web/charts")
    (chart / "templates/vm.yaml").write_text(VM + '  description: {{ include "low.x" . }}\n')
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.0.0\nengine: gotpl\n")
    lab.run("chart", "convert", "./web", "--out", "web", "--overwrite")
    assert sorted(file.name for file in (chart / "charts").iterdir()) == ["low"]
    assert (chart / "charts/low/templates/_x.tpl").read_text() == '{% define "low.x" %}x{% enddefine %}'
    assert "description: x" in lab.run("template", "./web").out

"""``template`` of charts in Helm's own syntax: what ``helm template`` prints, Kubernetes' manifests included."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chart.data import write
from tests.release.lab import Lab

FILES: dict[str, str | bytes] = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "values.yaml": "replicas: 2\nbig: 1000000\n",
    "crds/a.yaml": "kind: CustomResourceDefinition\n",
    "templates/all.yaml": """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: {{ .Values.replicas }} # {{ .Values.big }} {{ .Capabilities.KubeVersion }}
---
# nothing
---
apiVersion: v1
kind: Service
metadata: {name: web}
{{- if .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" }}
monitored: true
{{- end }}
""",
    "templates/job.yaml": 'apiVersion: batch/v1\nkind: Job\nmetadata: {annotations: {"helm.sh/hook": test}}\n',
    "templates/NOTES.txt": "done",
}
SERVICE = "---\n# Source: web/templates/all.yaml\napiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
DEPLOYMENT = """\
---
# Source: web/templates/all.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: rel
spec:
  replicas: 2 # 1e+06 v1.36.0

"""
NOTHING = "---\n# Source: web/templates/all.yaml\n# nothing\n\n"
JOB = f"---\n# Source: web/templates/job.yaml\n{FILES['templates/job.yaml']!s}\n"
CRD = "---\n# Source: web/crds/a.yaml\nkind: CustomResourceDefinition\n\n"
MONITORED = SERVICE + "monitored: true\n"


@pytest.mark.parametrize(
    ("flags", "printed"),
    [
        ((), SERVICE + "\n" + DEPLOYMENT + NOTHING.removesuffix("\n") + JOB),
        (("--skip-tests",), SERVICE + "\n" + DEPLOYMENT + NOTHING.removesuffix("\n")),
        (("--include-crds", "--no-hooks"), CRD + SERVICE + "\n" + DEPLOYMENT + NOTHING.removesuffix("\n")),
        (("-s", "templates/job.yaml"), JOB + "\n"),
        (("-s", "*/j*.yaml", "--kube-version", "1.29"), JOB + "\n"),
        (
            ("--no-hooks", "-a", "monitoring.coreos.com/v1", "--kube-version", "1.29"),
            MONITORED + "\n" + DEPLOYMENT.replace("v1.36.0", "v1.29.0") + NOTHING.removesuffix("\n"),
        ),
    ],
)
def test_prints_as_helm(lab: Lab, tmp_path: Path, flags: tuple[str, ...], printed: str) -> None:
    write(tmp_path / "web", FILES)
    result = lab.run("template", "rel", "web", "--engine", "gotpl", *flags)
    assert result.out == printed
    assert "note: 3 manifests are not for Proxmox (apps/v1, v1, batch/v1)" in result.err


def test_files_of_several_documents(lab: Lab, tmp_path: Path) -> None:
    write(tmp_path / "web", FILES)
    lab.run("template", "rel", "web", "--engine", "gotpl", "--output-dir", "out")
    assert (tmp_path / "out/web/templates/all.yaml").read_text().count("---\n") == 2


def test_names_that_are_made(lab: Lab, tmp_path: Path) -> None:
    write(tmp_path / "web", FILES)
    template = '{{ "Web" | lower }}-{{ add 1 2 }}'
    assert "name: web-3" in lab.run("template", "web", "--engine", "gotpl", "--name-template", template).out
    assert "name: web-1" in lab.run("template", "web", "--engine", "gotpl", "-g").out
    lab.run("template", "rel", "web", "--engine", "gotpl", "--release-name", "--output-dir", "out")
    assert (tmp_path / "out/rel/web/templates/job.yaml").is_file()
    for wrong in ("{{ nope }}", "{{ if }}", '{{ fail "x" }}', '{{ index "a" 5 }}'):
        told = lab.run("template", "web", "--engine", "gotpl", "--name-template", wrong, code=64).err
        assert "--name-template:" in told
    assert "a release name and a chart" in lab.run("template", "a", "web", "--name-template", "x", code=64).err


def test_crds_are_shown(lab: Lab, tmp_path: Path) -> None:
    write(tmp_path / "web", FILES)
    assert lab.run("show", "crds", "web").out == "---\nkind: CustomResourceDefinition\n"


def test_is_refused_where_it_would_be_installed(lab: Lab, tmp_path: Path) -> None:
    write(tmp_path / "web", FILES)
    for command in (("install", "rel", "web"), ("install", "rel", "web", "--dry-run=client"), ("lint", "web")):
        result = lab.run(*command, "--engine", "gotpl", code=1)
        assert "Deployment of apps/v1, not of proxmox.io/v1" in result.text
    assert "helm or kubectl installs them" in lab.run("install", "rel", "web", "--engine", "gotpl", code=1).err


def test_a_template_that_is_not_there(lab: Lab, tmp_path: Path) -> None:
    write(tmp_path / "web", FILES)
    result = lab.run("template", "rel", "web", "--engine", "gotpl", "-s", "templates/x.yaml", code=1)
    assert "no template 'templates/x.yaml'" in result.err
    assert "templates/all.yaml, templates/job.yaml" in result.err

"""Rendering: what templates print and what their authors are told, from data; the tree of charts; the line map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pvehelm.chart import render as rendering
from pvehelm.chart.chart import Chart, load
from pvehelm.chart.dependencies import coalesce
from pvehelm.chart.manifest import to_text
from pvehelm.chart.render import Capabilities, ReleaseInfo, Rendered, render
from pvehelm.errors import InvalidError
from tests.chart.data import cases, write

RELEASE = ReleaseInfo("rel", "ns")
CAPABILITIES = Capabilities("9.2", ("VirtualMachine", "Pool"), "0.1.0")


def chart_of(root: Path, case: dict[str, Any]) -> Chart:
    metadata = {"apiVersion": "v2", "name": "web", "version": "1.0.0"} | case.get("chart", {})
    files: dict[str, str | bytes] = {"Chart.yaml": json.dumps(metadata)}
    files["values.yaml"] = case.get("values_text") or yaml.safe_dump(case.get("values", {}))
    files |= {f"templates/{path}": text for path, text in case.get("files", {}).items()}
    files |= case.get("extra", {})
    return load(write(root / "web", files))


def rendered(chart: Chart, case: dict[str, Any], **options: Any) -> Rendered:
    user = case.get("user", {})
    objects = case.get("lookup", {})
    return render(
        chart,
        coalesce(chart, user),
        RELEASE,
        CAPABILITIES,
        user_values=user,
        lookup=lambda kind, name: objects.get(f"{kind}/{name}"),
        **options,
    )


def texts(case: dict[str, Any]) -> dict[str, str]:
    """The case's templates, each in the spec of a resource's shape, so that any text is a valid manifest."""
    return {path: text for path, text in case["files"].items() if path.startswith("t.")}


def check_problems(error: InvalidError, wanted: list[list[str]]) -> None:
    told = "\n".join(map(str, error.problems))
    assert len(error.problems) == len(wanted), told
    for problem, (where, what, hint) in zip(error.problems, wanted, strict=True):
        assert where in problem.where, told
        assert what in problem.what, told
        assert hint in problem.hint, told


class Printed:
    """Renders t.yaml or t.txt of a case without reading it as manifests."""

    def __init__(self, chart: Chart, case: dict[str, Any]) -> None:
        from pvehelm.chart.engine import Engine
        from pvehelm.chart.objects import scopes
        from pvehelm.chart.sandbox import DEFAULT
        from pvehelm.chart.secrets import Tokens

        objects = case.get("lookup", {})
        tree = scopes(chart, coalesce(chart, {}), RELEASE, CAPABILITIES)
        engine = Engine(tree, Tokens(), DEFAULT, lambda asked: objects.get(f"{asked[1]}/{asked[2]}"))
        output = engine.render()
        self.problems = sorted(engine.trouble.problems, key=lambda one: one.where)
        self.files = output["files"]


@pytest.mark.parametrize("case", cases("render/output.yaml"))
def test_output(case: dict[str, Any], tmp_path: Path) -> None:
    printed = Printed(chart_of(tmp_path, case), case)
    if "problems" in case:
        check_problems(InvalidError("", printed.problems), case["problems"])
        return
    assert not printed.problems, "\n".join(map(str, printed.problems))
    text = next(text for name, text in printed.files.items() if name.startswith("web/templates/t."))
    if "text" in case:
        assert text == case["text"]
    else:
        assert yaml.safe_load(text) == case["parsed"], text


@pytest.mark.parametrize("case", cases("render/problems.yaml"))
def test_problems(case: dict[str, Any], tmp_path: Path) -> None:
    chart = chart_of(tmp_path, case)
    with pytest.raises(InvalidError) as caught:
        rendered(chart, case)
    check_problems(caught.value, case["problems"])


VM = "apiVersion: proxmox.io/v1\nkind: VirtualMachine\nmetadata: {name: %s}\nspec: {memory: %s}\n"


def test_result(tmp_path: Path) -> None:
    case = {
        "values": {"n": 2, "memory": 512},
        "files": {
            "vm.yaml": "{% for i in range(Values.n) %}\n---\n"
            + VM % ("w{{ i }}", "{{ Values.memory }}")
            + "{% endfor %}",
            "empty.yaml": "{% if false %}x{% endif %}\n# only a comment\n",
            "_helpers.tpl": "{% macro x() %}{% endmacro %}",
            "NOTES.txt": "Hello {{ Release.Name }}: {{ '' }}{{ 'yes' }}\n",
        },
    }
    result = rendered(chart_of(tmp_path, case), case)
    assert sorted(result.files) == ["web/templates/empty.yaml", "web/templates/vm.yaml"]
    assert [one.ref for one in result.resources] == ["VirtualMachine/w0", "VirtualMachine/w1"]
    assert [one.spec["memory"] for one in result.resources] == [512, 512]
    assert result.notes == "Hello rel: yes\n"
    assert to_text(result.resources).startswith("---\n")
    place = result.resources[1].where(("spec", "memory"))
    assert (place.file, place.line) == ("web/templates/vm.yaml", 6)


def test_the_manifest_of_the_design_works_verbatim(tmp_path: Path) -> None:
    text = """apiVersion: proxmox.io/v1
kind: VirtualMachine
metadata:
  name: web-server
  namespace: production          # a Proxmox resource pool
spec:
  node: pve-node1
  cpu: { cores: 4, sockets: 1 }
  memory: 8192
  disks: [{ storage: local-lvm, size: 50G }]
  template: debian-12-template
"""
    case = {"files": {"vm.yaml": text}}
    result = rendered(chart_of(tmp_path, case), case)
    assert result.files["web/templates/vm.yaml"] == text
    assert result.resources[0].spec["disks"] == [{"storage": "local-lvm", "size": "50G"}]


def test_lines_map_through_loops_and_includes(tmp_path: Path) -> None:
    case = {
        "values": {"labels": {"a": "1", "b": "2"}, "names": ["x", "y"]},
        "files": {
            "_h.tpl": '{% define "spec" %}\nmemory: 1\nnested:\n  deep: {{ who }}\n{% enddefine %}\n',
            "vm.yaml": (
                "{# head #}\n\n{% for name in Values.names %}\n---\napiVersion: proxmox.io/v1\nkind: A\n"
                "metadata:\n  name: {{ name }}\n  labels: {{ Values.labels | yaml }}\n"
                'spec: {{ include("spec", {"who": name}) | trim | nindent(2) }}\n  last: 1\n{% endfor %}\n'
            ),
        },
    }
    result = rendered(chart_of(tmp_path, case), case)
    for resource in result.resources:
        seen = {
            path: str(resource.where(path))
            for path in (("metadata", "name"), ("metadata", "labels"), ("spec", "nested", "deep"), ("spec", "last"))
        }
        assert seen == {
            ("metadata", "name"): "web/templates/vm.yaml:8:3",
            ("metadata", "labels"): "web/templates/vm.yaml:9:3",
            ("spec", "nested", "deep"): "web/templates/_h.tpl:4:3",
            ("spec", "last"): "web/templates/vm.yaml:11:3",
        }


def test_subcharts_have_their_own_scope(tmp_path: Path) -> None:
    show = (
        "apiVersion: proxmox.io/v1\nkind: A\nmetadata: {name: %s}\nspec:\n  v: {{ Values.v }}\n"
        "  g: {{ Values.global.g }}\n  c: {{ Chart.Name }}\n  d: {{ include('shared') }}\n  t: {{ Template.Name }}\n"
    )
    sub = {"apiVersion": "v2", "name": "sub", "version": "1.0.0"}
    library = {"apiVersion": "v2", "name": "lib", "version": "1.0.0", "type": "library"}
    case: dict[str, Any] = {
        "values": {"v": 1, "global": {"g": "G"}, "sub": {"v": 2}},
        "files": {
            "a.yaml": show % "parent" + "  s: {{ Subcharts.sub.Values.v }}\n",
            "_h.tpl": "{% define 'shared' %}P{{ include('lib.name', _) }}{% enddefine %}",
        },
        "extra": {
            "charts/sub/Chart.yaml": json.dumps(sub),
            "charts/sub/values.yaml": "v: 0\nw: 3\n",
            "charts/sub/templates/a.yaml": show % "child" + "  w: {{ Values.w }}\n",
            "charts/sub/templates/_h.tpl": "{% define 'shared' %}C{% enddefine %}",
            "charts/lib/Chart.yaml": json.dumps(library),
            "charts/lib/templates/x.yaml": "{{ this is never rendered }}"
            and "{% define 'lib.name' %}{{ Chart.Name }}{% enddefine %}{{ fail('library') }}",
        },
    }
    result = rendered(chart_of(tmp_path, case), case)
    parent, child = (dict(one.spec) for one in result.resources)
    assert parent == {"v": 1, "g": "G", "c": "web", "d": "Pweb", "t": "web/templates/a.yaml", "s": 2}
    assert child == {"v": 2, "g": "G", "c": "sub", "d": "Psub", "t": "web/charts/sub/templates/a.yaml", "w": 3}
    problem = {**case, "extra": {**case["extra"], "charts/sub/templates/b.yaml": "{% include '_only_parent.tpl' %}"}}
    problem["files"] = {**case["files"], "_only_parent.tpl": ""}
    with pytest.raises(InvalidError) as caught:
        rendered(chart_of(tmp_path / "again", problem), problem)
    check_problems(caught.value, [["web/charts/sub/templates/b.yaml:1:4", "there is no template", ""]])


def test_in_process_gives_the_same(tmp_path: Path) -> None:
    case = {"values": {"a": "yes"}, "files": {"vm.yaml": VM % ("x", "{{ Values.a }}")}}
    chart = chart_of(tmp_path, case)
    assert rendered(chart, case, sandbox=False) == rendered(chart, case)


@pytest.mark.parametrize("engine", ["jinja2", "gotpl"])
@pytest.mark.parametrize("sandbox", [True, False])
def test_texts_are_those_of_the_resources(tmp_path: Path, engine: str, sandbox: bool) -> None:
    files = {"vm.yaml": VM % ("x", "{{ ROOTValues.a }}"), "NOTES.txt": "{{ ROOTRelease.Name }} is up"}
    files = {path: text.replace("ROOT", "." if engine == "gotpl" else "") for path, text in files.items()}
    case = {"chart": {"engine": engine}, "values": {"a": "b"}, "files": files}
    chart = chart_of(tmp_path, case)
    whole = rendered(chart, case, sandbox=sandbox)
    made = rendering.texts(chart, coalesce(chart, {}), RELEASE, CAPABILITIES, sandbox=sandbox)
    assert (made.files, made.notes) == (whole.files, whole.notes)
    assert "rel is up" in made.notes


def test_texts_need_be_no_manifests(tmp_path: Path) -> None:
    case = {"files": {"a.yaml": "{{ 'a: [' }} {{ Release.Name }}", "b.yaml": "kind: nothing\n"}}
    chart = chart_of(tmp_path, case)
    made = rendering.texts(chart, {}, RELEASE, CAPABILITIES)
    assert made.files == {"web/templates/a.yaml": "a: [ rel", "web/templates/b.yaml": "kind: nothing\n"}
    with pytest.raises(InvalidError):
        rendered(chart, case)


def test_problems_of_templates_are_those_of_texts(tmp_path: Path) -> None:
    case = {"files": {"a.yaml": "a: {{ Values.nope }}\n", "b.yaml": "b: {{ fail('so') }}\n"}}
    chart = chart_of(tmp_path, case)
    with pytest.raises(InvalidError) as caught:
        rendering.texts(chart, {}, RELEASE, CAPABILITIES)
    with pytest.raises(InvalidError) as whole:
        rendered(chart, case)
    assert caught.value.problems == whole.value.problems
    assert [problem.where.rpartition(":")[0] for problem in caught.value.problems] == [
        "web/templates/a.yaml:1",
        "web/templates/b.yaml:1",
    ]


def test_random_functions_change_with_each_rendering(tmp_path: Path) -> None:
    case = {"files": {"vm.yaml": VM % ("x", "{{ randAlphaNum(12) }}")}}
    chart = chart_of(tmp_path, case)
    one, other = (rendered(chart, case).resources[0].spec["memory"] for _ in range(2))
    assert one != other
    assert len(one) == 12

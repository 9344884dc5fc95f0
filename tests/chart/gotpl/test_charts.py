"""Charts in Helm's own syntax: rendered, mixed with Jinja2 charts, bounded, and told where they go wrong."""

from __future__ import annotations

import marshal
import os
from pathlib import Path
from typing import Any

import pytest

from pvehelm.chart import cache
from pvehelm.chart.chart import Chart, load
from pvehelm.chart.dependencies import coalesce
from pvehelm.chart.dialects import engines, with_engine
from pvehelm.chart.render import Capabilities, Limits, ReleaseInfo, Rendered, render
from pvehelm.chart.sandbox import dismiss
from pvehelm.chart.values import ValueFlag
from pvehelm.errors import InvalidError
from tests.chart.data import write
from tests.chart.gotpl.templates import cases

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
VALUES = "name: web-server\nresources: {cpu: 4, memory: 8192}\n"


def chart_of(root: Path, files: dict[str, Any], engine: str = "gotpl") -> Chart:
    """A chart of some files; ``Chart.yaml`` need not be among them."""
    named = f"engine: {engine}\n" if engine else ""
    whole = {"Chart.yaml": f"apiVersion: v2\nname: web\nversion: 1.0.0\n{named}", **files}
    return load(write(root / "web", whole))


def rendered(chart: Chart, user: dict[str, Any] | None = None, **options: Any) -> Rendered:
    whole = coalesce(chart, user or {})
    release = ReleaseInfo("rel", "ns")
    return render(chart, whole, release, Capabilities("9.2", ("VirtualMachine",)), user_values=user or {}, **options)


def problems(chart: Chart, user: dict[str, Any] | None = None, **options: Any) -> str:
    with pytest.raises(InvalidError) as caught:
        rendered(chart, user, **options)
    return "\n".join(map(str, caught.value.problems)) + f"\n{caught.value.hint}"


def test_the_example_of_the_issue(tmp_path: Path) -> None:
    made = rendered(chart_of(tmp_path, {"values.yaml": VALUES, "templates/vm.yaml": VM}))
    assert made.files["web/templates/vm.yaml"] == (
        VM.replace("{{ .Values.name }}", "web-server")
        .replace("{{ .Values.resources.cpu }}", "4")
        .replace("{{ .Values.resources.memory }}", "8192")
    )
    (vm,) = made.resources
    assert (vm.ref, vm.spec["memory"]) == ("VirtualMachine/web-server", 8192)
    assert str(vm.where(("spec", "memory"))) == "web/templates/vm.yaml:8:3"


def test_the_second_rendering_comes_from_the_cache_and_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PVEHELM_CACHE", str(tmp_path / "cache"))
    files = {
        "values.yaml": VALUES + 't: "{{ .Values.name | upper }}"\n',
        "templates/vm.yaml": VM + '  tags: [{{ include "tag" . }}, {{ tpl .Values.t . }}]\n',
        "templates/_h.tpl": '{{ define "tag" }}a{{ end }}{{ define "unused" }}{{ .b }}{{ end }}',
    }
    chart = chart_of(tmp_path, files)
    one = rendered(chart)
    dismiss()
    (entry,) = (tmp_path / "cache" / "templates").iterdir()
    before = entry.stat().st_mtime_ns, entry.read_bytes()
    assert rendered(chart) == one
    dismiss()
    assert entry.read_bytes() == before[1]
    # What only other values reach is compiled then, and kept with the rest.
    assert rendered(chart, {"t": "{{ .Values.name | title }}"}) != one
    dismiss()
    assert entry.read_bytes() != before[1]
    place = cache.directory()
    for body in (
        b"",
        b"N",
        b"no marshal",
        marshal.dumps({"files": {"a": []}}),
        marshal.dumps({"files": 1, "texts": {}}),
    ):
        cache.save(place, entry.stem, body)
        assert rendered(chart) == one
        dismiss()


SUB = "apiVersion: v2\nname: sub\nversion: 1.0.0\n"
GO_VM = VM.replace(".Values.resources.cpu", ".Values.cpu").replace(".Values.resources.memory", ".Values.global.memory")
JINJA_VM = GO_VM.replace("{{ .", "{{ ")


@pytest.mark.parametrize(("parent", "child"), [("gotpl", "jinja2"), ("jinja2", "gotpl")])
def test_dialects_mix(parent: str, child: str, tmp_path: Path) -> None:
    texts = {"gotpl": GO_VM, "jinja2": JINJA_VM}
    values = "name: {}\ncpu: 2\nglobal: {{memory: 1024}}\n"
    chart = chart_of(
        tmp_path,
        {
            "values.yaml": values.format("top") + "sub: {cpu: 3}\n",
            "templates/vm.yaml": texts[parent],
            "templates/NOTES.txt": "see {{ .Values.name }}" if parent == "gotpl" else "see {{ Values.name }}",
            "charts/sub/Chart.yaml": SUB + f"engine: {child}\n",
            "charts/sub/values.yaml": values.format("below").replace("1024", "512"),
            "charts/sub/templates/vm.yaml": texts[child],
        },
        parent,
    )
    made = rendered(chart)
    found = sorted((one.name, one.spec["cpu"]["cores"], one.spec["memory"]) for one in made.resources)
    assert found == [("below", 3, 1024), ("top", 2, 1024)]
    assert made.notes == "see top"


def test_problems_of_both_dialects_come_at_once(tmp_path: Path) -> None:
    files = {
        "templates/a.yaml": "a: {{ .Values.x.y }}",
        "templates/b.yaml": 'b: {{ fail "not this way" }}',
        "charts/sub/Chart.yaml": SUB + "engine: jinja2\n",
        "charts/sub/templates/c.yaml": "c: {{ Values.z }}",
    }
    told = problems(chart_of(tmp_path, files))
    assert "web/templates/a.yaml:1:14: nil pointer evaluating interface {}.y" in told
    assert "execution error at (web/templates/b.yaml:1:6): not this way" in told
    assert "web/charts/sub/templates/c.yaml:1:" in told


def test_who_renders_what(tmp_path: Path) -> None:
    files = {
        "charts/plain/Chart.yaml": SUB.replace("sub", "plain"),
        "charts/plain/templates/a.yaml": "{{ .Values.a }}",
        "charts/tags/Chart.yaml": SUB.replace("sub", "tags"),
        "charts/tags/templates/a.yaml": "{% if Values.a %}{% endif %}",
        "charts/zed/Chart.yaml": SUB.replace("sub", "zed") + "engine: jinja2\n",
    }
    assert engines(chart_of(tmp_path, files)) == ["gotpl", "gotpl", "jinja2", "jinja2"]
    unnamed = chart_of(tmp_path / "x", files, "")
    assert engines(unnamed) == ["jinja2"] * 4
    assert engines(with_engine(unnamed, "gotpl")) == ["gotpl", "gotpl", "gotpl", "jinja2"]
    assert engines(with_engine(chart_of(tmp_path / "y", files), "jinja2")) == ["gotpl", "jinja2", "jinja2", "jinja2"]


def test_a_chart_that_names_no_engine_is_told_both_ways(tmp_path: Path) -> None:
    told = problems(chart_of(tmp_path, {"templates/a.yaml": "a: {{ .Values.a }}"}, ""))
    assert "--engine gotpl" in told
    assert "engine: gotpl" in told
    assert "write {{ Values.a }}" in told


def test_numbers_of_files_and_flags(tmp_path: Path) -> None:
    from pvehelm.actions.charts import offline, prepare

    notes = "{{ .Values.big }} {{ kindOf .Values.one }} {{ kindOf .Values.global.g }}"
    files = {
        "values.yaml": "big: 1000000\none: 1\nglobal: {g: 1}\n",
        "templates/NOTES.txt": notes + "{{ range .Subcharts }}{{ end }}",
        "charts/sub/Chart.yaml": SUB,
        "charts/sub/templates/_a.tpl": "",
    }
    chart = chart_of(tmp_path, files)

    def notes_of(*flags: ValueFlag) -> str:
        return offline(prepare(chart, flags), "rel", "ns").notes

    assert notes_of() == "1e+06 float64 float64"
    assert notes_of(ValueFlag("set", "big=2000000,one=2,global.g=3")) == "2000000 int64 int64"
    assert notes_of(ValueFlag("set", "one=2"), ValueFlag("file", "v.yaml", "one: 3")) == "1e+06 float64 float64"
    assert notes_of(ValueFlag("set-json", "one=2")) == "1e+06 float64 float64"


@pytest.mark.parametrize("case", cases("lines"), ids=lambda case: str(case["name"]))
def test_problems_of_yaml_are_at_lines_of_templates(case: dict[str, Any], tmp_path: Path) -> None:
    chart = chart_of(tmp_path, {f"templates/{name}": text for name, text in case["files"].items()})
    told = problems(chart, case.get("values"))
    for part in case["told"]:
        assert part in told


@pytest.mark.parametrize("pieces", [0, 1, 49, 50, 51, 99, 100, 101, 350])
def test_pieces_in_a_row_are_whole_and_know_their_lines(pieces: int, tmp_path: Path) -> None:
    lines = "".join(f"k{number}: {{{{ .Values.name }}}}\n" for number in range(pieces))
    twice = f"apiVersion: proxmox.io/v1\n{lines}kind: A\nkind: B\n"
    told = problems(chart_of(tmp_path / "twice", {"values.yaml": "name: web", "templates/a.yaml": twice}))
    assert f"a.yaml:{pieces + 3}:1: key 'kind' is given twice, first at web/templates/a.yaml:{pieces + 2}:1" in told
    wrong = f"{lines}x: {{{{ .Values.name.x.y }}}}\n"
    told = problems(chart_of(tmp_path / "wrong", {"values.yaml": "name: web", "templates/a.yaml": wrong}))
    assert f"web/templates/a.yaml:{pieces + 1}:" in told
    plain = chart_of(
        tmp_path / "plain", {"values.yaml": "name: web", "templates/NOTES.txt": lines + "{{ \"b'0'\" }}b'1'{{ 1 }}"}
    )
    assert rendered(plain).notes == lines.replace("{{ .Values.name }}", "web") + "b'0'b'1'1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
@pytest.mark.parametrize("case", cases("bombs"), ids=lambda case: str(case["name"]))
def test_bombs_do_not_go_off(case: dict[str, Any], tmp_path: Path) -> None:
    limits = Limits(
        memory=512 * 1024 * 1024, cpu_seconds=case.get("seconds", 1), wall_seconds=120, output=2 * 1024 * 1024
    )
    told = problems(chart_of(tmp_path, {"templates/a.yaml": case["template"]}), limits=limits)
    assert case["told"] in told


def test_strict_and_lint(tmp_path: Path) -> None:
    files = {"values.yaml": "colour: red\n", "templates/a.yaml": "# {{ .Values.color }}\n"}
    chart = chart_of(tmp_path, files)
    rendered(chart)
    told = problems(chart, strict=True)
    assert 'web/templates/a.yaml:1:13: map has no entry for key "color"' in told
    assert "did you mean colour?" in told
    failing = chart_of(tmp_path / "x", {"templates/a.yaml": '# {{ fail "no" }}{{ required "r" .Values.x }}\n'})
    assert "execution error" in problems(failing)
    rendered(failing, lint=True)


def test_what_helm_takes_of_charts_in_the_wild(tmp_path: Path) -> None:
    """A key twice in values.yaml, and a subchart that lacks what it names: both are found in public charts."""
    sub = {
        "charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0\n"
        "dependencies: [{name: gone, version: 1.0.0, repository: 'file://../gone'}]\n",
        "charts/sub/values.yaml": "a: {b: 1, c: 2}\nd: 1\na: {b: 3}\n",
        "charts/sub/templates/x.yaml": "# {{ .Values | toJson }}",
    }
    chart = chart_of(tmp_path, {**sub, "values.yaml": "k: 1\nk: 2\n", "templates/a.yaml": "# {{ .Values.k }}"})
    chart = with_engine(chart, "gotpl")
    told = [f"{problem.where}: {problem.what}" for one in (chart, *chart.dependencies) for problem in one.warnings]
    assert [line.rpartition("web/")[2] for line in told] == [
        "values.yaml:2:1: key 'k' is given twice, first in line 1",
        "charts/sub/values.yaml:3:1: key 'a' is given twice, first in line 1",
    ]
    files = rendered(chart).files
    assert files["web/templates/a.yaml"] == "# 2"
    assert files["web/charts/sub/templates/x.yaml"] == '# {"a":{"b":3},"d":1,"global":{}}'
    with pytest.raises(InvalidError):
        chart_of(tmp_path / "jinja", {"values.yaml": "k: 1\nk: 2\n", "templates/a.yaml": "{{ Values.k }}"}, "")


def test_secrets_pass_through_and_are_not_looked_into(tmp_path: Path) -> None:
    reference = "secret://env/PW"
    files = {"values.yaml": "name: a\nresources: {cpu: 1, memory: 16}\npw: ''\n"}
    passing = VM + "  cloudInit: {password: {{ .Values.pw | quote }}}\n"
    made = rendered(chart_of(tmp_path, {**files, "templates/vm.yaml": passing}), {"pw": reference})
    assert made.resources[0].spec["cloudInit"] == {"password": "${secret://env/PW}"}
    looking = VM + "  cloudInit: {password: {{ .Values.pw | b64enc }}}\n"
    told = problems(chart_of(tmp_path / "x", {**files, "templates/vm.yaml": looking}), {"pw": reference})
    assert "b64enc: secret://env/PW is a reference to a secret" in told


def test_lookup_asks_for_what_there_is(tmp_path: Path) -> None:
    text = '{{ (lookup "proxmox.io/v1" "VirtualMachine" "ns" .Values.vm).vmid }}'
    chart = chart_of(tmp_path, {"values.yaml": "vm: web\n", "templates/NOTES.txt": text})
    found = {"vmid": 100}
    assert (
        rendered(chart, lookup=lambda kind, name: found if (kind, name) == ("VirtualMachine", "web") else None).notes
        == "100"
    )
    assert rendered(chart, {"vm": "other"}).notes == ""


def test_files_and_what_charts_say_of_themselves(tmp_path: Path) -> None:
    notes = """\
{{ .Chart.Name }} {{ .Chart.Version }} {{ .Chart.IsRoot }} {{ .Release.Service }} {{ .Template.BasePath }}
{{ .Files.Get "conf/a.txt" }}|{{ .Files.Get "none" }}|{{ range .Files.Lines "conf/a.txt" }}<{{ . }}>{{ end }}
{{ (.Files.Glob "conf/*").AsConfig }}
{{ (.Files.Glob "conf/b*").AsSecrets }}
{{ range $path, $_ := .Files.Glob "**.bin" }}{{ $path }}{{ end }}
{{ .Capabilities.APIVersions.Has "proxmox.io/v1/VirtualMachine" }} {{ .Capabilities.KubeVersion.Minor }}
{{ range $name, $sub := .Subcharts }}{{ $name }} {{ $sub.Chart.IsRoot }} {{ $sub.Values.global }}{{ end }}
"""
    files = {
        "templates/NOTES.txt": notes,
        "conf/a.txt": "one\ntwo\n",
        "conf/b.bin": b"\xff\x00",
        "charts/sub/Chart.yaml": SUB,
        "charts/sub/templates/_a.tpl": "",
    }
    assert rendered(chart_of(tmp_path, files)).notes == (
        "web 1.0.0 true Helm web/templates\none\ntwo\n||<one><two>\n"
        'a.txt: |\n  one\n  two\nb.bin: "\ufffd\\0"\nb.bin: /wA=\nconf/b.bin\ntrue 36\nsub false map[]\n'
    )


def test_imported_values_decide_nothing_and_dependencies_go_by_their_alias(tmp_path: Path) -> None:
    from pvehelm.actions.charts import offline, prepare

    needs = "dependencies: [{name: sub, alias: one, condition: one.cfg, import-values: [data]}]\n"
    files = {
        "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\nengine: gotpl\n" + needs,
        "templates/NOTES.txt": "{{ range .Chart.Dependencies }}{{ .Name }} {{ .Alias }}{{ end }} {{ .Values.one.cfg }}",
        "charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0\n"
        "dependencies: [{name: deep, import-values: [data]}]\n",
        "charts/sub/charts/deep/Chart.yaml": "apiVersion: v2\nname: deep\nversion: 1.0.0\n",
        "charts/sub/charts/deep/values.yaml": "exports: {data: {cfg: false}}\n",
    }
    made = offline(prepare(chart_of(tmp_path, files), []), "rel", "ns")
    assert made.notes == "one one false"

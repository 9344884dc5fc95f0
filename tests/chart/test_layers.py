"""Who says what about a value, and which values nobody asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pvehelm.actions.values import unused_values
from pvehelm.chart.chart import Chart, load
from pvehelm.chart.layers import explain
from pvehelm.chart.values import ValueFlag
from pvehelm.errors import NotFoundError
from tests.chart.data import write

FILES: dict[str, str | bytes] = {
    "Chart.yaml": """{apiVersion: v2, name: web, version: 1.0.0, dependencies: [
      {name: db, version: "*", condition: "db.enabled and not external", values: {title: "${name}", "size": 3}}]}""",
    "values.yaml": "name: web\nexternal: false\nlist: [a]\nidle: {x: 1}\nmap: {k: 1}\npw: x\n"
    "db:\n  enabled: true\n  size: 1\n",
    "values.schema.json": '{"properties": {"list": {"x-merge": "append"}, "pw": {"x-sensitive": true}}}',
    "templates/vm.yaml": "{% if false %}{{ Values.idle.x }}{% endif %}\n"
    "#{{ Values.name }} {{ Values.map }} {{ Values.list }} {{ Values.given.a | default(1) }} {{ Values.pw }}\n",
    "charts/db/Chart.yaml": "{apiVersion: v2, name: db, version: 1.0.0}",
    "charts/db/values.yaml": "size: 0\nport: 5432\nidle: 1\n",
    "charts/db/templates/vm.yaml": "#{{ Values.title }} {{ Values.size }} {{ Values.global.zone | default('a') }}\n"
    "{% for key, value in (Values.more | default({})).items() %}{% endfor %}\n",
}


@pytest.fixture
def chart(tmp_path: Path) -> Chart:
    return load(write(tmp_path / "web", FILES))


def flags() -> list[ValueFlag]:
    return [
        ValueFlag("file", "a.yaml", "db:\n  size: 5\nlist: [b]\npw: sesame\n"),
        ValueFlag("set", "db.size=7,map.j=2", None),
        ValueFlag("set-file", "notes=n.txt", "text"),
    ]


def said(chart: Chart, path: str, **more: Any) -> list[tuple[Any, str, bool]]:
    found = explain(chart, path, flags(), **more)
    return [(one.value, one.source.replace(f"{chart.path}/", ""), one.counts) for one in found]


def test_every_layer_of_a_value(chart: Chart) -> None:
    assert said(chart, "db.size", recorded={"db": {"size": 4}}, history=" (revision 2)") == [
        (0, "charts/db/values.yaml:1:1", False),
        (1, "values.yaml:9:3", False),
        (3, "Chart.yaml: values for db", False),
        (4, "from history (revision 2)", False),
        (5, "a.yaml:2:3", False),
        (7, "--set db.size", True),
    ]
    assert said(chart, "notes") == [("text", "--set-file notes", True)]


def test_a_map_shows_the_last_word_on_each_leaf(chart: Chart) -> None:
    assert [(path, value) for path, value, *_ in explain(chart, "map", flags())] == [("map.j", 2), ("map.k", 1)]
    assert said(chart, "map") == [(2, "--set map.j", True), (1, "values.yaml:5:7", True)]


def test_a_list_takes_the_place_of_lists_below(tmp_path: Path) -> None:
    files = {"values.yaml": "disks: [{name: a, size: 1}]\nadds: [a]\nlist: [a]\n"}
    chart = load(write(tmp_path / "web", {**FILES, **files}))
    given = [ValueFlag("set", "disks[0].size=3,list[0]=b,scalar=1")]
    assert [(path, value, counts) for path, value, _, counts in explain(chart, "disks[0].name", given)] == [
        ("disks[0].name", "a", False),
        ("disks", [{"size": 3}], True),
    ]
    assert [(value, counts) for _, value, _, counts in explain(chart, "list", given)] == [(["a"], True), (["b"], True)]


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ([("file", "list: [b]"), ("file", "list: [c]")], [True, True, True]),
        ([("file", "list: [b]"), ("set", "list={c}")], [True, False, True]),
        ([("file", "list: [b]"), ("file", "list: [null, c]")], [False, False, True]),
        ([("file", "list: [b]"), ("set", "list=c")], [False, False, True]),
    ],
)
def test_of_a_list_that_is_added_to_every_word_counts(
    chart: Chart, given: list[tuple[Any, str]], counts: list[bool]
) -> None:
    flags = [ValueFlag(kind, "x.yaml" if kind == "file" else text, text) for kind, text in given]
    found = explain(chart, "list", flags)
    assert [one.counts for one in found] == counts
    if counts[0]:
        assert explain(chart, "list[1]", flags) == found
        with pytest.raises(NotFoundError):
            explain(chart, "list[3]", flags)


def test_what_is_sensitive_stays_hidden(chart: Chart) -> None:
    assert [value for value, *_ in said(chart, "pw")] == ["<sensitive>", "<sensitive>"]


def test_a_path_that_nobody_knows(chart: Chart) -> None:
    with pytest.raises(NotFoundError) as caught:
        said(chart, "db.sise")
    assert caught.value.hint == "did you mean db.size?"


def test_values_that_no_template_used(chart: Chart) -> None:
    given = [
        ValueFlag("file", "a.yaml", "given: {a: 1, b: 2}\ndb: {more: {x: 1}, none: null, less: 2}\n"),
        ValueFlag("file", "b.yaml", "global: {zone: b, y: 1}\n"),
        ValueFlag("set", "naem=x"),
    ]
    found = [(p.where.replace(f"{chart.path}/", ""), p.what.split(":")[0]) for p in unused_values(chart, given)]
    assert found == [
        ("a.yaml:1:15", "given.b"),
        ("a.yaml:2:32", "db.less"),
        ("b.yaml:1:19", "global.y"),
        ("--set naem", "naem"),
    ]
    assert [p.hint for p in unused_values(chart, given)][-1] == "did you mean name?"
    defaults = [p.what.split(":")[0] for p in unused_values(chart, defaults=True)]
    assert defaults == ["idle.x"]

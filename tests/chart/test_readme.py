"""READMEs get their tables from comments and schemas, and keep everything else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.chart.chart import Chart, load
from pvehelm.chart.readme import written
from pvehelm.errors import InvalidError
from tests.chart.data import write

CHART = "apiVersion: v2\nname: web\nversion: 1.0.0\ndescription: A web machine\n"
VALUES = """\
# How many.
# @schema minimum: 1, maximum: 9
replicas: 2
# The network.
net:
  bridge: vmbr0   # a bridge | or a vnet
  tags: [a, b]
mode: fast
password: ""
"""
SCHEMA = """
{"$defs": {"mode": {"enum": ["fast", "slow"], "description": "How it runs."}},
 "properties": {"mode": {"$ref": "#/$defs/mode"}, "password": {"type": "string", "x-sensitive": true},
                "extra": {"type": ["string", "null"], "description": "Not in values.yaml."},
                "global": {"type": "object"}}}
"""


def chart(tmp_path: Path, **more: str) -> Chart:
    files: dict[str, str | bytes] = {"Chart.yaml": CHART, "values.yaml": VALUES, "values.schema.json": SCHEMA, **more}
    return load(write(tmp_path / "web", files))


def test_the_table(tmp_path: Path) -> None:
    lines = written(chart(tmp_path), "# web\n\n<!-- values -->\nold\n<!-- /values -->\n\nend\n").splitlines()
    assert lines[:3] == ["# web", "", "<!-- values -->"]
    assert lines[4:-4] == [
        "| value | type | default | description |",
        "|---|---|---|---|",
        "| `replicas` | integer, 1 to 9 | `2` | How many. |",
        "| `net` | map |  | The network. |",
        "| `net.bridge` | string | `vmbr0` | a bridge \\| or a vnet |",
        '| `net.tags` | list | `["a", "b"]` |  |',
        "| `mode` | `fast`, `slow` | `fast` | How it runs. |",
        "| `password` | string, secret |  |  |",
        "| `extra` | string or null |  | Not in values.yaml. |",
    ]
    assert lines[-3:] == ["<!-- /values -->", "", "end"]


def test_marks_are_made_where_there_are_none(tmp_path: Path) -> None:
    made = written(chart(tmp_path), "")
    assert made.startswith("# web\n\nA web machine\n\n## Values\n\n<!-- values -->\n\n| value")
    assert written(chart(tmp_path), made) == made
    fenced = "```\n<!-- values -->\n```\n"
    assert written(chart(tmp_path), fenced).startswith(fenced + "\n## Values")


def test_dependencies(tmp_path: Path) -> None:
    needs = CHART + "dependencies: [{name: db, version: 1.x, repository: 'https://e.org', condition: db.enabled}]\n"
    made = written(chart(tmp_path, **{"Chart.yaml": needs}), "<!-- dependencies -->\n<!-- /dependencies -->\n")
    assert "| db | 1.x | https://e.org | `db.enabled` |" in made
    none = written(chart(tmp_path / "b"), "<!-- dependencies -->\n<!-- /dependencies -->\n")
    assert "needs no other charts" in none


@pytest.mark.parametrize(
    ("text", "line"), [("a\n<!-- values -->\n", 2), ("<!-- /values -->", 1), ("<!-- values --><!-- values -->", 0)]
)
def test_marks_that_do_not_fit(tmp_path: Path, text: str, line: int) -> None:
    if not line:
        assert "## Values" in written(chart(tmp_path), text)
        return
    with pytest.raises(InvalidError) as caught:
        written(chart(tmp_path), text)
    assert caught.value.problems[0].where.endswith(f"README.md:{line}")


@given(st.text("ab`<!->/ vlues\n", max_size=60))
def test_writing_again_changes_nothing(text: str) -> None:
    root = Path(__file__).parents[2] / "charts/single-container"
    one = load(root)
    try:
        made = written(one, text)
    except InvalidError:
        return
    assert written(one, made) == made

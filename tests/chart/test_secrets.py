"""Secret references: opaque in templates, restored in specs, refused where a chart makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pvehelm.chart.manifest import to_text
from pvehelm.chart.render import Rendered
from pvehelm.chart.secrets import Tokens, foreign
from pvehelm.errors import InvalidError
from tests.chart.data import cases
from tests.chart.test_render import chart_of, rendered

HEAD = "apiVersion: proxmox.io/v1\nkind: A\nmetadata: {name: x}\nspec:\n"
CONN = "{% define 'conn' %}c={{ Values.pw }};{% enddefine %}"


def result(root: Path, spec: str, user: dict[str, Any]) -> Rendered:
    body = HEAD + "".join(f"  {line}\n" if line else "\n" for line in spec.split("\n"))
    case = {"user": user, "files": {"t.yaml": body, "_conn.tpl": CONN}}
    return rendered(chart_of(root, case), case)


PLACED = [case for case in cases("secrets.yaml") if "gives" in case.values[0]]
REFUSED = [
    pytest.param(template, case.values[0]["user"], case.values[0]["what"], id=template)
    for case in cases("secrets.yaml")
    if "each" in case.values[0]
    for template in case.values[0]["each"]
]


@pytest.mark.parametrize("case", PLACED)
def test_placed(case: dict[str, Any], tmp_path: Path) -> None:
    found = result(tmp_path, case["spec"], case["user"])
    assert dict(found.resources[0].spec) == case["gives"]
    assert "pvs" not in to_text(found.resources) + found.files["web/templates/t.yaml"]


@pytest.mark.parametrize(("template", "user", "what"), REFUSED)
def test_refused(template: str, user: dict[str, Any], what: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidError) as caught:
        result(tmp_path, f"a: 1\nb: {template}", user)
    assert len(caught.value.problems) == 1
    problem = caught.value.problems[0]
    assert what in problem.what
    assert problem.where.startswith(("web/templates/t.yaml:6:", "web/templates/t.yaml:2:"))
    assert "pvs" not in problem.what


def test_default_values_hold_no_references(tmp_path: Path) -> None:
    text = (
        "# pw: secret://env/OK\ndb:\n  pw: secret://env/PW\n  own: secret://release/x\nl:\n  - a ${secret://file/x} b\n"
    )
    case = {"values_text": text, "files": {}}
    with pytest.raises(InvalidError) as caught:
        rendered(chart_of(tmp_path, case), case)
    places = [problem.where.rpartition("web/")[2] for problem in caught.value.problems]
    assert places == ["values.yaml:3:3", "values.yaml:6:5"]


def test_the_same_reference_of_the_user_does_not_excuse_the_chart(tmp_path: Path) -> None:
    user = {"pw": "secret://env/PW"}
    with pytest.raises(InvalidError, match="1 problem"):
        result(tmp_path, "a: {{ Values.pw }}\nb: secret://env/PW", user)


def test_tokens() -> None:
    tokens = Tokens()
    hidden = tokens.hide({"a": "secret://env/X", "b": ["${secret://env/X}${secret://env/Y}"], "c": 1}, {"a": ["no"]})
    assert hidden["a"] == "secret://env/X"
    user = {"z": ["secret://env/X", "${secret://env/X}${secret://env/Y}"]}
    hidden = tokens.hide({"a": "secret://env/X", "b": ["${secret://env/X}${secret://env/Y}"], "c": 1}, user)
    assert "secret" not in str(hidden)
    assert tokens.restore(hidden) == {"a": "${secret://env/X}", "b": ["${secret://env/X}${secret://env/Y}"], "c": 1}
    assert Tokens().word != tokens.word


def test_foreign() -> None:
    value = {
        "a": ["secret://env/x", "secret://release/x", "x ${secret://vault/y} ${secret://release/z}"],
        "b": "secret",
    }
    assert list(foreign(value)) == [(("a", 0), "secret://env/x"), (("a", 2), "secret://vault/y")]

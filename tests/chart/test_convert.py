"""Conversion of charts: each case is rewritten as it says, and renders the same before and after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvehelm.actions.conversion import Converted, convert
from pvehelm.chart.chart import from_files
from pvehelm.chart.convert_code import string, variable
from pvehelm.chart.convert_proof import compare
from pvehelm.errors import InvalidError
from tests.chart.data import CASES, cases

#: What is for another program is compared, and not checked.
HEAD = "apiVersion: v1\nkind: ConfigMap\ndata:\n"
IDIOM = CASES / "convert" / "idiom"


def converted(files: dict[str, bytes], name: str = "t") -> Converted:
    return convert(from_files(files, name=name), files)


def folder(root: Path) -> dict[str, bytes]:
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}


@pytest.mark.parametrize("case", cases("convert.yaml"))
def test_cases(case: dict[str, Any]) -> None:
    files = {
        "Chart.yaml": "apiVersion: v2\nname: t\nversion: 1.0.0\nengine: gotpl\n",
        "values.yaml": case.get("values_text") or json.dumps(case.get("values", {})),
        "templates/_helpers.tpl": case.get("helpers", ""),
        "templates/t.yaml": HEAD + case["go"],
        **case.get("files", {}),
        **{f"ci/{number}.yaml": json.dumps(one) for number, one in enumerate(case.get("more", ()))},
    }
    made = converted({path: text.encode() for path, text in files.items()})
    if "jinja2" in case:
        assert made.files["templates/t.yaml"].decode() == case.get("prelude", "") + HEAD + case["jinja2"]
    for path, text in {"values.yaml": case.get("new_values"), **case.get("new_files", {})}.items():
        assert text is None or made.files[path].decode() == text
    for told, wanted in ((made.by_hand, case.get("byHand", [])), (made.notes, case.get("notes", []))):
        assert len(told) == len(wanted), told
        for problem, start in zip(told, wanted, strict=True):
            assert str(problem).startswith(start)
    assert [proof.refused for proof in made.proofs] == case.get("refused", [""] * len(made.proofs))
    different = [str(one) for proof in made.proofs for one in proof.differences]
    if case.get("byHand"):
        assert not made.proven
    elif "differs" in case:
        assert len(different) == len(case["differs"])
        assert all(part in text for part, text in zip(case["differs"], different, strict=True))
    else:
        assert different == []
        assert made.proven
    assert len(made.proofs) == 1 + len(case.get("more", ()))


def test_a_chart_with_every_idiom() -> None:
    made = converted(folder(IDIOM), "idiom")
    assert made.by_hand == ()
    assert [(proof.values, proof.differences) for proof in made.proofs] == [
        ("values.yaml", ()),
        ("ci/ha-values.yaml", ()),
    ]
    assert [proof.documents for proof in made.proofs] == [2, 4]
    assert b"engine: jinja2" in made.files["Chart.yaml"]
    assert made.files["files/a.txt"] == (IDIOM / "files/a.txt").read_bytes()
    # What is converted is Jinja2, and not converted again.
    with pytest.raises(InvalidError, match="is not written in Helm's template syntax"):
        converted(dict(made.files), "idiom")


def test_the_chart_that_helm_create_makes() -> None:
    files = folder(CASES / "convert" / "scaffold")
    files["Chart.yaml"] += b"engine: gotpl\n"
    made = converted(files, "demo")
    assert (made.by_hand, made.notes) == ((), ())
    assert [(proof.documents, proof.differences) for proof in made.proofs] == [(2, ()), (4, ())]
    # Users give hosts of their own, which need not have what the chart's have.
    assert b"{% if path.pathType | default(false) %}" in made.files["templates/ingress.yaml"]


def test_subcharts_are_converted_with_their_parent() -> None:
    files = {
        "Chart.yaml": b"apiVersion: v2\nname: up\nversion: 1.0.0\nengine: gotpl\n",
        "values.yaml": b"low: {a: 2}\nglobal: {g: x}\n",
        "templates/a.yaml": HEAD.encode() + b'a: {{ include "low.x" . }}\n',
        "charts/low/Chart.yaml": b"apiVersion: v2\nname: low\nversion: 1.0.0\n",
        "charts/low/values.yaml": b"a: 1\n",
        "charts/low/templates/_x.tpl": b'{{ define "low.x" }}{{ .Values.global.g }}{{ end }}',
        "charts/low/templates/b.yaml": HEAD.encode() + b"b: {{ .Values.a }}\nc: {{ .Values.global.g }}\n",
        "charts/other/Chart.yaml": b"apiVersion: v2\nname: other\nversion: 1.0.0\nengine: jinja2\n",
        "charts/other/templates/o.yaml": HEAD.encode() + b"o: {{ Values.get('x', 3) }}\n",
    }
    made = converted(files, "up")
    assert made.proven, made.proofs
    assert made.files["charts/low/templates/b.yaml"] == HEAD.encode() + b"b: {{ Values.a }}\nc: {{ Values.global.g }}\n"
    assert made.files["charts/other/templates/o.yaml"] == files["charts/other/templates/o.yaml"]
    assert len(made.templates) == 3


@pytest.mark.parametrize(
    "text", ["{apiVersion: v2, name: t, version: 1.0.0, engine: gotpl}", "a: b\nengine:  gotpl # c\n"]
)
def test_the_engine_is_named(text: str) -> None:
    head = "" if text[0] == "{" else "apiVersion: v2\nname: t\nversion: 1.0.0\n"
    made = converted({"Chart.yaml": (head + text).encode(), "templates/NOTES.txt": b"{{ .Chart.Name }}"})
    assert made.proven
    assert from_files(made.files, name="t").metadata.engine == "jinja2"


def test_templates_that_cannot_be_read() -> None:
    files = {
        "Chart.yaml": b"apiVersion: v2\nname: t\nversion: 1.0.0\nengine: gotpl\n",
        "templates/a.yaml": b"a: {{ nofunc 1 }}\n",
        "templates/b.yaml": b"a:\n{{ if }}\n",
    }
    with pytest.raises(InvalidError) as caught:
        converted(files)
    assert [problem.where for problem in caught.value.problems] == ["t/templates/a.yaml:1", "t/templates/b.yaml:2"]


@given(st.text())
@settings(max_examples=200)
def test_texts_as_literals(text: str) -> None:
    from jinja2 import Environment

    text = text.encode("utf-8", "ignore").decode()
    assert Environment().compile_expression(string(text))() == text


@given(st.from_regex(r"\w+", fullmatch=True), st.sets(st.sampled_from(["a", "a_2", "b"])))
def test_names_of_variables(name: str, taken: set[str]) -> None:
    found = variable(name, taken)
    assert found not in taken
    assert not found[0].isdigit()


def test_comparing() -> None:
    before = {
        "a": "kind: A\nmetadata: {name: x}\nn: 4.0\nt: |\n  one \n  two\n",
        "b": "x: [1, 2]",
        "c": "plain: [",
        "d": "a: 1",
    }
    after = {
        "a": "# c\nn: 4\nmetadata: {name: x}\nkind: A\nt: |\n  one\n  two\n",
        "b": "x: [1, 3]",
        "c": "plain:  [",
        "d": "---",
    }
    proof = compare("v", before, after, ("some notes", "some  notes\n"))
    assert [str(one) for one in proof.differences] == [
        "b: document/1: x[1] is 2 before and 3 after",
        "d: 1 documents before, 0 after",
    ]
    assert proof.documents == 3


def test_every_difference_is_told() -> None:
    before, after = ("".join(f"k{n}: {word}\n" for n in range(120)) for word in ("a", "b"))
    assert len(compare("v", {"f.yaml": before}, {"f.yaml": after}, ("", "")).differences) == 120

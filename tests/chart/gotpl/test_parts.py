"""Larger bodies of branches are functions of their own, made when they are reached: nobody can tell."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from pvehelm.chart.gotpl.runtime import Run, deep
from pvehelm.chart.gotpl.templates import LARGE, Templates
from pvehelm.chart.gotpl.trouble import Trouble
from tests.chart.gotpl.templates import Failed, go_data, rendered

_BRANCHES: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "cases" / "branches.yaml").read_text("utf-8"))
_NONE = 10**9


def told(template: str, data: Any, large: int) -> tuple[str, str]:
    try:
        return rendered(template, copy.deepcopy(data), large=large), ""
    except Failed as error:
        return "", str(error)


@pytest.mark.parametrize("case", _BRANCHES["cases"], ids=lambda case: str(case["template"])[:60])
def test_it_is_all_the_same(case: dict[str, Any]) -> None:
    data = go_data({"Values": _BRANCHES["data"]})
    template = _BRANCHES["before"] + case["template"]
    whole = told(template, data, _NONE)
    assert whole == told(template, data, LARGE) == told(template, data, 1)
    # Helm prints nothing where templates have "<no value>".
    assert bool(whole[1]) == ("text" not in case)
    assert whole[0].replace("<no value>", "") == case.get("text", "")


_OUTSIDE = """\
{{ $sum := "" }}{{ $dot := . }}
{{- range $i, $one := .list }}
  {{- if $one.on }}
    {{- $own := $i }}
    {{- with $one.name }}{{ $sum = print $sum . $own $dot.end }}{{ else }}{{ $sum = print $sum "?" }}{{ end }}
  {{- else if eq $i 1 }}{{ continue }}
  {{- else }}{{ $sum = print $sum "-" }}{{ if gt $i 2 }}{{ break }}{{ end }}{{ end }}
{{- end }}{{ $sum }}"""


@pytest.mark.parametrize("large", [1, LARGE, _NONE])
def test_variables_of_the_outside(large: int) -> None:
    data = {"end": ";", "list": [{"on": True, "name": "a"}, {}, {"on": True}, {}, {"on": True, "name": "b"}]}
    assert told(_OUTSIDE, data, large) == ("a0;?-", "")


@pytest.mark.parametrize("large", [1, _NONE])
def test_a_variable_that_is_perhaps_never_declared(large: int) -> None:
    template = '{{ if or true ($x := 1) }}{{ if not .a }}{{ print "a" }}{{ $x }}{{ end }}{{ end }}'
    text, error = told(template, {"a": False}, large)
    assert not text
    assert "undefined variable" in error


_SWITCHED = """\
{{ define "in" }}{{ if .deep }}
{{ print 1 }}{{ .no.thing.here }}{{ end }}{{ end -}}
{{ if .on }}{{ print "on" }}
  {{ range .list }}{{ print . }}{{ include "in" $ }}
{{ end }}{{ end }}"""


def ran(data: dict[str, Any], kept: bytes = b"") -> tuple[str, bytes]:
    templates = Templates({"t/a.yaml": _SWITCHED}, kept=kept, large=1)
    trouble, pieces = Trouble(templates, []), list[str]()
    run = Run(templates.prepare, templates.read_text, lambda _: None)
    try:
        with deep():
            templates.main("t/a.yaml")(run, data, pieces)
    except Exception as error:
        trouble.explain(error, "t/a.yaml")
    shown = "".join(pieces) + "".join(f"{one.where} {one.what}" for one in trouble.problems)
    return shown, templates.pack(lambda _: True)


def test_what_is_reached_later_is_made_later_and_kept() -> None:
    shown, off = ran({"on": False})
    assert shown == ""
    shown, on = ran({"on": True, "list": [1, 2]}, off)
    assert shown.split() == ["on", "1", "2"]
    assert len(on) > len(off)
    assert ran({"on": True, "list": [1, 2]}, on) == (shown, b"")


def test_a_mistake_is_where_it_stands() -> None:
    data = {"on": True, "list": [1], "deep": True, "no": {"thing": "text"}}
    _, off = ran({"on": False})
    for kept in (b"", off):
        shown, _ = ran(data, kept)
        assert "t/a.yaml:2:20 can't evaluate field here in type interface {}" in shown
        # The one place where it was included, and none for the parts on the way.
        assert shown.count("from t/a.yaml") == 1
        assert "from t/a.yaml:4:36" in shown

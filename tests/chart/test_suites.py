"""Suites are read with all problems at their lines; assertions say what there is and what should be."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.actions.suites import run
from pvehelm.chart import suites
from pvehelm.chart.asserts import RULES
from pvehelm.chart.chart import from_files
from pvehelm.chart.dialects import with_engine
from pvehelm.chart.snapshots import Snapshots, place
from pvehelm.chart.views import Shown, View, same, within
from pvehelm.errors import InvalidError
from tests.chart.data import cases
from tests.release.lab import load_cases

ASSERTS = load_cases("chart/cases/asserts.yaml")[0]


def read(text: str, **sources: str) -> list[suites.Suite]:
    files = {path.replace("__", "/").replace("_", "."): body.encode() for path, body in sources.items()}
    return suites.read(text, path="tests/a_test.yaml", shown="a", sources=files)


@pytest.mark.parametrize("case", cases("suites.yaml"))
def test_what_is_wrong_with_a_suite(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as caught:
        read(case["text"])
    found = [(problem.where, problem.what) for problem in caught.value.problems]
    assert len(found) == len(case["problems"]), found
    for (where, what), (line, text) in zip(found, case["problems"], strict=True):
        assert where == f"a:{line}", found
        assert text in what


@pytest.mark.parametrize(("assertion", "told"), ASSERTS["cases"], ids=json.dumps)
def test_assertions(assertion: dict[str, Any], told: str) -> None:
    document = ASSERTS["document"]
    (suite,) = read(json.dumps({"tests": [{"it": "x", "asserts": [assertion]}]}))
    view = View((Shown("templates/vm.yaml", 0, document),), {"templates/vm.yaml": "kind: y\n"}, ("templates/vm.yaml",))
    failures = suite.cases[0].asserts[0].failures(view)
    assert told in "".join(failures)
    assert bool(failures) is bool(told)


def test_failures_are_matched_by_their_text() -> None:
    (suite,) = read(
        """
        tests:
          - it: x
            asserts:
              - failedTemplate: {}
              - failedTemplate: { errorMessage: needs a node }
              - failedTemplate: { errorPattern: "needs \\\\w+ node" }
              - failedTemplate: { errorMessage: other }
              - notFailedTemplate: {}
        """
    )
    view = View(errors=("a.yaml:1: it needs a node",))
    found = [bool(one.failures(view)) for one in suite.cases[0].asserts]
    assert found == [False, False, False, True, True]


def test_what_a_case_inherits() -> None:
    (suite,) = read(
        """
        suite: s
        set: { a: 1 }
        values: [v.yaml]
        templates: [a.yaml]
        release: { name: r, namespace: n }
        tests:
          - it: one
            set: { a.b: [1, null] }
            release: { name: q }
            asserts: [{ isNull: { path: x }, documentIndex: 1 }]
          - it: two
            template: b.yaml
            skip: { reason: later }
            asserts: [{ isNull: { path: x } }]
        """,
        tests__v_yaml="a: 0",
    )
    one, two = suite.cases
    assert [flag.text for flag in one.values] == ["v.yaml", "a=1", "a.b=[1, null]"]
    assert (one.release, two.skip) == ({"name": "q", "namespace": "n"}, "later")
    assert (one.asserts[0].pick.templates, one.asserts[0].pick.index) == (("a.yaml",), 1)
    assert two.asserts[0].pick.templates == ("b.yaml",)


def test_a_life_for_each_ci_file() -> None:
    (suite,) = read("install: { ci: true, rollback: false }", ci__a_yaml="{}", ci__b_yaml="{}", tests__c_yaml="{}")
    assert [case.title for case in suite.cases] == ["lives: ci/a.yaml", "lives: ci/b.yaml"]
    assert all(case.life and not case.life.rollback for case in suite.cases)


def test_which_files_are_suites() -> None:
    paths = ["tests/a_test.yaml", "tests/__snapshot__/a_test.yaml.snap", "tests/b.yaml", "templates/a_test.yaml"]
    assert suites.files(paths) == ["tests/a_test.yaml"]
    assert suites.files([*paths, "tests/x/c_test.yaml"]) == ["tests/a_test.yaml", "tests/x/c_test.yaml"]


def test_snapshots_say_what_differs() -> None:
    shots = Snapshots("", file="f")
    assert "--update" in shots.compare("case", 1, "a: 1\n")
    made = Snapshots("", file="f", update=True)
    assert made.compare("case", 1, "a: 1\n") == ""
    kept = Snapshots(made.text(), file="f")
    assert kept.compare("case", 1, "a: 1\n") == ""
    assert "-a: 1\n+a: 2" in kept.compare("case", 1, "a: 2\n")
    assert place("tests/a_test.yaml") == "tests/__snapshot__/a_test.yaml.snap"


DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(DATA)
def test_everything_is_the_same_as_itself(value: Any) -> None:
    assert same(value, json.loads(json.dumps(value)))
    assert within(value, value)


@given(DATA)
def test_any_document_is_a_suite_or_an_invalid_one(value: Any) -> None:
    for text in (json.dumps(value), json.dumps({"suite": "x", "tests": [value], "install": value})):
        with suppress(InvalidError):
            read(text)


@given(st.sampled_from(sorted(RULES)), DATA)
def test_any_arguments_are_taken_or_refused(name: str, value: Any) -> None:
    try:
        (suite,) = read(json.dumps({"tests": [{"it": "x", "asserts": [{name: value}]}]}))
    except InvalidError:
        return
    for assertion in suite.cases[0].asserts:
        assertion.failures(View((Shown("a", 0, {"a": [1]}),)))


HELM = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "values.yaml": "a: {b: 1, c: {d: 2}}\n",
    "templates/_x.tpl": '{{ define "x" }}{{ required "needs a name" .Values.name }}{{ end }}',
    "templates/cm.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-web", namespace: "{{ .Release.Namespace }}"}
data: {b: {{ .Values.a.b }}, d: {{ .Values.a.c.d }}, e: {{ .Values.a.c.e | default "none" }}}
list: [{host: /usr}, {host: usr}]
---
{{- if .Values.second -}}
apiVersion: v1
kind: Second
{{- end }}
""",
    "templates/hash.yaml": """
apiVersion: v1
kind: Hash
of: {{ include (print $.Template.BasePath "/cm.yaml") . | sha256sum | len }}
""",
    "templates/broken.yaml": 'apiVersion: v1\nkind: Broken\nname: {{ include "x" . }}\n',
    "tests/__snapshot__/web_test.yaml.snap": """
is as it was:
  1: |
    apiVersion: v1
    data:
        b: 1
        d: 2
        e: none
    kind: ConfigMap
    list:
        - host: /usr
        - host: usr
    metadata:
        name: RELEASE-NAME-web
        namespace: NAMESPACE
""",
    "tests/web_test.yaml": r"""
suite: what helm-unittest runs
templates: [cm.yaml]
set: {a: {b: 5, c: {e: 1}}}
kubernetesProvider:
  scheme: {v1/Pod: {gvr: {version: v1, resource: pods}, namespaced: true}}
  objects: [{kind: Pod, apiVersion: v1, metadata: {name: p}}]
tests:
  - it: lays a test's values over the suite's, and looks at its templates still
    documentIndex: 0
    set: {a: {c: {d: 7}}}
    asserts: [{isSubset: {path: data, content: {b: 5, d: 7, e: 1}}}]
  - it: is called as it expects
    asserts:
      - equal: {path: metadata.name, value: RELEASE-NAME-web}
      - equal: {path: "list[?(@.host =~ /^\\/.*/)].host", value: /usr}
  - it: is called as it expects
    set: {second: true}
    documentSelector: {path: kind, value: Second}
    asserts: [{isKind: {of: Second}}]
  - it: says what is wrong with a test of its own
    asserts: [{notContains: {path: list, pattern: x}}]
  - it: includes what it does not look at
    templates: [hash.yaml]
    capabilities: {majorVersion: 1, minorVersion: "24+"}
    asserts: [{equal: {path: of, value: 64}}]
  - it: fails where it looks
    template: broken.yaml
    asserts: [{failedTemplate: {errorMessage: needs a name}}]
---
templates: [cm.yaml]
tests:
  - it: is as it was
    documentIndex: 0
    asserts: [{matchSnapshot: {}}]
""",
}


def test_suites_of_helms_charts_run_as_they_are() -> None:
    files = {path: text.encode() for path, text in HELM.items()}
    chart = with_engine(from_files(files, name="web"), "gotpl")
    tested = asyncio.run(run(chart, files))
    failed = {report.test: report.messages for report in tested.reports if report.phase != "Succeeded"}
    assert list(failed) == ["says what is wrong with a test of its own"]
    assert any("notContains has no 'pattern'" in message for message in failed.popitem()[1])
    assert [report.test for report in tested.reports][1:3] == ["is called as it expects", "is called as it expects (2)"]
    # A chart that says what it is written in is one of ours, with names that Proxmox VE takes.
    files["Chart.yaml"] += b"engine: gotpl\n"
    ours = b"tests: [{it: a, set: {name: x}, asserts: [{matchRegexRaw: {pattern: name-web}}], template: cm.yaml}]"
    files["tests/web_test.yaml"] = ours
    assert not asyncio.run(run(from_files(files, name="web"), files)).failed

"""Whatever comes from outside gives a result or an error of ours, within the bounds (cases/attacks and chance).

Archives, indexes, YAML, metadata, flags and expressions are tried in the tests of their modules; here it is templates,
manifests, schemas and values, and a chart as a whole.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pvehelm.chart import merging
from pvehelm.chart.chart import Chart, load, load_archive
from pvehelm.chart.inference import infer
from pvehelm.chart.layers import explain
from pvehelm.chart.lint import lint
from pvehelm.chart.manifest import parse, to_text
from pvehelm.chart.package import pack
from pvehelm.chart.render import Capabilities, Limits, ReleaseInfo, render
from pvehelm.chart.schema import MOST_PARTS, check, redact_all, tangled, validate
from pvehelm.chart.values import coalesce, enabled
from pvehelm.errors import InvalidError, NotFoundError, PvehelmError
from tests.chart.data import cases, write

LIMITS = Limits(memory=256 * 1024 * 1024, cpu_seconds=2, wall_seconds=10, output=1024 * 1024, include_depth=50)
METADATA = "{apiVersion: v2, name: web, version: 1.0.0}"


def chart_of(files: dict[str, str | bytes]) -> Chart:
    raw = {path: content if isinstance(content, bytes) else content.encode() for path, content in files.items()}
    return load_archive(pack("web", {"Chart.yaml": METADATA.encode(), **raw}), name="web.tgz")


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """Whatever is raised is for the user: no error of the engine's own that only the sandbox caught."""
    try:
        yield
    except InvalidError as error:
        if "what the sandbox can do" in str(error):
            raise AssertionError(str(error)) from error


# -- schemas ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("attacks/schemas.yaml"))
def test_hostile_schema(case: dict[str, Any], tmp_path: Path) -> None:
    schema = case.get("schema") or _grown(case["grow"], case["times"])
    chart = load(write(tmp_path / "web", {"Chart.yaml": METADATA, "values.schema.json": json.dumps(schema)}))
    values = {"a": "a" * 60 + "b", "a" * 60 + "b": 1}
    found = check(chart.schema, "schema") or validate(chart, coalesce(chart, values))
    said = " ".join(problem.what for problem in found)
    assert case["says"] in said if "says" in case else not said
    redact_all(chart, values)
    merging.rules(chart)


def _grown(word: str, times: int) -> dict[str, Any]:
    parts: dict[str, Any] = {f"d{n}": {word: [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(times)}
    return {"$defs": {**parts, f"d{times}": {"type": "string", "x-sensitive": True}}, "$ref": "#/$defs/d0"}


def test_what_counts_as_tangled() -> None:
    assert not tangled({"properties": {f"p{n}": {"$ref": "#/$defs/x"} for n in range(1000)}, "$defs": {"x": {"a": 1}}})
    assert tangled({"properties": {"a": {"$ref": "#"}}})
    assert tangled({"properties": {f"p{n}": {"type": "string"} for n in range(MOST_PARTS)}})
    assert tangled(_grown("oneOf", 40))


_KEYS = st.sampled_from(["a", "b", "global", "sub", "$ref", "x"])
_JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a", "secret://env/X", "${a}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=10,
)
_SCHEMAS: Any = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "object", "array", "odd", ["null", "object"]]),
            "x-sensitive": st.booleans(),
            "x-merge": st.sampled_from(["append", "unique", "byKey(a)", "byKey()", 1]),
            "$ref": st.sampled_from(["#", "#/properties/a", "#/$defs/a", "a.json", "#a", ""]),
            "default": _JSON,
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(_KEYS, inner, max_size=3),
            "items": inner,
            "anyOf": st.lists(inner, max_size=2),
            "not": inner,
            "additionalProperties": st.booleans() | inner,
            "x-merge": st.just("append"),
            "$defs": st.dictionaries(_KEYS, inner, max_size=1),
        },
    ),
    max_leaves=6,
)
_VALUES: Any = st.dictionaries(_KEYS, _JSON, max_size=4)


@settings(max_examples=150, deadline=None)
@given(_SCHEMAS, _VALUES, _VALUES, st.sampled_from(["", "a and not b", "a.b, global", "a ==", "x > 1"]), _VALUES)
def test_any_values_any_schema(
    schema: dict[str, Any], defaults: dict[str, Any], user: dict[str, Any], condition: str, handed: dict[str, Any]
) -> None:
    need = {"name": "sub", "version": "*", "condition": condition, "import-values": ["a"], "values": handed}
    metadata = {"apiVersion": "v2", "name": "web", "version": "1.0.0", "dependencies": [need]}
    below = {"apiVersion": "v2", "name": "sub", "version": "1.0.0"}
    try:
        chart = chart_of(
            {
                "Chart.yaml": json.dumps(metadata),
                "values.yaml": json.dumps(defaults),
                "values.schema.json": json.dumps(schema),
                "charts/sub/Chart.yaml": json.dumps(below),
                "charts/sub/values.yaml": json.dumps({"exports": {"a": user}, **defaults}),
                "charts/sub/values.schema.json": json.dumps(schema),
            }
        )
        with contextlib.suppress(InvalidError):
            infer(chart)
        lint(chart, user)
        tree = enabled(chart, user)
        whole = coalesce(chart, user)
        validate(tree, whole)
        redact_all(tree, whole)
        with contextlib.suppress(NotFoundError):
            explain(chart, "a.b")
    except InvalidError:
        return
    assert coalesce(chart, user) == whole


# -- templates and manifests -----------------------------------------------------------------------------------------

_WORDS = st.sampled_from(
    [
        *(
            "{{ ",
            " }}",
            "{% ",
            " %}",
            "{#",
            "#}",
            "{%- ",
            "\n",
            " ",
            "- ",
            "a: ",
            "---\n",
            "'",
            '"',
            "\\",
            "${",
            "|",
            "(",
            ")",
        ),
        *(
            "if Values.a",
            "else",
            "endif",
            "for i in Values",
            "endfor",
            "set x = ",
            "Values",
            ".a",
            ".b",
            "[0]",
            "Release.Name",
        ),
        *('include("a")', 'define "a"', "enddefine", "tpl(", "lookup(", 'generate("password", "x")', "randAlphaNum(9)"),
        *(
            "toYaml",
            "default(1)",
            "b64enc",
            "x ~ x",
            "[1, 2]",
            '{"a": 1}',
            "1 / 0",
            "9 ** 9",
            "kind: Pool\n",
            "metadata: {name: p}\n",
        ),
        *(
            "é",
            "\x00",
            "\u2028",
            "%s",
            "range(3)",
            "loop.index",
            "macro m(a)",
            "endmacro",
            "m(1)",
            "*a",
            "&a ",
            "!!x ",
            "? ",
        ),
    ]
)
_SOURCES = st.lists(_WORDS, max_size=12).map("".join)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_SOURCES, _SOURCES, _VALUES)
def test_any_template_renders_or_is_refused(source: str, notes: str, values: dict[str, Any]) -> None:
    with refused():
        chart = chart_of({"templates/a.yaml": source, "templates/_b.tpl": notes, "templates/NOTES.txt": notes})
        render(chart, values, ReleaseInfo("r", "default"), Capabilities(), limits=LIMITS, user_values=values)


_GO_WORDS = st.sampled_from(
    [
        *(
            "{{ ",
            " }}",
            "{{- ",
            " -}}",
            "{{/* ",
            " */}}",
            "\n",
            " ",
            "a: ",
            "---\n",
            "(",
            ")",
            "|",
            ",",
            ":=",
            "=",
            "$x",
            "$",
        ),
        *(
            "if ",
            "else ",
            "end",
            "range ",
            "with ",
            "define ",
            "template ",
            "block ",
            "break",
            "continue",
            "and ",
            "or ",
            "not ",
        ),
        *(".Values", ".Values.a", ".a.b", ".", '"a" ', "`b` ", "'c' ", "1 ", "0x1F ", "1e400 ", "nil ", "true ", ". "),
        *(
            'include "a" .',
            'tpl "{{ . }}" .',
            "toYaml",
            "default 1",
            "b64enc",
            "index . 1",
            "slice . 0",
            "len .",
            "print .",
            "printf ",
        ),
        *(
            "dict ",
            "list ",
            "get ",
            "set .Values ",
            "until 5",
            "fromYaml",
            "required ",
            "fail ",
            "randAlphaNum 9",
            'lookup "a" "b" "c" "d"',
        ),
        *("kind: Pool\n", "metadata: {name: p}\n", "é", "\x00", "\\", '"', "`", "%s", "[", "]", "é := "),
    ]
)
_GO_SOURCES = st.lists(_GO_WORDS, max_size=14).map("".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_GO_SOURCES, _GO_SOURCES, _VALUES)
def test_any_template_of_helms_syntax_renders_or_is_refused(source: str, notes: str, values: dict[str, Any]) -> None:
    metadata = "{apiVersion: v2, name: web, version: 1.0.0, engine: gotpl}"
    with refused():
        files = {"templates/a.yaml": source, "templates/_b.tpl": notes, "templates/NOTES.txt": notes}
        chart = chart_of({"Chart.yaml": metadata, **files})
        render(chart, values, ReleaseInfo("r", "default"), Capabilities(), limits=LIMITS, user_values=values)


@settings(max_examples=200, deadline=None)
@given(_SOURCES)
def test_any_text_is_a_manifest_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidError):
        found = parse(text, file="a.yaml")
        assert [one.ref for one in parse(to_text(found), file="b.yaml")] == [one.ref for one in found]


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=20), st.binary(max_size=60) | _SOURCES.map(str.encode), max_size=5))
def test_any_files_are_a_chart_or_refused(raw: dict[str, bytes]) -> None:
    with contextlib.suppress(PvehelmError):
        load_archive(pack("web", {"Chart.yaml": METADATA.encode(), **raw}), name="web.tgz")


@pytest.mark.parametrize("case", cases("attacks/values.yaml"))
def test_hostile_values(case: dict[str, Any], tmp_path: Path) -> None:
    text = case.get("text") or case["repeat"][0] * case["repeat"][1]
    folder = write(tmp_path / "web", {"Chart.yaml": case.get("metadata", METADATA), "values.yaml": text})
    with pytest.raises(InvalidError) as caught:
        coalesce(load(folder), {})
    said = " ".join([str(caught.value), *(problem.what for problem in caught.value.problems)])
    assert case["says"] in said

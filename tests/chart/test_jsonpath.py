"""JSONPath: a table of templates, and what must hold for all of them."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.chart.jsonpath import Template, path, printed
from pvehelm.errors import UsageError
from tests.release.lab import load_cases

CASES = load_cases("chart/cases/jsonpath.yaml")
DATA: dict[str, Any] = {
    "kind": "List",
    "items": [
        {
            "metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "front"}},
            "spec": {"memory": 1024, "cpu": {"cores": 2}},
            "status": {"status": "running"},
        },
        {"metadata": {"name": "db"}, "spec": {"memory": 512}, "status": {"status": "stopped"}},
        {"metadata": {"name": "cache"}, "spec": {"memory": "2048"}, "status": {"status": "running"}},
    ],
}
NAMES = st.text("abcXYZ_-09", min_size=1, max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["template"] or "empty")
def test_cases(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(UsageError, match="jsonpath") as error:
            Template(case["template"])
        assert case["error"] in str(error.value)
    else:
        assert Template(case["template"]).text(DATA) == case["text"]


@given(data=VALUES, names=st.lists(NAMES, max_size=4))
def test_a_path_finds_what_python_finds(data: Any, names: list[str]) -> None:
    found: list[Any] = [data]
    for name in names:
        found = [value[name] for value in found if isinstance(value, dict) and name in value]
    assert path("$" + "".join(f".{name}" for name in names))(data) == found
    assert path("$" + "".join(f"['{name}']" for name in names))(data) == found


@given(st.text("{}[]().*'\"@?=<>&|:,ab \\0-$", max_size=24))
def test_any_text_is_a_template_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(Template(text).text(DATA), str)


@given(st.text(max_size=12).filter(lambda text: "{" not in text))
def test_literals_are_printed_as_they_are(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    assert Template("{.kind}" + '{"' + escaped + '"}').text(DATA) == "List" + text


def test_values_are_printed_as_json() -> None:
    assert [printed(value) for value in (None, True, 1, "a", [1], {"a": "ü"})] == [
        "",
        "true",
        "1",
        "a",
        "[1]",
        '{"a": "ü"}',
    ]

"""Expressions over values: what they give, and that no text breaks the reader."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvehelm.chart.expression import MAX_DEPTH, Expression, filled, is_paths
from pvehelm.errors import InvalidError

VALUES: dict[str, Any] = {
    "a": {"enabled": True, "b-c": 2, "list": [1, {"x": "y"}], "odd/key": "slash"},
    "zero": 0,
    "text": "word",
    "none": None,
}
WORDS = [*"()[],<1", "a.b", "and", "or", "not", "in", "if", "else", "==", "'x'", "true"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.enabled", True),
        ("a.b-c", 2),
        ("a.list[1].x", "y"),
        ('a["odd/key"]', "slash"),
        ("a.missing.deep", None),
        ("a.list[9]", None),
        ("text[0]", None),
        ("zero or 7", 7),
        ("text and zero", 0),
        ("not text", False),
        ("not not text", True),
        ("not a.enabled or zero == 0", True),
        ("(not a.enabled) or false", False),
        ("text == 'word' and text != \"other\"", True),
        ("true == 1", False),
        ("1 == 1.0", True),
        ("-1 < zero", True),
        ("'or' in text", True),
        ("text not in ['a', text]", False),
        ("'enabled' in a", True),
        ("1 if zero else 2 if none else 3", 3),
        ("[1, [true, null], 'x']", [1, [True, None], "x"]),
        ("[]", []),
        ("'it\\'s'", "it's"),
        ("none", None),
        ("andy or 1", 1),
    ],
)
def test_value(text: str, value: Any) -> None:
    found = Expression(text).value(VALUES)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "missing at the end (at character 1)"),
        ("a and", "missing at the end (at character 6)"),
        ("a b", "unexpected 'b' (at character 3)"),
        ("(a", "')' is missing"),
        ("[a", "']' is missing"),
        ("a = b", "unexpected '='"),
        ("a ? b", "unexpected '?' (at character 3)"),
        ("a not b", "'in' is missing"),
        ("x if y", "'else' is missing"),
        ("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1), "nested more than"),
        ("a or " * 1000 + "a", "longer than"),
        ("f(x)", "unexpected '('"),
        ("__import__('os')", "unexpected '('"),
    ],
)
def test_broken(text: str, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Expression(text)
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["text < 1", "1 in zero", "a < a", "none > 1"])
def test_senseless(text: str) -> None:
    with pytest.raises(InvalidError, match="makes no sense"):
        Expression(text).value(VALUES)


@pytest.mark.parametrize(
    ("condition", "paths"),
    [("a.enabled", True), ("a.enabled, b.enabled,", True), ("", True), ("not a", False), ("a or b", False)],
)
def test_what_is_helms(condition: str, paths: bool) -> None:
    assert is_paths(condition) is paths


def test_filled_leaves_references_alone() -> None:
    assert filled("${secret://release/x}", {}) == "${secret://release/x}"
    assert filled({"a": ["${text}", 1]}, VALUES) == {"a": ["word", 1]}
    with pytest.raises(InvalidError, match="pass it on whole"):
        filled("x ${pw}", {"pw": "secret://env/PW"})
    assert filled("${pw}", {"pw": "secret://env/PW"}) == "secret://env/PW"


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(st.sampled_from(WORDS)).map(" ".join),
    )
)
def test_any_text_is_a_value_or_an_error(text: str) -> None:
    with contextlib.suppress(InvalidError):
        Expression(text).value(VALUES)

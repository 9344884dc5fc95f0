"""The lexer: Go's own tables, and that any text comes apart and together again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.chart.gotpl.lexer import KEYWORDS, tokens
from tests.chart.gotpl.templates import published
from tests.helpers import needs_shared

_GO = published("gotemplate-cases")
#: Our names of Go's kinds of items.
_KINDS = {
    "left delim": "left",
    "right delim": "right",
    "EOF": "eof",
    "identifier": "word",
    "raw string": "raw",
    ".": "dot",
    ":=": "declare",
    "=": "assign",
    "(": "open",
    ")": "close",
}


def wanted(case: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    for item in case["Items"]:
        kind, value = item["Typ"], item["Val"]
        if kind == "space":
            continue
        if kind == "char":
            kind = "other" if not value.startswith("'") else "char"
        if kind == "item20":
            kind = "text"
        found.append((_KINDS.get(kind, kind), value))
    return found


@needs_shared
@pytest.mark.parametrize("case", _GO.get("lex", []), ids=lambda case: str(case["Name"]))
def test_of_go(case: dict[str, Any]) -> None:
    found: list[tuple[str, str]] = []
    for token in tokens(case["Input"], comments=True):
        # Fields that follow each other are one token here.
        parts = [f".{name}" for name in token.value[1:].split(".")] if token.kind == "field" else [token.value]
        found += [(token.kind, part) for part in parts]
    assert found == wanted(case)


@given(st.text(alphabet="{}-/*\"'`.$ |():=a1\n\\,", max_size=60))
def test_any_text_ends(source: str) -> None:
    found = tokens(source, comments=True)
    assert found[-1].kind in ("eof", "error")
    for token in found[:-1]:
        # A trimming delimiter is one token whose value is the plain one.
        assert token.kind in ("left", "right") or source.startswith(token.value, token.pos)


def test_keywords_are_words_of_their_own() -> None:
    assert [token.kind for token in tokens("{{ iffy if .if $if }}")][1:-2] == ["word", "if", "field", "variable"]
    assert "nil" in KEYWORDS

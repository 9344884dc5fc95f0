"""toYaml, toJson and toToml by reading back what they print."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.chart.gotpl import jsontext, toml, yamlin, yamlout
from pvehelm.chart.gotpl.values import GoError, Int64
from tests.chart.gotpl.templates import cases

# What go-yaml itself prints so that it reads something else: NEL and the separators, a byte order mark, controls.
_TEXT = st.text(
    st.characters(
        exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="\ufeff\ufffe\uffff", max_codepoint=0x1FFFF
    )
    | st.sampled_from("\n\n  :#-'\"{}[],&*!|>%@`0123456789.ynt~=")
)
#: go-yaml prints a key "<<" plain, and takes it for a merge when it reads.
_KEY = _TEXT.filter(lambda text: text != "<<")
_NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(1 << 53), 1 << 53).map(float)
_LEAF = st.none() | st.booleans() | _NUMBER | _TEXT
_VALUE = st.recursive(_LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEY, inner, max_size=4))


@given(_VALUE)
def test_what_toYaml_prints_reads_back(value: Any) -> None:
    assert yamlin.load(yamlout.dump(value) + "\n") == value


@given(_VALUE)
def test_what_toYamlPretty_prints_reads_back(value: Any) -> None:
    assert yamlin.load(yamlout.toYamlPretty(value) + "\n") == value


@given(st.dictionaries(st.text("abcdefghijk", min_size=1), _TEXT | st.booleans(), max_size=5))
def test_other_readers_agree(value: dict[str, Any]) -> None:
    # PyYAML knows the type "value" of YAML 1.1, which go-yaml does not.
    kept = {key: "" if item in ("=", "<<") else item for key, item in value.items()}
    assert yaml.safe_load(yamlout.dump(kept) + "\n") == kept


@given(_VALUE)
def test_what_toJson_prints_reads_back(value: Any) -> None:
    assert jsontext.loads(jsontext.dumps(value)) == value
    assert json.loads(jsontext.dumps(value, html=False, indent="  "), parse_int=float) == value


_PLAIN = st.booleans() | st.floats(allow_nan=False) | st.integers(-(1 << 62), 1 << 62).map(Int64) | _TEXT
_TABLE = st.recursive(_PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEY, inner, max_size=4))


@given(st.dictionaries(_TEXT, _TABLE, max_size=4))
def test_what_toToml_prints_reads_back(value: dict[str, Any]) -> None:
    assert tomllib.loads(toml.dumps(value)) == value


@given(st.text())
def test_input_is_read_or_refused(text: str) -> None:
    for read in (yamlin.fromYaml, jsontext.fromJson, toml.fromToml):
        assert isinstance(read(text), dict)
    for read_list in (yamlin.fromYamlArray, jsontext.fromJsonArray):
        assert isinstance(read_list(text), list)


def test_keys_are_in_natural_order() -> None:
    keys = ["a10", "a9", "a1", "A1", "a.b", "a/b", "é", "1", "10", "9", "01"]
    assert list(yamlin.load(yamlout.dump(dict.fromkeys(keys, "")))) == [
        *("1", "01", "9", "10", "A1", "a.b", "a/b", "a1", "a9", "a10", "é")
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [print]}])
def test_what_has_no_yaml(value: Any) -> None:
    assert yamlout.toYaml(value) == ""
    with pytest.raises(GoError, match="unsupported"):
        yamlout.mustToYaml(value)


def test_bombs_are_refused() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "excessive aliasing" in yamlin.fromYaml(bomb)["Error"]
    assert "contains itself" in yamlin.fromYaml("a: &a [*a]")["Error"]
    assert "depth" in yamlin.fromYaml("[" * 2000)["Error"]


@pytest.mark.parametrize("case", cases("toml"), ids=lambda case: repr(case["toml"]))
def test_what_is_wrong_with_a_toml_text(case: dict[str, str]) -> None:
    assert toml.fromToml(case["toml"]) == {"Error": case["error"]}


@given(st.text(st.sampled_from("ab=.'\"[]{},#\n 01_-+ex:\\\r") | st.characters(codec="utf-8"), max_size=20))
def test_any_text_is_toml_or_is_told_why_not(text: str) -> None:
    found = toml.fromToml(text)
    assert "Error" not in found or str(found["Error"]).startswith("toml: ")

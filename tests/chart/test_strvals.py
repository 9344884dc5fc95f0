"""The language of --set, as cases and as laws."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvehelm.chart.strvals import file_path, parse, typed
from pvehelm.errors import UsageError
from tests.chart.data import cases


@pytest.mark.parametrize("case", cases("strvals.yaml"))
def test_case(case: dict[str, Any]) -> None:
    dialect = case.get("dialect", "set")
    into = copy.deepcopy(case.get("into", {}))
    if "error" in case:
        with pytest.raises(UsageError) as caught:
            parse(case["text"], into, dialect=dialect)
        assert case["error"] in caught.value.message
        assert f"--{dialect} {case['text']}" in caught.value.message
        return
    found = parse(case["text"], into, dialect=dialect, read=lambda path: f"<{path}>")
    assert found is into
    assert found == case["data"]
    assert json.dumps(found, sort_keys=True) == json.dumps(case["data"], sort_keys=True)  # 1 is not True


def test_the_path_that_a_file_flag_names() -> None:
    assert file_path("a.b[0]=dir/file.txt") == "dir/file.txt"
    for text in ("a=x,b=y", ""):
        with pytest.raises(UsageError, match="names"):
            file_path(text)


def _escaped(text: str, special: str) -> str:
    return "".join("\\" + char if char in special + "\\" else char for char in text)


_KEY = st.text(min_size=1, max_size=8)
_LEAF = st.one_of(
    st.booleans(), st.none(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=8).filter(lambda t: typed(t) == t)
)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        text = _escaped(value, ",")
        return "\\" + text if text.startswith("{") else text
    return "null" if value is None else str(value).lower()


@given(st.dictionaries(_KEY, st.dictionaries(_KEY, _LEAF, min_size=1, max_size=3), max_size=3))
def test_maps_survive_being_written_as_flags(data: dict[str, dict[str, Any]]) -> None:
    text = ",".join(
        f"{_escaped(outer, '=[,.')}.{_escaped(inner, '=[,.')}={_shown(value)}"
        for outer, below in data.items()
        for inner, value in below.items()
    )
    assert parse(text) == data


@given(st.lists(st.text(max_size=6), min_size=1, max_size=5), _KEY)
def test_lists_survive(items: list[str], key: str) -> None:
    by_index = ",".join(f"{_escaped(key, '=[,.')}[{n}]={_shown(item)}" for n, item in reversed(list(enumerate(items))))
    in_braces = f"{_escaped(key, '=[,.')}={{{','.join(_escaped(item, ',}') for item in items)}}}"
    assert parse(by_index, dialect="set-string") == {key: items}
    assert parse(in_braces, dialect="set-string") == {key: items}


_JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=6),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_KEY, below, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(_KEY, _JSON, max_size=3))
@settings(max_examples=60)
def test_json_survives(data: dict[str, Any]) -> None:
    text = ",".join(f"{_escaped(key, '=[,.')}={json.dumps(value)}" for key, value in data.items())
    if not text.lstrip().startswith("{"):
        assert parse(text, dialect="set-json") == data
    assert parse(json.dumps(data), dialect="set-json") == data


@given(
    st.text(alphabet="ab=.,[]{}\\01 -", max_size=24), st.sampled_from(["set", "set-string", "set-json", "set-literal"])
)
def test_any_text_is_read_or_refused(text: str, dialect: Any) -> None:
    message = "at character"
    try:
        parse(text, dialect=dialect)
    except UsageError as error:
        message = error.message
    assert "at character" in message

"""The YAML loader against cases and CSafeLoader, the writer against Helm's own output."""

from __future__ import annotations

import json
import math
import pickle
import re
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pvehelm.chart.yaml import Mark, dotted, dump, load, load_all
from pvehelm.errors import InvalidError
from tests.chart.data import cases
from tests.helpers import SHARED, needs_shared


@pytest.mark.parametrize("case", cases("yaml.yaml"))
def test_case(case: dict[str, Any]) -> None:
    text = case["text"]
    for lines in (True, False):
        if "problems" not in case:
            documents = load_all(text, file="f", lines=lines)
            data = documents[0].data if documents else None
            assert data == case["data"]
            assert _types(data) == _types(case["data"])
            continue
        with pytest.raises(InvalidError) as caught:
            load_all(text, file="f", lines=lines)
        found = [(problem.where, problem.what) for problem in caught.value.problems]
        assert [where for where, _ in found] == [where for where, _ in case["problems"]], found
        for (_, what), (_, part) in zip(found, case["problems"], strict=True):
            assert part in what


def test_marks_name_every_key_and_item() -> None:
    text = "# c\na: 1\nlist:\n  - x: 1\n    y: [p, q]\n  - two\n---\nb: {c: d}\n"
    first, second = load_all(text)
    assert dict(first.marks) == {
        (): Mark(2, 1),
        ("a",): Mark(2, 1),
        ("list",): Mark(3, 1),
        ("list", 0): Mark(4, 5),
        ("list", 0, "x"): Mark(4, 5),
        ("list", 0, "y"): Mark(5, 5),
        ("list", 0, "y", 0): Mark(5, 9),
        ("list", 0, "y", 1): Mark(5, 12),
        ("list", 1): Mark(6, 5),
    }
    assert len(first.marks) == 9
    assert first.start == Mark(2, 1)
    assert second.marks[("b", "c")] == Mark(8, 5)
    assert first.marks.nearest(("list", 0, "y", 7, "z")) == Mark(5, 5)
    assert first.marks.nearest(("nothing",)) == Mark(2, 1)
    assert ("list", "x") not in first.marks
    assert ("a", "b") not in first.marks
    assert pickle.loads(pickle.dumps(first)) == first


def test_one_document_is_asked_for() -> None:
    with pytest.raises(InvalidError, match="one document expected") as caught:
        load("a: 1\n---\nb: 2\n", file="f")
    assert caught.value.problems[0].where == "f:3:1"
    assert load("") is None


def test_bombs_are_refused_quickly() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    merges = ["m0: &m0 {k: 1}"] + [f"m{n}: &m{n} {{x{n}: [*m{n - 1}, *m{n - 1}], <<: *m{n - 1}}}" for n in range(1, 40)]
    for text in ("\n".join(levels), "\n".join(merges), "[" * 5000, "- " * 500 + "x", "a: " + "{b: " * 300):
        with pytest.raises(InvalidError):
            load(text)


def test_aliases_within_reason_are_shared() -> None:
    data = load("a: &x {k: [1, 2]}\nb: *x\nc: [*x, *x]\n")
    assert data["b"] == data["a"]
    assert data["c"][1] is data["a"]


def test_text_that_is_no_unicode() -> None:
    with pytest.raises(InvalidError) as caught:
        load("a: 1\nb: \ud800\n", file="f")
    assert caught.value.problems[0].where == "f:2"


# -- against CSafeLoader -----------------------------------------------------------------------------------------------


def _resolvers() -> dict[Any, Any]:
    """CSafeLoader's, without what is left out on purpose: dates, base 60, and the sign ``=``."""
    out: dict[Any, Any] = {}
    for first, pairs in pyyaml.CSafeLoader.yaml_implicit_resolvers.items():
        for tag, pattern in pairs:
            if tag.endswith(("int", "float")):
                pattern = re.compile(rf"(?![^:]*:)(?:{pattern.pattern})", pattern.flags)
            if not tag.endswith(("timestamp", "value")):
                out.setdefault(first, []).append((tag, pattern))
    return out


class _Reference(pyyaml.CSafeLoader):
    yaml_implicit_resolvers = _resolvers()


def _reference(text: str) -> Any:
    return _plain(pyyaml.load(text, _Reference))


def _plain(data: Any) -> Any:
    """Keys as texts, as JSON has them."""
    if isinstance(data, dict):
        return {_key(key): _plain(value) for key, value in data.items()}
    return [_plain(item) for item in data] if isinstance(data, list) else data


def _key(key: Any) -> str:
    if key is None or isinstance(key, bool):
        return json.dumps(key)
    if isinstance(key, float) and key.is_integer():
        return str(int(key))
    return str(key)


def _types(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _types(value) for key, value in data.items()}
    return [_types(item) for item in data] if isinstance(data, list) else type(data)


_SCALARISH = st.one_of(
    st.text(alphabet="0123456789+-._eExXobB:aAnNyYtTfFlLuUrRsSiI~ ", max_size=10),
    st.sampled_from(
        ["yes", "No", "ON", "off", "true", "NULL", "~", "0o7", "1_0", "-.5", "1.", "+1", "=", "<<", "0.0e+1"]
    ),
)


def _finite(data: Any) -> bool:
    if isinstance(data, dict):
        return all(map(_finite, data.values()))
    if isinstance(data, list):
        return all(map(_finite, data))
    return not isinstance(data, float) or math.isfinite(data)


@given(st.lists(_SCALARISH, max_size=6))
@settings(max_examples=400, deadline=None)
def test_plain_scalars_resolve_as_in_csafeloader(texts: list[str]) -> None:
    # Left out: an exponent without a dot, which is a number here as in Go.
    texts = [text for text in texts if not re.fullmatch(r"\s*[-+]?\d+[eE][-+]\d+\s*", text)]
    text = "".join(f"- {item}\n" for item in texts)
    try:
        expected = _reference(text)
    except (pyyaml.YAMLError, ValueError, KeyError, TypeError):
        return
    if not _finite(expected):
        return
    found = load(text)
    assert found == expected
    assert _types(found) == _types(expected)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=8), below, max_size=4),
    max_leaves=20,
)


@given(_VALUES, st.booleans(), st.sampled_from([None, "", '"', "'"]))
@settings(max_examples=200, deadline=None)
def test_documents_load_as_in_csafeloader(value: Any, flow: bool, style: str | None) -> None:
    text = pyyaml.dump(
        value, Dumper=pyyaml.CSafeDumper, default_flow_style=flow, default_style=style, allow_unicode=True
    )
    try:
        expected = _reference(text)
    except (pyyaml.YAMLError, ValueError):
        return
    found = load(text)
    assert found == expected
    assert _types(found) == _types(expected)


_TOKENS = [
    *"ab1:{}[]~=%\n\t'\"",
    "- ",
    ": ",
    ", ",
    "\n  ",
    "\n- ",
    "&x ",
    "*x",
    "<<: ",
    "!!str ",
    "!!int ",
    "> \n ",
    "#c",
]
_TOKENS += ["yes", "? ", "---\n", "0x1", "1:2"]
_DELIBERATE = (
    "given twice",
    "cannot be a key",
    "not supported",
    "merges",
    "its own anchor",
    "is no int",
    "one document",
)


@given(st.lists(st.sampled_from(_TOKENS), max_size=12).map("".join))
@settings(max_examples=600, deadline=None)
def test_any_text_is_read_or_refused_as_by_csafeloader(text: str) -> None:
    try:
        expected = [_reference(text)]
    except (pyyaml.YAMLError, ValueError, LookupError, TypeError):
        expected = []
    refused = ""
    try:
        found = [load(text)]
    except InvalidError as error:
        found, refused = [], str(error.problems)
    if refused:
        assert not expected or any(part in refused for part in _DELIBERATE)
        return
    # Python takes true for 1 and 1.0 for 1, so CSafeLoader loses one of two such keys.
    if expected and not ("yes" in text and "1" in text):
        assert found == expected


# -- writing -----------------------------------------------------------------------------------------------------------


@given(_VALUES, st.sampled_from([80, None]))
@settings(max_examples=300, deadline=None)
def test_what_is_written_reads_back(value: Any, width: int | None) -> None:
    assert load(dump(value, width=width)) == value


@given(st.one_of(_SCALARISH, st.text(max_size=30), st.text(alphabet=" \n\t'\"#:-[]{},&*!|>%@`a", max_size=12)))
@settings(max_examples=400, deadline=None)
def test_texts_read_back_as_texts_here_and_in_csafeloader(text: str) -> None:
    written = dump({"k": [text], "l": text})
    assert load(written) == {"k": [text], "l": text}
    assert load(dump({text: 1})) == {text: 1}
    if text not in ("=", "<<"):  # as values they are plain, as in Helm, and CSafeLoader fails on them
        assert pyyaml.load(written, pyyaml.CSafeLoader) == {"k": [text], "l": text}


def test_keys_are_sorted_naturally() -> None:
    data = dict.fromkeys(("a10", "a9", "A1", "a/b", "a1", "a.b"), 1)
    assert dump(data) == "A1: 1\na.b: 1\na/b: 1\na1: 1\na9: 1\na10: 1\n"


def test_numbers_are_written_as_helm_does() -> None:
    assert dump([1.0, 1e6, 1234567.5, 1e21, 1e20, 1e-7, 0.1, -0.0]) == (
        "- 1\n- 1000000\n- 1.2345675e+06\n- 1e+21\n- 1e+20\n- 1e-07\n- 0.1\n- 0\n"
    )


def test_the_end_mark_is_not_mistaken() -> None:
    assert dump("...\n") + dump({"l": "...\n"}) + dump(["a\n..."]) == "|\n  ...\nl: |\n  ...\n- |-\n  a\n  ...\n"


def test_what_cannot_be_written() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for value in ({"a": [float("nan")]}, {"a": {1, 2}}, circle, {(1, 2): 3}):
        with pytest.raises(InvalidError, match="cannot be written"):
            dump(value)


@needs_shared
def test_helm_writes_the_same() -> None:
    """Every case of Helm's own toYaml, except those where Helm loses a line break of YAML 1.1."""
    data = json.loads((SHARED / "helm-compat" / "oracle-cases.json").read_text(encoding="utf-8"))
    seen = 0
    for case in data["cases"]:
        if case["template"] != "{{ toYaml . }}|" or "expected" not in case:
            continue
        if re.search("[\x85\u2028\u2029]", json.dumps(case["data"], ensure_ascii=False)):
            continue
        assert dump(case["data"]).removesuffix("\n") + "|" == case["expected"], case["id"]
        seen += 1
    assert seen > 150


def test_dotted() -> None:
    assert dotted(("a", "b", 0, 1, "c")) == "a.b[0][1].c"
    assert dotted(()) == ""

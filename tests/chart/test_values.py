"""Values: layers, flags, defaults of charts and subcharts, schemas, what is sensitive."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvehelm.chart.chart import Chart, from_files, load
from pvehelm.chart.values import (
    ValueFlag,
    coalesce,
    enabled,
    from_flags,
    merge,
    origins,
    overlay,
    redact,
    redact_all,
    validate,
)
from pvehelm.errors import InvalidError, UsageError
from tests.chart.data import cases, write


def tree(spec: dict[str, Any], prefix: str = "") -> dict[str, str | bytes]:
    """The files of a chart given as name, version, values, schema, dependencies and charts."""
    name = spec.get("name", "web")
    metadata = {"apiVersion": "v2", "name": name, "version": spec.get("version", "1.0.0")}
    if "engine" in spec:
        metadata["engine"] = spec["engine"]
    if "dependencies" in spec:
        metadata["dependencies"] = spec["dependencies"]
    files: dict[str, str | bytes] = {f"{prefix}Chart.yaml": json.dumps(metadata)}
    if "values" in spec:
        files[f"{prefix}values.yaml"] = json.dumps(spec["values"], indent=1)
    if "schema" in spec:
        files[f"{prefix}values.schema.json"] = json.dumps(spec["schema"])
    for sub in spec.get("charts", ()):
        files.update(tree(sub, f"{prefix}charts/{sub.get('dir', sub['name'])}/"))
    return files


def _names(chart: Chart, prefix: str = "") -> list[str]:
    return [name for sub in chart.dependencies for name in (prefix + sub.name, *_names(sub, f"{prefix}{sub.name}."))]


@pytest.mark.parametrize("case", cases("values.yaml"))
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    chart = load(write(tmp_path / "web", tree(case["chart"])))
    before = copy.deepcopy((chart.values, case["user"]))
    if "error" in case:
        with pytest.raises(InvalidError) as caught:
            coalesce(chart, case["user"])
        assert all(case["error"] in problem.where for problem in caught.value.problems)
        if "says" in case:
            assert [problem.what for problem in caught.value.problems] == case["says"]
            for problem, hint in zip(caught.value.problems, case.get("hints", ()), strict=False):
                assert hint in problem.hint
        return
    found = coalesce(chart, case["user"])
    if "values" in case:
        if case["chart"].get("dependencies"):
            assert _says(found, case["values"]), found
        else:
            assert found == case["values"]
    if "enabled" in case:
        kept = enabled(chart, case["user"])
        assert _names(kept) == case["enabled"]
        assert _names(enabled(kept, found)) == case["enabled"]
    assert (chart.values, case["user"]) == before


def _says(found: Any, wanted: Any) -> bool:
    """Where dependencies are declared, cases name the values that matter."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(key in found and _says(found[key], wanted[key]) for key in wanted)
    return bool(found == wanted)


def test_results_are_new_objects(tmp_path: Path) -> None:
    chart = load(
        write(tmp_path / "web", tree({"values": {"a": {"b": [1]}}, "charts": [{"name": "s", "values": {"c": []}}]}))
    )
    user = {"global": {"x": {"y": []}}}
    one = coalesce(chart, user)
    one["a"]["b"].append(2)
    one["s"]["c"].append(2)
    one["s"]["global"]["x"]["y"].append(3)
    two = coalesce(chart, user)
    assert two == {"a": {"b": [1]}, "s": {"c": [], "global": {"x": {"y": []}}}, "global": {"x": {"y": []}}}


# -- layers ------------------------------------------------------------------------------------------------------------


def test_merge_deletes_and_overlay_keeps() -> None:
    base = {"a": 1, "b": {"c": 1, "d": 2}, "l": [1, 2]}
    over = {"a": None, "b": {"c": None, "e": 3}, "l": [3], "n": None}
    assert merge(base, over) == {"b": {"d": 2, "e": 3}, "l": [3]}
    assert overlay(base, over) == {"a": None, "b": {"c": None, "d": 2, "e": 3}, "l": [3], "n": None}
    assert base == {"a": 1, "b": {"c": 1, "d": 2}, "l": [1, 2]}


_DATA = st.recursive(
    st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
    lambda below: st.dictionaries(st.sampled_from("abc"), below, max_size=3),
    max_leaves=8,
)
_MAP = st.dictionaries(st.sampled_from("abcd"), _DATA, max_size=4)


@given(_MAP, _MAP, _MAP)
@settings(max_examples=150)
def test_laws_of_layers(one: dict[str, Any], two: dict[str, Any], three: dict[str, Any]) -> None:
    assert overlay(one, {}) == one
    assert overlay({}, one) == one
    assert overlay(one, one) == one
    assert overlay(overlay(one, two), two) == overlay(one, two)
    assert set(merge(one, two)) <= set(one) | set(two)
    assert merge(merge(one, two), two) == merge(one, two)
    assert overlay({}, overlay(two, three)) == overlay(overlay({}, two), three)


def test_flags_count_in_the_order_given() -> None:
    flags = [
        ValueFlag("set", "a=1,list={x,y}"),
        ValueFlag("file", "one.yaml", "a: 2\nb: {c: 3, d: 4}\nnothing: null\n"),
        ValueFlag("set", "b.c=5,list[1]=z,b.d=null"),
        ValueFlag("set-string", "a=6"),
        ValueFlag("file", "two.yaml", "---\n# empty\n---\nb: {e: 7}\n---\nb: {f: 8}\n"),
        ValueFlag("set-file", "key=path/to/key", "content\n"),
        ValueFlag("set-json", '{"b": {"g": [1]}}'),
        ValueFlag("set-literal", "l=x,y"),
    ]
    assert from_flags(flags) == {
        "a": "6",
        "list": ["x", "z"],
        "b": {"c": 5, "d": None, "e": 7, "f": 8, "g": [1]},
        "nothing": None,
        "key": "content\n",
        "l": "x,y",
    }
    assert from_flags([]) == {}
    found = origins(flags)
    assert found[("b", "e")] == "two.yaml:4:5"
    assert found[("b", "c")] == "--set b.c"
    assert found[("b", "d")] == "--set b.d"
    assert found[("key",)] == "--set-file key"
    assert found[("list", 1)] == "--set list[1]"


def test_of_several_versions_the_lock_says_which() -> None:
    needs = "".join(
        f"- {{name: lib, version: ^1, repository: 'git+https://h/{ref}', alias: {ref}}}\n" for ref in ("one", "two")
    )
    lock = "".join(
        f"- {{name: lib, version: {version}, repository: 'git+https://h/{ref}'}}\n"
        for ref, version in (("one", "1.2.0"), ("two", "1.3.0"))
    )
    files = {
        "Chart.yaml": f"apiVersion: v2\nname: app\nversion: 1.0.0\nengine: jinja2\ndependencies:\n{needs}",
        "Chart.lock": f"dependencies:\n{lock}digest: sha256:0\n",
        "charts/a/Chart.yaml": "apiVersion: v2\nname: lib\nversion: 1.2.0\n",
        "charts/b/Chart.yaml": "apiVersion: v2\nname: lib\nversion: 1.3.0\n",
    }

    def found(**other: str) -> dict[str, str]:
        chart = from_files({path: text.encode() for path, text in {**files, **other}.items()}, name="app")
        return {sub.name: sub.version for sub in enabled(chart, {}).dependencies}

    assert found() == {"one": "1.2.0", "two": "1.3.0"}
    # Without one, and with one that cannot be read, the first that will do.
    assert found(**{"Chart.lock": "dependencies: [1, {name: lib}]"}) == {"one": "1.2.0", "two": "1.2.0"}
    assert found(**{"Chart.lock": "{"}) == {"one": "1.2.0", "two": "1.2.0"}


def test_what_an_alias_shares_is_changed_in_one_place(tmp_path: Path) -> None:
    text = "top:\n  a: &x {k: 1}\n  b: *x\n"
    assert from_flags([ValueFlag("file", "f", text), ValueFlag("set", "top.a.k=2")]) == {
        "top": {"a": {"k": 2}, "b": {"k": 1}}
    }
    files: dict[str, str | bytes] = {"Chart.yaml": "{apiVersion: v2, name: web, version: 1.0.0}", "values.yaml": text}
    chart = load(write(tmp_path / "web", files))
    assert coalesce(chart, {"top": {"a": {"k": None}}}) == {"top": {"a": {}, "b": {"k": 1}}}
    found = coalesce(chart, {})
    found["top"]["a"]["k"] = 5
    assert found["top"]["b"] == {"k": 1}


def test_broken_flags() -> None:
    with pytest.raises(InvalidError) as caught:
        from_flags([ValueFlag("file", "a.yaml", "- x\n"), ValueFlag("file", "b.yaml", "a: 1\na: 2\n")])
    assert [problem.where for problem in caught.value.problems] == ["a.yaml:1:1", "b.yaml:2:1"]
    with pytest.raises(UsageError, match=r"--set a\.b: there is no value"):
        from_flags([ValueFlag("set", "a.b")])
    with pytest.raises(UsageError, match="'a' is a text, not a map"):
        from_flags([ValueFlag("file", "f", "a: text"), ValueFlag("set", "a.b=1")])
    with pytest.raises(UsageError, match="several files"):
        from_flags([ValueFlag("set-file", "a=x,b=y", "")])


# -- schemas -----------------------------------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["node"],
    "properties": {
        "node": {"type": "string"},
        "memory": {"type": "integer", "minimum": 16},
        "disks": {"type": "array", "items": {"$ref": "#/$defs/disk"}},
        "password": {"type": "string", "pattern": "^[a-z]{8,}$", "x-sensitive": True},
        "address": {"type": "string", "format": "ipv4"},
        "mode": {"oneOf": [{"const": "a"}, {"type": "integer"}]},
    },
    "$defs": {"disk": {"type": "object", "properties": {"size": {"type": "string"}}, "additionalProperties": False}},
}


def _check(tmp_path: Path, spec: dict[str, Any], flags: list[ValueFlag]) -> list[tuple[str, str, str]]:
    chart = load(write(tmp_path / "web", tree(spec)))
    user = from_flags(flags)
    kept = enabled(chart, user)
    problems = validate(kept, coalesce(chart, user), sources=origins(flags))
    return [(p.where.removeprefix(f"{tmp_path}/web/"), p.what, p.hint) for p in problems]


def test_every_problem_with_its_origin(tmp_path: Path) -> None:
    flags = [
        ValueFlag("file", "my.yaml", "memory: 1\ndisks:\n  - size: 5\n  - sizes: 1G\n"),
        ValueFlag("set", "mem=5,mode=b,address=10.0.0"),
    ]
    assert sorted(_check(tmp_path, {"schema": SCHEMA, "values": {"memory": 512}}, flags)) == [
        ("--set address", 'address: "10.0.0" is no ipv4', ""),
        ("--set mem", "mem: unknown value 'mem'", "did you mean 'memory'?"),
        (
            "--set mode",
            "mode: \"b\" is not valid under any of the schemas listed in the 'oneOf' keyword: "
            '"a" was expected; or "b" is not of type "integer"',
            "",
        ),
        ("my.yaml:1:1", "memory: 1 is less than the minimum of 16", ""),
        ("my.yaml:3:5", 'disks[0].size: 5 is not of type "string"', ""),
        ("my.yaml:4:5", "disks[1].sizes: unknown value 'sizes'", "did you mean 'size'?"),
        ("values: the values", "'node' is required", ""),
    ]


def test_every_word_of_the_schema_is_told_at_its_place(tmp_path: Path) -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {
            "ports": {"contains": {"const": 443}},
            "pair": {"prefixItems": [{"type": "string"}], "items": False},
            "net": {
                "if": {"properties": {"kind": {"const": "static"}}},
                "then": {"required": ["address"]},
                "dependentRequired": {"vlan": ["bridge"]},
            },
            "mail": {"format": "email"},
        },
        "unevaluatedProperties": False,
    }
    text = "ports: [80]\npair:\n  - a\n  - b\nnet:\n  kind: static\n  vlan: 5\nmail: nobody\nfoo: 1\nmial: 2\n"
    found = _check(tmp_path, {"schema": schema}, [ValueFlag("file", "my.yaml", text)])
    assert sorted(found) == [
        ("my.yaml:10:1", "mial: unknown value 'mial'", "did you mean 'mail'?"),
        ("my.yaml:1:1", "ports: no item is one that the schema asks for", ""),
        ("my.yaml:4:5", "pair[1]: nothing may stand here", ""),
        ("my.yaml:5:1", "net: 'address' is required", ""),
        ("my.yaml:5:1", "net: 'bridge' is required", ""),
        ("my.yaml:8:1", 'mail: "nobody" is no email', ""),
        ("my.yaml:9:1", "foo: unknown value 'foo'", "known are mail, net, pair, ports"),
    ]


def test_a_default_that_breaks_the_schema_is_shown_where_it_stands(tmp_path: Path) -> None:
    spec = {"schema": SCHEMA, "values": {"node": "n", "memory": 4}}
    assert _check(tmp_path, spec, []) == [("values.yaml:3:2", "memory: 4 is less than the minimum of 16", "")]
    assert _check(tmp_path, spec, [ValueFlag("set", "memory=5")])[0][0] == "--set memory"


def test_sensitive_values_are_not_shown_and_references_not_judged(tmp_path: Path) -> None:
    spec = {"schema": SCHEMA, "values": {"node": "n"}}
    found = _check(tmp_path, spec, [ValueFlag("set", "password=HUNTER2")])
    assert found[0][0] == "--set password"
    assert "sensitive" in found[0][1]
    assert "HUNTER2" not in str(found)
    for text in ("secret://env/PW", "x-${secret://env/PW}"):
        assert _check(tmp_path, spec, [ValueFlag("set-string", f"password={text}")]) == []


def test_subcharts_are_checked_and_globals_are_not(tmp_path: Path) -> None:
    closed = {"type": "object", "additionalProperties": False, "properties": {"a": {"type": "integer"}}}
    spec = {
        "schema": {**closed, "properties": {"x": {}}},
        "values": {"sub": {"a": "parent"}},
        "charts": [{"name": "sub", "schema": closed, "values": {"b": 1}}],
    }
    found = _check(tmp_path, spec, [ValueFlag("set", "global.g=1")])
    assert sorted(found) == [
        ("charts/sub/values.yaml:2:2", "sub.b: unknown value 'b'", "known are a"),
        ("values.yaml:3:3", 'sub.a: "parent" is not of type "integer"', ""),
    ]


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"$ref": "https://example.org/s.json"}, "https://example.org/s.json is outside the chart"),
        ({"$ref": "file:///etc/passwd"}, "file:///etc/passwd is outside the chart"),
        ({"$ref": "#/$defs/nothing"}, "not a valid schema"),
        ({"type": "text"}, "not a valid schema"),
        ({"properties": {"a": {"pattern": "("}}}, "not a valid schema"),
    ],
)
def test_a_schema_that_is_none(tmp_path: Path, schema: dict[str, Any], says: str) -> None:
    found = _check(tmp_path, {"schema": schema}, [])
    assert [where for where, _, _ in found] == ["values.schema.json"]
    assert says in found[0][1]


def test_redaction(tmp_path: Path) -> None:
    schema = {
        "properties": {
            "password": {"x-sensitive": True},
            "none": {"x-sensitive": True},
            "ref": {"x-sensitive": True},
            "users": {"items": {"$ref": "#/$defs/user"}},
            "keys": {"additionalProperties": {"x-sensitive": True}},
            "some": {"patternProperties": {"^p": {"x-sensitive": True}}},
            "either": {"anyOf": [{"type": "string", "x-sensitive": True}, {"type": "integer"}]},
            "whole": {"x-sensitive": True},
        },
        "$defs": {
            "user": {"allOf": [{"properties": {"token": {"x-sensitive": True}, "next": {"$ref": "#/$defs/user"}}}]}
        },
    }
    values = {
        "password": "p",
        "none": None,
        "ref": "secret://env/PW",
        "users": [{"name": "a", "token": "t", "next": {"token": "u"}}],
        "keys": {"a": "x"},
        "some": {"p1": 1},
        "either": "s",
        "whole": {"a": [1]},
        "plain": "stays",
    }
    hidden = "<sensitive>"
    wanted = {
        "password": hidden,
        "none": None,
        "ref": "secret://env/PW",
        "users": [{"name": "a", "token": hidden, "next": {"token": hidden}}],
        "keys": {"a": hidden},
        "some": {"p1": hidden},
        "either": hidden,
        "whole": hidden,
        "plain": "stays",
    }
    assert redact(values, schema) == wanted
    assert redact(values, None) == values
    assert values["password"] == "p"
    spec = {"charts": [{"name": "sub", "schema": schema}], "schema": {"properties": {"top": {"x-sensitive": True}}}}
    chart = load(write(tmp_path / "web", tree(spec)))
    assert redact_all(chart, {"top": 1, "sub": values}) == {"top": hidden, "sub": wanted}

"""Formats against what real validators said, and the laws that parsing, printing and comparing keep."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvehelm.api import formats
from pvehelm.api.schema import Schema
from pvehelm.errors import InvalidError
from tests.helpers import ROOT, SHARED, needs_shared

RELEASES = ("7.4", "8.4", "9.2")
_DATA = json.loads((Path(__file__).parent / "formats_same.json").read_text(encoding="utf-8"))
SAME: list[dict[str, Any]] = _DATA["cases"]

# Rows that are answered otherwise on purpose.
EXCEPTIONS = {
    ("pve-vm-cpu-conf", "custom-abc"): "a syntax check cannot know which custom CPU models a cluster has",
    ("POST /nodes/{node}/qemu cpu", "custom-abc"): "the same",
    ("PUT /cluster/options next-id", "lower=1"): "its bounds have unusual names, which the server does not look at",
}


@cache
def schema(release: str = "9.2") -> Schema:
    return Schema.read(ROOT / "pvehelm" / "api" / "data" / f"schema-{release}.json")


@cache
def facts(where: str) -> Mapping[str, Any]:
    method, path, name = where.split()
    param = schema().operation(method, path).param(name)
    assert param is not None, where
    return param.facts


def rows(name: str) -> list[dict[str, Any]]:
    with (SHARED / "pve-wire" / name).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def wrong(found: Mapping[tuple[str, str], str]) -> list[str]:
    return [f"{where} {value!r}: {what}" for (where, value), what in found.items() if (where, value) not in EXCEPTIONS]


@needs_shared
def test_named_formats_agree_with_the_server() -> None:
    found = {}
    for row in rows("formats.jsonl"):
        name, value = row["format"], row["value"]
        message = formats.validate_format(name, value)
        if (message is None) != row["ok"]:
            found[name, value] = message or "accepted"
        elif row["ok"] and "parsed" in row:
            # These rows show the bare syntax of prune-backups.
            parsed = formats.parse(name, value, rules=name != "prune-backups")
            if parsed != row["parsed"]:
                found[name, value] = f"{parsed} instead of {row['parsed']}"
    assert wrong(found) == []


@needs_shared
def test_property_strings_agree_with_the_server() -> None:
    found = {}
    for row in rows("property-strings.jsonl"):
        where, value, param = row["schema"], row["value"], facts(row["schema"])
        faults = formats.check_value(param, value, name="x")
        if (not faults) != row["ok"]:
            found[where, value] = str(faults or "accepted")
        elif row["ok"] and "parsed" in row:
            parsed = formats.parse(param["format"], value)
            if parsed != row["parsed"]:
                found[where, value] = f"{parsed} instead of {row['parsed']}"
    assert wrong(found) == []


@needs_shared
def test_shipped_sub_keys_are_those_of_the_recordings() -> None:
    recorded = json.loads((SHARED / "pve-wire" / "named-formats.json").read_text(encoding="utf-8"))["formats"]
    for name, keys in recorded.items():
        shipped = formats.subkeys({"format": name})
        assert shipped is not None, name
        for key, sub in keys.items():
            assert dict(shipped[key]) == sub, (name, key)


def _formats_of(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        fmt = node.get("format")
        if isinstance(fmt, str):
            yield fmt
        for value in node.values():
            yield from _formats_of(value)
    elif isinstance(node, list):
        for value in node:
            yield from _formats_of(value)


@pytest.mark.parametrize("release", RELEASES)
def test_every_named_format_of_the_schema_is_known(release: str) -> None:
    data = json.loads((ROOT / "pvehelm" / "api" / "data" / f"schema-{release}.json").read_text(encoding="utf-8"))
    # An enumeration may list "format" as a word, and drives have a sub-key of that name: those are no names of formats.
    names = {name for row in data["facts"] for name in _formats_of(row)}
    assert len(names) > 80
    assert sorted(name for name in names if not formats.known_format(name)) == []


@pytest.mark.parametrize("release", RELEASES)
def test_every_pattern_compiles(release: str) -> None:
    data = json.loads((ROOT / "pvehelm" / "api" / "data" / f"schema-{release}.json").read_text(encoding="utf-8"))

    def patterns(node: Any) -> Iterator[str]:
        if isinstance(node, Mapping):
            if isinstance(node.get("pattern"), str):
                yield node["pattern"]
            for value in node.values():
                yield from patterns(value)

    for row in data["facts"]:
        for pattern in patterns(row):
            re.compile(pattern)


# -- values on the wire ----------------------------------------------------------------------------------------

WIRE = [
    ({"type": "boolean"}, [0, 1, "0", "1", True, False, 1.0, None], ["on", "yes", "true", "", 2, "01", [1]]),
    ({"type": "integer"}, [2, "2", "02", "-1", "+3", 2.0], ["1.5", " 1", "", True, 2.5, "x", [2], {"a": 1}]),
    ({"type": "integer", "minimum": "1", "maximum": 4}, [1, "4", "04"], [0, "5", -1]),
    ({"type": "number", "minimum": 0}, [0, "1.5", ".5", "1e3", "2."], ["-1", "a", "", "1.2.3"]),
    ({"type": "string"}, ["", "a", 5, 1.5, "ü"], [["a"], {"a": 1}, True]),
    ({"type": "string", "format": "pve-vmid-list"}, ["100,101", [100, "101"], ["100"], []], ["1", [100, 1]]),
    ({"type": "string", "enum": ["a", "b"], "maxLength": 1}, ["a"], ["c", "A", ""]),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "äöü"], ["a", "abcd"]),
    ({"type": "string", "pattern": r"\w+"}, ["ü_1"], ["a b", "a\n", ""]),
    ({"type": "string", "format": "email-opt"}, ["", "a@b.org"], ["a"]),
    ({"type": "object", "properties": {"a": {"type": "integer"}}}, [{"a": 1}, {}], ["a", {"a": "x"}]),
    ({"format": "no-such-format"}, ["anything"], [["a"]]),
]


@pytest.mark.parametrize(("param", "good", "bad"), WIRE, ids=lambda value: str(value)[:40])
def test_values_of_the_wire(param: Mapping[str, Any], good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if formats.check_value(param, value, name="p")] == []
    assert [value for value in bad if not formats.check_value(param, value, name="p")] == []


def test_faults_have_the_keys_of_the_server() -> None:
    array = {"type": "array", "items": {"type": "string", "format": {"node": {"type": "string"}}}}
    faults = formats.check_value(array, ["node=a", "bogus=1", "x"], name="map")
    assert [key for key, _ in faults] == ["map[1]", "map[2]"]
    drive = {"type": "string", "format": "pve-qm-ide"}
    [(key, message)] = formats.check_value(drive, "st1:1,cache=bogus,size=x,nope=1", name="ide0")
    assert key == "ide0"
    assert message.startswith("invalid format - format error\n")
    assert all(word in message for word in ("cache", "size", "nope"))
    assert formats.check_value({"type": "integer"}, True, name="cores") == [
        ("cores", "type check ('integer') failed - got JSON::PP::Boolean")
    ]
    assert formats.check_value({"type": "string"}, {}, name="net0")[0][1].endswith("got HASH")
    assert formats.check_value({"type": "string"}, ["a"], name="net0")[0][1].endswith("got ARRAY")


SCHEDULES = [
    ("mon..fri 02:30", True),
    ("sat..mon 0:0", True),
    ("*-*-01 03:00", True),
    ("2026-02-03", True),
    ("mon *-12..12/1", False),
    ("22:00,23:00", False),
    ("8,20:15", True),
    ("*-13-01", False),
    ("noday 2:00", False),
    ("2:00 mon", False),
    ("yearly", True),
    (" 2:00", False),
]


@pytest.mark.parametrize(("text", "ok"), SCHEDULES)
def test_calendar_events(text: str, ok: bool) -> None:
    assert (formats.validate_format("pve-calendar-event", text) is None) is ok


# -- sizes and lists -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [("32G", 32 << 30), ("528K", 528 << 10), ("100", 100), ("1.5M", 3 << 19), ("2T", 2 << 40), ("0", 0)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert formats.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "1 G", "-1G", "1P", "1g", "G", "1.G"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        formats.parse_size(text)


@given(st.integers(0, 1 << 60))
def test_sizes_come_back(size: int) -> None:
    assert formats.parse_size(formats.format_size(size)) == size


def test_sizes_are_written_in_the_largest_unit() -> None:
    sizes = (4 << 20, 1 << 30, 528 << 10, 1536 << 20, 1 << 40, 1 << 50, 100, 0)
    assert [formats.format_size(size) for size in sizes] == ["4M", "1G", "528K", "1536M", "1T", "1024T", "100", "0"]


def test_lists_are_split_at_commas_semicolons_and_blanks() -> None:
    assert formats.split_list(" a,b;c  d\ne,, ") == ["a", "b", "c", "d", "e"]
    assert formats.split_list("a b\0c") == ["a b", "c"]
    assert formats.split_list("") == []


# -- property strings ------------------------------------------------------------------------------------------

NET0 = "PUT /nodes/{node}/qemu/{vmid}/config net0"
PRINTED = [
    (NET0, {"bridge": "vmbr0", "model": "virtio", "firewall": True}, "virtio,bridge=vmbr0,firewall=1"),
    (NET0, {"model": "e1000", "macaddr": "BC:24:11:00:00:01", "tag": 5}, "e1000=BC:24:11:00:00:01,tag=5"),
    (NET0, {"virtio": "BC:24:11:00:00:01", "rate": 2.0}, "virtio=BC:24:11:00:00:01,rate=2"),
    (NET0, {"model": "virtio", "tag": None, "trunks": [1, 2]}, "virtio,trunks=1;2"),
    ("POST /nodes/{node}/lxc net0", {"ip": "dhcp", "name": "eth0", "bridge": "v"}, "name=eth0,bridge=v,ip=dhcp"),
    ("POST /nodes/{node}/lxc mp0", {"acl": 0, "mp": "/x", "volume": "st1:1"}, "st1:1,mp=/x,acl=0"),
    ("POST /nodes/{node}/qemu scsi0", {"ssd": True, "discard": True, "volume": "st1:1"}, "st1:1,discard=on,ssd=1"),
    ("POST /nodes/{node}/qemu scsi0", {"file": "st1:a=b"}, "file=st1:a=b"),
    ("POST /nodes/{node}/qemu agent", {"enabled": "yes", "guest-fsfreeze": False}, "1,freeze-fs=0"),
    ("POST /nodes/{node}/qemu boot", {"order": ["scsi0", "net0"]}, "order=scsi0;net0"),
    ("POST /nodes/{node}/qemu startup", {"up": 30, "order": 0}, "order=0,up=30"),
]


@pytest.mark.parametrize(("where", "obj", "text"), PRINTED, ids=lambda value: str(value)[:60])
def test_objects_are_printed(where: str, obj: Mapping[str, Any], text: str) -> None:
    fmt = facts(where)["format"]
    assert formats.print_(fmt, obj) == text
    assert formats.print_(fmt, formats.parse(fmt, text)) == text


def test_what_cannot_be_printed_is_told_at_once() -> None:
    with pytest.raises(InvalidError) as caught:
        formats.print_(facts(NET0)["format"], {"brigde": "v", "model": "a,b", "tag": "", "virtio": "x"})
    assert {problem.where for problem in caught.value.problems} == {"brigde", "model", "tag", "virtio"}
    assert "did you mean 'bridge'?" in str(caught.value.problems[0])


def test_all_problems_of_a_text_are_told_at_once() -> None:
    with pytest.raises(InvalidError) as caught:
        formats.parse("pve-qm-ide", "cache=x,size=y,sise=1G,backup=2,cache=none")
    assert {problem.where for problem in caught.value.problems} == {"cache", "size", "sise", "backup", "file"}
    with pytest.raises(InvalidError):
        formats.parse("pve-vmid", "100")


@needs_shared
def test_recorded_objects_survive_printing() -> None:
    for row in rows("property-strings.jsonl"):
        if row["ok"] and row.get("parsed") and (row["schema"], row["value"]) not in EXCEPTIONS:
            fmt = facts(row["schema"])["format"]
            assert formats.parse(fmt, formats.print_(fmt, row["parsed"])) == row["parsed"]


@needs_shared
def test_nets_and_drives_are_printed_as_the_server_prints_them() -> None:
    """What the server wrote by itself comes back unchanged from parse and print."""
    seen = 0
    for row in rows("get-after-put.jsonl"):
        where = {"qemu-config": "qemu", "lxc-config": "lxc"}.get(row["family"])
        if not where or row["status"] != 200:
            continue
        for key, text in row["got"].items():
            if re.fullmatch(r"(net|scsi|virtio|sata|ide|mp)\d+", key) and "<" not in str(text):
                fmt = facts(f"PUT /nodes/{{node}}/{where}/{{vmid}}/config {key}")["format"]
                assert formats.print_(fmt, formats.parse(fmt, text)) == text
                seen += 1
    assert seen > 20


_TEXT = st.text(st.characters(exclude_characters=",\n", exclude_categories=("Cs",)), min_size=1)
_NAME = st.text("abcdefgh-_", min_size=1, max_size=6)


@st.composite
def definitions(draw: st.DrawFn) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """A definition with a default key, aliases and a key alias, and an object that fits it."""
    names = draw(st.lists(_NAME, min_size=1, max_size=6, unique=True))
    keys: dict[str, dict[str, Any]] = {
        name: {"type": draw(st.sampled_from(["string", "boolean"])), "optional": 1} for name in names
    }
    if draw(st.booleans()):
        keys[names[0]] = {"type": "string", "default_key": 1}
    if draw(st.booleans()) and len(names) > 1:
        keys[names[0]] = {"type": "string", "default_key": 1}
        keys[names[1]] = {"type": "string", "optional": 1}
        keys["A1"] = keys["A2"] = {"alias": names[1], "keyAlias": names[0]}
    obj: dict[str, Any] = {}
    for name in names:
        if not keys[name].get("optional") or draw(st.booleans()):
            word = draw(st.sampled_from(["A1", "A2"])) if "A1" in keys and draw(st.booleans()) else draw(_TEXT)
            obj[name] = draw(st.integers(0, 1)) if keys[name]["type"] == "boolean" else word
    return keys, obj


@given(definitions())
@settings(deadline=None)
def test_parse_undoes_print(case: tuple[dict[str, dict[str, Any]], dict[str, Any]]) -> None:
    keys, obj = case
    text = formats.print_(keys, obj)
    assert formats.parse(keys, text) == obj
    assert formats.parse(keys, text, values=False) == obj
    assert formats.print_(keys, formats.parse(keys, text)) == text


def test_what_a_server_shows_is_taken_apart_whatever_its_values() -> None:
    keys: dict[str, dict[str, Any]] = {
        "file": {"type": "string", "default_key": 1},
        "cache": {"type": "string", "optional": 1, "enum": ["none", "unsafe"]},
    }
    shown = "local-lvm:vm-100-disk-0,cache=of-tomorrow"
    assert formats.parse(keys, shown, values=False) == {"file": "local-lvm:vm-100-disk-0", "cache": "of-tomorrow"}
    for text, values in ((shown, True), ("a,unheard=of", False)):
        with pytest.raises(InvalidError):
            formats.parse(keys, text, values=values)


# -- sameness --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", SAME, ids=lambda case: str(case["param"]))
def test_same(case: Mapping[str, Any]) -> None:
    param = facts(case["param"])
    for one, other in case.get("same", []):
        assert formats.same(param, one, other), (one, other)
        assert formats.same(param, other, one), (other, one)
    for one, other in case.get("different", []):
        assert not formats.same(param, one, other), (one, other)
        assert not formats.same(param, other, one), (other, one)


# What a read cannot give back, or what depends on more than the field itself.
NOT_COMPARABLE = {
    "cipassword": "is masked",
    "macro": "gets the spelling of the macro's own name",
    "pos": "is ignored on creation",
    "comment": "of a firewall rule keeps its first line; that of an HA rule is broken by the server",
    "consent-text": "keeps its first line",
    "cpuunits": "is clamped",
    "nomatch": "disappears when false; a kind has to say so, since the schema gives no default",
    "privs": "is read as the object itself",
    "alias": "a non-ASCII one is lost by the server",
}


def _operation(method: str, path: str) -> Any:
    for operation in schema().operations():
        pattern = re.sub(r"\{[^}]+\}", "[^/]+", operation.path)
        if operation.method == method and re.fullmatch(pattern, path):
            return operation
    raise AssertionError(f"no operation {method} {path}")


def _same_as_read(param: Mapping[str, Any], sent: Any, got: Any) -> bool:
    if isinstance(got, str) and (found := re.fullmatch("<set:(.*)>", got)):
        got = found[1]
    if isinstance(got, str):
        got = got.replace("<mac>", "BC:24:11:00:00:99").replace("<intstr>", "1")
    return formats.same(param, sent, got)


@needs_shared
def test_what_was_written_is_the_same_as_what_is_read() -> None:
    compared: dict[str, int] = defaultdict(int)
    for row in rows("get-after-put.jsonl"):
        if row["status"] != 200:
            continue
        operation = _operation(row["method"], row["path"])
        for key, sent in row["sent"].items():
            if key not in row["got"] and key not in row.get("absent", []):
                continue
            param = operation.param(key)
            assert formats.check_value(param.facts, sent, name=key) == []
            if not _same_as_read(param.facts, sent, row["got"].get(key)):
                assert key in NOT_COMPARABLE, (row["path"], key, sent, row["got"].get(key))
            compared[row["family"]] += 1
    assert len(compared) > 20


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 5000),
    st.floats(0, 100, allow_nan=False),
    st.text(max_size=12),
    st.sampled_from(_DATA["texts"]),
    st.lists(st.sampled_from(["a", "b", "B", "100"]), max_size=3),
    st.dictionaries(st.sampled_from(_DATA["keys"]), st.sampled_from(["1", "a"])),
)


@given(st.sampled_from(SAME), _VALUES, _VALUES)
@settings(max_examples=400, deadline=None)
def test_sameness_is_reflexive_and_symmetric(case: Mapping[str, Any], one: Any, other: Any) -> None:
    param = facts(case["param"])
    assert formats.same(param, one, one)
    assert formats.same(param, one, json.loads(json.dumps(one)))
    assert formats.same(param, one, other) == formats.same(param, other, one)


_NASTY = st.one_of(st.text(max_size=20), st.text("0123456789.:/,;=-*+ ab", max_size=30), st.just("9" * 5000))


@given(st.sampled_from(sorted(_DATA["formats"])), _NASTY)
@settings(max_examples=600, deadline=None)
def test_no_text_breaks_a_format(name: str, text: str) -> None:
    formats.validate_format(name, text)
    formats.same({"type": "string", "format": name}, text, "1")

"""Kinds: registry, validation, lowering and the steps of changes. Cases are data."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pvehelm.api import rows
from pvehelm.api.checks import show
from pvehelm.api.kind import Effect, Live
from pvehelm.api.kinds import Kinds, explain, tables
from pvehelm.api.schema import Schema
from pvehelm.api.scopes import fill, parse, segment
from pvehelm.api.table import Table
from pvehelm.chart.manifest import parse as parse_manifests
from pvehelm.errors import InvalidError, NotFoundError
from tests.api.kindlab import CASES, load_kinds, manifest

BAD: list[dict[str, Any]] = yaml.safe_load((CASES / "bad_manifests.yaml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = yaml.safe_load((CASES / "kind_steps.yaml").read_text(encoding="utf-8"))
LOWERED: dict[str, Any] = yaml.safe_load((CASES / "lowered.yaml").read_text(encoding="utf-8"))
DOCUMENTS = parse_manifests((CASES / "manifests.yaml").read_text(encoding="utf-8"), file="manifests.yaml")
NEEDED = [
    "VirtualMachine",
    "Container",
    "Pool",
    "Storage",
    "Image",
    "SecurityGroup",
    "FirewallRules",
    "FirewallOptions",
    "IPSet",
    "Alias",
    "HAResource",
    "HARule",
    "BackupJob",
    "User",
    "Group",
    "Role",
    "AccessControl",
    "Token",
]


@pytest.fixture(scope="module")
def kinds() -> Kinds:
    return load_kinds("9.2")


# -- registry -------------------------------------------------------------------------------------------------


def test_needed_kinds_are_there(kinds: Kinds) -> None:
    assert set(NEEDED) <= set(kinds.names())
    assert set(NEEDED) - {"HARule"} <= set(load_kinds("8.4").names())
    assert [kind.name for kind in kinds] == list(kinds.names())


@pytest.mark.parametrize("word", ["vm", "VMs", "virtualmachine", "VirtualMachines", "VirtualMachine"])
def test_names_are_found_in_any_case(kinds: Kinds, word: str) -> None:
    assert kinds.get(word).name == "VirtualMachine"
    assert word in kinds


def test_words_of_kinds_do_not_clash() -> None:
    seen: dict[str, str] = {}
    for table in tables().values():
        for word in {table.name.lower(), (table.plural or f"{table.name}s").lower(), *table.short}:
            assert seen.setdefault(word, table.name) == table.name, word


def test_unknown_kind_suggests(kinds: Kinds) -> None:
    with pytest.raises(NotFoundError) as caught:
        kinds.get("Stoarge")
    assert "Storage" in caught.value.hint


def test_kind_of_another_release_names_it() -> None:
    with pytest.raises(NotFoundError, match=r"8\.4 has no kind HARule") as caught:
        load_kinds("8.4").get("harules")
    assert "9.0" in caught.value.hint


def test_unknown_key_of_a_table_is_an_error() -> None:
    with pytest.raises(InvalidError, match="Thing: unknown key pth"):
        Table.make("Thing", {"strategy": "item", "pth": "/x"})
    with pytest.raises(InvalidError, match=r"Thing\.fields\.a"):
        Table.make("Thing", {"strategy": "item", "fields": {"a": {"writeonly": True}}})


@pytest.mark.parametrize("release", ["9.2", "8.4"])
def test_every_table_fits_the_schema(release: str) -> None:
    for kind in load_kinds(release):
        if kind.name in ("VirtualMachine", "Container") or kind.hook_only:
            continue
        made: Any = kind
        for place in made.places:
            shape = made.shape(place)
            made_here = made.table.strategy == "list" or made.table.elsewhere
            assert made_here or shape.create is not None, (kind.name, place)
            lasting = made.table.strategy in ("singleton", "list", "verb", "switch")
            assert lasting or shape.delete is not None, (kind.name, place)
            names = set(made.spec_names(place))
            for name, rule in made.table.fields.items():
                known = name in names or made.accepts(name, place)
                assert known or rule.since or rule.until or made.scoped or rule.identity or release == "8.4", (
                    kind.name,
                    name,
                )
        assert kind.fields()
        assert explain(kind)["fields"]


# -- validation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["9.2", "8.4"])
def test_documents_validate(release: str) -> None:
    kinds = load_kinds(release)
    found = [(resource.ref, show(path)) for resource, path, _ in kinds.validate(DOCUMENTS)]
    assert found == ([] if release == "9.2" else [("HARule/shop-apart", "kind")])


@pytest.mark.parametrize("case", BAD, ids=[f"{case['kind']}-{index}" for index, case in enumerate(BAD)])
def test_bad_manifests(case: dict[str, Any]) -> None:
    kinds = load_kinds(case.get("release", "9.2"))
    resource = manifest(case["kind"], case["name"], case["spec"])
    found = {}
    for _, path, problem in kinds.validate([resource]):
        found.setdefault(show(path), []).append(problem)
    wanted: dict[str, list[list[str]]] = {}
    for path, *words in case["problems"]:
        wanted.setdefault(path, []).append(words)
    assert {path: len(problems) for path, problems in found.items()} == {p: len(w) for p, w in wanted.items()}, found
    for path, expected in wanted.items():
        texts = [(problem.what, problem.hint) for problem in found[path]]
        for words in expected:
            what, hint = words[0], words[1] if len(words) > 1 else ""
            assert any(what in text and hint in advice for text, advice in texts), (words, texts)


def test_problems_of_all_manifests_come_together(kinds: Kinds) -> None:
    given = [manifest("Pool", "a", {"x": 1}), manifest("Nope", "b", {}), manifest("Alias", "al", {"scope": "cluster"})]
    assert [resource.name for resource, _, _ in kinds.validate(given)] == ["a", "b", "al"]


def test_secrets_pass_where_text_is_asked(kinds: Kinds) -> None:
    spec = {"email": "secret://env/MAIL", "password": "pre-${secret://release/pw}", "expire": "secret://env/WHEN"}
    assert kinds.get("User").validate(manifest("User", "joe@pve", spec)) == []


# -- lowering -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", DOCUMENTS, ids=[resource.ref for resource in DOCUMENTS])
def test_lowering(kinds: Kinds, resource: Any) -> None:
    known = {"VirtualMachine/shop-0": "201"}
    wanted = kinds.get(resource.kind).lower(resource, lambda ref: known.get(ref, f"${{vmid:{ref}}}"))
    row: dict[str, Any] = {"key": dict(wanted.key), "fields": dict(wanted.fields)}
    if wanted.once:
        row["once"] = dict(wanted.once)
    if wanted.needs:
        row["needs"] = sorted(wanted.needs)
    if wanted.privileged:
        row["privileged"] = list(wanted.privileged)
    row["steps"] = [step.as_dict() for step in kinds.get(resource.kind).create(wanted, {})]
    for step in row["steps"]:
        step.pop("note", None)
        step.pop("seen", None)
    assert row == LOWERED[resource.ref]


def test_what_runs_on_the_node_is_privileged(kinds: Kinds) -> None:
    resource = manifest("BackupJob", "job1", {"schedule": "daily", "all": True, "script": "/x"})
    assert kinds.get("BackupJob").lower(resource, lambda ref: None).privileged == ("BackupJob", "script")


def test_only_the_first_line_of_a_comment_counts(kinds: Kinds) -> None:
    resource = manifest("Alias", "lb", {"scope": "cluster", "cidr": "10.0.0.1", "comment": "one \ntwo"})
    assert kinds.get("Alias").lower(resource, lambda ref: None).fields["comment"] == "one"


def test_unknown_guest_is_an_error(kinds: Kinds) -> None:
    resource = manifest("HAResource", "h", {"guest": "VirtualMachine/nobody"})
    with pytest.raises(InvalidError, match="no VirtualMachine/nobody"):
        kinds.get("HAResource").lower(resource, lambda ref: None)


# -- steps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", STEPS, ids=[f"{case['kind']}-{case['name']}" for case in STEPS])
def test_steps(kinds: Kinds, case: dict[str, Any]) -> None:
    kind = kinds.get(case["kind"])
    live = Live(key=case["key"], fields=case["live"], extra=case.get("extra", {}))
    if "changes" in case:
        steps = kind.update(live, case["changes"], None)
    else:
        steps = kind.delete(live)
    assert [f"{step.method} {step.path} {dict(step.params)}" for step in steps] == case["steps"]


@pytest.mark.parametrize(
    ("kind", "leaf", "wanted", "live", "same"),
    [
        ("Storage", "content", ["iso", "backup"], ["backup", "iso"], True),
        ("Storage", "content", ["iso"], ["backup", "iso"], False),
        ("Storage", "disable", 0, None, True),
        ("Storage", "disable", 1, None, False),
        ("Storage", "prune-backups.keep-last", 3, "3", True),
        ("Storage", "password", "secret://env/X", None, True),
        ("Role", "privs", ["VM.Audit", "VM.Console"], ["VM.Console", "VM.Audit"], True),
        ("User", "groups", ["a"], ["b"], False),
        ("User", "email", "", None, True),
        ("User", "enable", 0, 0, True),
        ("HAResource", "state", "enabled", "started", True),
        ("HARule", "resources", ["100"], ["vm:100"], True),
        ("HARule", "comment", "für", "f\ufffdr", True),
        ("HARule", "comment", "für", "fur", False),
        ("BackupJob", "vmid", ["101", "100"], ["100", "101"], True),
        ("SecurityGroup", "rules", [{"macro": "ssh", "enable": 1}], [{"macro": "SSH", "enable": 1}], True),
        ("SecurityGroup", "rules", [{"dport": "1", "enable": 1}, {"dport": "2"}], [{"dport": "2"}], False),
        ("IPSet", "entries", [{"cidr": "10.0.0.5/24"}], [{"cidr": "10.0.0.0/24"}], True),
        ("AccessControl", "user:a@pve", 1, 0, False),
        ("Pool", "comment", None, None, True),
    ],
)
def test_same(kinds: Kinds, kind: str, leaf: str, wanted: Any, live: Any, same: bool) -> None:
    assert kinds.get(kind).same(leaf, wanted, live) is same


def test_what_a_creation_fixes_asks_for_a_replacement(kinds: Kinds) -> None:
    storage = kinds.get("Storage")
    live = Live({"storage": "s"}, {"type": "nfs", "server": "a"})
    assert storage.refusal("export", "/a", "/b", live) == "create-only"
    assert storage.refusal("server", "a", "b", live) == "create-only"
    assert storage.effect("server", "a", "b", live) is Effect.recreate
    assert storage.refusal("server", "a", "b", Live({"storage": "s"}, {"type": "esxi"})) == ""
    assert storage.effect("content", ["iso"], [], live) is Effect.live


def test_what_the_server_never_shows(kinds: Kinds) -> None:
    assert kinds.get("User").write_only("password")
    assert not kinds.get("User").gives_back("password")
    assert kinds.get("Image").recorded("url")
    assert kinds.get("FirewallOptions").always_there
    assert not kinds.get("IPSet").always_there


# -- explain --------------------------------------------------------------------------------------------------


def test_explain(kinds: Kinds) -> None:
    rows_ = {row["name"]: row for row in explain(kinds.get("Storage"))["fields"]}
    assert rows_["export"]["create_only"]
    assert rows_["export"]["effect"] == "recreate"
    assert rows_["port"]["maximum"] == 65535
    assert rows_["password"]["write_only"]
    one = explain(kinds.get("BackupJob"), "prune-backups")
    assert "keep-daily" in [row["name"] for row in one["fields"]]
    assert explain(kinds.get("SecurityGroup"), "rules.macro")["path"] == "rules.macro"
    assert explain(kinds.get("HARule"), "resources")["references"] == ["VirtualMachine", "Container"]
    assert explain(kinds.get("Zone"))["applied_by"] == "PUT /cluster/sdn"
    assert "hookscript" in explain(kinds.get("Container"))["root_only"]
    assert explain(kinds.get("Fabric"))["since"] == "9.0"
    with pytest.raises(NotFoundError) as caught:
        explain(kinds.get("Pool"), "coment")
    assert "comment" in caught.value.hint


# -- scopes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("cluster", "cluster"),
        ("node/pve1", "node"),
        ("VirtualMachine/web", "vm"),
        ("Container/db", "ct"),
        (104, "guest"),
        ("vnet/blue", "vnet"),
        ("pve1", None),
        ("node/", None),
        ("node/a/b", None),
        ("99", None),
    ],
)
def test_scopes(text: Any, type_: str | None) -> None:
    found = parse(text)
    assert (found.type if found else None) == type_


def test_paths_keep_placeholders() -> None:
    assert segment("vm:${vmid:VirtualMachine/web}") == "vm:${vmid:VirtualMachine/web}"
    assert fill("/a/{b}/{c}", {"b": "10.0.0.0/24", "c": "x y"}) == "/a/10.0.0.0%2F24/x%20y"


# -- ordered lists --------------------------------------------------------------------------------------------

RULE = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["in", "out"]),
        "action": st.sampled_from(["ACCEPT", "DROP"]),
        "enable": st.integers(0, 1),
    },
    optional={"comment": st.sampled_from(["a", "b"]), "macro": st.sampled_from(["SSH", "DNS"])},
)


def served(live: list[dict[str, Any]], steps: list[Any]) -> list[list[dict[str, Any]]]:
    """Every state of a list on a server that does what was observed of the real one."""
    current = copy.deepcopy(live)
    states = [copy.deepcopy(current)]
    for step in steps:
        tail = step.path.removeprefix("/r").strip("/")
        params = dict(step.params)
        params.pop("digest", None)
        if step.method == "POST":
            current.insert(0, {"enable": 0, **params})
        elif step.method == "DELETE":
            del current[int(tail)]
        elif "moveto" in params:
            row, target = current[int(tail)], params["moveto"]
            rest = [(index, other) for index, other in enumerate(current) if index != int(tail)]
            before = [other for index, other in rest if index < target]
            current = [*before, row, *[other for index, other in rest if index >= target]]
        else:
            row = current[int(tail)]
            for name in str(params.pop("delete", "")).split(","):
                row.pop(name, None)
            row.update(params)
        states.append(copy.deepcopy(current))
    return states


@given(st.lists(RULE, max_size=6), st.lists(RULE, max_size=6), st.booleans())
@settings(max_examples=150, deadline=None)
def test_ordered_lists_end_exactly_and_keep_what_stays(live: Any, wanted: Any, careful: bool) -> None:
    steps = rows.ordered_steps("/r", "rules", live, wanted, careful=careful)
    states = served(live, steps)
    # Each step knows the list before it and after it.
    for step, (before, after) in zip(steps, pairwise(states), strict=True):
        assert rows.is_as(step.seen, "before", before)
        assert rows.is_as(step.seen, "after", after)
    assert [rows.canonical(row) for row in states[-1]] == [rows.canonical(row) for row in wanted]
    kept = {rows.canonical(row) for row in live} & {rows.canonical(row) for row in wanted}
    if [rows.canonical(row) for row in live] == [rows.canonical(row) for row in wanted]:
        assert len(states) == 1
    for state in states:
        assert kept <= {rows.canonical(row) for row in state}


@given(st.lists(RULE, max_size=5))
@settings(max_examples=60, deadline=None)
def test_new_rules_are_never_on_above_what_they_belong_below(wanted: Any) -> None:
    """Careful lists: the rules that are on are, at every moment, the first ones of the new list."""
    blocking = any(row["enable"] and row["action"] != "ACCEPT" for row in wanted)
    on = [rows.canonical(row) for row in wanted if row["enable"]]
    for state in served([], rows.ordered_steps("/r", "rules", [], wanted)):
        active = [rows.canonical(row) for row in state if row["enable"]]
        assert not blocking or active == on[: len(active)]


def test_a_digest_goes_with_the_first_call() -> None:
    steps = rows.ordered_steps("/r", "rules", [], [{"type": "in", "action": "ACCEPT", "enable": 1}] * 2, digest="d1")
    assert [step.params.get("digest") for step in steps] == ["d1", None]


# -- nothing is left out --------------------------------------------------------------------------------------

# Collections and settings of the schema that are no state, or that another kind is about.
NO_KIND = {
    "/access/tfa/{userid}/{id}": "a second factor is its owner's secret",
    "/cluster/config/nodes/{node}": "nodes join by hand",
    "/cluster/sdn": "the call that applies",
    "/cluster/sdn/lock": "held while changes are made",
    "/nodes/{node}/ceph/osd/{osdid}": "a disk's life is a verb",
    "/nodes/{node}/storage/{storage}/prunebackups": "a verb",
    "/nodes/{node}/tasks/{upid}": "a verb",
    "/cluster/ceph/flags/{flag}": "see /cluster/ceph/flags",
    "/cluster/ha/groups/{group}": "migrated to rules in 9.0",
    "/pools/{poolid}": "the old form without nested pools",
    "/access/users/{userid}/unlock-tfa": "a verb",
    "/access/password": "User.password",
    "/nodes/{node}/disks/wipedisk": "a verb",
}


def test_every_collection_and_every_setting_has_a_kind(kinds: Kinds) -> None:
    covered: set[str] = set()
    for kind in kinds:
        made: Any = kind
        for place in getattr(made, "places", ()):
            shape, below = made.shape(place), made.table.children
            covered |= {found.path for found in (shape.create, shape.update, shape.delete) if found}
            covered |= {made.template(place, path) for path in (below.path, below.item)} if below else set()
        covered.add(kind.commit.partition(" ")[2])
    left = {
        path
        for path in kinds.schema.paths
        if not path.startswith(("/nodes/{node}/qemu", "/nodes/{node}/lxc"))
        if {"PUT", "DELETE"} & set(kinds.schema.methods(path))
    }
    assert left - covered - NO_KIND.keys() == set()
    assert NO_KIND.keys() <= left | {"/cluster/sdn"}


def test_the_kinds_of_a_release_are_remembered_with_its_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVEHELM_CACHE", str(tmp_path / "cache"))
    shipped = Schema.load("9.2")
    known = Kinds(shipped).names()
    assert Kinds(shipped).names() == known == tuple(Kinds(shipped)._named())
    # One of the same release without networks of nodes.
    data = json.loads(Path(shipped.file).read_text())
    data["operations"] = [row for row in data["operations"] if "/network" not in row["path"]]
    other = tmp_path / "schema.json"
    other.write_text(json.dumps(data))
    gone = set(known) - set(Kinds(Schema.read(other)).names())
    assert gone == {name for name in known if tables()[name].path.startswith("/nodes/{node}/network")}
    assert gone

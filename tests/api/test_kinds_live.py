"""Every kind against the simulator: what was wanted is there afterwards, and the second plan is empty."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from pvehelm.api.kind import Kind, Live, Wanted, get_leaf, leaves
from tests.api.kindlab import CASES, Lab, differences, manifest

LIVES: list[dict[str, Any]] = yaml.safe_load((CASES / "live.yaml").read_text(encoding="utf-8"))
RELEASES = ("9.2", "8.4")


def cases() -> Iterator[Any]:
    for case in LIVES:
        for release in case.get("releases", RELEASES):
            yield pytest.param(release, case, id=f"{release}-{case['kind']}-{case['name']}")


class Story:
    """An object on its way through its specs."""

    def __init__(self, lab: Lab, kind: Kind) -> None:
        self.lab = lab
        self.kind = kind
        self.owned: dict[str, Any] = {}
        self.found: dict[str, Any] = {}

    def read(self, wanted: Wanted) -> Live | None:
        key = {name: self.lab.fill(value) for name, value in wanted.key.items()}
        return asyncio.run(self.kind.read(key, self.lab.get))

    def reach(self, name: str, spec: dict[str, Any]) -> Wanted:
        resource = manifest(self.kind.name, name, spec)
        assert self.kind.validate(resource) == []
        wanted = self.lab.lower(self.kind, resource)
        live = self.read(wanted)
        if live is None:
            context, problems = asyncio.run(self.kind.prepare(wanted, self.lab.get))
            assert problems == []
            steps = self.kind.create(wanted, context)
        else:
            changes = differences(self.kind, wanted, live, self.owned)
            assert not [leaf for leaf, value in changes.items() if self.kind.refusal(leaf, None, value, live)]
            steps = self.kind.update(live, changes, wanted) if changes else []
            assert {leaf for step in steps for leaf in step.writes} == set(changes)
        self.lab.run(steps)
        for leaf in leaves(wanted.fields):
            if live is not None and leaf not in self.owned and get_leaf(live.fields, leaf) is not None:
                self.found[leaf] = get_leaf(live.fields, leaf)
        gone = [leaf for leaf in self.owned if leaf not in leaves(wanted.fields) and self.kind.gives_back(leaf)]
        self.owned = {leaf: value for leaf, value in leaves(wanted.fields).items() if value is not None}
        self.check(wanted, gone)
        return wanted

    def check(self, wanted: Wanted, gone: list[str]) -> None:
        live = self.read(wanted)
        assert live is not None
        assert {name: live.key[name] for name in wanted.key} == {k: self.lab.fill(v) for k, v in wanted.key.items()}
        for leaf, value in leaves(wanted.fields).items():
            assert self.kind.same(leaf, value, get_leaf(live.fields, leaf)), (leaf, value, live.fields)
        for leaf in gone:
            assert self.kind.same(leaf, None, get_leaf(live.fields, leaf)), (leaf, live.fields)
        assert differences(self.kind, wanted, live, self.owned) == {}

    def end(self, wanted: Wanted) -> None:
        live = self.read(wanted)
        assert live is not None
        if self.kind.always_there:
            back = {leaf: self.found.get(leaf) for leaf in self.owned}
            self.lab.run(self.kind.update(live, back, None) if back else [])
            after = self.read(wanted)
            assert after is not None
            for leaf, value in back.items():
                assert self.kind.same(leaf, value, get_leaf(after.fields, leaf)), (leaf, value, after.fields)
        else:
            steps = self.kind.delete(live)
            assert [step.deletes for step in steps][-1]
            self.lab.run(steps)
            assert self.read(wanted) is None


@pytest.mark.parametrize(("release", "case"), list(cases()))
def test_a_life(release: str, case: dict[str, Any]) -> None:
    lab = Lab(release)
    if case.get("guests"):
        lab.make_guests()
    for given in case.get("setup", []):
        Story(lab, lab.kinds.get(given["kind"])).reach(given["name"], given["spec"])
    story = Story(lab, lab.kinds.get(case["kind"]))
    wanted = story.reach(case["name"], case["spec"])
    for spec in case.get("then", []):
        wanted = story.reach(case["name"], spec)
    story.end(wanted)


@pytest.mark.parametrize(
    ("kind", "spec", "where", "words"),
    [
        ("Image", {"storage": "nowhere", "node": "pve-node1"}, "storage", "no storage 'nowhere'"),
        ("Image", {"storage": "nowhere"}, "storage", "no node has a storage 'nowhere'"),
        ("Image", {"storage": "local", "node": "pve-node9"}, "node", "no node 'pve-node9'"),
        ("Image", {"storage": "local-lvm", "node": "pve-node1"}, "content", "does not hold 'iso'"),
        ("FirewallRules", {"scope": "node/pve-node9", "rules": []}, "scope", "no node 'pve-node9'"),
        ("FirewallOptions", {"scope": 4711, "enable": True}, "scope", "no guest 4711"),
        ("Alias", {"scope": 4711, "cidr": "10.0.0.1"}, "scope", "no guest 4711"),
    ],
)
def test_what_is_missing_is_said_before_anything_begins(
    kind: str, spec: dict[str, Any], where: str, words: str
) -> None:
    lab = Lab("9.2")
    if kind == "Image":
        spec = {"content": "iso", "filename": "x.iso", "url": "https://example.org/x.iso", **spec}
    found = lab.kinds.get(kind)
    resource = manifest(kind, "thing", spec)
    assert found.validate(resource) == []
    wanted = lab.lower(found, resource)
    assert asyncio.run(found.read(wanted.key, lab.get)) is None
    _, problems = asyncio.run(found.prepare(wanted, lab.get))
    assert [problem.where for problem in problems] == [where]
    assert words in problems[0].what


def test_a_snippet_can_only_be_taken_over() -> None:
    lab = Lab("9.2")
    lab.call("PUT", "/storage/local", {"content": "iso,vztmpl,backup,snippets"})
    kind = lab.kinds.get("Snippet")
    resource = manifest("Snippet", "user.yaml", {"node": "pve-node1", "storage": "local"})
    assert kind.validate(resource) == []
    wanted = lab.lower(kind, resource)
    _, problems = asyncio.run(kind.prepare(wanted, lab.get))
    assert "no call that makes a Snippet" in problems[0].what
    assert "snippets of storage local on pve-node1 by hand" in problems[0].hint
    row = {"storage": "local", "node": "pve-node1", "content": "snippets", "format": "snippet", "size": 5, "ctime": 0}
    lab.simulator.state.begin(True)
    lab.simulator.state.collection("volumes")["local:snippets/user.yaml"] = {**row, "vmid": None, "used": 5}
    lab.simulator.state.commit()
    live = asyncio.run(kind.read(wanted.key, lab.get))
    assert live is not None
    lab.run(kind.delete(live))
    assert asyncio.run(kind.read(wanted.key, lab.get)) is None


def test_access_of_others_stays() -> None:
    lab = Lab("9.2")
    for name in ("ann@pve", "max@pve"):
        lab.call("POST", "/access/users", {"userid": name})
    lab.call("PUT", "/access/acl", {"path": "/vms", "roles": "PVEAuditor", "users": "max@pve"})
    story = Story(lab, lab.kinds.get("AccessControl"))
    wanted = story.reach("mine", {"path": "/vms", "role": "PVEAuditor", "users": ["ann@pve"]})
    story.end(wanted)
    assert [row["ugid"] for row in lab.call("GET", "/access/acl")] == ["max@pve"]


def test_secret_of_a_new_token_is_kept() -> None:
    lab = Lab("9.2")
    lab.call("POST", "/access/users", {"userid": "ann@pve"})
    story = Story(lab, lab.kinds.get("Token"))
    story.reach("ann@pve!aa", {"secret": "secret://release/mine"})
    story = Story(lab, lab.kinds.get("Token"))
    story.reach("ann@pve!bb", {})
    assert set(lab.secrets) == {"secret://release/mine", "secret://release/ann-pve-bb"}

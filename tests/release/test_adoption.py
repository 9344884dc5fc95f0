"""adopt, move, rename: objects change hands, and nothing else about them is changed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import pytest
import yaml

from tests.helpers import ROOT
from tests.release.lab import Lab

CASES = yaml.safe_load((ROOT / "tests" / "release" / "adoptions.yaml").read_text(encoding="utf-8"))
CHART = """
kind: Pool
metadata: { name: "{{ Release.Name }}" }
spec: { comment: first }
---
kind: VirtualMachine
metadata: { name: "{{ Release.Name }}-0" }
spec:
  node: pve-node1
  power: unmanaged
  disks: [{ storage: local-lvm, size: 1G }]
{% if not Values.plain %}
  memory: {{ Values.memory }}
{% endif %}
"""
VALUES = "memory: 2048\nplain: false\n"
FILES = {
    "SET": "kind: Pool\nmetadata: { name: more }\nspec: { comment: more }\n",
    "TIED": "kind: VirtualMachine\nmetadata: { name: tied }\nspec: { node: pve-node1, memory: 512, power: unmanaged }\n"
    "---\nkind: FirewallOptions\nmetadata: { name: tied }\nspec: { scope: VirtualMachine/tied, enable: true }\n",
}
IMAGE = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"


def prepare(lab: Lab) -> dict[str, str]:
    """The machines, the release, and the paths that commands are told."""
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=101, name="one", memory=1024, scsi0="local-lvm:1")
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=102, name="two", memory=512)
    lab.api.ok("POST", "/nodes/pve-node1/lxc", vmid=103, hostname="box", ostemplate=IMAGE, rootfs="local-lvm:1")
    places = {"CHART": lab.chart(CHART, values=VALUES)}
    for name, text in FILES.items():
        path = lab.folder / f"{name.lower()}.yaml"
        path.write_text(text)
        places[name] = str(path)
    lab.run("install", "web", places["CHART"], "--target", "pool/web")
    return places


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_whose_it_is(lab: Lab, case: dict[str, Any]) -> None:
    places = prepare(lab)
    for step in case["do"]:
        result = lab.run(*(places.get(word, word) for word in shlex.split(step["run"])), code=step.get("code", 0))
        text = " ".join(result.text.split())
        assert [words for words in step.get("says", ()) if " ".join(words.split()) not in text] == [], result
        assert [words for words in step.get("lacks", ()) if words in result.out] == [], result
    for release in ("web", "pets", "zoo", "base", "tied"):
        if release in case.get("owns", {}) or case.get("owns") == {}:
            assert sorted(lab.inventory(release).entries) == case["owns"].get(release, []), release
    marked(lab)


def marked(lab: Lab) -> None:
    """Every guest carries its owner's mark, and those of nobody none but somebody else's."""
    with lab.store() as store:
        owned = {
            str(one.identifier["vmid"]): one for _, one in store.owned(lab.state.cluster_id) if "vmid" in one.identifier
        }
        uids = {one.uid for one in owned.values()}
        assert not store.db.rows("SELECT 1 FROM journal WHERE ok IS NULL")
    for vmid in lab.guests():
        text = str(lab.config(vmid).get("description", ""))
        if vmid in owned and owned[vmid].kind in ("VirtualMachine", "Container"):
            assert f"release={owned[vmid].uid} object={owned[vmid].ref} " in text, text
        else:
            assert not any(uid in text for uid in uids), text


MOMENTS = [
    (method, when, 1)
    for method in ("begin", "forget", "put_owned", "put_revision", "outcome", "rename")
    for when in ("before", "after")
]


FOLLOWS = ("same", "recover", "other")
VERBS = ("adopt", "adopt-set", "move", "rename")
SOME = [
    ("adopt", "begin", "after", "same"),
    ("adopt", "outcome", "before", "recover"),
    ("adopt-set", "put_owned", "after", "same"),
    ("move", "begin", "after", "other"),
    ("move", "forget", "after", "same"),
    ("rename", "rename", "after", "same"),
]


@pytest.mark.parametrize(("verb", "method", "when", "follow"), SOME)
def test_killed_half_way_the_next_command_completes(lab: Lab, verb: str, method: str, when: str, follow: str) -> None:
    assert kill(lab, verb, [(method, when, 1)], [follow]) == 1


@pytest.mark.sweep
@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_every_moment(lab: Lab, verb: str) -> None:
    assert kill(lab, verb, MOMENTS, FOLLOWS) >= (3 if verb == "rename" else 12)


def kill(lab: Lab, verb: str, moments: Sequence[tuple[str, str, int]], follows: Sequence[str]) -> int:
    """A verb killed at every moment, with every next command; how often it came to that."""
    places = prepare(lab)
    lab.run("upgrade", "web", places["CHART"])
    command: tuple[str, ...] = {
        "adopt": ("adopt", "vm/101", "vm/102", "--release", "pets"),
        "adopt-set": ("adopt", "vm/102", "--release", "new"),
        "move": ("move", "vm/web-0", "--to", "pets"),
        "rename": ("rename", "web", "shop"),
    }[verb]
    if verb != "adopt-set":
        lab.run("adopt", "ct/103", "--release", "pets")
    saved = lab.save()
    died = 0
    for method, when, count in moments:
        for follow in follows:
            lab.restore(saved)
            if not lab.killed(method, when, count, *command):
                continue
            died += 1
            follow_up(lab, verb, follow, command, places["CHART"])
            marked(lab)
    return died


def follow_up(lab: Lab, verb: str, follow: str, command: tuple[str, ...], chart: str) -> None:
    taker = {"adopt": "pets", "adopt-set": "new", "move": "pets", "rename": "shop"}[verb]
    if verb == "rename":
        # Whole or not at all: one name works, the other is nobody's.
        names = [row["name"] for row in lab.run("list", "-o", "json").json]
        assert ("web" in names) != ("shop" in names)
        name = "shop" if "shop" in names else "web"
        lab.run("plan", "upgrade", name, chart, "--detailed-exitcode")
        return
    if follow == "same":
        result = lab.run(*command, code=None)
        assert result.code == 0 or "already" in result.err, result
        assert lab.run("diff", taker, "--detailed-exitcode", code=None).code == 0
        assert "VirtualMachine/" in " ".join(lab.inventory(taker).entries)
    elif follow == "recover":
        lab.run("recover", taker, code=None if verb == "adopt-set" else 0)
    elif verb == "move":
        lab.run("upgrade", "web", chart)
        lab.run("plan", "upgrade", "web", chart, "--detailed-exitcode")
    else:
        lab.run("uninstall", taker, "--keep-resources", code=None)
    if verb == "move":
        owners = [name for name in ("web", "pets") if "VirtualMachine/web-0" in lab.inventory(name).entries]
        assert len(owners) == 1
        for name in ("web", "pets"):
            assert lab.run("diff", name, "--detailed-exitcode", code=None).code == 0


def test_a_mark_that_can_not_be_written_leaves_all_as_it_was(lab: Lab) -> None:
    prepare(lab)
    strange = "<!-- pvehelm release=11111111-2222-3333-4444-555555555555 object=VirtualMachine/x vmid=102 -->"
    lab.api.ok("PUT", "/nodes/pve-node1/qemu/102/config", description=strange)
    lab.run("simulator", "faults", "add", "--match", "PUT /nodes/*/qemu/102/config", "--status", "500")
    claim = ("--take-ownership", "vm/102")
    result = lab.run("adopt", "vm/101", "vm/102", "--release", "pets", *claim, code=None)
    assert result.code == 1
    assert lab.config(102)["description"] == strange
    lab.run("simulator", "faults", "clear")
    assert not lab.inventory("pets").entries
    marked(lab)
    assert "pvehelm" not in str(lab.config(101).get("description", ""))
    lab.run("adopt", "vm/101", "vm/102", "--release", "pets", *claim)
    marked(lab)


@pytest.mark.parametrize("again", ["recover pets", "adopt vm/101 vm/102 --release pets"])
def test_a_mark_that_nobody_knows_of_is_carried_through(lab: Lab, again: str) -> None:
    prepare(lab)
    lab.fault("PUT /nodes/*/qemu/*/config", drop="after")
    failed = lab.run("adopt", "vm/101", "vm/102", "--release", "pets", code=1)
    assert "what was begun goes on unseen" in failed.err
    lab.clear_faults()
    lab.run(*again.split())
    assert sorted(lab.inventory("pets").entries) == ["VirtualMachine/one", "VirtualMachine/two"]
    marked(lab)


def test_secrets_go_with_what_is_moved(lab: Lab) -> None:
    path = lab.folder / "user.yaml"
    path.write_text(
        "kind: User\nmetadata: { name: joe@pve }\nspec: { password: correct-horse-battery, email: a@b.c }\n"
    )
    lab.run("apply", "-f", str(path), "--set-name", "people", "--allow-privileged", "all")
    lab.run("move", "user/joe@pve", "--to", "staff")
    with lab.store() as store:
        names = store.secret_names(lab.key("staff"))
        assert [store.get_secret(lab.key("staff"), name) for name in names] == ["correct-horse-battery"]
    lab.run("diff", "staff", "--detailed-exitcode", "--allow-privileged", "all")


def test_a_secret_of_the_taker_is_not_overwritten(lab: Lab) -> None:
    """Both keep one of the same name: the manifest that moves would mean the other's."""
    token = "kind: Token\nmetadata: {{ name: 'root@pam!{name}' }}\nspec: {{ secret: 'secret://release/ci' }}\n"
    for name in ("one", "two"):
        path = lab.folder / f"{name}.yaml"
        path.write_text(token.format(name=name))
        lab.run("apply", "-f", str(path), "--set-name", name, "--allow-privileged", "all")
    with lab.store() as store:
        before = store.get_secret(lab.key("two"), "ci")
    moved = lab.run("move", "token/root@pam!one", "--to", "two", code=3)
    assert "secret://release/ci: default/two keeps another secret of that name" in moved.err
    with lab.store() as store:
        assert store.get_secret(lab.key("two"), "ci") == before

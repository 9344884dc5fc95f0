"""The audit trail: every action that changes something, however it ends; a chain that shows what was touched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pvehelm.actions import ACTIONS, table
from pvehelm.release.store import Store, open_store
from pvehelm.release.trail import FIRST, digest
from tests.release.charts import SCALED
from tests.release.lab import Lab


def entries(lab: Lab, *args: str) -> list[dict[str, Any]]:
    return list(lab.run("audit", "-o", "json", *args).json)


def last(lab: Lab) -> dict[str, Any]:
    return entries(lab)[-1]


# -- what is entered -------------------------------------------------------------------------------------------


def test_the_life_of_a_release(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    lab.run("upgrade", "web", chart, "--set", "replicas=1", "--dry-run")
    lab.run("upgrade", "web", chart)  # nothing to do
    lab.run("upgrade", "web", chart, "--set", "replicas=1", code=3)  # not confirmed
    lab.run("upgrade", "web", chart, "--set", "replicas=1", "--yes")
    lab.run("rollback", "web", "1")
    lab.run("upgrade", "nope", chart, code=1)
    lab.run("unlock", "web")
    lab.run("uninstall", "web", "--yes")
    found = entries(lab)
    assert [(one["action"], one["outcome"]) for one in found] == [
        ("install", "done"),
        ("upgrade", "unchanged"),
        ("upgrade", "refused"),
        ("upgrade", "done"),
        ("rollback", "done"),
        ("upgrade", "failed"),
        ("unlock", "done"),
        ("uninstall", "done"),
    ]
    assert [one.get("revision") for one in found] == [1, None, None, 2, 3, None, None, 4]
    assert all(one["plan"].startswith("sha256:") for one in found[:5])
    assert {one["by"].partition("@")[0] for one in found} != {""}
    assert found[0]["begun"] == 1
    assert found[0]["chart"] == "app-0.1.0"
    assert "not confirmed" in found[2]["error"]
    assert found[2].get("begun") is None
    assert found[4]["given"] == {"revision": 1}
    assert [one["release"] for one in entries(lab, "--release", "nope")] == ["nope"]
    assert "no entry" not in lab.run("audit").out
    assert lab.run("audit", "--verify", "-o", "json").json["sound"]


def test_verbs_on_objects(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    lab.run("stop", "vm/web-0")
    assert {name: last(lab)[name] for name in ("action", "outcome", "given")} == {
        "action": "guests-power",
        "outcome": "done",
        "given": {"verb": "stop"},
    }
    assert "web-0" in str(last(lab)["objects"])
    lab.run("start", "vm/none", code=1)
    assert last(lab)["outcome"] == "failed"
    lab.run("delete", "vm", "web-0", "--yes", code=3)
    assert last(lab)["outcome"] == "refused"
    assert "belongs to release" in last(lab)["error"]
    lab.run("api", "get", "/version")
    assert last(lab)["action"] == "delete"
    lab.run("api", "post", "/pools", "poolid=p1")
    assert last(lab)["given"] == {"method": "post", "path": "/pools"}
    lab.run("apply", "-f", "-", "--set-name", "s1", stdin="kind: Pool\nmetadata: {name: p2}\n")
    assert (last(lab)["action"], last(lab)["release"]) == ("apply", "s1")


def test_held_and_failed(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    with lab.store() as store, store.hold(lab.key("web").scope, purpose="upgrade"):
        lab.run("upgrade", "web", chart, "--set", "memory=1024", code=4)
    assert last(lab)["outcome"] == "held"
    lab.fault("PUT /nodes/*/qemu/*/config", status=500, times=9)
    lab.fault("POST /nodes/*/qemu/*/config", status=500, times=9)
    lab.run("upgrade", "web", chart, "--set", "memory=1024", code=1)
    assert (last(lab)["outcome"], last(lab)["revision"]) == ("failed", 2)
    assert last(lab)["begun"]


def test_what_a_killed_process_had_begun(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    assert lab.killed("outcome", "before", 1, "install", "web", chart)
    assert (last(lab)["outcome"], last(lab)["release"], last(lab)["revision"]) == ("begun", "web", 1)
    assert "never ended" in lab.run("audit").out
    assert lab.killed("put_revision", "before", 1, "recover", "web")  # nothing of it is there
    assert len(entries(lab)) == 1


def test_every_action_that_changes_something_is_audited() -> None:
    table()
    for action in ACTIONS.values():
        audited = hasattr(action.function, "__wrapped__")
        assert audited == (action.nature in ("write", "destroy")), action.name


def test_no_secret_gets_into_it(lab: Lab) -> None:
    manifest = (
        "kind: VirtualMachine\nmetadata: {name: a}\nspec: {node: pve-node1, cloudInit: {password: hunter2hunter2}}\n"
    )
    lab.run("install", "web", lab.chart(manifest))
    lab.run("api", "post", "/access/users", "userid=a@pve", "password=hunter2hunter2", code=None)
    with lab.store() as store:
        assert not any("hunter2" in row["body"] for row in store.db.rows("SELECT body FROM audit"))


def test_actions_side_by_side(lab: Lab) -> None:
    """A daemon does several at once with one Context: each has an entry of its own."""
    import asyncio

    from pvehelm.actions.releases import rollback
    from pvehelm.config import load
    from pvehelm.faces.build import build_context

    chart = lab.chart(SCALED)
    for name in ("a", "b", "c"):
        lab.run("install", name, chart)
        lab.run("upgrade", name, chart, "--set", "memory=1024")

    async def work() -> None:
        ctx = build_context(load(), announce=False)
        try:
            await asyncio.gather(*(rollback(ctx, name, 1) for name in ("a", "b", "c")))
        finally:
            await ctx.aclose()

    asyncio.run(work())
    found = [one for one in entries(lab) if one["action"] == "rollback"]
    assert sorted((one["release"], one["outcome"], one["revision"]) for one in found) == [
        ("a", "done", 3),
        ("b", "done", 3),
        ("c", "done", 3),
    ]
    assert len({one["begun"] for one in found}) == 3


# -- the chain -------------------------------------------------------------------------------------------------


def fill(store: Store, count: int) -> None:
    for number in range(count):
        store.append({"by": "me@here", "action": "upgrade", "outcome": "done", "release": f"r{number}"})


def test_the_chain_on_both(store: Store) -> None:
    assert store.verify_trail() == (0, FIRST, None)
    fill(store, 3)
    count, head, broken = store.verify_trail()
    assert (count, broken) == (3, None)
    found = store.trail()
    assert found[-1].hash == head
    assert [one.previous for one in found] == [FIRST, found[0].hash, found[1].hash]
    assert [one.seq for one in store.trail(release="r1")] == [2]


CHANGES = {
    "body": ("UPDATE audit SET body = replace(body, 'me@here', 'you@here') WHERE seq = 3", 3),
    "hash": ("UPDATE audit SET hash = 'x' WHERE seq = 3", 3),
    "taken out": ("DELETE FROM audit WHERE seq = 3", 4),
    "the first": ("DELETE FROM audit WHERE seq = 1", 2),
    "swapped": ("UPDATE audit SET seq = CASE seq WHEN 2 THEN 103 WHEN 3 THEN 102 ELSE seq END", 4),
    "damaged": ("UPDATE audit SET body = '{' WHERE seq = 2", 2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_first_broken_entry_is_named(store: Store, change: str) -> None:
    fill(store, 5)
    sql, first = CHANGES[change]
    store.db.execute(sql)
    broken = store.verify_trail()[2]
    assert broken is not None
    assert broken.where == f"audit entry {first}"


def test_an_entry_made_anew_breaks_the_next(store: Store) -> None:
    fill(store, 3)
    row = store.db.row("SELECT body FROM audit WHERE seq = 2")
    body = row["body"].replace("done", "refused")
    store.db.execute("UPDATE audit SET body = ?, hash = ? WHERE seq = 2", (body, digest(body)))
    broken = store.verify_trail()[2]
    assert broken is not None
    assert broken.where == "audit entry 3"


def test_the_command_names_it(lab: Lab) -> None:
    lab.run("install", "web", lab.chart(SCALED))
    with lab.store() as store:
        store.db.execute("UPDATE audit SET body = replace(body, 'install', 'upgrade') WHERE seq = 1")
    assert "audit entry 1: it was changed" in lab.run("audit", "--verify", code=1).out
    assert "audit entry 1" in lab.run("store", "verify", "--offline", code=1).out
    assert not lab.run("audit", "--verify", "-o", "json", code=1).json["sound"]


FACTS = st.dictionaries(
    st.sampled_from(["by", "action", "outcome", "release", "error", "given", "objects"]),
    st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.integers()),
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(FACTS, max_size=6), st.data())
def test_any_changed_character_shows(facts: list[dict[str, Any]], data: st.DataObject) -> None:
    with open_store(":memory:", clock=lambda: 1.0) as store:
        for one in facts:
            store.append({name: value for name, value in one.items() if name != "release"})
        assert store.verify_trail()[2] is None
        if not facts:
            return
        seq = data.draw(st.integers(1, len(facts)))
        body = str(store.db.value("SELECT body FROM audit WHERE seq = ?", (seq,)))
        at = data.draw(st.integers(0, len(body) - 1))
        other = body[:at] + ("#" if body[at] != "#" else "$") + body[at + 1 :]
        store.db.execute("UPDATE audit SET body = ? WHERE seq = ?", (other, seq))
        broken = store.verify_trail()[2]
        assert broken is not None
        assert broken.where == f"audit entry {seq}"
        json.loads(body)


def test_what_was_allowed_is_entered(lab: Lab) -> None:
    user = "kind: User\nmetadata: { name: joe@pve }\nspec: { comment: Joe }\n"
    chart = lab.chart(user)
    lab.run("install", "web", chart, code=3)
    assert "given" not in last(lab)
    lab.run("install", "web", chart, "--allow-privileged", "User", "--take-ownership", "all")
    assert last(lab)["given"] == {"allow_privileged": ["User"], "take_ownership": ["all"]}
    assert "allow_privileged" not in lab.run("audit").out

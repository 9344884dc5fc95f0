"""Objects of several sets, and of none, changed by one command: one plan, one question, and what fails is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pvehelm.actions.question import asked
from pvehelm.release.change import Change, Op, Plan
from pvehelm.release.context import Context
from tests.release.lab import Lab

GUEST = "kind: VirtualMachine\nmetadata: {{ name: {0}, labels: {{ app: shop }} }}\nspec: {1}\n"
SPEC = "{ node: pve-node1, memory: 512, disks: [{ storage: local-lvm, size: 2G }] }"
MEMORY = ("patch", "vm/web", "vm/db", "vm/alone", "-p", '{"spec": {"memory": 768}}')


@pytest.fixture
def three(lab: Lab) -> Lab:
    """Two sets of a machine each, and a machine that is in none."""
    for name in ("web", "db"):
        lab.run("apply", "-f", "-", "--set-name", name, stdin=GUEST.format(name, SPEC))
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=300, name="alone", memory=512)
    return lab


def memory(lab: Lab) -> dict[str, int]:
    configs = map(lab.config, lab.guests())
    return {one["name"]: int(one["memory"]) for one in configs}


def test_it_is_one_plan(three: Lab) -> None:
    dry = three.run(*MEMORY, "--dry-run")
    assert dry.out.count("memory: 512 -> 768") == 3
    assert dry.out.count("Plan: ") == 1
    assert "Plan: 3 to update." in dry.out
    plan = three.run(*MEMORY, "--dry-run", "-o", "json").json
    assert [change["ref"] for change in plan["changes"] if change["op"] == "update"] == [
        "VirtualMachine/web",
        "VirtualMachine/db",
        "VirtualMachine/alone",
    ]
    assert set(memory(three).values()) == {512}
    three.run(*MEMORY)
    assert set(memory(three).values()) == {768}
    assert [len(three.history(name)) for name in ("web", "db")] == [2, 2]
    rows = [row for row in three.run("audit", "-o", "json").json if row["action"] == "patch"]
    assert [row["outcome"] for row in rows] == ["done"]
    assert rows[0]["plan"]


def test_all_of_it_is_checked_first(three: Lab) -> None:
    """A disk of the second one would shrink: the first one stays as it is, too."""

    def sized(size: str) -> str:
        return json.dumps({"spec": {"memory": 768, "disks": [{"storage": "local-lvm", "size": size}]}})

    three.run("patch", "vm/web", "-p", sized("3G").replace("768", "512"))
    refused = three.run("patch", "vm/db", "vm/web", "-p", sized("2G"), code=1)
    assert " (set web): VirtualMachine/web: scsi0 can't shrink from 3G to 2G" in refused.err
    assert set(memory(three).values()) == {512}


def test_somebody_works_on_one_of_them(three: Lab) -> None:
    with three.store() as store, store.hold(three.key("db").scope, purpose="a look"):
        held = three.run(*MEMORY, code=4)
        assert "nothing was changed" in held.err
        assert "VirtualMachine/db" in held.err
        assert "a look" in held.err
    assert set(memory(three).values()) == {512}


def test_what_fails_stops_nothing_else(three: Lab) -> None:
    vmid = three.vmid("db", "VirtualMachine/db")
    three.fault(f"PUT /nodes/*/qemu/{vmid}/config", status=500, message="no luck", times=1)
    three.fault(f"POST /nodes/*/qemu/{vmid}/config", status=500, message="no luck", times=1)
    failed = three.run(*MEMORY, code=1)
    assert "1 of 3 objects could not be patched" in failed.err
    assert "no luck" in failed.err
    assert "VirtualMachine/web patched, VirtualMachine/alone patched; the same command again" in failed.err
    assert memory(three) == {"web": 768, "db": 512, "alone": 768}
    three.clear_faults()
    again = three.run(*MEMORY)
    assert "VirtualMachine/web unchanged" in again.out
    assert set(memory(three).values()) == {768}
    three.sound("web", "db", strangers=[300])


@pytest.mark.parametrize(
    ("agreed", "then", "again"),
    [
        ((), ("scsi1",), True),
        (("scsi0", "scsi1"), ("scsi1",), False),
        (("scsi0",), ("scsi0", "scsi1"), True),
        (("scsi0",), (), False),
    ],
)
def test_what_nobody_was_asked_about_is_asked(agreed: tuple[str, ...], then: tuple[str, ...], again: bool) -> None:
    """What a part would do may have changed since all of them were planned."""
    told: list[Any] = []

    def plan(losses: tuple[str, ...]) -> Plan:
        change = Change(ref="VirtualMachine/web", kind="VirtualMachine", op=Op.update, reason="", losses=losses)
        return Plan("patch", "web", "", (change,), (), (), ())

    def yes(plan: Plan) -> bool:
        told.append(plan)
        return True

    ctx = Context(
        name="test",
        namespace="",
        open_store=lambda: NotImplemented,
        dial=lambda: NotImplemented,
        identify=str,
        confirm=yes,
    )
    with asked(ctx, plan(agreed), "what this destroys"):
        told.clear()
        assert ctx.confirm(plan(then))
    assert ctx.confirm is yes
    assert bool(told) is again

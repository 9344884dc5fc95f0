"""Drift: said field by field, with who did it; repaired; taken over as values or patches."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from pvehelm.actions.drift import drift, repair
from pvehelm.api.auth import TicketAuth
from pvehelm.api.client import Client
from pvehelm.chart import patches
from pvehelm.config import load
from pvehelm.errors import LeaseHeldError
from pvehelm.faces.build import build_context
from pvehelm.release.context import Context
from pvehelm.simulator.core import Simulator
from pvehelm.simulator.transport import SimulatorTransport
from tests.release.charts import MIXED, SCALED, VM
from tests.release.lab import Lab, with_context

CASES = yaml.safe_load((Path(__file__).parent / "cases" / "drift.yaml").read_text())
REF = "VirtualMachine/vm"
VALUES = "cores: 2\nmemory: 1024\nsize: 5G\ntag: 10\ntext: the text\n"


def disturbed(lab: Lab, case: dict[str, Any]) -> str:
    """A release, and then what the administrator of the case does; the chart."""
    chart = lab.chart(VM, values=VALUES)
    lab.run("install", "web", chart)
    vmid = lab.vmid("web", REF)
    if case.get("remove"):
        lab.remove(vmid)
        return chart
    config = lab.config(vmid)
    for name, value in case["set"].items():
        if name == "description":
            value = config["description"].replace("the text", "by hand")
        elif name == "net0":
            value = config["net0"].replace("tag=10", "tag=99")
        lab.set(vmid, **{name: value})
    return chart


def seen(lab: Lab) -> dict[str, Any]:
    (row,) = lab.run("drift", "web", "-o", "json").json
    return row


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_drift_is_said_field_by_field(lab: Lab, case: dict[str, Any]) -> None:
    disturbed(lab, case)
    found = seen(lab)
    rows = {row["leaf"]: [str(row["owned"]), str(row["live"]), row["repair"]] for row in found["differences"]}
    assert rows == {leaf: list(map(str, row)) for leaf, row in case["rows"].items()}
    assert found["drifted"] == bool(case["rows"])
    if case.get("who"):
        assert {row["who"] for row in found["differences"] if row["leaf"] != "tags"} == {"root@pam"}
    lab.run("drift", "web", "--detailed-exitcode", code=2 if case["rows"] else 0)
    text = lab.run("drift", "web").out
    assert ("web: drifted" in text) == bool(case["rows"])


@pytest.mark.parametrize("case", [c for c in CASES if c["rows"]], ids=[c["name"] for c in CASES if c["rows"]])
def test_repair_sets_it_back(lab: Lab, case: dict[str, Any]) -> None:
    chart = disturbed(lab, case)
    lab.run("drift", "web", "--repair", "--yes")
    assert not seen(lab)["drifted"]
    assert "Drift repaired" in lab.history("web")[-1]["description"]
    lab.settled("web", chart=chart)
    lab.sound("web")


def test_going_back_from_a_repair_is_going_back_from_what_it_repaired(lab: Lab) -> None:
    chart = lab.chart(VM, values=VALUES)
    lab.run("install", "web", chart)
    lab.run("upgrade", "web", chart, "--set", "memory=2048")
    for memory in (999, 998):
        lab.set(lab.vmid("web", REF), memory=memory)
        lab.run("drift", "web", "--repair")
    lab.run("rollback", "web", "--history-max", "3")
    assert lab.history("web")[-1]["description"] == "Rollback to 1"
    assert [row["revision"] for row in lab.history("web")] == [1, 2, 5], "repairs are forgotten first"
    assert int(lab.config(lab.vmid("web", REF))["memory"]) == 1024


@pytest.mark.parametrize("with_chart", [True, False], ids=["with the chart", "without it"])
@pytest.mark.parametrize("case", [c for c in CASES if c["rows"]], ids=[c["name"] for c in CASES if c["rows"]])
def test_accept_makes_it_the_desired_state(lab: Lab, case: dict[str, Any], with_chart: bool) -> None:
    chart = disturbed(lab, case)
    config = {vmid: lab.config(vmid) for vmid in lab.guests()}
    file = lab.folder / "accepted.yaml"
    lab.run("drift", "web", "--accept", "--out", str(file), *(["--chart", chart] if with_chart else []))
    assert {vmid: lab.config(vmid) for vmid in lab.guests()} == config
    assert not seen(lab)["drifted"]
    made = yaml.safe_load(file.read_text())
    patched = made.pop(patches.KEY, {})
    if with_chart:
        assert made == case.get("values", {})
        assert patched == ({REF: case["patch"]} if "patch" in case else {})
    else:
        assert made == {}
        assert list(patched) == [REF]
    # The history keeps it: the same chart upgrades to the same, and a new value beside it changes that one alone.
    lab.settled("web", chart=chart)
    if not case.get("remove"):
        lab.run("upgrade", "web", chart, "--set", "tag=55")
        tag = lab.config(lab.vmid("web", REF))["net0"].partition("tag=")[2].partition(",")[0]
        kept = not with_chart and "net0.tag" in case["rows"]
        assert tag == ("99" if kept else "55")
    lab.run("upgrade", "web", chart, "--reset-values")
    assert not seen(lab)["drifted"]
    assert len(lab.guests()) == 1


def test_one_value_of_many_guests(lab: Lab) -> None:
    chart = lab.chart(SCALED, values="replicas: 3\nmemory: 512\n")
    lab.run("install", "web", chart)
    for vmid in list(lab.guests()):
        lab.set(int(vmid), memory=768)
    assert len(seen(lab)["differences"]) == 3
    file = lab.folder / "values.yaml"
    out = lab.run("drift", "web", "--accept", "--chart", chart, "--out", str(file)).out
    assert yaml.safe_load(file.read_text()) == {"memory": 768}
    assert "as value memory" in out
    lab.settled("web", chart=chart)


def test_one_guest_of_many_is_a_patch(lab: Lab) -> None:
    chart = lab.chart(SCALED, values="replicas: 3\nmemory: 512\n")
    lab.run("install", "web", chart)
    lab.set(lab.vmid("web", "VirtualMachine/web-1"), memory=768)
    lab.run("drift", "web", "--accept", "--chart", chart)
    values = lab.run("get", "values", "web", "-o", "json").json
    assert values == {patches.KEY: {"VirtualMachine/web-1": {"spec": {"memory": 768}}}}
    lab.settled("web", chart=chart)


def test_what_cannot_be_taken_over_stays_as_it_is_and_stays_drift(lab: Lab) -> None:
    chart = lab.chart(VM.replace("name: vm }", "name: vm, namespace: mine }"), values=VALUES)
    lab.run("install", "web", chart, "--create-namespace")
    lab.api.ok("POST", "/pools", poolid="other")
    lab.set(lab.vmid("web", REF), memory=2048)
    lab.api.ok("PUT", "/pools/other", vms=str(lab.vmid("web", REF)), **{"allow-move": 1})
    assert "pool can't be taken over" in lab.run("drift", "web", "--accept", "--chart", chart, code=1).out
    assert [row["leaf"] for row in seen(lab)["differences"]] == ["pool"]
    assert "other" in lab.run("get", "vms", "-A", "-o", "json").out
    lab.run("drift", "web", "--repair")
    assert not seen(lab)["drifted"]
    lab.settled("web", chart=chart)


def test_who_did_it_before_the_guest_was_moved(lab: Lab) -> None:
    lab.run("install", "web", lab.chart(VM, values=VALUES))
    vmid = lab.vmid("web", REF)
    lab.set(vmid, memory=2048)
    lab.power(vmid, "stop")
    lab.api.ok("POST", f"/nodes/pve-node1/qemu/{vmid}/migrate", target="pve-node3")
    (row,) = seen(lab)["differences"]
    assert (row["leaf"], row["who"]) == ("memory", "root@pam")


def test_a_disk_that_was_grown_by_hand_says_what_to_write(lab: Lab) -> None:
    chart = lab.chart(VM, values=VALUES)
    lab.run("install", "web", chart)
    lab.api.ok("PUT", f"/nodes/pve-node1/qemu/{lab.vmid('web', REF)}/resize", disk="scsi0", size="+1G")
    assert "hint: write 6G" in lab.run("upgrade", "web", chart, code=1).err
    lab.run("drift", "web", "--accept", "--chart", chart)
    lab.settled("web", chart=chart)


def test_one_release_on_a_node_that_is_offline_hides_no_other(lab: Lab) -> None:
    lab.run("install", "one", lab.chart(VM.replace("name: vm", "name: one"), values=VALUES, name="one"))
    lab.run("install", "two", lab.chart(MIXED, name="two"))
    lab.set(lab.vmid("one", "VirtualMachine/one"), memory=2048)
    lab.fault("GET /version", offline="pve-node2")
    lab.run("get", "nodes")
    result = lab.run("drift", "--all", "--detailed-exitcode", code=1)
    assert "one: drifted." in result.out
    assert "two could not be looked at: " in result.err
    rows = lab.run("drift", "--all", "--repair", "-o", "json", code=1).json
    assert {row["release"]: row["repaired"] for row in rows} == {"one": True, "two": False}


def test_what_a_set_accepts_is_manifests(lab: Lab) -> None:
    file, new = lab.folder / "one.yaml", lab.folder / "new.yaml"
    file.write_text("kind: VirtualMachine\nmetadata: { name: m }\nspec: { node: pve-node1, memory: 512 }\n")
    lab.run("apply", "-f", str(file))
    lab.set(lab.vmid("one", "VirtualMachine/m"), memory=768)
    out = lab.run("drift", "one", "--accept", "--out", str(new)).out
    assert "VirtualMachine/m memory: 768, in the manifest" in out
    assert yaml.safe_load(new.read_text())["spec"]["memory"] == 768
    assert "No drift" in lab.run("drift", "one").out
    assert "as desired, no new revision" in lab.run("apply", "-f", str(new), "--set-name", "one").out
    assert lab.run("get", "values", "one", "-o", "json").json == {}


def test_another_chart_is_refused(lab: Lab) -> None:
    chart = lab.chart(VM, values=VALUES)
    lab.run("install", "web", chart)
    lab.set(lab.vmid("web", REF), memory=2048)
    other = lab.chart(VM, values="cores: 3\n", name="other")
    assert "is not the one" in lab.run("drift", "web", "--accept", "--chart", other, code=3).err


def test_everything_and_what_is_not_there(lab: Lab) -> None:
    lab.run("install", "one", lab.chart(SCALED, name="one"))
    lab.run("install", "two", lab.chart(MIXED, name="two"))
    assert "No drift (2 releases)" in lab.run("drift", "--all").out
    lab.set(lab.vmid("one", "VirtualMachine/one-0"), memory=2048)
    text = lab.run("drift", "--all").out
    assert "one: drifted; 1 as desired" in text
    rows = lab.run("drift", "--all", "--repair", "-o", "json").json
    assert {row["release"]: row["repaired"] for row in rows} == {"one": True, "two": False}
    lab.run("drift", "none", code=1)
    lab.run("drift", code=64)
    lab.run("drift", "one", "--all", code=64)
    lab.run("drift", "one", "--repair", "--accept", code=64)
    lab.run("drift", "one", "--out", "x", code=64)


@pytest.mark.parametrize("text", ['{"VirtualMachine/vm": 1}', "[1]", '{"a": {"x": 1}}'])
def test_patches_of_another_shape_are_refused(lab: Lab, text: str) -> None:
    lab.run("install", "web", lab.chart(VM, values=VALUES), "--set-json", f"{patches.KEY}={text}", code=1)


def test_patches_are_values_like_others(lab: Lab) -> None:
    text = f'{patches.KEY}={{"{REF}": {{"spec": {{"memory": 512}}}}}}'
    lab.run("install", "web", lab.chart(VM, values=VALUES), "--set-json", text)
    assert int(lab.config(lab.vmid("web", REF))["memory"]) == 512


def test_what_somebody_else_repaired_meanwhile_is_not_repaired_again(lab: Lab) -> None:
    disturbed(lab, {"set": {"memory": 4096}})

    async def work(ctx: Context) -> list[bool]:
        key, changed = ctx.key("web"), []
        changed.append((await repair(ctx, key, base=1)).changed)
        with pytest.raises(LeaseHeldError, match="changed by another process"):
            await repair(ctx, key, base=1)
        changed.append((await repair(ctx, key)).changed)
        return changed

    assert with_context(work) == [True, False]
    assert [row["revision"] for row in lab.history("web")] == [1, 2]


def test_the_cost_of_looking(lab: Lab) -> None:
    """One request for each guest, and a few for the cluster and each node."""
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart, "--set", "replicas=12")
    asked: list[str] = []

    class Counting(SimulatorTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(f"{request.method} {request.url.path}")
            return await super().handle_async_request(request)

    async def dial() -> Client:
        return Client(
            "https://simulator:8006", TicketAuth("root@pam", "proxmox"), transport=Counting(Simulator(lab.state))
        )

    async def look() -> bool:
        context = build_context(load(), announce=False)
        context.dial = dial
        try:
            (found,) = await drift(context, ["web"])
        finally:
            await context.aclose()
        return bool(found.differences)

    assert not asyncio.run(look())
    guests = [path for path in asked if "/qemu/" in path]
    assert len(guests) == len(set(guests)) == 12
    assert len(asked) <= 12 + len(lab.state.collection("nodes")) + 4, asked

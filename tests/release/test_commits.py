"""Virtual networks and the interfaces of a node: one lock, all changes, one apply; nothing of others by accident."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pvehelm.actions.releases import Request, install, upgrade
from pvehelm.chart.chart import load
from pvehelm.chart.values import ValueFlag
from pvehelm.errors import PvehelmError, StoppedError
from pvehelm.release import apply, commons
from pvehelm.release.bystanders import interfaces_of
from pvehelm.release.context import Context
from pvehelm.release.desire import Options
from pvehelm.release.plan import Allowed
from pvehelm.release.release import ReleaseKey
from tests.release.lab import Lab, with_context

NET = """
apiVersion: proxmox.io/v1
kind: Zone
metadata: { name: z1 }
spec: { type: simple, mtu: {{ Values.mtu }} }
---
apiVersion: proxmox.io/v1
kind: VNet
metadata: { name: {{ Values.vnet }} }
spec: { zone: z1 }
---
apiVersion: proxmox.io/v1
kind: Subnet
metadata: { name: lan }
spec: { vnet: {{ Values.vnet }}, subnet: 10.7.0.0/24, gateway: 10.7.0.1 }
---
apiVersion: proxmox.io/v1
kind: FirewallRules
metadata: { name: lan }
spec: { scope: vnet/{{ Values.vnet }}, rules: [{ type: forward, action: ACCEPT }] }
---
apiVersion: proxmox.io/v1
kind: VirtualMachine
metadata: { name: web }
spec: { node: pve-node1, memory: 64, power: stopped, networks: [{ bridge: {{ Values.vnet }} }] }
"""
VALUES = "mtu: 1400\nvnet: blue\n"
GO = ("--allow-privileged", "all")

BRIDGE = """
apiVersion: proxmox.io/v1
kind: Network
metadata: { name: lan }
spec: { node: pve-node1, iface: {{ Values.iface }}, type: bridge, comments: {{ Values.text }} }
---
apiVersion: proxmox.io/v1
kind: Network
metadata: { name: other }
spec: { node: pve-node1, iface: vmbr8, type: bridge, cidr: 10.1.0.1/24 }
"""


def writes(lab: Lab, word: str) -> list[str]:
    """The events of the last revision that are about applying."""
    shown = lab.run("status", "net", "-o", "json").json
    return [str(row) for row in shown.get("events", []) if word in str(row)]


def tasks(lab: Lab, kind: str) -> int:
    found = [row for node in lab.state.collection("nodes") for row in lab.api.ok("GET", f"/nodes/{node}/tasks") or []]
    return len([row for row in found if row["type"] == kind])


def plan(lab: Lab, *args: str) -> Any:
    return lab.run(*args, "--dry-run", "-o", "json", code=None).json


def test_one_apply_for_everything_and_what_needs_it_comes_after(lab: Lab) -> None:
    chart = lab.chart(NET, values=VALUES)
    lab.run("install", "net", chart, *GO)
    assert tasks(lab, "reloadnetworkall") == 1
    assert set(lab.state.value("sdn-running", {})["vnets"]) == {"blue"}
    assert lab.state.value("sdn-lock", "") == ""
    lab.settled("net", *GO)
    lab.run("upgrade", "net", chart, "--set", "mtu=1500", *GO)
    assert tasks(lab, "reloadnetworkall") == 2
    assert lab.state.value("sdn-running", {})["zones"]["z1"]["mtu"] == 1500


def test_from_one_network_to_another_and_away(lab: Lab) -> None:
    chart = lab.chart(NET, values=VALUES)
    lab.run("install", "net", chart, *GO)
    lab.run("upgrade", "net", chart, "--set", "vnet=green", *GO)
    assert set(lab.state.value("sdn-running", {})["vnets"]) == {"green"}
    lab.settled("net", *GO)
    lab.run("uninstall", "net", "--yes")
    assert lab.state.value("sdn-running", {})["vnets"] == {}
    assert lab.state.value("sdn-lock", "") == ""


def test_what_waits_of_others_is_not_applied_by_accident(lab: Lab) -> None:
    lab.api.ok("POST", "/cluster/sdn/zones", zone="theirs", type="simple")
    chart = lab.chart(NET, values=VALUES)
    refused = lab.run(
        "install",
        "net",
        chart,
        "--allow-privileged",
        "Zone",
        "--allow-privileged",
        "VNet",
        "--allow-privileged",
        "Subnet",
        code=3,
    )
    assert "Zone/theirs" in refused.err
    assert "--allow-privileged pending" in refused.err
    assert "z1" not in lab.state.collection("sdn_zones")
    lab.run("install", "net", chart, *GO)
    assert "theirs" in lab.state.value("sdn-running", {})["zones"]


def test_a_failure_gives_the_lock_back_and_the_next_run_applies_what_waits(lab: Lab) -> None:
    chart = lab.chart(NET, values=VALUES)
    lab.fault("POST /cluster/sdn/vnets", times=1, status=500)
    lab.run("install", "net", chart, *GO, code=1)
    assert lab.state.value("sdn-lock", "") == ""
    assert lab.state.value("sdn-running", {}) == {}
    lab.clear_faults()
    lab.run("upgrade", "net", chart, *GO)
    assert set(lab.state.value("sdn-running", {})["vnets"]) == {"blue"}
    lab.settled("net", *GO)


def test_what_was_changed_but_never_applied_is_applied(lab: Lab) -> None:
    chart = lab.chart(NET, values=VALUES)
    lab.run("install", "net", chart, *GO)
    lab.fault("PUT /cluster/sdn", times=1, status=500)
    lab.run("upgrade", "net", chart, "--set", "mtu=1500", *GO, code=1)
    assert lab.state.value("sdn-running", {})["zones"]["z1"]["mtu"] == 1400
    lab.clear_faults()
    assert lab.state.value("sdn-lock", "") != ""
    lab.run("upgrade", "net", chart, "--set", "mtu=1500", *GO)
    assert lab.state.value("sdn-running", {})["zones"]["z1"]["mtu"] == 1500
    assert lab.state.value("sdn-lock", "") == ""


@pytest.mark.parametrize("again", ["upgrade net CHART --install", "uninstall net --yes", "recover net --yes"])
def test_a_removal_that_was_never_applied_is_applied(lab: Lab, again: str) -> None:
    chart = lab.chart(NET, values=VALUES)
    lab.run("install", "net", chart, *GO)
    lab.fault("DELETE /cluster/sdn/zones/*", status=403, times=1)
    lab.run("uninstall", "net", "--yes", code=1)
    more = GO if "upgrade" in again else ()
    lab.run(*(chart if word == "CHART" else word for word in again.split()), *more)
    waits = [row for name in ("zones", "vnets") for row in lab.api.ok("GET", f"/cluster/sdn/{name}", pending=1)]
    assert [row for row in waits if row.get("state")] == []
    assert bool(waits) == ("upgrade" in again)


def test_a_node_is_reloaded_once(lab: Lab) -> None:
    chart = lab.chart(BRIDGE, values="text: one\niface: vmbr7\n")
    lab.run("install", "net", chart, *GO)
    assert tasks(lab, "srvreload") == 1
    assert {"vmbr7", "vmbr8"} <= set(lab.state.collection("nodes")["pve-node1"]["network"])
    lab.run("upgrade", "net", chart, "--set", "text=two", *GO)
    assert tasks(lab, "srvreload") == 2
    lab.settled("net", *GO)
    assert lab.state.collection("nodes")["pve-node1"]["network"]["vmbr8"]["cidr"] == "10.1.0.1/24"
    lab.run("uninstall", "net", "--yes")
    assert not {"vmbr7", "vmbr8"} & set(lab.state.collection("nodes")["pve-node1"]["network"])


def test_the_way_to_a_node_is_not_cut_off(lab: Lab) -> None:
    node = lab.state.collection("nodes")["pve-node1"]
    carrier = next(name for name, one in node["network"].items() if one.get("gateway"))
    manifest = (
        "apiVersion: proxmox.io/v1\nkind: Network\nmetadata: { name: lan }\n"
        f"spec: {{ node: pve-node1, iface: {carrier}, type: bridge, cidr: 10.9.9.9/24 }}\n"
    )
    chart = lab.chart(manifest)
    words = (*GO, "--take-ownership", "all")
    refused = lab.run("install", "net", chart, *words, code=3)
    assert "default route" in refused.err
    assert "--allow-destroy Network/lan" in refused.err
    lab.run("install", "net", chart, *words, "--allow-destroy", "Network/lan")
    assert lab.state.collection("nodes")["pve-node1"]["network"][carrier]["cidr"] == "10.9.9.9/24"


def test_what_waits_of_others_on_a_node_is_not_applied_by_accident(lab: Lab) -> None:
    lab.api.ok("POST", "/nodes/pve-node1/network", iface="vmbr66", type="bridge", comments="theirs")
    chart = lab.chart(BRIDGE, values="text: one\niface: vmbr7\n")
    refused = lab.run("install", "net", chart, "--allow-privileged", "Network", code=3)
    assert "somebody else that wait: vmbr66" in refused.err
    assert "--allow-privileged pending" in refused.err
    lab.run("install", "net", chart, *GO)
    assert {"vmbr7", "vmbr66"} <= set(lab.state.collection("nodes")["pve-node1"]["network"])


def test_a_node_that_was_never_reloaded_is_reloaded(lab: Lab) -> None:
    chart = lab.chart(BRIDGE, values="text: one\niface: vmbr7\n")
    lab.fault("PUT /nodes/pve-node1/network", times=1, status=500)
    lab.run("install", "net", chart, *GO, code=1)
    assert "vmbr7" not in lab.state.collection("nodes")["pve-node1"]["network"]
    lab.run("install", "net", chart, "--allow-privileged", "Network")
    assert {"vmbr7", "vmbr8"} <= set(lab.state.collection("nodes")["pve-node1"]["network"])
    lab.settled("net", *GO)


def test_subnets_of_others_are_not_applied_by_accident(lab: Lab) -> None:
    chart = lab.chart(NET, values=VALUES)
    lab.run("install", "net", chart, *GO)
    lab.api.ok("POST", "/cluster/sdn/vnets/blue/subnets", subnet="10.9.0.0/24", type="subnet")
    words = [word for kind in ("Zone", "VNet", "Subnet") for word in ("--allow-privileged", kind)]
    refused = lab.run("upgrade", "net", chart, "--set", "mtu=1500", *words, code=3)
    assert "Subnet/blue/10.9.0.0/24 (new)" in refused.err


@pytest.mark.parametrize(("manifest", "scope"), [(NET, "sdn/networks"), (BRIDGE, "network/pve-node1")])
def test_releases_change_what_they_share_one_after_the_other(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, manifest: str, scope: str
) -> None:
    monkeypatch.setattr(commons, "PATIENCE", 0.3)
    chart = lab.chart(manifest, values=VALUES + "text: one\niface: vmbr7\n")
    other = lab.chart("kind: Pool\nmetadata: { name: p }\n", name="other")
    key = ReleaseKey(lab.state.cluster_id, "", scope)
    with lab.store() as store, store.hold(key.scope, purpose="upgrade of other"):
        held = lab.run("install", "net", chart, *GO, code=4)
        assert "(upgrade of other)" in held.err
        assert f"pvehelm unlock {scope}" in held.err
        lab.run("install", "other", other)
        # A plan alone changes nothing.
        lab.run("install", "net", chart, *GO, "--dry-run")
    lab.run("install", "net", chart, *GO)
    with lab.store() as store:
        assert store.holder(key.scope) is None


def test_who_changes_nothing_of_it_gives_it_back_before_the_rest(lab: Lab) -> None:
    chart = lab.chart(NET.replace("memory: 64", "memory: {{ Values.memory }}"), values=VALUES + "memory: 64\n")
    lab.run("install", "net", chart, *GO)
    scope = ReleaseKey(lab.state.cluster_id, "", "sdn/networks").scope

    def held(value: str) -> bool:
        """Whether the networks are leased while the release is upgraded."""
        seen: list[bool] = []

        async def work(ctx: Context) -> None:
            ctx.emit = lambda event: seen.append(ctx.store.holder(scope) is not None)
            allowed = Allowed(privileged=frozenset(["all"]))
            await upgrade(ctx, Request("net", load(chart), flags=[ValueFlag("set", value)]), Options(allowed=allowed))

        with_context(work)
        assert seen
        return any(seen)

    assert not held("memory=128")
    assert held("mtu=1450")


@pytest.mark.parametrize(
    ("manifest", "scope", "first", "last"),
    [
        (NET, "sdn/networks", "VNet/blue", "reloadnetworkall"),
        (NET, "sdn/networks", "Commit/cluster-sdn", "reloadnetworkall"),
        (BRIDGE, "network/pve-node1", "Network/lan", "srvreload"),
        (BRIDGE, "network/pve-node1", "Commit/nodes-pve-node1-network", "srvreload"),
    ],
)
def test_who_slept_while_somebody_else_took_over_applies_nothing(
    lab: Lab, manifest: str, scope: str, first: str, last: str
) -> None:
    chart = lab.chart(manifest, values=VALUES + "text: one\niface: vmbr7\n")
    key = ReleaseKey(lab.state.cluster_id, "", scope)

    async def work(ctx: Context) -> None:
        def emit(event: Any) -> None:
            if (event.type, event.ref) == ("change-started", first):
                ctx.store.unlock(key.scope)

        ctx.emit = emit
        allowed = Allowed(privileged=frozenset(["all"]))
        await install(ctx, Request("net", load(chart)), Options(allowed=allowed))

    with pytest.raises(PvehelmError) as caught:
        with_context(work)
    fenced = [problem for problem in caught.value.problems if "was taken over" in problem.what]
    assert first in [problem.where for problem in fenced]
    assert scope.partition("/")[0] in fenced[0].what
    assert tasks(lab, last) == 0
    assert lab.state.value("sdn-lock", "") == ""
    # Who comes next has all of it to do.
    lab.run("upgrade", "net", chart, *GO)
    assert tasks(lab, last) == 1
    lab.settled("net", *GO)


def test_the_lock_of_networks_is_given_back_only_where_that_is_asked_for(lab: Lab) -> None:
    token = lab.api.ok("POST", "/cluster/sdn/lock")
    lab.api.ok("PUT", "/cluster/sdn", **{"lock-token": token})
    assert lab.state.value("sdn-lock", "") == token
    lab.api.ok("PUT", "/cluster/sdn", **{"lock-token": token, "release-lock": 1})
    assert lab.state.value("sdn-lock", "") == ""


TAKEN = """
apiVersion: proxmox.io/v1
kind: Network
metadata: { name: lan }
spec: { node: pve-node1, iface: vmbr7, type: bridge, bridge_ports: [PORT] }
"""


def test_a_new_bridge_does_not_take_the_port_that_carries_the_node(lab: Lab) -> None:
    interfaces = lab.state.collection("nodes")["pve-node1"]["network"]
    port = next(str(one["bridge_ports"]) for one in interfaces.values() if one.get("gateway"))
    chart = lab.chart(TAKEN.replace("PORT", port))
    refused = lab.run("install", "net", chart, *GO, code=3)
    assert f"would take {port}, which carries the node's default route through vmbr0" in refused.err
    assert "--allow-destroy Network/lan" in refused.err
    # Who insists hears it from the server: a port is in one bridge.
    insisted = lab.run("install", "net", chart, *GO, "--allow-destroy", "Network/lan", code=1)
    assert f"{port} is already used on interface 'vmbr0'" in insisted.err
    lab.run("uninstall", "net", "--yes")
    lab.run("install", "free", lab.chart(TAKEN.replace("PORT", "eno77").replace("vmbr7", "vmbr9"), name="free"), *GO)


DIFFERENCES = [
    ("", []),
    ("--- a\n+++ b\n@@ -1,2 +1,3 @@\n auto vmbr0\n iface vmbr0 inet static\n+\taddress 10.0.0.2/24\n", ["vmbr0"]),
    ("@@ -9 +9,4 @@\n \n+auto vmbr1\n+iface vmbr1 inet manual\n+\tbridge-ports none\n+\n", ["vmbr1"]),
    ("@@ -20,7 +20,7 @@\n \tbridge-fd 0\n-#one\n+#two\n \n iface eno9 inet manual\n", ["an interface"]),
    (
        "@@ -1 +1 @@\n-iface eno1 inet manual\n+iface eno1 inet dhcp\n@@ -30 +30 @@\n-iface eno2 inet manual\n",
        ["eno1", "eno2"],
    ),
]


@pytest.mark.parametrize(("text", "names"), DIFFERENCES)
def test_interfaces_of_a_difference(text: str, names: list[str]) -> None:
    assert interfaces_of(text) == names


def test_what_only_counts_once_it_is_applied_is_no_hook(lab: Lab) -> None:
    text = "kind: Zone\nmetadata: { name: z1, hook: pre-install }\nspec: { type: simple }\n"
    told = lab.run("install", "net", lab.chart(text), *GO, code=1).err
    assert "a Zone only counts once its group is applied, which no hook does" in told


def test_who_has_the_lock_of_the_networks_is_waited_for_by_people(lab: Lab) -> None:
    theirs = lab.api.ok("POST", "/cluster/sdn/lock")
    chart = lab.chart(NET, values=VALUES)
    told = lab.run("install", "net", chart, *GO, code=1).err
    assert "invalid lock token" in told
    assert "pvehelm api delete /cluster/sdn/lock force=1" in told
    assert lab.state.value("sdn-lock", "") == theirs
    assert "z1" not in lab.state.collection("sdn_zones")
    lab.run("api", "delete", "/cluster/sdn/lock", "force=1")
    lab.run("upgrade", "net", chart, *GO)
    lab.settled("net", *GO)


@pytest.mark.parametrize("more", ["", f"---{BRIDGE}"])
def test_what_was_lost_to_somebody_else_is_undone_when_they_are_done(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    monkeypatch.setattr(commons, "PATIENCE", 3)
    chart = lab.chart(NET + more, values=VALUES + "text: one\niface: vmbr7\n")
    lab.run("install", "net", chart, *GO)
    scope = ReleaseKey(lab.state.cluster_id, "", "sdn/networks").scope
    taken: list[str] = []

    async def work(ctx: Context) -> None:
        def emit(event: Any) -> None:
            if (event.type, event.ref) == ("change-started", "Commit/cluster-sdn") and not taken:
                taken.append(scope)
                ctx.store.unlock(scope)

        ctx.emit = emit
        options = Options(allowed=Allowed(privileged=frozenset(["all"])), atomic=True)
        await upgrade(ctx, Request("net", load(chart), flags=[ValueFlag("set", "mtu=1500")]), options)

    with pytest.raises(PvehelmError, match="was undone"):
        with_context(work)
    assert taken
    assert lab.state.value("sdn-lock", "") == ""
    assert lab.state.value("sdn-running", {})["zones"]["z1"]["mtu"] == 1400
    lab.settled("net", *GO)
    with lab.store() as store:
        assert store.holder(scope) is None


def test_a_commit_that_waits_for_room_gives_the_lock_back_when_it_is_stopped(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "PER_NODE", 1)
    pools = "".join(f"---\nkind: Pool\nmetadata: {{ name: p{n}, needs: [Pool/p{n - 1}] }}\n" for n in range(1, 5))
    chart = lab.chart(f"{NET}---\nkind: Pool\nmetadata: {{ name: p0 }}\n{pools}", values=VALUES)
    lab.fault("POST /pools", delay=0.2)
    begun: set[str] = set()

    async def work(ctx: Context) -> None:
        stop = ctx.stop = asyncio.Event()

        def emit(event: Any) -> None:
            if event.type == "change-started":
                begun.add(event.ref)
            if event.type == "step" and event.ref.startswith("Pool/") and "Subnet/lan" in begun:
                asyncio.get_running_loop().call_later(0.05, stop.set)

        ctx.emit = emit
        await install(ctx, Request("net", load(chart)), Options(allowed=Allowed(privileged=frozenset(["all"]))))

    with pytest.raises(StoppedError):
        with_context(work)
    assert "Commit/cluster-sdn" not in begun
    assert lab.state.value("sdn-lock", "") == ""
    lab.run("upgrade", "net", chart, *GO)
    lab.settled("net", *GO)

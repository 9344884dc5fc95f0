"""A plan made with a token says what that token can't do, before any call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvehelm.api.auth import TokenAuth
from pvehelm.api.client import Client
from pvehelm.chart.manifest import Resource
from pvehelm.release.context import Context
from pvehelm.release.decide import decide
from pvehelm.release.desire import Desire, Options
from pvehelm.release.plan import Allowed, Plan
from pvehelm.release.store import open_store
from pvehelm.simulator.core import Simulator
from pvehelm.simulator.state import State
from pvehelm.simulator.transport import SimulatorTransport
from tests.api.kindlab import manifest
from tests.simulator.api import Api

MACHINE = manifest("VirtualMachine", "web", {"node": "pve-node1", "memory": 64, "power": "stopped"})
POOL = manifest("Pool", "shop", {})
ACCOUNT = manifest("ACMEAccount", "default", {"contact": ["a@example.org"]})
DEVICE = manifest("VirtualMachine", "web", {"node": "pve-node1", "memory": 64, "serial0": "/dev/ttyS0"})


class Bench:
    """A simulator, and a context that logs in with a token that has one role on one path."""

    def __init__(self, folder: Path) -> None:
        self.state = State(":memory:", base="default")
        self.simulator = Simulator(self.state)
        self.api = Api(self.simulator)
        self.folder = folder
        self.clients: list[Client] = []

    def plan(self, resources: list[Resource], role: str, path: str, user: str = "joe@pve") -> Plan:
        if user == "joe@pve":
            self.api.ok("POST", "/access/users", userid=user)
        made: Any = self.api.ok("POST", f"/access/users/{user}/token/ci", privsep=0)
        if role:
            self.api.ok("PUT", "/access/acl", path=path, roles=role, users=user)
        auth = TokenAuth(f"{user}!ci", made["value"])

        async def dial() -> Client:
            self.clients.append(Client("https://s:8006", auth, transport=SimulatorTransport(self.simulator)))
            return self.clients[-1]

        async def work() -> Plan:
            context = Context(
                name="t",
                namespace="default",
                open_store=lambda: open_store(
                    f"sqlite:///{self.folder}/r.db", environ={"PVEHELM_DATA": str(self.folder)}
                ),
                dial=dial,
                identify=lambda: "c",
            )
            options = Options(allowed=Allowed(privileged=frozenset({"all"})))
            try:
                desire = Desire("apply", tuple(resources), {})
                key = context.key("r")
                return (await decide(context, key, desire, options, uid=context.store.ensure(key))).plan
            finally:
                await context.aclose()

        return asyncio.run(work())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.state.close()


def told(plan: Plan) -> str:
    return "\n".join(f"{problem.what} | {problem.hint}" for problem in plan.problems)


def test_a_lacking_privilege_is_a_problem_of_the_plan(bench: Bench) -> None:
    plan = bench.plan([MACHINE, POOL], "PVEAuditor", "/")
    assert "VirtualMachine/web" in told(plan)
    assert "joe@pve!ci lacks VM.Allocate on /vms/new" in told(plan)
    assert "lacks Pool.Allocate on /pool/shop" in told(plan)
    assert bench.clients[0].requests_made["POST"] == 0


def test_enough_privileges_are_no_problem(bench: Bench) -> None:
    assert told(bench.plan([MACHINE, POOL], "Administrator", "/")) == ""


def test_a_role_that_reaches_only_some_paths(bench: Bench) -> None:
    plan = bench.plan([MACHINE, POOL], "PVEVMAdmin", "/vms")
    assert "VM.Allocate" not in told(plan)
    assert "Pool.Allocate" in told(plan)


def test_what_only_root_may_do_is_said_of_its_token_too(bench: Bench) -> None:
    plan = bench.plan([ACCOUNT, DEVICE], "", "", user="root@pam")
    assert "only root@pam may do that" in told(plan)
    assert "only root@pam may set serial0" in told(plan)
    assert "a token is not enough, not even root's" in told(plan)


CONTAINER = manifest(
    "Container",
    "db",
    {
        "node": "pve-node1",
        "image": "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst",
        "cpu": {"cores": 2},
        "tags": ["a"],
        "rootfs": {"storage": "local-lvm", "size": "1G"},
        "networks": [{"bridge": "vmbr0"}],
        "power": "stopped",
    },
)
NETWORKED = manifest(
    "VirtualMachine",
    "web",
    {
        "node": "pve-node1",
        "memory": 64,
        "cpu": {"cores": 2},
        "disks": [{"storage": "local-lvm", "size": "1G"}],
        "networks": [{"bridge": "vmbr0"}],
        "cloudInit": {"user": "ann", "storage": "local-lvm"},
        "power": "stopped",
    },
)
OPTIONS = ("VM.Config.CPU", "VM.Config.Options", "VM.Config.Network", "VM.Config.Disk")


@pytest.mark.parametrize("resource", [CONTAINER, NETWORKED], ids=["container", "machine"])
def test_what_single_options_ask_for(bench: Bench, resource: Resource) -> None:
    bench.api.ok(
        "POST", "/access/roles", roleid="Maker", privs="VM.Allocate VM.Audit Datastore.Audit SDN.Audit Sys.Audit"
    )
    text = told(bench.plan([resource], "Maker", "/"))
    for privilege in OPTIONS:
        assert f"joe@pve!ci lacks {privilege} on /vms/new" in text, text
    assert "lacks Datastore.AllocateSpace on /storage/local-lvm" in text
    assert "lacks SDN.Use on /sdn/zones/localnetwork/vmbr0" in text


@pytest.mark.parametrize("resource", [CONTAINER, NETWORKED], ids=["container", "machine"])
def test_what_single_options_ask_for_is_enough(bench: Bench, resource: Resource) -> None:
    """What the plan asks for is what the server asks for: with just these privileges the guest is made."""
    privs = [*OPTIONS, "VM.Config.Memory", "VM.Config.Cloudinit", "VM.Config.CDROM", "VM.Config.HWType"]
    privs += ["VM.Allocate", "VM.Audit", "Datastore.Audit", "Datastore.AllocateSpace", "SDN.Use", "Sys.Audit"]
    bench.api.ok("POST", "/access/roles", roleid="Maker", privs=" ".join(privs))
    assert told(bench.plan([resource], "Maker", "/")) == ""


def test_a_pool_that_may_not_be_seen_is_not_missing(bench: Bench) -> None:
    bench.api.ok("POST", "/pools", poolid="shop")
    bench.api.ok(
        "POST",
        "/access/roles",
        roleid="Maker",
        privs="VM.Allocate VM.Audit VM.Config.Memory VM.Config.Options Sys.Audit",
    )
    web = replace(MACHINE, namespace="shop")
    plan = bench.plan([web, POOL], "Maker", "/")
    assert "does not exist" not in told(plan)
    assert {change.ref: str(change.op) for change in plan.changes}["Pool/shop"] != "create"

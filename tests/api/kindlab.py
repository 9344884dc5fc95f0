"""A laboratory for kinds: manifests from data, a simulator to run steps against, a planner of ten lines."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from pvehelm.api.kind import Kind, Live, Step, Wanted, get_leaf, leaves
from pvehelm.api.kinds import Kinds
from pvehelm.api.schema import Schema
from pvehelm.chart.manifest import Resource, parse
from pvehelm.errors import ApiError
from pvehelm.simulator.core import Request, Simulator
from pvehelm.simulator.state import State

CASES = Path(__file__).parent / "cases"
PASSWORD = "proxmox"


def load_kinds(release: str) -> Kinds:
    return Kinds.load(Schema.load(release))


def manifest(kind: str, name: str, spec: Mapping[str, Any]) -> Resource:
    document = {"apiVersion": "proxmox.io/v1", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}
    return parse(json.dumps(document), file=f"{kind}.yaml")[0]


class Lab:
    """One simulated cluster, spoken to as root@pam."""

    def __init__(self, release: str) -> None:
        self.kinds = load_kinds(release)
        self.simulator = Simulator(State(":memory:", base="default"), release=release)
        self.guests = {"VirtualMachine/web": "101", "VirtualMachine/api": "102", "Container/db": "103"}
        self.secrets: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        login = self.call("POST", "/access/ticket", {"username": "root@pam", "password": PASSWORD})
        self.headers = {
            "cookie": f"PVEAuthCookie={quote(login['ticket'], safe='')}",
            "csrfpreventiontoken": login["CSRFPreventionToken"],
        }

    def call(self, method: str, path: str, params: Mapping[str, Any] | None = None) -> Any:
        text = urlencode(dict(params or {}), doseq=True)
        in_query = method in ("GET", "DELETE")
        headers = {**self.headers, "content-type": "application/x-www-form-urlencoded"}
        request = Request(method, path, text if in_query else "", headers, b"" if in_query else text.encode())
        answer = self.simulator.handle(request)
        body = json.loads(answer.body) if answer.body.startswith(b"{") else {}
        if answer.status >= 400:
            raise ApiError(answer.status, f"{method} {path} {text}: {answer.body.decode()}", path=path)
        data = body.get("data")
        if isinstance(data, str) and data.startswith("UPID:"):
            node = data.split(":")[1]
            status = self.call("GET", f"/nodes/{node}/tasks/{quote(data, safe='')}/status")
            assert status["exitstatus"] == "OK", status
        return data

    async def get(self, path: str, **params: Any) -> Any:
        return self.call("GET", path, params)

    def make_guests(self) -> None:
        self.call("POST", "/nodes/pve-node1/qemu", {"vmid": 101, "name": "web", "memory": 64})
        self.call("POST", "/nodes/pve-node2/qemu", {"vmid": 102, "name": "api", "memory": 64})
        image = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"
        made = {"vmid": 103, "ostemplate": image, "rootfs": "local-lvm:1", "hostname": "db"}
        self.call("POST", "/nodes/pve-node1/lxc", made)

    def run(self, steps: Sequence[Step]) -> None:
        for step in steps:
            answer = self.call(step.method, self.fill(step.path), {k: self.fill(v) for k, v in step.params.items()})
            for name, reference in step.keep.items():
                self.secrets[reference] = answer[name]

    def fill(self, value: Any) -> Any:
        """Placeholders replaced, as the engine does last."""
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if not isinstance(value, str):
            return value
        value = re.sub(r"\$\{vmid:([^}]+)\}", lambda found: self.guests.get(found[1], found[1]), value)
        return re.sub(r"\$\{node:([^}]+)\}", lambda found: self.node_of(found[1]), value)

    def node_of(self, ref: str) -> str:
        rows = self.call("GET", "/cluster/resources", {"type": "vm"})
        return next(row["node"] for row in rows if str(row["vmid"]) == self.guests.get(ref, ref))

    def lower(self, kind: Kind, resource: Resource) -> Wanted:
        return kind.lower(resource, self.guests.get)


def differences(kind: Kind, wanted: Wanted, live: Live, owned: Mapping[str, Any]) -> dict[str, Any]:
    """leaf -> new value: what is desired and differs, and what was owned and is no longer desired."""
    desired = leaves(wanted.fields)
    found = {
        leaf: value
        for leaf, value in desired.items()
        if not kind.same(leaf, value, get_leaf(live.fields, leaf))
        or (kind.write_only(leaf) and leaf in owned and owned[leaf] != value)
    }
    for leaf in owned:
        if leaf not in desired and kind.gives_back(leaf) and get_leaf(live.fields, leaf) is not None:
            found[leaf] = None
    return found

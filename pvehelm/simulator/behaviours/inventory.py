"""The cluster at a glance: /cluster/resources and the next free id."""

from __future__ import annotations

import re
from typing import Any

from pvehelm.simulator.behaviours import guests, lists, storage, storages
from pvehelm.simulator.core import Call, Failure, bad_parameters, handler

LOWER, UPPER = 100, 1000000
_FROM_ROW = (
    *("name", "status", "tags", "lock", "maxmem", "maxdisk", "mem", "cpu", "disk", "uptime"),
    *("netin", "netout", "diskread", "diskwrite"),
)
# What is known of a guest whose node is off.
_KNOWN_ANYWHERE = ("name", "tags", "lock")


def _is_on(call: Call, node: str) -> bool:
    return bool((call.state.collection("nodes").get(node) or {}).get("status", "online") == "online")


@handler("GET", "/cluster/nextid")
def next_id(call: Call) -> str:
    wanted = call.args.get("vmid")
    if wanted is not None:
        vmid = str(int(wanted))
        if guests.anywhere(call.state, vmid) is not None:
            raise bad_parameters({"vmid": f"VM {vmid} already exists"})
        return vmid
    lower, upper = bounds(call)
    taken = {int(vmid) for kind in guests.KINDS for vmid in call.state.collection(kind)}
    for vmid_number in range(lower, upper):
        if vmid_number not in taken:
            return str(vmid_number)
    raise Failure(500, f"unable to get any free VMID in range [{lower}, {upper}]")


def bounds(call: Call) -> tuple[int, int]:
    """The cluster option ``next-id``."""
    option = guests.cluster_option(call.state, "next-id")
    pairs = option if isinstance(option, dict) else dict(re.findall(r"(lower|upper)=(\d+)", str(option or "")))
    return int(pairs.get("lower", LOWER)), int(pairs.get("upper", UPPER))


@handler("GET", "/cluster/resources")
def resources(call: Call) -> list[dict[str, Any]]:
    wanted = call.args.get("type")
    rows: list[dict[str, Any]] = []
    if wanted in (None, "vm"):
        rows += _guests(call)
    if wanted in (None, "node"):
        rows += [_node(call, name, found) for name, found in call.state.collection("nodes").items()]
    if wanted in (None, "storage"):
        rows += _storages(call)
    if wanted in (None, "sdn"):
        rows += _zones(call)
    if wanted is None:
        rows += [
            {"id": f"/pool/{name}", "pool": name, "type": "pool"}
            for name in call.state.collection("pools")
            if call.may(f"/pool/{name}", "Pool.Audit")
        ]
    return rows


def _guests(call: Call) -> list[dict[str, Any]]:
    pools = {str(v): name for name, doc in call.state.collection("pools").items() for v in doc.get("vms", ())}
    managed = call.state.collection("ha_resources").items()
    ha = {sid: doc.get("state", "started") for sid, doc in managed}
    rows = []
    for guest in guests.all_guests(call):
        if not call.may(f"/vms/{guest.vmid}", "VM.Audit"):
            continue
        rows.append(resource(call, guest, pools.get(guest.vmid), ha.get(f"{guests.SERVICE[guest.kind]}:{guest.vmid}")))
    return rows


def resource(call: Call, guest: guests.Guest, pool: str | None = None, ha: str | None = None) -> dict[str, Any]:
    """A guest as a resource of the cluster; pools show their members the same way."""
    row = lists.row(call, guest)
    there = _is_on(call, guest.node)
    found = {key: row[key] for key in (_FROM_ROW if there else _KNOWN_ANYWHERE) if key in row}
    found.setdefault("status", "unknown")
    found.update(
        {
            "id": f"{guest.kind}/{guest.vmid}",
            "type": guest.kind,
            "vmid": int(guest.vmid),
            "node": guest.node,
            "maxcpu": row["cpus"],
            "template": int(guest.template),
        }
    )
    if guest.kind == "qemu":
        found["memhost"] = row["memhost"]
    if pool:
        found["pool"] = pool
    if ha:
        found["hastate"] = ha
    return found


def _node(call: Call, name: str, found: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": f"node/{name}",
        "node": name,
        "type": "node",
        "status": found.get("status", "online"),
        "level": "",
        "cgroup-mode": int(found.get("cgroup-mode", 1 if call.state.base == "conformance" else 2)),
    }
    if call.may(f"/nodes/{name}", "Sys.Audit"):
        memory, disk = int(found.get("memory", 4 << 30)), int(found.get("disk", 100 << 30))
        row.update({"maxcpu": int(found.get("cpus", 2)), "cpu": 0.02, "maxmem": memory, "mem": memory // 8})
        row.update({"maxdisk": disk, "disk": disk // 10, "uptime": 86400})
    return row


def _storages(call: Call) -> list[dict[str, Any]]:
    rows = []
    for node in call.state.collection("nodes"):
        for name, found in call.state.collection("storage").items():
            if not storages.enabled(found) or not storages.on_node(found, node):
                continue
            if call.may(f"/storage/{name}", "Datastore.Audit", "Datastore.AllocateSpace"):
                rows.append(storage_resource(call, node, name, found))
    return rows


def storage_resource(call: Call, node: str, name: str, found: dict[str, Any]) -> dict[str, Any]:
    """A storage on a node as a resource of the cluster."""
    state = storage.state(call, name, found)
    return {
        "id": f"storage/{node}/{name}",
        "type": "storage",
        "storage": name,
        "node": node,
        "status": "available" if _is_on(call, node) else "unknown",
        "plugintype": found["type"],
        "content": state["content"],
        "shared": state["shared"],
        "maxdisk": state["total"],
        "disk": state["used"],
    }


def _zones(call: Call) -> list[dict[str, Any]]:
    zones = ["localnetwork", *call.state.collection("sdn_zones")]
    return [
        {
            "id": f"sdn/{node}/{zone}",
            "type": "sdn",
            "sdn": zone,
            "node": node,
            "status": "ok" if _is_on(call, node) else "unknown",
        }
        for node in call.state.collection("nodes")
        for zone in zones
        if call.may(f"/sdn/zones/{zone}", "SDN.Audit")
    ]

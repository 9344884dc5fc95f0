"""Nodes: list, status, version, time, DNS and what else describes a machine."""

from __future__ import annotations

import hashlib
from typing import Any

from pvehelm.api.formats import facts
from pvehelm.simulator.core import Call, handler

_BOOT = 1735689600
_VERSIONS = {"7.4": "7.4-20", "8.4": "8.4.14", "9.2": "9.2.11"}


def version(release: str) -> dict[str, str]:
    """What ``/version`` says for a release."""
    return {
        "release": ".".join(release.split(".")[:2]),
        "version": _VERSIONS.get(release, release),
        "repoid": "5eed51307a7e0000",
    }


def usage(node: dict[str, Any]) -> dict[str, Any]:
    """Capacity and use of a node; use is a placeholder."""
    return {
        "maxcpu": node["cpus"],
        "cpu": 0.02,
        "maxmem": node["memory"],
        "mem": node["memory"] // 8,
        "maxdisk": node["disk"],
        "disk": node["disk"] // 10,
        "uptime": 86400,
    }


@handler("GET", "/version", "/nodes/{node}/version")
def get_version(call: Call) -> Any:
    return version(call.sim.release)


@handler("GET", "/nodes")
def listed(call: Call) -> Any:
    found = []
    for name, node in call.state.collection("nodes").items():
        row = {"node": name, "id": f"node/{name}", "type": "node", "status": node["status"], "level": ""}
        if call.may(f"/nodes/{name}", "Sys.Audit") and node["status"] == "online":
            row.update(usage(node))
            row["ssl_fingerprint"] = _fingerprint(f"{call.state.cluster_id}/{name}")
        found.append(row)
    return found


@handler("GET", "/nodes/{node}/status")
def status(call: Call) -> Any:
    node = call.state.collection("nodes")[call.node]
    memory, disk = node["memory"], node["disk"]
    return {
        "cpu": 0.02,
        "cpuinfo": {
            "cpus": node["cpus"],
            "cores": node["cpus"],
            "sockets": 1,
            "model": "Simulated CPU",
            "mhz": "2400.000",
            "flags": "",
            "hvm": "1",
            "user_hz": 100,
        },
        "memory": {
            "total": memory,
            "used": memory // 8,
            "free": memory - memory // 8,
            "available": memory - memory // 8,
        },
        "rootfs": {"total": disk, "used": disk // 10, "free": disk - disk // 10, "avail": disk - disk // 10},
        "swap": {"total": 0, "used": 0, "free": 0},
        "ksm": {"shared": 0},
        "loadavg": ["0.05", "0.05", "0.05"],
        "uptime": 86400,
        "wait": 0,
        "idle": 0,
        "kversion": "Linux 6.14.8-2-pve",
        "current-kernel": {"sysname": "Linux", "release": "6.14.8-2-pve", "version": "#1", "machine": "x86_64"},
        "boot-info": {"mode": "efi", "secureboot": 0},
        "pveversion": f"pve-manager/{version(call.sim.release)['version']}/5eed51307a7e0000",
    }


@handler("GET", "/nodes/{node}/time")
def clock(call: Call) -> Any:
    zone = call.state.collection("nodes")[call.node].get("timezone", "UTC")
    return {"timezone": zone, "time": int(call.now), "localtime": int(call.now)}


@handler("PUT", "/nodes/{node}/time")
def set_zone(call: Call) -> None:
    nodes = call.state.collection("nodes")
    node = nodes[call.node]
    if call.str("timezone") not in {"UTC", *facts.words("timezones")}:
        call.bad(timezone="No such timezone")
    node["timezone"] = call.str("timezone")
    nodes[call.node] = node


@handler("GET", "/nodes/{node}/dns")
def dns(call: Call) -> Any:
    return call.state.collection("nodes")[call.node].get("dns", {"search": "example.org", "dns1": "192.168.10.1"})


@handler("PUT", "/nodes/{node}/dns")
def set_dns(call: Call) -> None:
    nodes = call.state.collection("nodes")
    node = nodes[call.node]
    # The file is written anew: what is not sent is gone.
    node["dns"] = {name: call.str(name) for name in ("search", "dns1", "dns2", "dns3") if call.str(name)}
    nodes[call.node] = node


@handler("GET", "/nodes/{node}/hosts")
def hosts(call: Call) -> Any:
    data = call.state.collection("nodes")[call.node].get("hosts", f"127.0.0.1 localhost\n127.0.1.1 {call.node}\n")
    return {"data": data, "digest": call.digest(data)}


@handler("POST", "/nodes/{node}/hosts")
def set_hosts(call: Call) -> None:
    nodes = call.state.collection("nodes")
    node = nodes[call.node]
    call.check_digest(hosts(call)["digest"])
    node["hosts"] = call.str("data")
    nodes[call.node] = node


@handler("GET", "/nodes/{node}/services/{service}/state")
def service_state(call: Call) -> Any:
    name = call.str("service")
    state = {"service": name, "name": name, "desc": name, "state": "running"}
    return {**state, "active-state": "active", "unit-state": "enabled"}


@handler("GET", "/nodes/{node}/capabilities/qemu/machines")
def machines(call: Call) -> Any:
    return [
        {"id": f"pc-{kind}-{number}", "type": kind, "version": number}
        for kind in ("i440fx", "q35")
        for number in ("10.0", "9.2", "9.0", "8.1", "7.2")
    ]


@handler("GET", "/nodes/{node}/certificates/info")
def certificates(call: Call) -> Any:
    """Made-up certificates; the root's fingerprint identifies the cluster and changes with a reset."""
    subject = "/CN=Proxmox Virtual Environment/OU=PVE Cluster Node"
    root = f"/CN=Proxmox Virtual Environment/OU={call.state.cluster_id}/O=PVE Cluster Manager CA"
    common = {"notbefore": _BOOT, "notafter": _BOOT + 10 * 365 * 86400, "public-key-bits": 4096}
    return [
        {
            "filename": "pve-root-ca.pem",
            "fingerprint": _fingerprint(call.state.cluster_id),
            "subject": root,
            "issuer": root,
            "san": [],
            "public-key-type": "rsaEncryption",
            **common,
        },
        {
            "filename": "pve-ssl.pem",
            "fingerprint": _fingerprint(f"{call.state.cluster_id}/{call.node}"),
            "subject": f"{subject}/CN={call.node}",
            "issuer": root,
            "san": ["127.0.0.1", "localhost", call.node],
            "public-key-type": "rsaEncryption",
            **common,
        },
        *uploaded(call, common),
    ]


def uploaded(call: Call, common: dict[str, Any]) -> list[dict[str, Any]]:
    """The certificate that the node shows instead of its own: ordered by ACME, or uploaded."""
    found = call.state.collection("nodes")[call.node].get("certificate")
    if not found:
        return []
    subject = f"/CN={call.node}"
    print_ = _fingerprint(found)
    return [{"filename": "pveproxy-ssl.pem", "fingerprint": print_, "subject": subject, "issuer": subject, **common}]


def _fingerprint(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest().upper()
    return ":".join(digest[i : i + 2] for i in range(0, 64, 2))

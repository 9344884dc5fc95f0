"""The states that a simulated cluster can start from, as data.

``default`` is three nodes with a VM template to clone; ``conformance`` is the single node that the recordings of a real
server start from. Both know root@pam with the password ``proxmox``.
"""

from __future__ import annotations

import copy
import secrets
from typing import Any

from pvehelm.errors import UsageError
from pvehelm.simulator.auth import hash_password
from pvehelm.simulator.state import State

PASSWORD = "proxmox"
GIB = 1024**3

_REALMS: dict[str, dict[str, Any]] = {
    "pam": {"type": "pam", "comment": "Linux PAM standard authentication", "plugin": "PVE::Auth::PAM"},
    "pve": {"type": "pve", "comment": "Proxmox VE authentication server"},
}


def _bridge(address: str, gateway: str, port: str) -> dict[str, Any]:
    return {
        "type": "bridge",
        "method": "static",
        "cidr": address,
        "address": address.partition("/")[0],
        "netmask": address.partition("/")[2],
        "gateway": gateway,
        "bridge_ports": port,
        "bridge_stp": "off",
        "bridge_fd": "0",
        "autostart": 1,
    }


def _node(number: int, address: str, gateway: str, *, ports: tuple[str, ...]) -> dict[str, Any]:
    return {
        "id": number,
        "status": "online",
        "bridges": ["vmbr0"],
        "cpus": 2 if number == 0 else 16,
        "memory": (4 if number == 0 else 64) * GIB,
        "disk": 100 * GIB,
        "network": {
            ports[0]: {"type": "eth", "method": "manual"},
            "vmbr0": _bridge(address, gateway, ports[0]),
            **{port: {"type": "eth", "method": "manual"} for port in ports[1:]},
        },
        "config": {},
        "ip": address.partition("/")[0],
    }


_LOCAL = {"type": "dir", "path": "/var/lib/vz", "content": "iso,vztmpl,backup,import", "prune-backups": "keep-all=1"}

CONFORMANCE: dict[str, Any] = {
    # The recorded machine had none of these (nor more ports than it has), and some of its answers are their absence.
    "nodes": {
        "pve1": {
            **_node(0, "10.99.99.1/24", "10.99.99.254", ports=("eno1", "eth0")),
            "qemu": "7.2.22",
            "lacks": ["genisoimage", "ipset", "network", "openvswitch", "ports"],
        }
    },
    "storage": {
        "local": _LOCAL,
        "st1": {
            "type": "dir",
            "path": "/mnt/st1",
            "content": "images,rootdir,iso,vztmpl,backup,snippets,import",
        },
    },
    "volumes": {
        "st1:vztmpl/debian-12-mini_1_amd64.tar.gz": {
            "storage": "st1",
            "node": "pve1",
            "content": "vztmpl",
            "format": "tgz",
            "size": 494,
        }
    },
    "qemu": {},
}

_NODES = ("pve-node1", "pve-node2", "pve-node3")
_TEMPLATE_TAR = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"

DEFAULT: dict[str, Any] = {
    "nodes": {
        name: _node(i, f"192.168.10.{10 + i}/24", "192.168.10.1", ports=("eno1",)) for i, name in enumerate(_NODES, 1)
    },
    "storage": {
        "local": {**_LOCAL, "content": "iso,vztmpl,backup,import,snippets"},
        "local-lvm": {"type": "lvmthin", "vgname": "pve", "thinpool": "data", "content": "images,rootdir"},
        "shared-nfs": {
            "type": "nfs",
            "server": "192.168.10.5",
            "export": "/export/pve",
            "path": "/mnt/pve/shared-nfs",
            "content": "images,rootdir,iso,vztmpl,backup,import,snippets",
        },
    },
    "volumes": {
        f"{_TEMPLATE_TAR}": {
            "storage": "local",
            "node": None,
            "nodes": list(_NODES),
            "content": "vztmpl",
            "format": "tzst",
            "size": 126515062,
        },
        "local-lvm:base-9000-disk-0": {
            "storage": "local-lvm",
            "node": "pve-node1",
            "content": "images",
            "format": "raw",
            "size": 3 * GIB,
            "vmid": 9000,
        },
        "local-lvm:vm-9000-cloudinit": {
            "storage": "local-lvm",
            "node": "pve-node1",
            "content": "images",
            "format": "raw",
            "size": 4 * 1024**2,
            "vmid": 9000,
        },
    },
    "qemu": {
        "9000": {
            "node": "pve-node1",
            "status": "stopped",
            "config": {
                "name": "debian-12-template",
                "template": 1,
                "ostype": "l26",
                "cores": 1,
                "memory": "1024",
                "cpu": "x86-64-v2-AES",
                "scsihw": "virtio-scsi-single",
                "scsi0": "local-lvm:base-9000-disk-0,discard=on,iothread=1,size=3G,ssd=1",
                "ide2": "local-lvm:vm-9000-cloudinit,media=cdrom,size=4M",
                "net0": "virtio=BC:24:11:90:00:00,bridge=vmbr0",
                "boot": "order=scsi0",
                "serial0": "socket",
                "vga": "serial0",
                "agent": "enabled=1",
                "smbios1": "uuid=4f5f4d0e-6f1b-4c9e-8a55-9000debc0012",
                "vmgenid": "b7f1f9a4-3a0b-4d8e-9f6e-9000debc0012",
                "meta": "creation-qemu=10.0.2,ctime=1735689600",
            },
            "pending": {},
            "delete": [],
            "snapshots": {},
            "firewall": {},
        }
    },
}

BASES: dict[str, dict[str, Any]] = {"default": DEFAULT, "conformance": CONFORMANCE}


def fill(state: State, base: str) -> None:
    """Put a base into an empty state. Raises UsageError for a base that does not exist."""
    if base not in BASES:
        raise UsageError(f"no base {base!r}; there is {', '.join(BASES)}")
    state.set_value("secret", secrets.token_hex(32))
    for name, documents in BASES[base].items():
        collection = state.collection(name)
        for key, document in documents.items():
            collection[key] = _complete(name, copy.deepcopy(document))
    domains = state.collection("domains")
    for realm, document in _REALMS.items():
        domains[realm] = dict(document)
    state.collection("users")["root@pam"] = {"enable": 1, "expire": 0, "password": hash_password(PASSWORD)}


def _complete(collection: str, document: dict[str, Any]) -> dict[str, Any]:
    if collection == "volumes":
        document.setdefault("ctime", 1735689600)
        document.setdefault("used", document["size"])
    return document

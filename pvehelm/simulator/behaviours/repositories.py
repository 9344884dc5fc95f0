"""The package repositories of a node. From the schema, not from recordings."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator.core import Call, handler

_PATH = "/nodes/{node}/apt/repositories"
_FILE = "/etc/apt/sources.list.d/proxmox.sources"
_HANDLES = {
    "enterprise": ("pve-enterprise", "debian/pve"),
    "no-subscription": ("pve-no-subscription", "debian/pve"),
    "test": ("pve-test", "debian/pve"),
    "ceph-squid-enterprise": ("enterprise", "debian/ceph-squid"),
    "ceph-squid-no-subscription": ("no-subscription", "debian/ceph-squid"),
    "ceph-squid-test": ("test", "debian/ceph-squid"),
}


def _entries(call: Call) -> list[dict[str, Any]]:
    found = call.state.collection("nodes")[call.node].get("repositories")
    return list(found) if found is not None else [{"handle": "enterprise", "enabled": 1}]


def _keep(call: Call, entries: list[dict[str, Any]]) -> None:
    nodes = call.state.collection("nodes")
    nodes[call.node] = {**nodes[call.node], "repositories": entries}


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    component, uri = _HANDLES[entry["handle"]]
    return {
        "Enabled": entry["enabled"],
        "Types": ["deb"],
        "URIs": [f"http://download.example.org/{uri}"],
        "Suites": ["trixie"],
        "Components": [component],
        "FileType": "sources",
    }


@handler("GET", _PATH)
def repositories(call: Call) -> Any:
    entries = _entries(call)
    states = {entry["handle"]: entry["enabled"] for entry in entries}
    files = [{"path": _FILE, "file-type": "sources", "digest": [], "repositories": [_row(entry) for entry in entries]}]
    standard = [
        {"handle": handle, "name": handle, **({"status": states[handle]} if handle in states else {})}
        for handle in _HANDLES
    ]
    return {"digest": call.digest(entries), "errors": [], "files": files, "infos": [], "standard-repos": standard}


@handler("PUT", _PATH)
def add(call: Call) -> None:
    entries = _entries(call)
    handle = call.str("handle")
    if handle not in _HANDLES:
        call.fail(f"unknown repository handle '{handle}'")
    call.check_digest(call.digest(entries))
    known = [entry for entry in entries if entry["handle"] == handle]
    for entry in known:
        entry["enabled"] = 1
    _keep(call, entries if known else [*entries, {"handle": handle, "enabled": 1}])


@handler("POST", _PATH)
def switch(call: Call) -> None:
    entries = _entries(call)
    call.check_digest(call.digest(entries))
    index = call.int("index")
    if call.str("path") != _FILE or not 0 <= index < len(entries):
        call.fail(f"invalid index - {index}")
    if call.has("enabled"):
        entries[index]["enabled"] = int(call.bool("enabled"))
    _keep(call, entries)

"""Resource mappings: PCI and USB devices and directories by name."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator.core import MODIFIED, Call, handler, split
from pvehelm.simulator.sections import Section, options

_KINDS = ("pci", "usb", "dir")
_ITEMS = [f"/cluster/mapping/{kind}/{{id}}" for kind in _KINDS]
_VIEW = ("Mapping.Audit", "Mapping.Use", "Mapping.Modify")
_PREFIX = "hardware mapping failed: "
# Directories that are taken to exist on every node, besides everything below /mnt.
_FOLDERS = frozenset(split("/ /etc /home /media /mnt /opt /root /srv /tmp /usr /usr/local /var /var/lib /var/lib/vz"))


def _section(call: Call) -> Section:
    kind = call.operation.path.split("/")[3]
    extra = " live-migration-capable mdev" if kind == "pci" else ""
    return Section(
        collection=f"mapping_{kind}",
        key="id",
        options=options({kind: (f"description map{extra}", "map")}),
        create=f"create {_PREFIX}",
        update=f"update {_PREFIX}",
        exists="{type} ID '{id}' already defined",
        missing="mapping '{id}' not found",
    )


def _kind(call: Call) -> str:
    return call.operation.path.split("/")[3]


def _check_folders(call: Call, document: dict[str, Any]) -> None:
    if _kind(call) != "dir":
        return
    for entry in document["map"]:
        for part in str(entry).split(","):
            name, _, path = part.partition("=")
            if name == "path" and path.rstrip("/") not in _FOLDERS and not path.startswith("/mnt/"):
                call.fail(f"Path {path} does not exist")


@handler("GET", *(f"/cluster/mapping/{kind}" for kind in _KINDS))
def listed(call: Call) -> Any:
    kind = _kind(call)
    found = [row for row in _section(call).listed(call) if call.may(f"/mapping/{kind}/{row['id']}", *_VIEW)]
    if call.has("check-node"):
        if call.str("check-node") not in call.state.collection("nodes"):
            call.fail(f"hostname lookup '{call.str('check-node')}' failed - no such node")
        found = [{**row, "errors" if kind == "usb" else "checks": []} for row in found]
    return found


@handler("GET", *_ITEMS)
def get(call: Call) -> Any:
    section = _section(call)
    document = section.find(call, call.str("id"))
    return {**document, "digest": section.digest(call)}


@handler("POST", *(f"/cluster/mapping/{kind}" for kind in _KINDS))
def create(call: Call) -> None:
    section = _section(call)
    document = section.new(call, call.str("id"), _kind(call))
    _check_folders(call, document)
    section.save(call, call.str("id"), document)


@handler("PUT", *_ITEMS)
def update(call: Call) -> None:
    section = _section(call)
    section.find(call, call.str("id"), section.update)
    call.check_digest(section.digest(call), section.update + MODIFIED)
    if not call.has("map"):
        call.fail(f"{section.update}missing value for required option 'map'")
    document = section.changed(call, call.str("id"))
    _check_folders(call, document)
    section.save(call, call.str("id"), document)


@handler("DELETE", *_ITEMS)
def delete(call: Call) -> None:
    call.state.collection(_section(call).collection).pop(call.str("id"), None)

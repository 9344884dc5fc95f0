"""Volumes: the disks, images, templates and backups that lie on storages.

A document of the collection ``volumes``::

    {"volid", "storage", "node" (None when the storage is shared), "content", "format", "size" (bytes), "vmid",
     "ctime", "parent" (volid of the base volume), "notes", "protected", "guest" (a backup's configuration)}

Its key is the volid; a second volume of the same name on another node's storage has ``VOLID@NODE``.
"""

from __future__ import annotations

import re
from typing import Any

from pvehelm.simulator.behaviours import storages
from pvehelm.simulator.core import Failure
from pvehelm.simulator.state import State

Volume = dict[str, Any]
MIB = 1 << 20
GIB = 1 << 30
_DISK = re.compile(r"(?:vm|base|subvol|basevol)-(\d+)-disk-(\d+)(?:\.\w+)?(?:@.*)?\Z")


def _collection(state: State) -> Any:
    return state.collection("volumes")


def _here(volume: Volume, node: str | None) -> bool:
    return node is None or volume.get("node") in (None, node)


def find(state: State, volid: str, node: str | None) -> tuple[str, Volume] | None:
    """Key and document of a volume as a node sees it (any node when None)."""
    for key in (volid, f"{volid}@{node}"):
        found = _collection(state).get(key)
        if found is not None and _here(found, node):
            return key, {"volid": volid, **found}
    return None


def get(state: State, volid: str, node: str | None) -> Volume:
    """Raises Failure ``volume '...' does not exist``."""
    found = find(state, volid, node)
    if found is None:
        raise Failure(500, f"volume '{volid}' does not exist")
    return found[1]


def of_storage(state: State, storage: str, node: str | None) -> list[Volume]:
    """The volumes of a storage as a node sees it."""
    return [
        {"volid": key.partition("@")[0], **volume}
        for key, volume in _collection(state).items()
        if volume["storage"] == storage and _here(volume, node)
    ]


def of_guest(state: State, vmid: str, node: str | None) -> list[Volume]:
    """The disks that a guest owns, wherever they lie."""
    return [
        {"volid": key.partition("@")[0], **volume}
        for key, volume in _collection(state).items()
        if str(volume.get("vmid")) == vmid and volume["content"] in ("images", "rootdir") and _here(volume, node)
    ]


def put(state: State, node: str, volid: str, now: float, **facts: Any) -> str:
    """Store a volume on a node's storage and return its volid. Raises Failure when it is there already."""
    storage, name = storages.split_volid(volid)
    found = storages.definition(state, storage)
    parsed = storages.parse_volume(found, name)
    where = None if storages.shared(found) else node
    if find(state, volid, node) is not None:
        raise Failure(500, f"volume '{volid}' already exists")
    key = volid if volid not in _collection(state) else f"{volid}@{node}"
    volume = {
        "volid": volid,
        "storage": storage,
        "node": where,
        "content": parsed["content"],
        "format": parsed["format"],
        "vmid": parsed["vmid"],
        "ctime": int(now),
        "size": 0,
        **facts,
    }
    volume.setdefault("used", volume["size"])
    _collection(state)[key] = volume
    return volid


def change(state: State, volid: str, node: str | None, **facts: Any) -> None:
    found = find(state, volid, node)
    if found is None:
        raise Failure(500, f"volume '{volid}' does not exist")
    key, volume = found
    _collection(state)[key] = {**volume, **facts}


def remove(state: State, volid: str, node: str | None) -> None:
    """Free a volume; one that is gone is no error. Raises Failure for a base volume that has clones."""
    found = find(state, volid, node)
    if found is None:
        return
    if any(volume.get("parent") == volid for volume in _collection(state).values()):
        raise Failure(500, f"base volume '{volid}' is still in use by linked cloned")
    del _collection(state)[found[0]]


def free_name(state: State, storage: str, node: str, vmid: str, format: str) -> str:
    """The volid of the next free ``vm-VMID-disk-N`` on a storage."""
    found = storages.definition(state, storage)
    volumes = _collection(state)
    used = set()
    for key in volumes:
        hit = _DISK.search(key) if key.startswith(f"{storage}:") else None
        if hit and hit[1] == vmid and _here(volumes[key], node):
            used.add(int(hit[2]))
    number = next(n for n in range(len(used) + 1) if n not in used)
    name = f"{'subvol' if format == 'subvol' else 'vm'}-{vmid}-disk-{number}"
    return f"{storage}:{vmid}/{name}.{format}" if storages.has_files(found) else f"{storage}:{name}"


def allocate(state: State, storage: str, node: str, vmid: str, size: int, now: float, format: str = "") -> Volume:
    """A new empty disk. Raises Failure when the storage or the format cannot be used."""
    found = storages.usable(state, storage, node)
    chosen = format or storages.default_format(found)
    if chosen not in storages.formats(found):
        if format and storages.has_files(found):
            raise Failure(500, f"unsupported format '{format}'")
        raise Failure(500, f"unsupported format '{chosen}'")
    volid = free_name(state, storage, node, vmid, chosen)
    put(state, node, volid, now, size=size)
    return get(state, volid, node)


def rename_owner(state: State, volid: str, node: str, vmid: str, *, base: bool = False) -> str:
    """Give a disk to another guest (or make it a base volume); returns its new volid."""
    found = find(state, volid, node)
    if found is None:
        raise Failure(500, f"volume '{volid}' does not exist")
    key, volume = found
    if base:
        head, _, last = volid.rpartition("/")
        if not head:
            head, _, last = volid.rpartition(":")
            glue = ":"
        else:
            glue = "/"
        renamed = f"{head}{glue}{re.sub(r'^(vm|subvol)-', lambda m: 'base-' if m[1] == 'vm' else 'basevol-', last)}"
    else:
        renamed = free_name(state, volume["storage"], node, vmid, volume["format"])
    del _collection(state)[key]
    for other_key, other in _collection(state).items():
        if other.get("parent") == volid:
            _collection(state)[other_key] = {**other, "parent": renamed}
    new_key = renamed if renamed not in _collection(state) else f"{renamed}@{node}"
    _collection(state)[new_key] = {**volume, "volid": renamed, "vmid": int(vmid)}
    return renamed


def linked_clone(state: State, volid: str, node: str, vmid: str, now: float) -> str:
    """A clone that stands on a base volume."""
    base = get(state, volid, node)
    storage, name = storages.split_volid(volid)
    found = storages.definition(state, storage)
    files = storages.has_files(found)
    clone = free_name(state, storage, node, vmid, "qcow2" if files and base["format"] != "subvol" else base["format"])
    if found["type"] == "lvmthin":
        # Thin volumes do not say, and do not mind, what they were cloned from.
        return put(state, node, clone, now, size=base["size"])
    parent = name if files else name.rpartition("/")[2]
    clone = f"{storage}:{parent}/{clone.partition(':')[2]}"
    return put(state, node, clone, now, size=base["size"], parent=volid)


def move_node(state: State, volid: str, source: str, target: str) -> None:
    """Take a volume of a local storage along to another node."""
    found = find(state, volid, source)
    if found is None or found[1].get("node") is None:
        return
    key, volume = found
    del _collection(state)[key]
    new_key = volid if volid not in _collection(state) else f"{volid}@{target}"
    _collection(state)[new_key] = {**volume, "node": target}

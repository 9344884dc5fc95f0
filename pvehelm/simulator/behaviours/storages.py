"""What a storage is: its definition, where it can be used, how its volumes are named and what they can do.

The facts per type (options, content, formats) are data: ``storage-types.json``. What a volume of a type and format
can do (snapshot, clone, copy, template) is the table ``_FEATURES``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from pvehelm.simulator.core import Failure, bad_parameters
from pvehelm.simulator.state import State

Definition = Mapping[str, Any]

# Types whose volumes are files below a path: `VMID/NAME.ext`, `iso/NAME`.
FILE_TYPES = frozenset({"dir", "nfs", "cifs", "btrfs", "cephfs", "glusterfs"})
SHARED_TYPES = frozenset({"iscsi", "iscsidirect", "nfs", "cifs", "cephfs", "glusterfs", "rbd", "zfs", "pbs"})
MOUNTED_TYPES = frozenset({"nfs", "cifs", "cephfs", "glusterfs"})
CONTENT_FOLDERS = {
    "iso": "template/iso",
    "vztmpl": "template/cache",
    "backup": "dump",
    "snippets": "snippets",
    "import": "import",
}

# What can be done with a volume: {type group: {feature: {state: formats}}}; state is base, current or snap.
_IMAGES = frozenset({"raw", "qcow2", "vmdk"})
_FILES: dict[str, dict[str, frozenset[str]]] = {
    "snapshot": {"current": frozenset({"qcow2"}), "snap": frozenset({"qcow2"})},
    "clone": {"base": _IMAGES},
    "template": {"current": _IMAGES | {"subvol"}},
    "copy": {"base": _IMAGES | {"subvol"}, "current": _IMAGES | {"subvol"}, "snap": frozenset({"qcow2"})},
    "rename": {"current": _IMAGES},
    "sparseinit": {"base": _IMAGES, "current": _IMAGES},
}
_ANY = frozenset({"raw", "subvol", "qcow2"})
_FEATURES: dict[str, dict[str, dict[str, frozenset[str]]]] = {
    **dict.fromkeys(("dir", "nfs", "cifs", "cephfs", "glusterfs"), _FILES),
    "btrfs": {**_FILES, "snapshot": {"current": _ANY, "snap": _ANY}, "clone": {"base": _ANY | {"vmdk"}}},
    "lvmthin": {
        "snapshot": {"current": _ANY},
        "clone": {"base": _ANY, "snap": _ANY},
        "template": {"current": _ANY},
        "copy": {"base": _ANY, "current": _ANY, "snap": _ANY},
        "rename": {"current": _ANY},
    },
    "lvm": {"copy": {"base": _ANY, "current": _ANY}, "rename": {"current": _ANY}},
    "zfspool": {
        "snapshot": {"current": _ANY, "snap": _ANY},
        "clone": {"base": _ANY},
        "template": {"current": _ANY},
        "copy": {"base": _ANY, "current": _ANY},
        "replicate": {"base": _ANY, "current": _ANY},
        "rename": {"current": _ANY},
    },
    "rbd": {
        "snapshot": {"current": _ANY, "snap": _ANY},
        "clone": {"base": _ANY, "snap": _ANY},
        "template": {"current": _ANY},
        "copy": {"base": _ANY, "current": _ANY, "snap": _ANY},
        "rename": {"current": _ANY},
    },
}
_FEATURES["zfs"] = _FEATURES["zfspool"]


@cache
def types() -> Mapping[str, Mapping[str, Any]]:
    """The facts of every storage type."""
    text = resources.files(__package__).joinpath("storage-types.json").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, Any]] = json.loads(text)
    return found


def definition(state: State, storage: str) -> dict[str, Any]:
    """The definition of a storage. Raises Failure when there is none."""
    found = state.collection("storage").get(storage)
    if found is None:
        raise Failure(500, f"storage '{storage}' does not exist")
    return found


def words(value: Any) -> list[str]:
    """A list as documents hold it: text with commas, or a list."""
    if isinstance(value, list):
        return [str(item) for item in value]
    return [word for word in re.split(r"[,;\s\0]+", str(value or "")) if word]


def contents(found: Definition) -> set[str]:
    return set(words(found.get("content") or types()[found["type"]].get("content_default", ())))


def shared(found: Definition) -> bool:
    return bool(int(found.get("shared") or 0)) or found["type"] in SHARED_TYPES


def has_files(found: Definition) -> bool:
    return found["type"] in FILE_TYPES


def on_node(found: Definition, node: str) -> bool:
    nodes = words(found.get("nodes"))
    return not nodes or node in nodes


def enabled(found: Definition) -> bool:
    return not int(found.get("disable") or 0)


def usable(state: State, storage: str, node: str) -> dict[str, Any]:
    """The definition of a storage that can be used on a node. Raises Failure otherwise."""
    found = definition(state, storage)
    if not enabled(found):
        raise Failure(500, f"storage '{storage}' is disabled")
    if not on_node(found, node):
        raise Failure(500, f"storage '{storage}' is not available on node '{node}'")
    return found


def check_content(found: Definition, storage: str, content: str) -> None:
    """Raises Failure unless a storage takes disks of VMs (``images``) or of containers (``rootdir``)."""
    if content not in contents(found):
        what = "vm images" if content == "images" else "container directories"
        errors = {"storage": f"storage '{storage}' does not support {what}"}
        raise bad_parameters(errors)


def default_format(found: Definition) -> str:
    return str(found.get("format") or types()[found["type"]].get("format_default", "raw"))


def formats(found: Definition) -> list[str]:
    return list(types()[found["type"]].get("formats", ("raw",)))


def can(found: Definition, feature: str, format: str, state: str) -> bool:
    """Whether a volume in ``format`` and ``state`` (base, current, snap) has a feature."""
    return format in _FEATURES.get(found["type"], {}).get(feature, {}).get(state, ())


def path_of(found: Definition) -> str:
    """Where the files of a storage are."""
    return str(found.get("path") or f"/mnt/pve/{found.get('storage', '')}")


# -- names of volumes --------------------------------------------------------------------------------------------

_GUEST_FILE = re.compile(
    r"(?:(?P<parent>(?:\d+/)?base-\d+-[^/]+)/)?(?P<owner>\d+)/"
    r"(?P<name>(?P<base>base-)?[^/\s]+\.(?P<format>raw|qcow2|vmdk|subvol))\Z"
)
_GUEST_NAME = re.compile(
    r"(?:(?P<parent>base-\d+-[^/]+)/)?(?P<name>(?P<base>base|vm|subvol|basevol)-(?P<owner>\d+)-\S+)\Z"
)
_TEMPLATE_FORMATS = ("tar.gz", "tar.xz", "tar.zst", "tar.bz2", "tar")
_BACKUP = re.compile(
    r"vzdump-(?P<kind>qemu|lxc|openvz)-(?P<owner>\d+)-.+\.(?P<format>(?:tgz|tar|vma)(?:\.(?:gz|lzo|zst|bz2))?)\Z"
)


def parse_volume(found: Definition, name: str) -> dict[str, Any]:
    """What the name of a volume (behind the storage's ``:``) says.

    ``{"content": images|iso|..., "name": last part, "format": ..., "vmid": owner or None, "base": bool,
    "parent": name of the base volume or None}``. Raises Failure for a name that is none.
    """
    if not has_files(found):
        hit = _GUEST_NAME.match(name)
        if hit is None:
            kind = {"lvmthin": "lvm", "zfspool": "zfs"}.get(found["type"], found["type"])
            raise Failure(500, f"unable to parse {kind} volume name '{name}'")
        format = "subvol" if hit["base"] in ("subvol", "basevol") else "raw"
        base = hit["base"] in ("base", "basevol")
        return _facts("images", hit["name"], format, hit["owner"], base, hit["parent"])
    hit = _GUEST_FILE.match(name)
    if hit is not None:
        return _facts("images", hit["name"], hit["format"], hit["owner"], bool(hit["base"]), hit["parent"])
    content, _, rest = name.partition("/")
    wanted = {"iso": r"[^/]+\.(iso|img)", "vztmpl": r"[^/]+\.(tar(\.(gz|xz|zst|bz2))?|tgz)", "snippets": r"[^/]+"}
    if content in wanted and re.fullmatch(wanted[content], rest, re.IGNORECASE):
        return _facts(content, rest, _file_format(content, rest))
    if content == "import" and re.fullmatch(r"[^/]+\.(ova|ovf|qcow2|raw|vmdk|img)", rest):
        return _facts(content, rest, rest.rpartition(".")[2])
    if content == "backup":
        hit = _BACKUP.match(rest)
        if hit is not None:
            return {**_facts(content, rest, hit["format"], hit["owner"]), "subtype": hit["kind"]}
        if re.fullmatch(r"[^/]+\.(tgz|tar|vma)(\.(gz|lzo|zst|bz2))?", rest):
            return _facts(content, rest, rest.partition(".")[2])
    raise Failure(500, f"unable to parse directory volume name '{name}'")


def _facts(
    content: str, name: str, format: str, owner: str | None = None, base: bool = False, parent: str | None = None
) -> dict[str, Any]:
    return {
        "content": content,
        "name": name,
        "format": format,
        "vmid": int(owner) if owner else None,
        "base": base,
        "parent": parent,
    }


def _file_format(content: str, name: str) -> str:
    if content == "iso":
        return "iso"
    if content == "snippets":
        return "snippet"
    # A template's compression in three letters: tar.gz -> tgz.
    for ending in _TEMPLATE_FORMATS:
        if name.endswith("." + ending):
            return "t" + ending.partition(".")[2] if "." in ending else "tar"
    return "tgz"


def split_volid(volid: str) -> tuple[str, str]:
    """``st1:100/vm-100-disk-0.raw`` -> ``("st1", "100/vm-100-disk-0.raw")``. Raises Failure."""
    storage, colon, name = volid.partition(":")
    if not colon or not name or not re.fullmatch(r"[A-Za-z][\w.-]*[A-Za-z0-9]", storage):
        raise Failure(500, f"unable to parse volume ID '{volid}'")
    return storage, name

"""A live object back in the words of a manifest: the opposite of lowering.

What comes out says what the server has configured, in the friendly form where that loses nothing, and lowers to the
same fields again: a plan made of it on the same object is empty. What the server never shows is not in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pvehelm.api import formats
from pvehelm.api.guests import GuestKind
from pvehelm.api.kind import Kind, Live, get_leaf
from pvehelm.api.lowering import MAC_KEY, VOLUME_KEY, is_volume
from pvehelm.api.schema import Facts
from pvehelm.api.typeoptions import options_of

API_VERSION = "proxmox.io/v1"
# Of a configuration, but not a matter of a manifest.
_UNSAID = re.compile(
    r"(unused\d+|cipassword|vmgenid|meta|lock|pool|power|node|started|template|cloudInitDrive|vmid|digest)\Z"
)
_BUSES = ("scsi", "virtio", "sata", "ide")


def manifest(kind: Kind, live: Live, name: str, namespace: str = "default") -> dict[str, Any]:
    """A manifest of a live object: apiVersion, kind, metadata and spec."""
    metadata: dict[str, Any] = {"name": name}
    if kind.namespaced and namespace not in ("", "default"):
        metadata["namespace"] = namespace
    spec = _guest(kind, live) if isinstance(kind, GuestKind) else _plain(kind, live)
    return {"apiVersion": API_VERSION, "kind": kind.name, "metadata": metadata, "spec": spec}


# -- kinds of the schema -----------------------------------------------------------------------------------------


def _plain(kind: Any, live: Live) -> dict[str, Any]:
    table = kind.table
    spec: dict[str, Any] = {}
    place = ""
    if kind.scoped:
        scope = str(live.key.get("scope", "cluster"))
        spec["scope"] = scope
        place = str(live.key.get("guest") or {"VirtualMachine": "vm", "Container": "ct"}.get(scope.split("/")[0], ""))
        place = place or scope.partition("/")[0]
    if table.strategy == "entries":
        return _entries(kind, live)
    for name, rule in table.fields.items():
        wire = rule.wire or name
        if rule.identity and live.key.get(wire) not in (None, ""):
            spec[name] = _sid(live.key[wire]) if rule.guest == "sid" else live.key[wire]
    options = options_of(table.type_options, str(live.fields.get("type"))) if table.type_options else None
    for wire, value in live.fields.items():
        name = kind.table_name(wire)
        derived = options is not None and name not in table.fields and wire not in (*options["options"], "type")
        if value is None or derived or name in table.drop:
            continue
        spec[name] = _words(kind.facts(name, place), value)
    return spec


def _entries(kind: Any, live: Live) -> dict[str, Any]:
    spec: dict[str, Any] = {"path": live.key["path"], "role": live.key["role"]}
    for leaf, propagate in sorted(live.fields.items()):
        word, _, subject = leaf.replace("%2E", ".").partition(":")
        spec.setdefault(kind.PARAMS[word], []).append(subject)
        if not propagate:
            spec["propagate"] = False
    return spec


def _sid(value: Any) -> Any:
    """``vm:100`` as a manifest names a guest that it does not know by name: the bare VMID."""
    number = str(value).rpartition(":")[2]
    return int(number) if number.isdecimal() else value


def _words(facts: Facts, value: Any) -> Any:
    """Booleans and whole numbers as such, in a value of normal form."""
    known = formats.subkeys(facts)
    if isinstance(value, Mapping):
        return {key: _words((known or {}).get(key, {}), inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [{k: v for k, v in row.items() if v is not None} if isinstance(row, Mapping) else row for row in value]
    if facts.get("type") == "boolean" and str(value) in ("0", "1", "True", "False"):
        return str(value) in ("1", "True")
    return _number(value) if facts.get("type") == "integer" else value


# -- guests ------------------------------------------------------------------------------------------------------


def _guest(kind: GuestKind, live: Live) -> dict[str, Any]:
    fields = {name: _typed(kind, name, value) for name, value in live.fields.items()}
    machine = kind.flavour == "qemu"
    fields.pop(kind.name_field, None)
    if isinstance(fields.get("smbios1"), Mapping) and set(fields["smbios1"]) <= {"uuid"}:
        del fields["smbios1"]  # made by the server
    spec: dict[str, Any] = {"node": live.key["node"], "vmid": int(live.key["vmid"])}
    spec |= _friendly(fields, "cpu", _cpu_keys(kind, fields))
    spec |= _memory(kind, fields)
    if machine:
        spec |= _agent(fields)
        spec |= _cloud_init(fields)
        disks = _disks(fields)
        if disks:
            spec["disks"] = disks
    else:
        spec |= _mounts(fields)
    networks = _networks(kind, fields)
    if networks:
        spec["networks"] = networks
    if fields.get("template"):
        spec["isTemplate"] = True
    elif fields.get("power"):
        spec["power"] = fields["power"]
    for name, value in fields.items():
        if not _UNSAID.match(name) and value not in (None, "", [], {}):
            volume = is_volume(kind.flavour, name) and isinstance(value, Mapping)
            spec[name] = _options(kind.flavour, value) if volume else value
    return spec


def _typed(kind: GuestKind, name: str, value: Any) -> Any:
    param = kind.param(name)
    return _words(param.facts, value) if param else value


def _friendly(fields: dict[str, Any], name: str, keys: Mapping[str, str]) -> dict[str, Any]:
    """A friendly map from leaves; they are taken out of ``fields``."""
    found = {}
    for key, leaf in keys.items():
        value = get_leaf(fields, leaf)
        if value is not None and key not in found:
            found[key] = value
    for leaf in keys.values():
        head, dot, sub = leaf.partition(".")
        if not dot:
            fields.pop(head, None)
        elif isinstance(fields.get(head), Mapping):
            fields[head] = {k: v for k, v in fields[head].items() if k != sub}
            if not fields[head]:
                del fields[head]
    return {name: found} if found else {}


def _cpu_keys(kind: Any, fields: Mapping[str, Any]) -> dict[str, str]:
    """The keys of the friendly map that may be used: ``cpu`` as a whole stays native when it says more than them."""
    keys = dict(kind.cpu_keys)
    said = fields.get("cpu")
    known = {leaf.partition(".")[2] for leaf in keys.values() if leaf.startswith("cpu.")}
    if said is not None and (not isinstance(said, Mapping) or set(said) - known):
        # `cpu` can be the friendly map or the native text, not both.
        return {}
    return keys


def _memory(kind: Any, fields: dict[str, Any]) -> dict[str, Any]:
    if isinstance(fields.get("memory"), Mapping):
        return {}
    if kind.flavour == "lxc" and fields.get("swap") is not None:
        return {"memory": {"size": _number(fields.pop("memory", 512)), "swap": _number(fields.pop("swap"))}}
    return {"memory": _number(fields.pop("memory"))} if fields.get("memory") is not None else {}


def _agent(fields: dict[str, Any]) -> dict[str, Any]:
    agent = fields.pop("agent", None)
    if agent is None:
        return {}
    if isinstance(agent, Mapping):
        rest = {key: value for key, value in agent.items() if key != "enabled"}
        on = bool(agent.get("enabled"))
        return {"agent": {"enabled": on, **rest} if rest else on}
    return {"agent": agent if isinstance(agent, bool) else str(agent) == "1"}


def _cloud_init(fields: dict[str, Any]) -> dict[str, Any]:
    if not fields.get("cloudInitDrive"):
        return {}
    found: dict[str, Any] = {}
    plain = {
        "ciuser": "user",
        "sshkeys": "sshKeys",
        "nameserver": "nameserver",
        "searchdomain": "searchDomain",
        "ciupgrade": "upgrade",
        "citype": "type",
    }
    for name, friendly in plain.items():
        if fields.get(name) not in (None, "", []):
            found[friendly] = fields.pop(name)
    names = {"ip": "ip", "gw": "gateway", "ip6": "ip6", "gw6": "gateway6"}
    first = fields.pop("ipconfig0", None)
    if isinstance(first, Mapping):
        found |= {names[key]: value for key, value in first.items() if key in names}
    others = {slot: dict(fields.pop(slot)) for slot in sorted(fields) if re.fullmatch(r"ipconfig\d+", slot)}
    if others:
        found["ipConfigs"] = others
    for slot in [name for name, value in fields.items() if is_volume("qemu", name) and _is_cloud_init(value)]:
        del fields[slot]
    return {"cloudInit": found}


def _is_cloud_init(value: Any) -> bool:
    return isinstance(value, Mapping) and "cloudinit" in str(value.get("file", ""))


def _disks(fields: dict[str, Any]) -> list[dict[str, Any]]:
    def order(slot: str) -> tuple[int, int]:
        bus = slot.rstrip("0123456789")
        return _BUSES.index(bus), int(slot[len(bus) :])

    slots = [slot for slot in fields if slot.rstrip("0123456789") in _BUSES and re.search(r"\d\Z", slot)]
    disks = []
    for slot in sorted(slots, key=order):
        value = fields.pop(slot)
        if isinstance(value, Mapping):
            disks.append({"slot": slot, **_options("qemu", value)})
        else:
            fields[slot] = value
    return disks


def _options(flavour: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """A drive or mount point: by storage and size where the storage made it, by its volume otherwise."""
    key = VOLUME_KEY[flavour]
    volume = str(value.get(key, ""))
    given = {name: inner for name, inner in value.items() if name != key and inner is not None}
    made_here = volume.partition(":")[0] == given.get("storage") and value.get("media") != "cdrom"
    if volume and not made_here:
        given.pop("storage", None)
        if value.get("media") == "cdrom":
            given.pop("size", None)
        return {key: volume, **given}
    first: dict[str, Any] = {name: given.pop(name) for name in ("storage", "size") if name in given}
    return {**first, **given}


def _mounts(fields: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    rootfs = fields.pop("rootfs", None)
    if isinstance(rootfs, Mapping):
        spec["rootfs"] = _options("lxc", rootfs)
    mounts = {}
    for slot in sorted(name for name in fields if re.fullmatch(r"mp\d+", name)):
        options = _options("lxc", fields.pop(slot))
        path = options.pop("mp", None)
        mounts[slot] = {**options, "path": path} if path else options
    return spec | ({"mounts": mounts} if mounts else {})


def _networks(kind: GuestKind, fields: dict[str, Any]) -> list[dict[str, Any]]:
    slots = sorted((name for name in fields if re.fullmatch(r"net\d+", name)), key=lambda name: int(name[3:]))
    networks = []
    for index, slot in enumerate(slots):
        value = fields.pop(slot)
        if not isinstance(value, Mapping):
            fields[slot] = value
            continue
        given = {key: inner for key, inner in value.items() if inner is not None}
        mac = given.pop(MAC_KEY[kind.flavour], None)
        first: dict[str, Any] = {} if slot == f"net{index}" else {"slot": slot}
        networks.append({**first, **given, **({"mac": mac} if mac else {})})
    return networks


def _number(value: Any) -> Any:
    return int(value) if str(value).isdecimal() else value

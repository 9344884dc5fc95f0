"""What matters of a live object: its manifest without what the server would say again by itself.

Left out are defaults, hardware addresses and identifiers of the server's making, and whether a guest happens to run.
What the server keeps to itself (a cloud-init password) becomes a reference with a note. Everything else stays, so that
a plan made of the manifest on the same object is empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pvehelm.api import formats
from pvehelm.api.guests import GuestKind
from pvehelm.api.kind import Kind, Live
from pvehelm.api.lowering import MAC_KEY, is_volume
from pvehelm.api.raising import manifest
from pvehelm.api.schema import Facts
from pvehelm.api.typeoptions import options_of
from pvehelm.errors import Problem

# The addresses that Proxmox VE makes up begin with this, unless the cluster has another prefix.
MAC_PREFIX = "BC:24:11"
# Said even where it is the default: whoever reads a machine's manifest looks for it.
SAID = frozenset(
    {"cores", "memory", "size", "storage", "slot", "enabled", "enable", "type", "action", "file", "volume"}
)


@dataclass(frozen=True)
class Document:
    """A manifest as plain data, what a reader has to know of it, and why it can't be applied as it stands."""

    manifest: dict[str, Any]
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def ref(self) -> str:
        return f"{self.manifest['kind']}/{self.manifest['metadata']['name']}"

    @property
    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.manifest["spec"]
        return spec


@dataclass(frozen=True)
class Bare:
    """A manifest seen by ``Kind.validate`` before it is one of a file."""

    kind: str
    name: str
    namespace: str | None
    spec: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        return f"{self.kind}/{self.name}"


def essential(
    kind: Kind, live: Live, name: str, namespace: str = "default", *, mac_prefix: str = "", keep_macs: bool = False
) -> Document:
    """The manifest of a live object with only the keys that matter. ``mac_prefix`` is what the cluster's own hardware
    addresses begin with; ``keep_macs`` leaves them all in."""
    whole = manifest(kind, live, name, namespace)
    notes: list[str] = []
    if isinstance(kind, GuestKind):
        spec = _guest(kind, live, name, dict(whole["spec"]), notes, mac_prefix or MAC_PREFIX, keep_macs)
    else:
        spec = _plain(kind, whole["spec"])
        notes += _secrets(kind, name, spec)
    before, after = _problems(kind, whole, whole["spec"]), _problems(kind, whole, spec)
    if len(after) > len(before):
        spec = {**whole["spec"], **{key: value for key, value in spec.items() if key not in whole["spec"]}}
        after = _problems(kind, whole, spec)
    return Document({**whole, "spec": spec}, tuple(notes), tuple(after))


def _problems(kind: Kind, whole: Mapping[str, Any], spec: Mapping[str, Any]) -> list[Problem]:
    metadata = whole["metadata"]
    bare = Bare(whole["kind"], metadata["name"], metadata.get("namespace"), spec, metadata)
    return [problem for _, problem in kind.validate(bare)]


def reference(name: str, what: str) -> str:
    """Where a secret of an object may come from: ``secret://env/WEB_0_PASSWORD``."""
    return "secret://env/" + re.sub(r"[^A-Z0-9]+", "_", f"{name}_{what}".upper()).strip("_")


# -- kinds of the schema -----------------------------------------------------------------------------------------


def _plain(kind: Any, spec: Mapping[str, Any]) -> dict[str, Any]:
    scope = str(spec.get("scope", "cluster"))
    place = {"VirtualMachine": "vm", "Container": "ct"}.get(scope.partition("/")[0], scope.partition("/")[0])
    identity = {name for name, rule in kind.table.fields.items() if rule.identity}
    required = {name for name, one in kind.fields().items() if one.required}
    left: dict[str, Any] = {}
    for name, value in spec.items():
        facts = {} if name in ("scope", "path", "role") else kind.facts(name, "vm" if scope.isdigit() else place)
        if name in identity | required or name in SAID or not _is_default(facts, value):
            left[name] = [_row(row) for row in value] if isinstance(value, list) else _trimmed(facts, value)
    return left


def _row(row: Any) -> Any:
    """A row of a list: rules are enabled unless they say otherwise, and a flag is one."""
    if not isinstance(row, Mapping):
        return row
    flags = {key: bool(int(row[key])) for key in ("enable", "nomatch") if str(row.get(key)) in ("0", "1")}
    return {key: value for key, value in {**row, **flags}.items() if (key, value) not in PLAIN_FLAGS}


PLAIN_FLAGS = (("enable", True), ("nomatch", False))


def _secrets(kind: Any, name: str, spec: dict[str, Any]) -> list[str]:
    """Required fields that no server shows, as references; the others are only told."""
    notes, silent = [], []
    table = kind.table
    options = options_of(table.type_options, str(spec.get("type"))) if table.type_options else None
    for field_name, one in kind.fields().items():
        if not one.write_only or field_name in spec or "[" in field_name:
            continue
        if options is not None and field_name not in options["options"]:
            continue
        if one.required:
            spec[field_name] = reference(name, field_name)
            notes.append(f"{field_name} is not shown by the server: {spec[field_name]} stands for it")
        else:
            silent.append(field_name)
    if silent:
        notes.append(f"not shown by the server, and left as it is there: {', '.join(sorted(silent))}")
    return notes


# -- guests ------------------------------------------------------------------------------------------------------


def _guest(
    kind: GuestKind, live: Live, name: str, spec: dict[str, Any], notes: list[str], prefix: str, keep_macs: bool
) -> dict[str, Any]:
    power = spec.pop("power", None)
    if isinstance(spec.get("smbios1"), Mapping):
        spec["smbios1"] = {key: value for key, value in spec["smbios1"].items() if key != "uuid"}
    spec["networks"] = [_network(kind, one, prefix, keep_macs) for one in spec.get("networks", ())]
    disks = [{"slot": one["slot"], **_volume(kind, one["slot"], one)} for one in spec.get("disks", ())]
    spec["disks"] = _unnumbered(disks, "scsi")
    for slot in [slot for slot in ("rootfs", "efidisk0", "tpmstate0") if isinstance(spec.get(slot), Mapping)]:
        spec[slot] = _volume(kind, slot, spec[slot])
    if isinstance(spec.get("mounts"), Mapping):
        spec["mounts"] = {slot: _volume(kind, slot, one) for slot, one in spec["mounts"].items()}
    if isinstance(spec.get("cpu"), Mapping):
        keys: Mapping[str, str] = kind.cpu_keys
        spec["cpu"] = {
            key: _number(_leaf_facts(kind, keys.get(key, key)), value)
            for key, value in spec["cpu"].items()
            if key in SAID or not _is_default(_leaf_facts(kind, keys.get(key, key)), value)
        }
    for field_name, value in list(spec.items()):
        param = kind.param(field_name)
        if param is not None and field_name not in SAID and not is_volume(kind.flavour, field_name):
            if _is_default(param.facts, value):
                del spec[field_name]
            elif isinstance(value, Mapping) and field_name != "cpu":
                spec[field_name] = _trimmed(param.facts, value)
            else:
                spec[field_name] = _number(param.facts, value)
    if live.fields.get("cipassword"):
        _password(name, spec, notes)
    if power == "stopped" and not spec.get("isTemplate"):
        spec["power"] = "unmanaged"
    if kind.flavour == "lxc" and not spec.get("isTemplate"):
        notes.append("no server tells what it was made from: with an image it could be made again")
    notes += [f"{key} is privileged: --allow-privileged {key}" for key in ("args", "hookscript") if spec.get(key)]
    return {key: value for key, value in spec.items() if value not in ([], {}, None, "") or key == "cloudInit"}


def _password(name: str, spec: dict[str, Any], notes: list[str]) -> None:
    stands = reference(name, "password")
    if isinstance(spec.get("cloudInit"), Mapping):
        spec["cloudInit"] = {**spec["cloudInit"], "password": stands}
    else:
        spec["cipassword"] = stands
    notes.append(f"the cloud-init password is not shown by the server: {stands} stands for it")


def _network(kind: GuestKind, one: Mapping[str, Any], prefix: str, keep_macs: bool) -> dict[str, Any]:
    facts = _leaf_facts(kind, "net0")
    made: dict[str, Any] = _trimmed(facts, one, but=("slot", "bridge", "model", "name", "ip"))
    mac = str(made.get("mac") or made.get(MAC_KEY[kind.flavour]) or "")
    if mac and not keep_macs and is_made_up(mac, prefix):
        made = {key: value for key, value in made.items() if key not in ("mac", MAC_KEY[kind.flavour])}
    if kind.flavour == "qemu" and made.get("model") == "virtio":
        del made["model"]  # what a network card is unless another model is asked for
    if kind.flavour == "lxc" and made.get("type") == "veth":
        del made["type"]
    return made


def is_made_up(mac: str, prefix: str) -> bool:
    """Whether a hardware address looks like one that the server drew: by its prefix, or as locally administered."""
    mac = mac.upper()
    return mac.startswith((MAC_PREFIX, prefix.upper())) or bool(int(mac[:2], 16) & 2)


def _volume(kind: GuestKind, slot: str, one: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = _trimmed(_leaf_facts(kind, slot), {k: v for k, v in one.items() if k != "slot"})
    return made


def _unnumbered(items: Sequence[Mapping[str, Any]], bus: str) -> list[dict[str, Any]]:
    """Disks without their slot where the place in the list says it."""
    return [
        {key: value for key, value in one.items() if key != "slot"} if one["slot"] == f"{bus}{index}" else dict(one)
        for index, one in enumerate(items)
    ]


def _leaf_facts(kind: GuestKind, leaf: str) -> Facts:
    name, dot, sub = leaf.partition(".")
    param = kind.param(name)
    if param is None:
        return {}
    return (formats.subkeys(param.facts) or {}).get(sub, {}) if dot else param.facts


# -- defaults ----------------------------------------------------------------------------------------------------


def _is_default(facts: Facts, value: Any) -> bool:
    """Whether a value is what the field means when it is not there."""
    if isinstance(value, Mapping | list) or value is None or facts.get("default") is None:
        return False
    default = facts["default"]
    if facts.get("type") == "boolean":
        return str(default) in ("0", "1") and str(int(value) if isinstance(value, bool) else value) == str(default)
    # Other types have defaults in prose ("autodetected"); those that are values of their own type are told apart.
    plain = facts.get("type") in ("integer", "number") or "enum" in facts
    return plain and str(default) == str(value)


def _trimmed(facts: Facts, value: Any, but: Sequence[str] = ()) -> Any:
    """A property string without the sub-keys that say their default."""
    known = formats.subkeys(facts)
    if not isinstance(value, Mapping) or not known:
        return value
    return {
        key: _number(known.get(key, {}), inner)
        for key, inner in value.items()
        if key in but
        or key in SAID
        or known.get(key, {}).get("default_key")
        or not _is_default(known.get(key, {}), inner)
    }


def _number(facts: Facts, value: Any) -> Any:
    """A number as one, where the server has it as text."""
    if facts.get("type") != "number" or not re.fullmatch(r"\d+(\.\d+)?", str(value)):
        return value
    return float(value) if "." in str(value) else int(value)

"""The friendly spec of a guest, lowered to the API's own fields in normal form.

People write ``cpu: {cores: 4}``, ``disks: [{storage: local-lvm, size: 50G}]``, ``cloudInit: {user: debian}``; the API
wants ``cores``, ``scsi0``, ``ciuser``. Both may stand side by side as long as they do not name the same field. Volumes
have a normal form of their own: ``{"storage": "local-lvm", "size": "50G", ...options}``, whatever the wire calls it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

from pvehelm.api import formats, values
from pvehelm.api.kind import Kind, Manifest
from pvehelm.api.mark import MARK
from pvehelm.api.schema import Facts, Param
from pvehelm.errors import InvalidError, Problem
from pvehelm.suggest import did_you_mean

Path = tuple[str | int, ...]

# What the server or another part of a manifest decides; never spec fields.
ELSEWHERE = {
    "name": "the guest's name is metadata.name",
    "hostname": "the container's name is metadata.name",
    "pool": "pool membership comes from metadata.namespace",
    "start": "use power: running",
    "ostemplate": "use image",
    "digest": "pvehelm handles it",
    "delete": "set a field to null to unset it",
    "revert": "use the revert of the server's pending changes",
    "skiplock": "not a field",
    "force": "not a field",
    "lock": "not a field: the server sets it while it works",
    "meta": "the server writes it",
    "parent": "the server writes it",
    "background_delay": "not a field",
    "restore": "restoring backups is not creating a guest",
    "archive": "restoring backups is not creating a guest",
    "live-restore": "restoring backups is not creating a guest",
    "unique": "restoring backups is not creating a guest",
    "ha-managed": "use kind HAResource",
    "import-working-storage": "not a field",
    "ignore-unpack-errors": "not a field",
    "bwlimit": "not a field",
    "storage": "name the storage of each disk",
}
VOLUME_BUSES = {
    "qemu": ("scsi", "virtio", "sata", "ide", "efidisk", "tpmstate"),
    "lxc": ("rootfs", "mp"),
}
VOLUME_KEY = {"qemu": "file", "lxc": "volume"}
MAC_KEY = {"qemu": "macaddr", "lxc": "hwaddr"}
# The options of a disk that are people's words for the wire's.
DISK_ALIASES = {"importFrom": "import-from", "volume": "file"}
MOUNT_ALIASES = {"path": "mp", "file": "volume"}
SECRET = "secret://"
MIB = 1024 * 1024


def is_secret(value: Any) -> bool:
    return isinstance(value, str) and SECRET in value


@lru_cache(1024)
def _bus(name: str) -> str:
    return re.sub(r"\d+\Z", "", name)


def is_volume(flavour: str, name: str) -> bool:
    """Whether a field names a disk, a mount point or the like (``scsi0``, ``rootfs``, ``mp3``)."""
    return _bus(name) in VOLUME_BUSES[flavour]


@dataclass
class Lowering:
    """One guest being lowered; collects fields, their origins and every problem."""

    kind: Kind
    flavour: str  # qemu | lxc
    params: Mapping[str, Param]
    find: Callable[[str], Param | None]
    resource: Manifest
    # The VMID (or its placeholder) of a guest by reference, see Kind.lower.
    resolve: Callable[[str], str | None]
    fields: dict[str, Any] = field(default_factory=dict)
    once: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Path] = field(default_factory=dict)
    problems: list[tuple[Path, Problem]] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    privileged: list[str] = field(default_factory=list)
    friendly: tuple[str, ...] = ()

    # -- collecting --------------------------------------------------------------------------------------------

    def problem(self, path: Path, what: str, hint: str = "") -> None:
        self.problems.append((path, Problem(".".join(map(str, path)), what, hint)))

    def put(self, leaf: str, value: Any, path: Path) -> None:
        """Record one leaf; a second source of the same leaf is an error that names both."""
        if leaf in self.origins:
            first = ".".join(map(str, self.origins[leaf][1:]))
            self.problem(path, f"{leaf} is already set by spec.{first}", "write it once")
            return
        self.origins[leaf] = path
        name, dot, sub = leaf.partition(".")
        if not dot:
            if isinstance(value, Mapping):
                for key, inner in value.items():
                    self.put(f"{name}.{key}", inner, path)
            elif isinstance(self.fields.get(name), Mapping):
                self.problem(path, f"{name} is set as a whole and by its parts", "write it once")
            else:
                self.fields[name] = value
            return
        inner_map = self.fields.setdefault(name, {})
        if not isinstance(inner_map, dict):
            self.problem(path, f"{name} is set as a whole and by its parts", "write it once")
            return
        inner_map[sub] = value

    def facts(self, name: str) -> Facts | None:
        """The facts of a native field (``net0`` finds ``net[n]``), or None."""
        param = self.find(name)
        return param.facts if param else None

    def _names(self) -> list[str]:
        return [name for param in self.params.values() for name in param.names()]

    # -- native fields -----------------------------------------------------------------------------------------

    def native(self, name: str, value: Any, path: Path) -> None:
        """A field under its API name."""
        facts = self.facts(name)
        if facts is None or name in ELSEWHERE:
            hint = ELSEWHERE.get(name) or did_you_mean(name, [*self.friendly, *self._names()])
            self.problem(path, f"unknown field {name!r} of kind {self.kind.name}", hint)
            return
        if name == "description" and MARK.search(str(value)):
            # Ours would go one day and leave this one, by which the guest were another release's.
            self.problem(path, "a description can't hold a mark of ownership", "leave it out: pvehelm writes its own")
        elif value is None:
            self.put(name, None, path)
        elif name == "sshkeys":
            self.put(name, ssh_keys(value), path)
        elif is_volume(self.flavour, name):
            self.volume(name, value, path)
        elif formats.subkeys(facts):
            self.property_string(name, facts, value, path)
        elif str(facts.get("format", "")).endswith("-list") or name == "tags":
            rows = [str(row) for row in value] if isinstance(value, list) else formats.split_list(str(value))
            self.check(name, facts, ",".join(rows), path)
            self.put(name, rows, path)
        else:
            value = word_of(facts, value)
            if isinstance(value, list) and facts.get("type") == "string":
                value = " ".join(map(str, value))
            self.check(name, facts, value, path)
            self.put(name, value, path)

    def check(self, name: str, facts: Facts, value: Any, path: Path) -> None:
        if is_secret(value):
            return
        if isinstance(value, bool):
            value = int(value)
        for _, what in formats.check_value(facts, value, name=name):
            self.problem(path, what, describe_bounds(facts))

    def _parsed(self, facts: Facts, text: str, path: Path) -> Mapping[str, Any] | None:
        """The sub-keys of a property string; None when it is none, which is reported."""
        try:
            return formats.parse(facts["format"], text)
        except InvalidError as error:
            for found in error.problems or (Problem("", str(error)),):
                self.problem(path, found.what, found.hint)
            return None

    def property_string(self, name: str, facts: Facts, value: Any, path: Path) -> None:
        """A property string given as text or as a map of its sub-keys."""
        known = formats.subkeys(facts) or {}
        if not isinstance(value, Mapping):
            if isinstance(value, bool):
                value = int(value)
            if is_secret(value):
                self.put(name, value, path)
                return
            parsed = self._parsed(facts, str(value), path)
            if parsed is not None:
                self.put(name, collapse(parsed, known), path)
            return
        found_map: dict[str, Any] = {}
        for key, inner in value.items():
            sub = known.get(str(key))
            where = (*path, str(key))
            if sub is None:
                self.problem(where, f"unknown key {str(key)!r} of {name}", did_you_mean(str(key), known))
                continue
            while "alias" in sub and "keyAlias" not in sub:
                key = str(sub["alias"])
                sub = known[key]
            if inner is not None:
                inner = word_of(sub, inner)
                if isinstance(inner, list):
                    inner = ";".join(map(str, inner))
                self.check(str(key), sub, inner, where)
            found_map[str(key)] = inner
        collapsed = collapse(found_map, known)
        if not isinstance(collapsed, Mapping):
            self.put(name, collapsed, path)
            return
        for key, inner in collapsed.items():
            self.put(f"{name}.{key}", inner, (*path, key) if key in value else path)

    # -- volumes -----------------------------------------------------------------------------------------------

    def volume(self, slot: str, value: Any, path: Path) -> None:
        """A disk or mount point as text (``local-lvm:50,discard=on``) or as a map (``{storage, size, ...}``)."""
        facts = self.facts(slot)
        if facts is None:
            self.problem(path, f"there is no slot {slot!r}", did_you_mean(slot, self._names()))
            return
        if value is None:
            self.put(slot, None, path)
            return
        known = formats.subkeys(facts) or {}
        if not isinstance(value, Mapping):
            value = self._parsed(facts, str(value), path)
            if value is None:
                return
        aliases = MOUNT_ALIASES if self.flavour == "lxc" else DISK_ALIASES
        options: dict[str, Any] = {}
        for key, inner in value.items():
            where = (*path, str(key))
            name = aliases.get(str(key), str(key))
            if name == "slot":
                continue
            if name == "storage":
                options["storage"] = inner
            elif name == "size":
                try:
                    options["size"] = None if inner is None else formats.format_size(size_of(inner))
                except ValueError as error:
                    self.problem(where, str(error), "for example 32G or 512M")
            elif name not in known:
                self.problem(
                    where,
                    f"unknown disk option {str(key)!r}",
                    did_you_mean(str(key), [*known, "storage", "slot", "importFrom"]),
                )
            else:
                inner = word_of(known[name], inner)
                if inner is not None and name != VOLUME_KEY[self.flavour]:
                    self.check(name, known[name], inner, where)
                options[name] = inner
        self._allocation(options)
        if options.get("import-from"):
            self.once[f"{slot}.import-from"] = options.pop("import-from")
        if not options:
            self.problem(path, f"{slot} says neither storage nor volume")
        if isinstance(options.get("storage"), str) and not is_secret(options["storage"]):
            self.needs.append(f"Storage/{options['storage']}")
        for name, inner in options.items():
            self.put(f"{slot}.{name}", inner, (*path, name) if name in value else path)

    def _allocation(self, options: dict[str, Any]) -> None:
        """``file: local-lvm:50`` means a new volume of 50 GiB: ``storage`` and ``size``."""
        key = VOLUME_KEY[self.flavour]
        if not options.get(key):
            return
        found = re.fullmatch(r"([A-Za-z][A-Za-z0-9._-]*):([0-9]+(?:\.[0-9]+)?)", str(options[key]))
        if found:
            del options[key]
            options.setdefault("storage", found[1])
            if float(found[2]):
                options.setdefault("size", formats.format_size(int(float(found[2]) * 1024 * MIB)))

    def slots(self, value: Any, path: Path, prefix: str, handle: Any) -> None:
        """A list (item i is slot i) or a map by slot."""
        if isinstance(value, Mapping):
            for slot, inner in value.items():
                handle(str(slot), inner, (*path, str(slot)))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                where = (*path, index)
                if not isinstance(inner, Mapping):
                    self.problem(
                        where,
                        "expected a map",
                        "for example { storage: local-lvm, size: 32G }" if prefix == "scsi" else "",
                    )
                    continue
                handle(str(inner.get("slot") or f"{prefix}{index}"), inner, where)
        else:
            self.problem(path, "expected a list, or a map by slot")

    def network(self, slot: str, value: Any, path: Path) -> None:
        if not re.fullmatch(r"net\d+", slot) or self.facts(slot) is None:
            self.problem(path, f"there is no network slot {slot!r}", "net0 to net31")
            return
        if not isinstance(value, Mapping):
            self.native(slot, value, path)
            return
        plain: dict[str, Any] = {}
        for key, inner in value.items():
            if key == "slot":
                continue
            name = {"mac": MAC_KEY[self.flavour], "vlan": "tag", "gateway": "gw", "gateway6": "gw6"}.get(
                str(key), str(key)
            )
            if name == "trunks" and isinstance(inner, list):
                inner = ";".join(map(str, inner))
            plain[name] = inner
        self.property_string(slot, self.facts(slot) or {}, plain, path)


def collapse(parsed: Mapping[str, Any], known: Mapping[str, Facts]) -> Any:
    """A property string with one sub-key only, its default, is that plain value (``memory`` of a VM)."""
    lone = formats.lone_key(known)
    return parsed.get(lone) if lone is not None and parsed.keys() <= {lone} else dict(parsed)


def word_of(facts: Facts, value: Any) -> Any:
    """YAML's booleans as the words that a parameter has for them; those of a boolean stay, as they read best."""
    return value if facts.get("type") == "boolean" else values.word(facts, value)


def describe_bounds(facts: Facts) -> str:
    """What a value may be, in a few words; used as a hint."""
    if "enum" in facts:
        return "one of " + ", ".join(map(str, facts["enum"]))
    low, high = facts.get("minimum"), facts.get("maximum")
    if low is not None and high is not None:
        return f"{low} to {high}"
    if low is not None:
        return f"at least {low}"
    return f"at most {high}" if high is not None else ""


def size_of(value: Any) -> int:
    """Bytes of ``32G``, ``512M``, ``1.5T``, ``32Gi`` or a bare number of GiB. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is no size")
    if isinstance(value, int | float):
        return int(value * 1024 * MIB)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B?)?\s*", str(value), re.IGNORECASE)
    if not found:
        raise ValueError(f"{value!r} is no size")
    power = {"": 3, "K": 1, "M": 2, "G": 3, "T": 4}[found[2].upper()]
    return int(float(found[1]) * 1024**power)


def memory_of(value: Any) -> Any:
    """MiB of a plain number (already MiB), ``8G`` or ``512M``; anything else unchanged for validation to judge."""
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?\s*[KMGTkmgt](i?[Bb])?", value):
        return size_of(value) // MIB
    return value


def ssh_keys(value: Any) -> list[str]:
    """Public keys as a list, from a list, text with a key a line, or the wire's url-encoded text."""
    if isinstance(value, list):
        rows = [str(row) for row in value]
    else:
        text = str(value)
        rows = (unquote(text) if re.match(r"[a-z0-9-]+%20", text) else text).splitlines()
    return [row.strip() for row in rows if row.strip()]


def ssh_keys_text(keys: list[str] | str) -> str:
    """The wire's text; what a secret reference stands for is encoded when it is known."""
    text = keys if isinstance(keys, str) else "\n".join(keys)
    if text.startswith(SECRET):
        text = f"${{{text}}}"
    parts = re.split(r"\$\{(secret://[^}]*)\}", text)
    return "".join(f"${{{part}|urlpath}}" if i % 2 else quote(part, safe="") for i, part in enumerate(parts))

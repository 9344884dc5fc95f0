"""Virtual machines and containers: the only kinds that are lowered by hand.

A guest is addressed by its VMID, which the server's cluster shares between both kinds; its node is where it happens
to run. What is configured and what still waits for a restart come from one read, ``.../pending``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from pvehelm.api import formats
from pvehelm.api.guestfields import GuestFields, is_cloud_init
from pvehelm.api.kind import Effect, Field, Get, Key, Live, Manifest, Wanted, leaves
from pvehelm.api.kinds import tables
from pvehelm.api.lowering import (
    ELSEWHERE,
    VOLUME_KEY,
    Lowering,
    Path,
    is_volume,
    memory_of,
    size_of,
)
from pvehelm.api.mark import split_mark
from pvehelm.api.schema import Facts, Param, Schema
from pvehelm.errors import Problem
from pvehelm.suggest import did_you_mean

POWER = ("running", "stopped", "unmanaged")
# Leaves that the server can't show: they are compared with what was last written, not with live.
RECORDED = ("started", "node", "cipassword")
# What a running guest takes over at once; everything else waits for its next start (research: proxmox 4.3).
LIVE = {
    "qemu": {
        *("description", "hookscript", "migrate_downtime", "migrate_speed", "name", "onboot", "protection", "shares"),
        *("startup", "tags", "vmstatestorage", "cpuunits", "cpulimit", "agent", "balloon", "pool", "node", "power"),
        *("started", "template"),
    },
    "lxc": {
        *("description", "onboot", "startup", "protection", "hostname", "hookscript", "cores", "tags", "cpulimit"),
        *("cpuunits", "memory", "swap", "pool", "node", "power", "started"),
    },
}
HOTPLUG = {"qemu": ("net", "scsi", "virtio", "unused"), "lxc": ("net",)}
THROTTLES = re.compile(r"(bps|iops|mbps)(_|\Z)")
CHECKED = 10_000


def by_vmid(get: Get, rows: Any) -> Mapping[str, Mapping[str, Any]]:
    """An answer's rows by VMID, made once for a reader that keeps its answers: a thousand guests look into one."""
    memo: dict[int, Any] = getattr(get, "memo", {})
    if id(rows) not in memo:
        memo[id(rows)] = {str(row["vmid"]): row for row in reversed(rows or ()) if row.get("vmid")}
    found: Mapping[str, Mapping[str, Any]] = memo[id(rows)]
    return found


class GuestKind(GuestFields):
    """What both kinds of guests share."""

    namespaced = True
    evidence = "recorded"
    settles = True
    name_field: str
    friendly: tuple[str, ...]

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.schema = schema
        base = f"/nodes/{{node}}/{self.flavour}"
        self.post = schema.operation("POST", base)
        self.put = schema.operation("PUT", f"{base}/{{vmid}}/config")
        # What was lowered to be checked and is not asked for yet, by identity: most manifests are lowered next.
        self._checked: dict[int, tuple[Manifest, Lowering]] = {}

    @cached_property
    def _handlers(self) -> Mapping[str, Callable[..., None]]:
        """What lowers each friendly field (``cloudInit`` is ``_spec_cloudinit``); native ones have none."""
        names = {name: f"_spec_{re.sub('[^a-z]', '', name.lower())}" for name in self.friendly}
        return {name: getattr(self, method) for name, method in names.items() if hasattr(self, method)}

    @cached_property
    def params(self) -> Mapping[str, Param]:
        """Every settable field by its API name."""
        found = {**self.post.params, **self.put.params}
        return {name: param for name, param in found.items() if name not in ("node", "vmid")}

    def fields(self) -> Mapping[str, Field]:
        return self._fields

    @cached_property
    def _fields(self) -> Mapping[str, Field]:
        found: dict[str, Field] = {}
        stands_for = {"networks": "net0", "disks": "scsi0", "mounts": "mp0", "vmid": "node", "isTemplate": "template"}
        for name, facts in self.friendly_facts().items():
            native = stands_for.get(name, "ciuser" if name == "cloudInit" else name)
            found[name] = Field(
                name,
                facts,
                effect=Effect.live if self._is_live(native, "") or facts.get("once") else Effect.reboot,
                friendly=True,
                subkeys=facts.get("properties", {}),
                create_only=bool(facts.get("once")),
                write_only=name == "password",
            )
        for name, param in self.params.items():
            if name in ELSEWHERE or name in found or name == "vmid":
                continue
            effect = Effect.live if self._is_live(name.replace("[n]", "0"), "") else Effect.reboot
            found[name] = Field(
                name,
                param.facts,
                create_only=name not in self.put.params,
                write_only=name in ("cipassword", "password"),
                effect=effect,
                subkeys=formats.subkeys(param.facts) or {},
            )
        return found

    def friendly_facts(self) -> Mapping[str, Facts]:
        raise NotImplementedError

    # -- manifest -> normal form -------------------------------------------------------------------------------

    def validate(self, resource: Manifest) -> list[tuple[Path, Problem]]:
        asked: list[str] = []
        low = self._lower(resource, asked.append)
        if not low.problems and not asked:
            if len(self._checked) >= CHECKED:
                self._checked.clear()
            self._checked[id(resource)] = (resource, low)
        return low.problems

    def lower(self, resource: Manifest, resolve: Callable[[str], str | None]) -> Wanted:
        known, low = self._checked.pop(id(resource), (None, None))
        if low is None or known is not resource:
            low = self._lower(resource, resolve)
        spec = resource.spec
        key: dict[str, Any] = {"vmid": int(spec["vmid"]) if spec.get("vmid") else None, "node": spec.get("node")}
        needs = list(dict.fromkeys(low.needs))
        if resource.namespace and resource.namespace != "default":
            needs.insert(0, f"Pool/{resource.namespace}")
            low.fields["pool"] = resource.namespace
        return Wanted(
            ref=resource.ref,
            kind=self.name,
            name=resource.name,
            namespace=resource.namespace,
            key=key,
            fields=low.fields,
            once=low.once,
            needs=tuple(needs),
            privileged=tuple(low.privileged),
            origins=low.origins,
        )

    def _lower(self, resource: Manifest, resolve: Callable[[str], str | None]) -> Lowering:
        low = Lowering(self, self.flavour, self.params, self.param, resource, resolve, friendly=self.friendly)
        problems = formats.check_value({"type": "string", "format": "dns-name"}, resource.name, name="name")
        for _, what in problems:
            low.problem(("metadata", "name"), f"a guest's name is a DNS name: {what}", "letters, digits and hyphens")
        low.put(self.name_field, resource.name, ("metadata", "name"))
        spec = resource.spec
        if not spec.get("node"):
            low.problem(("spec", "node"), "a guest needs a node to be created on", "node: NAME")
        elif isinstance(spec["node"], str):
            low.put("node", spec["node"], ("spec", "node"))
        else:
            low.problem(("spec", "node"), "expected the name of a node")
        vmid = spec.get("vmid")
        if vmid is not None and not (isinstance(vmid, int) and not isinstance(vmid, bool) and 100 <= vmid <= 999999999):
            low.problem(("spec", "vmid"), f"{vmid!r} is no VMID", "100 to 999999999, or leave it out and one is found")
        for name, value in spec.items():
            path: Path = ("spec", name)
            if name in ("node", "vmid"):
                continue
            handle = self._handlers.get(name)
            if handle is not None:
                handle(low, value, path)
            else:
                low.native(str(name), value, path)
        self._complete(low, spec)
        low.privileged += tables()[self.name].privileges.used({**leaves(low.fields), **low.once})
        return low

    def _complete(self, low: Lowering, spec: Mapping[str, Any]) -> None:
        """What follows from the spec as a whole."""

    def _map(
        self, low: Lowering, value: Any, path: Path, table: Mapping[str, str], label: str
    ) -> Iterator[tuple[str, Any, Path]]:
        """The entries of a friendly map with their native leaves; unknown keys are problems."""

        if not isinstance(value, Mapping):
            low.problem(path, f"expected a map of {', '.join(table)}")
            return
        for key, inner in value.items():
            if key not in table:
                low.problem(
                    (*path, key),
                    f"unknown key {key!r} of {label}",
                    did_you_mean(str(key), table) or "one of " + ", ".join(table),
                )
                continue
            yield table[key], inner, (*path, key)

    def _native_leaf(self, low: Lowering, leaf: str, value: Any, path: Path) -> None:
        """A friendly entry that is one native field or one sub-key of it."""
        name, dot, sub = leaf.partition(".")
        if not dot:
            low.native(name, value, path)
            return
        low.property_string(name, low.facts(name) or {}, {sub: value}, path)

    def _spec_memory(self, low: Lowering, value: Any, path: Path) -> None:
        if not isinstance(value, Mapping):
            low.native("memory", memory_of(value), path)
            return
        for leaf, inner, where in self._map(low, value, path, self.memory_keys, "memory"):
            low.native(leaf, memory_of(inner), where)

    memory_keys: ClassVar[Mapping[str, str]] = {}
    cpu_keys: ClassVar[Mapping[str, str]] = {}

    def _spec_cpu(self, low: Lowering, value: Any, path: Path) -> None:
        if not isinstance(value, Mapping):
            low.native("cpu", value, path)
            return
        for leaf, inner, where in self._map(low, value, path, self.cpu_keys, "cpu"):
            if isinstance(inner, list):
                inner = ";".join(map(str, inner))
            self._native_leaf(low, leaf, inner, where)

    def _spec_networks(self, low: Lowering, value: Any, path: Path) -> None:
        low.slots(value, path, "net", low.network)

    def _spec_power(self, low: Lowering, value: Any, path: Path) -> None:
        if value not in POWER:
            low.problem(path, f"power is {value!r}", "running, stopped or unmanaged; left out: started once")
        elif value != "unmanaged":
            low.put("power", value, path)

    def _start_once(self, low: Lowering, spec: Mapping[str, Any]) -> None:
        if "power" not in spec and not low.fields.get("template"):
            low.fields["started"] = True
            low.origins["started"] = ("spec",)

    # -- live --------------------------------------------------------------------------------------------------

    async def read(self, key: Key, get: Get) -> Live | None:
        """The guest with VMID ``key["vmid"]``, wherever it runs; None when there is none of this kind."""
        if not key.get("vmid"):
            return None
        row = by_vmid(get, await get("/cluster/resources")).get(str(key["vmid"]))
        if row is None or row["type"] != self.flavour:
            return None
        node, vmid = row["node"], int(row["vmid"])
        rows = await get(f"/nodes/{node}/{self.flavour}/{vmid}/pending")
        return self._live(row, rows, await self._status(get, node, vmid))

    async def _status(self, get: Get, node: str, vmid: int) -> str:
        # The cluster's list is up to ten seconds late; the node's own is exact and one request for all its guests.
        rows = await get(f"/nodes/{node}/{self.flavour}")
        return str(by_vmid(get, rows).get(str(vmid), {"status": "unknown"}).get("status", ""))

    def _live(self, row: Mapping[str, Any], rows: Any, status: str) -> Live:
        configured: dict[str, Any] = {}
        running: dict[str, Any] = {}
        for entry in rows:
            name = entry["key"]
            if "value" in entry:
                running[name] = entry["value"]
            if "pending" in entry:
                configured[name] = entry["pending"]
            elif not entry.get("delete") and "value" in entry:
                configured[name] = entry["value"]
        text, mark = split_mark(str(configured.get("description", "")))
        fields = self.normal(configured)
        pending: dict[str, Any] = {}
        if running != configured:
            now, wanted = leaves(self.normal(running)), leaves(fields)
            pending = {leaf: now.get(leaf) for leaf in now.keys() | wanted.keys() if now.get(leaf) != wanted.get(leaf)}
        if text:
            fields["description"] = text
        else:
            fields.pop("description", None)
        fields["power"] = "running" if status in ("running", "paused") else "stopped"
        fields["node"] = row["node"]
        if row.get("pool"):
            fields["pool"] = row["pool"]
        extra = {"digest": configured.get("digest"), "status": status, "raw": configured, "mark": mark}
        return Live({"vmid": int(row["vmid"]), "node": row["node"]}, fields, pending, extra)

    # -- comparing ---------------------------------------------------------------------------------------------

    def recorded(self, leaf: str) -> bool:
        """Whether a leaf is compared with what was last written, because live can't or shall not tell."""
        return leaf in RECORDED

    def write_only(self, leaf: str) -> bool:
        return leaf == "cipassword"

    def gives_back(self, leaf: str) -> bool:
        name, _, sub = leaf.partition(".")
        return name not in (*RECORDED, "power", "cloudInitDrive", self.name_field) and sub not in ("size", "storage")

    def effect(self, leaf: str, before: Any, after: Any, live: Live) -> Effect:
        if leaf == "power":
            return Effect.live
        if live.extra.get("status") != "running":
            return Effect.live
        name, _, sub = leaf.partition(".")
        if name == "agent" and after is None and sub in ("", "enabled"):
            return Effect.reboot  # it comes at once, and goes at the next start
        if is_volume(self.flavour, name) and ((sub == "size" and before is not None) or sub == "storage"):
            return Effect.live
        return (
            Effect.live
            if self._is_live(name, sub, slot_is_new=name not in live.fields or after is None)
            else Effect.reboot
        )

    def _is_live(self, name: str, sub: str, *, slot_is_new: bool = True) -> bool:
        if name in LIVE[self.flavour]:
            return (name, sub) != ("agent", "type")
        stem = re.sub(r"\d+\Z", "", name)
        if stem == "net":
            return True
        if self.flavour == "lxc":
            return stem in ("mp", "dev") and slot_is_new
        if stem in HOTPLUG[self.flavour]:
            return slot_is_new or bool(THROTTLES.match(sub))
        return False

    def refusal(self, leaf: str, before: Any, after: Any, live: Live) -> str:
        name, _, sub = leaf.partition(".")
        disk = sub == "size" and before is not None and is_volume(self.flavour, name)
        if disk and after is not None and size_of(str(after)) < size_of(str(before)):
            return f"{name} can't shrink from {before} to {after}; the server only grows disks"
        if disk and after is None:
            return ""
        if name == "template" and before and not after:
            return "create-only"
        if self.flavour == "lxc" and name == "unprivileged":
            return "create-only"
        if name in self.params and name not in self.put.params and name not in ("pool",):
            return "create-only"
        return ""

    def parting(self, leaf: str, before: Any) -> str:
        if not is_volume(self.flavour, leaf) or not isinstance(before, Mapping):
            return ""
        volume = str(before.get(VOLUME_KEY[self.flavour], ""))
        if before.get("media") == "cdrom" or is_cloud_init(volume):
            return "the drive is removed"
        return f"{volume} is detached and kept as unused, not destroyed" if ":" in volume else ""

    def detached(self, live: Live, leaves: Sequence[str]) -> Mapping[str, str]:
        found = {}
        for slot in leaves:
            value = live.fields.get(slot)
            volume = str(value.get(VOLUME_KEY[self.flavour], "")) if isinstance(value, Mapping) else ""
            if self.parting(slot, value).endswith("not destroyed"):
                found[slot] = volume
        return found

    def reattached(self, wanted: Wanted, live: Live, detached: Mapping[str, str]) -> Wanted:
        if not detached:
            return wanted
        unused = {
            str(value).partition(",")[0] for name, value in live.extra["raw"].items() if name.startswith("unused")
        }
        key = VOLUME_KEY[self.flavour]
        again = {
            f"{slot}.{key}": volume
            for slot, volume in detached.items()
            if slot in wanted.fields and slot not in live.fields and volume in unused
        }
        return replace(wanted, once={**wanted.once, **again}) if again else wanted


def seen(what: str, names: Collection[str], privilege: str) -> str:
    """What there is instead; when nothing is to be seen, that may be a matter of rights."""
    return f"{what} there: {', '.join(sorted(names))}" if names else f"no {what} are visible: is {privilege} missing?"


async def resources(get: Get) -> list[Any]:
    """Everything the cluster lists: nodes, storages, guests, pools. One request a plan."""
    return list(await get("/cluster/resources") or [])


async def guests(get: Get) -> list[Any]:
    return [row for row in await resources(get) if row.get("type") in ("qemu", "lxc")]

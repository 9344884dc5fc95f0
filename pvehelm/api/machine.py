"""Virtual machines: made from scratch or cloned from a template, with cloud-init."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pvehelm.api import formats
from pvehelm.api.guestcalls import GuestCalls
from pvehelm.api.guests import POWER
from pvehelm.api.kind import Get, Step, Wanted, get_leaf
from pvehelm.api.lowering import Lowering, Path, is_secret, is_volume, ssh_keys
from pvehelm.api.schema import Facts
from pvehelm.errors import Problem


class VirtualMachineKind(GuestCalls):
    name = "VirtualMachine"
    plural = "virtualmachines"
    short = ("vm", "vms", "qemu")
    flavour = "qemu"
    name_field = "name"
    friendly = ("cpu", "memory", "agent", "disks", "networks", "cloudInit", "template", "isTemplate", "power")
    cpu_keys: ClassVar[Mapping[str, str]] = {
        "cores": "cores",
        "sockets": "sockets",
        "type": "cpu.cputype",
        "flags": "cpu.flags",
        "limit": "cpulimit",
        "units": "cpuunits",
        "vcpus": "vcpus",
        "numa": "numa",
        "affinity": "affinity",
    }
    memory_keys: ClassVar[Mapping[str, str]] = {
        "size": "memory",
        "minimum": "balloon",
        "balloon": "balloon",
        "shares": "shares",
    }
    cloud_keys: ClassVar[Mapping[str, str]] = {
        "user": "ciuser",
        "password": "cipassword",
        "sshKeys": "sshkeys",
        "nameserver": "nameserver",
        "searchDomain": "searchdomain",
        "searchdomain": "searchdomain",
        "upgrade": "ciupgrade",
        "type": "citype",
        "custom": "cicustom",
        "ip": "ipconfig0.ip",
        "gateway": "ipconfig0.gw",
        "ip6": "ipconfig0.ip6",
        "gateway6": "ipconfig0.gw6",
        "ipConfigs": "ipconfig",
        "storage": "storage",
    }

    def friendly_facts(self) -> Mapping[str, Facts]:
        text: Facts = {"type": "string", "optional": 1}
        number: Facts = {"type": "integer", "optional": 1}

        def native(table: Mapping[str, str]) -> dict[str, Facts]:
            return {
                key: (self.params[leaf.partition(".")[0]].facts if leaf.partition(".")[0] in self.params else text)
                for key, leaf in table.items()
            }

        return {
            "node": {"type": "string", "format": "pve-node"},
            "vmid": {**number, "minimum": 100, "maximum": 999999999},
            "template": {**text, "once": 1},
            "isTemplate": {"type": "boolean", "optional": 1},
            "cpu": {"type": "object", "optional": 1, "properties": native(self.cpu_keys)},
            "memory": {"type": "integer", "optional": 1, "minimum": 16, "properties": native(self.memory_keys)},
            "agent": {
                "type": "boolean",
                "optional": 1,
                "properties": formats.subkeys(self.params["agent"].facts) or {},
            },
            "disks": {
                "type": "array",
                "optional": 1,
                "properties": {
                    "slot": text,
                    "storage": {"type": "string"},
                    "size": {"type": "string", "format": "disk-size"},
                }
                | {"importFrom": {**text, "once": 1}}
                | {
                    k: v
                    for k, v in (formats.subkeys(self.params["scsi[n]"].facts) or {}).items()
                    if "alias" not in v and k != "size"
                },
            },
            "networks": {
                "type": "array",
                "optional": 1,
                "properties": {"slot": text}
                | {k: v for k, v in (formats.subkeys(self.params["net[n]"].facts) or {}).items() if "alias" not in v},
            },
            "cloudInit": {"type": "object", "optional": 1, "properties": native(self.cloud_keys)},
            "power": {"type": "string", "optional": 1, "enum": list(POWER)},
        }

    def _spec_agent(self, low: Lowering, value: Any, path: Path) -> None:
        if isinstance(value, Mapping) and "enabled" not in value:
            value = {"enabled": True, **value}
        elif isinstance(value, bool):
            value = {"enabled": value}
        low.native("agent", value, path)

    def _spec_template(self, low: Lowering, value: Any, path: Path) -> None:
        if not isinstance(value, str | int) or isinstance(value, bool) or not value:
            low.problem(path, "expected the name (or VMID) of a template to clone")
            return
        low.once["template"] = value
        low.origins["once.template"] = path
        low.needs.append(f"VirtualMachine/{value}")
        placeholder = low.resolve(f"VirtualMachine/{value}")
        if placeholder:
            low.once["template.vmid"] = placeholder

    def _spec_istemplate(self, low: Lowering, value: Any, path: Path) -> None:
        if not isinstance(value, bool):
            low.problem(path, "expected true or false")
        elif value:
            low.put("template", 1, path)

    def _spec_disks(self, low: Lowering, value: Any, path: Path) -> None:
        def disk(slot: str, inner: Any, where: Path) -> None:
            if not is_volume("qemu", slot) or low.facts(slot) is None:
                low.problem(
                    (*where, "slot"),
                    f"there is no disk slot {slot!r}",
                    "scsi0-30, virtio0-15, sata0-5, ide0-3, efidisk0, tpmstate0",
                )
                return
            low.volume(slot, inner, where)

        low.slots(value, path, "scsi", disk)
        if isinstance(value, list) and value and isinstance(value[0], Mapping) and not value[0].get("slot"):
            low.once["boot"] = "scsi0"

    def _spec_cloudinit(self, low: Lowering, value: Any, path: Path) -> None:
        if value is None:
            return
        for leaf, inner, where in self._map(low, value, path, self.cloud_keys, "cloudInit"):
            if leaf == "storage":
                low.once["cloudinit.storage"] = inner
            elif leaf == "ipconfig":
                low.slots(inner, where, "ipconfig", lambda slot, config, at: self._ip_config(low, slot, config, at))
            elif leaf == "sshkeys" and inner is not None:
                low.put("sshkeys", inner if is_secret(inner) else ssh_keys(inner), where)
            elif leaf == "ciupgrade":
                low.native(leaf, inner, where)
            elif leaf.startswith("ipconfig0."):
                low.property_string("ipconfig0", low.facts("ipconfig0") or {}, {leaf.partition(".")[2]: inner}, where)
            else:
                low.native(leaf, inner, where)
        if isinstance(value, Mapping):
            low.put("cloudInitDrive", True, path)

    def _ip_config(self, low: Lowering, slot: str, value: Any, path: Path) -> None:
        names = {"gateway": "gw", "gateway6": "gw6"}
        plain = (
            {names.get(str(k), str(k)): v for k, v in value.items() if k != "slot"}
            if isinstance(value, Mapping)
            else value
        )
        low.native(slot, plain, path)

    def _complete(self, low: Lowering, spec: Mapping[str, Any]) -> None:
        self._start_once(low, spec)
        if "template" in low.once:
            return
        for name, value in low.fields.items():
            if is_volume("qemu", name) and isinstance(value, Mapping) and value.get("media") != "cdrom":
                new = "file" not in value and f"{name}.import-from" not in low.once
                if (
                    new
                    and value.get("storage")
                    and not value.get("size")
                    and not name.startswith(("efidisk", "tpmstate"))
                ):
                    low.problem(
                        low.origins.get(f"{name}.storage", ("spec",)), f"the new disk {name} needs a size", "size: 32G"
                    )
                if new and not value.get("storage"):
                    low.problem(
                        low.origins.get(f"{name}.size", ("spec",)),
                        f"the new disk {name} needs a storage",
                        "storage: local-lvm",
                    )

    def refine(self, wanted: Wanted, fields: Mapping[str, Any]) -> Wanted:
        """Disk 0 without a slot means the boot disk, which a template may have elsewhere than at scsi0."""
        if wanted.once.get("boot") != "scsi0" or "template" not in wanted.once or "scsi0" in fields:
            return wanted
        slot = boot_disk(fields)
        if not slot or slot in wanted.fields:
            return wanted
        renamed = {slot if name == "scsi0" else name: value for name, value in wanted.fields.items()}
        origins = {re.sub(r"\Ascsi0(?=\.|\Z)", slot, leaf): path for leaf, path in wanted.origins.items()}
        return replace(wanted, fields=renamed, origins=origins)

    async def prepare(self, wanted: Wanted, get: Get) -> tuple[Mapping[str, Any], list[Problem]]:
        context, problems = await super().prepare(wanted, get)
        if "template" not in wanted.once or wanted.once.get("template.vmid"):
            return context, problems
        name, node = wanted.once["template"], wanted.key.get("node")
        machines = [row for row in context["resources"] if row.get("type") == "qemu"]
        found = [row for row in machines if row.get("name") == name or str(row.get("vmid")) == str(name)]
        found.sort(key=lambda row: (row["node"] != node, not row.get("template"), row["vmid"]))
        if not found:
            templates = sorted(str(row.get("name")) for row in machines if row.get("template"))
            hint = (
                f"templates: {', '.join(templates)}"
                if templates
                else "no template is visible: make one, or is VM.Audit missing?"
            )
            return context, [*problems, Problem("template", f"there is no template {name!r}", hint)]
        source = found[0]
        config = await get(f"/nodes/{source['node']}/qemu/{source['vmid']}/config")
        return {**context, "source": source, "config": self.normal(config)}, problems

    def create(self, wanted: Wanted, context: Mapping[str, Any]) -> list[Step]:
        vmid, introduced = self._number(wanted), self._introduced(wanted, context["uid"])
        if "template" not in wanted.once:
            params = {"vmid": vmid, **introduced, **self._initial(wanted)}
            if wanted.fields.get("cloudInitDrive"):
                slot = next(s for s in ("ide2", "ide0", "ide3", "ide1", "sata5") if s not in params)
                params[slot] = f"{self._cloud_init_storage({}, wanted)}:cloudinit"
            return [
                Step("POST", f"/nodes/{wanted.key['node']}/qemu", params, self._created(wanted), "create", creates=True)
            ]
        source = context.get("source")
        if source is None:
            placeholder = wanted.once["template.vmid"]
            ref = f"VirtualMachine/{wanted.once['template']}"
            source = {"vmid": placeholder, "node": f"${{node:{ref}}}", "template": 1}
        config = context.get("config", {})
        params = {"newid": vmid, "name": wanted.name, **introduced}
        boot = boot_disk(config) or "scsi0"
        disk = wanted.fields.get(boot)
        storage = disk.get("storage") if isinstance(disk, Mapping) else None
        if storage or not source.get("template"):
            params["full"] = 1
        if storage:
            params["storage"] = storage
        if source["node"] != wanted.key["node"] and self._shared(context, config):
            params["target"] = wanted.key["node"]
        path = f"/nodes/{source['node']}/qemu/{source['vmid']}/clone"
        writes = tuple(leaf for leaf in ("name", "description", "pool") if leaf in wanted.fields)
        return [Step("POST", path, params, writes, f"clone {wanted.once['template']}", creates=True)]

    def _shared(self, context: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
        """Whether every volume of the clone source can be reached from another node."""
        shared = {r["storage"] for r in context.get("resources", ()) if r.get("type") == "storage" and r.get("shared")}
        used = {
            value["storage"]
            for name, value in config.items()
            if is_volume("qemu", name) and isinstance(value, Mapping) and value.get("storage")
        }
        return used <= shared


def boot_disk(fields: Mapping[str, Any]) -> str:
    """The slot of the disk a machine boots from: the first disk of ``boot: order=``, else the first disk at all."""
    disks = [
        name
        for name, value in fields.items()
        if re.fullmatch(r"(scsi|virtio|sata|ide)\d+", name)
        and isinstance(value, Mapping)
        and value.get("media") != "cdrom"
        and "cloudinit" not in str(value.get("file"))
    ]
    order = str(get_leaf(fields, "boot.order") or fields.get("boot") or "").removeprefix("order=")
    return next((slot for slot in re.split("[;,]", order) if slot in disks), min(disks, default="", key=_bus_order))


def _bus_order(slot: str) -> tuple[int, int]:
    found = re.fullmatch(r"([a-z]+)(\d+)", slot)
    return (("scsi", "virtio", "sata", "ide").index(found[1]), int(found[2])) if found else (9, 0)

"""Who may change which option of a VM."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pvehelm.simulator.behaviours import drives, guests
from pvehelm.simulator.core import Call, Failure

_RIGHTS = {
    "VM.Config.CPU": "cpu cpulimit cpuunits numa smp sockets vcpus cores",
    "VM.Config.Memory": "memory balloon shares allow-ksm",
    "VM.Config.HWType": "acpi hotplug kvm machine scsihw smbios1 tablet vga watchdog audio0 rng0",
    "VM.Config.Options": "agent autostart bios description keyboard localtime migrate_downtime migrate_speed name"
    " onboot ostype protection reboot startdate startup tdf template tags",
    "VM.PowerMgmt": "freeze",
    "VM.Config.Disk": "boot bootdisk vmstatestorage",
}
_RIGHT_OF = {name: right for right, names in _RIGHTS.items() for name in names.split()}
_CLOUDINIT = frozenset(
    [
        "cicustom",
        "cipassword",
        "citype",
        "ciuser",
        "ciupgrade",
        "nameserver",
        "searchdomain",
        "sshkeys",
    ]
)


def check(call: Call, names: Iterable[str], values: Mapping[str, Any], vmid: str, pool: str | None) -> None:
    """403 or ``only root can set`` for options that the caller may not change."""
    if call.is_root:
        return
    for name in sorted(names):
        value = str(values.get(name, ""))
        family = name.rstrip("0123456789")
        if drives.is_drive(name) or name == "cdrom":
            cdrom = "media=cdrom" in value or value.startswith(("none", "cdrom"))
            guests.check_vm(call, vmid, pool, ["VM.Config.CDROM" if cdrom else "VM.Config.Disk"])
        elif family == "unused":
            guests.check_vm(call, vmid, pool, ["VM.Config.Disk"])
        elif family in ("serial", "usb", "hostpci", "virtiofs") and name != family:
            _check_device(call, name, family, value, vmid, pool)
        elif family == "net":
            guests.check_vm(call, vmid, pool, ["VM.Config.Network"])
        elif name in _CLOUDINIT or family == "ipconfig":
            guests.check_vm(call, vmid, pool, ["VM.Config.Cloudinit", "VM.Config.Network"], any=True)
        elif family == "numa":
            guests.check_vm(call, vmid, pool, ["VM.Config.CPU"])
        elif name in _RIGHT_OF:
            guests.check_vm(call, vmid, pool, [_RIGHT_OF[name]])
            if name == "startup":
                call.require("/", ["Sys.Modify"])
            if name == "rng0" and "/dev/hwrng" in value:
                call.require("/mapping/hwrng", ["Mapping.Use"])
        else:
            raise Failure(500, f"only root can set '{name}' config")


def _check_device(call: Call, name: str, family: str, value: str, vmid: str, pool: str | None) -> None:
    mapped = next((part[8:] for part in value.split(",") if part.startswith("mapping=")), "")
    if mapped:
        call.require(f"/mapping/{'pci' if family == 'hostpci' else family}/{mapped}", ["Mapping.Use"])
    elif family == "serial" and value not in ("", "socket"):
        raise Failure(500, f"only root can modify '{name}' config for real devices")
    elif family == "usb" and value and not re.search(r"(^|host=)spice", value):
        raise Failure(500, f"only root can set '{name}' config for real devices")
    elif family == "hostpci" and value:
        raise Failure(500, f"only root can set '{name}' config for non-mapped devices")
    guests.check_vm(call, vmid, pool, ["VM.Config.HWType"])


def check_bridges(call: Call, values: Mapping[str, Any]) -> None:
    """403 for a bridge that the caller may not use."""
    if call.is_root:
        return
    for name, value in values.items():
        if not re.fullmatch(r"net\d+", name):
            continue
        found = dict(part.partition("=")[::2] for part in str(value).split(","))
        bridge = found.get("bridge")
        if bridge:
            vnet = call.state.collection("sdn_vnets").get(bridge) or {}
            path = f"/sdn/zones/{vnet.get('zone', 'localnetwork')}/{bridge}"
            call.require(f"{path}/{found['tag']}" if found.get("tag") else path, ["SDN.Use"])

"""When a change of a VM takes effect: at once, or when it is off."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pvehelm.simulator.behaviours import drives, properties, storages
from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.core import Call

# Options that have no effect on the running machine, so they never wait.
_AT_ONCE = frozenset(
    (
        *("lock", "name", "onboot", "shares", "startup", "description", "protection", "vmstatestorage"),
        *("hookscript", "tags", "migrate_downtime", "migrate_speed"),
    )
)
_LIVE = frozenset(["cpuunits", "cpulimit", "agent"])
# Sub-options of a disk that a running machine cannot change.
_FIXED_DISK = frozenset(
    (
        *("aio", "cache", "detect_zeroes", "discard", "iothread", "media", "queues", "ro"),
        *("ssd", "size", "scsiblock", "serial", "wwn"),
    )
)
_FIXED_NET = frozenset(["model", "macaddr", "queues", "mtu", "host-tunnel"])


def settle(guest: Guest) -> None:
    """Let everything that is pending take effect: the machine is off."""
    for name in list(guest.deleted):
        _take_away(guest, name)
    for name in list(guest.pending):
        _put_in(guest, name)


def _take_away(guest: Guest, name: str) -> None:
    force = bool(guest.deleted.pop(name))
    value = guest.config.pop(name, None)
    if value is not None and drives.is_drive(name):
        drives.give_up(guest.state, guest.vmid, guest.node, guest.config, str(value), destroy=force)


def _put_in(guest: Guest, name: str) -> None:
    value = guest.pending.pop(name)
    old = guest.config.get(name)
    if name.startswith("unused") and drives.in_use(guest.config, drives.file_of(str(value))):
        return
    guest.config[name] = value
    if drives.is_drive(name):
        if old is not None and drives.file_of(str(old)) != drives.file_of(str(value)):
            drives.give_up(guest.state, guest.vmid, guest.node, guest.config, str(old))
        drives.not_unused(guest.config, drives.file_of(str(value)))


def hotplug(call: Call, guest: Guest) -> None:
    """Let take effect what a running machine can take."""
    features = _hotplug_features(guest.config)
    for name in list(guest.deleted):
        if name in _AT_ONCE or name in _LIVE - {"agent"} or _unpluggable(guest, name, features):
            _take_away(guest, name)
    for name in list(guest.pending):
        if name in _AT_ONCE or name in _LIVE or _pluggable(call, guest, name, features):
            _put_in(guest, name)


def _hotplug_features(config: Mapping[str, Any]) -> set[str]:
    text = str(config.get("hotplug", "1"))
    if text == "0":
        return set()
    return {"network", "disk", "usb"} if text == "1" else set(storages.words(text))


def _unpluggable(guest: Guest, name: str, features: set[str]) -> bool:
    if name in ("vcpus", "memory"):
        return {"vcpus": "cpu", "memory": "memory"}[name] in features
    if name == "balloon":
        return guest.config.get("balloon") != 0
    if name == "hotplug":
        return "memory" not in features
    if re.fullmatch(r"net\d+", name):
        return "network" in features
    if re.fullmatch(r"usb\d+", name) or name == "tablet":
        return "usb" in features and _modern(guest)
    return "disk" in features and bool(re.fullmatch(r"(scsi|virtio)\d+", name))


def _modern(guest: Guest) -> bool:
    return str(guest.config.get("ostype", "")) in ("l26", "win8", "win10", "win11")


def _pluggable(call: Call, guest: Guest, name: str, features: set[str]) -> bool:
    new, old = str(guest.pending[name]), guest.config.get(name)
    if name in ("vcpus", "memory"):
        return {"vcpus": "cpu", "memory": "memory"}[name] in features
    if name == "balloon":
        return (guest.config.get("balloon") == 0) == (int(new) == 0)
    if name == "hotplug":
        return "memory" not in new and "memory" not in features
    operation = drives.operation(call)
    fmt = drives.format_of(operation, name)
    if re.fullmatch(r"net\d+", name):
        return "network" in features or (old is not None and _same(new, str(old), fmt, _FIXED_NET))
    if re.fullmatch(r"usb\d+", name) or name == "tablet":
        return "usb" in features and _modern(guest)
    if not drives.is_drive(name) or name in ("efidisk0", "tpmstate0"):
        return False
    drive = drives.parse(operation, name, new)
    if drives.is_cloudinit(drive):
        return False
    if old is None:
        return "disk" in features and bool(re.fullmatch(r"(scsi|virtio)\d+", name))
    if drives.is_cdrom(drive) and drives.is_cdrom(drives.parse(operation, name, str(old))):
        return True
    if drives.file_of(str(old)) != drives.file_of(new):
        return "disk" in features and bool(re.fullmatch(r"(scsi|virtio)\d+", name))
    return _same(new, str(old), fmt, _FIXED_DISK)


def _same(new: str, old: str, fmt: properties.Format, keys: frozenset[str]) -> bool:
    """Whether two property strings agree in these keys."""
    after, before = properties.split(new, fmt), properties.split(old, fmt)
    return all(after.get(key) == before.get(key) for key in keys)

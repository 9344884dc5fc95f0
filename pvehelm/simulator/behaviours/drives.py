"""Drives of a VM: reading, writing, creating and giving up.

A drive is the split property string: ``{"file": "st1:100/vm-100-disk-0.raw", "size": "1G", "media": "cdrom", ...}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pvehelm.api.schema import Operation
from pvehelm.simulator.behaviours import properties, storages, volumes
from pvehelm.simulator.behaviours.properties import Format, Properties
from pvehelm.simulator.core import Call, Failure, bad_parameters
from pvehelm.simulator.state import State

NAME = re.compile(r"(?:ide|scsi|virtio|sata|efidisk|tpmstate)\d+\Z")
_BUSES = ("ide", "scsi", "virtio", "sata", "efidisk", "tpmstate")
_NEW_DISK = re.compile(r"(?:(?P<storage>[^/:\s]+):)?(?P<size>\d+(?:\.\d+)?)\Z")
_CLOUDINIT = re.compile(r"(?:^|[:/])(?:vm-\d+-)?cloudinit(?:\.\w+)?\Z")
_NEVER_STORED = ("format", "import-from")
CLOUDINIT_SIZE = 4 * volumes.MIB


def operation(call: Call) -> Operation:
    """The call whose parameters are the options of a VM."""
    return call.sim.schema.operation("PUT", "/nodes/{node}/qemu/{vmid}/config")


def is_drive(name: str) -> bool:
    return bool(NAME.match(name))


def bus_order(name: str) -> tuple[int, int]:
    """The order in which a server looks for a disk to boot from."""
    bus = name.rstrip("0123456789")
    return _BUSES.index(bus), int(name[len(bus) :])


def format_of(operation: Operation, name: str) -> Format:
    param = operation.param(name)
    facts = param.format if param is not None else None
    return facts if isinstance(facts, Mapping) else {}


def parse(operation: Operation, name: str, text: str) -> Properties:
    return properties.split(text, format_of(operation, name))


def show(operation: Operation, name: str, drive: Mapping[str, str]) -> str:
    return properties.join(drive, format_of(operation, name), skip=_NEVER_STORED)


def file_of(text: str) -> str:
    """The volume of a stored drive, whose volume always comes first."""
    return text.partition(",")[0].removeprefix("file=").removeprefix("volume=")


def is_cloudinit(drive: Mapping[str, str]) -> bool:
    return bool(_CLOUDINIT.search(drive.get("file", "")))


def is_cdrom(drive: Mapping[str, str], *, real: bool = False) -> bool:
    """Whether it is a CD drive; ``real``: and no cloud-init drive."""
    return drive.get("media") == "cdrom" and not (real and is_cloudinit(drive))


def new_disk(drive: Mapping[str, str]) -> tuple[str, float] | None:
    """Storage (may be empty) and GiB of a drive that asks for a new disk."""
    hit = _NEW_DISK.match(drive.get("file", ""))
    return (hit["storage"] or "", float(hit["size"])) if hit else None


def tidy(operation: Operation, name: str, text: str) -> str:
    """A drive as it was sent -> as it is worked with: in order, and an empty CD drive is one."""
    drive = parse(operation, name, text)
    if drive.get("file") in ("cdrom", "none") and "media" in format_of(operation, name):
        drive.setdefault("media", "cdrom")
    return properties.join(drive, format_of(operation, name))


def check_access(call: Call, drive: Mapping[str, str], vmid: str, default_storage: str = "") -> None:
    """What is refused before anything is done: storages that are missing, cannot hold disks or are forbidden."""
    file = drive.get("file", "")
    wanted = new_disk(drive)
    if not file or file in ("none", "cloudinit"):
        return
    if file == "cdrom":
        call.require("/", ["Sys.Console"])
        return
    if wanted is not None or (":" in file and file.partition(":")[2] == "cloudinit"):
        storage = wanted[0] if wanted else file.partition(":")[0]
        storage = storage or default_storage
        if not storage:
            raise Failure(500, "no storage ID specified (and no default storage)")
        call.require(f"/storage/{storage}", ["Datastore.AllocateSpace"])
        found = storages.definition(call.state, storage)
        if "images" not in storages.contents(found):
            what = f"storage '{storage}' does not support vm images"
            raise bad_parameters({"storage": what})
        source = drive.get("import-from")
        if source and not source.startswith("/"):
            check_volume(call, source, vmid)
        elif source and not is_root(call):
            raise Failure(403, "Only root can pass arbitrary filesystem paths.")
        return
    if file.startswith("/"):
        if not is_root(call):
            raise Failure(403, "Only root can pass arbitrary filesystem paths.")
        return
    check_volume(call, file, vmid)


def check_volume(call: Call, volid: str, vmid: str | None) -> None:
    """Raises Failure when the name is none, its storage is missing, or the caller may not use the volume."""
    storage, name = storages.split_volid(volid)
    parsed = storages.parse_volume(storages.definition(call.state, storage), name)
    if parsed["content"] in ("iso", "vztmpl", "import", "snippets"):
        call.require(
            f"/storage/{storage}",
            ["Datastore.AllocateSpace", "Datastore.AllocateTemplate", "Datastore.Audit"],
            any=True,
        )
    elif (
        parsed["vmid"] is not None
        and vmid != str(parsed["vmid"])
        and not call.may(f"/storage/{storage}", "Datastore.Allocate")
    ):
        call.require(f"/vms/{parsed['vmid']}", ["VM.Config.Disk"])


def is_root(call: Call) -> bool:
    """root@pam itself, not one of its tokens."""
    return call.is_root


def realise(
    call: Call,
    operation: Operation,
    vmid: str,
    node: str,
    name: str,
    text: str,
    config: Mapping[str, Any],
    default_storage: str = "",
) -> str:
    """Make or find the volume of a drive and return the drive as it is stored. Raises Failure."""
    drive = parse(operation, name, text)
    file = drive.get("file", "none")
    wanted = new_disk(drive)
    state = call.state
    if file in ("none", "cdrom"):
        return show(operation, name, drive)
    if file == "cloudinit" or (":" in file and file.partition(":")[2] == "cloudinit"):
        storage = file.partition(":")[0] if ":" in file else default_storage
        drive["file"] = _make_cloudinit(call, vmid, node, name, storage, drive.get("format", ""), config)
        drive["media"] = "cdrom"
        return show(operation, name, drive)
    if wanted is not None:
        storage, gib = wanted
        size = int(gib * 1024 * 1024) * 1024
        source = drive.get("import-from")
        if source:
            size = volumes.get(state, source, node)["size"] if not source.startswith("/") else volumes.GIB
        size = _fixed_size(call, name, drive, storage or default_storage) or size
        format = drive.get("format", "") if name != "tpmstate0" else "raw"
        volume = volumes.allocate(state, storage or default_storage, node, vmid, size, call.now, format)
        drive["file"] = volume["volid"]
        drive["size"] = properties.print_size(volume["size"])
        if config.get("template"):
            drive["file"] = volumes.rename_owner(state, volume["volid"], node, vmid, base=True)
        return show(operation, name, drive)
    if file.startswith("/"):
        raise Failure(500, f"volume {file} does not exist")
    volume = volumes.get(state, file, node)
    if volume["content"] == "iso":
        drive.setdefault("media", "cdrom")
    drive["size"] = properties.print_size(volume["size"])
    return show(operation, name, drive)


def _fixed_size(call: Call, name: str, drive: Mapping[str, str], storage: str) -> int:
    """Bytes of the disks whose size is the server's choice, else 0."""
    if name == "tpmstate0":
        return 4 * volumes.MIB
    if name != "efidisk0":
        return 0
    if drive.get("efitype", "2m") == "2m":
        exact = 128 << 10
    else:
        exact = 528 << 10
    if storages.has_files(storages.definition(call.state, storage)):
        return exact
    # Block storages round up to their extents.
    return -(-exact // (4 * volumes.MIB)) * 4 * volumes.MIB


def _make_cloudinit(
    call: Call, vmid: str, node: str, name: str, storage: str, format: str, config: Mapping[str, Any]
) -> str:
    for other, text in config.items():
        if other != name and is_drive(other) and is_cloudinit({"file": file_of(str(text))}):
            raise Failure(500, f"{name} - cloud-init drive is already attached at '{other}'")
    return cloudinit_volume(call, vmid, node, storage, format)


def cloudinit_volume(call: Call, vmid: str, node: str, storage: str, format: str = "") -> str:
    """Allocate the volume of a cloud-init drive."""
    found = storages.usable(call.state, storage, node)
    if storages.has_files(found):
        chosen = format or ("qcow2" if "qcow2" in storages.formats(found) else "raw")
        volid = f"{storage}:{vmid}/vm-{vmid}-cloudinit" + ("" if chosen == "raw" else f".{chosen}")
        volid = volid if chosen != "raw" else f"{volid}.raw"
    else:
        volid = f"{storage}:vm-{vmid}-cloudinit"
    return volumes.put(call.state, node, volid, call.now, size=CLOUDINIT_SIZE)


def check_generator(call: Call, node: str) -> None:
    """Raises Failure where the node lacks the program that makes cloud-init images (the host of a base may)."""
    found = call.state.collection("nodes").get(node) or {}
    if "genisoimage" in found.get("lacks", ()):
        text = "command 'set -o pipefail && genisoimage -quiet -iso-level 3 -J -R -V cidata' failed"
        raise Failure(500, text, keep=True)


# -- giving up ---------------------------------------------------------------------------------------------------


def owned(state: State, vmid: str, node: str, text: str) -> bool:
    """Whether a stored drive's volume belongs to the guest itself."""
    found = volumes.find(state, file_of(text), node)
    return found is not None and str(found[1].get("vmid")) == vmid


def in_use(config: Mapping[str, Any], volid: str) -> bool:
    """Whether a volume is in some slot of a configuration."""
    return any(not key.startswith("unused") and file_of(str(value)) == volid for key, value in config.items())


def keep_unused(config: dict[str, Any], volid: str) -> None:
    """Remember a volume as ``unusedN``, once, in the first free place, unless another slot has it."""
    if in_use(config, volid):
        return
    if any(key.startswith("unused") and value == volid for key, value in config.items()):
        return
    number = next(n for n in range(256) if f"unused{n}" not in config)
    config[f"unused{number}"] = volid


def give_up(state: State, vmid: str, node: str, config: dict[str, Any], text: str, *, destroy: bool = False) -> None:
    """Detach a stored drive: a disk of the guest becomes unused or is destroyed, a cloud-init drive always goes."""
    drive = {"file": file_of(text), "media": "cdrom" if ",media=cdrom" in text else ""}
    if is_cloudinit(drive):
        volumes.remove(state, drive["file"], node)
    elif drive["media"] != "cdrom" and owned(state, vmid, node, text):
        if destroy and not in_use(config, drive["file"]):
            volumes.remove(state, drive["file"], node)
        else:
            keep_unused(config, drive["file"])


def not_unused(config: dict[str, Any], volid: str) -> None:
    """A volume that is in use again leaves its ``unusedN``."""
    for key in [key for key, value in config.items() if key.startswith("unused") and value == volid]:
        del config[key]


# -- starting from -----------------------------------------------------------------------------------------------


def default_boot(operation: Operation, config: Mapping[str, Any]) -> str:
    """``order=...``: the first disk, the first CD drive and the first network device; a blank without any."""
    names = sorted((n for n in config if is_drive(n) and not n.startswith(("efidisk", "tpmstate"))), key=bus_order)
    devices = []
    for cdrom in (False, True):
        devices += [n for n in names if is_cdrom(parse(operation, n, config[n])) is cdrom][:1]
    devices += sorted(n for n in config if re.fullmatch(r"net\d+", n))[:1]
    return print_boot(devices)


def boot_devices(boot: Any) -> list[str]:
    """The devices of ``order=scsi0;net0``; none for the legacy form."""
    for part in str(boot or "").split(","):
        if part.startswith("order="):
            return [device for device in re.split(r"[;\s]+", part[6:]) if device]
    return []


def print_boot(devices: list[str]) -> str:
    return f"order={';'.join(devices)}" if devices else " "

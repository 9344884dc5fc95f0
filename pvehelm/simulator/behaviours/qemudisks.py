"""Disks of a VM that exists: resize, move, reassign, unlink; and its cloud-init drive."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from pvehelm.simulator.behaviours import drives, guests, properties, qemuconfig, storages, volumes
from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.core import Call, Failure, bad_parameters, handler
from pvehelm.simulator.tasks import TaskLog

PATH = "/nodes/{node}/qemu/{vmid}"


@handler("PUT", PATH + "/resize")
def resize(call: Call) -> str:
    vmid = str(call.int("vmid"))

    def work(log: TaskLog) -> None:
        guest = guests.load(call, "qemu")
        guest.check_digest(call)
        guest.check_lock(call)
        _resize(call, guest, call.str("disk"), call.str("size"))

    return call.task("resize", vmid, guests.in_task(work))


def _resize(call: Call, guest: Guest, name: str, wanted: str) -> None:
    operation = drives.operation(call)
    if name not in guest.config:
        raise Failure(500, f"disk '{name}' does not exist")
    drive = drives.parse(operation, name, guest.config[name])
    storage, _ = storages.split_volid(drive["file"])
    if drives.is_cdrom(drive):
        raise Failure(500, "you can't resize a cdrom")
    volume = volumes.get(call.state, drive["file"], guest.node)
    size = grown(wanted, volume["size"])
    if size < volume["size"]:
        raise Failure(500, "shrinking disks is not supported")
    definition = storages.usable(call.state, storage, guest.node)
    parsed = storages.parse_volume(definition, drive["file"].partition(":")[2])
    if parsed["base"] and storages.has_files(definition) and size != volume["size"]:
        command = f"/usr/bin/qemu-img resize '--preallocation=off' -f {volume['format']} {drive['file']} {size}"
        raise Failure(500, f"command '{command}' failed: exit code 1")
    volumes.change(call.state, drive["file"], guest.node, size=size)
    drive["size"] = properties.print_size(size)
    guest.config[name] = drives.show(operation, name, drive)
    guest.save()


def grown(wanted: str, now: int) -> int:
    """``+1G`` or ``3G`` -> bytes, in whole KiB."""
    size = properties.parse_size(wanted.removeprefix("+")) + (now if wanted.startswith("+") else 0)
    return -(-size // 1024) * 1024


@handler("PUT", PATH + "/unlink")
def unlink(call: Call) -> None:
    call.args["delete"] = call.args.pop("idlist")
    qemuconfig.change(call)


@handler("POST", PATH + "/move_disk")
def move_disk(call: Call) -> str:
    name, storage, target = call.str("disk"), call.str("storage"), call.args.get("target-vmid")
    if not storage and not target:
        what = "both 'storage' and 'target-vmid' missing, either needs to be set"
        raise bad_parameters({"storage": what, "target-vmid": what})
    if storage and target:
        what = "either set 'storage' or 'target-vmid', but not both"
        raise bad_parameters({"storage": what, "target-vmid": what})
    if target and int(target) == call.int("vmid"):
        what = "must be different than source VMID to reassign disk"
        raise bad_parameters({"target-vmid": what})
    guest = guests.load(call, "qemu")
    guest.check_lock(call)
    guest.check_digest(call)
    if target:
        return _reassign(call, guest, name, str(int(target)))
    call.require(f"/storage/{storage}", ["Datastore.AllocateSpace"])
    operation = drives.operation(call)
    definition = storages.definition(call.state, storage)
    if name not in guest.config:
        raise Failure(500, f"disk '{name}' does not exist")
    drive = drives.parse(operation, name, guest.config[name])
    if drives.is_cdrom(drive, real=True):
        raise Failure(500, "you can't move a cdrom")
    volume = volumes.get(call.state, drive["file"], guest.node)
    if volume["storage"] == storage and call.str("format", volume["format"]) == volume["format"]:
        raise Failure(500, "you can't move to the same storage with same format")
    storages.check_content(definition, storage, "images")
    if guest.snapshots and call.bool("delete"):
        raise Failure(500, "you can't move a disk with snapshots and delete the source")
    format = call.str("format") or (volume["format"] if volume["format"] in storages.formats(definition) else "")

    def work(log: TaskLog) -> None:
        old = guest.config[name]
        moved = volumes.allocate(call.state, storage, guest.node, guest.vmid, volume["size"], call.now, format)
        drive.update({"file": moved["volid"], "size": properties.print_size(moved["size"])})
        guest.config[name] = drives.show(operation, name, drive)
        drives.give_up(call.state, guest.vmid, guest.node, guest.config, old, destroy=call.bool("delete"))
        guest.save()

    return call.task("qmmove", guest.vmid, guests.in_task(work))


def _reassign(call: Call, guest: Guest, name: str, target: str) -> str:
    call.require(f"/vms/{target}", ["VM.Config.Disk"])
    slot = call.str("target-disk", name)
    other = guests.anywhere(call.state, target)
    if other is None or other.kind != "qemu":
        raise Failure(500, f"could not find target VM {target}")
    if other.node != guest.node:
        raise Failure(500, "Both VMs need to be on the same node")
    other.check_lock(call)
    if name not in guest.config:
        raise Failure(500, f"Disk '{name}' for VM '{guest.vmid}' does not exist")
    if slot in other.config:
        raise Failure(500, f"Target disk key '{slot}' is already in use for VM '{target}'!")
    operation = drives.operation(call)

    def work(log: TaskLog) -> None:
        drive = drives.parse(operation, name, guest.config.pop(name))
        if drives.is_cdrom(drive):
            raise Failure(500, "CD drive contents can't be moved to another VM")
        drive["file"] = volumes.rename_owner(call.state, drive["file"], guest.node, target)
        order = drives.boot_devices(guest.config.get("boot"))
        if name in order:
            guest.config["boot"] = drives.print_boot([device for device in order if device != name])
        other.config[slot] = drives.show(operation, slot, drive) if drives.is_drive(slot) else drive["file"]
        guest.save()
        other.save()

    return call.task("qmmove", f"{guest.vmid}-{name}>{target}-{slot}", guests.in_task(work))


# -- cloud-init ----------------------------------------------------------------------------------------------------

_KEYS = ("cicustom", "cipassword", "citype", "ciupgrade", "ciuser", "nameserver", "searchdomain", "sshkeys")


@handler("GET", PATH + "/cloudinit")
def cloudinit_pending(call: Call) -> list[dict[str, Any]]:
    guest = guests.load(call, "qemu")
    rows: list[dict[str, Any]] = []
    for key in _KEYS:
        old, new = guest.config.get(key), guest.configured().get(key)
        if key == "cipassword":
            old, new = (guests.MASK if value is not None else None for value in (old, new))
        if old is None and new is None:
            continue
        row: dict[str, Any] = {"key": key}
        if old is not None:
            row["value"] = old
        if new is None:
            row["delete"] = 1
        elif new != old:
            row["pending"] = new
        rows.append(row)
    return rows


@handler("PUT", PATH + "/cloudinit")
def cloudinit_update(call: Call) -> None:
    guest = guests.load(call, "qemu")
    guest.check_lock(call)
    operation = drives.operation(call)
    for name in sorted(n for n in guest.config if drives.is_drive(n)):
        drive = drives.parse(operation, name, guest.config[name])
        if drives.is_cloudinit(drive):
            drives.check_generator(call, guest.node)
            drive["size"] = properties.print_size(drives.CLOUDINIT_SIZE)
            guest.config[name] = drives.show(operation, name, drive)
    for key in [key for key in guest.pending if key in _KEYS or key.startswith("ipconfig")]:
        guest.config[key] = guest.pending.pop(key)
    guest.save()


@handler("GET", PATH + "/cloudinit/dump")
def cloudinit_dump(call: Call) -> str:
    guest = guests.load(call, "qemu")
    config = guest.configured()
    kind = call.str("type")
    if kind == "network":
        return _network(config)
    if kind == "meta":
        return f"instance-id: {call.digest(config)}\n"
    name = str(config.get("name") or f"VM{guest.vmid}")
    lines = ["#cloud-config", f"hostname: {name.partition('.')[0]}", "manage_etc_hosts: true", f"fqdn: {name}"]
    if config.get("ciuser"):
        lines.append(f"user: {str(config['ciuser']).strip()}")
    keys = [key for key in unquote(str(config.get("sshkeys", ""))).splitlines() if key.strip()]
    if keys:
        lines += ["ssh_authorized_keys:", *(f"  - {key}" for key in keys)]
    lines += ["chpasswd:", "  expire: False", "users:", "  - default"]
    if config.get("ciupgrade", 1):
        lines.append("package_upgrade: true")
    return "\n".join(lines) + "\n"


def _network(config: dict[str, Any]) -> str:
    lines = ["version: 1", "config:"]
    for number in range(32):
        if f"net{number}" not in config:
            continue
        mac = config[f"net{number}"].partition(",")[0].partition("=")[2].lower()
        lines += ["    - type: physical", f"      name: eth{number}", f"      mac_address: '{mac}'", "      subnets:"]
        for key, value in sorted(part.partition("=")[::2] for part in config.get(f"ipconfig{number}", "").split(",")):
            if key in ("ip", "ip6"):
                lines.append(f"      - type: {value if value in ('dhcp', 'auto') else 'static'}")
    return "\n".join(lines) + "\n"

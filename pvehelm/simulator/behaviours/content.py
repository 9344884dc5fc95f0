"""What lies on a storage: list, allocate, describe, delete, download, upload."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from pvehelm.simulator.behaviours import properties, storages, volumes
from pvehelm.simulator.core import Call, Failure, bad_parameters, handler
from pvehelm.simulator.tasks import TaskLog

PATH = "/nodes/{node}/storage/{storage}"
_BACKUP_ONLY = ("notes", "protected")
# Bytes of what is not really downloaded.
_SIZES = {"iso": 650 << 20, "vztmpl": 120 << 20, "import": 2 << 30, "backup": 64 << 20, "snippets": 1024}


@handler("GET", PATH + "/content")
def listed(call: Call) -> list[dict[str, Any]]:
    storage = call.str("storage")
    definition = storages.usable(call.state, storage, call.node)
    rows = []
    for volume in volumes.of_storage(call.state, storage, call.node):
        row = _row(call, definition, volume)
        if call.args.get("vmid") is not None and row.get("vmid") != call.int("vmid"):
            continue
        if call.args.get("content") and row["content"] != call.str("content"):
            continue
        if _visible(call, storage, row):
            rows.append(row)
    return rows


def _row(call: Call, definition: storages.Definition, volume: volumes.Volume) -> dict[str, Any]:
    """A volume as the list shows it."""
    found: dict[str, Any] = {
        "volid": volume["volid"],
        "content": content_of(call, volume),
        "format": volume["format"],
        "size": volume["size"],
        "ctime": int(volume.get("ctime", 0)),
    }
    if volume.get("vmid") is not None:
        found["vmid"] = int(volume["vmid"])
    if volume["content"] in ("images", "rootdir"):
        found["used"] = int(volume.get("used") or volume["size"])
        parent = volume.get("parent")
        if storages.has_files(definition):
            found["parent"] = parent
        elif parent:
            found["parent"] = parent.partition(":")[2] + "@__base__"
    for name in (*_BACKUP_ONLY, "subtype"):
        if volume.get(name):
            found[name] = volume[name]
    return found


def content_of(call: Call, volume: volumes.Volume) -> str:
    """A disk counts as a root directory when a container owns it."""
    if volume["content"] not in ("images", "rootdir"):
        return str(volume["content"])
    return "rootdir" if str(volume.get("vmid")) in call.state.collection("lxc") else "images"


def _visible(call: Call, storage: str, row: dict[str, Any]) -> bool:
    if call.may(f"/storage/{storage}", "Datastore.Allocate") or row["content"] in ("iso", "vztmpl", "import"):
        return True
    vmid = row.get("vmid")
    if row["content"] in ("images", "rootdir"):
        return call.may(f"/vms/{vmid}", "VM.Config.Disk", "VM.Audit")
    return vmid is not None and call.may(f"/vms/{vmid}", "VM.Backup")


@handler("POST", PATH + "/content")
def allocate(call: Call) -> str:
    storage, filename, vmid = call.str("storage"), call.str("filename"), str(call.int("vmid"))
    definition = storages.usable(call.state, storage, call.node)
    text = call.str("size")
    # A bare number is in kilobytes.
    size = properties.parse_size(text) if text[-1] in "MG" else int(text) * 1024
    hit = re.fullmatch(r"[^\s/]+\.(raw|qcow2|vmdk|subvol)", filename)
    if storages.has_files(definition):
        if hit is None:
            raise Failure(500, f"unable to parse volume filename '{filename}'")
        wanted = call.args.get("format")
        if wanted and wanted != hit[1]:
            what = f"different storage formats ({wanted} != {hit[1]})"
            raise bad_parameters({"format": what})
        volid = f"{storage}:{vmid}/{filename}"
    else:
        if not re.match(rf"(vm|base|subvol|basevol)-{vmid}-", filename):
            raise Failure(500, f"illegal name '{filename}' - should be 'vm-{vmid}-*'")
        volid = f"{storage}:{filename}"
    facts = {"vmid": int(vmid)}
    if volumes.find(call.state, volid, call.node) is not None:
        raise Failure(500, f"disk image '{storages.path_of(definition)}/images/{vmid}/{filename}' already exists")
    return volumes.put(call.state, call.node, volid, call.now, size=size, **facts)


def _volid(call: Call) -> str:
    """The volume in the path: a volid, or a name on the storage of the path. Raises Failure."""
    storage, name = call.str("storage"), call.str("volume")
    if ":" in name:
        try:
            head, rest = storages.split_volid(name)
        except Failure as failure:
            call.bad(volume=failure.message)
        if head != storage:
            call.bad(volume=f"storage ID mismatch ({head} != {storage})")
        name = rest
    storages.parse_volume(storages.definition(call.state, storage), name)
    return f"{storage}:{name}"


@handler("GET", PATH + "/content/{volume}")
def show(call: Call) -> dict[str, Any]:
    volid = _volid(call)
    _check_access(call, volid)
    found = volumes.find(call.state, volid, call.node)
    if found is None:
        raise Failure(500, f"volume_size_info on '{volid}' failed - no such file or directory")
    volume = found[1]
    is_disk = volume["content"] in ("images", "rootdir", "import")
    answer = {
        "path": path_of(call, volume),
        # Whatever is no disk is looked at as if it were a raw one, in sectors.
        "size": volume["size"] if is_disk else -(-volume["size"] // 512) * 512,
        "used": int(volume.get("used") or volume["size"]),
        "format": volume["format"] if is_disk else "raw",
    }
    return {**answer, **{name: volume[name] for name in _BACKUP_ONLY if volume.get(name)}}


def path_of(call: Call, volume: volumes.Volume) -> str:
    storage, name = storages.split_volid(volume["volid"])
    definition = {"storage": storage, **storages.definition(call.state, storage)}
    if not storages.has_files(definition):
        return f"/dev/{definition.get('vgname') or definition.get('pool') or storage}/{name.rpartition('/')[2]}"
    base = storages.path_of(definition)
    folder = storages.CONTENT_FOLDERS.get(volume["content"])
    if folder:
        return f"{base}/{folder}/{name.partition('/')[2]}"
    return f"{base}/images/{'/'.join(name.split('/')[-2:])}"


def _check_access(call: Call, volid: str) -> None:
    from pvehelm.simulator.behaviours import drives

    drives.check_volume(call, volid, None)


@handler("PUT", PATH + "/content/{volume}")
def describe(call: Call) -> None:
    volid = _volid(call)
    _check_access(call, volid)
    storage, _, name = volid.partition(":")
    definition = storages.definition(call.state, storage)
    if storages.parse_volume(definition, name)["content"] != "backup":
        if call.has("notes"):
            raise Failure(500, "only backups can have notes")
        if call.has("protected"):
            raise Failure(500, "only backups support attribute 'protected'")
    changes: dict[str, Any] = {}
    if call.has("notes"):
        changes["notes"] = call.str("notes") or None
    if call.has("protected"):
        changes["protected"] = int(call.bool("protected"))
    # Notes lie beside the file, which nobody looks for.
    if not storages.has_files(definition) or volumes.find(call.state, volid, call.node) is not None:
        volumes.change(call.state, volid, call.node, **changes)


@handler("DELETE", PATH + "/content/{volume}")
def delete(call: Call) -> str | None:
    from pvehelm.simulator.behaviours import guests

    volid, storage = _volid(call), call.str("storage")
    parsed = storages.parse_volume(storages.definition(call.state, storage), volid.partition(":")[2])
    owner = parsed["vmid"]
    if parsed["content"] == "backup" and owner is not None and call.may(f"/vms/{owner}", "VM.Backup"):
        call.require(f"/storage/{storage}", ["Datastore.AllocateSpace"])
    else:
        call.require(f"/storage/{storage}", ["Datastore.Allocate"])
    found = volumes.find(call.state, volid, call.node)
    if found is not None and found[1].get("protected"):
        raise Failure(500, "cannot remove protected backup")

    def work(log: TaskLog) -> None:
        volumes.remove(call.state, volid, call.node)
        log(f"Removed volume '{volid}'")

    upid = call.task("imgdel", f"{owner}@{storage}" if owner is not None else storage, guests.in_task(work))
    task = call.state.collection("tasks")[upid]
    # With a delay the answer waits for the task, and has nothing to tell when that went well.
    done = task["exitstatus"] == "OK" and task["end"] <= call.now + call.int("delay")
    return None if call.has("delay") and done else upid


# -- what comes from elsewhere -------------------------------------------------------------------------------------


def _receive(call: Call, type: str, id: str, content: str, filename: str, size: int = 0) -> str:
    """A task after which a file is on the storage."""
    from pvehelm.simulator.behaviours import guests

    storage = call.str("storage")
    definition = storages.usable(call.state, storage, call.node)
    if content not in storages.contents(definition):
        raise Failure(500, f"storage '{storage}' is not configured for content-type '{content}'")
    volid = f"{storage}:{content}/{filename}"
    endings = {"iso": ".iso or .img", "vztmpl": ".tar.gz, .tar.xz or .tar.zst", "import": ".ova, .qcow2, .raw or .vmdk"}
    try:
        storages.parse_volume(definition, volid.partition(":")[2])
    except Failure:
        what = f"wrong file extension (expected {endings.get(content, 'another')})"
        raise bad_parameters({"filename": what}) from None
    if type == "download" and volumes.find(call.state, volid, call.node) is not None:
        raise Failure(500, f"refusing to override existing file '{filename}'")

    def work(log: TaskLog) -> None:
        volumes.remove(call.state, volid, call.node)
        volumes.put(call.state, call.node, volid, call.now, size=size or _SIZES[content])
        log(f"{type} of '{volid}' finished")

    return call.task(type, id, guests.in_task(work))


def _file_name(text: str) -> str:
    """The last part of what may be a path, in letters that a storage takes."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", re.split(r"[/\\]", text.rstrip("\n"))[-1])


@handler("POST", PATH + "/download-url")
def download(call: Call) -> str:
    """Fetches nothing: a task that leaves the volume."""
    filename = _file_name(call.str("filename"))
    return _receive(call, "download", filename, call.str("content"), filename)


@handler("POST", PATH + "/upload")
def upload(call: Call) -> str:
    if call.file is None:
        raise Failure(500, "missing temporary file name")
    filename = _file_name(call.str("filename"))
    algorithm, wanted = call.str("checksum-algorithm"), call.str("checksum").lower()
    got = hashlib.new(algorithm, call.file).hexdigest() if algorithm else wanted
    if got != wanted and call.fail_task is None:
        call.fail_task = f"checksum mismatch: got '{got}' != expect '{wanted}'"
    return _receive(call, "imgcopy", "", call.str("content"), filename, max(1, len(call.file)))


@handler("POST", PATH + "/oci-registry-pull")
def pull(call: Call) -> str:
    reference = call.str("reference")
    name = call.str("filename") or re.sub(r"[^\w.-]", "_", reference.rpartition("/")[2])
    return _receive(call, "download", name, "vztmpl", name if name.endswith(".tar") else f"{name}.tar")


@handler("POST", "/nodes/{node}/aplinfo")
def fetch_template(call: Call) -> str:
    template = call.str("template")
    if template not in {row["template"] for row in _TEMPLATES}:
        raise bad_parameters({"template": "no such template"})
    storage = call.str("storage")
    volid = f"{storage}:vztmpl/{template}"
    if volumes.find(call.state, volid, call.node) is None:
        return _receive(call, "download", template, "vztmpl", template)
    return call.task("download", template, lambda log: log("file is there already"))


@handler("GET", "/nodes/{node}/aplinfo")
def templates(call: Call) -> list[dict[str, Any]]:
    return [dict(row) for row in _TEMPLATES]


def _template(os: str, package: str, version: str, ending: str = "tar.zst") -> dict[str, Any]:
    return {
        "template": f"{package}_{version}_amd64.{ending}",
        "package": package,
        "os": os,
        "version": version,
        "section": "system",
        "type": "lxc",
        "architecture": "amd64",
        "headline": package.replace("-", " "),
        "source": "simulator",
    }


_TEMPLATES = (
    _template("debian-12", "debian-12-standard", "12.7-1"),
    _template("debian-13", "debian-13-standard", "13.1-2"),
    _template("ubuntu-24.04", "ubuntu-24.04-standard", "24.04-2"),
    _template("alpine-3.22", "alpine-3.22-default", "20250617", "tar.xz"),
)

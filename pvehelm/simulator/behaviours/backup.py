"""Backups of guests: vzdump, its defaults, and pruning."""

from __future__ import annotations

import re
import time
from typing import Any

from pvehelm.simulator.behaviours import guests, lists, pools, storages, volumes
from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.core import Call, Failure, bad_parameters, handler
from pvehelm.simulator.tasks import TaskLog

_ENDING = {"0": "", "1": ".lzo", "lzo": ".lzo", "gzip": ".gz", "zstd": ".zst"}
_ROOT_ONLY = ("tmpdir", "dumpdir", "script", "job-id")
_DEFAULTS: dict[str, Any] = {
    "all": 0,
    "bwlimit": 0,
    "compress": "0",
    "fleecing": {"enabled": 0},
    "ionice": 7,
    "lockwait": 180,
    "mailnotification": "always",
    "mode": "snapshot",
    "notification-mode": "auto",
    "performance": {"max-workers": 16, "pbs-entries-max": 1048576},
    "pigz": 0,
    "quiet": 0,
    "remove": 1,
    "stdexcludes": 1,
    "stop": 0,
    "stopwait": 10,
    "zstd": 1,
}


@handler("GET", "/nodes/{node}/vzdump/defaults")
def defaults(call: Call) -> dict[str, Any]:
    storage = call.str("storage", "local")
    definition = {"storage": storage, **storages.definition(call.state, storage)}
    call.require(f"/storage/{storage}", ["Datastore.Audit", "Datastore.AllocateSpace"], any=True)
    answer = {**_DEFAULTS, "storage": storage, "prune-backups": definition.get("prune-backups", "keep-all=1")}
    if storages.has_files(definition):
        answer["dumpdir"] = f"{storages.path_of(definition)}/dump"
    return answer


@handler("POST", "/nodes/{node}/vzdump")
def vzdump(call: Call) -> str | None:
    wanted = call.list("vmid")
    if not wanted and not call.bool("all") and not call.args.get("pool") and not call.bool("stop"):
        raise bad_parameters({"vmid": "property is missing"})
    if wanted and call.bool("all"):
        what = "option conflicts with option 'vmid'"
        raise bad_parameters({"all": what})
    if not call.is_root:
        for name in _ROOT_ONLY:
            if call.has(name):
                raise bad_parameters({name: "Only root may set this option."})
    storage = call.str("storage")
    if storage:
        call.require(f"/storage/{storage}", ["Datastore.AllocateSpace"])
    for vmid in wanted:
        call.require(f"/vms/{vmid}", ["VM.Backup"])
    selected = _selection(call, wanted)

    def work(log: TaskLog) -> None:
        target = storage or "local"
        try:
            definition = storages.usable(call.state, target, call.node)
        except Failure as failure:
            text = f"could not activate storage '{target}': {failure.message}"
            raise Failure(500, f"{text} could not get storage information for '{target}'") from None
        if "backup" not in storages.contents(definition):
            raise Failure(500, f"storage '{target}' does not support backups")
        bad = 0
        for vmid in selected:
            guest = guests.anywhere(call.state, vmid)
            if guest is None or guest.node != call.node:
                log(f"ERROR: Backup of VM {vmid} failed - unable to find VM '{vmid}'")
                bad += 1
                continue
            try:
                guest.check_lock(call)
            except Failure as failure:
                log(f"ERROR: Backup of {guest.label} failed - {failure.message}")
                bad += 1
                continue
            log(f"INFO: creating backup {_dump(call, guest, target, definition)}")
        if bad:
            raise Failure(500, "job errors")

    shown = wanted[0] if len(wanted) == 1 else ""
    return call.task("vzdump", shown, guests.in_task(work), lock="backup" if shown else None, vmid=shown or None)


def _selection(call: Call, wanted: list[str]) -> list[str]:
    """The ids that a backup covers; named ones are kept even when they are unknown."""
    if wanted:
        return wanted
    pool = call.args.get("pool")
    if pool:
        if pool not in call.state.collection("pools"):
            call.fail(f"pool '{pool}' does not exist")
        pools.check(call, pool)
        chosen = {str(vmid) for vmid in call.state.collection("pools")[pool].get("vms", ())}
    excluded = set(call.list("exclude"))
    return [
        guest.vmid
        for guest in guests.all_guests(call)
        if guest.node == call.node and guest.vmid not in excluded and (not pool or guest.vmid in chosen)
    ]


def _dump(call: Call, guest: Guest, storage: str, definition: storages.Definition) -> str:
    """Leave the backup volume of one guest."""
    moment = call.now
    # Two in one second are possible here, where a backup takes no time.
    while volumes.find(call.state, volid := _volid(call, guest, storage, definition, moment), call.node) is not None:
        moment += 1
    sizes = [volumes.get(call.state, v, guest.node)["size"] for v in lists.guest_volumes(call, guest).values()]
    facts: dict[str, Any] = {
        "subtype": guest.kind,
        "guest": {"kind": guest.kind, "config": {k: v for k, v in guest.config.items() if k != "lock"}},
        "protected": int(call.bool("protected")),
    }
    template = call.str("notes-template")
    if template:
        facts["notes"] = _notes(guest, template)
    return volumes.put(call.state, call.node, volid, call.now, size=max(sum(sizes) // 4, 1 << 20), **facts)


def _volid(call: Call, guest: Guest, storage: str, definition: storages.Definition, moment: float) -> str:
    if not storages.has_files(definition):
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
        return f"{storage}:backup/{'vm' if guest.kind == 'qemu' else 'ct'}/{guest.vmid}/{when}"
    stamp = time.strftime("%Y_%m_%d-%H_%M_%S", time.gmtime(moment))
    kind = "vma" if guest.kind == "qemu" else "tar"
    ending = _ENDING[call.str("compress", "0")]
    return f"{storage}:backup/vzdump-{guest.kind}-{guest.vmid}-{stamp}.{kind}{ending}"


def _notes(guest: Guest, template: str) -> str:
    known = {"guestname": guest.name, "vmid": guest.vmid, "node": guest.node, "cluster": "simulator"}
    text = re.sub(r"\{\{(\w+)\}\}", lambda hit: known.get(hit[1], hit[0]), template)
    return text.replace("\\n", "\n").replace("\\\\", "\\")


# -- pruning -------------------------------------------------------------------------------------------------------

_PERIODS = {
    "keep-hourly": "%Y-%m-%d %H",
    "keep-daily": "%Y-%m-%d",
    "keep-weekly": "%G-%V",
    "keep-monthly": "%Y-%m",
    "keep-yearly": "%Y",
}


def _marks(call: Call) -> list[dict[str, Any]]:
    """Every backup of the storage with what pruning would do to it."""
    storage = call.str("storage")
    definition = storages.usable(call.state, storage, call.node)
    text = call.str("prune-backups") or str(definition.get("prune-backups") or "")
    if not text:
        call.fail(f"no prune-backups options configured for storage '{storage}'")
    keep = {k: int(v) for k, _, v in (part.partition("=") for part in text.split(",")) if v.isdigit()}
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for volume in volumes.of_storage(call.state, storage, call.node):
        if volume["content"] != "backup" or volume.get("vmid") is None:
            continue
        kind = str(volume.get("subtype") or "qemu")
        if call.str("type", kind) != kind or call.int("vmid", int(volume["vmid"])) != int(volume["vmid"]):
            continue
        row = {"volid": volume["volid"], "vmid": int(volume["vmid"]), "type": kind, "ctime": int(volume["ctime"])}
        row["mark"] = "protected" if volume.get("protected") else ""
        groups.setdefault((kind, row["vmid"]), []).append(row)
    for rows in groups.values():
        _mark(rows, keep)
    return [row for rows in groups.values() for row in rows]


def _mark(rows: list[dict[str, Any]], keep: dict[str, int]) -> None:
    rows.sort(key=lambda row: -row["ctime"])
    free = [row for row in rows if not row["mark"]]
    if keep.get("keep-all") or not any(keep.values()):
        for row in free:
            row["mark"] = "keep"
        return
    for row in free[: keep.get("keep-last", 0)]:
        row["mark"] = "keep"
    for option, pattern in _PERIODS.items():
        taken = {time.strftime(pattern, time.gmtime(r["ctime"])) for r in rows if r["mark"] == "keep"}
        left = keep.get(option, 0)
        for row in free:
            period = time.strftime(pattern, time.gmtime(row["ctime"]))
            if left > 0 and not row["mark"] and period not in taken:
                row["mark"] = "keep"
                taken.add(period)
                left -= 1
    for row in free:
        row["mark"] = row["mark"] or "remove"


@handler("GET", "/nodes/{node}/storage/{storage}/prunebackups")
def preview(call: Call) -> list[dict[str, Any]]:
    return _marks(call)


@handler("DELETE", "/nodes/{node}/storage/{storage}/prunebackups")
def prune(call: Call) -> str:
    storage = call.str("storage")
    call.require(f"/storage/{storage}", ["Datastore.AllocateSpace"])

    def work(log: TaskLog) -> None:
        for row in _marks(call):
            if row["mark"] == "remove":
                volumes.remove(call.state, row["volid"], call.node)
            log(f"{row['mark']} {row['volid']}")

    shown = f"{call.int('vmid')}@{storage}" if call.args.get("vmid") else storage
    return call.task("prunebackups", shown, guests.in_task(work))

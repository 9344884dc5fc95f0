"""Backup jobs: selection by all, guests or pool; schedules; what they include."""

from __future__ import annotations

import re
import uuid
from typing import Any

from pvehelm.api import formats
from pvehelm.simulator.behaviours import pools
from pvehelm.simulator.core import Call, handler

_ITEM = "/cluster/backup/{id}"
_ROOT_ONLY = ("tmpdir", "dumpdir", "script")
_LIMITED = ("bwlimit", "ionice", "performance")
_OBJECTS = ("prune-backups", "performance", "fleecing")
_CONTROL = ("id", "delete", "digest", "starttime", "dow")
_DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _shown(job_id: str, job: dict[str, Any]) -> dict[str, Any]:
    return {"id": job_id, "type": "vzdump", **job}


def _schedule(call: Call, *, required: bool) -> str | None:
    if call.has("starttime") and call.has("schedule"):
        call.bad(starttime="'starttime' and 'schedule' cannot both be set")
    if call.has("starttime"):
        days = [day.lower() for day in call.list("dow")] or _DAYS
        time = call.str("starttime")
        return time if set(days) == set(_DAYS) else f"{','.join(days)} {time}"
    if not call.has("schedule") and required:
        call.bad(schedule="neither 'starttime' nor 'schedule' were set")
    return call.str("schedule") if call.has("schedule") else None


def _check_rights(call: Call) -> None:
    if call.is_root:
        return
    for name in _ROOT_ONLY:
        if call.has(name):
            call.bad(**{name: "Only root may set this option."})
    if any(call.has(name) for name in _LIMITED):
        call.require("/", "Sys.Modify")


def _sent(call: Call) -> dict[str, Any]:
    found = {}
    for name, value in call.args.items():
        if name in _CONTROL:
            continue
        param = call.operation.param(name)
        if name in _OBJECTS and param is not None and value != "":
            found[name] = formats.parse(param.format, str(value))
        else:
            found[name] = call.typed(name)
    return found


def _check_selection(call: Call, job: dict[str, Any], *, missing: bool) -> None:
    for name in ("all", "exclude", "pool"):
        if job.get(name) and job.get("vmid"):
            call.bad_locked(name, "option conflicts with option 'vmid'")
    if job.get("all") and job.get("pool"):
        call.bad_locked("all", "option conflicts with option 'pool'")
    if job.get("exclude") and not job.get("pool"):
        job["all"] = 1
    if missing and not any(job.get(name) for name in ("all", "stop", "pool", "vmid")):
        call.bad_locked("vmid", "property is missing")


@handler("GET", "/cluster/backup")
def listed(call: Call) -> Any:
    return [
        {**_shown(job_id, job), "next-run": int(call.now) // 3600 * 3600 + 3600}
        for job_id, job in sorted(call.state.collection("backup_jobs").items())
    ]


@handler("GET", _ITEM)
def get(call: Call) -> Any:
    job = call.state.collection("backup_jobs").get(call.str("id"))
    if job is None:
        call.bad(id=f"No such job '{call.str('id')}'")
    return _shown(call.str("id"), job)


@handler("POST", "/cluster/backup")
def create(call: Call) -> None:
    _check_rights(call)
    schedule = _schedule(call, required=True)
    if call.str("pool"):
        pools.check(call, call.str("pool"))
    job_id = call.str("id") or str(uuid.uuid4())
    jobs = call.state.collection("backup_jobs")
    if job_id in jobs:
        call.fail(f"Job '{job_id}' already exists")
    job = {"enabled": 1, **_sent(call), "schedule": schedule}
    job = {name: value for name, value in job.items() if value != ""}
    _check_selection(call, job, missing=True)
    jobs[job_id] = job


@handler("PUT", _ITEM)
def update(call: Call) -> None:
    _check_rights(call)
    schedule = _schedule(call, required=False)
    if call.str("pool"):
        pools.check(call, call.str("pool"))
    if not set(call.args) - {"id"}:
        call.fail("no options specified")
    jobs = call.state.collection("backup_jobs")
    job = call.found("backup_jobs", call.str("id"), "no such vzdump job")
    for name in call.list("delete"):
        if call.operation.param(name) is None or name in ("id", "delete"):
            call.bad_locked("delete", f"unknown option '{name}'")
        if name == "schedule":
            call.bad_locked("delete", f"cannot delete required option '{name}'")
        job.pop(name, None)
    sent = _sent(call)
    _check_selection(call, sent, missing=False)
    job.update(sent)
    if schedule is not None:
        job["schedule"] = schedule
    for chosen, others in (("all", ("vmid", "pool")), ("vmid", ("all", "exclude", "pool")), ("pool", ("vmid", "all"))):
        if sent.get(chosen):
            for name in others:
                job.pop(name, None)
            break
    jobs[call.str("id")] = {name: value for name, value in job.items() if value != ""}


@handler("DELETE", _ITEM)
def delete(call: Call) -> None:
    jobs = call.state.collection("backup_jobs")
    if call.str("id") not in jobs:
        call.bad_locked("id", f"No such job '{call.str('id')}'")
    del jobs[call.str("id")]


def forget(call: Call, vmid: str | int) -> None:
    """A purged guest leaves every job's list; a job without guests goes."""
    jobs = call.state.collection("backup_jobs")
    for job_id, job in jobs.items():
        for name in ("vmid", "exclude"):
            listed_ids = str(job.get(name) or "").split(",")
            if str(vmid) in listed_ids:
                left = [v for v in listed_ids if v != str(vmid)]
                if left:
                    job[name] = ",".join(left)
                    jobs[job_id] = job
                elif name == "vmid":
                    del jobs[job_id]
                else:
                    del job[name]
                    jobs[job_id] = job


def _guests(call: Call) -> dict[str, tuple[str, dict[str, Any]]]:
    return {vmid: (kind, guest) for kind in ("qemu", "lxc") for vmid, guest in call.state.collection(kind).items()}


def _selected(call: Call, job: dict[str, Any]) -> list[str]:
    if job.get("vmid"):
        return [vmid for vmid in str(job["vmid"]).split(",") if vmid]
    excluded = set(str(job.get("exclude") or "").split(","))
    if job.get("pool"):
        pool = call.state.collection("pools").get(job["pool"]) or {}
        return [vmid for vmid in pool.get("vms", ()) if vmid not in excluded]
    return [vmid for vmid in sorted(_guests(call), key=int) if vmid not in excluded] if job.get("all") else []


@handler("GET", _ITEM + "/included_volumes")
def included(call: Call) -> Any:
    job = call.state.collection("backup_jobs").get(call.str("id"))
    if job is None:
        call.bad(id=f"No such job '{call.str('id')}'")
    guests = _guests(call)
    children = []
    for vmid in _selected(call, job):
        if vmid not in guests:
            children.append({"id": int(vmid), "type": "unknown", "leaf": 1})
            continue
        kind, guest = guests[vmid]
        volumes = _volumes(vmid, guest["config"])
        name = guest["config"].get("name" if kind == "qemu" else "hostname") or f"VM {vmid}"
        row: dict[str, Any] = {"id": int(vmid), "type": kind, "name": name}
        children.append({**row, "children": volumes} if volumes else {**row, "leaf": 1})
    return {"children": children}


def _volumes(vmid: str, config: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for key, value in sorted(config.items()):
        if not re.fullmatch(r"(?:scsi|virtio|sata|ide|mp)\d+|rootfs|efidisk0|tpmstate0", key):
            continue
        volume, *options = str(value).split(",")
        if ":" not in volume or "media=cdrom" in options:
            continue
        wanted = key == "rootfs" or ("backup=1" in options if key.startswith("mp") else "backup=0" not in options)
        reason = "enabled" if wanted else "disabled"
        found.append({"id": f"{vmid}:{key}", "name": volume, "included": int(wanted), "reason": reason, "leaf": 1})
    return found


@handler("GET", "/cluster/backup-info/not-backed-up")
def not_backed_up(call: Call) -> Any:
    covered = {vmid for job in call.state.collection("backup_jobs").values() for vmid in _selected(call, job)}
    return [
        {
            "vmid": int(vmid),
            "type": kind,
            "name": guest["config"].get("name" if kind == "qemu" else "hostname") or f"VM {vmid}",
        }
        for vmid, (kind, guest) in sorted(_guests(call).items(), key=lambda item: int(item[0]))
        if vmid not in covered and call.may(f"/vms/{vmid}", "VM.Audit")
    ]

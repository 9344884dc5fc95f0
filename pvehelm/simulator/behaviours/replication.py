"""Storage replication jobs. Nothing is copied; a job is listed on the node of its guest."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator.behaviours import guests
from pvehelm.simulator.core import MODIFIED, Call, handler

_ITEM = "/cluster/replication/{id}"


def _shown(job_id: str, job: dict[str, Any]) -> dict[str, Any]:
    vmid, _, number = job_id.partition("-")
    return {"id": job_id, "guest": int(vmid), "jobnum": int(number), **job}


@handler("GET", "/cluster/replication")
def listed(call: Call) -> Any:
    return [
        _shown(job_id, job)
        for job_id, job in call.state.collection("replication").items()
        if call.may(f"/vms/{job_id.partition('-')[0]}", "VM.Audit")
    ]


@handler("POST", "/cluster/replication")
def create(call: Call) -> None:
    job_id = call.str("id")
    vmid = job_id.partition("-")[0]
    call.require(f"/vms/{vmid}", "VM.Replicate")
    jobs = call.state.collection("replication")
    prefix = "create replication job failed: "
    if job_id in jobs:
        call.fail(f"{prefix}replication job '{job_id}' already exists")
    guest = guests.anywhere(call.state, vmid)
    if guest is None:
        call.fail(f"{prefix}Guest '{vmid}' does not exist.")
    nodes = call.state.collection("nodes")
    if call.str("target") not in nodes or len(nodes) < 2:
        call.fail(f"{prefix}Target '{call.str('target')}' does not exist.")
    if guest.node == call.str("target"):
        call.fail(f"{prefix}Source '{guest.node}' and target '{call.str('target')}' are the same.")
    jobs[job_id] = {"source": guest.node, **call.sent("id")}


@handler("GET", _ITEM)
def get(call: Call) -> Any:
    call.require(f"/vms/{call.str('id').partition('-')[0]}", "VM.Audit")
    job = call.found("replication", call.str("id"), f"no such replication job '{call.str('id')}'")
    return {**_shown(call.str("id"), job), "digest": call.digest_of("replication")}


def _job(call: Call) -> dict[str, Any]:
    call.require(f"/vms/{call.str('id').partition('-')[0]}", "VM.Replicate")
    return call.found("replication", call.str("id"), f"no such job '{call.str('id')}'")


@handler("PUT", _ITEM)
def update(call: Call) -> None:
    job = _job(call)
    call.check_digest(call.digest_of("replication"), "update replication job failed: " + MODIFIED)
    for name in call.list("delete"):
        job.pop(name, None)
    call.state.collection("replication")[call.str("id")] = {**job, **call.sent("id")}


@handler("DELETE", _ITEM)
def delete(call: Call) -> None:
    _job(call)
    del call.state.collection("replication")[call.str("id")]


@handler("GET", *(f"/nodes/{{node}}/replication/{{id}}{part}" for part in ("", "/status", "/log")))
def of_node(call: Call) -> Any:
    """What a node knows of one job; the index looks at nothing."""
    part = call.operation.path.rpartition("/")[2]
    if part == "{id}":
        return [{"name": name} for name in ("schedule_now", "log", "status")]
    _on_this_node(call)
    if part == "log":
        call.beside["total"] = 1
        return [{"n": 1, "t": "no content"}]
    return next(row for row in on_node(call) if row["id"] == call.str("id"))


@handler("POST", "/nodes/{node}/replication/{id}/schedule_now")
def schedule_now(call: Call) -> None:
    _on_this_node(call)


def _on_this_node(call: Call) -> None:
    """500 unless the job is one of this node's."""
    if call.str("id") not in {row["id"] for row in on_node(call)}:
        call.fail(f"no such replication job '{call.str('id')}'")


@handler("GET", "/nodes/{node}/replication")
def on_node(call: Call) -> Any:
    rows = []
    for job_id, job in call.state.collection("replication").items():
        vmid = job_id.partition("-")[0]
        guest = guests.anywhere(call.state, vmid)
        if guest and guest.node == call.node and call.may(f"/vms/{vmid}", "VM.Audit"):
            rows.append({**_shown(job_id, job), "vmtype": guest.kind, "fail_count": 0, "last_sync": 0, "duration": 0})
    return rows

"""Realm synchronisation jobs."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator.core import Call, handler
from pvehelm.simulator.crud import typed

_SYNC = "/cluster/jobs/realm-sync/{id}"


def _sync_job(call: Call) -> dict[str, Any]:
    found = call.state.collection("realm_sync_jobs").get(call.str("id"))
    if found is None:
        call.fail(f"400 Parameter verification failed.\nid: No such job '{call.str('id')}'")
    return found


@handler("GET", "/cluster/jobs/realm-sync")
def sync_jobs(call: Call) -> Any:
    return [{"id": name, **document} for name, document in call.state.collection("realm_sync_jobs").items()]


@handler("GET", _SYNC)
def get_sync_job(call: Call) -> Any:
    found = call.state.collection("realm_sync_jobs").get(call.str("id"))
    if found is None:
        call.bad(id=f"No such job '{call.str('id')}'")
    return {"id": call.str("id"), "type": "realm-sync", **found}


def _job_options(call: Call) -> dict[str, Any]:
    skip = ("id", "delete", "digest")
    return {name: typed(call.operation, name, value) for name, value in call.args.items() if name not in skip}


@handler("POST", _SYNC)
def create_sync_job(call: Call) -> None:
    jobs = call.state.collection("realm_sync_jobs")
    if call.str("id") in jobs:
        call.fail(f"realm-sync-job '{call.str('id')}' already exists")
    realm = call.state.collection("domains").get(call.str("realm")) or {}
    if call.has("realm") and realm.get("type") not in ("ad", "ldap"):
        call.fail(f"can't use realm type '{realm.get('type', 'unknown')}' for sync")
    jobs[call.str("id")] = {"enabled": 1, **_job_options(call)}


@handler("PUT", _SYNC)
def update_sync_job(call: Call) -> None:
    document = _sync_job(call)
    for name in call.list("delete"):
        document.pop(name, None)
    call.state.collection("realm_sync_jobs")[call.str("id")] = {**document, **_job_options(call)}


@handler("DELETE", _SYNC)
def delete_sync_job(call: Call) -> None:
    _sync_job(call)
    del call.state.collection("realm_sync_jobs")[call.str("id")]

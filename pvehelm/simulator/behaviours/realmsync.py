"""Realm synchronisation jobs."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator.core import Call, handler

_REQUIRED = ("realm", "scope", "schedule")
_SYNC = "/cluster/jobs/realm-sync/{id}"


@handler("GET", "/cluster/jobs/realm-sync")
def sync_jobs(call: Call) -> Any:
    due = int(call.now) // 3600 * 3600 + 3600
    return [
        {"id": name, "type": "realm-sync", "last-run": None, "next-run": due, **document}
        for name, document in call.state.collection("realm_sync_jobs").items()
    ]


@handler("GET", _SYNC)
def get_sync_job(call: Call) -> Any:
    found = call.state.collection("realm_sync_jobs").get(call.str("id"))
    if found is None:
        call.bad(id=f"No such job '{call.str('id')}'")
    return {"type": "realm-sync", **found}


def _job_options(call: Call) -> dict[str, Any]:
    for name in _REQUIRED:
        if call.operation.method == "POST" and not call.has(name):
            call.fail(f"missing value for required option '{name}'")
    return call.sent("id")


@handler("POST", _SYNC)
def create_sync_job(call: Call) -> None:
    jobs = call.state.collection("realm_sync_jobs")
    if call.str("id") in jobs:
        call.fail(f"Job '{call.str('id')}' already exists")
    if call.has("realm"):
        realm = call.state.collection("domains").get(call.str("realm"))
        if realm is None:
            call.bad_locked("realm", f"No such realm '{call.str('realm')}'")
        if realm["type"] not in ("ad", "ldap"):
            call.bad_locked("realm", "Only LDAP/AD realms can be synced.")
    jobs[call.str("id")] = {"enabled": 1, **_job_options(call)}


@handler("PUT", _SYNC)
def update_sync_job(call: Call) -> None:
    document = call.found("realm_sync_jobs", call.str("id"), "no such realm-sync job")
    sent = _job_options(call)
    for name in call.list("delete"):
        if call.operation.param(name) is None or name in ("id", "delete"):
            call.fail(f"no such option '{name}'")
        if name in _REQUIRED:
            call.fail(f"unable to delete required option '{name}'")
        if name in sent:
            call.fail(f"cannot set and delete property '{name}' at the same time!")
        document.pop(name, None)
    call.state.collection("realm_sync_jobs")[call.str("id")] = {"enabled": 1, **document, **sent}


@handler("DELETE", _SYNC)
def delete_sync_job(call: Call) -> None:
    if call.str("id") not in call.state.collection("realm_sync_jobs"):
        call.bad_locked("id", f"No such job '{call.str('id')}'")
    del call.state.collection("realm_sync_jobs")[call.str("id")]

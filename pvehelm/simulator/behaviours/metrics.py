"""Metric servers, realm synchronisation jobs, custom CPU models and replication jobs: small files of sections."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator.core import CPU_MODELS, MODIFIED, Call, handler
from pvehelm.simulator.crud import typed
from pvehelm.simulator.sections import Section, options

_SERVER = "/cluster/metrics/server/{id}"
_SERVERS = Section(
    collection="metric_servers",
    key="id",
    options=options(
        {
            "graphite": ("disable mtu path port proto server timeout", "server port"),
            "influxdb": (
                "api-path-prefix bucket disable influxdbproto max-body-size mtu organization port server timeout token "
                "verify-certificate",
                "port server",
            ),
            "opentelemetry": (
                "disable otel-compression otel-headers otel-max-body-size otel-path otel-protocol "
                "otel-resource-attributes otel-timeout otel-verify-ssl port server",
                "server port",
            ),
        }
    ),
    exists="Metric server '{id}' already exists",
    missing="no such server '{id}'",
    secrets=frozenset({"token"}),
)


@handler("GET", "/cluster/metrics/server")
def servers(call: Call) -> Any:
    fields = ("type", "server", "port")
    return [
        {"id": name, "disable": int(document.get("disable", 0)), **{f: document[f] for f in fields if f in document}}
        for name, document in call.state.collection("metric_servers").items()
    ]


@handler("GET", _SERVER)
def get_server(call: Call) -> Any:
    found = call.state.collection("metric_servers").get(call.str("id"))
    if found is None:
        call.fail(f"status server entry '{call.str('id')}' does not exist")
    return {name: value for name, value in found.items() if name != "token"}


@handler("POST", _SERVER)
def create_server(call: Call) -> None:
    _SERVERS.save(call, call.str("id"), _SERVERS.new(call, call.str("id"), call.str("type")))


@handler("PUT", _SERVER)
def update_server(call: Call) -> None:
    _SERVERS.save(call, call.str("id"), _SERVERS.changed(call, call.str("id")))


@handler("DELETE", _SERVER)
def delete_server(call: Call) -> None:
    if call.str("id") not in call.state.collection("metric_servers"):
        call.fail("cannot lookup undefined type!")
    del call.state.collection("metric_servers")[call.str("id")]


# -- realm synchronisation -------------------------------------------------------------------------------------

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


# -- custom CPU models -----------------------------------------------------------------------------------------

_MODEL = "/cluster/qemu/custom-cpu-models/{cputype}"


def _model_name(call: Call) -> str:
    return call.str("cputype").removeprefix("custom-")


def _models_digest(call: Call) -> str:
    return call.digest(dict(call.state.collection(CPU_MODELS).items()))


def _model(call: Call) -> dict[str, Any]:
    found = call.state.collection(CPU_MODELS).get(_model_name(call))
    if found is None:
        call.fail(f"custom CPU model '{_model_name(call)}' does not exist")
    return found


def _model_options(call: Call) -> dict[str, Any]:
    skip = ("cputype", "delete", "digest")
    return {name: typed(call.operation, name, value) for name, value in call.args.items() if name not in skip}


@handler("GET", "/cluster/qemu/custom-cpu-models")
def models(call: Call) -> Any:
    return [
        {"cputype": f"custom-{name}", **document, "digest": _models_digest(call)}
        for name, document in call.state.collection(CPU_MODELS).items()
        if call.may(f"/mapping/cpu/custom-{name}", "Mapping.Audit", "Mapping.Use", "Mapping.Modify")
    ]


@handler("GET", _MODEL)
def get_model(call: Call) -> Any:
    return {"cputype": f"custom-{_model_name(call)}", **_model(call), "digest": _models_digest(call)}


@handler("POST", "/cluster/qemu/custom-cpu-models")
def create_model(call: Call) -> None:
    found = call.state.collection(CPU_MODELS)
    if _model_name(call) in found:
        call.fail(f"custom CPU model '{_model_name(call)}' already exists")
    found[_model_name(call)] = _model_options(call)


@handler("PUT", _MODEL)
def update_model(call: Call) -> None:
    document = _model(call)
    call.check_digest(_models_digest(call), MODIFIED)
    for name in call.list("delete"):
        document.pop(name, None)
    call.state.collection(CPU_MODELS)[_model_name(call)] = {**document, **_model_options(call)}


@handler("DELETE", _MODEL)
def delete_model(call: Call) -> None:
    _model(call)
    del call.state.collection(CPU_MODELS)[_model_name(call)]
    # A configuration that names a model which is gone is read without it.
    guests = call.state.collection("qemu")
    for vmid, guest in guests.items():
        named = str(guest["config"].get("cpu", "")).split(",")[0].removeprefix("cputype=")
        if named == f"custom-{_model_name(call)}":
            del guest["config"]["cpu"]
            guests[vmid] = guest

"""Ceph's pools, file systems, daemons and flags, the same on every node. From the schema, not from recordings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pvehelm.simulator.core import Call, handler
from pvehelm.simulator.tasks import TaskLog

_POOLS = "/nodes/{node}/ceph/pool"
_POOL = _POOLS + "/{name}"
_FS = "/nodes/{node}/ceph/fs"
_DAEMONS = {"mon": "monid", "mgr": "id", "mds": "name"}
_DEFAULTS = {"application": "rbd", "crush_rule": "replicated_rule", "pg_autoscale_mode": "warn"} | {
    "pg_num": 128,
    "size": 3,
    "min_size": 2,
}
_FLAGS = (
    "nobackfill nodeep-scrub nodown noin noout norebalance norecover noscrub notieragent noup pause".split()  # noqa: SIM905
)


def _options(call: Call) -> dict[str, Any]:
    return call.sent("name", "add_storages", "erasure-coding")


def _find(call: Call, collection: str, name: str) -> dict[str, Any]:
    return call.found(collection, name, f"{collection} '{name}' does not exist")


@handler("GET", _POOLS)
def pools(call: Call) -> Any:
    return [
        {
            "pool": number,
            "pool_name": name,
            "type": "replicated",
            "crush_rule": 0,
            "crush_rule_name": pool["crush_rule"],
            **{key: pool[key] for key in pool if key not in ("crush_rule", "application")},
        }
        for number, (name, pool) in enumerate(call.state.collection("ceph-pool").items(), 1)
    ]


@handler("GET", _POOL)
def pool_index(call: Call) -> Any:
    return [{"name": "status"}]


@handler("GET", _POOL + "/status")
def pool(call: Call) -> Any:
    return {"name": call.str("name"), "id": 1, **_find(call, "ceph-pool", call.str("name"))}


@handler("POST", _POOLS)
def create_pool(call: Call) -> str:
    name = call.str("name")
    if name in call.state.collection("ceph-pool"):
        call.fail(f"pool '{name}' already exists")

    def work(log: TaskLog) -> None:
        call.state.collection("ceph-pool")[name] = {**_DEFAULTS, **_options(call)}

    return call.task("cephcreatepool", name, work)


@handler("PUT", _POOL)
def set_pool(call: Call) -> str:
    name = call.str("name")
    found = _find(call, "ceph-pool", name)

    def work(log: TaskLog) -> None:
        call.state.collection("ceph-pool")[name] = {**found, **_options(call)}

    return call.task("cephsetpool", name, work)


@handler("DELETE", _POOL)
def destroy_pool(call: Call) -> str:
    return _destroy(call, "ceph-pool", "cephdestroypool", call.str("name"))


def _destroy(call: Call, collection: str, task: str, name: str) -> str:
    _find(call, collection, name)

    def work(log: TaskLog) -> None:
        del call.state.collection(collection)[name]

    return call.task(task, name, work)


@handler("GET", _FS)
def file_systems(call: Call) -> Any:
    return [
        {"name": name, "data_pool": f"{name}_data", "metadata_pool": f"{name}_metadata"}
        for name, _ in call.state.collection("ceph-fs").items()
    ]


@handler("POST", _FS + "/{name}")
def create_file_system(call: Call) -> str:
    return _make(call, "ceph-fs", "cephfscreate", call.str("name"), {})


@handler("DELETE", _FS + "/{name}")
def destroy_file_system(call: Call) -> str:
    return _destroy(call, "ceph-fs", "cephfsdestroy", call.str("name"))


def _make(call: Call, collection: str, task: str, name: str, document: Mapping[str, Any]) -> str:
    if name in call.state.collection(collection):
        call.fail(f"{collection} '{name}' already exists")

    def work(log: TaskLog) -> None:
        call.state.collection(collection)[name] = dict(document)

    return call.task(task, name, work)


def _daemon(call: Call) -> str:
    return call.operation.path.split("/")[4]


@handler("GET", *(f"/nodes/{{node}}/ceph/{kind}" for kind in _DAEMONS))
def daemons(call: Call) -> Any:
    return [
        {"name": name, "state": "running", **document}
        for name, document in call.state.collection(f"ceph-{_daemon(call)}").items()
    ]


@handler("POST", *(f"/nodes/{{node}}/ceph/{kind}/{{{key}}}" for kind, key in _DAEMONS.items()))
def create_daemon(call: Call) -> str:
    kind = _daemon(call)
    name = call.str(_DAEMONS[kind])
    return _make(call, f"ceph-{kind}", f"cephcreate{kind}", name, {"host": call.node})


@handler("DELETE", *(f"/nodes/{{node}}/ceph/{kind}/{{{key}}}" for kind, key in _DAEMONS.items()))
def destroy_daemon(call: Call) -> str:
    kind = _daemon(call)
    return _destroy(call, f"ceph-{kind}", f"cephdestroy{kind}", call.str(_DAEMONS[kind]))


# -- flags -----------------------------------------------------------------------------------------------------


@handler("GET", "/cluster/ceph/flags")
def flags(call: Call) -> Any:
    found = call.state.value("ceph-flags", {})
    return [{"name": name, "description": "", "value": found.get(name, 0)} for name in _FLAGS]


@handler("PUT", "/cluster/ceph/flags")
def set_flags(call: Call) -> str:
    def work(log: TaskLog) -> None:
        sent = {name: int(call.bool(name)) for name in _FLAGS if call.has(name)}
        call.state.set_value("ceph-flags", {**call.state.value("ceph-flags", {}), **sent})

    return call.task("cephsetflags", "", work)

"""A node's certificate and subscription, and the ACME accounts of the cluster. From the schema, not from recordings."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator.core import Call, handler
from pvehelm.simulator.tasks import TaskFailure, TaskLog

_ACCOUNT = "/cluster/acme/account/{name}"
_ORDER = "/nodes/{node}/certificates/acme/certificate"
_CUSTOM = "/nodes/{node}/certificates/custom"
_SUBSCRIPTION = "/nodes/{node}/subscription"
_DIRECTORY = "https://acme-v02.api.letsencrypt.org/directory"


def _keep(call: Call, **facts: Any) -> None:
    nodes = call.state.collection("nodes")
    nodes[call.node] = {**nodes[call.node], **facts}


def _accounts(call: Call) -> Any:
    return call.state.collection("acme-accounts")


def _find(call: Call) -> dict[str, Any]:
    found: dict[str, Any] | None = _accounts(call).get(call.str("name", "default"))
    if found is None:
        call.fail(f"ACME account config file '{call.str('name', 'default')}' does not exist.")
    return found


@handler("GET", "/cluster/acme/account")
def accounts(call: Call) -> Any:
    return [{"name": name} for name, _ in _accounts(call).items()]


@handler("GET", _ACCOUNT)
def account(call: Call) -> Any:
    return _find(call)


@handler("POST", "/cluster/acme/account")
def register(call: Call) -> str:
    name = call.str("name", "default")
    if name in _accounts(call):
        call.bad(name=f"ACME account config file '{name}' already exists.")

    def work(log: TaskLog) -> None:
        contact = [f"mailto:{item}" for item in call.list("contact")]
        found = {"account": {"status": "valid", "contact": contact}, "directory": call.str("directory", _DIRECTORY)}
        if call.has("tos_url"):
            found["tos"] = call.str("tos_url")
        _accounts(call)[name] = {**found, "location": f"{found['directory']}/acct/1"}
        log("registering account")

    return call.task("acmeregister", name, work)


@handler("PUT", _ACCOUNT)
def update(call: Call) -> str:
    found, name = _find(call), call.str("name", "default")

    def work(log: TaskLog) -> None:
        if call.has("contact"):
            found["account"]["contact"] = [f"mailto:{item}" for item in call.list("contact")]
        _accounts(call)[name] = found

    return call.task("acmeupdate", name, work)


@handler("DELETE", _ACCOUNT)
def deactivate(call: Call) -> str:
    _find(call)
    name = call.str("name", "default")

    def work(log: TaskLog) -> None:
        del _accounts(call)[name]

    return call.task("acmedeactivate", name, work)


@handler("POST", _ORDER)
@handler("PUT", _ORDER)
def order(call: Call) -> str:
    there = bool(call.state.collection("nodes")[call.node].get("certificate"))
    if there and call.operation.method == "POST" and not call.bool("force"):
        call.bad(force="Custom certificate exists but 'force' is not set.")

    def work(log: TaskLog) -> None:
        if not any(True for _ in _accounts(call).items()):
            raise TaskFailure("no ACME account")
        _keep(call, certificate="acme")

    return call.task("acmenewcert", "", work)


@handler("DELETE", _ORDER)
def revoke(call: Call) -> str:
    return call.task("acmerevoke", "", lambda log: _keep(call, certificate=""))


@handler("POST", _CUSTOM)
def upload(call: Call) -> Any:
    if call.state.collection("nodes")[call.node].get("certificate") and not call.bool("force"):
        call.bad(force="Custom certificate exists but 'force' is not set.")
    _keep(call, certificate=call.str("certificates"))
    return {"filename": "pveproxy-ssl.pem"}


@handler("DELETE", _CUSTOM)
def remove(call: Call) -> None:
    _keep(call, certificate="")


# -- subscription ----------------------------------------------------------------------------------------------


@handler("GET", _SUBSCRIPTION)
def subscription(call: Call) -> Any:
    key = call.state.collection("nodes")[call.node].get("subscription")
    if not key:
        return {"status": "notfound", "message": "There is no subscription key", "serverid": "", "url": ""}
    return {"status": "new", "key": key, "serverid": "", "url": ""}


@handler("PUT", _SUBSCRIPTION)
def set_key(call: Call) -> None:
    _keep(call, subscription=call.str("key").strip())


@handler("DELETE", _SUBSCRIPTION)
def drop_key(call: Call) -> None:
    _keep(call, subscription="")

"""Tickets, passwords and the caller's permissions."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator import auth
from pvehelm.simulator.behaviours.users import set_password
from pvehelm.simulator.core import Call, Failure, handler
from pvehelm.simulator.permissions import Rights, normalise

_DENIED = "authentication failure"
# Shown to everybody who has a privilege there, besides the paths of ACL entries and of members of pools.
_ALWAYS = ("/", "/access", "/access/groups", "/mapping", "/nodes", "/pool", "/sdn", "/storage", "/vms")


@handler("GET", "/access/ticket")
def nothing(call: Call) -> None:
    return None


@handler("POST", "/access/ticket", "/access/vncticket")
def ticket(call: Call) -> Any:
    name = call.str("username")
    if call.has("realm") and "@" not in name:
        name = f"{name}@{call.str('realm')}"
    rights = Rights(call.state, call.sim.release)
    if not auth.login(call.state, name, call.str("password"), call.now, call.sim.release):
        raise Failure(401, _DENIED)
    if call.has("path") and rights.missing(name, call.str("path"), call.list("privs")) is not None:
        raise Failure(401, _DENIED)
    made, csrf = auth.make_ticket(call.state, name, call.now)
    found: dict[str, Any] = {
        "username": name,
        "ticket": made,
        "CSRFPreventionToken": csrf,
        "cap": _capabilities(rights, name),
    }
    cluster = call.state.value("cluster-name")
    return {**found, "clustername": cluster} if cluster else found


def _capabilities(rights: Rights, who: str) -> dict[str, dict[str, int]]:
    """What the web interface may show: the privileges by area, anywhere below it."""
    areas = {
        "vms": "VM.",
        "storage": "Datastore.",
        "access": "",
        "nodes": "Sys.",
        "dc": "",
        "sdn": "SDN.",
        "mapping": "",
    }
    found = {}
    for area, prefix in areas.items():
        path = "/" if area == "dc" else f"/{area}"
        found[area] = {priv: 1 for priv in rights.of(who, path) if priv.startswith(prefix)}
    return found


@handler("PUT", "/access/password")
def password(call: Call) -> None:
    userid = call.str("userid")
    users = call.state.collection("users")
    if not call.is_root:
        if not call.has("confirmation-password"):
            call.fail(
                "Parameter verification failed.",
                400,
                {"confirmation-password": "password is required to modify user"},
            )
        caller = users.get(call.user) or {}
        if not auth.password_fits(caller.get("password"), call.str("confirmation-password")):
            raise Failure(401, _DENIED)
    account = users.get(userid)
    if account is None:
        call.fail(f"no such user ('{userid}')")
    set_password(call, userid, account)
    users[userid] = account


@handler("GET", "/access/permissions")
def permissions(call: Call) -> Any:
    who = call.str("userid") or call.who
    if who.partition("!")[0] != call.user:
        call.require("/access", "Sys.Audit")
    rights = call.rights
    if call.has("path"):
        path = call.str("path")
        return {path: rights.of(who, path)}
    known = who.partition("!")[0] in call.state.collection("users")
    if not known:
        return {}
    paths = {*_ALWAYS, *(normalise(path) for path in rights.entries())}
    for pool in call.state.collection("pools").values():
        paths |= {f"/vms/{vmid}" for vmid in pool.get("vms", ())}
        paths |= {f"/storage/{storage}" for storage in pool.get("storage", ())}
    found = {path: rights.of(who, path) for path in sorted(paths)}
    return {path: right for path, right in found.items() if right}

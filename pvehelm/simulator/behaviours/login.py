"""Tickets, passwords and the caller's permissions."""

from __future__ import annotations

import re
from typing import Any

from pvehelm.simulator import auth
from pvehelm.simulator.behaviours.users import set_password
from pvehelm.simulator.core import Call, Failure, bad_parameters, handler
from pvehelm.simulator.permissions import Rights, normalise

_DENIED = "authentication failure"
# Shown to everybody who has a privilege there, besides the paths of ACL entries and of members of pools.
_ALWAYS = ("/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms")


@handler("GET", "/access/ticket")
def nothing(call: Call) -> None:
    return None


@handler("POST", "/access/ticket", "/access/vncticket")
def ticket(call: Call) -> Any:
    name = call.str("username")
    if call.has("realm"):
        name = f"{name}@{call.str('realm')}"
    rights = Rights(call.state, call.sim.release)
    if not auth.login(call.state, name, call.str("password"), call.now, call.sim.release):
        raise Failure(401, _DENIED)
    if call.has("path") and rights.missing(name, call.str("path"), call.list("privs")) is not None:
        raise Failure(401, _DENIED)
    found: dict[str, Any] = {"username": name, "cap": _capabilities(rights, name)}
    if not call.has("path"):
        made, csrf = auth.make_ticket(call.state, name, call.now)
        found |= {"ticket": made, "CSRFPreventionToken": csrf}
    cluster = call.state.value("cluster-name")
    return {**found, "clustername": cluster} if cluster else found


# Which privileges count in which area of the tree.
_AREAS = {
    "vms": r"VM\.|Permissions\.Modify",
    "access": r"(?:User|Group)\.|Permissions\.Modify",
    "storage": r"Datastore\.|Permissions\.Modify",
    "nodes": r"Sys\.|Permissions\.Modify",
    "sdn": r"SDN\.|Permissions\.Modify",
    "dc": r"Sys\.Audit|Sys\.Modify|SDN\.",
    "mapping": r"Mapping\.|Permissions\.Modify",
}


def _capabilities(rights: Rights, who: str) -> dict[str, dict[str, int]]:
    """What the web interface may show: the privileges by area, anywhere below it; a pool's are those of its guests."""
    found: dict[str, dict[str, int]] = {area: {} for area in _AREAS}
    roots = ("/", "/nodes", "/access/groups", "/vms", "/storage", "/sdn", "/mapping")
    for path in {*roots, *(normalise(path) for path in rights.entries())}:
        top = path.split("/")[1] or "dc"
        areas = ("vms", "storage") if top == "pool" else (top,) if top in _AREAS else ()
        for area in areas:
            found[area] |= {priv: 1 for priv in rights.of(who, path) if re.match(_AREAS[area], priv)}
    return found


@handler("PUT", "/access/password")
def password(call: Call) -> None:
    userid = call.str("userid")
    users = call.state.collection("users")
    if not call.is_root:
        if not call.has("confirmation-password"):
            raise bad_parameters({"confirmation-password": "password is required to modify user"})
        caller = users.get(call.user) or {}
        if not auth.password_fits(caller.get("password"), call.str("confirmation-password")):
            call.fail("invalid credentials")
    account = call.found("users", userid, f"no such user ('{userid}')")
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

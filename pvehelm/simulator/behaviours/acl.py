"""Roles and ACL entries."""

from __future__ import annotations

import re
from typing import Any

from pvehelm.simulator.core import Call, handler
from pvehelm.simulator.permissions import drop_entries, normalise
from pvehelm.simulator.roles import built_in, role_privileges

_NAME = r"[A-Za-z0-9.\-_]+"
_PATH = re.compile(
    rf"""/(?:
      access(?:/groups(?:/{_NAME})?|/realm(?:/{_NAME})?)?
    | nodes(?:/{_NAME})?
    | pool(?:/{_NAME}){{0,3}}
    | sdn(?:/controllers(?:/[A-Za-z0-9_-]+)?
          |/(?:dns|fabrics|ipams|prefix-lists|route-maps)(?:/[A-Za-z0-9]+)?
          |/zones(?:/{_NAME}(?:/{_NAME}(?:/[1-9][0-9]{{0,3}})?)?)?)?
    | storage(?:/{_NAME})?
    | vms(?:/[1-9][0-9]{{2,}})?
    | mapping(?:/{_NAME}){{0,2}}
    )?""",
    re.VERBOSE,
)


@handler("GET", "/access/roles")
def roles(call: Call) -> Any:
    fixed = [
        {"roleid": role, "privs": ",".join(sorted(privs)), "special": 1}
        for role, privs in built_in(call.sim.release).items()
    ]
    own = [
        {"roleid": role, "privs": ",".join(sorted(document.get("privs", ())))}
        for role, document in call.state.collection("roles").items()
    ]
    return fixed + own


@handler("GET", "/access/roles/{roleid}")
def get_role(call: Call) -> Any:
    role = call.str("roleid")
    privs = role_privileges(call.state, role, call.sim.release)
    if privs is None:
        call.fail(f"role '{role}' does not exist")
    return dict.fromkeys(sorted(privs), 1)


@handler("POST", "/access/roles")
def create_role(call: Call) -> None:
    role = call.str("roleid")
    if role.lower().startswith("pve"):
        call.bad(roleid="cannot use role ID starting with the (case-insensitive) 'PVE' namespace")
    if role_privileges(call.state, role, call.sim.release) is not None:
        call.fail(f"create role failed: role '{role}' already exists")
    call.state.collection("roles")[role] = {"privs": sorted(set(call.list("privs")))}


@handler("PUT", "/access/roles/{roleid}")
def update_role(call: Call) -> None:
    role = call.str("roleid")
    if role in built_in(call.sim.release):
        call.fail(f"auto-generated role '{role}' cannot be modified")
    found = call.found("roles", role, f"update role failed: role '{role}' does not exist")
    if call.has("privs"):
        kept = found.get("privs", []) if call.bool("append") else []
        found["privs"] = sorted({*kept, *call.list("privs")})
    call.state.collection("roles")[role] = found


@handler("DELETE", "/access/roles/{roleid}")
def delete_role(call: Call) -> None:
    role = call.str("roleid")
    if role in built_in(call.sim.release):
        call.fail(f"auto-generated role '{role}' cannot be deleted")
    if role not in call.state.collection("roles"):
        call.fail(f"delete role failed: role '{role}' does not exist")
    del call.state.collection("roles")[role]
    drop_entries(call.state, lambda entry: entry["roleid"] == role)


@handler("GET", "/access/acl")
def listed(call: Call) -> Any:
    see_all = call.may("/access", "Sys.Audit", "Permissions.Modify")
    return [
        entry
        for entry in call.state.collection("acl").values()
        if see_all or call.rights.check(["perm-modify", entry["path"]], call.who, {}) is None
    ]


@handler("PUT", "/access/acl")
def update(call: Call) -> None:
    subjects = [
        (kind, subject)
        for kind, name in (("group", "groups"), ("user", "users"), ("token", "tokens"))
        for subject in call.list(name)
    ]
    if not any(call.has(name) for name in ("groups", "users", "tokens")):
        text = "either 'users', 'groups' or 'tokens' is required."
        call.bad(groups=text, users=text, tokens=text)
    path = normalise(call.str("path"))
    if not call.bool("delete") and _PATH.fullmatch(path) is None:
        call.bad(path=f"invalid ACL path '{call.str('path')}'")
    _check_roles(call, path)
    entries = call.state.collection("acl")
    for role in call.list("roles"):
        for kind, subject in subjects:
            _check_subject(call, kind, subject)
            key = "\t".join((path, kind, subject, role))
            if call.bool("delete"):
                entries.pop(key, None)
                continue
            if (kind, subject) == ("user", "root@pam"):
                continue  # may do everything as it is; the file never holds it
            entries[key] = {
                "path": path,
                "type": kind,
                "ugid": subject,
                "roleid": role,
                "propagate": int(call.bool("propagate", True)),
            }


def _check_roles(call: Call, path: str) -> None:
    have = call.rights.of(call.who, path)
    for role in call.list("roles"):
        privs = role_privileges(call.state, role, call.sim.release)
        if privs is None:
            call.fail(f"ACL update failed: role '{role}' does not exist")
        spreads = call.bool("propagate", True)
        covered = all(priv in have and (have[priv] or not spreads) for priv in privs)
        allowed = call.is_root or "Permissions.Modify" in have or covered
        if not allowed:
            doing = "remove" if call.bool("delete") else "add"
            text = f"Cannot {doing} role '{role}' - requires 'Permissions.Modify' or superset of privileges."
            call.bad_locked("role", text, "ACL update failed: ")


def _check_subject(call: Call, kind: str, subject: str) -> None:
    if kind == "token":
        user, _, token = subject.partition("!")
        if user not in call.state.collection("users"):
            call.fail(f"ACL update failed: user '{user}' does not exist")
        if subject not in call.state.collection("tokens"):
            call.fail(f"ACL update failed: no such token '{token}' for user '{user}'")
    elif subject not in call.state.collection("users" if kind == "user" else "groups"):
        call.fail(f"ACL update failed: {kind} '{subject}' does not exist")

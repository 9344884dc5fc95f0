"""Users and groups."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator import auth
from pvehelm.simulator.core import Call, handler
from pvehelm.simulator.permissions import ROOT, drop_entries

_TEXTS = ("firstname", "lastname", "email", "comment", "keys")
_VIEW = ("User.Modify", "Sys.Audit")


def _user(call: Call, prefix: str = "") -> dict[str, Any]:
    userid = call.str("userid")
    return call.found("users", userid, f"{prefix}no such user ('{userid}')")


def _shown(account: dict[str, Any]) -> dict[str, Any]:
    shown = {"enable": account.get("enable", 1), "expire": account.get("expire", 0)}
    shown.update({name: account[name] for name in _TEXTS if account.get(name)})
    # The stored line ends with its last non-empty field, so an empty mail address shows only before others.
    if "email" not in shown and ("comment" in shown or "keys" in shown):
        shown["email"] = ""
    return shown


def set_password(call: Call, userid: str, account: dict[str, Any], prefix: str = "") -> None:
    """Set a password where the realm keeps any: ``pve``, and ``pam`` for the system's only user, root."""
    realm = userid.rpartition("@")[2]
    found = call.found("domains", realm, f"{prefix}auth domain '{realm}' does not exist")
    if found["type"] not in ("pam", "pve"):
        call.fail(f"{prefix}can't set password on auth type '{found['type']}'")
    if found["type"] == "pam" and userid != ROOT:
        call.fail(f"{prefix}change password failed: user '{userid.rpartition('@')[0]}' does not exist")
    account["password"] = auth.hash_password(call.str("password"))


def _tokens(call: Call, userid: str) -> dict[str, Any] | None:
    from pvehelm.simulator.behaviours.tokens import of_user

    return of_user(call.state, userid) or None


def _take(call: Call, account: dict[str, Any], prefix: str) -> None:
    for name in _TEXTS:
        if call.has(name):
            value = call.str(name)
            if value:
                account[name] = value
            else:
                account.pop(name, None)
    if call.has("enable"):
        account["enable"] = int(call.bool("enable"))
    if call.has("expire"):
        account["expire"] = call.int("expire")
    if call.has("groups"):
        groups = call.list("groups")
        for group in groups:
            if group not in call.state.collection("groups"):
                call.fail(f"{prefix}no such group '{group}'")
        kept = account.get("groups", []) if call.bool("append") else []
        account["groups"] = list(dict.fromkeys([*kept, *groups]))


@handler("GET", "/access/users")
def listed(call: Call) -> Any:
    realms = call.state.collection("domains")
    see_all = call.may("/access/groups", *_VIEW)
    tokens = call.state.collection("tokens").items() if call.bool("full") else []
    found = []
    for userid, account in call.state.collection("users").items():
        own = any(call.may(f"/access/groups/{group}", *_VIEW) for group in account.get("groups", ()))
        if not (see_all or own or userid == call.user):
            continue
        if call.has("enabled") and bool(account.get("enable", 1)) != call.bool("enabled"):
            continue
        row = {"userid": userid, **_shown(account)}
        realm = realms.get(userid.rpartition("@")[2])
        if realm:
            row["realm-type"] = realm["type"]
        if call.bool("full"):
            from pvehelm.simulator.behaviours.tokens import public

            row["groups"] = ",".join(sorted(account.get("groups", ())))
            row["tokens"] = [
                {"tokenid": full.partition("!")[2], **public(token)}
                for full, token in tokens
                if full.partition("!")[0] == userid
            ] or None
        found.append(row)
    return found


@handler("POST", "/access/users")
def create(call: Call) -> None:
    userid = call.str("userid")
    users = call.state.collection("users")
    if userid in users:
        call.fail(f"create user failed: user '{userid}' already exists")
    account: dict[str, Any] = {"enable": 1, "expire": 0}
    _take(call, account, "create user failed: ")
    if call.has("password"):
        set_password(call, userid, account, "create user failed: ")
    users[userid] = account


@handler("GET", "/access/users/{userid}")
def get(call: Call) -> Any:
    account = _user(call)
    userid = call.str("userid")
    return {
        **_shown(account),
        "groups": sorted(account.get("groups", [])),
        "tokens": _tokens(call, userid),
    }


@handler("PUT", "/access/users/{userid}")
def update(call: Call) -> None:
    account = _user(call, "update user failed: ")
    _take(call, account, "update user failed: ")
    call.state.collection("users")[call.str("userid")] = account


@handler("DELETE", "/access/users/{userid}")
def delete(call: Call) -> None:
    userid = call.str("userid")
    users = call.state.collection("users")
    account = users.get(userid)
    if account is None:
        return
    tokens = call.state.collection("tokens")
    for token in list(tokens):
        if token.partition("!")[0] == userid:
            del tokens[token]
    drop_entries(call.state, lambda e: e["type"] != "group" and e["ugid"].partition("!")[0] == userid)
    if userid == ROOT:  # always there, whatever the file says
        users[userid] = {"enable": 1, "expire": 0, "password": account.get("password")}
    else:
        del users[userid]


@handler("GET", "/access/users/{userid}/tfa", "/access/tfa/{userid}")
def tfa(call: Call) -> Any:
    account = _user(call)
    if call.operation.path.endswith("/tfa"):
        return {"realm": None, "user": None, "types": []} if call.bool("multiple") else {"user": account.get("keys")}
    return []


def _members(call: Call) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for userid, account in call.state.collection("users").items():
        for group in account.get("groups", ()):
            found.setdefault(group, []).append(userid)
    return {group: sorted(users) for group, users in found.items()}


@handler("GET", "/access/groups")
def groups(call: Call) -> Any:
    members = _members(call)
    found = []
    for groupid, group in sorted(call.state.collection("groups").items()):
        if not call.may(f"/access/groups/{groupid}", "User.Modify", "Sys.Audit", "Group.Allocate"):
            continue
        row = {"groupid": groupid, "users": ",".join(members.get(groupid, []))}
        if group.get("comment"):
            row["comment"] = group["comment"]
        found.append(row)
    return found


@handler("POST", "/access/groups")
def create_group(call: Call) -> None:
    groupid = call.str("groupid")
    found = call.state.collection("groups")
    if groupid in found:
        call.fail(f"create group failed: group '{groupid}' already exists")
    found[groupid] = {"comment": call.str("comment")} if call.str("comment") else {}


@handler("GET", "/access/groups/{groupid}")
def get_group(call: Call) -> Any:
    groupid = call.str("groupid")
    group = call.found("groups", groupid, f"group '{groupid}' does not exist")
    return {**group, "members": _members(call).get(groupid, [])}


@handler("PUT", "/access/groups/{groupid}")
def update_group(call: Call) -> None:
    groupid = call.str("groupid")
    group = call.found("groups", groupid, f"update group failed: group '{groupid}' does not exist")
    if call.has("comment"):
        group = {"comment": call.str("comment")} if call.str("comment") else {}
    call.state.collection("groups")[groupid] = group


@handler("DELETE", "/access/groups/{groupid}")
def delete_group(call: Call) -> None:
    groupid = call.str("groupid")
    if groupid not in call.state.collection("groups"):
        call.fail(f"delete group failed: group '{groupid}' does not exist")
    del call.state.collection("groups")[groupid]
    users = call.state.collection("users")
    for userid, account in users.items():
        if groupid in account.get("groups", ()):
            account["groups"].remove(groupid)
            users[userid] = account
    drop_entries(call.state, lambda entry: entry["type"] == "group" and entry["ugid"] == groupid)

"""API tokens: the secret is answered once, and again only when regenerated."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator import auth
from pvehelm.simulator.core import Call, handler
from pvehelm.simulator.permissions import drop_entries
from pvehelm.simulator.state import State

_ITEM = "/access/users/{userid}/token/{tokenid}"


def public(token: dict[str, Any]) -> dict[str, Any]:
    """A token without its secret."""
    return {key: value for key, value in token.items() if key != "value"}


def of_user(state: State, userid: str) -> dict[str, Any]:
    """Every token of a user by its short id."""
    prefix = userid + "!"
    return {
        full.removeprefix(prefix): public(token)
        for full, token in state.collection("tokens").items()
        if full.startswith(prefix)
    }


def _full(call: Call) -> str:
    return f"{call.str('userid')}!{call.str('tokenid')}"


def _token(call: Call) -> dict[str, Any]:
    _check_user(call)
    return call.found("tokens", _full(call), f"no such token '{call.str('tokenid')}' for user '{call.str('userid')}'")


def _check_user(call: Call) -> None:
    userid = call.str("userid")
    if userid not in call.state.collection("users"):
        call.fail(f"no such user ('{userid}')")


def _take(call: Call, token: dict[str, Any]) -> None:
    if call.has("privsep"):
        token["privsep"] = int(call.bool("privsep"))
    if call.has("expire"):
        token["expire"] = call.int("expire")
    if call.has("comment"):
        if call.str("comment"):
            token["comment"] = call.str("comment")
        else:
            token.pop("comment", None)


@handler("GET", "/access/users/{userid}/token")
def listed(call: Call) -> Any:
    _check_user(call)
    return [{"tokenid": tokenid, **token} for tokenid, token in of_user(call.state, call.str("userid")).items()]


@handler("GET", _ITEM)
def get(call: Call) -> Any:
    return public(_token(call))


@handler("POST", _ITEM)
def create(call: Call) -> Any:
    _check_user(call)
    tokens = call.state.collection("tokens")
    full = _full(call)
    if full in tokens:
        call.bad(tokenid="Token already exists.")
    token: dict[str, Any] = {"value": auth.new_secret(), "privsep": 1, "expire": 0}
    _take(call, token)
    tokens[full] = token
    info = {name: call.args[name] for name in ("comment", "expire", "privsep") if call.has(name)}
    return {"full-tokenid": full, "value": token["value"], "info": {"privsep": 1, **info}}


@handler("PUT", _ITEM)
def update(call: Call) -> Any:
    token = _token(call)
    _take(call, token)
    answer: dict[str, Any] = {}
    if call.bool("regenerate"):
        token["value"] = auth.new_secret()
        answer = {"value": token["value"], "full-tokenid": _full(call)}
    call.state.collection("tokens")[_full(call)] = token
    # What was just written comes back as it was sent.
    sent = {name: call.args[name] for name in ("comment", "expire", "privsep") if call.has(name) and name in token}
    return {**public(token), **sent, **answer}


@handler("DELETE", _ITEM)
def delete(call: Call) -> None:
    _token(call)
    full = _full(call)
    del call.state.collection("tokens")[full]
    drop_entries(call.state, lambda entry: entry["type"] == "token" and entry["ugid"] == full)

"""Aliases, IP sets and security groups."""

from __future__ import annotations

import ipaddress
from typing import Any

from pvehelm.simulator.behaviours import firewall as fw
from pvehelm.simulator.core import Call, bad_parameters, handler

_SCOPES = (fw.CLUSTER, *fw.GUESTS)
_ALIASES = fw.paths("/aliases", *_SCOPES)
_ALIAS = fw.paths("/aliases/{name}", *_SCOPES)
_IPSETS = fw.paths("/ipset", *_SCOPES)
_IPSET = fw.paths("/ipset/{name}", *_SCOPES)
_ENTRY = fw.paths("/ipset/{name}/{cidr}", *_SCOPES)
_GROUPS = fw.CLUSTER + "/groups"
_GROUP = _GROUPS + "/{group}"


def _open(call: Call) -> tuple[str, dict[str, Any]]:
    scope = fw.scope_of(call)
    return scope, fw.load(call.state, scope)


def _comment(call: Call) -> dict[str, str]:
    text = fw.one_line(call.str("comment"))
    return {"comment": text} if text else {}


# -- aliases ---------------------------------------------------------------------------------------------------


def _alias(call: Call, name: str) -> dict[str, Any]:
    cidr = call.str("cidr")
    return {"name": name, "cidr": cidr, "ipversion": ipaddress.ip_interface(cidr).version, **_comment(call)}


@handler("GET", *_ALIASES)
def aliases(call: Call) -> Any:
    _, document = _open(call)
    return fw.with_digest(call, [document["aliases"][key] for key in sorted(document["aliases"])])


@handler("POST", *_ALIASES)
def create_alias(call: Call) -> None:
    scope, document = _open(call)
    name = call.str("name")
    if name.lower() in document["aliases"]:
        call.bad(name=f"alias '{name.lower()}' already exists")
    document["aliases"][name.lower()] = _alias(call, name)
    fw.save(call.state, scope, document)


@handler("GET", *_ALIAS)
def get_alias(call: Call) -> Any:
    _, document = _open(call)
    found = document["aliases"].get(call.str("name").lower())
    if found is None:
        call.bad(name="no such alias")
    return found


@handler("PUT", *_ALIAS)
def update_alias(call: Call) -> None:
    scope, document = _open(call)
    found = document["aliases"]
    call.check_digest(call.digest([found[key] for key in sorted(found)]))
    name = call.str("name")
    if name.lower() not in found:
        call.bad(name="no such alias")
    new = call.str("rename") or name
    if new.lower() != name.lower() and new.lower() in found:
        call.bad(name=f"alias '{new.lower()}' already exists")
    del found[name.lower()]
    found[new.lower()] = _alias(call, new)
    fw.save(call.state, scope, document)


@handler("DELETE", *_ALIAS)
def delete_alias(call: Call) -> None:
    scope, document = _open(call)
    found = document["aliases"]
    call.check_digest(call.digest([found[key] for key in sorted(found)]))
    found.pop(call.str("name").lower(), None)
    fw.save(call.state, scope, document)


# -- IP sets ---------------------------------------------------------------------------------------------------


def _heads(document: dict[str, Any], part: str, key: str) -> list[dict[str, Any]]:
    return [
        {key: name, **({"comment": found["comment"]} if found.get("comment") else {})}
        for name, found in sorted(document[part].items())
    ]


@handler("GET", *_IPSETS)
def ipsets(call: Call) -> Any:
    _, document = _open(call)
    return fw.with_digest(call, _heads(document, "ipsets", "name"))


@handler("POST", *_IPSETS)
def create_ipset(call: Call) -> None:
    scope, document = _open(call)
    _create_or_rename(call, document, "ipsets", "name", "IPSet", {"entries": {}})
    fw.save(call.state, scope, document)


def _create_or_rename(
    call: Call, document: dict[str, Any], part: str, key: str, noun: str, empty: dict[str, Any]
) -> None:
    found = document[part]
    call.check_digest(call.digest(_heads(document, part, key)))
    name, old = call.str(key), call.str("rename")
    if old:
        if old not in found:
            raise bad_parameters({key: f"{noun} '{old}' does not exist"})
        if name != old and name in found:
            raise bad_parameters({key: f"{noun} '{name}' already exists"})
        moved = found.pop(old)
        if call.has("comment"):
            moved = {**{k: v for k, v in moved.items() if k != "comment"}, **_comment(call)}
        found[name.lower()] = moved
        return
    if name in found:
        raise bad_parameters({key: f"{noun} '{name}' already exists"})
    # Names are looked up as they come and read back in lower case, so `WEB` beside `web` becomes one with it.
    found[name.lower()] = {**(found.get(name.lower()) or empty), **_comment(call)}


def _entries(call: Call, document: dict[str, Any]) -> dict[str, Any]:
    name = call.str("name")
    if name not in document["ipsets"]:
        call.fail(f"no such IPSet '{name}'")
    found: dict[str, Any] = document["ipsets"][name]["entries"]
    return found


def _rows(entries: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"cidr": cidr, **entry} for cidr, entry in entries.items()]


def _network(text: str) -> str:
    """A network without host bits; addresses keep their spelling, and lose a prefix that covers nothing else."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return text
    if "/" not in text:
        return text
    if network.prefixlen == network.max_prefixlen:
        return text.rpartition("/")[0]
    if str(network.network_address) == str(ipaddress.ip_interface(text).ip):
        return text
    return str(network)


@handler("GET", *_IPSET)
def entries(call: Call) -> Any:
    _, document = _open(call)
    return fw.with_digest(call, _rows(_entries(call, document)))


@handler("DELETE", *_IPSET)
def delete_ipset(call: Call) -> None:
    scope, document = _open(call)
    found = _entries(call, document)
    if found and not call.bool("force"):
        call.fail(f"IPSet '{call.str('name')}' is not empty")
    del document["ipsets"][call.str("name")]
    fw.save(call.state, scope, document)


def _entry(call: Call) -> dict[str, Any]:
    return {**({"nomatch": 1} if call.bool("nomatch") else {}), **_comment(call)}


@handler("POST", *_IPSET)
def create_entry(call: Call) -> None:
    scope, document = _open(call)
    found = _entries(call, document)
    cidr = _network(call.str("cidr"))
    if cidr.endswith("/0"):
        call.bad(cidr="a zero prefix is not allowed in ipset entries")
    try:
        ipaddress.ip_interface(cidr.partition("-")[0])
    except ValueError:
        if fw.find_alias(call, cidr) is None:
            call.fail(f"no such alias '{cidr}'")
    if cidr in found:
        call.bad(cidr=f"address '{cidr}' already exists")
    found[cidr] = _entry(call)
    fw.save(call.state, scope, document)


def _key(call: Call, found: dict[str, Any]) -> str:
    cidr = _network(call.str("cidr"))
    if cidr not in found:
        call.bad(cidr="no such IP/Network")
    return cidr


@handler("GET", *_ENTRY)
def get_entry(call: Call) -> Any:
    _, document = _open(call)
    found = _entries(call, document)
    cidr = _key(call, found)
    return {"cidr": cidr, **found[cidr], "digest": call.digest(_rows(found))}


@handler("PUT", *_ENTRY)
def update_entry(call: Call) -> None:
    scope, document = _open(call)
    found = _entries(call, document)
    call.check_digest(call.digest(_rows(found)))
    found[_key(call, found)] = _entry(call)
    fw.save(call.state, scope, document)


@handler("DELETE", *_ENTRY)
def delete_entry(call: Call) -> None:
    scope, document = _open(call)
    found = _entries(call, document)
    call.check_digest(call.digest(_rows(found)))
    found.pop(_network(call.str("cidr")), None)
    fw.save(call.state, scope, document)


# -- security groups -------------------------------------------------------------------------------------------


@handler("GET", _GROUPS)
def groups(call: Call) -> Any:
    _, document = _open(call)
    return fw.with_digest(call, _heads(document, "groups", "group"))


@handler("POST", _GROUPS)
def create_group(call: Call) -> None:
    scope, document = _open(call)
    _create_or_rename(call, document, "groups", "group", "Security group", {"rules": []})
    old = call.str("rename")
    if old:
        for rule in document["rules"]:
            if rule["type"] == "group" and rule["action"] == old:
                rule["action"] = call.str("group")
    fw.save(call.state, scope, document)


@handler("DELETE", _GROUP)
def delete_group(call: Call) -> None:
    scope, document = _open(call)
    name = call.str("group")
    found = document["groups"].get(name)
    if found is None:
        call.fail(f"no such security group '{name}'")
    if found["rules"]:
        call.fail(f"Security group '{name}' is not empty")
    del document["groups"][name]
    fw.save(call.state, scope, document)

"""Firewall rules: ordered lists that grow at the top, of a scope or of a security group."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from pvehelm.simulator.behaviours import firewall as fw
from pvehelm.simulator.core import Call, handler, split
from pvehelm.simulator.crud import typed

_SCOPES = (fw.CLUSTER, fw.NODE, *fw.GUESTS, fw.VNET)
_LISTS = [*fw.paths("/rules", *_SCOPES), fw.CLUSTER + "/groups/{group}"]
_ITEMS = [path + "/{pos}" for path in _LISTS]
_FIELDS = (
    *("type", "action", "enable", "iface", "source", "dest", "macro", "proto", "sport", "dport"),
    *("log", "comment", "icmp-type"),
)
_ACTIONS = ("ACCEPT", "DROP", "REJECT")
_TYPES = {
    "group": ("in", "out", "forward"),
    "vm": ("in", "out", "group"),
    "ct": ("in", "out", "group"),
    "vnet": ("forward", "group"),
}
_ICMP = {"icmp": 4, "ipv6-icmp": 6, "icmpv6": 6}
_ICMP_TYPES = frozenset(
    split(
        "any address-mask-reply address-mask-request address-unreachable bad-header beyond-scope "
        "communication-prohibited destination-unreachable echo-reply echo-request failed-policy fragmentation-needed "
        "host-precedence-violation host-prohibited host-redirect host-unknown host-unreachable ip-header-bad "
        "neighbor-advertisement neighbor-solicitation neighbour-advertisement neighbour-solicitation "
        "network-prohibited "
        "network-redirect network-unknown network-unreachable nd-neighbor-advert nd-neighbor-solicit nd-router-advert "
        "nd-router-solicit nd-redirect no-route packet-too-big parameter-problem port-unreachable precedence-cutoff "
        "protocol-unreachable redirect reject-route required-option-missing router-advertisement router-solicitation "
        "source-quench source-route-failed time-exceeded timestamp-reply timestamp-request TOS-host-redirect "
        "TOS-host-unreachable TOS-network-redirect TOS-network-unreachable ttl-exceeded ttl-zero-during-reassembly "
        "ttl-zero-during-transit unknown-header-type unknown-option"
    )
)


class _List:
    """The rules that a call is about, and where they are kept."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.scope = fw.scope_of(call)
        self.document = fw.load(call.state, self.scope)
        if call.has("group"):
            group = self.document["groups"].get(call.str("group"))
            if group is None:
                call.fail(f"no such security group '{call.str('group')}'")
            self.rules: list[dict[str, Any]] = group["rules"]
        else:
            self.rules = self.document["rules"]

    @property
    def environment(self) -> str:
        if self.call.has("group"):
            return "group"
        if self.call.has("vmid"):
            return "vm" if "/qemu/" in self.call.operation.path else "ct"
        return self.scope.partition("/")[0]

    def shown(self) -> list[dict[str, Any]]:
        return [{**rule, **_version(self.call, rule), "pos": i} for i, rule in enumerate(self.rules)]

    def digest(self) -> str:
        return self.call.digest(self.shown())

    def position(self) -> int:
        pos = self.call.int("pos")
        if not 0 <= pos < len(self.rules):
            self.call.fail(f"no rule at position {pos}")
        return pos

    def save(self) -> None:
        fw.save(self.call.state, self.scope, self.document)


def _version(call: Call, rule: dict[str, Any]) -> dict[str, int]:
    found = ip_version(call, rule)
    return {"ipversion": found} if found else {}


def ip_version(call: Call, rule: dict[str, Any]) -> int | None:
    """4 or 6 when addresses, aliases or the protocol say so."""
    found = {_ICMP[rule["proto"]]} if rule.get("proto") in _ICMP else set()
    for side in ("source", "dest"):
        for part in str(rule.get(side) or "").split(","):
            version = _address_version(call, part.strip())
            if version:
                found.add(version)
    return min(found) if found else None


def _address_version(call: Call, text: str) -> int | None:
    if not text or text.startswith("+"):
        return None
    try:
        return ipaddress.ip_interface(text.partition("-")[0]).version
    except ValueError:
        alias = fw.find_alias(call, text)
        return int(alias["ipversion"]) if alias else None


def _check(call: Call, rule: dict[str, Any], environment: str) -> None:
    """Everything the schema cannot say about a rule; all problems at once."""
    errors: dict[str, str] = {}
    kind, action = rule.get("type"), str(rule.get("action", ""))
    allowed = _TYPES.get(environment)
    if allowed and kind not in allowed:
        errors["type"] = f"invalid rule type '{kind}' for rule_env '{environment}'"
    if kind != "group" and action not in _ACTIONS:
        errors["action"] = f"unknown action '{action}'"
    if kind == "group" and not re.fullmatch(r"[A-Za-z][A-Za-z0-9\-_]+", action):
        errors["action"] = "invalid characters in security group name"
    if rule.get("iface") and environment in ("vm", "ct") and not re.fullmatch(r"net\d+", rule["iface"]):
        errors["iface"] = r"value does not match the regex pattern 'net\d+'"
    _check_service(rule, errors)
    for side in ("source", "dest"):
        for part in str(rule.get(side) or "").split(","):
            text = _missing_reference(call, part.strip())
            if text:
                errors[side] = text
    if errors:
        call.fail("Parameter verification failed.", 400, errors)


def _check_service(rule: dict[str, Any], errors: dict[str, str]) -> None:
    if rule.get("macro"):
        known = {macro.lower(): macro for macro in fw.MACROS}
        name = known.get(str(rule["macro"]).lower())
        if name is None:
            errors["macro"] = f"unknown macro '{rule['macro']}'"
        else:
            rule["macro"] = name
    for port in ("sport", "dport"):
        if rule.get(port) and not rule.get("proto"):
            errors["proto"] = f"missing property - '{port}' requires this property"
    if rule.get("icmp-type"):
        if rule.get("proto") not in _ICMP:
            errors["proto"] = "missing property - 'icmp-type' requires this property"
        elif rule["icmp-type"] not in _ICMP_TYPES:
            errors["icmp-type"] = f"invalid icmp-type '{rule['icmp-type']}'"


def _missing_reference(call: Call, text: str) -> str | None:
    if text.startswith("+"):
        return None if fw.has_ipset(call, text[1:]) else f"no such ipset '{text[1:]}'"
    if re.fullmatch(r"(?:(?:dc|guest)/)?[A-Za-z][\w-]*", text) and fw.find_alias(call, text) is None:
        return f"no such alias '{text}'"
    return None


def _sent(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _FIELDS:
        if not call.has(name):
            continue
        value = typed(call.operation, name, call.args[name])
        if name == "enable":
            value = 1 if value else 0
        found[name] = fw.one_line(value) if name == "comment" else value
    return found


@handler("GET", *_LISTS)
def listed(call: Call) -> Any:
    return fw.with_digest(call, _List(call).shown())


@handler("GET", *_ITEMS)
def get(call: Call) -> Any:
    found = _List(call)
    return {**found.shown()[found.position()], "pos": call.str("pos"), "digest": found.digest()}


@handler("POST", *_LISTS)
def create(call: Call) -> None:
    found = _List(call)
    call.check_digest(found.digest())
    rule = {"enable": 0, **{name: value for name, value in _sent(call).items() if value != ""}}
    _check(call, rule, found.environment)
    found.rules.insert(0, rule)
    found.save()


@handler("PUT", *_ITEMS)
def update(call: Call) -> None:
    found = _List(call)
    call.check_digest(found.digest())
    pos = found.position()
    if call.has("moveto"):
        target = min(call.int("moveto"), len(found.rules))
        rule = found.rules.pop(pos)
        found.rules.insert(target - 1 if target > pos else target, rule)
        found.save()
        return
    rule = {**found.rules[pos], **_sent(call)}
    for name in call.list("delete"):
        if name not in _FIELDS:
            call.bad(delete=f"no such option '{name}'")
        if name in ("type", "action"):
            call.bad(delete=f"unable to delete required option '{name}'")
        rule.pop(name, None)
    rule = {name: value for name, value in rule.items() if value != ""}
    rule.setdefault("enable", 0)
    _check(call, rule, found.environment)
    found.rules[pos] = rule
    found.save()


@handler("DELETE", *_ITEMS)
def delete(call: Call) -> None:
    found = _List(call)
    call.check_digest(found.digest())
    if not found.rules and not call.has("group"):
        call.fail("Can't use an undefined value as an ARRAY reference")
    del found.rules[found.position()]
    found.save()

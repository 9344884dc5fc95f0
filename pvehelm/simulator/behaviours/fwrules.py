"""Firewall rules: ordered lists that grow at the top, of a scope or of a security group."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from pvehelm.simulator.behaviours import firewall as fw
from pvehelm.simulator.core import Call, bad_parameters, handler, split

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
_SHARED_ICMP = (
    "destination-unreachable communication-prohibited port-unreachable time-exceeded ttl-zero-during-transit "
    "ttl-zero-during-reassembly parameter-problem echo-request echo-reply router-solicitation router-advertisement "
    "redirect "
)
_ICMP_TYPES = {
    4: frozenset(
        split(
            _SHARED_ICMP + "any network-unreachable host-unreachable protocol-unreachable fragmentation-needed "
            "source-route-failed network-unknown host-unknown network-prohibited host-prohibited "
            "TOS-network-unreachable TOS-host-unreachable host-precedence-violation precedence-cutoff source-quench "
            "network-redirect host-redirect TOS-network-redirect TOS-host-redirect ip-header-bad "
            "required-option-missing timestamp-request timestamp-reply address-mask-request address-mask-reply"
        )
    ),
    6: frozenset(
        split(
            _SHARED_ICMP + "no-route beyond-scope address-unreachable failed-policy reject-route packet-too-big "
            "bad-header unknown-header-type unknown-option neighbor-solicitation neighbour-solicitation "
            "neighbor-advertisement neighbour-advertisement"
        )
    ),
}
_WITH_PORTS = frozenset(split("udp 17 udplite 136 tcp 6 dccp 33 sctp 132"))
_ALIAS = re.compile(r"(?:(?:dc|guest)/)?([A-Za-z][A-Za-z0-9_-]+)\Z")


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
            return {"qemu": "vm", "lxc": "ct"}[self.call.guest_kind]
        return self.scope.partition("/")[0]

    def shown(self) -> list[dict[str, Any]]:
        """The rules with what reading them finds out: the version of IP, and what has become wrong."""
        rows = []
        for position, rule in enumerate(self.rules):
            errors = _problems(self.call, dict(rule), self.environment)
            broken = {"errors": errors} if errors else {}
            rows.append({**rule, **_version(self.call, rule), **broken, "pos": position})
        return rows

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
    """400 with the first of what the schema cannot say about a rule; puts a macro's name right."""
    for name, text in _problems(call, rule, environment).items():
        raise bad_parameters({name: text})


def _problems(call: Call, rule: dict[str, Any], environment: str) -> dict[str, str]:
    """What is wrong with a rule, in the order in which it is looked for."""
    errors: dict[str, str] = {}
    kind, action = rule.get("type"), str(rule.get("action", ""))

    def add(name: str, text: str) -> None:
        errors.setdefault(name, text)

    allowed = _TYPES.get(environment)
    if allowed and kind not in allowed:
        add("type", f"invalid rule type '{kind}' for rule_env '{environment}'")
    if kind == "forward" and action == "REJECT":
        add("action", "cannot define REJECT rules on forward chain")
    if kind != "group" and action not in _ACTIONS:
        add("action", f"unknown action '{action}'")
    if kind == "group" and not re.fullmatch(r"[A-Za-z][A-Za-z0-9\-_]+", action):
        add("action", "invalid characters in security group name")
    if rule.get("iface"):
        if environment in ("group", "vnet"):
            add("type", "parameter -i not allowed for this rule type")
        if environment in ("vm", "ct") and not re.fullmatch(r"net\d+", rule["iface"]):
            add("iface", r"value does not match the regex pattern 'net\d+'")
    if rule.get("macro"):
        known = {macro.lower(): macro for macro in fw.macros()}
        name = known.get(str(rule["macro"]).lower())
        if name is None:
            add("macro", f"unknown macro '{rule['macro']}'")
        else:
            rule["macro"] = name
    _service_problems(rule, add)
    _address_problems(call, rule, add)
    if rule.get("macro") and not errors:
        _macro_problems(rule, add)
    return errors


def _service_problems(rule: Mapping[str, Any], add: Callable[[str, str], None]) -> None:
    """The protocol and what only some protocols have."""
    protocol = str(rule.get("proto") or "")
    for port in ("dport", "icmp-type", "sport"):
        value = rule.get(port)
        if not value:
            continue
        if port == "icmp-type":
            if protocol not in _ICMP:
                add("proto", "missing property - 'icmp-type' requires this property")
            if rule.get("dport"):
                add("icmp-type", "'icmp-type' cannot be specified together with 'dport'")
            elif protocol in _ICMP and value not in _ICMP_TYPES[_ICMP[protocol]]:
                add("icmp-type", f"invalid icmp-type '{value}' for proto '{protocol}'")
        elif not protocol:
            add("proto", f"missing property - '{port}' requires this property")
        elif protocol not in _WITH_PORTS and not (port == "dport" and protocol in _ICMP):
            add(port, f"protocol '{protocol}' does not support ports")


def _address_problems(call: Call, rule: Mapping[str, Any], add: Callable[[str, str], None]) -> None:
    """References that lead nowhere, and versions of IP that do not go together."""
    version = _ICMP.get(str(rule.get("proto")))
    for side in ("source", "dest"):
        text = str(rule.get(side) or "")
        if text.startswith("+"):
            if not fw.has_ipset(call, text[1:]):
                add(side, f"no such ipset '{text[1:].rpartition('/')[2]}'")
            continue
        alias = _ALIAS.match(text)
        if alias and not fw.knows_alias(call, alias[1]):
            add(side, f"no such alias '{text}'")
        for part in text.split(","):
            own = _address_version(call, part.strip())
            if own and version and own != version:
                add(side, "detected mixed ipv4/ipv6 addresses in rule")
            version = own or version


def _macro_problems(rule: Mapping[str, Any], add: Callable[[str, str], None]) -> None:
    """What a rule says otherwise than its macro does."""
    for entry in fw.macros()[rule["macro"]]:
        protocol, destination, source = (*entry.split("/"), "", "")[:3]
        for name, own in (("proto", protocol), ("dport", destination), ("sport", source)):
            if own and rule.get(name) and rule[name] != own:
                add(name, f"parameter '{name}' already define in macro (value = '{own}')")


def _sent(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _FIELDS:
        if not call.has(name):
            continue
        value = call.typed(name)
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
    rule = {"enable": 0, **{name: value for name, value in _sent(call).items() if value != ""}}
    _check(call, rule, found.environment)
    found.rules.insert(0, rule)
    found.save()


@handler("PUT", *_ITEMS)
def update(call: Call) -> None:
    found = _List(call)
    call.check_digest(found.digest())
    pos = found.position()
    if call.has("moveto") and call.int("moveto") != pos:
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

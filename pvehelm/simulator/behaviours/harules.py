"""HA rules: node affinity and resource affinity, checked against each other as the real manager does."""

from __future__ import annotations

import re
from typing import Any

from pvehelm.simulator.behaviours.ha import sid_of
from pvehelm.simulator.core import MODIFIED, Call, handler

_ITEM = "/cluster/ha/rules/{rule}"
_OPTIONS = {
    "node-affinity": ("comment", "disable", "nodes", "resources", "strict"),
    "resource-affinity": ("affinity", "comment", "disable", "resources"),
}
_REQUIRED = {"node-affinity": ("nodes", "resources"), "resource-affinity": ("affinity", "resources")}


def _shown(name: str, rule: dict[str, Any], order: int, digest: str) -> dict[str, Any]:
    shown = {"rule": name, **rule, "order": order, "digest": digest}
    shown["resources"] = ",".join(rule["resources"])
    if "nodes" in rule:
        shown["nodes"] = ",".join(rule["nodes"])
    return shown


def _all(call: Call) -> list[dict[str, Any]]:
    digest = call.digest_of("ha_rules")
    rules = call.state.collection("ha_rules").items()
    return [_shown(name, rule, i, digest) for i, (name, rule) in enumerate(rules, 1)]


@handler("GET", "/cluster/ha/rules")
def listed(call: Call) -> Any:
    kind, resource = call.str("type"), call.str("resource")
    return [
        rule
        for rule in _all(call)
        if kind in ("", rule["type"]) and (not resource or resource in rule["resources"].split(","))
    ]


@handler("GET", _ITEM)
def get(call: Call) -> Any:
    for rule in _all(call):
        if rule["rule"] == call.str("rule"):
            return rule
    return call.fail(f"no such ha rule '{call.str('rule')}'")


def _take(call: Call, rule: dict[str, Any], prefix: str) -> None:
    kind = rule["type"]
    for name in call.args:
        if name in ("rule", "type", "delete", "digest"):
            continue
        if name not in _OPTIONS[kind]:
            call.fail(f"{prefix}unexpected property '{name}'")
        if name == "resources":
            rule[name] = sorted({sid_of(call.state, sid) for sid in call.list(name)})
        elif name == "nodes":
            rule[name] = sorted({re.sub(r":0+\Z", "", node) for node in call.list(name)})
        elif name in ("disable", "strict"):
            rule[name] = int(call.bool(name))
        elif name == "comment":
            # Comments are written as Latin-1 and read as UTF-8.
            rule[name] = re.sub("[\x80-\xff]", "\ufffd", call.str(name))
        else:
            rule[name] = call.str(name)
    if rule.get("comment") == "":
        del rule["comment"]


def _check(call: Call, name: str, rule: dict[str, Any], prefix: str) -> None:
    managed = call.state.collection("ha_resources")
    unmanaged = [sid for sid in rule["resources"] if sid not in managed]
    if unmanaged:
        call.fail(f"{prefix}cannot use unmanaged resource(s) {', '.join(unmanaged)}.")
    nodes = call.state.collection("nodes")
    unknown = [node.partition(":")[0] for node in rule.get("nodes", ()) if node.partition(":")[0] not in nodes]
    if unknown:
        call.fail(f"{prefix}cannot use non-existent node(s) {', '.join(unknown)}.")
    problems = [] if rule.get("disable") else _conflicts(call, name, rule)
    if problems:
        lines = "".join(f"\n{key}: {text}" for key, text in problems)
        call.fail(f"{prefix}400 Rule '{name}' is invalid.{lines}")


def _conflicts(call: Call, name: str, rule: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    own = set(rule["resources"])
    others = [
        (other, document)
        for other, document in call.state.collection("ha_rules").items()
        if other != name and not document.get("disable")
    ]
    if rule["type"] == "node-affinity":
        for other, document in others:
            for sid in sorted(own & set(document["resources"])) if document["type"] == rule["type"] else ():
                found.append(("resources", f"resource '{sid}' is already used in node affinity rule '{other}'"))
        return found
    if len(own) < 2:
        found.append(("resources", "rule is ineffective as there are less than two resources"))
    if rule["affinity"] == "negative" and len(own) > len(call.state.collection("nodes")):
        found.append(("resources", "rule defines more resources than available nodes"))
    for other, document in others:
        if document["type"] == rule["type"] and document["affinity"] != rule["affinity"]:
            both = own & set(document["resources"])
            if len(both) > 1:
                found.append(("resources", f"rule shares two or more resources with rule '{other}'"))
    return found


@handler("POST", "/cluster/ha/rules")
def create(call: Call) -> None:
    prefix = "create ha rule failed: "
    name = call.str("rule")
    rules = call.state.collection("ha_rules")
    if name in rules:
        call.fail(f"{prefix}HA rule '{name}' already defined")
    rule: dict[str, Any] = {"type": call.str("type")}
    _take(call, rule, prefix)
    _check(call, name, rule, prefix)
    rules[name] = rule


@handler("PUT", _ITEM)
def update(call: Call) -> None:
    prefix = "update HA rules failed: "
    name = call.str("rule")
    rules = call.state.collection("ha_rules")
    rule = call.found("ha_rules", name, f"{prefix}HA rule '{name}' does not exist")
    call.check_digest(call.digest_of("ha_rules"), prefix + MODIFIED)
    _take(call, rule, prefix)
    if rule["type"] != call.str("type"):
        call.fail(f"{prefix}rule '{name}' is of type '{rule['type']}'")
    for option in call.list("delete"):
        if option in _REQUIRED[rule["type"]]:
            call.fail(f"{prefix}unable to delete required option '{option}'")
        if option not in _OPTIONS[rule["type"]]:
            call.fail(f"{prefix}no such option '{option}'")
        rule.pop(option, None)
    _check(call, name, rule, prefix)
    rules[name] = rule


@handler("DELETE", _ITEM)
def delete(call: Call) -> None:
    call.state.collection("ha_rules").pop(call.str("rule"), None)

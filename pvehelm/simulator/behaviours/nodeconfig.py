"""A node's own settings and its network interfaces (changes wait for a reload)."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pvehelm.simulator.core import Call, bad_parameters, handler, split
from pvehelm.simulator.tasks import TaskLog

_CONFIG = "/nodes/{node}/config"
_NETWORK = "/nodes/{node}/network"
_IFACE = _NETWORK + "/{iface}"


def _node(call: Call) -> dict[str, Any]:
    return call.state.collection("nodes")[call.node]


def _save(call: Call, node: dict[str, Any]) -> None:
    call.state.collection("nodes")[call.node] = node


@handler("GET", _CONFIG)
def get_config(call: Call) -> Any:
    config = _node(call).get("config", {})
    if not config:
        return {}
    description = config.get("description", "")
    shown = {**config, "description": description.rstrip("\n") + "\n" if description else ""}
    if call.has("property"):
        return {name: value for name, value in shown.items() if name == call.str("property")}
    return {**shown, "digest": call.digest(config)}


@handler("PUT", _CONFIG)
def set_config(call: Call) -> None:
    node = _node(call)
    config = node.get("config", {})
    call.check_digest(call.digest(config))
    for name in call.list("delete"):
        config.pop(name, None)
    for name in call.args:
        if name not in ("node", "delete", "digest"):
            config[name] = call.str(name)
    node["config"] = {name: value for name, value in config.items() if value != ""}
    _save(call, node)


# -- network ---------------------------------------------------------------------------------------------------


def _pending(node: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = node.get("network_pending") or node["network"]
    return found


def _shown(iface: dict[str, Any], priority: int) -> dict[str, Any]:
    families = [family for family, key in (("inet", "address"), ("inet6", "address6")) if iface.get(key)]
    shown = {"method": "manual", "method6": "manual", "priority": priority, **iface}
    return {**shown, "families": families or ["inet"]}


# Whether the machine has such a device by itself.
_EXISTS = {"eth": 1, "alias": 0, "vlan": None}


def _rows(node: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for position, (name, iface) in enumerate(_pending(node).items()):
        row = {"iface": name, **_shown(iface, iface.get("priority", position + 3))}
        if name in node["network"]:
            row["active"] = 1
        if iface["type"] in _EXISTS:
            row["exists"] = _EXISTS[iface["type"]]
        rows.append(row)
    return rows


def _file(interfaces: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The lines of the node's file."""
    yield from ("auto lo", "iface lo inet loopback", "")
    for name, iface in interfaces.items():
        if iface.get("autostart"):
            yield f"auto {name}"
        yield f"iface {name} inet {iface.get('method') or 'manual'}"
        hidden = ("type", "priority", "autostart", "method", "method6", "netmask", "netmask6", "cidr", "cidr6")
        yield from (f"\t{key} {value}" for key, value in sorted(iface.items()) if key not in hidden and value != "")
        yield ""


_BRIDGES = ("bridge", "OVSBridge")


@handler("GET", _NETWORK)
def interfaces(call: Call) -> Any:
    node = _node(call)
    if node.get("network_pending"):
        now, then = (list(_file(found)) for found in (node["network"], node["network_pending"]))
        names = ("/etc/network/interfaces", "/etc/network/interfaces.new")
        call.beside["changes"] = "\n".join(difflib.unified_diff(now, then, *names, lineterm="")) + "\n"
    rows = _rows(node)
    wanted = call.str("type")
    if wanted:
        kinds = _BRIDGES if wanted in ("any_bridge", "any_local_bridge") else (wanted,)
        rows = [row for row in rows if wanted == "include_sdn" or row["type"] in kinds]
        if wanted in ("any_bridge", "include_sdn", "vnet"):
            rows += [{"iface": vnet, "type": "vnet", "active": 1} for vnet in node.get("vnets", ())]
    return [
        row
        for row in rows
        if row["type"] not in (*_BRIDGES, "vnet")
        or call.may(f"/sdn/zones/localnetwork/{row['iface']}", "SDN.Audit", "SDN.Use")
    ]


@handler("GET", _IFACE)
def get_interface(call: Call) -> Any:
    for row in _rows(_node(call)):
        if row["iface"] == call.str("iface"):
            return {name: value for name, value in row.items() if name != "iface"}
    return call.bad(iface="interface does not exist")


def _sent(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: int(call.bool(name)) if name in ("autostart", "bridge_vlan_aware") else call.str(name)
        for name in call.args
        if name not in ("node", "iface", "delete")
    }
    if "comments" in found:
        found["comments"] = found["comments"].rstrip("\n") + "\n"
    for suffix in ("", "6"):
        _address(call, found, suffix)
    if found["type"] == "bridge":
        found.setdefault("bridge_ports", "")
        found |= {"bridge_stp": "off", "bridge_fd": "0"}
    if found["type"] == "bond":
        found = {"slaves": "", "bond_miimon": "100", "bond_mode": "balance-rr", **found}
    if found["type"] == "vlan":
        raw, _, tag = call.str("iface").rpartition(".")
        if raw:
            found |= {"vlan-raw-device": raw, "vlan-id": tag}
        elif match := re.fullmatch(r"vlan(\d+)", call.str("iface")):
            found.setdefault("vlan-id", match[1])
    return found


def _check_ports(call: Call, interfaces: Mapping[str, Mapping[str, Any]], found: Mapping[str, Any]) -> None:
    """Ports and slaves belong to one interface; a VLAN needs a device below it."""
    kinds = ("bridge_ports", "ovs_ports", "slaves", "ovs_bonds")
    wanted = {port: kind for kind in kinds for port in split(str(found.get(kind) or ""))}
    first = next(iter(wanted.values()), "")
    for other, iface in interfaces.items():
        taken = [port for kind in kinds for port in split(str(iface.get(kind) or ""))]
        for port in wanted:
            if other != call.str("iface") and port in taken:
                raise bad_parameters({first: f"{port} is already used on interface '{other}'."})
    if found["type"] == "vlan" and not found.get("vlan-raw-device"):
        call.fail("missing vlan-raw-device option")
    lacks = _node(call).get("lacks", ())
    if "openvswitch" in lacks and str(found["type"]).startswith("OVS"):
        call.fail("Open VSwitch is not installed (need package 'openvswitch-switch')")
    for port, kind in wanted.items():
        if "ports" in lacks and port not in interfaces:
            what = "bond '{}' - wrong interface type on slave" if kind == "slaves" else "bridge '{}' - unable to find"
            call.fail(f"{what.format(call.str('iface'))} '{port}'")


def _check_gateways(call: Call, interfaces: dict[str, dict[str, Any]]) -> None:
    own = call.str("iface")
    for name in ("gateway", "gateway6"):
        for other, iface in interfaces.items():
            if call.str(name) and other != own and iface.get(name):
                raise bad_parameters({name: f"Default gateway already exists on interface '{other}'."})


def _address(call: Call, found: dict[str, Any], suffix: str) -> None:
    address, netmask, cidr = (f"{name}{suffix}" for name in ("address", "netmask", "cidr"))
    if cidr in found:
        found[address], _, found[netmask] = found[cidr].partition("/")
    elif address in found:
        if netmask not in found:
            raise_for = {netmask: f"missing property - '{address}' requires this property"}
            raise bad_parameters(raise_for)
        found[netmask] = str(
            ipaddress.ip_network(f"::/{found[netmask]}" if suffix else f"0.0.0.0/{found[netmask]}").prefixlen
        )
        found[cidr] = f"{found[address]}/{found[netmask]}"
    found[f"method{suffix}"] = "static" if found.get(address) else "manual"


@handler("POST", _NETWORK)
def create_interface(call: Call) -> None:
    node = _node(call)
    interfaces = dict(_pending(node))
    name = call.str("iface")
    if name in interfaces:
        call.bad(iface="interface already exists")
    _check_gateways(call, interfaces)
    used = [iface.get("priority", position + 3) for position, iface in enumerate(interfaces.values())]
    found = _sent(call)
    _check_ports(call, interfaces, found)
    interfaces[name] = {**found, "priority": max(used, default=2) + 1}
    node["network_pending"] = interfaces
    _save(call, node)


@handler("PUT", _IFACE)
def update_interface(call: Call) -> None:
    node = _node(call)
    interfaces = dict(_pending(node))
    name = call.str("iface")
    if name not in interfaces:
        call.bad(iface="interface does not exist")
    _check_gateways(call, interfaces)
    kept = dict(interfaces[name])
    for gone in call.list("delete"):
        kept.pop(gone, None)
        if gone in ("address", "cidr"):
            for part in ("address", "netmask", "cidr", "gateway"):
                kept.pop(part, None)
    sent = _sent(call)
    _check_ports(call, interfaces, {**kept, **{name: sent[name] for name in sent if call.has(name) or name == "type"}})
    for suffix in ("", "6"):
        if not sent.get(f"address{suffix}"):
            for part in ("address", "netmask", "cidr", "gateway"):
                kept.pop(part + suffix, None)
    interfaces[name] = {
        **kept,
        **{key: value for key, value in sent.items() if key not in kept or call.has(key) or key in _DERIVED},
    }
    node["network_pending"] = interfaces
    _save(call, node)


_DERIVED = ("address", "netmask", "cidr", "method", "address6", "netmask6", "cidr6", "method6")


@handler("DELETE", _IFACE)
def delete_interface(call: Call) -> None:
    node = _node(call)
    interfaces = dict(_pending(node))
    if call.str("iface") not in interfaces:
        call.bad(iface="interface does not exist")
    del interfaces[call.str("iface")]
    node["network_pending"] = interfaces
    _save(call, node)


@handler("DELETE", _NETWORK)
def revert(call: Call) -> None:
    node = _node(call)
    node.pop("network_pending", None)
    _save(call, node)


@handler("PUT", _NETWORK)
def reload(call: Call) -> str:
    def work(log: TaskLog) -> None:
        node = _node(call)
        node["network"] = _pending(node)
        node.pop("network_pending", None)
        set_bridges(node)
        _save(call, node)
        log("reloading network configuration")

    return call.task("srvreload", "networking", work)


def set_bridges(node: dict[str, Any]) -> None:
    """Recompute what guests may be plugged into."""
    own = [n for n, i in node["network"].items() if re.search("bridge", i["type"], re.IGNORECASE)]
    node["bridges"] = [*own, *node.get("vnets", ())]

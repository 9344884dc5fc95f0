"""Addresses that the built-in address management knows. From the schema, not from recordings."""

from __future__ import annotations

import ipaddress
from typing import Any

from pvehelm.simulator.core import Call, handler

_IPS = "/cluster/sdn/vnets/{vnet}/ips"


def _addresses(call: Call) -> Any:
    return call.state.collection("sdn-ips")


def _id(call: Call) -> str:
    return f"{call.str('zone')}/{call.str('vnet')}/{call.str('ip')}"


def _subnet(call: Call) -> str:
    """The subnet that an address lies in; 500 without one."""
    address = ipaddress.ip_address(call.str("ip"))
    for id, document in call.state.collection("sdn_subnets").items():
        _, network, length = id.rsplit("-", 2)
        if document.get("vnet") == call.str("vnet") and address in ipaddress.ip_network(f"{network}/{length}"):
            return str(id)
    return call.fail(f"can't find any subnet for ip {address} in vnet {call.str('vnet')}")


@handler("GET", "/cluster/sdn/ipams/{ipam}/status")
def status(call: Call) -> Any:
    if call.str("ipam") != "pve":
        return []
    return [dict(document) for _, document in _addresses(call).items()]


@handler("POST", _IPS)
def create(call: Call) -> None:
    subnet = _subnet(call)
    if _id(call) in _addresses(call):
        call.fail(f"IP {call.str('ip')} already exists")
    found = {name: call.str(name) for name in ("zone", "vnet", "ip", "mac") if call.has(name)}
    _addresses(call)[_id(call)] = {**found, "subnet": subnet}


@handler("PUT", _IPS)
def update(call: Call) -> None:
    if _id(call) not in _addresses(call):
        call.fail(f"IP {call.str('ip')} does not exist")
    found = _addresses(call)[_id(call)]
    _addresses(call)[_id(call)] = {**found, **{name: call.str(name) for name in ("mac", "vmid") if call.has(name)}}


@handler("DELETE", _IPS)
def delete(call: Call) -> None:
    if _id(call) not in _addresses(call):
        call.fail(f"IP {call.str('ip')} does not exist")
    del _addresses(call)[_id(call)]

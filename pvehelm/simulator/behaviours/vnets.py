"""SDN vnets and their subnets."""

from __future__ import annotations

import ipaddress
from typing import Any

from pvehelm.simulator.behaviours.sdn import SUBNETS, VNETS, documents, one, remove, rows
from pvehelm.simulator.core import Call, handler

_TAG_LIMIT = {"vlan": 4096, "qinq": 4096, "vxlan": 16777216, "evpn": 16777216}

# -- vnets -----------------------------------------------------------------------------------------------------


def _zone_path(call: Call, vnet: str) -> str:
    document = call.found("sdn_vnets", vnet, f"sdn vnet '{vnet}' does not exist")
    return f"/sdn/zones/{document['zone']}/{vnet}"


@handler("GET", "/cluster/sdn/vnets")
def vnets(call: Call) -> Any:
    return [
        row
        for row in rows(call, VNETS)
        if call.may(
            f"/sdn/zones/{row.get('zone') or row.get('pending', {}).get('zone')}/{row['vnet']}",
            "SDN.Audit", "SDN.Use", "SDN.Allocate",
        )
    ]  # fmt: skip


@handler("GET", "/cluster/sdn/vnets/{vnet}")
def vnet(call: Call) -> Any:
    call.require(_zone_path(call, call.str("vnet")), ["SDN.Audit", "SDN.Allocate"], any=True)
    return one(call, VNETS)


def _check_vnet(call: Call, id: str, document: dict[str, Any], prefix: str) -> None:
    zone = call.found("sdn_zones", document["zone"], f"{prefix}cannot lookup undefined type!")
    kind, tag = zone["type"], document.get("tag")
    if kind == "simple" and tag is not None:
        call.bad_locked("tag", "vlan tag is not allowed on simple zone", prefix)
    limit = _TAG_LIMIT.get(kind)
    if limit and tag is None:
        call.bad_locked("tag", "missing vlan tag" if limit == 4096 else "missing vxlan tag", prefix)
    if limit and tag is not None and tag > limit:
        call.bad_locked("tag", f"{'vlan' if limit == 4096 else 'vxlan'} tag max value is {limit}", prefix)
    for other, known in documents(call, VNETS).items():
        if other != id and tag is not None and known["zone"] == document["zone"] and known.get("tag") == tag:
            call.bad_locked("tag", f"tag {tag} already exist in vnet {other}", prefix)
    if not str(document.get("alias", "")).isascii():
        del document["alias"]  # accepted and lost


@handler("POST", "/cluster/sdn/vnets")
def create_vnet(call: Call) -> None:
    document = VNETS.new(call, call.str("vnet"), "vnet")
    _check_vnet(call, call.str("vnet"), document, VNETS.create)
    VNETS.save(call, call.str("vnet"), document)


@handler("PUT", "/cluster/sdn/vnets/{vnet}")
def update_vnet(call: Call) -> None:
    call.require(_zone_path(call, call.str("vnet")), "SDN.Allocate")
    document = VNETS.changed(call, call.str("vnet"))
    _check_vnet(call, call.str("vnet"), document, VNETS.update)
    VNETS.save(call, call.str("vnet"), document)


@handler("DELETE", "/cluster/sdn/vnets/{vnet}")
def delete_vnet(call: Call) -> None:
    name = call.str("vnet")
    call.require(_zone_path(call, name), "SDN.Allocate")
    if any(document["vnet"] == name for document in documents(call, SUBNETS).values()):
        call.bad_locked("vnet", "Can't delete vnet if subnets exists", VNETS.delete)
    remove(call, VNETS)


# -- subnets ---------------------------------------------------------------------------------------------------

_SUBNETS = "/cluster/sdn/vnets/{vnet}/subnets"
_SUBNET = _SUBNETS + "/{subnet}"


@handler("GET", _SUBNETS)
def subnets(call: Call) -> Any:
    call.require(_zone_path(call, call.str("vnet")), ["SDN.Audit", "SDN.Allocate"], any=True)
    return [row for row in rows(call, SUBNETS) if row["vnet"] == call.str("vnet")]


@handler("GET", _SUBNET)
def subnet(call: Call) -> Any:
    call.require(_zone_path(call, call.str("vnet")), ["SDN.Audit", "SDN.Allocate"], any=True)
    found = one(call, SUBNETS)
    if found.get("vnet") != call.str("vnet"):
        call.bad(vnet="wrong vnet")
    return found


def _finish_subnet(call: Call, id: str, document: dict[str, Any], prefix: str) -> None:
    _, network, mask = id.rsplit("-", 2)
    if document.get("dhcp-range"):
        document["dhcp-range"] = [
            dict(part.split("=", 1) for part in entry.split(",")) if isinstance(entry, str) else entry
            for entry in document["dhcp-range"]
        ]
    net = ipaddress.ip_network(f"{network}/{mask}", strict=False)
    gateway = document.get("gateway")
    if gateway and ipaddress.ip_address(gateway) not in net:
        call.bad_locked("gateway", f"{gateway} is not in subnet {net}", prefix)
    for entry in document.get("dhcp-range", []):
        for side in ("start-address", "end-address"):
            if side in entry and ipaddress.ip_address(entry[side]) not in net:
                call.bad_locked("dhcp-range", f"{entry[side]} is not in subnet {net}", prefix)
        first, last = entry.get("start-address"), entry.get("end-address")
        if first and last and int(ipaddress.ip_address(first)) > int(ipaddress.ip_address(last)):
            call.bad_locked("dhcp-range", f"start-address {first} must be smaller than end-address {last}", prefix)


@handler("POST", _SUBNETS)
def create_subnet(call: Call) -> None:
    vnet = call.str("vnet")
    call.require(_zone_path(call, vnet), "SDN.Allocate")
    zone = call.state.collection("sdn_vnets")[vnet]["zone"]
    try:
        # An id (zone-network-length) says the same as the network itself.
        cidr = ipaddress.ip_interface("/".join(call.str("subnet").rsplit("-", 2)[-2:]))
    except ValueError:
        call.bad(subnet="invalid format - value does not look like a valid CIDR network")
    # Bits of a host stay in the name.
    id = f"{zone}-{cidr.ip}-{cidr.network.prefixlen}"
    document = {**SUBNETS.new(call, id, "subnet"), "vnet": vnet}
    _finish_subnet(call, id, document, SUBNETS.create)
    SUBNETS.save(call, id, document)


@handler("PUT", _SUBNET)
def update_subnet(call: Call) -> None:
    call.require(_zone_path(call, call.str("vnet")), "SDN.Allocate")
    document = SUBNETS.changed(call, call.str("subnet"))
    _finish_subnet(call, call.str("subnet"), document, SUBNETS.update)
    SUBNETS.save(call, call.str("subnet"), document)


@handler("DELETE", _SUBNET)
def delete_subnet(call: Call) -> None:
    call.require(_zone_path(call, call.str("vnet")), "SDN.Allocate")
    zone = call.state.collection("sdn_zones").get(call.state.collection("sdn_vnets")[call.str("vnet")]["zone"], {})
    if call.str("subnet") not in call.state.collection("sdn_subnets") and not zone.get("ipam"):
        return  # nobody looks whether it is there
    remove(call, SUBNETS)

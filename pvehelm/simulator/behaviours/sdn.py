"""SDN: zones, vnets, subnets, controllers, IPAM and DNS plugins. Changes wait until they are applied.

The configuration is in the collections ``sdn_zones`` and so on; what was applied last is the setting ``sdn-running``.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from pvehelm.simulator.behaviours.nodeconfig import set_bridges
from pvehelm.simulator.core import Call, handler, split
from pvehelm.simulator.sections import Section, options
from pvehelm.simulator.tasks import TaskLog

_ZONE = "dns dnszone ipam mtu nodes reversedns"


def guard(call: Call, doing: str = "") -> None:
    """500 while the configuration is locked and the call does not carry the lock's token."""
    held = call.state.value("sdn-lock", "")
    if held and call.str("lock-token") != held:
        call.fail(f"{doing}: invalid lock token provided!" if doing else "invalid lock token provided!")


def _section(name: str, key: str, noun: str, table: Mapping[str, tuple[str, str]], **more: Any) -> Section:
    return Section(
        collection=f"sdn_{name}",
        key=key,
        options=options(table),
        create=f"create sdn {noun} object failed: ",
        update=f"update sdn {noun} object failed: ",
        delete=f"delete sdn {noun} object failed: ",
        exists=f"sdn {noun} object ID '{{id}}' already defined",
        missing=more.pop("missing", "sdn '{id}' does not exist"),
        guard=guard,
        **more,
    )


ZONES = _section(
    "zones",
    "zone",
    "zone",
    {
        "simple": (f"{_ZONE} dhcp", ""),
        "vlan": (f"{_ZONE} bridge bridge-disable-mac-learning", "bridge"),
        "qinq": (f"{_ZONE} bridge bridge-disable-mac-learning tag vlan-protocol", "bridge tag"),
        "vxlan": (f"{_ZONE} fabric peers vxlan-port", ""),
        "evpn": (
            f"{_ZONE} advertise-subnets bridge-disable-mac-learning controller disable-arp-nd-suppression exitnodes "
            "exitnodes-local-routing exitnodes-primary mac rt-import secondary-controllers vrf-vxlan vxlan-port",
            "controller vrf-vxlan",
        ),
        "faucet": ("controller dns dnszone dp-id ipam nodes reversedns", "controller dp-id"),
    },
)
VNETS = _section(
    "vnets", "vnet", "vnet", {"vnet": ("alias isolate-ports tag vlanaware zone", "zone")},
    missing="sdn vnet '{id}' does not exist",
)  # fmt: skip
SUBNETS = _section(
    "subnets", "subnet", "subnet",
    {"subnet": ("dhcp-dns-server dhcp-range dnszoneprefix gateway snat vnet", "")},
)  # fmt: skip
CONTROLLERS = _section(
    "controllers",
    "controller",
    "controller",
    {
        "evpn": ("asn bgp-mode ebgp ebgp-multihop fabric loopback node nodes peer-group-name peers "
                 "route-map-in route-map-out", "asn"),
        "bgp": ("asn bgp-multipath-as-path-relax bgp-multipath-as-relax ebgp ebgp-multihop loopback node nodes peers "
                "route-map-in route-map-out", "asn node peers"),
        "isis": ("isis-domain isis-ifaces isis-net loopback node", "isis-domain isis-ifaces isis-net node"),
        "faucet": ("", ""),
    },
)  # fmt: skip
IPAMS = _section(
    "ipams",
    "ipam",
    "zone",  # so it says
    {
        "pve": ("", ""),
        "netbox": ("fingerprint token url", "token url"),
        "phpipam": ("fingerprint section token url", "section token url"),
    },
)
DNS = _section("dns", "dns", "dns", {"powerdns": ("fingerprint key reversemaskv6 reversev6mask ttl url", "key url")})
_APPLIED = {"zones": ZONES, "vnets": VNETS, "subnets": SUBNETS, "controllers": CONTROLLERS}


def documents(call: Call, section: Section) -> dict[str, dict[str, Any]]:
    """Every document of a section by id."""
    return dict(call.state.collection(section.collection).items())


# -- what is shown ---------------------------------------------------------------------------------------------


def _subnet(id: str, document: Mapping[str, Any]) -> dict[str, Any]:
    zone, network, mask = id.rsplit("-", 2)
    return {
        **document,
        "id": id,
        "subnet": id,
        "zone": zone,
        "network": network,
        "mask": mask,
        "cidr": f"{network}/{mask}",
        "dhcp-range": document.get("dhcp-range", []),
    }


def _shown(section: Section, id: str, document: Mapping[str, Any]) -> dict[str, Any]:
    return _subnet(id, document) if section is SUBNETS else section.shown(id, document)


def _running(call: Call, section: Section) -> dict[str, dict[str, Any]]:
    part = section.collection.removeprefix("sdn_")
    found: dict[str, dict[str, Any]] = call.state.value("sdn-running", {}).get(part, {})
    return found


def _pending(section: Section, now: Mapping[str, Any], then: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for id in [*now, *(id for id in then if id not in now)]:
        if id not in then:
            document = now[id]
            # What the id says is no change, and neither is the vnet below which the object is.
            known = {name: document[name] for name in ("type", "vnet") if name in document}
            changes = {name: value for name, value in document.items() if name not in known}
            row = {**_shown(section, id, known), "state": "new", "pending": _as_sent(changes)}
        elif id not in now:
            row = {**_shown(section, id, then[id]), "state": "deleted", "pending": {}}
        else:
            changes = {name: value for name, value in now[id].items() if then[id].get(name) != value}
            changes |= {name: "deleted" for name in then[id] if name not in now[id]}
            row = _shown(section, id, then[id])
            if changes:
                row |= {"state": "changed", "pending": _as_sent(changes)}
        rows.append({**row, "digest": None})
    return rows


def _as_sent(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Ranges that wait are the texts that were sent."""
    ranges = changes.get("dhcp-range")
    if not isinstance(ranges, list):
        return dict(changes)
    texts = [",".join(f"{key}={entry[key]}" for key in entry) for entry in ranges]
    return {**changes, "dhcp-range": texts}


def rows(call: Call, section: Section) -> list[dict[str, Any]]:
    """What a collection answers: as configured, with ``pending=1`` what waits, with ``running=1`` what is applied."""
    now = documents(call, section)
    if call.bool("pending"):
        return _pending(section, now, _running(call, section))
    if call.bool("running"):
        return [{**_shown(section, id, doc), "digest": None} for id, doc in _running(call, section).items()]
    digest = section.digest(call)
    return [{**_shown(section, id, document), "digest": digest} for id, document in now.items()]


def pending_rows(call: Call, section: Section) -> list[dict[str, Any]]:
    return _pending(section, documents(call, section), _running(call, section))


def one(call: Call, section: Section) -> dict[str, Any]:
    """One object as answered; 500 when it does not exist."""
    id = call.str(section.key)
    if call.bool("pending") or call.bool("running"):
        for row in rows(call, section):
            if row[section.key] == id:
                return row
        if call.bool("running"):
            call.fail(section.text(section.missing, id))
    document = section.find(call, id)
    return {**_shown(section, id, document), "digest": section.digest(call)}


# -- zones, controllers, IPAM, DNS -----------------------------------------------------------------------------


def _check_zone(call: Call, document: Mapping[str, Any], prefix: str) -> None:
    kind = document["type"]
    if kind == "vxlan" and bool(document.get("peers")) == bool(document.get("fabric")):
        call.bad_locked("fabric", "must have exactly one of peers / fabric defined", prefix)
    if kind == "evpn":
        _check_evpn(call, document, prefix)
    for name, collection in (("dns", "sdn_dns"), ("reversedns", "sdn_dns"), ("ipam", "sdn_ipams")):
        wanted = document.get(name)
        if wanted and wanted not in call.state.collection(collection) and wanted != "pve":
            call.bad_locked(name, f"{wanted} don't exist", prefix)
    if document.get("dnszone") and not document.get("dns"):
        call.bad_locked("dnszone", "missing dns server", prefix)


def _check_evpn(call: Call, document: Mapping[str, Any], prefix: str) -> None:
    name = document["controller"]
    controller = call.found("sdn_controllers", name, f"{prefix}controller {name} don't exist")
    if controller["type"] != "evpn":
        call.fail(f"{prefix}{name} is not a evpn controller type")
    for other, zone in documents(call, ZONES).items():
        if other != call.str("zone") and zone.get("vrf-vxlan") == document["vrf-vxlan"]:
            call.fail(f"{prefix}vrf-vxlan {document['vrf-vxlan']} is already declared in {other}")


def _check_controller(call: Call, document: Mapping[str, Any], prefix: str) -> None:
    if document["type"] == "evpn" and bool(document.get("peers")) == bool(document.get("fabric")):
        call.fail(f"{prefix}must have exactly one of peers / fabric defined")


def _check_plugin(call: Call, document: Mapping[str, Any], prefix: str) -> None:
    """The service is asked once; the recorded machine reached none."""
    if document.get("url") and "network" in call.state.collection("nodes")[call.node].get("lacks", ()):
        call.fail(f"{prefix}can't connect to {document['type']} api: {document['url']}")


_SECTIONS = {"zones": ZONES, "controllers": CONTROLLERS, "ipams": IPAMS, "dns": DNS}
_CHECKS = {"zones": _check_zone, "controllers": _check_controller, "ipams": _check_plugin, "dns": _check_plugin}
_LISTS = [f"/cluster/sdn/{part}" for part in _SECTIONS]
_ITEMS = [f"/cluster/sdn/{part}/{{{section.key}}}" for part, section in _SECTIONS.items()]


def _meant(call: Call) -> tuple[str, Section, str]:
    """The part of the configuration that a call is about, its section, and the id that the call names."""
    part = call.operation.path.split("/")[3]
    section = _SECTIONS[part]
    return part, section, call.str(section.key)


def _built_in(section: Section, id: str) -> bool:
    return section is IPAMS and id == "pve"


@handler("GET", *_LISTS)
def listed(call: Call) -> Any:
    part, section, _ = _meant(call)
    wanted = call.str("type")
    found = [
        row
        for row in rows(call, section)
        if wanted in ("", row["type"])
        and call.may(f"/sdn/{part}/{row[section.key]}", "SDN.Audit", "SDN.Use", "SDN.Allocate")
    ]
    if section is IPAMS and not any(row["ipam"] == "pve" for row in found):
        found.insert(0, {"ipam": "pve", "type": "pve", "digest": section.digest(call)})
    return found


@handler("GET", *_ITEMS)
def get(call: Call) -> Any:
    _, section, id = _meant(call)
    if _built_in(section, id):
        return {"ipam": "pve", "type": "pve", "digest": section.digest(call)}
    return one(call, section)


@handler("POST", *_LISTS)
def create(call: Call) -> None:
    part, section, id = _meant(call)
    if _built_in(section, id):
        call.fail(section.create + section.text(section.exists, id))
    document = section.new(call, id, call.str("type"))
    if section is ZONES and document["type"] == "evpn" and not document.get("mac"):
        document["mac"] = "BC:24:11:" + ":".join(f"{random.randrange(256):02X}" for _ in range(3))
    _CHECKS[part](call, document, section.create)
    section.save(call, id, document)


@handler("PUT", *_ITEMS)
def update(call: Call) -> None:
    part, section, id = _meant(call)
    document = section.changed(call, id)
    _CHECKS[part](call, document, section.update)
    section.save(call, id, document)


def remove(call: Call, section: Section) -> None:
    """Delete the object that the call names; 500 when it does not exist."""
    section.may_write(call)
    section.find(call, call.str(section.key), section.delete)
    del call.state.collection(section.collection)[call.str(section.key)]


@handler("DELETE", *_ITEMS)
def delete(call: Call) -> None:
    _, section, id = _meant(call)
    if _built_in(section, id):  # comes back at once
        return
    users, noun = (VNETS, "vnet ") if section is ZONES else (ZONES, "")
    for used_by, document in documents(call, users).items():
        if document.get(section.key) == id:
            call.fail(f"{section.delete}{section.key} {id} is used by {noun}{used_by}")
    remove(call, section)


@handler("GET", "/nodes/{node}/sdn/zones")
def zones_on_node(call: Call) -> Any:
    """Every zone that a node has, and whether it stands there as it is configured."""
    running = _running(call, ZONES)
    return [
        {"zone": zone, "status": "available" if running.get(zone) == document else "pending"}
        for zone, document in documents(call, ZONES).items()
        if call.node in split(document.get("nodes") or call.node)
        and call.may(f"/sdn/zones/{zone}", "SDN.Audit", "SDN.Allocate")
    ]


# -- applying --------------------------------------------------------------------------------------------------


@handler("PUT", "/cluster/sdn")
def apply(call: Call) -> str:
    guard(call, "could not commit SDN config")
    _release(call)

    def work(log: TaskLog) -> None:
        call.state.set_value("sdn-running", {part: documents(call, section) for part, section in _APPLIED.items()})
        nodes = call.state.collection("nodes")
        for name, node in nodes.items():
            node["vnets"] = sorted(call.state.collection("sdn_vnets"))
            set_bridges(node)
            nodes[name] = node
            log(f"{name}: reloading network config")

    return call.task("reloadnetworkall", "", work)


def _release(call: Call) -> None:
    # What the schema gives as the default is none: the server does it only where it is asked to.
    if call.str("lock-token") and call.bool("release-lock"):
        call.state.set_value("sdn-lock", "")


@handler("POST", "/cluster/sdn/rollback")
def rollback(call: Call) -> None:
    guard(call, "could not rollback SDN configuration")
    running = call.state.value("sdn-running", {})
    for part, section in _APPLIED.items():
        documents = call.state.collection(section.collection)
        documents.clear()
        for id, document in running.get(part, {}).items():
            documents[id] = document
    _release(call)


@handler("POST", "/cluster/sdn/lock")
def lock(call: Call) -> str:
    import uuid

    guard(call, "could not acquire lock for SDN config")
    waits = any(row.get("state") for section in _APPLIED.values() for row in pending_rows(call, section))
    if waits and not call.bool("allow-pending"):
        call.fail("could not acquire lock for SDN config: configuration has pending changes")
    token = str(uuid.uuid4())
    call.state.set_value("sdn-lock", token)
    return token


@handler("DELETE", "/cluster/sdn/lock")
def unlock(call: Call) -> None:
    if not call.bool("force"):
        guard(call, "could not release lock")
    call.state.set_value("sdn-lock", "")

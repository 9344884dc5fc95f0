"""Who else is concerned when a group of changes is made to count: others whose changes wait, and the node's own way."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pvehelm.api.exchange import quote
from pvehelm.api.schema import Schema
from pvehelm.errors import Problem
from pvehelm.release.plan import Allowed, Change, Observed, Op, Plan

if TYPE_CHECKING:
    from pvehelm.api.exchange import Answer

Get = Callable[..., Awaitable[Any]]
_HEADER = re.compile(r"[ +-]\s*(?:auto|iface|allow-\w+)\s+(\S+)")
_SOMETHING = "an interface"
_CARRYING = ("cidr", "cidr6", "gateway", "gateway6", "bridge_ports", "slaves", "vlan-raw-device", "vlan-id", "type")
_PORTS = ("bridge_ports", "ovs_ports", "slaves", "ovs_bonds", "vlan-raw-device")


class Exchange(Protocol):
    """``Client.exchange``."""

    def __call__(self, method: str, path: str) -> Awaitable[Answer]: ...


# -- what else would be applied --------------------------------------------------------------------------------


async def waiting_interfaces(node: str, exchange: Exchange) -> list[str]:
    """The interfaces of a node whose changes wait for a reload. The server tells by a difference of two files."""
    answer = await exchange("GET", f"/nodes/{quote(node)}/network")
    return interfaces_of(answer.changes or "")


def interfaces_of(difference: str) -> list[str]:
    """The interfaces that a unified difference of ``/etc/network/interfaces`` is about, in its order."""
    found: dict[str, None] = {}
    current = _SOMETHING
    for line in difference.splitlines():
        if line.startswith(("---", "+++")):
            continue
        if line.startswith("@@"):
            current = _SOMETHING
            continue
        header = _HEADER.match(line)
        current = header[1] if header else current
        if line[:1] in "+-" and line[1:].strip():
            found[current] = None
    return list(found)


async def waiting_networks(schema: Schema, get: Get, but: Plan | None = None) -> list[str]:
    """What waits in the cluster's networks, in words; without what is in the plan ``but``."""
    ours = set(_ours(but)) if but else set()
    lists = [
        ("Zone", "/cluster/sdn/zones", ("zone",)),
        ("VNet", "/cluster/sdn/vnets", ("vnet",)),
        ("Controller", "/cluster/sdn/controllers", ("controller",)),
        ("Fabric", "/cluster/sdn/fabrics/fabric", ("id",)),
        ("FabricNode", "/cluster/sdn/fabrics/node", ("fabric_id", "node_id")),
        ("PrefixList", "/cluster/sdn/prefix-lists", ("id",)),
        ("RouteMap", "/cluster/sdn/route-maps", ("id",)),
    ]
    found: list[str] = []
    for kind, path, columns in lists:
        if schema.find("GET", path) is None:
            continue
        rows = await get(path, pending=1) or []
        found += _waiting(kind, rows, columns, ours)
        if kind == "VNet":
            for row in rows:
                if row.get("state") == "deleted":
                    continue  # it is in the list until that is applied, and nowhere else
                below = await get(f"{path}/{quote(row['vnet'])}/subnets", pending=1) or []
                named = [{"state": one.get("state"), "vnet": row["vnet"], "cidr": _cidr(one)} for one in below]
                found += _waiting("Subnet", named, ("vnet", "cidr"), ours)
    return found


def _waiting(
    kind: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str], ours: set[tuple[str, ...]]
) -> list[str]:
    named = [(tuple(_plain(row.get(column)) for column in columns), row.get("state")) for row in rows]
    return [f"{kind}/{'/'.join(names)} ({state})" for names, state in named if state and (kind, *names) not in ours]


def _cidr(subnet: Mapping[str, Any]) -> str:
    """The network of a subnet's identifier, ``ZONE-10.0.0.0-24``."""
    before, _, length = str(subnet.get("subnet")).rpartition("-")
    return f"{before.rpartition('-')[2]}/{length}"


def _ours(made: Plan) -> Iterable[tuple[str, ...]]:
    """The kind and the identifying names of every object of a plan."""
    for change in made.changes:
        key = {name: _plain(value) for name, value in change.key.items()}
        if change.kind == "Subnet":
            yield change.kind, key.get("vnet", ""), key.get("subnet", "")
        elif change.kind == "FabricNode":
            yield change.kind, key.get("fabric_id", ""), key.get("node_id", "")
        else:
            yield change.kind, change.ref.partition("/")[2]
            yield from ((change.kind, name) for name in key.values())


def _plain(value: Any) -> str:
    """A name in its one spelling: a network without host bits."""
    try:
        return str(ipaddress.ip_network(str(value), strict=False)) if "/" in str(value) else str(value)
    except ValueError:
        return str(value)


# -- cutting a node off ----------------------------------------------------------------------------------------


async def cutting(node: str, acting: Sequence[Change], observed: Observed, allowed: Allowed, get: Get) -> list[Problem]:
    """Changes that may take a node's own address away or a port from under it, unless the user said so."""
    rows = {str(row.get("iface")): row for row in await get(f"/nodes/{quote(node)}/network") or []}
    carriers = [name for name, row in rows.items() if row.get("gateway") or row.get("gateway6")]
    below = {port: carrier for carrier in carriers for port in _below(carrier, rows)}
    found: list[Problem] = []
    for change in acting:
        what = _takes_away(change, observed) or _takes_over(change, below)
        if what and change.ref not in allowed.destroy:
            hint = f"--allow-destroy {change.ref}, with a console of the node at hand"
            found.append(Problem(change.where or change.ref, f"{change.ref} {what}", hint))
    return found


def _takes_away(change: Change, observed: Observed) -> str:
    live = observed.live.get(change.ref) or observed.old.get(change.ref)
    if live is None or not (live.fields.get("gateway") or live.fields.get("gateway6")):
        return ""
    touched = [one.leaf for one in change.fields if one.leaf in _CARRYING] if change.op is Op.update else ["all"]
    if not touched:
        return ""
    words = "" if touched == ["all"] else f" ({', '.join(touched)})"
    return f"would be changed{words}: it carries the node's default route, and may cut the node off"


def _takes_over(change: Change, below: Mapping[str, str]) -> str:
    """An interface that takes a port which the node's own address lies on."""
    own = str(change.key.get("iface"))
    for one in change.fields:
        if one.leaf not in _PORTS:
            continue
        for port in _ports(one.after):
            carrier = below.get(port)
            if carrier and carrier != own and port not in _ports(one.before):
                through = "" if carrier == port else f" through {carrier}"
                return f"would take {port}, which carries the node's default route{through}, and may cut the node off"
    return ""


def _below(name: str, rows: Mapping[str, Mapping[str, Any]], seen: frozenset[str] = frozenset()) -> Iterable[str]:
    """An interface and every port under it."""
    yield name
    row = rows.get(name, {})
    for port in (port for leaf in _PORTS for port in _ports(row.get(leaf))):
        if port not in seen:
            yield from _below(port.partition(".")[0], rows, seen | {name})


def _ports(value: Any) -> list[str]:
    listed = value if isinstance(value, list | tuple) else re.split(r"[\s,;]+", str(value or ""))
    return [str(port) for port in listed if port]

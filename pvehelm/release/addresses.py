"""Where a check may go: a guest says itself which addresses it has, and must not lead this machine to somebody else.

What the configuration gives a device counts before what the guest says of it. Neither may be an address that means
something here (loopback, link-local, multicast, a cloud's metadata), a node's, or that of another release's guest.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pvehelm.errors import ApiError
from pvehelm.release.inventory import GUEST_KINDS

if TYPE_CHECKING:
    from pvehelm.api.client import Client
    from pvehelm.release.release import ReleaseKey
    from pvehelm.release.store import Store

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Where clouds tell a machine its own credentials, beside 169.254.169.254.
_METADATA = {ipaddress.ip_address(one) for one in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_usable(address: str) -> bool:
    """Whether an address can be reached from outside: neither loopback nor link-local, multicast, unspecified or one
    that is set apart."""
    found = list(meant(address))
    return bool(found) and not any(
        one.is_loopback or one.is_link_local or one.is_multicast or one.is_unspecified or _apart(one) for one in found
    )


def _apart(one: Address) -> bool:
    return one in _METADATA or (one.version == 4 and (one.is_reserved or one.packed[0] == 0))


def meant(address: str) -> Iterator[Address]:
    """The address that a text stands for, and the ones of IPv4 that it carries in the dress of IPv6; none for a text
    that is no address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return
    yield parsed
    if isinstance(parsed, ipaddress.IPv6Address):
        teredo = parsed.teredo or ()
        low = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        carried = (
            parsed.ipv4_mapped,
            parsed.sixtofour,
            *teredo,
            low if parsed in _NAT64 or int(parsed) >> 32 == 0 else None,
        )
        yield from (one for one in carried if one is not None)


def configured(fields: Mapping[str, Any], device: str) -> list[str]:
    """The addresses that a guest's configuration gives a device (``net0``), those of IPv4 first."""
    source = fields.get(f"ipconfig{device[3:]}") or fields.get(device)
    if not isinstance(source, Mapping):
        return []
    values = [str(source.get(key) or "") for key in ("ip", "ip6")]
    return [value.partition("/")[0] for value in values if "/" in value]


async def of_others(client: Client, store: Store, key: ReleaseKey) -> dict[Address, str]:
    """Addresses that are not this release's, with whose they are: the nodes' and, as far as this store knows, those
    that the guests of other releases were given. What may not be read is left out."""
    found: dict[Address, str] = {}
    for other, owned in store.owned(key.cluster):
        if other != key and owned.kind in GUEST_KINDS:
            for leaf, value in owned.fields.items():
                if leaf.endswith((".ip", ".ip6")) and isinstance(value, str) and "/" in value:
                    _put(found, value, f"{owned.ref} of {other}")
    rows = await _rows(client, "/cluster/status")
    nodes = [row for row in rows if row.get("type") == "node"]
    networks = await asyncio.gather(*(_rows(client, f"/nodes/{n['name']}/network") for n in nodes if n.get("online")))
    for row in nodes:
        _put(found, str(row.get("ip") or ""), f"node {row['name']}")
    for row, devices in zip([n for n in nodes if n.get("online")], networks, strict=True):
        for device in devices:
            for name in ("address", "address6", "cidr", "cidr6"):
                _put(found, str(device.get(name) or ""), f"node {row['name']}")
    return found


async def _rows(client: Client, path: str) -> list[Mapping[str, Any]]:
    try:
        return list(await client.get(path) or [])
    except ApiError:
        return []


def _put(found: dict[Address, str], text: str, whose: str) -> None:
    for one in meant(text.partition("/")[0]):
        found.setdefault(one, whose)


def barred(address: str, others: Mapping[Address, str]) -> str:
    """Why a check does not go to an address; '' when it may."""
    if not is_usable(address):
        return "which leads elsewhere or nowhere"
    return next((f"which is that of {others[one]}" for one in meant(address) if one in others), "")

"""The addresses that a running guest has, as its agent (or the container's own view) tells them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.state import State


class Interface(NamedTuple):
    """One network device of the configuration: its name inside the guest, and its address ('' while it has none)."""

    slot: str
    name: str
    mac: str
    address: str
    prefix: int


def of(guest: Guest) -> list[Interface]:
    """The interfaces of a guest, in order. What DHCP would give is an address of the documentation network."""
    found = []
    for number in range(32):
        text = guest.config.get(f"net{number}")
        if text is None:
            continue
        net = dict(part.partition("=")[::2] for part in str(text).split(","))
        # A machine's device begins with its model and MAC; a container's names both.
        mac = net["hwaddr"] if "hwaddr" in net else next(iter(net.values()), "")
        given = str(text) if guest.kind == "lxc" else str(guest.config.get(f"ipconfig{number}", ""))
        fixed = re.search(r"(?:^|,)ip=([\d.]+)/(\d+)", given)
        dhcp = guest.kind == "qemu" or "ip=dhcp" in given.split(",")
        address = fixed[1] if fixed else f"192.0.2.{int(guest.vmid) % 250 + 2}" if dhcp else ""
        prefix = int(fixed[2]) if fixed else 24
        found.append(Interface(f"net{number}", net.get("name") or f"eth{number}", mac.lower(), address, prefix))
    return found


def holder(state: State, address: str) -> Guest | None:
    """The running guest that has an address."""
    for kind in ("qemu", "lxc"):
        for vmid in list(state.collection(kind)):
            guest = Guest(state, kind, vmid, state.collection(kind)[vmid])
            if guest.running and any(one.address == address for one in of(guest)):
                return guest
    return None


def row(one: Interface) -> dict[str, Any]:
    """An interface as the guest agent shows it."""
    return {
        "name": one.name,
        "hardware-address": one.mac,
        "ip-addresses": [{"ip-address-type": "ipv4", "ip-address": one.address, "prefix": one.prefix}]
        if one.address
        else [],
    }

"""An object as it is now, as a document that conditions and readiness look at.

``{"config": {fields as in a manifest's normal form}, "status": {...}}``; the status of a guest has ``state`` (running,
stopped, paused), ``uptime`` (seconds), ``lock``, ``agent`` (whether the guest agent answers), ``networks``
(``{"net0": [addresses]}``), ``addresses`` (all of them), ``address`` (the first) and ``ha`` (the state that the HA
manager has it in, '' without HA). Other kinds have an empty status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pvehelm.api.kind import Kind, Live
from pvehelm.errors import ApiError
from pvehelm.release.addresses import configured, is_usable
from pvehelm.release.inventory import GUEST_KINDS, Owned
from pvehelm.release.live import Reader

if TYPE_CHECKING:
    from pvehelm.api.client import Client

MAC_KEY = {"VirtualMachine": "macaddr", "Container": "hwaddr"}


async def observe(client: Client, kind: Kind, owned: Owned) -> dict[str, Any] | None:
    """The document of an owned object; None where it is not there (or is not ours any more)."""
    reader = Reader(client)
    live = await kind.read(owned.identifier, reader)
    return None if live is None or is_strange(owned, live) else await seen(client, owned.kind, live, reader)


async def seen(client: Client, kind: str, live: Live, reader: Reader) -> dict[str, Any]:
    """The document of an object that was read, whoever it belongs to."""
    document: dict[str, Any] = {"config": dict(live.fields), "status": {}}
    if kind in GUEST_KINDS:
        document["status"] = await _guest(client, kind, live, reader)
    return document


def is_strange(owned: Owned, live: Live) -> bool:
    """Whether a guest under our VMID does not carry our mark: then it is somebody else's."""
    if owned.kind not in GUEST_KINDS:
        return False
    mark = live.extra.get("mark")
    return mark is None or mark.uid != owned.uid or mark.vmid != str(live.key.get("vmid"))


async def _guest(client: Client, kind: str, live: Live, reader: Reader) -> dict[str, Any]:
    flavour = "qemu" if kind == "VirtualMachine" else "lxc"
    base = f"/nodes/{live.key['node']}/{flavour}/{live.key['vmid']}"
    now = await reader(f"{base}/status/current") or {}
    state = str(now.get("qmpstatus") or now.get("status") or "unknown")
    found: dict[str, Any] = {
        "state": state,
        "uptime": int(now.get("uptime") or 0),
        "lock": str(now.get("lock") or ""),
        "agent": False,
        "networks": {},
    }
    ha = now.get("ha")
    found["ha"] = str(ha.get("state") or "") if isinstance(ha, Mapping) and ha.get("managed") else ""
    if state == "running":
        if kind == "VirtualMachine" and has_agent(live.fields):
            found["agent"] = await answers(client, base)
        asked = found["agent"] or kind == "Container"
        found["networks"] = _networks(kind, live, await _interfaces(client, base, kind) if asked else [])
    found["addresses"] = [address for listed in found["networks"].values() for address in listed]
    found["address"] = found["addresses"][0] if found["addresses"] else ""
    return found


def has_agent(fields: Mapping[str, Any]) -> bool:
    """Whether a machine's configuration says that there is a guest agent in it."""
    agent = fields.get("agent")
    value = agent.get("enabled") if isinstance(agent, Mapping) else agent
    return str(value).lower() in ("1", "true")


async def answers(client: Client, base: str) -> bool:
    """Whether the agent of the machine at ``base`` (``/nodes/N/qemu/ID``) answers a ping."""
    try:
        await client.post(f"{base}/agent/ping")
    except ApiError:
        return False
    return True


async def _interfaces(client: Client, base: str, kind: str) -> list[tuple[str, list[str]]]:
    """(MAC, addresses) of every interface that the guest shows."""
    path = f"{base}/agent/network-get-interfaces" if kind == "VirtualMachine" else f"{base}/interfaces"
    try:
        answer = await client.get(path)
    except ApiError:
        return []
    rows = answer.get("result") if isinstance(answer, Mapping) else answer
    found = []
    for row in rows if isinstance(rows, list) else ():
        mac = str(row.get("hardware-address") or row.get("hwaddr") or "").lower()
        listed = [str(one.get("ip-address") or "") for one in row.get("ip-addresses") or ()]
        listed += [str(row[name]).partition("/")[0] for name in ("inet", "inet6") if row.get(name)]
        found.append((mac, list(dict.fromkeys(filter(None, listed)))))
    return found


def _networks(kind: str, live: Live, interfaces: Iterable[tuple[str, list[str]]]) -> dict[str, list[str]]:
    """The addresses of each network device of the configuration, by MAC; a static one counts where the guest is silent.

    What else a guest has (containers' bridges, tunnels) is nobody's business, and neither are addresses that only mean
    something inside it.
    """
    by_mac = {mac: addresses for mac, addresses in interfaces if mac}
    found: dict[str, list[str]] = {}
    for name in sorted((n for n in live.fields if re.fullmatch(r"net\d+", n)), key=lambda n: int(n[3:])):
        net = live.fields[name]
        if not isinstance(net, Mapping):
            continue
        told = by_mac.get(str(net.get(MAC_KEY[kind]) or "").lower())
        usable = [
            address for address in (told if told is not None else configured(live.fields, name)) if is_usable(address)
        ]
        found[name] = sorted(usable, key=lambda address: ":" in address)
    return found

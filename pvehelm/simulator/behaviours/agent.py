"""The guest agent of a running VM: it answers when the configuration enables it."""

from __future__ import annotations

import re
from typing import Any

from pvehelm.simulator.behaviours import guests, power
from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.core import Call, Failure, handler

PATH = "/nodes/{node}/qemu/{vmid}/agent"


def _reach(call: Call) -> Guest:
    """The VM whose agent is asked. Raises Failure when nobody would answer."""
    guest = guests.load(call, "qemu", plain=True)
    if not guest.running:
        raise Failure(500, f"VM {guest.vmid} is not running")
    if re.match(r"(enabled=)?1(,|$)", str(guest.config.get("agent", "0"))) is None:
        raise Failure(500, "No QEMU guest agent configured")
    return guest


@handler("POST", PATH + "/ping")
def ping(call: Call) -> dict[str, Any]:
    _reach(call)
    return {"result": {}}


@handler("POST", PATH + "/exec")
def execute(call: Call) -> dict[str, Any]:
    """Runs nothing: every command ends well and says nothing."""
    _reach(call)
    return {"pid": 1000 + call.state.count("guest-pid")}


@handler("GET", PATH + "/exec-status")
def executed(call: Call) -> dict[str, Any]:
    _reach(call)
    pid = call.int("pid")
    if not 1000 < pid <= 1000 + int(call.state.value("counter:guest-pid", 0)):
        raise Failure(500, f"Agent error: PID {pid} does not exist")
    return {"exited": 1, "exitcode": 0, "out-data": ""}


@handler("POST", PATH + "/file-write")
def write_file(call: Call) -> None:
    guest = _reach(call)
    guest.doc.setdefault("files", {})[call.str("file")] = call.str("content")
    guest.save()


@handler("GET", PATH + "/file-read")
def read_file(call: Call) -> dict[str, Any]:
    name = call.str("file")
    found = _reach(call).doc.get("files", {})
    if name not in found:
        raise Failure(500, f"Agent error: failed to open file '{name}' (mode: 'r'): No such file or directory")
    return {"content": found[name]}


@handler("POST", PATH + "/shutdown")
def shut_down(call: Call) -> dict[str, Any]:
    power.stop(_reach(call), call)
    return {"result": None}


@handler("POST", *(f"{PATH}/{verb}" for verb in ("fsfreeze-freeze", "fsfreeze-thaw", "fstrim", "set-user-password")))
def obey(call: Call) -> dict[str, Any]:
    _reach(call)
    return {"result": {}}


@handler("GET", PATH + "/get-host-name")
def host_name(call: Call) -> dict[str, Any]:
    return {"result": {"host-name": _reach(call).name}}


@handler("GET", PATH + "/get-osinfo")
def system(call: Call) -> dict[str, Any]:
    _reach(call)
    return {"result": {"id": "debian", "name": "Debian GNU/Linux", "version-id": "12", "machine": "x86_64"}}


@handler("GET", PATH + "/network-get-interfaces")
def interfaces(call: Call) -> dict[str, Any]:
    guest = _reach(call)
    found = [_interface("lo", "00:00:00:00:00:00", "127.0.0.1", 8)]
    for number in range(32):
        net = guest.config.get(f"net{number}")
        if net is None:
            continue
        mac = str(net).partition(",")[0].partition("=")[2].lower()
        hit = re.search(r"(?:^|,)ip=([\d.]+)/(\d+)", str(guest.config.get(f"ipconfig{number}", "")))
        # An address that DHCP would give is one of the documentation network.
        address, prefix = (hit[1], int(hit[2])) if hit else (f"192.0.2.{int(guest.vmid) % 250 + 2}", 24)
        found.append(_interface(f"eth{number}", mac, address, prefix))
    return {"result": found}


def _interface(name: str, mac: str, address: str, prefix: int) -> dict[str, Any]:
    return {
        "name": name,
        "hardware-address": mac,
        "ip-addresses": [{"ip-address-type": "ipv4", "ip-address": address, "prefix": prefix}],
    }

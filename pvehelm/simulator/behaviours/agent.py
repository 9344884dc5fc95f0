"""The guest agent of a running VM: it answers when the configuration enables it."""

from __future__ import annotations

import re
from typing import Any

from pvehelm.simulator.behaviours import addresses, guests, power, shell
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


def _command(call: Call) -> list[str]:
    given = call.args.get("command")
    return [str(word) for word in given] if isinstance(given, list | tuple) else [str(given)]


@handler("POST", PATH + "/exec")
def execute(call: Call) -> dict[str, Any]:
    """Begin a command; what it will have done by its end is done at once."""
    guest = _reach(call)
    number = 1000 + call.state.count("guest-pid")
    ended = shell.run(_command(call), call.str("input-data"), guest.doc.setdefault("files", {}))
    row = {**shell.answer(ended), "end": call.now + ended.seconds}
    guest.doc["processes"] = {**dict(list(guest.doc.get("processes", {}).items())[-20:]), str(number): row}
    guest.save()
    return {"pid": number}


@handler("GET", PATH + "/exec-status")
def executed(call: Call) -> dict[str, Any]:
    pid = call.int("pid")
    found = dict(_reach(call).doc.get("processes", {}).get(str(pid)) or {})
    if not found:
        raise Failure(500, f"Agent error: PID {pid} does not exist")
    return {"exited": 0} if found.pop("end") > call.now else found


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
    own = addresses.Interface("", "lo", "00:00:00:00:00:00", "127.0.0.1", 8)
    return {"result": [addresses.row(one) for one in (own, *addresses.of(_reach(call)))]}

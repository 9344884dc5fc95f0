"""Power verbs of both kinds: start, stop, shutdown, reboot, reset, suspend, resume."""

from __future__ import annotations

import re
from collections.abc import Callable

from pvehelm.simulator.behaviours import drives, guests, hotplug, storages
from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.core import Call, Failure, handler, of_guests
from pvehelm.simulator.tasks import TaskLog

VM, CT = of_guests("/status/")
# How long a machine that its own creation starts takes to come up, unless somebody looks before.
START_SECONDS = 1.0


# -- the effects ---------------------------------------------------------------------------------------------------


def start(call: Call, guest: Guest) -> None:
    """Raises Failure where a start would fail."""
    what = "VM" if guest.kind == "qemu" else "CT"
    # What sleeps on disk is woken by a start.
    asleep = guest.kind == "qemu" and guest.config.get("lock") == "suspended"
    if not (asleep or call.bool("skiplock")):
        guest.check_lock(call)
    if guest.template:
        raise Failure(500, f"you can't start a {'vm' if guest.kind == 'qemu' else 'CT'} if it's a template")
    if guest.running:
        raise Failure(500, f"{what} {guest.vmid} already running")
    check_bridges(call, guest)
    for volid in _volumes(guest):
        storages.usable(call.state, volid.partition(":")[0], guest.node)
    if asleep:
        del guest.config["lock"]
    settle(guest, call)
    guest.doc.update({"status": "running", "started": call.now})
    guest.save()


def start_soon(call: Call, guest: Guest) -> None:
    """What ``start=1`` of a creation does: a task of its own that begins when the creation is done."""

    def work(log: TaskLog) -> None:
        check_bridges(call, guest)
        guest.doc["starts"] = call.now + START_SECONDS
        guest.save()

    call.task(guests.TASKS[guest.kind] + "start", guest.vmid, guests.in_task(work))


def stop(guest: Guest, call: Call | None = None) -> None:
    """Switch off; what was pending takes effect."""
    guest.doc["status"] = "stopped"
    guest.doc.pop("started", None)
    guest.doc.pop("starts", None)
    settle(guest, call)
    guest.save()


def settle(guest: Guest, call: Call | None = None) -> None:
    if guest.kind == "qemu":
        hotplug.settle(guest)
    else:
        from pvehelm.simulator.behaviours import lxcconfig

        lxcconfig.settle(guest, call)


def check_bridges(call: Call, guest: Guest) -> None:
    """Raises Failure for a network device on a bridge that its node does not have."""
    node = call.state.collection("nodes").get(guest.node) or {}
    known = {*node.get("bridges", ()), *call.state.collection("sdn_vnets")}
    for name, value in guest.config.items():
        if re.fullmatch(r"net\d+", name):
            bridge = next((part[7:] for part in str(value).split(",") if part.startswith("bridge=")), "")
            if bridge and bridge not in known:
                raise Failure(500, f"bridge '{bridge}' does not exist")


def _volumes(guest: Guest) -> list[str]:
    files = [
        drives.file_of(str(v)) for k, v in guest.config.items() if drives.is_drive(k) or re.match(r"rootfs|mp\d", k)
    ]
    return [file for file in files if ":" in file and not file.startswith("/")]


# -- HA ------------------------------------------------------------------------------------------------------------


def _managed(call: Call, kind: str) -> str | None:
    """The HA service of the guest in the call, unless it is not managed."""
    service = f"{guests.SERVICE[kind]}:{call.int('vmid')}"
    return service if service in call.state.collection("ha_resources") else None


def _request(call: Call, service: str, wanted: str) -> None:
    resources = call.state.collection("ha_resources")
    resources[service] = {**resources[service], "state": wanted}


# -- the calls -----------------------------------------------------------------------------------------------------


def _task(call: Call, kind: str, verb: str, work: Callable[[Guest], None], *, plain: bool = False) -> str:
    """A task around ``work``; a guest that does not exist is found out in it."""
    vmid = str(call.int("vmid"))

    def run(log: TaskLog) -> None:
        work(guests.load(call, kind, plain=plain))

    return call.task(guests.TASKS[kind] + verb, vmid, guests.in_task(run))


def _ha(call: Call, kind: str, verb: str, wanted: str, work: Callable[[Guest], None]) -> str:
    """What HA manages is started and stopped by asking HA."""
    service = str(_managed(call, kind))

    def run(log: TaskLog) -> None:
        guest = guests.load(call, kind)
        _request(call, service, wanted)
        log(f"Requesting HA {verb} for {guest.label}")
        work(guest)

    return call.task(f"ha{verb}", str(call.int("vmid")), guests.in_task(run))


@handler("POST", *of_guests("/status/start"))
def begin(call: Call) -> str:
    kind = call.guest_kind
    guests.check_skiplock(call)
    if _managed(call, kind):
        return _ha(call, kind, "start", "started", lambda guest: None if guest.running else start(call, guest))
    if kind == "lxc":
        doc = call.state.collection("lxc").get(str(call.int("vmid")))
        if doc is not None and doc.get("status", "stopped") != "stopped":
            raise Failure(500, f"CT {call.int('vmid')} already running")
    return _task(call, kind, "start", lambda guest: start(call, guest))


@handler("POST", *of_guests("/status/stop"), *of_guests("/status/shutdown"))
def end(call: Call) -> str:
    kind, verb = call.guest_kind, call.operation.path.rpartition("/")[2]
    if kind == "lxc":
        _refuse_stopped(call, kind)
    if _managed(call, kind):
        return _ha(call, kind, "stop", "stopped", lambda guest: stop(guest, call) if guest.running else None)

    def work(guest: Guest) -> None:
        if guest.running:
            if not call.bool("skiplock"):
                guest.check_lock(call)
            stop(guest, call)

    return _task(call, kind, verb, work, plain=True)


def _refuse_stopped(call: Call, kind: str) -> Guest:
    guest = guests.load(call, kind)
    if not guest.running:
        raise Failure(500, f"{guest.label} not running")
    return guest


@handler("POST", VM + "reset")
def reset_vm(call: Call) -> str:
    _refuse_stopped(call, "qemu")
    return _task(call, "qemu", "reset", lambda guest: guest.check_lock(call))


@handler("POST", *of_guests("/status/reboot"))
def reboot(call: Call) -> str:
    _refuse_stopped(call, call.guest_kind)

    def work(guest: Guest) -> None:
        stop(guest, call)
        start(call, guest)

    return _task(call, call.guest_kind, "reboot", work)


def _set(guest: Guest, status: str) -> None:
    guest.doc["status"] = status
    guest.save()


@handler("POST", VM + "suspend")
def suspend_vm(call: Call) -> str:
    _refuse_stopped(call, "qemu")

    def pause(guest: Guest) -> None:
        if not call.bool("skiplock"):
            guest.check_lock(call)
        _set(guest, "paused")

    if not call.bool("todisk"):
        return _task(call, "qemu", "pause", pause)

    def work(guest: Guest) -> None:
        guest.config["lock"] = "suspended"
        stop(guest)

    return _task(call, "qemu", "suspend", work)


@handler("POST", VM + "resume")
def resume_vm(call: Call) -> str:
    guest = guests.load(call, "qemu")
    if guest.config.get("lock") == "suspended":
        return _task(call, "qemu", "resume", lambda asleep: start(call, asleep))
    _refuse_stopped(call, "qemu")
    return _task(call, "qemu", "resume", lambda paused: _set(paused, "running"))


@handler("POST", CT + "suspend")
def suspend_ct(call: Call) -> str:
    _refuse_stopped(call, "lxc")
    return _task(call, "lxc", "suspend", lambda guest: _set(guest, "paused"))


@handler("POST", CT + "resume")
def resume_ct(call: Call) -> str:
    guest = guests.load(call, "lxc", plain=True)
    if guest.doc.get("status") == "running":
        raise Failure(500, f"CT {guest.vmid} already running")

    def work(suspended: Guest) -> None:
        if suspended.doc.get("status") != "paused":
            raise Failure(500, f"command 'lxc-checkpoint -n {suspended.vmid} -r' failed: exit code 1")
        _set(suspended, "running")

    return _task(call, "lxc", "resume", work)

"""Starting, stopping and moving all guests of a node at once."""

from __future__ import annotations

from collections.abc import Callable

from pvehelm.simulator.behaviours import guests, migrate, power
from pvehelm.simulator.behaviours.guests import Guest
from pvehelm.simulator.core import Call, Failure, bad_parameters, handler
from pvehelm.simulator.tasks import TaskLog


def _selected(call: Call, priv: str) -> list[Guest]:
    """The guests of the node, or those of them that are named; 403 for one that the caller may not touch."""
    wanted = set(call.list("vms"))
    if not call.may("/", priv):
        if not wanted:
            call.require("/", [priv])
        for vmid in sorted(wanted):
            call.require(f"/vms/{vmid}", [priv])
    return [g for g in guests.all_guests(call) if g.node == call.node and (not wanted or g.vmid in wanted)]


def _all(call: Call, verb: str, priv: str, work: Callable[[Guest], None]) -> str:
    """One task over the selected guests; what goes wrong with one is a line of its log."""
    selected = _selected(call, priv)

    def run(log: TaskLog) -> None:
        for guest in selected:
            try:
                work(guest)
                log(f"{guest.label}: done")
            except Failure as failure:
                log.warn(f"{guest.label}: {failure.message}")

    return call.task(verb, "", run)


@handler("POST", "/nodes/{node}/startall")
def start(call: Call) -> str:
    chosen = call.bool("force") or bool(call.list("vms"))

    def work(guest: Guest) -> None:
        if not guest.running and not guest.template and (chosen or guest.config.get("onboot")):
            power.start(call, guest)

    return _all(call, "startall", "VM.PowerMgmt", work)


@handler("POST", "/nodes/{node}/stopall")
def stop(call: Call) -> str:
    def work(guest: Guest) -> None:
        if guest.running:
            guest.check_lock(call)
            power.stop(guest, call)

    return _all(call, "stopall", "VM.PowerMgmt", work)


@handler("POST", "/nodes/{node}/suspendall")
def suspend(call: Call) -> str:
    def work(guest: Guest) -> None:
        if guest.running and guest.kind == "qemu":
            guest.doc["status"] = "paused"
            guest.save()

    return _all(call, "suspendall", "VM.PowerMgmt", work)


@handler("POST", "/nodes/{node}/migrateall")
def move(call: Call) -> str:
    target = call.str("target")
    if target == call.node:
        raise bad_parameters({"target": "target is local node."})
    if target not in call.state.collection("nodes"):
        raise Failure(500, f"no such cluster node '{target}'")

    def work(guest: Guest) -> None:
        guest.check_lock(call)
        migrate.move(call, guest, target)

    return _all(call, "migrateall", "VM.Migrate", work)

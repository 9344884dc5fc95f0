"""Guests of both kinds: finding, locks, digests, and configurations with what is pending.

A document of the collections ``qemu`` and ``lxc`` (key: VMID)::

    {"node", "status" (stopped | running | paused), "config": {key: value as GET shows it}, "pending": {...},
     "delete": {key: force}, "snapshots": {name: {...}}, "firewall": {...}, "started": seconds}
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from pvehelm.api.schema import Operation
from pvehelm.simulator import tasks
from pvehelm.simulator.behaviours import backupjobs, firewall, ha, pools, properties
from pvehelm.simulator.core import MODIFIED, Call, Failure, handler, of_guests
from pvehelm.simulator.permissions import drop_entries
from pvehelm.simulator.state import State

KINDS = ("qemu", "lxc")
LABEL = {"qemu": "VM", "lxc": "CT"}
FOLDER = {"qemu": "qemu-server", "lxc": "lxc"}
TASKS = {"qemu": "qm", "lxc": "vz"}
SERVICE = {"qemu": "vm", "lxc": "ct"}
MASK = "**********"
# Parameters of a configuration call that are no options of a guest.
CONTROLS = frozenset(
    {"node", "vmid", "digest", "delete", "revert", "force", "skiplock", "background_delay", "import-working-storage"}
)


@dataclass
class Guest:
    """One guest's document, loaded; ``save`` writes it back."""

    state: State
    kind: str
    vmid: str
    doc: dict[str, Any]

    @property
    def node(self) -> str:
        return str(self.doc["node"])

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = self.doc["config"]
        return found

    @property
    def pending(self) -> dict[str, Any]:
        found: dict[str, Any] = self.doc.setdefault("pending", {})
        return found

    @property
    def deleted(self) -> dict[str, int]:
        if not isinstance(self.doc.get("delete"), dict):
            self.doc["delete"] = dict.fromkeys(self.doc.get("delete") or (), 0)
        found: dict[str, int] = self.doc["delete"]
        return found

    @property
    def snapshots(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.doc.setdefault("snapshots", {})
        return found

    @property
    def running(self) -> bool:
        return bool(self.doc.get("status", "stopped") != "stopped")

    @property
    def template(self) -> bool:
        return bool(self.config.get("template"))

    @property
    def label(self) -> str:
        return f"{LABEL[self.kind]} {self.vmid}"

    @property
    def name(self) -> str:
        if self.kind == "qemu":
            return str(self.config.get("name") or f"VM {self.vmid}")
        return str(self.config.get("hostname") or f"CT{self.vmid}")

    def save(self) -> None:
        self.state.collection(self.kind)[self.vmid] = self.doc

    def remove(self) -> None:
        del self.state.collection(self.kind)[self.vmid]

    def configured(self) -> dict[str, Any]:
        """The configuration with what is pending applied: what a GET shows."""
        found = {key: value for key, value in self.config.items() if key not in self.deleted}
        return {**found, **self.pending}

    def digest(self, call: Call) -> str:
        return call.digest([self.config, self.pending, self.deleted, self.snapshots])

    # -- refusals ----------------------------------------------------------------------------------------------

    def lock(self, now: float) -> str | None:
        """The lock that is set, or the one a running task holds."""
        return self.config.get("lock") or tasks.busy(self.state, self.vmid, now)

    def check_lock(self, call: Call) -> None:
        held = self.lock(call.now)
        if held:
            raise Failure(500, f"{LABEL[self.kind]} is locked ({held})")

    def check_protection(self, what: str) -> None:
        if self.config.get("protection"):
            raise Failure(500, f"{what} - protection mode enabled")

    def check_digest(self, call: Call) -> None:
        sent = call.args.get("digest")
        if sent and sent != self.digest(call):
            if self.kind == "qemu":
                raise Failure(500, "checksum mismatch (file change by other user?)")
            raise Failure(500, MODIFIED)


# Machines that this process has seen coming up: {state: {(vmid, when they are up)}}.
_seen: WeakKeyDictionary[State, set[tuple[str, float]]] = WeakKeyDictionary()


def awake(call: Call, vmid: str, doc: dict[str, Any]) -> dict[str, Any]:
    """A document as it is now. A machine that its own creation starts is still down at the first look, then up."""
    up = doc.get("starts")
    if up is None:
        return doc
    seen = _seen.setdefault(call.state, set())
    if up <= call.now or (vmid, up) in seen:
        return {**{k: v for k, v in doc.items() if k != "starts"}, "status": "running", "started": up}
    seen.add((vmid, up))
    return doc


def anywhere(state: State, vmid: str) -> Guest | None:
    """The guest with this id on any node, of either kind."""
    for kind in KINDS:
        doc = state.collection(kind).get(vmid)
        if doc is not None:
            return Guest(state, kind, vmid, doc)
    return None


def all_guests(call: Call, *kinds: str) -> Iterator[Guest]:
    """Every guest of the cluster (of these kinds)."""
    for kind in kinds or KINDS:
        for vmid, doc in call.state.collection(kind).items():
            yield Guest(call.state, kind, vmid, awake(call, vmid, doc))


def load(call: Call, kind: str, vmid: str | None = None, *, plain: bool = False) -> Guest:
    """The guest on the call's node. Raises Failure when it is not there (``plain``: in the other wording)."""
    vmid = str(int(vmid or call.args["vmid"]))
    doc = call.state.collection(kind).get(vmid)
    if doc is None or doc["node"] != call.node:
        if plain:
            raise Failure(500, f"unable to find configuration file for {LABEL[kind]} {vmid} on node '{call.node}'")
        raise Failure(500, f"Configuration file 'nodes/{call.node}/{FOLDER[kind]}/{vmid}.conf' does not exist")
    return Guest(call.state, kind, vmid, awake(call, vmid, doc))


def in_task(work: Callable[[tasks.TaskLog], None]) -> Callable[[tasks.TaskLog], None]:
    """What refuses a call in the foreground ends a task in the background."""

    def run(log: tasks.TaskLog) -> None:
        try:
            work(log)
        except Failure as failure:
            text = failure.message.strip()
            if failure.errors:
                text = "; ".join([text, *(f"{key}: {value}" for key, value in failure.errors.items())])
            raise tasks.TaskFailure(text, keep=failure.keep) from None

    return run


def check_skiplock(call: Call) -> None:
    if call.bool("skiplock") and not call.is_root:
        call.bad(skiplock="Only root may use this option.")


def refuse_taken(call: Call, vmid: str, prefix: str = "") -> None:
    """Raises Failure when a guest of either kind has the id."""
    other = anywhere(call.state, vmid)
    if other is not None:
        raise Failure(500, f"{prefix}{other.label} already exists on node '{other.node}'")


def check_pool(call: Call, pool: str | None) -> None:
    if pool:
        pools.check(call, pool)


def join_pool(call: Call, pool: str | None, vmid: str) -> None:
    if pool:
        pools.join(call.state, pool, vmid)


def check_vm(call: Call, vmid: str, pool: str | None, privs: list[str], any: bool = False) -> None:
    """The privileges on a guest, or on the pool that it is created in."""
    if pool:
        have = [call.may(f"/pool/{pool}", priv) for priv in privs]
        if have and (True in have if any else all(have)):
            return
    call.require(f"/vms/{vmid}", privs, any=any)


# -- values ----------------------------------------------------------------------------------------------------


def options(operation: Operation) -> set[str]:
    """The names of a guest's options, numbered ones as families (``net[n]``)."""
    return {name for name in operation.params if name not in CONTROLS}


def is_option(operation: Operation, name: str) -> bool:
    param = operation.param(name)
    if name in CONTROLS:
        return False
    if param is not None:
        return True
    return bool(re.fullmatch(r"unused\d+", name))


def store_description(kind: str, text: str) -> str | None:
    """A description as it comes back; None when nothing is left."""
    if kind == "qemu":
        return text.removesuffix("\n") or None
    return (text.removesuffix("\n") + "\n") if text else None


def cluster_option(state: State, name: str) -> Any:
    """An option of the datacenter as it is stored, or None."""
    return (state.value("cluster-options", None) or {}).get(name)


def store_tags(state: State, text: str) -> str:
    style = str(cluster_option(state, "tag-style") or "")
    return (
        properties.unique_tags(text, case_sensitive="case-sensitive=1" in style, ordered="ordering=config" in style)
        or " "
    )


def random_mac(call: Call) -> str:
    """A MAC address below the cluster's prefix."""
    prefix = str(cluster_option(call.state, "mac_prefix") or "BC:24:11").upper()
    tail = uuid.uuid4().hex.upper()
    octets = [*prefix.split(":"), *(tail[i : i + 2] for i in range(0, 12, 2))][:6]
    return ":".join(octets)


def shown(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration for a reader: what is secret is masked."""
    return {key: (MASK if key == "cipassword" else value) for key, value in config.items()}


@handler("GET", *of_guests("/config"))
def configuration(call: Call) -> dict[str, Any]:
    """With pending values, those of a snapshot, or the running ones (``current``)."""
    guest = load(call, call.guest_kind)
    name = call.args.get("snapshot")
    if name:
        found = guest.snapshots.get(name)
        if found is None:
            raise Failure(500, f"snapshot '{name}' does not exist")
        config: Mapping[str, Any] = found
    else:
        config = guest.config if call.bool("current") else guest.configured()
    answer = shown(config)
    held = None if name else guest.lock(call.now)
    return {**answer, "digest": guest.digest(call), **({"lock": held} if held else {})}


@handler("GET", *of_guests("/pending"))
def pending(call: Call) -> list[dict[str, Any]]:
    """One row for each key."""
    guest = load(call, call.guest_kind)
    rows: list[dict[str, Any]] = []
    for key in sorted({*guest.config, *guest.pending, *guest.deleted}):
        row: dict[str, Any] = {"key": key}
        if key in guest.config:
            row["value"] = MASK if key == "cipassword" else guest.config[key]
        if key in guest.pending:
            row["pending"] = MASK if key == "cipassword" else guest.pending[key]
        if key in guest.deleted:
            row["delete"] = 2 if guest.deleted[key] else 1
        rows.append(row)
    held = guest.lock(call.now)
    if held and "lock" not in guest.config:
        rows.append({"key": "lock", "value": held})
    rows.append({"key": "digest", "value": guest.digest(call)})
    return rows


# -- leaving ---------------------------------------------------------------------------------------------------


def is_ha_managed(state: State, guest: Guest) -> bool:
    return f"{SERVICE[guest.kind]}:{guest.vmid}" in state.collection("ha_resources")


def check_unused(call: Call, guest: Guest, noun: str) -> None:
    """500 for a guest that cannot be removed because HA or a replication job names it, unless with ``purge``."""
    if call.bool("purge"):
        return
    if is_ha_managed(call.state, guest):
        call.fail(f"unable to remove {noun} {guest.vmid} - used in HA resources and purge parameter not set.")
    job = next((key for key in call.state.collection("replication") if key.partition("-")[0] == guest.vmid), None)
    if job is not None:
        call.fail(f"There is a replication job '{job}' for guest '{guest.vmid}' - Please remove that first.")


def forget(call: Call, guest: Guest, purge: bool) -> None:
    """Remove a guest and what hangs on it; with ``purge`` also its jobs and its HA membership."""
    state = call.state
    guest.remove()
    pools.leave(state, guest.vmid)
    firewall.forget(state, guest.vmid)
    drop_entries(state, lambda entry: entry["path"] == f"/vms/{guest.vmid}")
    if not purge:
        return
    ha.forget(state, guest.vmid)
    backupjobs.forget(call, guest.vmid)
    replication = state.collection("replication")
    for key in list(replication):
        if key.partition("-")[0] == guest.vmid:
            del replication[key]

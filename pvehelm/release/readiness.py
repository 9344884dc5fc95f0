"""Readiness: what more than a finished task it takes until a resource can be used, and waiting for that.

A guest that shall run does run; where it has an agent, the agent answers, and every network device that is to get an
address has one. What HA shall start is started. ``metadata.readyWhen`` adds conditions over the object as it is
(``release.observe``). Waiting is asked for (``--wait``) and always has an end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pvehelm.api.kind import Kind
from pvehelm.chart import condition
from pvehelm.chart.manifest import Resource
from pvehelm.errors import Problem, PvehelmError, StoppedError
from pvehelm.release.change import Change, Op
from pvehelm.release.event import Emit, Event
from pvehelm.release.inventory import GUEST_KINDS, Inventory, Owned
from pvehelm.release.observe import has_agent, observe

if TYPE_CHECKING:
    from pvehelm.api.client import Client

TIMEOUT = 300.0
"""Seconds that ``--wait`` takes at most where no ``--timeout`` says otherwise."""
IF_RUNNING = "if-running"
Wants = Mapping[str, Mapping[str, Any]]


def wants(changes: Sequence[Change], resources: Sequence[Resource]) -> dict[str, dict[str, Any]]:
    """What each resource of a plan has to be to be ready: ``{ref: {"state": "running", "conditions": [...]}}``."""
    conditions = {r.ref: [str(text) for text in r.metadata.get("readyWhen") or ()] for r in resources}
    found: dict[str, dict[str, Any]] = {}
    for change in changes:
        if change.wanted is None or change.op in (Op.delete, Op.forget, Op.run):
            continue
        fields = change.wanted.fields
        state = ""
        if change.kind in GUEST_KINDS and not fields.get("template"):
            state = str(fields.get("power") or "")
            if fields.get("started"):
                # Started once and then its administrator's business: what was stopped since is not waited for.
                state = "running" if change.op in (Op.create, Op.recreate) else IF_RUNNING
        elif change.kind == "HAResource":
            state = str(fields.get("state") or "started")
        row = {"state": state, "conditions": conditions.get(change.ref) or []}
        if any(row.values()):
            found[change.ref] = row
    return found


async def missing(client: Client, kind: Kind, owned: Owned, wanted: Mapping[str, Any]) -> list[str]:
    """What a resource still lacks, in words; empty when it is ready."""
    document = await observe(client, kind, owned)
    if document is None:
        return ["it is not there"]
    return await lacking(client, owned.kind, document, wanted, sid=str(owned.identifier.get("sid") or ""))


async def lacking(
    client: Client, kind: str, document: Mapping[str, Any], wanted: Mapping[str, Any], *, sid: str = ""
) -> list[str]:
    """What an object that was looked at (``release.observe``) still lacks, in words; ``sid`` is an HA resource's."""
    lacks: list[str] = []
    state = wanted.get("state")
    if kind in GUEST_KINDS and state:
        lacks += _guest(kind, document, str(state))
    elif kind == "HAResource" and state in ("started", "stopped"):
        lacks += await _service(client, sid, str(state))
    for text in wanted.get("conditions") or ():
        test = condition.parse(text)
        if not test.holds(document):
            lacks.append(f"{text} (it is {_shown(test.look(document))})")
    return lacks


def _guest(kind: str, document: Mapping[str, Any], state: str) -> list[str]:
    config, status = document["config"], document["status"]
    if state == IF_RUNNING:
        state = "running" if status["state"] == "running" else ""
    elif status["state"] != state:
        return [f"it is {status['state']}, not {state}"]
    if state != "running":
        return []
    if kind == "VirtualMachine":
        if not has_agent(config):
            return []  # nobody would tell its addresses
        if not status["agent"]:
            return ["the guest agent does not answer"]
    silent = [name for name in expecting(kind, config) if not status["networks"].get(name)]
    if kind == "VirtualMachine" and status["networks"] and not expecting(kind, config) and not status["addresses"]:
        silent = list(status["networks"])
    return [f"no address on {', '.join(silent)}"] if silent else []


def expecting(kind: str, config: Mapping[str, Any]) -> list[str]:
    """The network devices that the configuration gives an address to, fixed or by DHCP."""
    prefix = "ipconfig" if kind == "VirtualMachine" else "net"
    found = []
    for name, value in config.items():
        number = name.removeprefix(prefix)
        if name.startswith(prefix) and number.isdecimal() and isinstance(value, Mapping):
            given = [str(value.get(key) or "manual") for key in ("ip", "ip6")]
            if any(text != "manual" for text in given) and f"net{number}" in config:
                found.append(f"net{number}")
    return sorted(found)


async def _service(client: Client, sid: str, state: str) -> list[str]:
    rows = await client.get("/cluster/ha/status/current") or []
    row = next((row for row in rows if row.get("type") == "service" and row.get("sid") == sid), None)
    now = str((row or {}).get("crm_state") or (row or {}).get("state") or "not known to the HA manager")
    return [] if now == state else [f"the HA manager has it {now}, not {state}"]


def _shown(value: Any) -> str:
    return "not there" if value is None else str(value)


class Waiting:
    """Waits for several resources at once, telling of each what it still lacks whenever that changes."""

    def __init__(
        self,
        client: Client,
        kinds: Callable[[str], Kind],
        emit: Emit,
        *,
        stop: asyncio.Event | None = None,
        pause: tuple[float, float] = (0.5, 3.0),
    ) -> None:
        self.client = client
        self.kinds = kinds
        self.emit = emit
        self.stop = stop
        self.pause = pause

    async def until(self, wanted: Wants, inventory: Callable[[], Inventory], seconds: float) -> None:
        """Come back once everything in ``wanted`` is ready. Raises PvehelmError naming what is not after ``seconds``,
        StoppedError when told to stop."""
        told: dict[str, str] = {}
        left = dict(wanted)
        end = self.client.clock() + seconds
        pause = self.pause[0]
        while True:
            owned = inventory()
            refs = list(left)
            found = await asyncio.gather(*(self._lacks(owned.get(ref), left[ref]) for ref in refs))
            for ref, lacks in zip(refs, found, strict=True):
                text = "; ".join(lacks)
                if not text:
                    left.pop(ref)
                    self.emit(Event("ready", ref, "ready"))
                elif told.get(ref) != text:
                    self.emit(Event("waiting", ref, text))
                    told[ref] = text
            if not left:
                return
            if self.stop is not None and self.stop.is_set():
                raise StoppedError("stopped while waiting; what was changed stays as it is")
            remaining = end - self.client.clock()
            if remaining <= 0:
                problems = [Problem(ref, told[ref]) for ref in left]
                hint = "--timeout gives more time; pvehelm status says what is there"
                raise PvehelmError(f"not ready after {seconds:g} s", problems, hint=hint)
            await self.client.sleep(min(pause, remaining))
            pause = min(self.pause[1], pause * 1.5)

    async def _lacks(self, owned: Owned | None, wanted: Mapping[str, Any]) -> list[str]:
        if owned is None:
            return ["it is not there"]
        return await missing(self.client, self.kinds(owned.kind), owned, wanted)

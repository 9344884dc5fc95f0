"""What each kind of hook does: a command in a guest, a backup, a snapshot, a check, waiting."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from pvehelm.api.hookkinds import HookKind
from pvehelm.chart import condition
from pvehelm.errors import PvehelmError
from pvehelm.release.addresses import Address, barred, configured, of_others
from pvehelm.release.hookrun import Guest, Job, Skipped
from pvehelm.release.observe import answers, has_agent, observe
from pvehelm.release.reach import HttpProbe, http_request, tcp
from pvehelm.release.readiness import TIMEOUT, Waiting

if TYPE_CHECKING:
    from pvehelm.api.client import Client

ATTEMPT = 10.0
"""Seconds that one attempt of a check may take."""
STOPPED = 30.0
"""Seconds that a command waits for its guest to run; the guest agent gets all the time there is."""


# -- a command in a guest --------------------------------------------------------------------------------------


async def guest_exec(job: Job) -> None:
    """Run a command through the guest agent and look at how it ends."""
    guest = (await job.guests())[0]
    await _agent(job, guest)
    given = {"command": job.fields["command"]}
    if job.fields.get("stdin") is not None:
        given["input-data"] = job.fields["stdin"]
    answer = await job.call("POST", f"{guest.base}/agent/exec", given, f"run a command in {guest.ref}")
    pid = int(answer["pid"])
    end = await _ended(job, guest, pid)
    for name in ("out-data", "err-data"):
        if end.get(name):
            job.say(str(end[name]))
        if end.get(name.replace("data", "truncated")):
            job.say("(the agent cut the rest off)")
    code = end.get("exitcode")
    job.report.result |= {"pid": pid, "exitcode": code, "vmid": guest.vmid}
    if end.get("signal") is not None:
        raise PvehelmError(f"the command in {guest.ref} was ended by signal {end['signal']}")
    expected = job.fields.get("expectExitCode") or [0]
    if code not in expected:
        wanted = " or ".join(map(str, expected))
        raise PvehelmError(f"the command in {guest.ref} ended with exit code {code}, not {wanted}")
    text = job.fields.get("expectOutput")
    if text is not None and job.applier.secrets.resolve(text) not in str(end.get("out-data") or ""):
        raise PvehelmError(f"the command in {guest.ref} did not say {text!r}")


async def _agent(job: Job, guest: Guest) -> None:
    """Wait for the guest to run and for its agent to answer."""
    if not has_agent(guest.live.fields):
        what = f"{guest.ref} has no guest agent configured"
        raise PvehelmError(what, hint="agent: true in its spec, and qemu-guest-agent installed in it")
    began = job.client.clock()
    while not await answers(job.client, guest.base):
        now = await job.client.get(f"{guest.base}/status/current")
        running = now.get("status") == "running"
        if not running and job.client.clock() - began >= STOPPED:
            raise PvehelmError(f"{guest.ref} is not running", hint="power: running keeps it so")
        if job.left <= 0:
            raise job.overdue(
                f"the guest agent of {guest.ref} did not answer" if running else f"{guest.ref} did not run"
            )
        job.applier.tell("step", job.change.ref, f"waiting for the guest agent of {guest.ref}")
        await job.pause(1.0)


async def _ended(job: Job, guest: Guest, pid: int) -> Mapping[str, Any]:
    pause = 0.1
    while True:
        status: dict[str, Any] = await job.client.get(f"{guest.base}/agent/exec-status", {"pid": pid}) or {}
        if status.get("exited"):
            return status
        if job.left <= 0:
            raise job.overdue(f"the command in {guest.ref} (process {pid} there, which goes on) did not end")
        # Told to stop or not: a command that runs is waited for, since nobody could stop it.
        await job.applier.sleep(max(0.01, min(pause, job.left)))
        pause = min(2.0, pause * 1.5)


# -- snapshots -------------------------------------------------------------------------------------------------


def snapshot_name(text: str) -> str:
    """A name for a snapshot that every release takes: at most 40 letters, digits, ``-`` and ``_``."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", text)
    return (name if name[:1].isalpha() else f"s-{name}")[:40]


async def snapshot(job: Job) -> None:
    """Take a snapshot of each guest; one that an earlier run of the same hook took goes first."""
    name = str(job.fields.get("snapname") or snapshot_name(job.resource.name))
    mine = _signature(job)
    for guest in await job.guests():
        why = await refusal(job, guest)
        if why:
            raise PvehelmError(why)
        there = {row["name"]: str(row.get("description") or "") for row in await snapshots(job, guest)}
        if name in there:
            if mine not in there[name]:
                what = f"{guest.ref} has a snapshot {name} already, and this hook did not take it"
                raise PvehelmError(what, hint="give spec.snapname another name, or remove that snapshot")
            await drop(job, guest, name)
        about = "\n".join(filter(None, [str(job.fields.get("description") or ""), mine]))
        params: dict[str, Any] = {"snapname": name, "description": about}
        if job.fields.get("vmstate") and guest.flavour == "qemu":
            params["vmstate"] = 1
        prefix = "qm" if guest.flavour == "qemu" else "vz"
        fact = {"ref": guest.ref, "vmid": guest.vmid, "node": guest.node, "flavour": guest.flavour, "name": name}
        note = f"take snapshot {name} of {guest.ref}"
        path = f"{guest.base}/snapshot"
        await job.call("POST", path, params, note, task=f"{prefix}snapshot {guest.vmid}", snapshot=fact)
        job.report.result.setdefault("snapshots", []).append(fact)
        job.say(f"{guest.ref} (VMID {guest.vmid}): snapshot {name}")


def _signature(job: Job) -> str:
    return f"taken by pvehelm, release {job.key.name}, {job.resource.ref}"


async def refusal(job: Job, guest: Guest) -> str:
    """Why a guest can't have a snapshot, '' when it can."""
    answer = await job.client.get(f"{guest.base}/feature", {"feature": "snapshot"})
    return "" if (answer or {}).get("hasFeature") else f"{guest.ref}: a storage of its disks has no snapshots"


async def snapshots(job: Job, guest: Guest) -> list[dict[str, Any]]:
    rows = await job.client.get(f"{guest.base}/snapshot") or []
    return [row for row in rows if row.get("name") != "current"]


async def drop(job: Job, guest: Guest, name: str) -> None:
    prefix = "qm" if guest.flavour == "qemu" else "vz"
    note = f"remove snapshot {name} of {guest.ref}"
    await job.call("DELETE", f"{guest.base}/snapshot/{name}", {}, note, task=f"{prefix}delsnapshot {guest.vmid}")


async def drop_snapshots(job: Job) -> None:
    """Remove the snapshots that this very run took."""
    for fact in job.report.result.get("snapshots", ()):
        owned = job.inventory.get(fact["ref"])
        if owned is not None:
            await drop(job, await job.guest(owned), fact["name"])


# -- backups ---------------------------------------------------------------------------------------------------


async def backup(job: Job) -> None:
    """Back the guests up, all of one node with one call."""
    guests = await job.guests()
    by_node: dict[str, list[Guest]] = {}
    for guest in guests:
        by_node.setdefault(guest.node, []).append(guest)
    ends = await asyncio.gather(*(_dump(job, *item) for item in by_node.items()), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end


async def _dump(job: Job, node: str, guests: list[Guest]) -> None:
    assert isinstance(job.kind, HookKind)
    params = job.kind.wire(job.fields)
    params["storage"] = str(params.get("storage") or await backup_storage(job.client, node))
    params.setdefault("mode", "snapshot")
    params.setdefault("notes-template", f"{{{{guestname}}}}: release {job.key.name}, {job.resource.name}")
    params["vmid"] = ",".join(str(guest.vmid) for guest in guests)
    before = {row["volid"] for row in await _backups(job, node, params["storage"])}
    shown = params["vmid"] if len(guests) == 1 else ""
    names = ", ".join(guest.ref for guest in guests)
    await job.call("POST", f"/nodes/{node}/vzdump", params, f"back up {names}", task=f"vzdump {shown}")
    refs = {guest.vmid: guest.ref for guest in guests}
    for row in await _backups(job, node, params["storage"]):
        if row["volid"] in before or int(row.get("vmid") or 0) not in refs:
            continue
        fact = {
            "ref": refs[int(row["vmid"])],
            "vmid": int(row["vmid"]),
            "volume": row["volid"],
            "size": row.get("size"),
        }
        job.report.result.setdefault("backups", []).append(fact)
        job.say(f"{fact['ref']} (VMID {fact['vmid']}): {fact['volume']}")


async def _backups(job: Job, node: str, storage: str) -> list[dict[str, Any]]:
    return await job.client.get(f"/nodes/{node}/storage/{storage}/content", {"content": "backup"}) or []


async def backup_storage(client: Client, node: str) -> str:
    """The storage of a node that backups go to where none is named. Raises PvehelmError unless there is just one."""
    rows = await client.get(f"/nodes/{node}/storage", {"content": "backup", "enabled": 1}) or []
    names = sorted(str(row["storage"]) for row in rows)
    if len(names) == 1:
        return names[0]
    if not names:
        raise PvehelmError(f"node {node} has no storage for backups", hint="a storage with content: [backup]")
    what = f"several storages of node {node} take backups: {', '.join(names)}"
    raise PvehelmError(what, hint="name one: spec.storage, or --backup-storage NAME")


# -- checks ----------------------------------------------------------------------------------------------------


async def http_check(job: Job) -> None:
    """Ask until the answer is as expected."""
    fields = job.applier.secrets.resolve(dict(job.fields))
    scheme = str(fields.get("scheme") or "http")
    probe = HttpProbe(
        port=int(fields.get("port") or (443 if scheme == "https" else 80)),
        scheme=scheme,
        path=str(fields.get("path") or "/"),
        method=str(fields.get("method") or "GET"),
        host=str(fields.get("host") or ""),
        headers=dict(fields.get("headers") or {}),
        expect=tuple(fields.get("expectStatus") or ()),
        body=str(fields.get("expectBody") or ""),
        insecure=bool(fields.get("insecure")),
    )

    def attempt(address: str, seconds: float) -> str:
        return http_request(job.ctx.reach, address, probe, seconds)

    await _check(job, f"{scheme}, port {probe.port}, {probe.path}", attempt)


async def tcp_check(job: Job) -> None:
    """Connect until somebody answers."""
    port = int(job.fields["port"])

    def attempt(address: str, seconds: float) -> str:
        return tcp(job.ctx.reach, address, port, seconds)

    await _check(job, f"port {port}", attempt)


async def _check(job: Job, what: str, attempt: Callable[[str, float], str]) -> None:
    ref = str(job.fields["guest"])
    why = ""
    tries = 0
    others = {} if job.fields.get("address") else await of_others(job.client, job.ctx.store, job.key)
    while True:
        tries += 1
        address = await _address(job, ref, others)
        lacks = "it has no address yet"
        if address:
            seconds = max(0.5, min(ATTEMPT, job.left))
            # In a thread: one attempt blocks, and is bounded by itself.
            lacks = await asyncio.to_thread(attempt, address, seconds)
        if not lacks:
            job.report.result |= {"address": address, "tries": tries}
            job.say(f"{ref} ({address}): {what}: as expected")
            return
        if lacks != why:
            job.say(f"{ref} ({address or 'no address'}): {what}: {lacks}")
            why = lacks
        if job.left <= 0:
            raise job.overdue(f"{ref}: {what}: {why}; it did not get better")
        await job.pause(float(job.fields.get("interval") or min(5.0, 0.5 * tries)))


async def _address(job: Job, ref: str, others: Mapping[Address, str]) -> str:
    """The address of the guest (on the network device that the spec names), or the one that the user allowed to be
    asked in its place; '' while it has none.

    Raises Skipped where there is no such guest, PvehelmError where it has only addresses of ``others``.
    """
    owned = job.inventory.get(ref)
    if owned is None:
        raise Skipped(f"{ref} is not there")
    document = await observe(job.client, job.ctx.kinds.get(owned.kind), owned)
    if document is None:
        raise PvehelmError(f"{ref} is gone from the server, or is not this release's any more")
    networks = document["status"]["networks"]
    name = job.fields.get("network")
    if name and name not in document["config"]:
        raise PvehelmError(f"{ref} has no network device {name}")
    if job.fields.get("address"):
        return str(job.fields["address"])
    for device in [name] if name else list(networks):
        # What the configuration says is nobody's word but the release's own.
        listed = configured(document["config"], device) or networks.get(device, ()) if networks else ()
        reasons = {address: barred(address, others) for address in listed}
        for address, why in reasons.items():
            if not why:
                return address
        for address, why in reasons.items():
            hint = "spec.address names an address outright, with --allow-privileged address"
            raise PvehelmError(f"{ref} has the address {address} on {device}, {why}: checks do not go there", hint=hint)
    return ""


# -- waiting ---------------------------------------------------------------------------------------------------


async def wait(job: Job) -> None:
    """Wait for a time, or until conditions hold."""
    if job.fields.get("duration") is not None:
        job.ends = job.client.clock() + job.seconds(float(job.fields["duration"]))
        while job.left > 0:
            await job.pause(min(1.0, job.left))
        return
    ref = str(job.fields["object"])
    tests = [condition.parse(text) for text in job.fields["until"]]
    said = ""
    while True:
        owned = job.inventory.get(ref)
        if owned is None:
            raise Skipped(f"{ref} is not there")
        document = await observe(job.client, job.ctx.kinds.get(owned.kind), owned)
        lacking = [test.text for test in tests if document is None or not test.holds(document)]
        if not lacking:
            return
        text = f"{ref}: not yet {', '.join(lacking)}" if document else f"{ref} is not there"
        if text != said:
            job.say(text)
            said = text
        if job.left <= 0:
            raise job.overdue(f"{text}: it did not come about")
        await job.pause(float(job.fields.get("interval") or 1.0))


async def ready(job: Job) -> None:
    """Wait until what the plan is about is ready (``--wait``)."""
    waiting = Waiting(job.client, job.ctx.kinds.get, job.ctx.emit, stop=job.applier.stop)
    await waiting.until(job.change.hook["wants"], lambda: job.inventory, job.seconds(job.options.timeout or TIMEOUT))


JOBS: Mapping[str, Callable[[Job], Awaitable[None]]] = {
    "GuestExec": guest_exec,
    "Snapshot": snapshot,
    "Backup": backup,
    "HttpCheck": http_check,
    "TcpCheck": tcp_check,
    "Wait": wait,
}

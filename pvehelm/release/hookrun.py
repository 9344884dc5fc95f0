"""Running what a plan holds besides changes of objects: hooks, tests, snapshots, backups, waiting.

Each run is journalled as a whole, and each call that writes something once more by itself, so that a process that dies
in the middle leaves nothing unknown: the next command waits for the task that was begun and notes the rest as
interrupted. What a run said is bounded, has no secrets in it, and goes into the revision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pvehelm.api.kind import Live
from pvehelm.api.task import Task, TaskTimeout, find_tasks, is_upid
from pvehelm.chart.manifest import Resource, Source
from pvehelm.errors import ApiError, PvehelmError, StoppedError, TaskError, TransportError
from pvehelm.release.change import Change
from pvehelm.release.desire import was_deployed
from pvehelm.release.event import Event
from pvehelm.release.hooks import VERBS
from pvehelm.release.inventory import GUEST_KINDS, Inventory, Owned
from pvehelm.release.live import Reader
from pvehelm.release.observe import is_strange
from pvehelm.release.release import Revision, Status
from pvehelm.release.silence import ended, looking, unclear

if TYPE_CHECKING:
    from pvehelm.api.client import Client
    from pvehelm.release.apply import Applier
    from pvehelm.release.context import Context
    from pvehelm.release.desire import Options
    from pvehelm.release.journal import Entry
    from pvehelm.release.lease import Lease
    from pvehelm.release.release import ReleaseKey

HOOK, CALL = "hook", "call"
"""What the journal calls a run as a whole, and one call of it."""
TIMEOUT = 300.0
LINES, WIDTH = 400, 2000


class Skipped(Exception):
    """There is nothing to run on yet, or any more."""


@dataclass
class Guest:
    """A guest of the release that a hook may touch: found in the inventory, with our mark on it."""

    ref: str
    owned: Owned
    live: Live

    @property
    def vmid(self) -> int:
        return int(self.live.key["vmid"])

    @property
    def node(self) -> str:
        return str(self.live.key["node"])

    @property
    def flavour(self) -> str:
        return "qemu" if self.owned.kind == "VirtualMachine" else "lxc"

    @property
    def base(self) -> str:
        return f"/nodes/{self.node}/{self.flavour}/{self.vmid}"


@dataclass
class Report:
    """How a run went: phase is Succeeded, Failed or Skipped; times in seconds since the epoch."""

    ref: str
    event: str
    kind: str
    name: str
    weight: int = 0
    phase: str = "Running"
    started: float = 0.0
    completed: float = 0.0
    log: list[str] = field(default_factory=list)
    error: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


class Runner:
    """Runs the changes of one plan that are no changes of objects; ``Applier.perform`` is this."""

    def __init__(self, ctx: Context, key: ReleaseKey, lease: Lease, revision: int, options: Options) -> None:
        self.ctx = ctx
        self.key = key
        self.lease = lease
        self.revision = revision
        self.options = options
        self.reports: list[Report] = []

    async def __call__(self, change: Change, applier: Applier) -> None:
        """Run one. Raises PvehelmError, with what it said, when it fails."""
        manifest = change.hook.get("manifest") or {"kind": change.kind, "metadata": {"name": self.key.name}, "spec": {}}
        event = str(change.hook["event"])
        report = Report(change.ref, event, manifest["kind"], str(manifest["metadata"]["name"]))
        report.weight = int(change.hook.get("weight") or 0)
        report.started = self.ctx.clock()
        job = Job(self, change, applier, resource_of(change, manifest), report)
        intent = {"note": f"{event}: {change.reason}", "event": event, "manifest": manifest}
        entry = applier.begin(change.ref, HOOK, intent)
        try:
            await job.run()
            report.phase = "Succeeded"
        except Skipped as why:
            report.phase = "Skipped"
            report.log.append(str(why))
            applier.tell("note", change.ref, f"skipped: {why}")
        except PvehelmError as error:
            report.phase, report.error = "Failed", applier.secrets.redact(str(error))
            self._end(report, applier, entry)
            await job.clean("hook-failed")
            raise _told(error, report) from error
        self._end(report, applier, entry)
        if report.phase == "Succeeded":
            await job.clean("hook-succeeded")

    def _end(self, report: Report, applier: Applier, entry: int) -> None:
        report.completed = self.ctx.clock()
        self.reports.append(report)
        ok = report.phase != "Failed"
        self.ctx.store.outcome(entry, self.lease, ok=ok, result=report.as_dict(), error=report.error)
        row: dict[str, Any] = {"ref": report.ref, "step": f"{report.event} hook", "ok": ok, "hook": report.as_dict()}
        applier.outcome.events.append(row | ({"error": report.error} if report.error else {}))


def resource_of(change: Change, manifest: Mapping[str, Any]) -> Resource:
    """The resource of a hook out of what the plan holds of it."""
    metadata = dict(manifest["metadata"])
    where = Source(change.where or change.ref, 0)
    namespace = metadata.get("namespace")
    return Resource(
        manifest["kind"], metadata["name"], namespace, dict(manifest.get("spec") or {}), metadata, where, {}
    )


def _told(error: PvehelmError, report: Report) -> PvehelmError:
    """The error with the end of what the run said."""
    said = [line for line in report.log if line.strip()][-20:]
    text = "\n".join([str(error), *(f"| {line}" for line in said)])
    kind = StoppedError if isinstance(error, StoppedError) else PvehelmError
    return kind(text, error.problems, hint=error.hint)


class Job:
    """One run: what it may touch, how it writes, how long it may take. What each kind does is in ``hookjobs``."""

    def __init__(self, runner: Runner, change: Change, applier: Applier, resource: Resource, report: Report) -> None:
        self.ctx = runner.ctx
        self.key = runner.key
        self.lease = runner.lease
        self.revision = runner.revision
        self.options = runner.options
        self.change = change
        self.applier = applier
        self.resource = resource
        self.report = report
        self.client = applier.client
        self.kind = self.ctx.kinds.get(resource.kind)
        self.fields: Mapping[str, Any] = (
            self.kind.lower(resource, lambda ref: None).fields
            if self.kind.hook_only and "manifest" in change.hook
            else {}
        )
        self.policies = frozenset(change.hook.get("policies") or ())
        self.ends = self.client.clock() + self.seconds(float(self.fields.get("timeout") or TIMEOUT))

    async def run(self) -> None:
        """Do it. Raises Skipped, or PvehelmError when it fails."""
        from pvehelm.release import hookjobs, hookobjects, restarts

        event = self.change.hook["event"]
        if event == "ready":
            await hookjobs.ready(self)
        elif event == restarts.RESTART:
            await restarts.restart(self)
        elif event == "remove":
            await hookobjects.remove(self, lambda owned: True)
        elif not self.kind.hook_only:
            await hookobjects.make(self)
        else:
            await hookjobs.JOBS[self.resource.kind](self)

    async def clean(self, policy: str) -> None:
        """Remove what the run made, if its delete policy says so; what can't be removed is only told."""
        from pvehelm.release import hookjobs, hookobjects

        if policy not in self.policies:
            return
        try:
            if not self.kind.hook_only:
                await hookobjects.remove(self, lambda owned: owned.ref == self.resource.ref)
            elif self.resource.kind == "Snapshot":
                await hookjobs.drop_snapshots(self)
        except PvehelmError as error:
            self.applier.tell("note", self.change.ref, f"what it left could not be removed: {error}")

    # -- time --------------------------------------------------------------------------------------------------

    def seconds(self, wanted: float) -> float:
        """``wanted`` seconds, or what the operation as a whole has left of its time, if that is less."""
        return self.options.within(wanted, self.client.clock())

    @property
    def left(self) -> float:
        return self.ends - self.client.clock()

    async def pause(self, seconds: float) -> None:
        """Sleep no longer than there is time. Raises StoppedError when told to stop."""
        if self.applier.stop.is_set():
            raise StoppedError(f"{self.change.ref}: stopped while it was waiting")
        await self.applier.sleep(max(0.01, min(seconds, self.left)))

    def overdue(self, what: str) -> PvehelmError:
        limit = float(self.fields.get("timeout") or TIMEOUT)
        return PvehelmError(f"{what} within {limit:g} s", hint="spec.timeout gives it more time")

    # -- saying ------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Add to the log, without secrets and within bounds; the first lines give way."""
        for line in self.applier.secrets.redact(text).splitlines():
            shown = line[:WIDTH]
            self.report.log.append(shown)
            self.applier.tell("log", self.change.ref, shown)
        del self.report.log[:-LINES]

    # -- what it may touch -------------------------------------------------------------------------------------

    @property
    def inventory(self) -> Inventory:
        return self.ctx.store.inventory(self.key)

    async def guests(self) -> list[Guest]:
        """The guests that the spec names, else all of the release. Raises Skipped when none of them is there."""
        named = [str(self.fields["guest"])] if self.fields.get("guest") else list(self.fields.get("guests") or ())
        entries = self.inventory.entries
        everything = [ref for ref, o in entries.items() if o.kind in GUEST_KINDS and not o.metadata.get("hook")]
        found = [await self.guest(entries[ref]) for ref in named or everything if ref in entries]
        if not found:
            raise Skipped(f"{', '.join(named)} is not there" if named else "the release has no guests")
        return found

    async def guest(self, owned: Owned) -> Guest:
        live = await self.ctx.kinds.get(owned.kind).read(owned.identifier, Reader(self.client))
        if live is None:
            raise PvehelmError(f"{owned.ref} is gone from the server", hint="run the upgrade again to make it anew")
        if is_strange(owned, live):
            what = f"guest {live.key['vmid']} does not carry this release's mark, so {owned.ref} can't be reached"
            raise PvehelmError(what, hint=f"if it is still the same guest: --take-ownership {owned.ref}")
        return Guest(owned.ref, owned, live)

    # -- writing -----------------------------------------------------------------------------------------------

    async def call(
        self, method: str, path: str, params: Mapping[str, Any], note: str, *, task: str = "", **facts: Any
    ) -> Any:
        """A call that writes, journalled by itself; a task that it starts is waited for. ``task`` is the type and id of
        that task (``qmsnapshot 100``), to find it by when no answer comes. ``facts`` go into the journal."""
        node = path.split("/")[2]
        intent = {"note": note, "method": method, "path": path, "params": dict(params), "task": task, **facts}
        if task:
            # By the node's own tasks, for its clock is not ours.
            type_, _, id_ = task.partition(" ")
            earlier = await find_tasks(self.client, node, type_, id_)
            intent["before"] = str(earlier[0].upid) if earlier else ""
        entry = self.applier.begin(self.change.ref, CALL, intent)
        try:
            answer = await self._send(method, path, self.applier.secrets.resolve(dict(params)), intent)
            if is_upid(answer):
                self.ctx.store.set_upid(entry, answer)
                self.report.result.setdefault("tasks", []).append(answer)
                await ended(answer, self.client, max(1.0, self.left))
        except TaskTimeout:
            raise  # it goes on; the entry stays open, and the next command waits for it
        except TaskError as error:
            self.ctx.store.outcome(entry, self.lease, ok=False, error=str(error))
            self.say("\n".join(getattr(error, "log", ()) or ()))
            raise
        except PvehelmError as error:
            if not unclear(error):
                self.ctx.store.outcome(entry, self.lease, ok=False, error=self.applier.secrets.redact(str(error)))
            raise
        self.ctx.store.outcome(entry, self.lease, ok=True)
        return answer

    async def _send(self, method: str, path: str, params: Any, intent: Mapping[str, Any]) -> Any:
        try:
            return await self.client.request(method, path, params=params)
        except (ApiError, TransportError) as error:
            if not unclear(error) or not intent["task"]:
                raise
            self.applier.tell("retry", self.change.ref, f"no answer ({error}); looking for the task")
            for pause in (0.2, 1.0, 3.0):
                await self.applier.sleep(pause)
                with looking():
                    found = await _begun(self.client, intent)
                if found:
                    return found
            raise


async def _begun(client: Client, intent: Mapping[str, Any], since: float = 0.0) -> str:
    """The task that a call has started, or nothing. What was written down by an older version is known by its time."""
    type_, _, id_ = str(intent.get("task") or "").partition(" ")
    if not type_:
        return ""
    node, before = str(intent.get("path", "")).split("/")[2], intent.get("before")
    found = await find_tasks(client, node, type_, id_, since=since if before is None else 0.0, after=str(before or ""))
    return str(found[0 if before is None else -1].upid) if found else ""


async def recover(ctx: Context, lease: Lease, entry: Entry) -> str:
    """Close a journal entry of a run that was interrupted; what became of it, in words."""
    if entry.op == HOOK:
        ctx.store.outcome(entry.id, lease, ok=False, error="interrupted")
        return "was interrupted in the middle; recover or the same command runs it again"
    client = await ctx.connect()
    upid = entry.upid or await _begun(client, entry.intent, entry.started - 60)
    if not upid:
        ctx.store.outcome(entry.id, lease, ok=False, error="interrupted; nobody knows whether it was done")
        return "was interrupted in the middle of a call"
    try:
        await Task(upid, client).wait()
    except (TaskError, ApiError) as error:
        ctx.store.outcome(entry.id, lease, ok=False, upid=upid, error=str(error))
        return f"had begun a task that failed: {error}"
    ctx.store.outcome(entry.id, lease, ok=True, upid=upid)
    ctx.emit(Event("note", entry.ref, f"task {upid} ended well meanwhile"))
    return "had begun a task, which is done now"


def ran(entries: Sequence[Entry]) -> frozenset[str]:
    """The refs of runs that ended well, by the journal of a revision."""
    return frozenset(entry.ref for entry in entries if entry.op == HOOK and entry.ok)


def again(ctx: Context, key: ReleaseKey, revision: Revision) -> dict[str, Any]:
    """What finishing a revision has still to run: the verb whose hooks are left, and those that are done."""
    if revision.status is not Status.failed:
        return {"verb": "", "ran": []}
    plan = revision.plan or {}
    before = plan.get("hooks") or {}
    verb = before.get("verb") or VERBS.get(str(plan.get("action")))
    if verb is None:
        verb = ("upgrade" if was_deployed(ctx, key) else "install") if plan.get("action") == "apply" else ""
    return {"verb": verb, "ran": sorted({*(before.get("ran") or ()), *ran(ctx.store.entries(key, revision.number))})}


def reports(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The reports of runs in a revision's events."""
    return [dict(event["hook"]) for event in events if event.get("hook")]

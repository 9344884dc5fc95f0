"""Disks that go back: snapshots and backups before the first change, and a rollback that returns to a snapshot.

``--snapshot`` takes a snapshot of every guest of the release, named by the revision that is about to change it
(``pvehelm-before-r4`` holds what revision 3 was); it goes when that revision leaves the history. The journal says which
were taken. ``rollback --restore-disks`` plans against the configuration that the snapshot holds, so that the plan says
what is true once the guest has gone back, and each guest's change begins with the way back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pvehelm.api.kind import Effect, Live, Step
from pvehelm.api.mark import traits
from pvehelm.api.task import Task, is_upid
from pvehelm.errors import ApiError, Problem, PvehelmError, TaskError
from pvehelm.release.change import Change, Op, Plan
from pvehelm.release.event import Event
from pvehelm.release.hookjobs import backup_storage
from pvehelm.release.hookrun import CALL
from pvehelm.release.hooks import MADE_BY, synthetic
from pvehelm.release.inventory import GUEST_KINDS, Inventory, Owned
from pvehelm.release.live import Reader
from pvehelm.release.observe import is_strange

if TYPE_CHECKING:
    from pvehelm.api.client import Client
    from pvehelm.release.compare import Observed
    from pvehelm.release.context import Context
    from pvehelm.release.lease import Lease
    from pvehelm.release.release import ReleaseKey

PREFIX = "pvehelm-before-r"
_NAME = re.compile(rf"{PREFIX}(\d+)\Z")
# What a snapshot's configuration has beside the guest's own, or without it.
_OWN = frozenset(
    {"snaptime", "vmstate", "runningmachine", "runningcpu", "description", "parent", "digest", "snapstate"}
)


def base_of(kind: str, live: Live) -> str:
    """``/nodes/N/qemu/ID``."""
    return f"/nodes/{live.key['node']}/{'qemu' if kind == 'VirtualMachine' else 'lxc'}/{live.key['vmid']}"


# -- before the first change -----------------------------------------------------------------------------------


def first(
    made: Plan, inventory: Inventory, observed: Observed, revision: int, *, snapshot: bool, backup: str | None
) -> list[Change]:
    """What is done before anything else: a backup (``backup`` is its storage, '' for the only one there is, None for no
    backup), then a snapshot of each guest that stays."""
    guests = _guests(inventory, observed)
    leaving = {c.ref for c in made.changes if c.op in (Op.delete, Op.recreate)}
    staying = [ref for ref in guests if ref not in leaving]
    found: list[Change] = []
    name = f"before-r{revision}"
    if backup is not None and guests:
        spec = {"guests": guests, **({"storage": backup} if backup else {})}
        where = f" to {backup}" if backup else ""
        found.append(synthetic("backup", "Backup", name, spec, f"back up {', '.join(guests)}{where}"))
    if snapshot and staying:
        spec = {"guests": staying, "snapname": f"{PREFIX}{revision}"}
        reason = f"snapshot {PREFIX}{revision} of {', '.join(staying)}"
        found.append(synthetic("snapshot", "Snapshot", name, spec, reason))
    return found


def _guests(inventory: Inventory, observed: Observed) -> list[str]:
    """The release's guests that are there, but templates: those hold still, and take no snapshots."""
    found = []
    for ref, owned in inventory.entries.items():
        live = observed.old.get(ref) or observed.live.get(ref)
        if owned.kind not in GUEST_KINDS or owned.metadata.get(MADE_BY) or live is None or is_strange(owned, live):
            continue
        if not live.fields.get("template"):
            found.append(ref)
    return found


async def incapable(changes: Sequence[Change], observed: Observed, client: Client) -> list[Problem]:
    """Why the snapshots or backups of a plan can't be made."""
    found = []
    for change in changes:
        spec = change.hook["manifest"]["spec"]
        lives = {ref: observed.old.get(ref) or observed.live[ref] for ref in spec["guests"]}
        if change.kind == "Backup" and not spec.get("storage"):
            for node in sorted({str(live.key["node"]) for live in lives.values() if live}):
                try:
                    await backup_storage(client, node)
                except PvehelmError as error:
                    found.append(Problem("--backup", str(error), error.hint))
        for ref, live in lives.items() if change.kind == "Snapshot" else ():
            assert live is not None
            answer = await client.get(f"{base_of(ref.partition('/')[0], live)}/feature", {"feature": "snapshot"})
            if not (answer or {}).get("hasFeature"):
                disks = sorted(f"{n} on {v['storage']}" for n, v in live.fields.items() if _is_disk(v))
                what = f"{ref}: no snapshot is possible ({', '.join(disks) or 'no disks'})"
                hint = "snapshots need LVM-thin, ZFS, Ceph, Btrfs, or qcow2 files; --backup works with any storage"
                found.append(Problem("--snapshot", what, hint))
    return found


def _is_disk(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value.get("storage")) and value.get("media") != "cdrom"


# -- the way back ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Restore:
    """A guest that goes back to a snapshot, with what it is now and the steps that take it there."""

    ref: str
    name: str
    live: Live
    steps: tuple[Step, ...]
    losses: tuple[str, ...]


def holding(ctx: Context, key: ReleaseKey, number: int) -> dict[str, str]:
    """The snapshots that hold what revision ``number`` was: ref -> snapshot, as far as there are any.

    They were taken by the revision after it; by a later one only where those between have changed nothing.
    """
    found: dict[str, str] = {}
    for later in (r.number for r in ctx.store.revisions(key) if r.number > number):
        entries = ctx.store.entries(key, later)
        for entry in entries:
            fact = entry.intent.get("snapshot") if entry.op == CALL and entry.ok else None
            if fact and str(fact["name"]) == f"{PREFIX}{later}":
                found.setdefault(str(fact["ref"]), str(fact["name"]))
        if any(entry.op not in (CALL, "hook", "keep") for entry in entries):
            break
    return found


class Way:
    """The way back of a rollback with its disks."""

    def __init__(self, ctx: Context, key: ReleaseKey, number: int, done: frozenset[str] = frozenset()) -> None:
        self.ctx = ctx
        self.key = key
        self.number = number
        # Guests that went back already, before this rollback was interrupted.
        self.done = done
        self.problems: list[Problem] = []
        self.restores: dict[str, Restore] = {}

    async def look(self, wanted: Sequence[str], inventory: Inventory, reader: Reader) -> None:
        """Find the snapshots of the guests that are wanted, and let ``reader`` see their configurations for live."""
        names = holding(self.ctx, self.key, self.number)
        if not names:
            what = f"nothing holds the disks of revision {self.number}"
            hint = "only an upgrade with --snapshot keeps them; leave --restore-disks out to go back without the disks"
            self.problems.append(Problem("--restore-disks", what, hint))
            return
        client = await self.ctx.connect()
        zfs = {row["storage"] for row in await client.get("/storage") or [] if row.get("type") == "zfspool"}
        for ref in wanted:
            owned = inventory.get(ref)
            if ref in self.done:
                continue
            if owned is None or ref not in names:
                why = "was removed since" if owned is None else f"has no snapshot of revision {self.number}"
                hint = "leave --restore-disks out to go back without the disks"
                self.problems.append(Problem("--restore-disks", f"{ref} {why}", hint))
                continue
            restore = await self._restore(client, owned, names[ref], reader, zfs)
            if restore is not None:
                self.restores[ref] = restore

    async def _restore(self, client: Client, owned: Owned, name: str, reader: Reader, zfs: set[str]) -> Restore | None:
        live = await self.ctx.kinds.get(owned.kind).read(owned.identifier, Reader(client))
        if live is None or is_strange(owned, live):
            self.problems.append(Problem("--restore-disks", f"{owned.ref} is not there any more"))
            return None
        base = base_of(owned.kind, live)
        rows = [row for row in await client.get(f"{base}/snapshot") or [] if row.get("name") != "current"]
        mine = next((row for row in rows if row["name"] == name), None)
        if mine is None:
            self.problems.append(Problem("--restore-disks", f"{owned.ref}: its snapshot {name} is not there any more"))
            return None
        config = await client.get(f"{base}/snapshot/{name}/config") or {}
        shown = [{"key": k, "value": v} for k, v in config.items() if k not in _OWN]
        if live.extra.get("raw", {}).get("description"):
            shown.append({"key": "description", "value": live.extra["raw"]["description"]})
        reader.know(f"{base}/pending", shown)
        newer = _after(rows, mine)
        disks = [value for value in live.fields.values() if _is_disk(value)]
        steps: list[Step] = []
        losses = [f"what was written to its disks since {name}"]
        if newer and any(value["storage"] in zfs for value in disks):
            # ZFS goes back to its newest snapshot and no further.
            foreign = [other for other in newer if not _NAME.match(other)]
            if foreign:
                what = f"{owned.ref}: ZFS goes back to the newest snapshot only, and {', '.join(foreign)} came later"
                self.problems.append(Problem("--restore-disks", what, "remove it first"))
            for other in reversed(newer):
                steps.append(Step("DELETE", f"{base}/snapshot/{other}", {}, note=f"remove snapshot {other}"))
                losses.append(f"snapshot {other}")
        running = live.extra.get("status") in ("running", "paused")
        params = {"start": 1} if running and _can_start(self.ctx, base) else {}
        was = {"was": traits(live.extra.get("raw", {}))}
        note = f"go back to snapshot {name}"
        steps.append(Step("POST", f"{base}/snapshot/{name}/rollback", params, note=note, seen=was))
        return Restore(owned.ref, name, live, tuple(steps), tuple(losses))

    def woven(self, made: Plan) -> Plan:
        """The plan with the way back at the beginning of each guest's change."""
        changes = []
        for change in made.changes:
            restore = self.restores.get(change.ref)
            if restore is not None and change.op in (Op.keep, Op.update):
                change = replace(
                    change,
                    op=Op.update,
                    reason=f"goes back to snapshot {restore.name}" + ("" if change.op is Op.keep else ", then changes"),
                    effect=Effect.data_loss,
                    losses=(*change.losses, *restore.losses),
                    steps=(*restore.steps, *change.steps),
                )
            changes.append(change)
        return replace(made, changes=tuple(changes), problems=(*made.problems, *self.problems))


def _after(rows: Sequence[Mapping[str, Any]], mine: Mapping[str, Any]) -> list[str]:
    """The snapshots that were taken after one, oldest first: later ones, and what descends from it."""
    found: list[str] = []
    line = {str(mine["name"])}
    for row in sorted(rows, key=lambda row: int(row.get("snaptime") or 0)):
        later = int(row.get("snaptime") or 0) > int(mine.get("snaptime") or 0)
        if row["name"] != mine["name"] and (later or row.get("parent") in line):
            found.append(str(row["name"]))
            line.add(str(row["name"]))
    return found


def _can_start(ctx: Context, base: str) -> bool:
    flavour = base.split("/")[3]
    found = ctx.schema.find("POST", f"/nodes/{{node}}/{flavour}/{{vmid}}/snapshot/{{snapname}}/rollback")
    return found is not None and found.param("start") is not None


async def gone_back(ctx: Context, key: ReleaseKey, number: int) -> frozenset[str]:
    """The guests that revision ``number``, an interrupted rollback, has taken back already."""
    found = set()
    for entry in ctx.store.entries(key, number):
        if str(entry.intent.get("path", "")).endswith("/rollback") and entry.ok and entry.upid:
            with suppress(TaskError):  # its node has forgotten it: going back once more is no harm
                status = await Task(entry.upid, await ctx.connect()).status()
                if status.get("exitstatus") == "OK":
                    found.add(entry.ref)
    return frozenset(found)


def told(events: Sequence[Mapping[str, Any]]) -> str:
    """What a revision's description says of the snapshots and backups made before it."""
    words = []
    for event in events:
        found = (event.get("hook") or {}) if event.get("ok") else {}
        result = found.get("result") or {}
        if found.get("event") == "snapshot":
            words.append(f"snapshots {result['snapshots'][0]['name']}" if result.get("snapshots") else "")
        elif found.get("event") == "backup":
            words += [f"backup {one['volume']}" for one in result.get("backups", ())]
    words = list(filter(None, words))
    return f" ({', '.join(words)})" if words else ""


# -- leaving with the history ----------------------------------------------------------------------------------


def mark(key: ReleaseKey) -> str:
    """The name in the store's own records that says that a release has had snapshots."""
    return f"snapshots:{key.cluster}/{key.namespace}/{key.name}"


async def prune(ctx: Context, key: ReleaseKey, lease: Lease, revision: int) -> None:
    """Remove the snapshots of revisions that are no longer in the history. What can't be removed is told, and tried
    again the next time."""
    if ctx.store.meta().get(mark(key)) != "1":
        return
    client = await ctx.connect()
    known = {r.number for r in ctx.store.revisions(key)}
    for owned in ctx.store.inventory(key):
        if owned.kind not in GUEST_KINDS:
            continue
        live = await ctx.kinds.get(owned.kind).read(owned.identifier, Reader(client))
        if live is None or is_strange(owned, live):
            continue
        base = base_of(owned.kind, live)
        for row in await client.get(f"{base}/snapshot") or []:
            number = _NAME.match(str(row.get("name")))
            if number and int(number[1]) not in known:
                await _drop(ctx, key, lease, revision, owned, base, number[0])


async def _drop(ctx: Context, key: ReleaseKey, lease: Lease, revision: int, owned: Owned, base: str, name: str) -> None:
    prefix = "qm" if owned.kind == "VirtualMachine" else "vz"
    path = f"{base}/snapshot/{name}"
    intent: dict[str, Any] = {"note": f"remove snapshot {name}", "method": "DELETE", "path": path, "params": {}}
    intent["task"] = f"{prefix}delsnapshot {owned.identifier['vmid']}"
    client = await ctx.connect()
    entry = ctx.store.begin(key, lease, revision, 200_000, owned.ref, CALL, intent)
    try:
        answer = await client.request("DELETE", path)
        if is_upid(answer):
            ctx.store.set_upid(entry, answer)
            await Task(answer, client).wait()
    except (ApiError, PvehelmError) as error:
        ctx.store.outcome(entry, lease, ok=False, error=str(error))
        ctx.emit(Event("note", owned.ref, f"snapshot {name} of a revision that left the history stays: {error}"))
    else:
        ctx.store.outcome(entry, lease, ok=True)

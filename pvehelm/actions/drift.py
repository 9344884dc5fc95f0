"""Drift: what differs between releases and the server, field by field; who did it; undoing it, or taking it over."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import NotFoundError, Problem, PvehelmError, RefusedError
from pvehelm.release.release import ReleaseKey, Status

if TYPE_CHECKING:
    from pvehelm.chart.chart import Chart
    from pvehelm.release.context import Context
    from pvehelm.release.decide import Decision
    from pvehelm.release.desire import Options
    from pvehelm.release.inventory import Owned
    from pvehelm.release.live import Reader
    from pvehelm.release.pipeline import Pin, Result
    from pvehelm.release.plan import Change
    from pvehelm.release.release import Revision

# Tasks that explain a difference, by what differs.
POWER = (
    "qmstart",
    "qmstop",
    "qmshutdown",
    "qmsuspend",
    "qmpause",
    "vzstart",
    "vzstop",
    "vzshutdown",
    "hastart",
    "hastop",
)
GONE = ("qmdestroy", "vzdestroy")
RESTORED = ("qmrestore", "vzrestore", "qmrollback", "vzrollback", "qmconfig", "vzconfig")
BY_LEAF = {"size": ("resize", "qmresize", "vzresize"), "node": ("qmigrate", "vzmigrate", "hamigrate")}
MOVED = ("move_volume", "qmmove", "vzmove", "qmmovedisk")


@dataclass(frozen=True)
class Difference:
    """One field that is not as the release owns it. ``owned`` and ``live`` are None where it is not set; ``leaf`` is
    empty where the whole object is missing or in excess; ``who`` and ``when`` (unix seconds) are of the task that did
    it, where one did; ``repair`` is what undoing it does: live, reboot, recreate or data_loss."""

    ref: str
    leaf: str
    owned: Any
    live: Any
    repair: str
    who: str = ""
    when: float | None = None
    task: str = ""

    def as_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Drift:
    """What was found of one release: its differences, and what stands in the way of repairing them; or ``unread``, why
    it could not be looked at."""

    key: ReleaseKey
    revision: int
    differences: tuple[Difference, ...] = ()
    obstacles: tuple[Problem, ...] = ()
    decision: Decision | None = field(default=None, repr=False, compare=False)
    unread: PvehelmError | None = None

    @property
    def waiting(self) -> bool:
        """Whether something counts at the next start of a guest only, which is no drift."""
        return self.decision is not None and any(change.pending for change in self.decision.plan.changes)

    def as_dict(self) -> dict[str, Any]:
        return {
            "release": self.key.name,
            "namespace": self.key.namespace,
            "revision": self.revision,
            "drifted": bool(self.differences),
            "differences": [row.as_dict() for row in self.differences],
            "obstacles": [{"where": p.where, "what": p.what, "hint": p.hint} for p in self.obstacles],
        } | ({"error": str(self.unread)} if self.unread else {})


@action("read")
async def drift(
    ctx: Context, names: Sequence[str] = (), options: Options | None = None, *, everything: bool = False
) -> list[Drift]:
    """What differs between releases and the server. What the releases share is read once. Of ``everything``, a release
    that can't be looked at (a node is offline) is told as such beside the others."""
    import asyncio

    from pvehelm.release.live import Reader

    if everything:
        found = ctx.store.list(ctx.cluster)
        keys = [release.key for release in found if release.current.status is not Status.uninstalled]
    else:
        keys = [ctx.key(name) for name in names]
    reader = Reader(await ctx.connect())

    async def look(key: ReleaseKey) -> Drift:
        try:
            return await drift_of(ctx, key, reader, options)
        except PvehelmError as error:
            if not everything:
                raise
            return Drift(key, 0, unread=error)

    return list(await asyncio.gather(*map(look, keys)))


async def drift_of(ctx: Context, key: ReleaseKey, reader: Reader, options: Options | None = None) -> Drift:
    """What differs between one release and the server. Raises NotFoundError for one that is not installed."""
    from pvehelm.release.decide import decide, look_ahead
    from pvehelm.release.desire import Options, back_to
    from pvehelm.release.inventory import Inventory

    release, current = standing(ctx, key)
    await look_ahead(ctx, key, reader)
    desire = replace(back_to(current), action="drift")
    made = await decide(ctx, key, desire, options or everything_allowed(Options()), uid=release, reader=reader)
    drifted = [change for change in made.plan.changes if change.acts]
    ours = {entry.upid for entry in ctx.store.entries(key, current.number)} if drifted else set()
    was = ctx.store.inventory(key) if drifted else Inventory()
    rows = [
        row for change in drifted for row in await _rows(change, was.get(change.ref), current.updated, ours, reader)
    ]
    return Drift(key, current.number, tuple(rows), (*made.plan.problems, *made.plan.refusals), made)


def standing(ctx: Context, key: ReleaseKey) -> tuple[str, Revision]:
    """A release's uid and the revision that it shall be at: the last deployed one, else the newest.

    Raises NotFoundError for a release that is not there or not installed."""
    from pvehelm.release.desire import last_deployed

    release = ctx.store.get(key, bodies=False)
    if release.current.status is Status.uninstalled:
        raise NotFoundError(
            f"release {key.name!r} is uninstalled", hint=f"pvehelm rollback {key.name} N brings a revision of it back"
        )
    return release.uid, last_deployed(ctx, key) or ctx.store.revision(key, release.current.number)


def everything_allowed(options: Options) -> Options:
    """For looking: what a release has already needs no word from the user once more."""
    return replace(options, allowed=replace(options.allowed, privileged=frozenset({"all"})))


async def _rows(
    change: Change, was: Owned | None, since: float, ours: Container[str], reader: Reader
) -> list[Difference]:
    effect = change.effect.name
    if str(change.op) in ("update", "keep"):
        found = [Difference(change.ref, r.leaf, r.after, r.before, r.effect.name) for r in change.fields]
    elif str(change.op) == "create":
        found = [Difference(change.ref, "", "present", "missing", "recreate")]
    elif str(change.op) == "replace":
        found = [Difference(change.ref, r.leaf, r.after, r.before, effect) for r in _unlike(change)]
    else:
        found = [Difference(change.ref, "", "absent", "present", effect)]
    tasks = await _tasks(change, was, since, reader) if found else []
    tasks = [task for task in tasks if task.get("upid") not in ours]
    return [replace(row, **_doer(row, tasks)) for row in found]


def _unlike(change: Change) -> list[Any]:
    named = change.reason.partition(" can't be changed")[0].split(", ")
    return [row for row in change.fields if row.leaf in named] or list(change.fields[:1])


async def _tasks(change: Change, was: Owned | None, since: float, reader: Reader) -> list[Mapping[str, Any]]:
    """The tasks on a guest since a time (unix seconds), newest first; none where they can't be seen."""
    key, owned = change.key, was.identifier if was else {}
    vmid = str(key.get("vmid") or owned.get("vmid") or "")
    if not vmid.isdecimal():
        return []
    rows: list[Mapping[str, Any]] = []
    # A guest that was moved has tasks where it was, too.
    for node in dict.fromkeys(str(place["node"]) for place in (key, owned) if place.get("node")):
        with suppress(PvehelmError):
            found = await reader(f"/nodes/{node}/tasks", vmid=int(vmid), since=int(since), source="all", limit=50)
            rows += found or []
    return sorted(rows, key=lambda row: float(row.get("starttime") or 0), reverse=True)


def _doer(row: Difference, tasks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    kinds: Container[str]
    if row.leaf == "power":
        kinds = POWER
    elif not row.leaf:
        kinds = GONE
    else:
        _, dot, part = row.leaf.rpartition(".")
        kinds = (*RESTORED, *BY_LEAF.get(part, ()), *(MOVED if part == "storage" and dot else ()))
    for task in tasks:
        if str(task.get("type")) in kinds:
            when = float(task.get("starttime") or 0) or None
            return {"who": str(task.get("user") or ""), "when": when, "task": str(task.get("upid") or "")}
    return {}


# -- repair ----------------------------------------------------------------------------------------------------


@action("destroy")
async def repair(
    ctx: Context,
    key: ReleaseKey,
    options: Options | None = None,
    *,
    pin: Pin | None = None,
    base: int | None = None,
) -> Result:
    """Bring the server back to what the release's deployed revision says; ``pin`` may refuse what was decided.

    Raises LeaseHeldError where the newest revision is not ``base`` any more: somebody else was at work meanwhile."""
    from pvehelm.release.desire import Options, back_to
    from pvehelm.release.pipeline import run

    if base is None:
        base = ctx.store.get(key, bodies=False).current.number
    _, current = standing(ctx, key)
    desire = back_to(current)
    record = {**desire.record, "description": f"Drift repaired, back to revision {current.number}", "rollback_of": None}
    return await run(
        ctx, key, replace(desire, action="repair", record=record, base=base), options or Options(), pin=pin
    )


# -- accept ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Accepted:
    """What makes the live state the desired one: ``values`` for the chart (its patches included), the fields they
    stand for as ``{"ref", "leaf", "value", "by"}`` (``by`` is a value's path, ``patch``, or ``manifest`` of a set), and
    what could not be taken over. A set has no values: ``manifests`` are those of it that are other than before."""

    key: ReleaseKey
    values: Mapping[str, Any]
    fields: tuple[Mapping[str, Any], ...]
    left: tuple[Problem, ...] = ()
    result: Result | None = None
    manifests: str = ""


@action("write")
async def accept(
    ctx: Context, key: ReleaseKey, chart: Chart | None = None, options: Options | None = None
) -> Accepted | None:
    """Make the live state of a release the desired one; None where nothing differs.

    With the ``chart`` of the deployed revision a field that renders one plain value is traced back to that value;
    everything else becomes a patch. Raises RefusedError for another chart than the deployed one.
    """
    from pvehelm.actions import accepting
    from pvehelm.release.desire import Options
    from pvehelm.release.live import Reader

    found = await drift_of(ctx, key, Reader(await ctx.connect()))
    if not found.differences or found.decision is None:
        return None
    _, current = standing(ctx, key)
    if chart is not None and chart.digest != current.chart_digest:
        raise RefusedError(
            f"chart {chart.name} {chart.version} is not the one of revision {current.number} of {key.name}",
            hint="give the chart as it was, or leave --chart out to accept everything as patches",
        )
    options = everything_allowed(options or Options())
    return await accepting.accepted(ctx, key, current, found.decision, chart, options)

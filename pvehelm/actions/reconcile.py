"""Reconcile: look at a release, and set back what differs as far as its policy allows and nobody else works there."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import (
    FencedError,
    LeaseHeldError,
    NotFoundError,
    Problem,
    PvehelmError,
    RefusedError,
    StoppedError,
)
from pvehelm.release.policy import Memory, Mode, Policy, State, plain
from pvehelm.release.release import ReleaseKey, Status

if TYPE_CHECKING:
    from pvehelm.actions.drift import Difference, Drift
    from pvehelm.release.change import Change, Plan
    from pvehelm.release.context import Context
    from pvehelm.release.decide import Decision
    from pvehelm.release.live import Reader
    from pvehelm.release.release import Release
    from pvehelm.release.sync import Sync

# How soon a release is looked at again that somebody else was working on, in seconds.
SOON = 30.0
GOOD = ("in-sync", "repaired", "synced")


@dataclass(frozen=True)
class Outcome:
    """What came of a look. ``result`` is one of

    * ``in-sync``, ``repaired`` (all of it is as desired now), ``synced`` (a commit was applied);
    * ``drifted``: it differs and the policy is to observe; ``waiting``: no window is open;
    * ``held``: somebody else works on it, or on guests of it (``left`` says which); the rest was repaired;
    * ``refused``: more would be destroyed or needed than the policy allows; ``bad``: a commit that is wrong;
    * ``failed``; ``interrupted``: we were stopped.
    """

    key: ReleaseKey
    result: str
    message: str = ""
    differences: tuple[Difference, ...] = ()
    left: tuple[Problem, ...] = ()
    revision: int = 0
    commit: str = ""

    @property
    def good(self) -> bool:
        return self.result in GOOD

    @property
    def broken(self) -> bool:
        """Whether a person has to do something."""
        return self.result in ("refused", "failed", "bad")

    def as_dict(self) -> dict[str, Any]:
        return {
            "release": self.key.name,
            "namespace": self.key.namespace,
            "result": self.result,
            "message": self.message,
            "revision": self.revision,
            "commit": self.commit,
            "differences": [row.as_dict() for row in self.differences],
            "left": [{"where": p.where, "what": p.what, "hint": p.hint} for p in self.left],
        }


def alike(ctx: Context, key: ReleaseKey, *, destroys: bool = False) -> Context:
    """A context for work on one release beside that on others: the same store and client, its own namespace, audit
    record and answer to what destroys."""
    own = copy.copy(ctx)
    own.namespace, own.record, own.applying = key.namespace, None, ""
    own.confirm = lambda plan: destroys
    return own


async def reconcile(ctx: Context, key: ReleaseKey, policy: Policy, reader: Reader | None = None) -> Outcome:
    """Look at a release and repair it as its policy says. Raises nothing but NotFoundError for one that is not
    installed; what fails is the outcome.

    The repair itself is the audited action ``repair``: nothing is entered for a look."""
    from pvehelm.actions.drift import drift_of
    from pvehelm.release.live import Reader

    differences: tuple[Difference, ...] = ()
    try:
        client = await ctx.connect()
        release = ctx.store.get(key, bodies=False)
        if release.working:
            return Outcome(key, "held", f"{release.worker} works on it ({release.working})")
        reader = reader or Reader(client)
        found = await drift_of(alike(ctx, key), key, reader)
        differences = found.differences
        return await _repaired(alike(ctx, key, destroys=policy.mode is Mode.prune), release, policy, found, reader)
    except NotFoundError as error:
        now = ctx.store.find(key, bodies=False)
        if now is None or now.current.status is Status.uninstalled:
            raise
        return Outcome(key, "failed", said(error), differences)
    except (LeaseHeldError, FencedError) as error:
        return Outcome(key, "held", str(error), differences)
    except StoppedError as error:
        return Outcome(key, "interrupted", str(error), differences)
    except RefusedError as error:
        return Outcome(key, "refused", said(error), differences)
    except PvehelmError as error:
        return Outcome(key, "failed", said(error), differences)


def said(error: PvehelmError) -> str:
    """An error with its problems, in a line or a few."""
    return "; ".join([str(error), *(f"{p.where}: {p.what}" if p.where else p.what for p in error.problems[:5])])


async def _repaired(ctx: Context, release: Release, policy: Policy, found: Drift, reader: Reader) -> Outcome:
    from pvehelm.actions.drift import everything_allowed, repair
    from pvehelm.release.desire import Options

    key = release.key
    unfinished = bool(ctx.store.open_entries(key))
    revision = ctx.store.revision(key, release.current.number) if release.current.status is Status.failed else None
    ours = revision is not None and (revision.plan or {}).get("action") == "repair"
    if not found.differences and not (unfinished and ours):
        return Outcome(key, "in-sync", revision=found.revision)
    what = summary(found)
    outcome = Outcome(key, "drifted", what, found.differences, revision=found.revision)
    if policy.mode is Mode.observe:
        return outcome
    if revision is not None and not ours:
        verb = (revision.plan or {}).get("action") or "change"
        why = f"its last {verb} failed (revision {revision.number}): pvehelm recover, upgrade or rollback goes first"
        return replace(outcome, result="held", message=f"{what}; {why}")
    closed = policy.closed(ctx.clock())
    if closed:
        return replace(outcome, result="waiting", message=f"{what}; {closed}")
    assert found.decision is not None
    if found.obstacles:
        why = "; ".join(f"{p.where}: {p.what}" if p.where else p.what for p in found.obstacles[:5])
        return replace(outcome, result="refused", message=why, left=found.obstacles)
    plan = found.decision.plan
    held = await _held(ctx, plan, reader)
    left = {**held, **({} if policy.mode is Mode.prune else destroyed(plan))}
    options = everything_allowed(Options())
    if left:
        targets = _apart(plan, left)
        problems = tuple(Problem(ref, why) for ref, why in left.items())
        message = "; ".join(f"{ref}: {why}" for ref, why in left.items())
        outcome = replace(outcome, result="held" if left.keys() <= held.keys() else "refused", left=problems)
        outcome = replace(outcome, message=message)
        if not targets:
            return outcome
        options = replace(options, allowed=replace(options.allowed, targets=frozenset(targets)))
    made = await repair(ctx, key, options, pin=guard(policy.mode), base=release.current.number)
    number = made.release.current.number if made.release else found.revision
    if not (left or made.changed or unfinished):
        return Outcome(key, "in-sync", revision=number)  # somebody else was faster
    if left:
        return replace(outcome, revision=number, message=f"{outcome.message}; the rest was repaired")
    return replace(outcome, result="repaired", revision=number, message=summary(found, past=True))


def summary(found: Drift, *, past: bool = False) -> str:
    """``3 fields of 2 objects differ``."""
    objects = {row.ref for row in found.differences}
    if not objects:
        return "an interrupted repair is finished"
    fields, things = len(found.differences), len(objects)
    verb = "differed" if past else "differs" if fields == 1 else "differ"
    return f"{_count(fields, 'field')} of {_count(things, 'object')} {verb}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


# -- what is left alone ----------------------------------------------------------------------------------------------


def destroyed(plan: Plan) -> dict[str, str]:
    """What a plan takes away or makes anew, with words for it."""
    found = {change.ref: f"its {change.op} destroys it" for change in plan.changes if str(change.op) in DESTROYING}
    lost = {change.ref: f"it loses {', '.join(change.losses) or 'data'}" for change in plan.destroys}
    why = "which only repair-and-prune does"
    return {ref: f"{what}, {why}" for ref, what in {**found, **lost}.items()}


DESTROYING = ("delete", "replace")


def guard(mode: Mode) -> Callable[[Decision], None]:
    """Refuse, under the lease, what would destroy although the mode does not allow it."""

    def pin(decision: Decision) -> None:
        left = {} if mode is Mode.prune else destroyed(decision.plan)
        if left:
            problems = [Problem(ref, why) for ref, why in left.items()]
            raise RefusedError(f"{decision.plan.release}: policy {mode} does not allow this plan", problems)

    return pin


async def _held(ctx: Context, plan: Plan, reader: Reader) -> dict[str, str]:
    """Guests to be changed that somebody else works on: locked on the server, or under a person's lease."""
    from pvehelm.release.inventory import GUEST_KINDS

    found: dict[str, str] = {}
    for change in plan.changes:
        if change.acts and change.kind in GUEST_KINDS:
            why = await _holder(ctx, change, reader)
            if why:
                found[change.ref] = why
    return found


async def _holder(ctx: Context, change: Change, reader: Reader) -> str:
    place = {**(change.owned.identifier if change.owned else {}), **change.key}
    vmid, node = place.get("vmid"), place.get("node")
    if not (vmid and node) or str(change.op) == "create":
        return ""
    lease = ctx.store.holder(f"guest:{ctx.cluster}/{vmid}")
    if lease is not None:
        return f"{lease.holder} works on guest {vmid} ({lease.purpose or 'a lease'})"
    flavour = "qemu" if change.kind == "VirtualMachine" else "lxc"
    try:
        rows = await reader(f"/nodes/{node}/{flavour}/{vmid}/pending")
    except PvehelmError:
        return ""
    lock = next((row.get("value") for row in rows or () if row.get("key") == "lock"), None)
    return f"guest {vmid} is locked ({lock})" if lock else ""


def _apart(plan: Plan, left: Collection[str]) -> list[str]:
    """The resources of a plan that can be changed without those that are left alone."""
    needs = {change.ref: change.needs for change in plan.changes}
    free: list[str] = []
    for change in plan.changes:
        if not change.acts or change.kind == "Commit" or str(change.op) == "run":
            continue
        seen: set[str] = set()
        todo = [change.ref]
        while todo:
            ref = todo.pop()
            if ref not in seen:
                seen.add(ref)
                todo += needs.get(ref, ())
        if not seen & set(left):
            free.append(change.ref)
    return free


# -- what is remembered ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class News:
    """What a webhook may want to say: ``drift``, ``repair`` or ``failure``, once for what is the same."""

    event: str
    outcome: Outcome


@dataclass(frozen=True)
class Pace:
    """``longest``: of the pauses between tries that fail, in seconds; ``spread`` gives a factor around 1 (jitter)."""

    longest: float = 3600.0
    spread: Callable[[], float] = field(default=lambda: 1.0)


def remember(ctx: Context, before: State, outcome: Outcome, policy: Policy, pace: Pace) -> tuple[State, list[News]]:
    """The state after a look, and what is new about it."""
    now = ctx.clock()
    state = replace(
        before,
        checked=now,
        result=outcome.result,
        message=outcome.message,
        failures=before.failures + 1 if outcome.broken else 0,
        differences=0 if outcome.good else len(outcome.differences),
    )
    pause = state.pause(policy.interval, pace.longest) * pace.spread()
    if outcome.result == "interrupted":
        pause = 0.0
    elif outcome.result == "held":
        pause = min(pause, SOON)
    elif outcome.result == "waiting":
        pause = policy.opens(now, pause) - now
    told = _told(outcome)
    news = [] if told == before.told else [News(event, outcome) for event in _events(outcome)]
    return replace(state, due=now + pause, told=told), news


def _told(outcome: Outcome) -> str:
    """What is the same news twice has the same name; after a repair everything is new."""
    import hashlib
    import json

    if outcome.good:
        return f"{outcome.result} {outcome.revision}" if outcome.result != "in-sync" else "in-sync"
    if outcome.result == "interrupted":
        return "interrupted"
    rows = [(row.ref, row.leaf, str(row.live)) for row in outcome.differences]
    text = json.dumps([outcome.broken, outcome.commit, sorted(rows), outcome.message if not rows else ""])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _events(outcome: Outcome) -> Sequence[str]:
    if outcome.result in ("repaired", "synced"):
        return ("repair",)
    if outcome.broken:
        return ("failure",)
    return ("drift",) if outcome.differences or outcome.result in ("drifted", "waiting") else ()


# -- policies --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """A release with its policy (``own``: fields of it that were set for this release, all others are the default's),
    what was found of it last, and of the repository that it follows."""

    release: Release
    policy: Policy
    own: Mapping[str, Any]
    state: State
    sync: State | None = None

    def as_dict(self) -> dict[str, Any]:
        key, state = self.release.key, self.state
        return {
            "release": key.name,
            "namespace": key.namespace,
            "policy": self.policy.to_json(),
            "own": plain(self.own),
            "default": not self.own,
            "checked": state.checked or None,
            "due": state.due or None,
            "result": state.result,
            "message": state.message,
            "failures": state.failures,
            "differences": state.differences,
            "sync": self.sync
            and {name: getattr(self.sync, name) for name in ("checked", "result", "message", "commit", "bad")},
        }


@action("read", "reconcile-status")
def standings(
    ctx: Context,
    names: Sequence[str] = (),
    *,
    default: Policy = Policy(),
    namespace: str | None = None,
    declared: Collection[Sync] = (),
) -> list[Standing]:
    """Every release that is reconciled (or those named), with its policy and what was found last. ``declared`` are the
    syncs that bring policies of their own. Raises NotFoundError."""
    brought = {(one.namespace, one.release): one.policy for one in declared}
    memory = Memory(ctx.store)
    policies, states, syncs = memory.policies(), memory.states(), memory.all_synced(ctx.cluster)
    if names:
        releases = [ctx.store.get(ctx.key(name), bodies=False) for name in names]
    else:
        releases = ctx.store.list(ctx.cluster, namespace)
    return [
        Standing(
            one,
            brought.get((one.key.namespace, one.key.name), default).changed(**policies.get(one.uid, {})),
            policies.get(one.uid, {}),
            states.get(one.uid, State()),
            syncs.get(str(one.key)),
        )
        for one in releases
        if one.current.status is not Status.uninstalled
    ]


@action("write", "reconcile-policy")
def set_policy(ctx: Context, name: str, changes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Set fields of a release's policy (``changes`` as in Policy; None: back to the default in all of them); what is
    set now. The rest stays with the default, whatever that becomes. Raises NotFoundError, UsageError."""
    memory = Memory(ctx.store)
    release = ctx.store.get(ctx.key(name), bodies=False)
    own = {} if changes is None else {**memory.policy(release.uid), **changes}
    Policy(**own)  # raises for what is none
    memory.set_policy(release.uid, own)
    # Looked at anew, by the new policy.
    memory.set_state(release.uid, replace(memory.state(release.uid), due=0.0))
    return memory.policy(release.uid)

"""Changes of a group of kinds that count together: the virtual networks of the cluster, the interfaces of a node.

Each change of such a group only waits on the server; one call makes all of them count (``PUT /cluster/sdn``,
``PUT /nodes/N/network``). A plan gets that call as a change of its own, once for each group, between the group's
changes and whatever needs them, with the group's lock around both where the release has one.

The call applies everything that waits, whoever made it. So what waits of others is refused unless the user says
otherwise, and what waits of this release (a run that was interrupted) makes a call even when nothing else differs.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pvehelm.api import scopes
from pvehelm.api.exchange import maybe_executed
from pvehelm.api.kind import Kind, Step
from pvehelm.api.schema import Schema
from pvehelm.errors import ApiError, Problem
from pvehelm.release.bystanders import Exchange, cutting, waiting_interfaces, waiting_networks
from pvehelm.release.event import Event
from pvehelm.release.graph import order, ordered
from pvehelm.release.inventory import GUEST_KINDS
from pvehelm.release.networklock import retaken
from pvehelm.release.plan import Allowed, Change, Observed, Op, Plan

if TYPE_CHECKING:
    from pvehelm.release.context import Context
    from pvehelm.release.journal import Entry
    from pvehelm.release.lease import Lease
    from pvehelm.release.release import ReleaseKey

KIND = "Commit"
# The secrets of a release that hold the tokens of locks taken: one for each round.
LOCK_SECRETS = ("sdn-lock", "sdn-lock-2")
# What stands in place of a token that was given back before the changes counted.
DUE = "due"
Get = Callable[..., Awaitable[Any]]
_PLUG = re.compile(r"net\d+(\.bridge)?")


@dataclass
class Group:
    """The changes that one call makes count."""

    call: str
    lock: str = ""
    members: list[Change] = field(default_factory=list)
    # Refs of this release whose earlier changes still wait.
    waiting: list[str] = field(default_factory=list)
    # What waits of others, in words.
    foreign: list[str] = field(default_factory=list)
    # Whether a run of this release was interrupted before its call: what waits is its own, be it gone from the plan.
    due: bool = False

    @property
    def name(self) -> str:
        """``cluster-sdn``, ``nodes-pve1-network``."""
        return self.call.partition(" ")[2].strip("/").replace("/", "-")

    @property
    def node(self) -> str:
        """The node whose interfaces they are, '' for the cluster's networks."""
        found = re.fullmatch(r"PUT /nodes/([^/]+)/network", self.call)
        return found[1] if found else ""

    @property
    def acting(self) -> list[Change]:
        return [change for change in self.members if change.steps]


async def with_commits(
    made: Plan,
    observed: Observed,
    kinds: Callable[[str], Kind],
    schema: Schema,
    get: Get,
    allowed: Allowed,
    *,
    due: Callable[[], bool] = lambda: False,
    exchange: Exchange | None = None,
) -> Plan:
    """``made`` with the calls that make its changes count. ``due``: whether an interrupted run of the release left such
    a call undone; ``exchange``: ``Client.exchange``, for what stands beside a list."""
    groups = _groups(made, observed, kinds)
    if made.problems:
        # Of a node that is not in the cluster is said already that there is none.
        known = {str(row.get("node")) for row in await get("/nodes") or []}
        groups = {call: group for call, group in groups.items() if not group.node or group.node in known}
    if due() and await waiting_networks(schema, get):
        zone = kinds("Zone")
        groups.setdefault(zone.commit, Group(zone.commit, zone.lock)).due = True
    for group in groups.values():
        if group.node and exchange is not None:
            mine = {str(change.key.get("iface")): change.ref for change in group.members}
            for name in await waiting_interfaces(group.node, exchange):
                group.waiting += [mine[name]] if name in mine else []
                group.foreign += [] if name in mine else [name]
    todo = [group for group in groups.values() if group.acting or group.waiting or group.due]
    if not todo:
        return made
    changes = _plugged(made.changes, [change for group in todo for change in group.members])
    refusals = list(made.refusals)
    for group in todo:
        group.members = [change for change in changes if change.ref in {member.ref for member in group.members}]
        if not group.node and not group.due:
            group.foreign = await waiting_networks(schema, get, made)
        if group.foreign and not allowed.may_use(KIND, "pending"):
            what = f"applying would also apply changes of somebody else that wait: {', '.join(group.foreign)}"
            refusals.append(Problem(f"{KIND}/{group.name}", what, "--allow-privileged pending, or undo them first"))
        if group.node:
            refusals += await cutting(group.node, group.acting, observed, allowed, get)
        pending = bool(group.foreign or group.waiting or group.due)
        changes = _add(changes, group, schema, pending=pending)
    return replace(made, changes=tuple(order(changes)), refusals=tuple(refusals))


def _plugged(changes: Sequence[Change], members: Sequence[Change]) -> list[Change]:
    """Guests wait for the bridges they are plugged into; bridges go when no guest is plugged into them any more."""
    bridges = {str(change.key.get("vnet") or change.key.get("iface") or ""): change for change in members}
    found = {change.ref: change for change in changes}
    for change in changes:
        plugs = [one for one in change.fields if _PLUG.fullmatch(one.leaf)]
        then, before = {_bridge(one.after) for one in plugs}, {_bridge(one.before) for one in plugs}
        for name, bridge in bridges.items():
            mine = found[change.ref]
            going = bridge.op in (Op.delete, Op.forget)
            if name in then and not going:
                found[change.ref] = replace(mine, needs=tuple(dict.fromkeys((*mine.needs, bridge.ref))))
            elif going and bridge.ref != change.ref and (name in before or _is_going(change)):
                other = found[bridge.ref]
                found[bridge.ref] = replace(other, needs=tuple(dict.fromkeys((*other.needs, change.ref))))
    return list(found.values())


def _bridge(value: Any) -> str:
    return str(value.get("bridge") if isinstance(value, Mapping) else value)


def _is_going(change: Change) -> bool:
    return change.op is Op.delete and change.kind in GUEST_KINDS


def _groups(made: Plan, observed: Observed, kinds: Callable[[str], Kind]) -> dict[str, Group]:
    groups: dict[str, Group] = {}
    for change in made.changes:
        kind = kinds(change.kind)
        if not kind.commit or (change.op is Op.forget and observed.live.get(change.ref) is None):
            continue  # gone already, perhaps with its node
        call = scopes.fill(kind.commit, change.key)
        group = groups.setdefault(call, Group(call, kind.lock))
        group.members.append(change)
        live = observed.live.get(change.ref)
        if live is not None and live.extra.get("waiting") and change.op is not Op.forget:
            group.waiting.append(change.ref)
    return groups


def _add(changes: Sequence[Change], group: Group, schema: Schema, *, pending: bool) -> list[Change]:
    """The plan's changes with the group's own; two calls where one would have to come both before and after."""
    found = _placed(changes, group, schema, [group.acting], pending=pending)
    if ordered(found)[1]:
        going = [change for change in group.acting if change.op is Op.delete]
        coming = [change for change in group.acting if change.op is not Op.delete]
        found = _placed(changes, group, schema, [coming, going], pending=pending)
    return found


def _placed(
    changes: Sequence[Change],
    group: Group,
    schema: Schema,
    rounds: Sequence[Sequence[Change]],
    *,
    pending: bool,
) -> list[Change]:
    locks = bool(group.lock) and all(_takes_lock(schema, step) for change in group.acting for step in change.steps)
    locks = locks and schema.find("POST", group.lock) is not None
    mine = {change.ref for change in group.members}
    by_ref = {change.ref: change for change in changes}
    made: list[Change] = []
    calls: list[str] = []
    for number, members in enumerate(rounds):
        suffix = f"-{number + 1}" if len(rounds) > 1 else ""
        call, lock = f"{KIND}/{group.name}{suffix}", f"{KIND}/{group.name}{suffix}-lock"
        calls.append(call)
        if locks:
            take = _take(group, LOCK_SECRETS[number], pending=pending or number > 0)
            made.append(_change(lock, "one at a time", [take], tuple(calls[:-1])))
        for member in members:
            needs = (*member.needs, *((lock,) if locks else ()), *calls[:-1])
            own = [_locked(step, LOCK_SECRETS[number]) for step in member.steps] if locks else list(member.steps)
            by_ref[member.ref] = replace(member, needs=tuple(dict.fromkeys(needs)), steps=tuple(own))
        after = tuple(member.ref for member in members) or ((lock,) if locks else ())
        made.append(_commit(call, group, after, LOCK_SECRETS[number], locks=locks))
        for ref, change in by_ref.items():
            users = set(change.needs) & {member.ref for member in members} - {ref}
            if ref not in mine and users:
                by_ref[ref] = replace(change, needs=(*change.needs, call))
    return [*by_ref.values(), *made]


def _change(
    ref: str, reason: str, steps: Sequence[Step], needs: Sequence[str], otherwise: Sequence[Step] = ()
) -> Change:
    return Change(
        ref=ref,
        kind=KIND,
        op=Op.update,
        reason=reason,
        steps=tuple(steps),
        needs=tuple(needs),
        otherwise=tuple(otherwise),
    )


def _commit(ref: str, group: Group, after: Sequence[str], secret: str, *, locks: bool) -> Change:
    method, _, path = group.call.partition(" ")
    params = {"lock-token": f"${{secret://release/{secret}}}"} if locks else {}
    token = f"secret://release/{secret}"
    # Said although the schema calls it the default: the server keeps the lock unless it is asked.
    sent = {**params, "release-lock": 1} if locks else {}
    step = Step(method, path, sent, note="apply what waits", keep={"=": token} if locks else {})
    undo = [Step("DELETE", group.lock, dict(params), note="release the lock", keep={f"={DUE}": token})] if locks else []
    return _change(ref, "makes the changes count", [step], after, undo)


def _take(group: Group, secret: str, *, pending: bool) -> Step:
    params = {"allow-pending": 1} if pending else {}
    return Step("POST", group.lock, params, note="take the lock", keep={"": f"secret://release/{secret}"})


def _takes_lock(schema: Schema, step: Step) -> bool:
    found = schema.match(step.method, step.path)
    return found is not None and found[0].param("lock-token") is not None


def _locked(step: Step, secret: str) -> Step:
    return replace(step, params={**step.params, "lock-token": f"${{secret://release/{secret}}}"})


async def give_back(ctx: Context, key: ReleaseKey, lease: Lease, entries: Sequence[Entry]) -> None:
    """Give back the locks that an interrupted run of this release took, of whose journal ``entries`` were open: by the
    token; where the answer with the token was never heard, see ``retaken``. Raises ApiError, TransportError.
    """
    calls = [entry.intent for entry in entries if entry.ref.startswith(f"{KIND}/") and entry.op == Op.update]
    # Giving back without a token begins with taking, whose answer may be lost as well.
    unheard = [
        one for one in calls if one.get("method") == "POST" or (one.get("method") == "DELETE" and not one["params"])
    ]
    kept = {name: ctx.store.get_secret(key, name) for name in ctx.store.secret_names(key) if name in LOCK_SECRETS}
    names = [name for name, token in kept.items() if token not in ("", DUE)]
    if not unheard and not names:
        return
    everything = (ctx.kinds.get(name) for name in ctx.kinds.names())
    path = next(kind.lock for kind in everything if kind.lock)
    client, secrets = await ctx.connect(), ctx.secrets(key)
    release = ctx.store.find(key)
    ref, note = f"{KIND}/lock", "an interrupted run had taken the lock; it was given back"
    before = str(unheard[-1].get("before", "")) if unheard else ""
    for name in names or [""]:
        given = {"lock-token": f"${{secret://release/{name}}}"} if name else {}
        intent = {"method": "DELETE", "path": path, "params": given, "note": "release the lock of an interrupted run"}
        intent |= {"before": before} if not name else {}
        entry = ctx.store.begin(key, lease, release.current.number if release else 0, 0, ref, str(Op.update), intent)
        try:
            token = {"lock-token": await retaken(client, path, {"allow-pending": 1}, before)} if not name else {}
            await client.delete(path, token or secrets.resolve(given))
        except ApiError as error:
            ctx.store.outcome(entry, lease, ok=False, error=secrets.redact(str(error)))
            if maybe_executed(error):
                raise
            # It is not ours (any more): somebody took it by force meanwhile.
            ctx.emit(Event("note", ref, str(error)))
        else:
            ctx.store.outcome(entry, lease, ok=True)
            ctx.emit(Event("note", ref, note))
    for name in names:
        ctx.store.put_secret(key, name, "")
    if names:
        ctx.store.put_secret(key, LOCK_SECRETS[0], DUE)


def due(ctx: Context, key: ReleaseKey) -> bool:
    """Whether an interrupted run of the release took a lock and never made its changes count."""
    names = [name for name in ctx.store.secret_names(key) if name in LOCK_SECRETS]
    return any(ctx.store.get_secret(key, name) for name in names)

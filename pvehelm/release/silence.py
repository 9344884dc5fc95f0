"""What became of a call that nobody answered, or whose task its node has forgotten: the object itself is asked.

A gateway's status (502 to 599) and a connection that breaks say nothing about the work; a task that the node does not
know any more, or calls ``unexpected status``, was cut off by a restart. Sending such a call once more may do it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pvehelm.api.exchange import maybe_executed, quote
from pvehelm.api.guests import GuestKind
from pvehelm.api.kind import Kind, Live, Step, leaves
from pvehelm.api.mark import is_another
from pvehelm.api.power import state_of, task_types
from pvehelm.api.rows import is_as
from pvehelm.api.task import UNKNOWN, Task, TaskResult, TaskTimeout
from pvehelm.api.values import has_open
from pvehelm.errors import ApiError, PvehelmError, TaskError, TransportError, UnseenError
from pvehelm.release.compare import is_fingerprint
from pvehelm.release.inventory import GUEST_KINDS, Owned
from pvehelm.release.live import Reader
from pvehelm.release.plan import Change

if TYPE_CHECKING:
    from pvehelm.api.client import Client

LOST = frozenset({UNKNOWN, "unexpected status"})
"""Exit statuses that say that nobody saw the task end."""
_MAKING = frozenset({"qmclone", "qmcreate", "qmrestore", "vzclone", "vzcreate", "vzrestore"})
_LOOKS = (0.2, 0.5, 1.0)
_WHILE_MADE = 2.0


def unclear(error: PvehelmError) -> bool:
    """Whether the server may have done the call all the same, or part of it."""
    if isinstance(error, TaskError):
        return error.exitstatus in LOST or isinstance(error, TaskTimeout)
    return isinstance(error, UnseenError) or maybe_executed(error)


@contextmanager
def looking() -> Iterator[None]:
    """What goes wrong while one looks at what was begun says nothing about it: UnseenError instead of ApiError and
    TransportError."""
    try:
        yield
    except (ApiError, TransportError) as error:
        raise UnseenError(error) from error


async def ended(upid: str, client: Client, timeout: float | None = None) -> TaskResult:
    """How a task ends that a write has started. Raises TaskError, UnseenError, TaskTimeout (``timeout`` in seconds)."""
    with looking():
        return await Task(upid, client).wait(timeout)


async def became(
    kind: Kind, key: Mapping[str, Any], step: Step, change: Change, client: Client, sleep: Callable[[float], Any]
) -> Any:
    """What the call would have answered: a UPID that still runs, ``""`` when it is done; None when it was not done.

    Raises PvehelmError when a guest was left half made, UnseenError.
    """
    with looking():
        return await _became(kind, key, step, change, client, sleep)


async def _became(
    kind: Kind, key: Mapping[str, Any], step: Step, change: Change, client: Client, sleep: Callable[[float], Any]
) -> Any:
    for pause in _LOOKS:
        await sleep(pause)
        upid = await running(step.method, step.path, key, client)
        if upid:
            return upid
        live = await kind.read(key, Reader(client))
        if step.creates and live is not None:
            live = await _made(kind, key, live, client, sleep)
        if step.deletes and (live is None or is_stranger(step, live)):
            return ""
        if step.seen.keys() - {"was"}:
            if live is not None and await shows(step.seen, kind, live, step.writes, client):
                return ""
        elif step.deletes:
            continue
        elif step.creates and kind.always_there:
            # It was there before, too: only what the call writes tells.
            if live is not None and change.wanted and arrived(kind, live, leaves(change.wanted.fields), step.writes):
                return ""
        elif step.creates:
            if live is not None and is_made(kind, live, change.owned, step):
                return ""
        elif live is not None and "started" in step.undoes:
            if live.fields.get("power") != "running":
                return ""
        elif live is not None and change.wanted and arrived(kind, live, leaves(change.wanted.fields), step.writes):
            return ""
    if "list" in step.seen:
        if live is not None and not is_as(step.seen, "before", live.fields.get(step.seen["list"]) or ()):
            raise PvehelmError(
                f"nobody knows whether it was done ({step.note}): {change.ref} is not as it was before it, nor after",
                hint="run the same command again: it is planned anew",
            )
    elif step.creates and kind.always_there and step.method == "POST":
        # A row that is added twice is there twice.
        raise PvehelmError(f"nobody knows whether {change.ref} was made", hint="run the same command again: it looks")
    return None


async def running(method: str, path: str, key: Mapping[str, Any], client: Client) -> str:
    """The task that works on the guest now, of those that such a call starts; '' where there is none."""
    if not key.get("vmid") or not key.get("node"):
        return ""
    params = {"source": "active", "vmid": key["vmid"]}
    rows = await client.get(f"/nodes/{quote(key['node'])}/tasks", params)
    types = task_types(method, path)
    found = [
        row["upid"]
        for row in rows or []
        if (not row.get("status") or row.get("status") == "running") and (not types or row.get("type") in types)
    ]
    return str(found[0]) if found else ""


async def shows(seen: Mapping[str, Any], kind: Kind, live: Live, written: Iterable[str], client: Client) -> bool:
    """Whether it can be seen that a step was done, by what it says of itself (``Step.seen``)."""
    if "list" in seen:
        return is_as(seen, "after", live.fields.get(seen["list"]) or ())
    if "fields" in seen:
        return arrived(kind, live, seen["fields"], written)
    if "node" in seen:
        return bool(live.key.get("node") == seen["node"])
    assert isinstance(kind, GuestKind)
    node, vmid = quote(live.key["node"]), live.key["vmid"]
    if "state" in seen:
        current = await client.get(f"/nodes/{node}/{kind.flavour}/{vmid}/status/current")
        return state_of(current or {}) == str(seen["state"])
    return await newest_task(client, node, vmid, seen["task"]) not in ("", seen["before"])


def is_stranger(step: Step, live: Live) -> bool:
    """Whether a guest is not the one that a step was to delete or to take back: somebody else's may have its number."""
    return is_another(step.seen.get("was", {}), live.extra.get("raw", {}))


async def newest_task(client: Client, node: str, vmid: Any, type: str) -> str:
    """The newest task of a type that worked on a guest there; '' where there was none."""
    params = {"source": "all", "vmid": vmid, "typefilter": type, "limit": 50}
    rows = [row for row in await client.get(f"/nodes/{node}/tasks", params) or [] if row.get("type") == type]
    return str(max(rows, key=lambda row: (int(row["starttime"]), str(row["upid"])))["upid"]) if rows else ""


async def _made(
    kind: Kind, key: Mapping[str, Any], live: Live, client: Client, sleep: Callable[[float], Any]
) -> Live | None:
    """The guest once it is complete: a clone's task bears its source's number, and the target is locked meanwhile."""
    seen: Live | None = live
    while seen is not None and seen.extra.get("raw", {}).get("lock"):
        rows = await client.get(f"/nodes/{quote(seen.key['node'])}/tasks", {"source": "active"})
        making = any(row.get("type") in _MAKING and not row.get("endtime") for row in rows or [])
        await sleep(_WHILE_MADE)
        seen = await kind.read(key, Reader(client))
        lock = seen.extra.get("raw", {}).get("lock") if seen else None
        if lock and not making:
            vmid = key.get("vmid")
            raise PvehelmError(
                f"guest {vmid} was left half made (lock: {lock})",
                hint=f"its task was cut off: unlock and remove guest {vmid} on its node, then run the command again",
            )
    return seen


def is_made(kind: Kind, live: Live, owned: Owned | None, step: Step) -> bool:
    """Whether what is there is what a creation was to make: somebody else's may have its name or number by now.

    Guests carry the mark of their release, what tells a secret once its signature; everything else has to show all
    that the creation wrote, which is done whole or not at all.
    """
    if kind.always_there:
        return True
    if kind.name in GUEST_KINDS:
        mark = live.extra.get("mark")
        told = (mark.uid, mark.ref, mark.vmid) if mark is not None else ()
        return owned is not None and told == (owned.uid, owned.ref, str(live.key.get("vmid")))
    if kind.signed:
        return live.fields.get(kind.signed) == step.params.get(kind.signed) is not None
    now, written = leaves(live.fields), owned.fields if owned else {}
    return not any(
        leaf in written and _visible(kind, leaf, written[leaf]) and not kind.same(leaf, written[leaf], now.get(leaf))
        for leaf in step.writes
    )


def _visible(kind: Kind, leaf: str, value: Any) -> bool:
    """Whether what is there can be compared with a value that the inventory has of a leaf."""
    # What was not known yet, a secret or a guest's number, stands there as a placeholder.
    return value is not None and not (blind(kind, leaf) or has_open(value) or is_fingerprint(value))


def arrived(kind: Kind, live: Live, desired: Mapping[str, Any], written: Iterable[str]) -> bool:
    """Whether a call that writes the leaves ``written`` of ``desired`` was done: a call is done whole or not at all, so
    what the server shows speaks for what it does not. Where it shows nothing, the call counts as not done."""
    now = leaves(live.fields)
    told = [
        now.get("power") == "running" if leaf == "started" else kind.same(leaf, desired[leaf], now.get(leaf))
        for leaf in written
        if leaf in desired and not blind(kind, leaf)
    ]
    return bool(told) and all(told)


def blind(kind: Kind, leaf: str) -> bool:
    """Whether the server does not show what a leaf is."""
    return leaf != "started" and (kind.recorded(leaf) or kind.write_only(leaf))

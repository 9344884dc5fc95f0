"""Tasks of the cluster's nodes: which there were, what they say, ending one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import ApiError, LeaseHeldError, NotFoundError, RefusedError

if TYPE_CHECKING:
    from pvehelm.api.task import UPID
    from pvehelm.release.context import Context
    from pvehelm.release.direct import Subject

Row = Mapping[str, Any]
EVERYTHING = 1_000_000


@dataclass(frozen=True)
class Filter:
    """Which tasks; ``since`` in seconds since the epoch."""

    node: str = ""
    guest: str = ""
    type: str = ""
    user: str = ""
    running: bool = False
    errors: bool = False
    since: float = 0.0
    limit: int = 50
    all_namespaces: bool = False


@action("read", "tasks-list")
async def list_(ctx: Context, wanted: Filter | None = None) -> list[Row]:
    """Tasks of all nodes, the newest first: what they were about, whose they were, how they ended. One list a node."""
    from pvehelm.api.exchange import quote
    from pvehelm.release.live import Reader

    wanted = wanted or Filter()
    client = await ctx.connect()
    # To the server 0 is none at all.
    params: dict[str, Any] = {"limit": wanted.limit or EVERYTHING, "source": "active" if wanted.running else "all"}
    params |= {"typefilter": wanted.type} if wanted.type else {}
    params |= {"userfilter": wanted.user} if wanted.user else {}
    params |= {"errors": 1} if wanted.errors else {}
    params |= {"since": int(wanted.since)} if wanted.since else {}
    if wanted.guest:
        one = await _guest(ctx, wanted.guest, Reader(client), wanted.all_namespaces)
        params["vmid"] = one.vmid
    rows = await client.get("/nodes") or []
    nodes = sorted(str(row["node"]) for row in rows if row.get("status", "online") == "online")
    if wanted.node and wanted.node not in nodes:
        raise NotFoundError(f"there is no node {wanted.node!r} online", hint=f"nodes: {', '.join(nodes)}")
    asked = [wanted.node] if wanted.node else nodes
    answers = await asyncio.gather(*(client.get(f"/nodes/{quote(node)}/tasks", params) for node in asked))
    found = [row for answer in answers for row in answer or [] if isinstance(row, Mapping)]
    if wanted.running:
        found = [row for row in found if not row.get("endtime")]
    found.sort(key=lambda row: (int(row.get("starttime", 0)), str(row.get("upid"))), reverse=True)
    return found[: wanted.limit] if wanted.limit else found


def own(rows: Sequence[Row], made: int = 0) -> list[Row]:
    """Those tasks of a guest, the newest first, that were not an earlier one's of the same VMID: none before that was
    destroyed, or before this one was ``made`` (seconds since the epoch, where it is known)."""
    found: list[Row] = []
    for row in rows:
        kind = str(row.get("type"))
        if kind in ("qmdestroy", "vzdestroy"):
            break
        making = kind in ("qmcreate", "vzcreate", "qmrestore", "vzrestore")
        if int(row.get("starttime") or 0) < made and not making:
            break
        found.append(row)
        if making:
            break
    return found


async def _guest(ctx: Context, name: str, reader: Any, everywhere: bool) -> Any:
    from pvehelm.release import objects

    namespace = None if everywhere else ctx.namespace
    return (await objects.guests(ctx, [name], reader, namespace=namespace))[0]


@action("read", "logs")
async def find(ctx: Context, what: str, *, all_namespaces: bool = False) -> str:
    """The task that a word means: a UPID itself, or the newest task of a guest. Raises NotFoundError."""
    from pvehelm.api.task import is_upid

    if is_upid(what):
        return what
    if what.upper().startswith("UPID:"):
        raise NotFoundError(f"{what!r} is no task", hint="pvehelm tasks list -o wide prints whole identifiers")
    rows = own(await list_(ctx, Filter(guest=what, limit=50, all_namespaces=all_namespaces)))
    if not rows:
        raise NotFoundError(f"there was no task of {what}", hint="tasks are forgotten after some days")
    return str(rows[0]["upid"])


@action("read", "tasks-log")
async def log(ctx: Context, upid: str, *, follow: bool = False, tail: int = 0) -> AsyncIterator[str]:
    """The lines of a task's log, all or the last ``tail``; with ``follow`` until the task has ended."""
    from pvehelm.api.task import Task

    task = Task(upid, await ctx.connect())
    await task.status()  # raises where there is no such task
    start = max(0, await task.length() - tail) if tail else 0
    async for line in task.log(start, follow=follow):
        yield line


@action("write", "tasks-cancel")
async def cancel(ctx: Context, upid: str, *, force: bool = False) -> bool:
    """Tell a node to end a task; False where it had ended already.

    A task of a guest is ended under the lease of that guest or its release: raises LeaseHeldError where a command is
    at work there, which would fail with the task, unless ``force``. Raises NotFoundError, RefusedError.
    """
    from pvehelm.api.exchange import quote
    from pvehelm.api.kind import Step
    from pvehelm.api.task import UPID, Task
    from pvehelm.release import direct
    from pvehelm.release.change import Change, Op

    client = await ctx.connect()
    parsed = UPID.parse(upid)
    if (await Task(parsed, client).status()).get("status") == "stopped":
        return False
    subject = await _works_on(ctx, parsed, force)
    step = Step("DELETE", f"/nodes/{quote(parsed.node)}/tasks/{quote(upid)}", note=f"end task {upid}")

    async def job(_: direct.Subject) -> direct.Job:
        return direct.Job([Change(subject.ref, "", Op.update, "asked for", steps=(step,))], "told to end")

    try:
        await direct.carry_out(ctx, "cancel", [subject], job)
    except LeaseHeldError as error:
        error.hint = "it would fail with the task: wait for it, interrupt it, or --force"
        raise
    except ApiError as error:
        if error.status == 403:
            raise RefusedError(
                f"task {upid} is another user's", hint="Sys.Modify on its node lets you end it"
            ) from None
        raise
    return True


async def _works_on(ctx: Context, upid: UPID, force: bool) -> Subject:
    """The task as what something is done to, under the lease of its guest, if that is there.

    The journal is the task's own: what a command that died has begun with the guest would be waited for to its end."""
    from pvehelm.release import direct, objects
    from pvehelm.release.live import Reader
    from pvehelm.release.release import ReleaseKey

    key = ReleaseKey(ctx.cluster, "", f"task/{upid}")
    vmid = upid.id.partition("@")[0]
    if vmid.isdecimal() and not force:
        listed = await objects.catalogue(ctx, objects.wishes(ctx.kinds, ["guests"]), Reader(await ctx.connect()))
        one = next((one for one in listed.objects if one.vmid == int(vmid)), None)
        if one is not None:
            return replace(direct.subject(ctx, one), key=key, origin=None)
    return direct.Subject(f"task {upid}", key, (key.scope,))

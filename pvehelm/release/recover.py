"""Finish the books of a process that died: what the journal began and nobody recorded.

Each open entry is compared with the server. A creation whose object is there (with our mark, where kinds have marks) is
ours; one that is not gives its identifier back. A change that was begun counts as owned whether or not it arrived:
owning more than is there is harmless, because the next plan compares with live again. A deletion is done when the
object is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from pvehelm.api.kind import Kind, Live, Step
from pvehelm.api.power import task_types
from pvehelm.api.task import UPID, Task
from pvehelm.errors import ApiError, PvehelmError, TaskError, TransportError
from pvehelm.release import handover
from pvehelm.release.change import Op
from pvehelm.release.commits import KIND as COMMIT
from pvehelm.release.commits import give_back
from pvehelm.release.context import Context
from pvehelm.release.event import Event
from pvehelm.release.hookrun import CALL, HOOK
from pvehelm.release.hookrun import recover as recover_run
from pvehelm.release.inventory import GUEST_KINDS, Owned
from pvehelm.release.journal import Entry
from pvehelm.release.lease import Lease
from pvehelm.release.live import Reader
from pvehelm.release.release import ReleaseKey
from pvehelm.release.silence import arrived, blind, is_made, is_stranger, running, shows, unclear
from pvehelm.release.validity import require_known

if TYPE_CHECKING:
    from pvehelm.api.client import Client

UNKNOWN = "nobody knows whether it was done, for the server does not show it: do the same once more to be sure"


async def recover_entries(ctx: Context, key: ReleaseKey, lease: Lease) -> int:
    """Close every open journal entry of a release; returns how many there were."""
    entries = ctx.store.open_entries(key)
    # First, while the journal still tells of it; and whatever is in the way of the rest.
    await give_back(ctx, key, lease, entries)
    for entry in entries:
        try:
            await _recover(ctx, key, lease, entry)
        except (ApiError, TransportError) as error:
            raise _unseen(entry, error) from error
    return len(entries)


def _unseen(entry: Entry, error: PvehelmError) -> PvehelmError:
    """What to say of an entry that can't be looked at: everything else has to wait for it."""
    node = UPID.parse(entry.upid).node if entry.upid else str(entry.intent.get("key", {}).get("node") or "")
    what = entry.intent.get("note") or entry.op
    where = f" on node {node}" if node else ""
    hint = f"{error.hint}; " if error.hint else ""
    if node and unclear(error):
        hint += (
            f"bring {node} back and run the command again; a node that is gone for good has to leave the cluster first"
        )
    return PvehelmError(
        f"{entry.ref}: an interrupted command had begun to {what}{where}, and what came of it can't be seen: {error}",
        hint=hint.removesuffix("; "),
    )


async def _recover(ctx: Context, key: ReleaseKey, lease: Lease, entry: Entry) -> None:
    intent = entry.intent
    if entry.op in (HOOK, CALL):
        note = await recover_run(ctx, lease, entry)
        ctx.emit(Event("note", entry.ref, f"interrupted earlier: it {note}"))
        return
    if entry.op == handover.HANDOVER:
        note = await handover.recover(ctx, key, lease, entry)
        ctx.emit(Event("note", entry.ref, f"interrupted earlier: it {note}"))
        return
    kind = _kind(ctx, key, entry)
    if kind is None:
        ctx.store.outcome(entry.id, lease, ok=False, error="interrupted")
        return
    client = await ctx.connect()
    where: Mapping[str, Any] = intent.get("key", {})
    done = await _settle_task(ctx, entry, where)
    live = await _read(ctx, entry.ref, kind, where, Reader(client))
    owned = Owned.from_json(intent["owned"]) if intent.get("owned") else None
    if intent.get("creates"):
        ours = live is not None and is_made(kind, live, owned, _step(intent))
        if ours and _untold(ctx, key, entry) and await _removed(client, str(intent["path"])):
            # Nobody will ever know its secret: made by us a moment ago, it goes, and the next plan makes it anew.
            ctx.store.outcome(entry.id, lease, ok=False, error="interrupted; its secret was lost on the way")
            note = "was created, but its secret was lost on the way: it is removed, to be made anew"
        elif ours and live is not None and owned is not None:
            owned = replace(owned, identifier=dict(live.key))
            ctx.store.outcome(entry.id, lease, ok=True, owned=owned)
            note = "was created; it is recorded now"
        else:
            ctx.store.outcome(entry.id, lease, ok=False, error="interrupted; it was not created")
            if where.get("vmid"):
                ctx.store.unreserve(key.cluster, int(where["vmid"]))
            note = "was not created"
            if live is not None and kind.name not in GUEST_KINDS:
                note += "; what has its name by now is somebody else's, and is left alone"
    elif intent.get("deletes"):
        gone = live is None or is_stranger(_step(intent), live)
        error = "" if gone else "interrupted; it is still there"
        ctx.store.outcome(
            entry.id, lease, ok=gone, error=error, forget=entry.ref if gone and entry.op != "replace" else None
        )
        note = "is gone; that is recorded now" if gone else "is still there"
    elif intent.get("seen", {}).keys() - {"was"}:
        done = done or (live is not None and await shows(intent["seen"], kind, live, intent.get("writes", ()), client))
        error = "" if done else "interrupted; it does not show"
        # A list is ours from its first row on, whatever became of that: what was there before is known.
        left = owned if done or "list" in intent["seen"] else None
        ctx.store.outcome(entry.id, lease, ok=done, error=error, owned=left)
        note = f"was told to {intent['note']}, which {'is done' if done else 'was not done'}"
    elif entry.revision or done or entry.op != Op.update:
        if live is None:
            owned = None
        elif owned is not None and not done:
            owned = _seen(kind, live, owned, intent.get("writes", ()))
        ctx.store.outcome(entry.id, lease, ok=True, owned=owned)
        note = f"was being changed ({intent.get('note') or intent.get('path')})"
        note += "; the plan will tell" if entry.revision else ""
    else:
        # At once, and nothing of it can be seen: no plan will look for it either.
        ctx.store.outcome(entry.id, lease, ok=False, error=UNKNOWN)
        note = f"was told to {intent.get('note') or 'change'}; {UNKNOWN}"
    ctx.emit(Event("note", entry.ref, f"interrupted earlier: it {note}"))


def _seen(kind: Kind, live: Live, owned: Owned, written: Sequence[str]) -> Owned:
    """``owned`` without leaves that nobody can say of whether they arrived: live does not show them, so that no later
    plan would miss them. They are written once more."""
    if arrived(kind, live, owned.fields, written):
        return owned
    lost = {leaf for leaf in written if leaf == "started" or (leaf != "node" and blind(kind, leaf))}
    return replace(owned, fields={leaf: value for leaf, value in owned.fields.items() if leaf not in lost})


def _untold(ctx: Context, key: ReleaseKey, entry: Entry) -> bool:
    """Whether the creation's answer held something that is told once, and that never got here."""
    answers = [ref for name, ref in dict(entry.intent.get("keep") or {}).items() if name and not name.startswith("=")]
    since = ctx.store.secrets_since(key, entry.started) if answers else set()
    return any(reference.removeprefix("secret://release/") not in since for reference in answers)


async def _removed(client: Client, path: str) -> bool:
    """Whether an object could be removed; one that can't be is ours all the same, and plans say what it lacks."""
    try:
        await client.delete(path)
    except ApiError:
        return False
    return True


def _kind(ctx: Context, key: ReleaseKey, entry: Entry) -> Kind | None:
    """The kind of the object that an entry is about, if it is about one. Raises InvalidError for an unknown one."""
    name = str(entry.intent.get("kind") or "")
    if name in ("", COMMIT):
        return None
    require_known(ctx, key, {entry.ref: name})
    return ctx.kinds.get(name)


def _step(intent: Mapping[str, Any]) -> Step:
    """The call of an intent."""
    names = {one.name for one in fields(Step)}
    return Step.from_dict({name: value for name, value in intent.items() if name in names})


async def _read(ctx: Context, ref: str, kind: Kind, where: Mapping[str, Any], reader: Reader) -> Live | None:
    """The object, once nobody works on it any more (a clone locks its target until it is complete)."""
    told = ""
    for pause in (0.5, 1, 2, 4, 8, 15, 30, 60, 60, 60, 0):
        live = await kind.read(where, reader)
        lock = str(live.extra.get("raw", {}).get("lock") or "") if live is not None else ""
        if not lock:
            return live
        if lock != told:
            told = lock
            ctx.emit(
                Event("note", ref, f"guest {where.get('vmid')} is locked ({lock}); waiting up to 4 minutes for it")
            )
        await (await ctx.connect()).sleep(pause)
        reader.forget()
    return live


async def _settle_task(ctx: Context, entry: Entry, where: Mapping[str, Any]) -> bool:
    """Let a task that outlived its process end; whether it ended well.

    Raises ApiError, TransportError while its node does not answer: it may still run there.
    """
    client, call = await ctx.connect(), (str(entry.intent.get("method", "")), str(entry.intent.get("path", "")))
    node = UPID.parse(entry.upid).node if entry.upid else str(where.get("node", ""))
    try:
        upid = entry.upid or (await running(*call, where, client) if task_types(*call) else "")
        if not upid:
            return False
        task = Task(upid, client)
        if (await task.status()).get("status") == "running":
            ctx.emit(Event("note", entry.ref, f"waiting for its task, which still runs: {upid}"))
        await task.wait()
    except (TaskError, ApiError) as error:
        # A node that has left the cluster, or has another name now, runs nothing of ours.
        if isinstance(error, ApiError) and unclear(error) and node in await _nodes(client):
            raise
        ctx.emit(Event("note", entry.ref, str(error)))
        return False
    return True


async def _nodes(client: Client) -> set[str]:
    return {str(row.get("node")) for row in await client.get("/nodes") or []}

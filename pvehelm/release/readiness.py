"""Waiting until what was changed is ready for use."""

from __future__ import annotations

import asyncio

from pvehelm.release.context import Context
from pvehelm.release.event import Event
from pvehelm.release.live import Reader
from pvehelm.release.plan import Op, Plan


async def wait_ready(ctx: Context, made: Plan, pause: float = 0.5) -> None:
    """Wait until every guest that shall run does run; bounded by the operation's timeout alone."""
    wanted = {c.ref: c for c in made.changes if c.wanted and (c.wanted.fields.get("power") == "running")}
    wanted |= {c.ref: c for c in made.changes if c.wanted and c.wanted.fields.get("started") and c.op is Op.create}
    inventory = ctx.store.inventory(ctx.key(made.release, made.namespace)).entries
    client = await ctx.connect()
    while wanted:
        for ref, change in list(wanted.items()):
            owned = inventory.get(ref)
            live = await ctx.kinds.get(change.kind).read(owned.identifier, Reader(client)) if owned else None
            if live is None or live.fields.get("power") == "running":
                wanted.pop(ref)
        if wanted:
            ctx.emit(Event("note", "", f"waiting for {', '.join(sorted(wanted))}"))
            await asyncio.sleep(pause)

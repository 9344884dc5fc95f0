"""``lookup(kind, name)`` for templates: this release's own objects, or everything where the user allows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pvehelm.release.context import Context
from pvehelm.release.inventory import GUEST_KINDS
from pvehelm.release.release import ReleaseKey


def lookup_of(ctx: Context, key: ReleaseKey, *, everything: bool) -> Callable[[str, str], Any]:
    """Answers from live: the fields of an object in normal form, ``{}`` when it is not there or not to be seen."""
    import asyncio

    from pvehelm.release.live import Reader

    async def ask(kind_name: str, name: str) -> Any:
        kind = ctx.kinds.get(kind_name)
        owned = ctx.store.inventory(key).entries.get(f"{kind.name}/{name}")
        client = await ctx.dial()
        try:
            reader = Reader(client)
            if owned is not None:
                live = await kind.read(owned.identifier, reader)
            elif everything:
                live = await kind.read(await _key_of(kind, name, reader), reader)
            else:
                return {}
            return dict(live.fields) if live is not None else {}
        finally:
            await client.aclose()

    # Templates render synchronously, in a worker of the running loop's thread: a loop of its own, a client of its own.
    return lambda kind, name: asyncio.run(ask(kind, name))


async def _key_of(kind: Any, name: str, reader: Any) -> dict[str, Any]:
    if kind.name in GUEST_KINDS:
        from pvehelm.api.guests import guests

        row = next((r for r in await guests(reader) if r.get("name") == name), None)
        return {"vmid": row["vmid"]} if row else {"vmid": None}
    return dict(kind.key_of(name)) if hasattr(kind, "key_of") else {"name": name}

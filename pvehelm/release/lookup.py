"""``lookup(kind, name)`` for templates: this release's own objects, or everything where the user allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pvehelm.release.context import Context
from pvehelm.release.release import ReleaseKey

if TYPE_CHECKING:
    from pvehelm.api.kind import Key, Kind
    from pvehelm.release.live import Reader


class Lookup:
    """Answers from live: the fields of an object in normal form, ``{}`` when it is not there or not to be seen.

    Each object is read once, so that all templates of a rendering see the same; ``answers`` keeps what they saw,
    ``KIND/NAME`` -> fields, and is recorded with the revision.
    """

    def __init__(self, ctx: Context, key: ReleaseKey, *, everything: bool) -> None:
        self.ctx = ctx
        self.key = key
        self.everything = everything
        self.answers: dict[str, Any] = {}

    def __call__(self, kind: str, name: str) -> Any:
        import asyncio

        ref = f"{self.ctx.kinds.get(kind).name}/{name}"
        if ref not in self.answers:
            # Templates render synchronously, in a worker of the running loop's thread: a loop of its own, a client
            # of its own.
            self.answers[ref] = asyncio.run(self._ask(kind, name))
        return self.answers[ref]

    async def _ask(self, kind_name: str, name: str) -> Any:
        from pvehelm.release.live import Reader

        ctx = self.ctx
        kind = ctx.kinds.get(kind_name)
        owned = ctx.store.inventory(self.key).entries.get(f"{kind.name}/{name}")
        if owned is None and not self.everything:
            return {}
        client = await ctx.dial()
        try:
            reader = Reader(client)
            key = owned.identifier if owned is not None else await self._key(kind, name, reader)
            if key is None:
                return {}
            live = await kind.read(key, reader)
            return dict(live.fields) if live is not None else {}
        finally:
            await client.aclose()

    async def _key(self, kind: Kind, name: str, reader: Reader) -> Key | None:
        """The key of an object by its name, of the release's namespace first; a guest also by its VMID."""
        from pvehelm.api.listing import listing

        listed = (await listing(kind, self.ctx.kinds, reader)).found
        found = [one for one in listed if name and name in (one.name, str(one.key.get("vmid", "")))]
        found.sort(key=lambda one: one.namespace != self.key.namespace)
        return found[0].key if found else None

"""``lookup(kind, name)`` for templates: this release's own objects, or everything where the user allows it.

Without a name it finds all objects of the kind, as Helm's does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pvehelm.release.context import Context
from pvehelm.release.release import ReleaseKey

if TYPE_CHECKING:
    from pvehelm.api.kind import Key, Kind
    from pvehelm.api.listing import Found
    from pvehelm.release.live import Reader


class Lookup:
    """Answers from live: the fields of an object in normal form, ``{}`` when it is not there or not to be seen.

    Without a name ``{"items": [...]}``, the fields of all objects of the kind that may be seen, each with its ``name``,
    by their names. Each object is read once, so that all templates of a rendering see the same; ``answers`` keeps what
    they saw, ``KIND/NAME`` -> fields, and is recorded with the revision.
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

        kind = self.ctx.kinds.get(kind_name)
        own = {
            ref.partition("/")[2]: entry.identifier
            for ref, entry in self.ctx.store.inventory(self.key).entries.items()
            if ref.startswith(f"{kind.name}/")
        }
        if not self.everything and name not in own and (name or not own):
            return {} if name else {"items": []}
        client = await self.ctx.dial()
        try:
            reader = Reader(client)
            if not name:
                return {"items": await self._all(kind, own, reader)}
            key = own[name] if name in own else await self._key(kind, name, reader)
            return (await _fields(kind, key, reader) or {}) if key is not None else {}
        finally:
            await client.aclose()

    async def _all(self, kind: Kind, own: dict[str, Key], reader: Reader) -> list[dict[str, Any]]:
        import asyncio

        found = list(own.items())
        if self.everything:
            found += [(one.name, one.key) for one in await self._listed(kind, reader) if one.key not in own.values()]
        read = await asyncio.gather(*(_fields(kind, key, reader) for _, key in found))
        items = [{"name": name, **fields} for (name, _), fields in zip(found, read, strict=True) if fields is not None]
        return sorted(items, key=lambda item: str(item["name"]))

    async def _key(self, kind: Kind, name: str, reader: Reader) -> Key | None:
        """The key of an object by its name, of the release's namespace first; a guest also by its VMID."""
        found = [one for one in await self._listed(kind, reader) if name in (one.name, str(one.key.get("vmid", "")))]
        found.sort(key=lambda one: one.namespace != self.key.namespace)
        return found[0].key if found else None

    async def _listed(self, kind: Kind, reader: Reader) -> list[Found]:
        from pvehelm.api.listing import listing

        return (await listing(kind, self.ctx.kinds, reader)).found


async def _fields(kind: Kind, key: Key, reader: Reader) -> dict[str, Any] | None:
    live = await kind.read(key, reader)
    return dict(live.fields) if live is not None else None

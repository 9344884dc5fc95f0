"""Files of a storage that the server downloads: made by a verb, seen in the storage's content (Image)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pvehelm.api import scopes, values
from pvehelm.api.generic import ask
from pvehelm.api.item import Item, missing_node
from pvehelm.api.kind import Get, Key, Live, Step, Wanted, leaves
from pvehelm.errors import Problem

if TYPE_CHECKING:
    from pvehelm.api.checks import Checks


class Download(Item):
    """A file of a storage, made by ``download-url`` and seen in the storage's content."""

    EXTENSIONS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "iso": (r"\.(?:iso|img)\Z", ".iso or .img"),
        "vztmpl": (r"\.tar\.(?:gz|xz|zst|bz2)\Z", ".tar.gz, .tar.xz, .tar.zst or .tar.bz2"),
        "import": (r"\.(?:ova|ovf|qcow2|raw|vmdk)\Z", ".qcow2, .raw, .vmdk, .ova or .ovf"),
    }

    def check_more(self, checks: Checks) -> None:
        """The checksum's form, and the ending that each content has to have."""
        from pvehelm.api import formats

        spec = checks.spec
        checksum = spec.get("checksum")
        if isinstance(checksum, str) and not values.is_open(checksum):
            algorithm, colon, hexed = checksum.partition(":")
            facts = self.shape().facts("checksum-algorithm")
            if not colon:
                checks.report(("spec", "checksum"), "has the form ALGORITHM:HEX", "for example sha256:...")
            elif formats.check_value(facts, algorithm, name="checksum"):
                words = ", ".join(facts.get("enum", ()))
                checks.report(("spec", "checksum"), f"'{algorithm}' is no algorithm", f"one of {words}")
            elif not re.fullmatch(r"[0-9a-fA-F]+|\.\.\.", hexed):
                checks.report(("spec", "checksum"), "what follows the algorithm has to be hexadecimal")
        ending = self.EXTENSIONS.get(str(spec.get("content")))
        name = spec.get("filename")
        if ending and isinstance(name, str) and not re.search(ending[0], name, re.IGNORECASE):
            checks.report(("spec", "filename"), f"'{name}' does not end like {spec['content']}", ending[1])

    def required(self, place: str = "") -> set[str]:
        # The node may be any that has the storage.
        return super().required(place) - {"node"}

    async def read(self, key: Key, get: Get) -> Live | None:
        """See Kind.read."""
        for node in await self._nodes(key, get):
            path = scopes.fill("/nodes/{node}/storage/{storage}/content", {**key, "node": node})
            for row in await ask(get, path, {"content": key["content"]}) or []:
                if row.get("volid") == _volume(key):
                    return Live(key={**key, "node": node}, fields={}, extra={"size": row.get("size")})
        return None

    async def _nodes(self, key: Key, get: Get) -> list[str]:
        """The nodes to ask: the key's own, else every one that is online and has the storage."""
        if key.get("node"):
            return [str(key["node"])]
        listed = await get("/cluster/resources", type="storage") or []
        return sorted(
            str(row["node"])
            for row in listed
            if row.get("storage") == key["storage"] and row.get("status", "available") == "available"
        )

    async def prepare(self, wanted: Wanted, get: Get) -> tuple[Mapping[str, Any], list[Problem]]:
        """See Kind.prepare: which node downloads, and whether its storage can hold what comes."""
        key, storage = wanted.key, str(wanted.key["storage"])
        if key.get("node"):
            missing = await missing_node(str(key["node"]), "node", get)
            if missing:
                return {}, missing
        nodes = await self._nodes(key, get)
        if not nodes:
            return {}, [Problem("storage", f"no node has a storage '{storage}' that is available")]
        listed = await ask(get, scopes.fill("/nodes/{node}/storage", {"node": nodes[0]})) or []
        row = next((row for row in listed if row.get("storage") == storage), None)
        if row is None:
            names = ", ".join(sorted(str(other.get("storage")) for other in listed))
            return {}, [Problem("storage", f"node {nodes[0]} has no storage '{storage}'", f"it has {names}")]
        held = values.normal({"format": "pve-storage-content-list"}, row.get("content", ""))
        if key["content"] not in held:
            what = f"storage '{storage}' does not hold '{key['content']}'"
            return {}, [Problem("content", what, f"it holds {', '.join(sorted(held))}")]
        return {"node": nodes[0]}, []

    def create(self, wanted: Wanted, context: Mapping[str, Any]) -> list[Step]:
        """See Kind.create: a task that downloads."""
        key = {"node": context.get("node"), **wanted.key}
        sent = {name: value for name, value in wanted.fields.items() if value is not None}
        if ":" in str(sent.get("checksum", "")):
            sent["checksum-algorithm"], _, sent["checksum"] = str(sent["checksum"]).partition(":")
        step = Step(
            "POST",
            scopes.fill("/nodes/{node}/storage/{storage}/download-url", key),
            {"content": key["content"], "filename": key["filename"], **self._sent(sent, "", context)},
            writes=tuple(leaves(wanted.fields)),
            note=f"download {_volume(key)}",
            creates=True,
        )
        return [step]

    def update(self, live: Live, changes: Mapping[str, Any], wanted: Wanted | None) -> list[Step]:
        return []

    def delete(self, live: Live) -> list[Step]:
        """See Kind.delete."""
        path = scopes.fill(
            "/nodes/{node}/storage/{storage}/content/{volume}", {**live.key, "volume": _volume(live.key)}
        )
        return [Step("DELETE", path, note=f"remove {_volume(live.key)}", deletes=True)]


def _volume(key: Key) -> str:
    return f"{key['storage']}:{key['content']}/{key['filename']}"

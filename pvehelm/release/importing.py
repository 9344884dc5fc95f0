"""Live objects as manifests of files: which of them, under which names, referring to each other by name.

One request for each guest, and what the lists of their kinds cost; all are read at once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pvehelm.api import formats
from pvehelm.api.essence import Document, essential
from pvehelm.api.guests import GuestKind
from pvehelm.api.kind import Live
from pvehelm.errors import Problem
from pvehelm.release.context import Context
from pvehelm.release.event import Event
from pvehelm.release.live import Reader
from pvehelm.release.objects import PLACES, Object

# Files on storages and the like: what is in them nobody wrote down, and a whole cluster has too many of them.
CONTENTS = frozenset({"Image", "Volume", "Snippet", "Appliance", "OCIImage", "NodeCertificate", "ACMECertificate"})
SERVERS_OWN = "is the server's own"
# What says where a thing is and nothing of how it is.
PLACED = frozenset({"scope", "node", "vmid"})


@dataclass
class Imported:
    """What became of some objects: their manifests, in the order of kinds, and those that none can be written of."""

    documents: list[Document] = field(default_factory=list)
    left: list[Problem] = field(default_factory=list)


async def imported(
    ctx: Context, objects: Sequence[Object], reader: Reader, *, everything: bool = False, keep_macs: bool = False
) -> Imported:
    """The manifests of objects. ``everything``: they were not named one by one, so that what nobody made (built-in
    roles, settings never set) is left out without a word. Emits an Event ``read`` for each object."""
    options = await reader("/cluster/options") or {}
    prefix = str(options.get("mac_prefix") or "")
    made = Imported()
    names = _Names()
    lives = await _read(ctx, objects, reader, made)
    there = [(one, live) for one, live in zip(objects, lives, strict=True) if live is not None]
    documents: list[tuple[Object, Document]] = []
    for one, live in there:
        document = essential(one.kind, live, *names.of(one, live), mac_prefix=prefix, keep_macs=keep_macs)
        documents.append((one, names.explained(one, document)))
    refs = {str(one.vmid): document.ref for one, document in documents if one.vmid}
    for one, document in documents:
        document = document if one.vmid else _linked(one.kind, document, refs, names)
        if everything and (_is_idle(one, document) or any(SERVERS_OWN in p.what for p in document.problems)):
            continue
        if one.owner is not None:
            note = f"belongs to release {one.owner}: pvehelm move {one.ref} takes it from there"
            document = replace(document, notes=(note, *document.notes))
        if document.problems:
            made.left += [Problem(document.ref, p.what, p.hint) for p in document.problems]
        else:
            made.documents.append(document)
    return made


async def _read(ctx: Context, objects: Sequence[Object], reader: Reader, made: Imported) -> list[Live | None]:
    from pvehelm.errors import PvehelmError

    done = 0

    async def one(item: Object) -> Live | None:
        nonlocal done
        live = None
        try:
            live = await item.kind.read(item.found.key, reader)
            if live is None:
                made.left.append(Problem(str(item), "it went away meanwhile"))
        except PvehelmError as error:
            made.left.append(Problem(str(item), f"it can't be read: {error}", error.hint))
        done += 1
        ctx.emit(Event("read", item.found.ref, str(item), {"done": done, "total": len(objects)}))
        return live

    return list(await asyncio.gather(*(one(item) for item in objects)))


class _Names:
    """A name for each object, unique among those of its kind; guests keep theirs wherever that is possible."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.because: dict[int, str] = {}

    def of(self, one: Object, live: Live) -> tuple[str, str]:
        """The name and the namespace."""
        name = one.found.name
        if isinstance(one.kind, GuestKind):
            own = live.fields.get(one.kind.name_field)
            name = str(own or "")
            if not name or formats.check_value({"type": "string", "format": "dns-name"}, name, name="name"):
                self.because[one.vmid] = (
                    f"it is called {name!r} there, which" if name else "it has no name there, which"
                )
                name = f"{(one.kind.short or ('guest',))[0]}-{one.vmid}"
            elif f"{one.kind.name}/{name}" in self.taken:
                self.because[one.vmid] = f"another guest is called {name}, too, which"
                name = f"{name}-{one.vmid}"
        else:
            place = next((str(one.found.key[part]) for part in PLACES if one.found.key.get(part)), "")
            if f"{one.kind.name}/{name}" in self.taken and place:
                name = f"{name}-{place.replace('/', '-')}"
        return self.unique(one.kind.name, name), one.namespace

    def unique(self, kind: str, name: str) -> str:
        found, number = name, 2
        while f"{kind}/{found}" in self.taken:
            found, number = f"{name}-{number}", number + 1
        self.taken.add(f"{kind}/{found}")
        return found

    def explained(self, one: Object, document: Document) -> Document:
        """A guest that goes by another name in the manifest keeps its own."""
        why = self.because.get(one.vmid) if one.vmid else None
        if not why:
            return document
        metadata = {**document.manifest["metadata"], "ignoreChanges": ["name"]}
        note = f"{why} is left as it is (ignoreChanges)"
        return replace(document, manifest={**document.manifest, "metadata": metadata}, notes=(note, *document.notes))


# -- objects that are about guests -------------------------------------------------------------------------------


def _linked(kind: Any, document: Document, refs: Mapping[str, str], names: _Names) -> Document:
    """References to guests by the names that these have in the manifests."""
    spec = dict(document.spec)
    manifest = dict(document.manifest)
    if str(spec.get("scope", "")) in refs:
        spec["scope"] = refs[str(spec["scope"])]
    for name, rule in kind.table.fields.items():
        if not rule.guest or name not in spec:
            continue
        value = spec[name]
        spec[name] = [_named(item, refs) for item in value] if isinstance(value, list) else _named(value, refs)
        guest = str(spec[name]).partition("/")[2]
        if rule.identity and guest:
            # Its own name is made of a number; it may have any.
            manifest["metadata"] = {**manifest["metadata"], "name": names.unique(kind.name, guest)}
    return replace(document, manifest={**manifest, "spec": spec})


def _named(value: Any, refs: Mapping[str, str]) -> Any:
    number = str(value).rpartition(":")[2]
    return refs.get(number, int(number) if number.isdecimal() else value)


def _is_idle(one: Object, document: Document) -> bool:
    """Whether an object is a part of the server that nobody has set anything of."""
    said = {name for name, value in document.spec.items() if value not in ([], {}, None, "")}
    return one.kind.always_there and not (said - PLACED - set(one.found.key))


# -- texts -------------------------------------------------------------------------------------------------------


def text(documents: Iterable[Document]) -> str:
    """Manifests as one YAML text, with a comment above each that needs one."""
    from pvehelm.chart.yaml import dump

    parts = []
    for document in documents:
        notes = "".join(f"# {line}\n" for note in document.notes for line in note.splitlines())
        parts.append(f"{notes}{dump(document.manifest, width=None)}")
    return "---\n".join(parts)


def by_kind(documents: Iterable[Document], plural: Callable[[str], str]) -> dict[str, str]:
    """The texts of one file for each kind: ``{"virtualmachines.yaml": ...}``."""
    files: dict[str, list[Document]] = {}
    for document in documents:
        name = re.sub(r"[^a-z0-9]", "", plural(document.manifest["kind"]).lower())
        files.setdefault(f"{name}.yaml", []).append(document)
    return {name: text(found) for name, found in files.items()}

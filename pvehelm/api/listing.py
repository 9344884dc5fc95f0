"""What there is of a kind: the names and keys of its objects, from the API's lists.

A kind is listed wherever its list has to be asked for: once, on every node, below every object that its path names
(the tokens of each user), at every scope. Objects that no list says a name of (the firewall options of a node) are
called by their place.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pvehelm.api import scopes
from pvehelm.api.guests import GuestKind, guests
from pvehelm.api.kind import Get, Key, Kind
from pvehelm.api.kinds import Kinds
from pvehelm.errors import ApiError, InvalidError, PvehelmError

# Scopes that are worth one request for each guest only when asked for.
GUEST_PLACES = ("vm", "ct")
EVERYWHERE = "all"


@dataclass(frozen=True, slots=True)
class Found:
    """One object of a list: its name in a manifest, its key, and the row that the list has of it."""

    kind: Kind
    name: str
    key: Key
    row: Mapping[str, Any] = field(default_factory=dict)
    namespace: str = ""

    @property
    def ref(self) -> str:
        return f"{self.kind.name}/{self.name}"


@dataclass
class Listing:
    """What was found, and what could not be asked: ``{place: why}``."""

    found: list[Found] = field(default_factory=list)
    silent: dict[str, str] = field(default_factory=dict)


async def listing(kind: Kind, kinds: Kinds, get: Get, *, scope: str = "") -> Listing:
    """Every object of a kind, by name. ``scope`` (of kinds that have one): one place, or ``all``; left out, all
    places but the guests.

    Raises the server's error where no list could be read at all, InvalidError for a scope that means none.
    """
    if isinstance(kind, GuestKind):
        rows = [row for row in await guests(get) if row["type"] == kind.flavour]
        return Listing([_guest(kind, row) for row in sorted(rows, key=lambda row: int(row["vmid"]))])
    return await _Lister(kind, kinds, get).all(scope)


def _guest(kind: Kind, row: Mapping[str, Any]) -> Found:
    name = str(row.get("name") or row["vmid"])
    key = {"vmid": int(row["vmid"]), "node": row["node"]}
    return Found(kind, name, key, row, str(row.get("pool") or "default"))


class _Lister:
    """One kind being listed."""

    def __init__(self, kind: Any, kinds: Kinds, get: Get) -> None:
        self.kind = kind
        self.kinds = kinds
        self.get = get
        # Names of the guests whose scopes are listed, by VMID.
        self.guests: dict[str, str] = {}

    async def all(self, scope: str) -> Listing:
        made = Listing()
        errors: list[PvehelmError] = []
        targets = [
            (place, known) for place in self._places(scope) for known in await self._instances(place, scope, made)
        ]

        async def one(place: str, known: Mapping[str, Any]) -> list[Found]:
            try:
                return await self.at(place, known)
            except ApiError as error:
                errors.append(error)
                made.silent[str(known.get("scope") or ", ".join(map(str, known.values())) or self.kind.name)] = str(
                    error
                )
                return []

        for found in await asyncio.gather(*(one(place, known) for place, known in targets)):
            made.found += found
        if errors and len(errors) == len(targets):
            raise errors[0]
        unique = {(found.name, str(sorted(found.key.items(), key=str))): found for found in made.found}
        made.found = sorted(unique.values(), key=lambda found: (found.name, str(found.key)))
        return made

    # -- where to ask ------------------------------------------------------------------------------------------

    def _places(self, scope: str) -> Sequence[str]:
        """The places (``cluster``, ``node``, ... or '') to ask at."""
        places: Sequence[str] = self.kind.places
        if not self.kind.scoped:
            if scope not in ("", EVERYWHERE):
                raise InvalidError(f"{self.kind.plural} have no scope", hint="leave --scope out")
            return places
        if scope == EVERYWHERE:
            return places
        if not scope:
            return [place for place in places if place not in GUEST_PLACES]
        parsed = scopes.parse(scope)
        if parsed is None:
            raise InvalidError(
                f"{scope!r} is no scope", hint="cluster, node/NAME, VirtualMachine/NAME, Container/NAME, vnet/NAME, all"
            )
        wanted = GUEST_PLACES if parsed.type == "guest" else (parsed.type,)
        return [place for place in places if place in wanted]

    async def _instances(self, place: str, scope: str, made: Listing) -> list[dict[str, Any]]:
        """The path variables of every list to ask for at a place."""
        if place in ("", "cluster"):
            path = self.kind.shape(place).index.path
            base: list[dict[str, Any]] = [{"scope": "cluster"} if place else {}]
            if self.kind.table.strategy == "verb" or "{storage}" in path:
                return await self._storages()
            for variable in re.findall(r"\{([^}]+)\}", path):
                base = [{**known, variable: value} for known in base for value in await self._values(variable, made)]
            return base
        if place in GUEST_PLACES:
            flavour = {"vm": "qemu", "ct": "lxc"}[place]
            word = {"vm": "VirtualMachine", "ct": "Container"}[place]
            found = []
            for row in await guests(self.get):
                number = str(row["vmid"])
                names = (f"{word}/{row.get('name')}", number, f"{word}/{number}")
                if row["type"] == flavour and (scope == EVERYWHERE or scope in names):
                    # By number: a name may be several guests'.
                    self.guests[number] = str(row.get("name") or "")
                    found.append({"scope": number, "vmid": number, "node": row["node"], "guest": place})
            return found
        values = await self._values(place, made)
        return [{"scope": f"{place}/{name}", place: name} for name in values if scope in ("", "all", f"{place}/{name}")]

    async def _values(self, variable: str, made: Listing) -> list[str]:
        """Every value of a path variable: the nodes, or the names of the kind that it is the name of."""
        if variable == "node":
            rows = await self.get("/nodes") or []
            down = [str(row["node"]) for row in rows if row.get("status", "online") != "online"]
            made.silent |= dict.fromkeys(down, "the node is offline")
            return sorted(str(row["node"]) for row in rows if row["node"] not in down)
        variable = {"fabric_id": "id"}.get(variable, variable)
        for kind in self.kinds:
            other: Any = kind
            own = not isinstance(kind, GuestKind) and other.id_names == (variable,) and not other.scoped
            if own and (variable != "id" or kind.name == "Fabric") and "{" not in other.shape("").index.path:
                return [found.name for found in (await listing(kind, self.kinds, self.get)).found]
        return []

    async def _storages(self) -> list[dict[str, Any]]:
        """Every storage at a node that has it; a shared one at one node only."""
        seen: set[str] = set()
        found = []
        for row in sorted(await self.get("/cluster/resources") or [], key=lambda row: str(row.get("node"))):
            if row.get("type") != "storage" or row.get("status", "available") != "available":
                continue
            if row.get("shared") and row["storage"] in seen:
                continue
            seen.add(row["storage"])
            found.append({"node": row["node"], "storage": row["storage"]})
        return found

    # -- one list ----------------------------------------------------------------------------------------------

    async def at(self, place: str, known: Mapping[str, Any]) -> list[Found]:
        strategy = self.kind.table.strategy
        if strategy in ("singleton", "list"):
            return [Found(self.kind, self._place_name(known), dict(known))]
        if strategy == "entries":
            return await self._entries()
        if strategy == "switch":
            return await self._switches(known)
        if strategy == "verb" and "{storage}" in self.kind.shape(place).index.path:
            return await self._files(known)
        rows = await self.kind.listed(self.kind.shape(place).index, known, self.get)
        found = []
        for row in rows:
            if row.get("state") == "deleted":
                continue
            key = self._key(row, known)
            if key is not None:
                found.append(Found(self.kind, self._name(key), key, row))
        return found

    def _place_name(self, known: Mapping[str, Any]) -> str:
        """The name of what has none: that of its place (``cluster``, ``pve1``, ``web-0``, ``blue``)."""
        if known.get("vmid"):
            return self.guests.get(str(known["vmid"])) or str(known["vmid"])
        place = str(known.get("scope") or known.get("node") or next(iter(known.values()), "cluster"))
        return place.partition("/")[2] or place

    def _key(self, row: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any] | None:
        key = dict(known)
        for part, column in self.kind.row_names(row).items():
            if row.get(column) in (None, "") and part not in key:
                return None
            if row.get(column) not in (None, ""):
                key[part] = self._identity(part, str(row[column]))
        return key

    def _identity(self, part: str, shown: str) -> str:
        """An identifier of a row as a manifest has it."""
        form = self.kind.rule(part).compare
        if form in ("basename", "stem"):
            return re.split(r"[/:]", shown)[-1]
        if form == "cidr":
            network, _, length = shown.rpartition("-")
            try:
                return str(ipaddress.ip_network(f"{network.rpartition('-')[2]}/{length}"))
            except ValueError:
                return shown
        return shown.removeprefix(self.kind.table.id_prefix) if part in self.kind.id_names else shown

    def _name(self, key: Key) -> str:
        template = self.kind.table.name_template
        if template:
            return str(template.format(**key))
        if self.kind.id_names and self.kind.id_names[-1] in key:
            return str(key[self.kind.id_names[-1]])
        own = [rule.wire or name for name, rule in self.kind.table.fields.items() if rule.identity]
        parts = [str(key[name]) for name in own if name in key and name != "node"]
        return "/".join(parts) or str(key.get("node") or self.kind.name)

    async def _entries(self) -> list[Found]:
        """One object for each path and role of the access list."""
        seen: dict[tuple[str, str], list[Any]] = {}
        for row in await self.get("/access/acl") or []:
            if row.get("type") in ("user", "group", "token"):
                seen.setdefault((str(row["path"]), str(row["roleid"])), []).append(row)
        return [
            Found(self.kind, f"{role}:{path}", {"path": path, "role": role}, _subjects(path, role, rows))
            for (path, role), rows in seen.items()
        ]

    async def _switches(self, known: Mapping[str, Any]) -> list[Found]:
        answer = await self.get(scopes.fill("/nodes/{node}/apt/repositories", known)) or {}
        rows = [row for row in answer.get("standard-repos") or [] if row.get("status") is not None]
        return [Found(self.kind, str(row["handle"]), {**known, "handle": row["handle"]}, row) for row in rows]

    async def _files(self, known: Mapping[str, Any]) -> list[Found]:
        """What a storage holds of the contents that the kind is about."""
        rule, facts = self.kind.rule("content"), self.kind.facts("content")
        contents = [str(word) for word in facts.get("enum", ())] if rule.identity else []
        rows = await self.get(scopes.fill("/nodes/{node}/storage/{storage}/content", known)) or []
        found = []
        for row in rows:
            content, _, filename = str(row["volid"]).partition(":")[2].partition("/")
            if filename and content in contents:
                key = {**known, "content": content, "filename": filename}
                found.append(Found(self.kind, filename, key, row))
        return found


def _subjects(path: str, role: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    listed = sorted(f"{row['ugid']}" for row in rows)
    return {"path": path, "role": role, "subjects": listed, "propagate": rows[0].get("propagate")}

"""The objects of the cluster as people name them: ``vm/web``, ``vms``, a VMID; and which release each belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pvehelm.api.guests import GuestKind
from pvehelm.api.kind import Kind, Live
from pvehelm.api.kinds import Kinds
from pvehelm.api.listing import Found, listing
from pvehelm.api.nodes import NODE, WORDS
from pvehelm.errors import ApiError, InvalidError, NotFoundError, Problem, UsageError
from pvehelm.release.context import Context
from pvehelm.release.kindwords import kind_of, plain
from pvehelm.release.live import Reader
from pvehelm.release.release import ReleaseKey
from pvehelm.suggest import suggest

if TYPE_CHECKING:
    from pvehelm.chart.manifest import Resource
    from pvehelm.release.inventory import Owned

GUEST_WORDS = frozenset(("guest", "guests"))
GUESTS = ("VirtualMachine", "Container")
# Parts of a key that tell objects of one name apart.
PLACES = ("node", "storage", "scope", "vnet", "zone", "ipam")


@dataclass(frozen=True, slots=True)
class Object:
    """One object: what the lists say of it, who owns it, and (where it was read) what it is."""

    found: Found
    owner: ReleaseKey | None = None
    owned: Owned | None = None
    live: Live | None = None

    @property
    def kind(self) -> Kind:
        return self.found.kind

    @property
    def ref(self) -> str:
        return self.owned.ref if self.owned else self.found.ref

    @property
    def name(self) -> str:
        return self.ref.partition("/")[2]

    @property
    def namespace(self) -> str:
        return self.found.namespace or "default"

    @property
    def vmid(self) -> int:
        return int(self.found.key.get("vmid", 0)) if isinstance(self.kind, GuestKind) else 0

    @property
    def names(self) -> frozenset[str]:
        """What it may be called by: its names in a manifest and in the list, alone or behind its place (``pve1/x``)."""
        plain = {self.name, self.found.name}
        places = [str(self.found.key[part]) for part in PLACES if self.found.key.get(part)]
        return frozenset(plain | {f"{place}/{name}" for place in places for name in plain})

    @property
    def labels(self) -> dict[str, str]:
        """What selectors see: the labels of its manifest, its release, and a guest's tags as labels without a text."""
        tags = str(self.found.row.get("tags") or "").replace(",", ";").split(";")
        found = {tag.strip(): "" for tag in tags if tag.strip()}
        found |= self.owned.metadata.get("labels") or {} if self.owned else {}
        return found | ({"release": self.owner.name} if self.owner else {})

    def __str__(self) -> str:
        return f"{self.ref} (VMID {self.vmid})" if self.vmid else self.ref


@dataclass(frozen=True, slots=True)
class Wish:
    """A kind, and the names that are meant of it; none is all of them. ``word`` is how the kind was called,
    ``namespace`` the one that is meant, if not that of the whole question."""

    kind: Kind
    names: tuple[str, ...] = ()
    word: str = ""
    namespace: str = ""


@dataclass
class Catalogue:
    """What was found of some kinds, and the lists that could not be read: ``{place: why}``."""

    objects: list[Object] = field(default_factory=list)
    silent: dict[str, str] = field(default_factory=dict)
    # What there is in other namespaces, and the one that was looked in: none if all were, or the kinds have none.
    elsewhere: list[Object] = field(default_factory=list)
    namespace: str = ""


def kinds_of(kinds: Kinds, word: str) -> list[Kind]:
    """The kinds that a word names: ``vms``, ``guests``, ``nodes``. Raises NotFoundError with a suggestion."""
    lowered = plain(word).lower()
    if lowered in GUEST_WORDS:
        return [kinds.get(name) for name in GUESTS]
    if lowered in WORDS:
        return [NODE]
    if word not in kinds:
        from difflib import get_close_matches

        if close := get_close_matches(lowered, GUEST_WORDS | WORDS, n=1, cutoff=0.8):
            raise NotFoundError(f"there is no kind '{word}'", hint=f"did you mean '{close[0]}'?")
    found = kind_of(kinds, word)
    if found.hook_only:
        raise UsageError(
            f"{found.name} is done by a hook and is not there to be seen", hint="pvehelm get hooks RELEASE"
        )
    return [found]


def is_kind(kinds: Kinds, word: str) -> bool:
    word = plain(word)
    return word.lower() in GUEST_WORDS | WORDS or word in kinds


def wishes(kinds: Kinds, words: Sequence[str]) -> list[Wish]:
    """``vms``, ``vms,cts``, ``vm web db``, ``vm/web ct/db``: kinds and names. Raises UsageError, NotFoundError."""
    if not words:
        raise UsageError("which kind?", hint="for example vms, vm/web or pools; pvehelm api-resources lists the kinds")
    if any("/" in word and not word.startswith("/") for word in words[:1]):
        found: dict[str, list[str]] = {}
        for word in words:
            kind, slash, name = word.partition("/")
            if not slash or not name:
                raise UsageError(f"{word!r}: KIND/NAME is expected once one is given", hint="for example vm/web")
            found.setdefault(kind, []).append(name)
        return [Wish(kind, tuple(names), word) for word, names in found.items() for kind in kinds_of(kinds, word)]
    named = [part for part in words[0].split(",") if part]
    if not named:
        return wishes(kinds, ())
    names = tuple(_plain_name(kinds, named, word) for word in words[1:])
    return [Wish(kind, names, word) for word in named for kind in kinds_of(kinds, word)]


def of_manifests(kinds: Kinds, resources: Sequence[Resource], namespace: str) -> list[Wish]:
    """The objects that manifests are about; ``namespace`` is that of those that name none. Hooks are left out.

    Raises NotFoundError for a kind that there is not."""
    found = [(kinds.get(one.kind), one) for one in resources]
    wanted = [
        Wish(kind, (one.name,), one.kind, (one.namespace or namespace) if kind.namespaced else "")
        for kind, one in found
        if not kind.hook_only
    ]
    return list(dict.fromkeys(wanted))


def _plain_name(kinds: Kinds, named: Sequence[str], word: str) -> str:
    """``vm vm/web`` says twice what is meant once."""
    head, slash, rest = word.partition("/")
    twice = len(named) == 1 and slash and is_kind(kinds, head) and kinds_of(kinds, head) == kinds_of(kinds, named[0])
    return rest if twice else word


async def catalogue(
    ctx: Context, wanted: Iterable[Wish], reader: Reader, *, scope: str = "", namespace: str | None = None
) -> Catalogue:
    """The objects that are wished for, with their owners. ``namespace`` None is all.

    Raises NotFoundError with everything that was named and is not there.
    """
    made, missing = await search(ctx, wanted, reader, scope=scope, namespace=namespace)
    unique = list(dict.fromkeys(problem for _, problem in missing))
    if len(unique) == 1:
        raise NotFoundError(unique[0].what, hint=unique[0].hint)
    if unique:
        raise NotFoundError("some objects are not there", unique)
    return made


async def search(
    ctx: Context, wanted: Iterable[Wish], reader: Reader, *, scope: str = "", namespace: str | None = None
) -> tuple[Catalogue, list[tuple[Wish, Problem]]]:
    """The objects that are wished for, as ``catalogue`` has them, and what was named and is not there."""
    await ctx.connect()
    wanted = list(wanted)
    made = Catalogue()
    kinds = list({wish.kind.name: wish.kind for wish in wanted}.values())
    made.namespace = namespace or "" if any(kind.namespaced for kind in kinds) else ""
    places = await asyncio.gather(*(_listed(ctx, kind, reader, scope) for kind in kinds))
    owners = Owners(ctx)
    by_kind: dict[str, _Listed] = {}
    for kind, (found, silent) in zip(kinds, places, strict=True):
        made.silent |= silent
        by_kind[kind.name] = _Listed([Object(one, *owners.of(one)) for one in found])
    missing: list[tuple[Wish, Problem]] = []
    for wish in wanted:
        listed = by_kind[wish.kind.name]
        within = (wish.namespace or namespace) if wish.kind.namespaced else None
        if not wish.names:
            made.objects += [one for one in listed.objects if within in (None, one.namespace)]
            made.elsewhere += [one for one in listed.objects if within not in (None, one.namespace)]
            continue
        for name in wish.names:
            matched = listed.matching(name, within)
            made.objects += matched
            if matched:
                continue
            same = (wish.word, wish.namespace)
            alike = [w for w in wanted if (w.word, w.namespace) == same and name in w.names]
            if not any(by_kind[w.kind.name].matching(name, None) for w in alike if w is not wish):
                everything = [one for w in alike for one in by_kind[w.kind.name].objects]
                missing.append((wish, _missing(alike, name, everything)))
    return made, missing


class _Listed:
    """The objects of a kind, found by name."""

    def __init__(self, objects: list[Object]) -> None:
        self.objects = objects

    @cached_property
    def _named(self) -> dict[str, list[Object]]:
        found: dict[str, list[Object]] = {}
        for one in self.objects:
            for name in one.names:
                found.setdefault(name, []).append(one)
        return found

    @cached_property
    def _numbered(self) -> dict[int, list[Object]]:
        found: dict[int, list[Object]] = {}
        for one in self.objects:
            found.setdefault(one.vmid, []).append(one)
        return found

    def matching(self, name: str, within: str | None) -> list[Object]:
        """What a name means: a VMID wherever it is, a name in a namespace (None: in any)."""
        if name.isdecimal() and int(name) and (numbered := self._numbered.get(int(name))):
            return numbered
        return [one for one in self._named.get(name, ()) if within in (None, one.namespace)]


async def _listed(ctx: Context, kind: Kind, reader: Reader, scope: str) -> tuple[list[Found], Mapping[str, str]]:
    if kind is NODE:
        rows = await reader("/nodes") or []
        found = [Found(NODE, str(row["node"]), {"node": row["node"]}, row) for row in rows]
        return sorted(found, key=lambda one: one.name), {}
    listed = await listing(kind, ctx.kinds, reader, scope=scope)
    return listed.found, listed.silent


def _missing(alike: Sequence[Wish], name: str, listed: Sequence[Object]) -> Problem:
    kind = alike[0].kind
    noun = kind.name if len(alike) == 1 else alike[0].word.removesuffix("s")
    elsewhere = sorted({one.namespace for one in listed if name in one.names})
    if elsewhere:
        hint = f"there is one in namespace {', '.join(elsewhere)} (-n {elsewhere[0]})"
    else:
        meant = suggest(name, [one.name for one in listed])
        word = (kind.short or (kind.plural,))[0].lower() if len(alike) == 1 else "guests"
        hint = f"did you mean {meant}?" if meant else f"pvehelm get {word} -A lists what there is"
    return Problem(f"{noun}/{name}", f"there is no {noun} {name!r}", hint)


async def guests(
    ctx: Context, words: Sequence[str], reader: Reader, *, namespace: str | None = None, vmids: Sequence[int] = ()
) -> list[Object]:
    """The guests that words and numbers name: ``web``, ``vm/web``, ``vm web db``, ``101``. Each is one guest.

    Raises NotFoundError for what is not there, InvalidError for a name that several have, UsageError for other kinds.
    """
    await ctx.connect()
    names = list(words)
    wanted: list[Wish] = []
    kinds = [ctx.kinds.get(name) for name in GUESTS]
    if len(names) > 1 and is_kind(ctx.kinds, names[0]) and "/" not in names[0]:
        wanted = wishes(ctx.kinds, names)
    else:
        for name in names:
            word, slash, rest = name.partition("/")
            if slash and not rest:
                raise UsageError(f"{name!r}: a name is expected", hint="for example vm/web")
            if slash and is_kind(ctx.kinds, word):
                wanted += [Wish(kind, (rest,), word) for kind in kinds_of(ctx.kinds, word)]
            else:
                wanted += [Wish(kind, (name,), "guest") for kind in kinds]
    wanted += [Wish(kind, tuple(map(str, vmids)), "guest") for kind in kinds if vmids]
    for wish in wanted:
        check_guest(wish.kind)
    made = await catalogue(ctx, wanted, reader, namespace=namespace)
    return one_each(wanted, made.objects)


def one_each(wanted: Iterable[Wish], objects: Iterable[Object]) -> list[Object]:
    """The objects, each once. Raises InvalidError for every name that several of them have."""
    unique = {f"{one.found.ref} {sorted(one.found.key.items(), key=str)}": one for one in objects}
    asked: dict[tuple[str, str], list[Wish]] = {}
    for wish in wanted:
        for name in wish.names:
            asked.setdefault((wish.kind.name, name), []).append(wish)
    named: dict[tuple[str, str, str], list[Object]] = {}
    for one in unique.values():
        for meant in {
            (wish.word, wish.namespace, name)
            for name in one.names
            if not (one.vmid and name.isdecimal())
            for wish in asked.get((one.kind.name, name), ())
            if wish.namespace in ("", one.namespace)
        }:
            named.setdefault(meant, []).append(one)
    problems = [
        Problem(name, f"several objects have this name: {', '.join(map(_told, alike))}", _apart(name, alike))
        for (_, _, name), alike in named.items()
        if len(alike) > 1
    ]
    if problems:
        raise InvalidError("a name is not clear", problems)
    return list(unique.values())


def _told(one: Object) -> str:
    place = next((str(one.found.key[part]) for part in PLACES if one.found.key.get(part)), "")
    return str(one) if one.vmid or not place else f"{one.kind.name}/{place}/{one.name}"


def _apart(name: str, meant: Sequence[Object]) -> str:
    if meant[0].vmid:
        return f"say which one by its VMID: {meant[0].vmid}, or by its kind"
    place = next((str(meant[0].found.key[part]) for part in PLACES if meant[0].found.key.get(part)), "")
    return f"say which one by its place: {place}/{name}" if place else ""


def check_guest(kind: Kind) -> GuestKind:
    """The kind as one of guests. Raises UsageError when it is another."""
    if not isinstance(kind, GuestKind):
        raise UsageError(f"{kind.name} is no guest", hint="vm/NAME, ct/NAME or a VMID")
    return kind


async def read(
    objects: Sequence[Object], reader: Reader, silent: MutableMapping[str, str] | None = None
) -> list[Object]:
    """The objects with what the server has of each; those that went away meanwhile are left out.

    With ``silent``, what can't be read stays as its list's row has it, and why is put there by its ref."""
    from dataclasses import replace

    async def one_of(one: Object) -> Object | None:
        try:
            live = await one.kind.read(one.found.key, reader)
        except ApiError as error:
            if silent is None or not one.found.row:
                raise
            silent[one.ref] = str(error)
            return one
        return replace(one, live=live) if live is not None else None

    return [one for one in await asyncio.gather(*map(one_of, objects)) if one is not None]


class Owners:
    """Who owns what, read from the store once."""

    def __init__(self, ctx: Context) -> None:
        self._by_kind: dict[str, list[tuple[ReleaseKey, Owned]]] = {}
        self._guests: dict[int, tuple[ReleaseKey, Owned]] = {}
        for key, owned in ctx.store.owned(ctx.cluster):
            vmid = owned.identifier.get("vmid") if owned.kind in GUESTS else None
            if vmid:
                self._guests[int(vmid)] = (key, owned)
            else:
                self._by_kind.setdefault(owned.kind, []).append((key, owned))

    def of(self, found: Found) -> tuple[ReleaseKey | None, Owned | None]:
        if isinstance(found.kind, GuestKind):
            return self._guests.get(int(found.key["vmid"]), (None, None))
        for key, owned in self._by_kind.get(found.kind.name, ()):
            if _same_key(found, owned.identifier):
                return key, owned
        return None, None


def _same_key(found: Found, identifier: Mapping[str, Any]) -> bool:
    apart = set() if found.kind.bound_to_node else {"node"}
    if "vmid" in found.key and "vmid" in identifier:
        apart.add("scope")  # a guest by its name, or by its number
    shared = found.key.keys() & identifier.keys() - apart
    if not shared:
        return not found.key and not identifier
    return all(str(found.key[name]) == str(identifier[name]) for name in shared)

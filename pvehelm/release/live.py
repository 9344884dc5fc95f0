"""Read exactly what a plan is about, each thing once, concurrently."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from pvehelm.api import guests as listed
from pvehelm.api.guests import GuestKind
from pvehelm.api.kind import Kind, Live, leaves
from pvehelm.chart.manifest import Resource
from pvehelm.errors import ApiError, InvalidError, Problem, PvehelmError, TransportError
from pvehelm.release.ahead import ahead
from pvehelm.release.compare import Desired, Observed
from pvehelm.release.graph import image_volume
from pvehelm.release.inventory import GUEST_KINDS, Inventory, Owned
from pvehelm.release.release import ReleaseKey
from pvehelm.release.secrets import Secrets, has_secret, secret_key
from pvehelm.release.validity import told


class Reads(Protocol):
    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any: ...


class Reader:
    """``await reader(path, **params)``: GET, at most once for the same path and parameters."""

    def __init__(self, client: Reads) -> None:
        self.client = client
        self._asked: dict[str, asyncio.Future[Any]] = {}
        # What kinds worked out of an answer, by that answer's identity: it lives as long as the answer does.
        self.memo: dict[int, Any] = {}
        # Guests that are being read already, by kind and VMID.
        self.early: dict[tuple[str, str], asyncio.Future[Live | None]] = {}
        # What releases owned when that began.
        self.owned: dict[ReleaseKey, Inventory] = {}

    @property
    def requests(self) -> int:
        return len(self._asked)

    async def __call__(self, path: str, **params: Any) -> Any:
        asked = self.ask(path, **params)
        if asked.done():
            return asked.result()
        answer = await asyncio.shield(asked)
        # Whoever waits for a connection goes first: what is made of an answer can wait, the network shall not.
        await asyncio.sleep(0)
        return answer

    def ask(self, path: str, **params: Any) -> asyncio.Future[Any]:
        """Ask for what will be needed, whether or not anybody waits for the answer."""
        key = f"{path}?{sorted(params.items())}" if params else path
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = ahead(self.client.get(path, params or None))
        return asked

    def know(self, path: str, answer: Any) -> None:
        """Take ``answer`` for ``GET path`` instead of asking; what was begun to be read is read once more."""
        self.early.clear()
        known = asyncio.get_running_loop().create_future()
        known.set_result(answer)
        self._asked[path] = known

    def forget(self) -> None:
        self._asked.clear()
        self.memo.clear()
        self.early.clear()
        self.owned.clear()


async def _ready(answer: Any) -> Any:
    return answer


def knowing(client: Reads, kind: GuestKind, row: Mapping[str, Any]) -> Reader:
    """A reader that knows from its list's ``row`` where a guest is: the one request left is for its configuration."""
    reader, row = Reader(client), {"type": kind.flavour, **row}
    reader.know("/cluster/resources", [row])
    reader.know(f"/nodes/{row['node']}/{kind.flavour}", [row])
    return reader


async def begin(inventory: Inventory, kinds: Callable[[str], Kind], reader: Reader) -> None:
    """Start to read the guests that are owned: they are needed whatever comes of the manifests, and the answers arrive
    while those are parsed, checked and lowered. Returns when it is known where they are and they are being asked for:
    a moment's wait here, or computing would stand before the first of many questions."""
    guests = [owned for owned in inventory if owned.kind in GUEST_KINDS]
    if guests:
        with suppress(PvehelmError):  # whoever waits for a guest is told
            await listed.resources(reader)
    for owned in guests:
        key = (owned.kind, str(owned.identifier.get("vmid")))
        if key not in reader.early:
            reader.early[key] = ahead(kinds(owned.kind).read(owned.identifier, reader))
    await asyncio.sleep(0)


# So many manifests are worked on before what the server has answered meanwhile is looked at.
SLICE = 16


async def pause(index: int) -> None:
    """Let answers in, every so many turns of a loop that only computes."""
    if index % SLICE == SLICE - 1:
        await asyncio.sleep(0)


async def gather(
    resources: Sequence[Resource],
    inventory: Inventory,
    *,
    kinds: Callable[[str], Kind],
    reader: Reader,
    secrets: Secrets,
    replaced: Iterable[str] = (),
    taken: Callable[[str], bool] = lambda ref: False,
    checked: bool = False,
    partly: bool = False,
) -> tuple[list[Desired], Observed]:
    """The desired resources lowered and what the server has of them and of everything the inventory owns.

    ``checked`` resources were validated already. ``partly``: not all of it will count, so that what can't be read
    (its node is away) is only noted.

    Guests come first: what refers to them needs to know which of them exist. Raises InvalidError with all problems.
    """
    observed = Observed()
    unread = observed.unread if partly else None
    numbers: dict[str, str] = {}
    desired: list[Desired] = []
    problems: list[Problem] = []

    def resolve(ref: str) -> str | None:
        if ref in numbers:
            return numbers[ref]
        owned = inventory.entries.get(ref)
        return str(owned.identifier["vmid"]) if owned and "vmid" in owned.identifier else None

    guests = [resource for resource in resources if resource.kind in GUEST_KINDS]
    for resource in guests:
        numbers[resource.ref] = f"${{vmid:{resource.ref}}}"
    lowered = await _lower_all(guests, kinds, resolve, problems, checked)
    if problems:
        raise InvalidError("the manifests are not valid", problems)
    bound = [_bound(one, inventory) for one in lowered if one]
    for one, live in zip(bound, await _read_all(bound, reader, unread), strict=True):
        owned = inventory.get(one.ref)
        if owned is not None and live is not None and not taken(one.ref) and _is_stranger(one.kind, owned, live):
            # Ours is gone and its VMID was given to another guest, which is none of our business.
            one, live = _unbound(one, lowered), None
        observed.live[one.ref] = live
        if live is not None and one.ref not in replaced:
            numbers[one.ref] = str(live.key["vmid"])
        desired.append(one)
    rest = [resource for resource in resources if resource.kind not in GUEST_KINDS]
    others = await _lower_all(rest, kinds, resolve, problems, checked)
    if problems:
        raise InvalidError("the manifests are not valid", problems)
    other = [one for one in others if one]
    for one, live in zip(other, await _read_all(other, reader, unread), strict=True):
        observed.live[one.ref] = live
        desired.append(one)
    by_ref = {one.ref: one for one in desired}
    order = {resource.ref: index for index, resource in enumerate(resources)}
    desired.sort(key=lambda one: order[one.ref])
    _refuse_doubles(desired)
    observed.renamed = _renamed(by_ref, inventory)
    await _left_behind(by_ref, inventory, observed, kinds, reader, unread)
    await _prepare(desired, observed, reader, inventory, frozenset(replaced))
    _hash_secrets(desired, observed, secrets)
    return desired, observed


def _refuse_doubles(desired: Sequence[Desired]) -> None:
    """Two resources that mean the same object would undo each other's work for ever. Raises InvalidError."""
    seen: dict[tuple[str, str], Desired] = {}
    problems = []
    for one in desired:
        key = {name: str(value) for name, value in one.wanted.key.items() if value is not None}
        if one.kind.name in GUEST_KINDS:
            key = {"vmid": key["vmid"]} if "vmid" in key else {}
        if not key:
            continue
        first = seen.setdefault((one.kind.name, str(sorted(key.items()))), one)
        apart = one.kind.several and not leaves(first.wanted.fields).keys() & leaves(one.wanted.fields).keys()
        if first is not one and not apart:
            what = f"{one.ref} and {first.ref} ({first.where('')}) are the same object"
            problems.append(Problem(one.where(""), what, "write it once"))
    if problems:
        raise InvalidError("the manifests are not valid", problems)


def _renamed(desired: Mapping[str, Desired], inventory: Inventory) -> dict[str, str]:
    """Objects that go by another name in the manifests now: new ref -> the ref that the inventory has."""
    found: dict[str, str] = {}
    left = [owned for owned in inventory if owned.ref not in desired and owned.kind not in GUEST_KINDS]
    for ref, one in desired.items():
        if ref in inventory.entries:
            continue
        match = next((o for o in left if o.kind == one.kind.name and o.ref not in found.values() and _is(one, o)), None)
        if match is not None:
            found[ref] = match.ref
    return found


def _is(one: Desired, owned: Owned) -> bool:
    keyed = bool(one.wanted.key.keys() & owned.identifier.keys() - {"node"}) and _same_key(one, owned)
    return keyed and (not one.kind.several or bool(leaves(one.wanted.fields).keys() & owned.fields.keys()))


async def _lower_all(
    resources: Sequence[Resource],
    kinds: Callable[[str], Kind],
    resolve: Callable[[str], str | None],
    problems: list[Problem],
    checked: bool,
) -> list[Desired | None]:
    made = []
    for index, resource in enumerate(resources):
        made.append(_lower(resource, kinds, resolve, problems, checked))
        await pause(index)
    return made


def _lower(
    resource: Resource,
    kinds: Callable[[str], Kind],
    resolve: Callable[[str], str | None],
    problems: list[Problem],
    checked: bool,
) -> Desired | None:
    kind = kinds(resource.kind)
    found = [] if checked else kind.validate(resource)
    if found:
        problems += [told(resource, path, problem) for path, problem in found]
        return None
    try:
        wanted = kind.lower(resource, resolve)
    except InvalidError as error:
        for p in error.problems or (Problem("", str(error)),):
            at = resource.where(p.where.rpartition(": ")[2].split("."))
            problems.append(Problem(str(at), f"{resource.ref}: {p.what}", p.hint))
        return None

    def where(leaf: str) -> str:
        path = wanted.origins.get(leaf) or wanted.origins.get(f"once.{leaf}") or ("spec", *leaf.split("."))
        return str(resource.where(path) if leaf else resource.source)

    return Desired(kind, wanted, resource.metadata, where)


def _bound(one: Desired, inventory: Inventory) -> Desired:
    """A guest with the VMID that this release knows it by."""
    owned = inventory.entries.get(one.ref)
    if owned is None or "vmid" not in owned.identifier:
        return one
    if one.wanted.key.get("vmid") not in (None, owned.identifier["vmid"]):
        return one
    key = {**one.wanted.key, "vmid": owned.identifier["vmid"]}
    return one.lowered(replace(one.wanted, key=key))


def _is_stranger(kind: Kind, owned: Owned, live: Live) -> bool:
    """Whether a guest under our VMID is certainly another one: neither our mark nor our name."""
    mark = live.extra.get("mark")
    return (mark is None or mark.uid != owned.uid) and live.fields.get(getattr(kind, "name_field", "")) != owned.name


def _unbound(one: Desired, lowered: Iterable[Desired | None]) -> Desired:
    return next(before for before in lowered if before and before.ref == one.ref)


async def _read_all(
    desired: Sequence[Desired], reader: Reader, unread: dict[str, PvehelmError] | None
) -> list[Live | None]:
    reads = ((one.ref, _read(one.kind, one.wanted.key, reader)) for one in desired)
    return list(await asyncio.gather(*(_noted(ref, read, unread) for ref, read in reads)))


def _noted(ref: str, read: Awaitable[Live | None], unread: dict[str, PvehelmError] | None) -> Awaitable[Live | None]:
    """What ``read`` gives; where ``unread`` takes note of what can't be read, nothing instead."""

    async def noting(unread: dict[str, PvehelmError]) -> Live | None:
        try:
            return await read
        except (ApiError, TransportError) as error:
            unread[ref] = error
            return None

    return read if unread is None else noting(unread)


def _read(kind: Kind, key: Mapping[str, Any], reader: Reader) -> Awaitable[Live | None]:
    begun = reader.early.get((kind.name, str(key.get("vmid")))) if kind.name in GUEST_KINDS else None
    if begun is not None:
        return begun
    if any("${" in str(value) for value in key.values()):
        return _ready(None)  # it is about a guest that is not there yet
    scope = str(key.get("scope", ""))
    node = scope.removeprefix("node/") if scope.startswith("node/") else str(key.get("node") or "")
    return kind.read(key, reader) if not node or kind.name in GUEST_KINDS else _read_at(node, kind, key, reader)


async def _read_at(node: str, kind: Kind, key: Mapping[str, Any], reader: Reader) -> Live | None:
    """What a node has; nothing where the node has left the cluster, and whatever it had with it."""
    try:
        return await kind.read(key, reader)
    except ApiError:
        if node in {str(row.get("node")) for row in await reader("/nodes") or []}:
            raise
        return None


async def _left_behind(
    desired: Mapping[str, Desired],
    inventory: Inventory,
    observed: Observed,
    kinds: Callable[[str], Kind],
    reader: Reader,
    unread: dict[str, PvehelmError] | None,
) -> None:
    """What the inventory owns beside the desired: resources no longer wanted, and keys that changed."""

    renamed = set(observed.renamed.values())
    left: list[tuple[Owned, dict[str, Live | None]]] = []
    for owned in inventory:
        wanted = desired.get(owned.ref)
        if owned.ref in renamed:
            continue
        if wanted is None:
            left.append((owned, observed.live))
        elif (owned.kind not in GUEST_KINDS and not _same_key(wanted, owned)) or (
            owned.kind in GUEST_KINDS and wanted.wanted.key.get("vmid") not in (None, owned.identifier.get("vmid"))
        ):
            left.append((owned, observed.old))
    reads = ((owned.ref, _read(kinds(owned.kind), owned.identifier, reader)) for owned, _ in left)
    found = await asyncio.gather(*(_noted(ref, read, unread) for ref, read in reads))
    for (owned, where), live in zip(left, found, strict=True):
        where[owned.ref] = live


def _same_key(one: Desired, owned: Owned) -> bool:
    key = one.wanted.key
    shared = key.keys() & owned.identifier.keys() - (set() if one.kind.bound_to_node else {"node"})
    return all(str(key[name]) == str(owned.identifier[name]) for name in shared)


async def _prepare(
    desired: Sequence[Desired], observed: Observed, reader: Reader, inventory: Inventory, replaced: frozenset[str]
) -> None:
    made = {item.wanted.name for item in desired}
    volumes = {_volume(item) for item in desired if item.kind.name == "Image"}

    async def one(item: Desired) -> None:
        owned = inventory.get(item.ref)
        wanted = item.wanted
        if item.kind.name in GUEST_KINDS and owned is not None:
            leaving = observed.old.get(item.ref) or observed.live.get(item.ref)
            wanted = replace(wanted, once={**wanted.once, "replaces": leaving.key["vmid"] if leaving else None})
        context, problems = await item.kind.prepare(wanted, reader)
        observed.contexts[item.ref] = context
        observed.problems[item.ref] = [problem for problem in problems if not _made_here(problem, item, made, volumes)]

    def made_anew(item: Desired) -> bool:
        live = observed.live.get(item.ref)
        if item.ref in observed.unread:
            return False
        return live is None or item.ref in replaced or item.ref in observed.old or _is_other(item, live)

    await asyncio.gather(*(one(item) for item in desired if made_anew(item)))


def _is_other(item: Desired, live: Live) -> bool:
    """Whether a leaf differs that only a new object can have."""
    now = leaves(live.fields)
    differing = ((leaf, value, now.get(leaf)) for leaf, value in item.leaves.items() if value != now.get(leaf))
    return any(
        not item.kind.same(leaf, value, before) and item.kind.refusal(leaf, before, value, live) == "create-only"
        for leaf, value, before in differing
    )


def _volume(item: Desired) -> str:
    return image_volume(item.wanted.key)


def _made_here(problem: Problem, item: Desired, made: set[str], volumes: set[str]) -> bool:
    """Whether what is missing will be made by this very release (its storage, its image, its template)."""
    if problem.where == "image":
        return str(item.wanted.once.get("ostemplate")) in volumes
    if problem.where == "storage":
        return item.wanted.key.get("storage") in made
    if problem.where.endswith(".bridge"):
        value = item.wanted.fields.get(problem.where.removesuffix(".bridge"))
        return isinstance(value, Mapping) and value.get("bridge") in made
    if problem.where.endswith(".storage"):
        value = item.wanted.fields.get(problem.where.removesuffix(".storage"))
        return isinstance(value, Mapping) and value.get("storage") in made
    return False


def _hash_secrets(desired: Iterable[Desired], observed: Observed, secrets: Secrets) -> None:
    for one in desired:
        for leaf, value in one.leaves.items():
            if value is not None and (has_secret(value) or one.kind.write_only(leaf)):
                text = secret_key(value)
                observed.hashes[text], observed.plain[text] = secrets.look(value)

"""What a kind of resource is: how its manifest is checked, lowered, read, compared and turned into calls.

One vocabulary for the planner, whatever the shape of the API behind it:

* *fields in normal form*: ``{native name: value}`` where a property string is a map of its sub-keys, a ``-list``
  format is a list and everything else the plain value; ``None`` asks for the field to be unset.
* a *leaf* is the unit of ownership: ``memory``, or one sub-key of a property string, ``net0.bridge``.
* a *step* is one call of the API as data. Texts in it may hold ``${vmid:VirtualMachine/web}`` (the identifier of a
  guest that does not exist yet) and ``${secret://...}``; both are replaced last, before the wire.

``api.kinds`` makes the kinds from the schema and ``kinds.toml``; guests are lowered by hand in ``api.guests``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

from pvehelm.api.schema import Facts, Schema
from pvehelm.errors import Problem

Fields = Mapping[str, Any]
Key = Mapping[str, Any]
# Reads ``GET path`` with parameters; one plan asks the server once for the same thing, however often it is called.
# None stands for "not there" where the server says so by an error.
Get = Callable[..., Awaitable[Any]]


class Effect(IntEnum):
    """What a change means for what runs; the worst of several counts."""

    live = 0
    reboot = 1
    recreate = 2
    data_loss = 3

    def __str__(self) -> str:
        return self.name.replace("_", " ")


class Manifest(Protocol):
    """What a kind reads of a resource (``chart.manifest.Resource`` is one)."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def namespace(self) -> str | None: ...
    @property
    def spec(self) -> Mapping[str, Any]: ...
    @property
    def ref(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a spec, for validation, ``explain`` and the docs."""

    name: str
    facts: Facts
    required: bool = False
    create_only: bool = False
    write_only: bool = False
    effect: Effect = Effect.live
    friendly: bool = False
    subkeys: Mapping[str, Facts] = field(default_factory=dict)
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One call as data: concrete path, parameters, and the leaves that are on the server once it succeeded."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    writes: tuple[str, ...] = ()
    note: str = ""
    # What brings the object into being (its success is what ownership begins with) or ends it.
    creates: bool = False
    deletes: bool = False
    # Where one answer of the call belongs, e.g. the secret of a new token: a ``secret://release/...`` reference by the
    # answer's name; by "" for the whole answer, by "=TEXT" for TEXT itself.
    keep: Mapping[str, str] = field(default_factory=dict)
    # Parameters that nothing but the wire may see.
    hidden: tuple[str, ...] = ()
    # Leaves that are no longer as they were written once it succeeded.
    undoes: tuple[str, ...] = ()
    # What tells afterwards that it was done, where no leaf of ours does: {"state": "running"} of a guest, {"node":
    # "pve2"}, {"task": "qmreset", "before": the newest UPID until then}, {"fields": {leaf: value}}, or, of what changes
    # a row of a list, {"list": leaf, "before": what ``rows.fingerprint`` gives, "after": ... afterwards}.
    # Of what takes a guest's data {"was": ``mark.traits``}: what tells the guest from a later one of its number.
    seen: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        params = {name: "<secret>" if name in self.hidden else value for name, value in self.params.items()}
        row: dict[str, Any] = {"method": self.method, "path": self.path, "params": params}
        row |= {k: v for k, v in (("writes", list(self.writes)), ("note", self.note), ("keep", dict(self.keep))) if v}
        row |= {"undoes": list(self.undoes)} if self.undoes else {}
        row |= {"seen": dict(self.seen)} if self.seen else {}
        row |= {k: True for k, v in (("creates", self.creates), ("deletes", self.deletes)) if v}
        return row

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Step:
        return cls(**{**row, "writes": tuple(row.get("writes", ())), "undoes": tuple(row.get("undoes", ()))})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A resource lowered: what the plan compares with live."""

    ref: str
    kind: str
    name: str
    namespace: str | None
    key: Key
    fields: Fields
    # Inputs of the creation alone: clone source, OS template, initial password. Never compared.
    once: Fields = field(default_factory=dict)
    # References of other resources ("Kind/name") that must be there first.
    needs: tuple[str, ...] = ()
    # Why this needs --allow-privileged; empty for most.
    privileged: tuple[str, ...] = ()
    # leaf or field -> path in the spec, so that problems found after lowering still point at the manifest.
    origins: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Live:
    """An object as the server has it: its identity and its configured fields in normal form (pending ones applied)."""

    key: Key
    fields: Fields
    # Leaves that wait for a restart, with the value that still runs.
    pending: Mapping[str, Any] = field(default_factory=dict)
    # What only the kind itself needs between reading and writing (digest, raw rows, status).
    extra: Mapping[str, Any] = field(default_factory=dict)


class Kind:
    """One kind. Subclasses differ by the shape of the API they speak to; the planner sees only this."""

    name: str
    plural: str
    short: tuple[str, ...] = ()
    namespaced: bool = False
    privileged: bool = False
    evidence: str = "schema"
    schema: Schema
    # A creation leaves more to do, which is found by reading the object once more (clones, above all).
    settles: bool = False
    # The object is part of the server (a settings singleton, a list of somebody's): never created nor deleted,
    # its leaves are taken over one by one and given back at the end.
    always_there: bool = False
    # Several resources may speak about one object, each of leaves of its own (subjects of one path and role).
    several: bool = False
    # What makes the changes of all kinds of a group count at once ("PUT /cluster/sdn"), and the lock to hold meanwhile.
    commit: str = ""
    lock: str = ""
    # What `get` shows of an object: "HEAD=path" or "HEAD=path:form", a path into the row of its list, key and fields.
    columns: tuple[str, ...] = ()
    wide: tuple[str, ...] = ()
    # Something that is done at a moment of a release's life, not something that is there (``api.hookkinds``).
    hook_only: bool = False
    # The field that says, until the object is complete, which release makes it: proof of what a lost answer has made.
    signed: str = ""
    # The guest that it is about can't be removed while it is there.
    holds_guest: bool = False
    # Finds the guest, by VMID, in the object's name.
    guest_name: str = ""
    # The same thing on another node is another thing (a guest's or a file's node is only where it is).
    bound_to_node: bool = False

    def fields(self) -> Mapping[str, Field]:
        """Every field of a spec by name (``net[n]`` for numbered ones)."""
        raise NotImplementedError

    def validate(self, resource: Manifest) -> list[tuple[tuple[str | int, ...], Problem]]:
        """All problems of a manifest, each with the path in it (``("spec", "memory")``). Offline."""
        raise NotImplementedError

    def lower(self, resource: Manifest, resolve: Callable[[str], str | None]) -> Wanted:
        """The resource in normal form.

        ``resolve("VirtualMachine/web")`` gives the VMID as text, the placeholder ``${vmid:...}`` of a guest that is yet
        to be made, or None for a name that means nothing here.
        """
        raise NotImplementedError

    async def read(self, key: Key, get: Get) -> Live | None:
        """What the server has under ``key``, or None. Existence comes from list endpoints."""
        raise NotImplementedError

    def same(self, leaf: str, wanted: Any, live: Any) -> bool:
        """Whether two values of a leaf mean the same (``formats.same`` with the leaf's facts)."""
        raise NotImplementedError

    def recorded(self, leaf: str) -> bool:
        """Whether a leaf is compared with what was last written, because live can't or shall not tell."""
        return False

    def write_only(self, leaf: str) -> bool:
        """Whether the server never shows the leaf: it is compared by a keyed hash of what was last written."""
        return False

    def gives_back(self, leaf: str) -> bool:
        """Whether a leaf that is no longer desired returns to the value it was found with."""
        return not self.recorded(leaf)

    def can_unset(self, leaf: str) -> bool:
        """Whether the API has a way to unset a leaf; where it has none, what is no longer desired stays as it is."""
        return True

    def kept(self, wanted: Wanted) -> Mapping[str, str]:
        """What the server tells once, when the object is made: the answer's name -> where it belongs, as in Step."""
        return {}

    def refine(self, wanted: Wanted, fields: Fields) -> Wanted:
        """``wanted`` in the light of what is there (the live object, or the source it will be cloned from)."""
        return wanted

    def effect(self, leaf: str, before: Any, after: Any, live: Live) -> Effect:
        """What changing the leaf does to what runs."""
        raise NotImplementedError

    def refusal(self, leaf: str, before: Any, after: Any, live: Live) -> str:
        """Why the leaf can't be changed in place ('' when it can); ``create-only`` asks for a replacement."""
        raise NotImplementedError

    def parting(self, leaf: str, before: Any) -> str:
        """What becomes of the thing behind a leaf that is unset, where that is worth a word ('' for most)."""
        return ""

    def detached(self, live: Live, leaves: Sequence[str]) -> Mapping[str, str]:
        """The volumes that stay behind when these leaves are unset: slot -> volume."""
        return {}

    def reattached(self, wanted: Wanted, live: Live, detached: Mapping[str, str]) -> Wanted:
        """``wanted`` with the volumes that its new slots had before, where they are still there."""
        return wanted

    def create(self, wanted: Wanted, context: Mapping[str, Any]) -> list[Step]:
        """The steps that bring the object into being. ``context`` is what ``prepare`` found."""
        raise NotImplementedError

    async def prepare(self, wanted: Wanted, get: Get) -> tuple[Mapping[str, Any], list[Problem]]:
        """What a creation needs to know of the server (clone source, next id), and what is missing there."""
        return {}, []

    def update(self, live: Live, changes: Mapping[str, Any], wanted: Wanted | None) -> list[Step]:
        """The steps that bring ``changes`` (leaf -> new value, None to unset) upon a live object."""
        raise NotImplementedError

    def delete(self, live: Live) -> list[Step]:
        """The steps that remove the object."""
        raise NotImplementedError

    def away(self, live: Live) -> list[Step]:
        """The steps that remove the object for as long as its guest is made anew (``holds_guest``): what refers to it
        stays as it is."""
        return self.delete(live)

    def mark(self, live: Live, uid: str, ref: str) -> list[Step]:
        """The steps that put the release's mark on an object (take it away when ``uid`` is ''); none for most kinds."""
        return []

    def marked(self, live: Live, uid: str, ref: str) -> Live:
        """``live`` as it is once ``mark`` has put the mark on it."""
        return live

    def losses(self, live: Live) -> list[str]:
        """The data that dies with the object, for the confirmation (``scsi0 local-lvm:vm-100-disk-0 50G``)."""
        return []


# What is no map, known without asking: a plan asks it of every field it has.
_PLAIN = frozenset({str, int, bool, float, list, type(None)})


def leaves(fields: Fields) -> dict[str, Any]:
    """``{"net0": {"bridge": "vmbr0"}, "memory": 1}`` -> ``{"net0.bridge": "vmbr0", "memory": 1}``."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if type(value) in _PLAIN or not isinstance(value, Mapping):
            flat[name] = value
        elif value:
            for sub, inner in value.items():
                flat[f"{name}.{sub}"] = inner
        else:
            flat[name] = {}
    return flat


def get_leaf(fields: Fields, leaf: str) -> Any:
    """The value of a leaf in nested fields, None when it is not set."""
    name, dot, sub = leaf.partition(".")
    value = fields.get(name)
    if not dot:
        return value
    return value.get(sub) if isinstance(value, Mapping) else None


def placeholders(value: Any) -> Iterator[str]:
    """References of guests still without an identifier in a value: ``${vmid:REF}`` -> ``REF``."""
    if isinstance(value, str):
        start = 0
        while (start := value.find("${vmid:", start)) >= 0:
            end = value.find("}", start)
            yield value[start + 7 : end]
            start = end
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from placeholders(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from placeholders(inner)

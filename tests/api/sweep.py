"""A walk through the life of any kind: specs drawn from the schema, the real planner, the simulator in process."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pvehelm.api import formats, values
from pvehelm.api.auth import TicketAuth
from pvehelm.api.client import Client
from pvehelm.api.generic import SchemaKind
from pvehelm.api.kind import Field, Kind
from pvehelm.chart.manifest import Resource
from pvehelm.errors import PvehelmError
from pvehelm.release.context import Context
from pvehelm.release.decide import decide
from pvehelm.release.desire import Desire, Options
from pvehelm.release.pipeline import run
from pvehelm.release.plan import Allowed, Op, Plan
from pvehelm.release.store import open_store
from pvehelm.simulator.core import Simulator
from pvehelm.simulator.state import State
from pvehelm.simulator.transport import SimulatorTransport
from tests.api.kindlab import CASES, load_kinds, manifest

SAMPLE = 3
TABLE: dict[str, Any] = yaml.safe_load((CASES / "sweep.yaml").read_text(encoding="utf-8"))
SECRETS = {
    "CERT_A": "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n",
    "CERT_B": "-----BEGIN CERTIFICATE-----\nQg==\n-----END CERTIFICATE-----\n",
    "KEY_A": "-----BEGIN PRIVATE KEY-----\nQQ==\n-----END PRIVATE KEY-----\n",
    "KEY_B": "-----BEGIN PRIVATE KEY-----\nQg==\n-----END PRIVATE KEY-----\n",
}


@dataclass(frozen=True)
class Variant:
    """One way to begin: the least spec of a kind, and what has to be there first."""

    release: str
    kind: str
    row: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.row.get("name") or "thing")

    @property
    def id(self) -> str:
        return f"{self.release}-{self.kind}-{self.name}"

    @property
    def spec(self) -> dict[str, Any]:
        return dict(self.row["spec"])

    def setup(self) -> list[Resource]:
        return [manifest(row["kind"], row["name"], row["spec"]) for row in self.row.get("setup", [])]

    def resource(self, spec: Mapping[str, Any]) -> Resource:
        return manifest(self.kind, self.name, spec)


def variants(releases: tuple[str, ...] = ("9.2", "8.4")) -> Iterator[Variant]:
    """Every variant of every kind that a release has."""
    for release in releases:
        kinds = load_kinds(release)
        for kind in kinds.names():
            for row in TABLE["kinds"].get(kind, []):
                scope = str(row["spec"].get("scope", "")).partition("/")[0]
                made: Any = kinds.get(kind)
                if release in row.get("releases", [release]) and (scope != "vnet" or "vnet" in made.places):
                    yield Variant(release, kind, row)


# -- values ----------------------------------------------------------------------------------------------------


def candidates(variant: Variant, field: Field) -> list[Any]:
    """Values of a field that differ to the server; empty where none are known."""
    given = variant.row.get("values", {})
    if field.name in given:
        return list(given[field.name])
    return values_of(field.facts)


def values_of(facts: Mapping[str, Any]) -> list[Any]:
    named = facts.get("format")
    if isinstance(named, str) and named in TABLE["formats"]:
        return list(TABLE["formats"][named])
    known = formats.subkeys(facts)
    if known and not values.is_list(facts):
        return _maps(known)
    if facts.get("pattern") in TABLE["patterns"]:
        return list(TABLE["patterns"][facts["pattern"]])
    if facts.get("enum"):
        return [item for item in facts["enum"] if item != ""][:3]
    kind = facts.get("type", "string")
    if kind == "boolean":
        return [True, False]
    if kind in ("integer", "number"):
        low = int(facts.get("minimum", 1))
        high = int(facts.get("maximum", low + 1000))
        return sorted({max(low, min(high, low + 1)), max(low, min(high, low + 7))})
    if kind == "array":
        inner = facts.get("items") or {}
        found = values_of(inner) if isinstance(inner, Mapping) else []
        return [[item] for item in found[:2]]
    if isinstance(named, str) or kind != "string":
        return []
    return [text for text in ("first", "second one") if not formats.check_value(facts, text, name="x")] or [
        text for text in ("aa", "bb") if not formats.check_value(facts, text, name="x")
    ]


def _maps(known: Mapping[str, Any]) -> list[Any]:
    found: list[dict[str, Any]] = [{}, {}]
    for key, facts in known.items():
        if facts.get("alias") or facts.get("keyAlias"):
            continue
        options = values_of(facts)
        if options and not isinstance(options[0], list | dict):
            found[0][key] = options[0]
            found[1][key] = options[-1]
    return [one for one in found if one]


def updatable(variant: Variant, kind: Kind) -> list[Field]:
    """The fields of a variant that can change, in a stable order."""
    skip = variant.row.get("skip", {})
    only = variant.row.get("only")
    found = []
    for field in kind.fields().values():
        name = field.name
        bad = name == "scope" or name in skip or field.create_only or not _changes(variant, kind, name)
        if not bad and (only is None or name in only) and _fits(variant, kind, name):
            found.append(field)
    return sorted(found, key=lambda field: field.name)


def _changes(variant: Variant, kind: Kind, name: str) -> bool:
    """Whether an object of the variant's place and type has the field and can be given another value."""
    if not isinstance(kind, SchemaKind):
        return True
    place = kind.place_of(variant.resource(variant.spec)) if kind.scoped else ""
    fixed = kind.fixed_options(str(variant.spec.get("type", "")))
    return (
        name not in fixed and lasts(kind, name) and kind.accepts(name, place) and not kind.is_create_only(name, place)
    )


def lasts(kind: Kind, name: str) -> bool:
    """Whether a field is more than a word for the call that creates."""
    return not isinstance(kind, SchemaKind) or not kind.rule(name).once


def key_of(name: str) -> str:
    """A field as a spec has it: of a numbered family, one member."""
    return name.replace("[n]", "1")


def _fits(variant: Variant, kind: Kind, name: str) -> bool:
    """Whether the variant's type has the field, and whether what it requires is there."""
    spec = variant.spec
    options = candidates(variant, kind.fields()[name])
    if not options:
        return False
    needs = kind.fields()[name].facts.get("requires")
    if needs and needs not in spec:
        return False
    return not kind.validate(variant.resource({**spec, key_of(name): options[0]}))


def sampled(variant: Variant) -> list[str]:
    """A few fields of a variant, always the same ones, spread over kinds and releases."""
    names = [field.name for field in updatable(variant, load_kinds(variant.release).get(variant.kind))]
    return sorted(names, key=lambda name: zlib.crc32(f"{variant.id} {name}".encode()))[:SAMPLE]


# -- the walk --------------------------------------------------------------------------------------------------


class Walk:
    """One object on its way through specs, with a release of its own."""

    def __init__(self, variant: Variant, folder: Path) -> None:
        self.variant = variant
        self.kind = load_kinds(variant.release).get(variant.kind)
        self.state = State(":memory:", base="default")
        self.simulator = Simulator(self.state, release=variant.release)
        self.context = Context(
            name="sweep",
            namespace="default",
            open_store=lambda: open_store(f"sqlite:///{folder}/r.db", environ={"PVEHELM_DATA": str(folder)}),
            dial=self._dial,
            identify=lambda: "sweep",
            confirm=lambda plan: True,
            resolvers=lambda: {"env": lambda name: SECRETS.get(name, f"{name}-{name}")},
        )
        ref = variant.resource(variant.spec).ref
        everything = frozenset({"all"})
        self.options = Options(
            allowed=Allowed(
                take_ownership=everything if self.kind.always_there else frozenset(),
                destroy=frozenset({ref}),
                privileged=everything,
            ),
            reuse_empty=True,
        )
        self.key = self.context.key("sweep")
        self.setup = variant.setup()

    async def _dial(self) -> Client:
        transport = SimulatorTransport(self.simulator)
        return Client("https://simulator:8006", TicketAuth("root@pam", "proxmox"), transport=transport)

    async def close(self) -> None:
        await self.context.aclose()
        self.state.close()

    async def plan(self, spec: Mapping[str, Any] | None) -> Plan:
        decision = await decide(
            self.context,
            self.key,
            self._desire(spec),
            self.options,
            uid=self.context.store.ensure(self.key),
        )
        return decision.plan

    def _desire(self, spec: Mapping[str, Any] | None) -> Desire:
        own = () if spec is None else (self.variant.resource(spec),)
        return Desire("apply", (*self.setup, *own), {})

    async def reach(self, spec: Mapping[str, Any] | None) -> Plan:
        """Apply, and find the second plan empty."""
        try:
            result = await run(self.context, self.key, self._desire(spec), self.options)
        except PvehelmError as error:
            raise AssertionError(f"{spec}: {error}: {[(p.where, p.what) for p in error.problems]}") from error
        again = await self.plan(spec)
        assert (again.problems, again.refusals) == ((), ()), spec
        left = [
            (c.ref, str(c.op), c.reason, [(f.leaf, f.before, f.after) for f in c.fields])
            for c in again.changes
            if c.acts
        ]
        assert left == [], (spec, left)
        return result.plan

    async def whole(self, fields: list[Field]) -> None:
        """Create; each field set, changed and unset, two at a time; what is fixed replaced; delete."""
        spec = self.variant.spec
        await self.reach(spec)
        options = {key_of(field.name): candidates(self.variant, field) for field in fields}
        names = list(options)
        # One field comes, the one before it changes, the one before that goes.
        for index in range(len(names) + 2):
            now = dict(spec)
            if index < len(names):
                now[names[index]] = options[names[index]][0]
            if 0 < index <= len(names):
                now[names[index - 1]] = options[names[index - 1]][-1]
            await self.reach(now)
        await self.reach(spec)
        await self.replaced(spec)
        ended = await self.reach(None)
        ops = {change.ref: change.op for change in ended.changes}
        assert ops[self.variant.resource(spec).ref] in (Op.delete, Op.forget)

    async def replaced(self, spec: Mapping[str, Any]) -> None:
        """Changing what a creation fixes makes the object anew."""
        if self.kind.always_there:
            return
        changes = dict(self.variant.row.get("replace", {}))
        for name, field in self.kind.fields().items():
            identity = isinstance(self.kind, SchemaKind) and self.kind.rule(name).identity
            if changes or not field.create_only or name not in spec or identity or field.facts.get("once"):
                continue
            others = [option for option in candidates(self.variant, field) if option != spec[name]]
            if others and not self.kind.validate(self.variant.resource({**spec, name: others[0]})):
                changes = {name: others[0]}
        if changes:
            plan = await self.reach({**spec, **changes})
            ops = {change.ref: change.op for change in plan.changes}
            assert ops[self.variant.resource(spec).ref] is Op.recreate

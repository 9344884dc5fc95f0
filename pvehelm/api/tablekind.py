"""A kind made from the schema and one table of ``kinds.toml``: where it is in the API, and which fields it has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

from pvehelm.api import formats
from pvehelm.api.kind import Effect, Field, Kind
from pvehelm.api.schema import Facts, Schema
from pvehelm.api.shapes import CALL_PARAMS, Shape, at_place, shape_at
from pvehelm.api.table import FieldRule, Table, in_release

_RULE = FieldRule()


class TableKind(Kind):
    """Where a kind of a table is in the API, and its fields."""

    def __init__(self, table: Table, schema: Schema) -> None:
        self.table = table
        self.schema = schema
        self.name = table.name
        self.plural = table.plural or f"{table.name}s"
        self.short = table.short
        self.privileged = table.privileged is True
        self.evidence = table.evidence
        self.commit = table.commit
        self.holds_guest = table.away is not None
        self.signed = table.signed
        self.guest_name = table.guest_name
        self.lock = table.lock
        rule = table.fields.get("node")
        self.bound_to_node = bool(rule and rule.identity and table.strategy != "verb")
        self.node_name = (rule.wire if rule else "") or "node"
        self._shapes: dict[str, Shape] = {}

    # -- where it is in the API --------------------------------------------------------------------------------

    @cached_property
    def scoped(self) -> bool:
        return bool(self.table.scopes)

    @cached_property
    def places(self) -> tuple[str, ...]:
        """The places where this release has the kind; ``""`` for a kind without scope."""
        if not self.scoped:
            return ("",)
        return tuple(place for place in self.table.scopes if self.shape(place).index is not None)

    def template(self, place: str, path: str) -> str:
        """A path of the table at a place: ``{scope}`` replaced."""
        return at_place(path, place)

    def shape(self, place: str = "") -> Shape:
        """The kind at a place (``cluster``, ``vm``...), see Shape. A bare VMID's ``guest`` is a VM's here."""
        place = "vm" if place == "guest" else place
        if place not in self._shapes:
            self._shapes[place] = shape_at(place, self.table, self.schema, self.id_names)
        return self._shapes[place]

    @cached_property
    def id_names(self) -> tuple[str, ...]:
        """The path variables that ``metadata.name`` fills."""
        table = self.table
        if table.name_pattern:
            return tuple(table.name_pattern.groupindex)
        variables = re.findall(r"\{([^}]+)\}", table.path.removeprefix("{scope}"))
        name = table.id or (variables[-1] if variables else "")
        identified = any(rule.identity for rule in table.fields.values()) and not table.id
        return () if identified or table.strategy == "list" or not name else (name,)

    @cached_property
    def id_facts(self) -> Mapping[str, list[Facts]]:
        """The facts of what ``metadata.name`` fills, for every operation: what one accepts another may not address."""
        shape = self.shape(self.places[0] if self.places else "")
        operations = [found for found in (shape.create, shape.update, shape.delete) if found]
        params = {name: [operation.param(name) for operation in operations] for name in self.id_names}
        return {name: [param.facts for param in found if param] for name, found in params.items()}

    # -- fields ------------------------------------------------------------------------------------------------

    def rule(self, name: str) -> FieldRule:
        """The table's corrections of a field, by its name in a spec or on the wire."""
        found = self.table.fields.get(name) or self.table.fields.get(self._friendly.get(name, ""))
        return found or _RULE

    @cached_property
    def _friendly(self) -> Mapping[str, str]:
        """wire name -> name in a spec, where they differ."""
        return {rule.wire: name for name, rule in self.table.fields.items() if rule.wire}

    def wire_name(self, name: str) -> str:
        return self.rule(name).wire or name

    def facts(self, name: str, place: str = "") -> Facts:
        """The facts of a field (spec or wire name), corrected by the table."""
        rule = self.rule(name)
        wire = rule.wire or name
        facts = self.shape(place).facts(wire)
        if rule.facts or rule.words:
            facts = {**facts, **rule.facts, **({"words": rule.words} if rule.words else {})}
            facts = {key: value for key, value in facts.items() if value != ""}
        return facts

    def spec_names(self, place: str = "") -> list[str]:
        """The names a spec may use at a place (families as ``x[n]``)."""
        table, release = self.table, self.schema.release
        names = dict.fromkeys(self.shape(place).params)
        names |= dict.fromkeys(name for name, rule in table.fields.items() if rule.facts or rule.wire)
        if table.children:
            names[table.children.field] = None
        return [
            name
            for name in names
            if name not in table.drop
            and name not in self._friendly
            and in_release(release, self.rule(name).since, self.rule(name).until)
        ]

    def accepts(self, name: str, place: str = "") -> bool:
        """Whether a spec may hold ``name``: a field, one of a numbered family, or the wire's own name of a field."""
        if self.scoped and name == "scope":
            return True
        if name in self._friendly:
            return name not in self.table.drop
        known = self.spec_names(place)
        param = self.shape(place).param(name)
        return name in known or (param is not None and param.name in known)

    def required(self, place: str = "") -> set[str]:
        """Spec names that a creation cannot do without, whatever its type."""
        shape = self.shape(place)
        found = {
            self._friendly.get(name, name)
            for name, param in shape.params.items()
            if shape.create and name in shape.create.params and shape.create.params[name].required
        }
        if shape.create and shape.create.selector:
            found.add(shape.create.selector.name)
        found -= set(self.id_names)
        found -= {self._friendly.get(name, name) for name in self.table.constants}
        found -= {name for name, rule in self.table.fields.items() if rule.default}
        found |= {name for name, rule in self.table.fields.items() if rule.required} | set(self.table.required)
        return found & {*self.spec_names(place), *self.table.fields}

    def is_create_only(self, name: str, place: str = "") -> bool:
        rule = self.rule(name)
        wire = rule.wire or name
        if rule.setter or rule.membership or rule.once:
            return False
        return rule.create_only or rule.identity or wire in self.shape(place).create_only

    def fields(self) -> Mapping[str, Field]:
        """See Kind.fields; of a kind with a scope, the fields of all its places."""
        found: dict[str, Field] = {}
        if self.scoped:
            where: Facts = {"type": "string", "places": list(self.places)}
            found["scope"] = Field("scope", where, required=True, create_only=True, effect=Effect.recreate)
        for place in self.places:
            required = self.required(place)
            for name in self.spec_names(place):
                if name in found:
                    continue
                rule, facts = self.rule(name), dict(self.facts(name, place))
                if self.table.children and name == self.table.children.field:
                    facts = {"type": "array", "items": {"properties": dict(self.row_facts(place))}}
                fixed = self.is_create_only(name, place)
                found[name] = Field(
                    name=name,
                    facts=facts,
                    required=name in required,
                    create_only=fixed,
                    write_only=rule.write_only,
                    effect=Effect.recreate if fixed else Effect.live,
                    friendly=bool(rule.wire) or name not in self.shape(place).params,
                    subkeys=dict(formats.subkeys(facts) or {}) if "format" in facts else {},
                    references=(*(("VirtualMachine", "Container") if rule.guest else ()), *rule.references),
                )
        return found

    def row_facts(self, place: str) -> Mapping[str, Facts]:
        """The fields of one row of the children."""
        below = self.table.children
        if below is None:
            return {}
        made = self.schema.find("POST", self.template("vm" if place == "guest" else place, below.path))
        if made is None:
            return {}
        skip = {*CALL_PARAMS, *made.path_names}
        return {name: param.facts for name, param in made.params.items() if name not in skip}

"""A kind made from the schema and one table of ``kinds.toml``: fields, lowering and comparison.

How the object is read and written is the strategy's matter (``api.strategies``); here is what all of them share.
Beyond the contract of ``api.kind``:

* ``Wanted.key`` and ``Live.key`` of a thing at several places hold ``scope`` (as in the manifest), of a guest's also
  ``vmid`` (a number, or ``${vmid:REF}``) and, once read, ``node``; paths hold ``${node:REF}`` until it is known.
* ``Wanted.needs`` may hold ``guest:REF``: every HAResource about that guest (which names REF, perhaps a bare VMID, in
  its own needs) has to be there first.
* ``Live.extra["vacant"]`` of what is always there: False where somebody else's rules are in the list already.
* What the server never shows (write-only and recorded fields) is not in ``Live.fields``; ``same`` calls it equal then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pvehelm.api import formats, scopes, values
from pvehelm.api.kind import Effect, Field, Get, Kind, Live, Manifest, Wanted
from pvehelm.api.schema import Facts, Schema
from pvehelm.api.scopes import Scope
from pvehelm.api.shapes import CALL_PARAMS, Shape, at_place, shape_at
from pvehelm.api.table import FieldRule, Table, in_release
from pvehelm.errors import ApiError, InvalidError, Problem

if TYPE_CHECKING:
    from pvehelm.api.checks import Checks

Resolve = Callable[[str], str | None]
_RULE = FieldRule()
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_ABSENT = re.compile(r"does not exist|no such|not found|is not defined|hostname lookup .* failed", re.IGNORECASE)


class SchemaKind(Kind):
    """A kind made from a table. Subclasses are the strategies."""

    def __init__(self, table: Table, schema: Schema) -> None:
        self.table = table
        self.schema = schema
        self.name = table.name
        self.plural = table.plural or f"{table.name}s"
        self.short = table.short
        self.privileged = table.privileged
        self.evidence = table.evidence
        self.commit = table.commit
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

    # -- checking and lowering ---------------------------------------------------------------------------------

    def validate(self, resource: Manifest) -> list[tuple[tuple[str | int, ...], Problem]]:
        """See Kind.validate."""
        from pvehelm.api.checks import Checks

        return Checks(self, resource).run()

    def check_more(self, checks: Checks) -> None:
        """What a strategy knows beyond the schema; reports to ``checks``."""

    def table_name(self, wire: str) -> str:
        """The name a spec has for a parameter."""
        return self._friendly.get(wire, wire)

    def scope_of(self, resource: Manifest) -> Scope:
        return scopes.parse(resource.spec.get("scope", "cluster")) or Scope("cluster")

    def place_of(self, resource: Manifest) -> str:
        return self.scope_of(resource).type if self.scoped else ""

    def lower(self, resource: Manifest, resolve: Resolve) -> Wanted:
        """See Kind.lower. Raises InvalidError for guests that are not in the release, all of them at once."""
        missing: list[str] = []

        def known(ref: str) -> str:
            number = resolve(ref)
            if number is None:
                missing.append(ref)
            return number or f"${{vmid:{ref}}}"

        wanted = self._lower(resource, known)
        if missing:
            hint = "name a guest of this release, or a VMID"
            problems = [
                Problem(f"{resource.ref}: {_mention(resource.spec, ref)}", f"there is no {ref} in this release", hint)
                for ref in dict.fromkeys(missing)
            ]
            raise InvalidError(f"{resource.ref}: {problems[0].what}", problems)
        return wanted

    def _lower(self, resource: Manifest, resolve: Callable[[str], str]) -> Wanted:
        place = self.place_of(resource)
        needs: list[str] = []
        key = self._key(resource, resolve, needs)
        fields: dict[str, Any] = {}
        once: dict[str, Any] = {}
        origins: dict[str, tuple[str | int, ...]] = {}
        below = self.table.children
        for name, raw in resource.spec.items():
            rule = self.rule(name)
            if rule.identity or (self.scoped and name == "scope"):
                continue
            wire = rule.wire or name
            origins[wire] = ("spec", name)
            if below and name == below.field:
                fields[wire] = self.lower_rows(raw, place, needs)
                continue
            value = self._lower_value(name, raw, place, resolve, needs)
            (once if rule.once else fields)[wire] = value
        needs += self._parents(resource.name, key)
        return Wanted(
            ref=resource.ref,
            kind=self.name,
            name=resource.name,
            namespace=resource.namespace,
            key=key,
            fields=fields,
            once=once,
            needs=tuple(dict.fromkeys(need for need in needs if need != resource.ref)),
            privileged=(
                *((self.name,) if self.privileged else ()),
                *(name for name in fields if self.rule(name).privileged and fields[name] is not None),
            ),
            origins=origins,
        )

    def lower_rows(self, raw: Any, place: str, needs: list[str]) -> Any:
        """The rows of the children in normal form; refs of what they name are added to ``needs``."""
        from pvehelm.api import rows

        below = self.table.children
        assert below is not None
        facts = self.row_facts(place)
        lowered = [rows.normal_row(facts, row, below.shape) for row in raw or []]
        if below.shape == "keyed":
            lowered.sort(key=lambda row: str(row.get(below.id)))
        for row in lowered:
            needs += rows.references(row)
        return lowered

    def _lower_value(self, name: str, raw: Any, place: str, resolve: Callable[[str], str], needs: list[str]) -> Any:
        rule, facts = self.rule(name), self.facts(name, place)
        if raw is None:
            return None
        value: Any
        if rule.guest:
            listed = raw if isinstance(raw, list | tuple) else values.normal({"format": "string-list"}, str(raw))
            value = [self._guest(str(item), rule.guest, resolve, needs) for item in listed]
            if rule.guest == "sid":
                needs += [f"guest:{str(item).rpartition(':')[2]}" for item in listed]
        else:
            value = values.normal(facts, raw)
        if rule.first_line and isinstance(value, str):
            value = value.partition("\n")[0].rstrip()
        for kind in rule.references:
            listed = value if isinstance(value, list) else [value]
            needs += [f"{kind}/{item}" for item in listed if isinstance(item, str) and not values.is_open(item)]
        return value

    @staticmethod
    def _guest(text: str, form: str, resolve: Callable[[str], str], needs: list[str]) -> str:
        """A guest as the wire names it: ``100``, ``vm:100``, or with a placeholder for the number."""
        found = scopes.parse(text)
        if found is None or not found.is_guest:
            return text
        if found.type == "guest":
            needs.append(text)
            return text
        needs.append(text)
        number = resolve(text)
        return f"{found.type}:{number}" if form == "sid" else number

    def _key(self, resource: Manifest, resolve: Callable[[str], str], needs: list[str]) -> dict[str, Any]:
        key: dict[str, Any] = {}
        spec = resource.spec
        if self.scoped:
            scope = self.scope_of(resource)
            key["scope"] = str(spec.get("scope", "cluster"))
            if scope.type in ("vm", "ct"):
                needs.append(scope.ref)
                key["vmid"] = resolve(scope.ref)
            elif scope.type == "guest":
                key["vmid"] = scope.ref
            elif scope.type == "vnet":
                needs.append(f"VNet/{scope.name}")
        for name, rule in self.table.fields.items():
            wire = rule.wire or name
            given = spec.get(name, spec.get(wire, rule.default or None))
            if not rule.identity or given is None:
                continue
            if rule.guest:
                key[wire] = self._guest(str(given), rule.guest, resolve, needs)
            else:
                key[wire] = values.normal(self.facts(name), given)
                needs += [f"{kind}/{given}" for kind in rule.references]
        pattern = self.table.name_pattern
        if pattern:
            found = pattern.fullmatch(resource.name)
            if found is None:
                raise InvalidError(f"{resource.ref}: the name has the form {self.table.name_template}")
            key |= found.groupdict()
        elif self.id_names:
            key.setdefault(self.id_names[0], resource.name)
        return key

    def _parents(self, name: str, key: Mapping[str, Any]) -> Iterable[str]:
        if self.table.nested and self.table.nested in name:
            yield f"{self.name}/{name.rpartition(self.table.nested)[0]}"
        if self.table.parent:
            yield self.table.parent.format(**key)

    # -- comparing ---------------------------------------------------------------------------------------------

    def same(self, leaf: str, wanted: Any, live: Any) -> bool:
        """See Kind.same."""
        from pvehelm.api import rows

        name, dot, sub = leaf.partition(".")
        below = self.table.children
        if below and name == below.field:
            return rows.same_rows(below.shape, wanted, live)
        rule = self.rule(name)
        if (rule.write_only or rule.recorded) and live is None:
            return True
        if rule.guest:
            return _guests(wanted) == _guests(live)
        facts = next((found for place in self.places if (found := self.facts(name, place))), {})
        absent = rule.absent
        if dot:
            facts, absent = (formats.subkeys(facts) or {}).get(sub, {}), None
        if rule.alike:
            wanted = rule.alike.get(str(wanted), wanted)
            live = rule.alike.get(str(live), live)
        if rule.garbled and isinstance(wanted, str) and isinstance(live, str):
            wanted, live = (_NOT_ASCII.sub("?", text) for text in (wanted, live))
        if sub in rule.sets and isinstance(wanted, str) and isinstance(live, str):
            wanted, live = (sorted(formats.split_list(text)) for text in (wanted, live))
            return bool(wanted == live)
        return values.same(facts, wanted, live, absent=absent)

    def recorded(self, leaf: str) -> bool:
        """See Kind.recorded."""
        return self.rule(leaf.partition(".")[0]).recorded

    def write_only(self, leaf: str) -> bool:
        """See Kind.write_only."""
        return self.rule(leaf.partition(".")[0]).write_only

    def gives_back(self, leaf: str) -> bool:
        """See Kind.gives_back: what was never seen can't be restored."""
        return not (self.recorded(leaf) or self.write_only(leaf))

    def can_unset(self, leaf: str) -> bool:
        """See Kind.can_unset: by a name to delete, by leaving it out, or by an empty text or the default."""
        name, dot, _ = leaf.partition(".")
        below = self.table.children
        rule, shape = self.rule(name), self.shape(self.places[0] if self.places else "")
        if dot or shape.update is None or rule.membership or rule.setter or (below and name == below.field):
            return True
        param = shape.update.param("delete")
        if (param and param.type != "boolean") or self.table.replaces or self.table.delete or self.table.unset:
            return True
        facts = next((found for place in self.places if (found := self.facts(name, place))), {})
        text = facts.get("type", "string") in ("string", "array") and not facts.get("enum")
        return rule.absent is not None or (
            text and (values.is_list(facts) or not formats.check_value(facts, "", name=name))
        )

    def effect(self, leaf: str, before: Any, after: Any, live: Live) -> Effect:
        """See Kind.effect: at once, unless the field is fixed by the creation."""
        return Effect.recreate if self.refusal(leaf, before, after, live) else Effect.live

    def refusal(self, leaf: str, before: Any, after: Any, live: Live) -> str:
        """See Kind.refusal."""
        name = leaf.partition(".")[0]
        below = self.table.children
        if below and name == below.field:
            return ""
        place = scope.type if (scope := scopes.parse(live.key.get("scope", ""))) else ""
        if self.is_create_only(name, place if self.scoped else ""):
            return "create-only"
        if after is None and not self.can_unset(leaf):
            return f"{name} can't be unset; give it another value, or leave it out to let it be"
        return "create-only" if name in self.fixed_options(str(live.fields.get(self.table.type_field, ""))) else ""

    def fixed_options(self, type_: str) -> frozenset[str]:
        """The options that a type (of a storage, ...) fixes when it is created."""
        from pvehelm.api.typeoptions import options_of

        found = options_of(self.table.type_options, type_) if self.table.type_options else None
        return frozenset(found.get("fixed", ())) if found else frozenset()

    # -- reading -----------------------------------------------------------------------------------------------

    def live_fields(self, row: Mapping[str, Any], place: str = "") -> dict[str, Any]:
        """The settable fields of a row of the server, in normal form."""
        found: dict[str, Any] = {}
        for name, rule in self.table.fields.items():
            if rule.column and not rule.identity and rule.column in row:
                row = {**row, rule.wire or name: row[rule.column]}
        for name, raw in row.items():
            rule = self.rule(name)
            if rule.strip:
                raw = _stripped(raw, rule.strip)
            if raw is None or rule.write_only or rule.recorded or rule.identity or rule.once or name in self.id_names:
                continue
            if self.shape(place).param(name) is None:
                continue
            if rule.guest:
                found[name] = values.normal({"format": "string-list"}, raw)
                continue
            try:
                found[name] = values.normal(self.facts(name, place), raw)
            except InvalidError:
                found[name] = raw
            if found[name] == []:
                del found[name]
        return found


async def ask(get: Get, path: str, params: Mapping[str, Any] | None = None) -> Any:
    """``get``, with None where the server says that the thing (or what it belongs to) is not there."""
    try:
        return await get(path, **(params or {}))
    except ApiError as error:
        text = f"{error.reason} {' '.join(error.errors.values())}"
        if error.status in (400, 404, 500) and _ABSENT.search(text):
            return None
        raise


def _stripped(raw: Any, prefix: str) -> Any:
    if isinstance(raw, list):
        return [_stripped(item, prefix) for item in raw]
    return raw.removeprefix(prefix) if isinstance(raw, str) else raw


def _mention(spec: Mapping[str, Any], ref: str) -> str:
    """The field of a spec that names a guest."""
    return next((f"spec.{name}" for name, value in spec.items() if ref in str(value)), "spec")


def _guests(value: Any) -> set[str]:
    """Guests without their type: ``vm:100`` and ``100`` are the same one."""
    listed = value if isinstance(value, list | tuple) else values.normal({"format": "string-list"}, str(value or ""))
    return {str(item).partition(":")[2] or str(item) for item in listed}

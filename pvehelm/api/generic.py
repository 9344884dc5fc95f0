"""A kind made from the schema and one table of ``kinds.toml``: checking, lowering and comparison.

Where it is and which fields it has is in ``api.tablekind``; how the object is read and written is the strategy's matter
(``api.item`` and its variations). Here is what all of them share.
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
from typing import TYPE_CHECKING, Any

from pvehelm.api import formats, scopes, values
from pvehelm.api.kind import Effect, Get, Live, Manifest, Wanted, leaves
from pvehelm.api.scopes import Scope
from pvehelm.api.tablekind import TableKind
from pvehelm.errors import ApiError, InvalidError, Problem

if TYPE_CHECKING:
    from pvehelm.api.checks import Checks

Resolve = Callable[[str], str | None]
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_ABSENT = re.compile(r"does not exist|no such|not found|is not defined|hostname lookup .* failed", re.IGNORECASE)


class SchemaKind(TableKind):
    """A kind made from a table. Subclasses are the strategies."""

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
        needs: list[str] = [f"kind:{kind}" for kind in self.table.follows]
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
            privileged=self._privileges(resource, {**leaves(fields), **once}),
            origins=origins,
        )

    def _privileges(self, resource: Manifest, given: Mapping[str, Any]) -> tuple[str, ...]:
        """The kind's own name where it, its place or its name asks for the user's word; the names of fields that do."""
        if self.privileged:
            return (self.name,)
        if not self.table.privileges:
            return ()
        about = {"name": resource.name, **({"scope": resource.spec.get("scope", "cluster")} if self.scoped else {})}
        used = [*self.table.privileges.used({**given, **about})]
        guests = {name: rule for name, rule in self.table.fields.items() if rule.guest}
        for name, rule in guests.items():
            # As the manifest has them: lowered, a guest of the release is a number as well.
            for guest in _listed(resource.spec.get(name, resource.spec.get(rule.wire or name))):
                used += self.table.privileges.used({name: guest})
        # `all` is the user's word for whatever is privileged.
        whole = {*about, *guests, "all"}
        return tuple(dict.fromkeys(self.name if name in whole else name for name in used))

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
            listed = _listed(raw)
            value = [self._guest(item, rule.guest, resolve, needs) for item in listed]
            if rule.guest == "sid":
                needs += [f"guest:{item.rpartition(':')[2]}" for item in listed]
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
            typed = re.fullmatch(r"(?:vm|ct):(\d+)", text)
            needs += [f"vmid:{typed[1]}"] if typed else []
            return text
        if found.type == "guest":
            needs.append(f"vmid:{found.name}")
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
                needs.append(f"vmid:{scope.name}")
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
        named = re.fullmatch(self.guest_name, resource.name) if self.guest_name else None
        needs += [f"vmid:{named[1]}"] if named else []
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
        return "create-only" if name in self.fixed_options(str(live.fields.get("type", ""))) else ""

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


def _listed(raw: Any) -> list[str]:
    """The items of a list, or of a text of any form that a server takes for one."""
    if raw is None:
        return []
    text = ",".join(map(str, raw)) if isinstance(raw, list | tuple) else str(raw)
    items: list[str] = values.normal({"format": "string-list"}, text)
    return items

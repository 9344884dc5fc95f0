"""Checking a manifest against a kind made from the schema: every problem at once, each with its path."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pvehelm.api import formats, rows, scopes, values
from pvehelm.api.kind import Manifest
from pvehelm.api.schema import Facts
from pvehelm.api.table import in_release
from pvehelm.api.typeoptions import known_options, options_of
from pvehelm.errors import InvalidError, Problem
from pvehelm.suggest import did_you_mean

if TYPE_CHECKING:
    from pvehelm.api.generic import SchemaKind

Path = tuple[str | int, ...]
Found = list[tuple[Path, Problem]]


def show(path: Path) -> str:
    """``("spec", "rules", 0, "action")`` -> ``spec.rules[0].action``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


class Checks:
    """One run over one manifest."""

    def __init__(self, kind: SchemaKind, resource: Manifest) -> None:
        self.kind = kind
        self.resource = resource
        self.spec: Mapping[str, Any] = resource.spec if isinstance(resource.spec, Mapping) else {}
        self.found: Found = []
        self.place = ""

    def report(self, path: Path, what: str, hint: str = "") -> None:
        self.found.append((path, Problem(f"{self.resource.ref}: {show(path)}", what, hint)))

    def run(self) -> Found:
        if not isinstance(self.resource.spec, Mapping):
            self.report(("spec",), f"has to be a map, not {type(self.resource.spec).__name__}")
            return self.found
        self._name()
        if not self._scope():
            return self.found
        allowed, needed = self._by_type()
        self._by_instance()
        for name, value in self.spec.items():
            if self.kind.scoped and name == "scope":
                continue
            path: Path = ("spec", name)
            if self._is_known(path, str(name), allowed):
                self._field(path, str(name), value)
        self._completeness(needed)
        self.kind.check_more(self)
        return self.found

    # -- parts -------------------------------------------------------------------------------------------------

    def _name(self) -> None:
        kind, name = self.kind, self.resource.name
        pattern = kind.table.name_pattern
        parts: Mapping[str, str] = dict.fromkeys(kind.id_names, name)
        if pattern:
            found = pattern.fullmatch(name)
            if found is None:
                self.report(("metadata", "name"), f"'{name}' has to have the form {kind.table.name_template}")
                return
            parts = found.groupdict()
        if kind.table.reserved and re.fullmatch(kind.table.reserved, name):
            self.report(("metadata", "name"), f"'{name}' is the server's own", "choose another name")
        for part, text in parts.items():
            if self.spec.get(part) is not None:
                continue  # the name is any, the field says it
            told = [what for facts in kind.id_facts[part] for _, what in formats.check_value(facts, text, name=part)]
            for what in dict.fromkeys(told):
                self.report(("metadata", "name"), f"'{text}': {what}")

    def _scope(self) -> bool:
        if not self.kind.scoped:
            return True
        path: Path = ("spec", "scope")
        forms = "cluster, node/NAME, VirtualMachine/NAME, Container/NAME, a VMID or vnet/NAME"
        if "scope" not in self.spec:
            self.report(("spec",), "scope is required", f"one of {forms}")
            return False
        given = self.spec["scope"]
        scope = scopes.parse(given)
        if scope is None:
            self.report(path, f"'{given}' is no scope", f"one of {forms}")
            return False
        place = "vm" if scope.type == "guest" else scope.type
        if place not in self.kind.places:
            words = ", ".join("a guest" if p == "vm" else p for p in self.kind.places if p != "ct")
            self.report(path, f"{self.kind.name} does not exist at '{given}'", f"it belongs to {words}")
            return False
        self.place = scope.type
        return True

    def _by_type(self) -> tuple[set[str] | None, set[str]]:
        """What the chosen type allows (None: everything) and needs."""
        kind = self.kind
        type_ = str(self.spec.get("type", ""))
        create = kind.shape(self.place).create
        if create is not None and create.selector:
            variant = create.variants.get(type_)
            if variant is None:
                return None, set()
            own = set(create.params) | set(variant) | {create.selector.name}
            return own, {name for name, param in variant.items() if param.required}
        facts = options_of(kind.table.type_options, type_) if kind.table.type_options else None
        if facts is None:
            return None, set()
        unwatched = set(kind.shape(self.place).params) - known_options(kind.table.type_options)
        return {*facts["options"], *unwatched, "type"}, set(facts["required"])

    def _by_instance(self) -> None:
        """Parameters that the schema itself gives to some types only."""
        kind = self.kind
        for name in self.spec:
            facts = kind.facts(str(name), self.place)
            types, field = facts.get("instance-types"), facts.get("type-property")
            given = self.spec.get(kind.table_name(str(field))) if field else None
            if types and given is not None and not values.is_open(given) and given not in types:
                self.report(("spec", str(name)), f"{name} is not for {field} {given}", f"only for {', '.join(types)}")

    def _is_known(self, path: Path, name: str, allowed: set[str] | None) -> bool:
        kind = self.kind
        rule = kind.table.fields.get(name)
        if rule and not in_release(kind.schema.release, rule.since, rule.until):
            when = f"since {rule.since}" if rule.since else f"before {rule.until}"
            self.report(path, f"Proxmox VE {kind.schema.release} does not have it", f"only {when}")
            return False
        if not kind.accepts(name, self.place):
            hint = kind.table.hints.get(name) or did_you_mean(name, kind.spec_names(self.place))
            self.report(path, f"{kind.name} has no field '{name}'", hint)
            return False
        if (
            allowed is not None
            and kind.wire_name(name) not in allowed
            and kind.shape(self.place).param(name)
            and not kind.rule(name).identity
        ):
            type_ = self.spec.get("type")
            self.report(path, f"{name} is not for type {type_}", f"type {type_} takes {', '.join(sorted(allowed))}")
            return False
        wire = kind.wire_name(name)
        if wire != name and wire in self.spec and wire not in kind.table.drop:
            self.report(path, f"{name} and {wire} are the same thing; keep one")
        return True

    def _field(self, path: Path, name: str, value: Any) -> None:
        kind = self.kind
        below = kind.table.children
        if below and name == below.field:
            self._rows(path, value)
        elif value is None:
            if name in kind.required(self.place):
                self.report(path, f"{name} is required and can't be unset")
        elif kind.rule(name).guest:
            self._guests(path, name, value)
        else:
            self.value(path, kind.facts(name, self.place), value, checked=not kind.rule(name).unchecked)

    def _completeness(self, needed: set[str]) -> None:
        kind = self.kind
        given = {kind.wire_name(str(name)) for name, value in self.spec.items() if value is not None}
        type_ = self.spec.get("type")
        for name in sorted(kind.required(self.place)):
            if kind.wire_name(name) not in given and name not in self.spec:
                self.report(("spec",), f"{name} is required")
        for name in sorted(needed - kind.required(self.place)):
            if name not in given:
                self.report(("spec",), f"{name} is required for type {type_}")
        shape = kind.shape(self.place)
        for name in sorted(given):
            needs = shape.facts(name).get("requires")
            if needs and needs not in given and shape.param(str(needs)) and str(needs) not in kind.table.drop:
                self.report(("spec", name), f"{name} needs {needs} beside it")
        self._contents(type_)
        for name in kind.table.keep.values():
            given_ = self.spec.get(name)
            if given_ is not None and not str(given_).startswith("secret://release/"):
                self.report(
                    ("spec", name), "has to be a reference into the release's own store", "secret://release/NAME"
                )
        one_of = kind.table.one_of
        switched = {name for name in given if self.spec.get(name) not in (False, 0, "0")}
        if one_of and not switched & set(one_of):
            words = " or ".join(self.spec_word(name) for name in one_of)
            self.report(("spec",), f"one of {words} is required")
        for first, second in kind.table.conflicts:
            if first in switched and second in switched:
                one, other = self.spec_word(first), self.spec_word(second)
                self.report(("spec", other), f"{one} and {other} exclude each other")

    def _contents(self, type_: Any) -> None:
        """A type of storage holds only some kinds of content."""
        facts = options_of(self.kind.table.type_options, str(type_)) if self.kind.table.type_options else None
        given = self.spec.get("content")
        if not facts or "content" not in facts or given is None or values.has_open(given):
            return
        listed = values.normal(self.kind.facts("content"), given)
        for index, item in enumerate(listed):
            if item not in facts["content"] and not formats.check_value(self.kind.facts("content"), [item], name="x"):
                path: Path = ("spec", "content", index) if isinstance(given, list) else ("spec", "content")
                self.report(path, f"{type_} can't hold '{item}'", f"it holds {', '.join(facts['content'])}")

    def spec_word(self, wire: str) -> str:
        """The name a person knows a parameter by."""
        return self.kind.table_name(wire)

    # -- values ------------------------------------------------------------------------------------------------

    def value(self, path: Path, facts: Facts, value: Any, *, checked: bool = True) -> None:
        """All problems of one value."""
        if values.is_open(value):
            return
        known = formats.subkeys(facts)
        if known is not None and isinstance(value, Mapping) and not values.is_list(facts):
            self._map(path, facts, known, value)
            return
        if isinstance(value, Mapping) and not values.is_list(facts):
            self.report(path, "a map does not fit here")
            return
        if isinstance(value, list | tuple) and not values.is_list(facts):
            self.report(path, "a list does not fit here")
            return
        if values.has_open(value):
            return
        if known is not None and not values.is_list(facts):
            lowered: Any = str(values.word(facts, value))
        else:
            lowered = values.normal(facts, value)
        if not checked:
            return
        if isinstance(value, list | tuple):
            before = len(self.found)
            for index, item in enumerate(lowered):
                self._item((*path, index), facts, item)
            if len(self.found) > before or not lowered:
                return
        for _, what in formats.check_value(facts, lowered, name=str(path[-1])):
            self.report(path, f"'{_plain(value)}': {what}", _allowed(facts, value))

    def _item(self, path: Path, facts: Facts, item: str) -> None:
        if not values.is_array(facts) and re.search(r"[\s,;]", item):
            self.report(path, f"'{item}': one item of a list can't hold blanks, commas or semicolons")
            return
        for _, what in formats.check_value(facts, [item], name="item"):
            self.report(path, f"'{item}': {what}", _allowed(facts, item))

    def _map(self, path: Path, facts: Facts, known: Mapping[str, Facts], value: Mapping[str, Any]) -> None:
        aliases = {key for key, sub in known.items() if sub.get("alias") or sub.get("keyAlias")}
        bad = False
        for key, inner in value.items():
            if key not in known:
                bad = True
                hint = did_you_mean(str(key), [name for name in known if name not in aliases])
                self.report((*path, key), f"unknown key '{key}'", hint or f"it takes {', '.join(sorted(known))}")
            elif inner is not None and not isinstance(inner, Mapping | list | tuple):
                before = len(self.found)
                self.value((*path, key), known[key], inner)
                bad = bad or len(self.found) > before
        for key, sub in known.items():
            if not sub.get("optional") and not sub.get("alias") and value.get(key) is None:
                bad = True
                self.report(path, f"{key} is required in it")
        if bad or values.has_open(value):
            return
        try:
            text = formats.print_(facts["format"], values.normal(facts, value))
        except InvalidError as error:
            for problem in error.problems or (Problem("", error.message),):
                self.report(path, problem.what, problem.hint)
            return
        for _, what in formats.check_value(facts, text, name=str(path[-1])):
            self.report(path, what)

    def _guests(self, path: Path, name: str, value: Any) -> None:
        rule, facts = self.kind.rule(name), self.kind.facts(name, self.place)
        listed = value if isinstance(value, list | tuple) else values.normal({"format": "string-list"}, str(value))
        if len(listed) > 1 and not values.is_list(facts):
            self.report(path, "one guest is meant here")
        for index, item in enumerate(listed):
            where: Path = (*path, index) if isinstance(value, list | tuple) else path
            text = str(item)
            if values.is_open(text) or scopes.is_guest_ref(text):
                continue
            if rule.guest == "sid" and re.fullmatch(r"(vm|ct):[1-9][0-9]{2,8}", text):
                continue
            self.report(where, f"'{text}' is no guest", "VirtualMachine/NAME, Container/NAME or a VMID")

    def _rows(self, path: Path, value: Any) -> None:
        below = self.kind.table.children
        assert below is not None
        if value is None:
            return
        if not isinstance(value, list | tuple):
            self.report(path, f"{below.field} is a list")
            return
        facts = self.kind.row_facts(self.place)
        for index, row in enumerate(value):
            where: Path = (*path, index)
            given = row
            if below.shape == "keyed" and isinstance(row, str):
                row = {below.id: row}
            if not isinstance(row, Mapping):
                self.report(where, "each of them is a map")
                continue
            for name, inner in row.items():
                if name not in facts:
                    self.report((*where, name), f"unknown key '{name}'", did_you_mean(str(name), facts))
                elif inner is not None and isinstance(inner, Mapping):
                    self.report((*where, name), "a map does not fit here")
                elif inner is not None:
                    at = (*where, name) if isinstance(given, Mapping) else where
                    self.value(at, facts[name], rows.prepared(facts[name], inner))
            for name, sub in facts.items():
                if not sub.get("optional") and row.get(name) is None:
                    self.report(where, f"{name} is required")
            for name, needs in below.requires.items():
                if row.get(name) is not None and row.get(needs) is None:
                    self.report((*where, name), f"{name} needs {needs} beside it")
            place = self.place or "group"
            for key, what, hint in rows.problems(row, below, "vm" if place == "guest" else place):
                self.report((*where, key) if isinstance(given, Mapping) and key in row else where, what, hint)
        if below.shape == "keyed":
            self._repeated(path, value, below.id)

    def _repeated(self, path: Path, value: Sequence[Any], key: str) -> None:
        seen: dict[str, int] = {}
        for index, row in enumerate(value):
            given = row.get(key) if isinstance(row, Mapping) else row
            if given is None:
                continue
            canonical = rows.canonical_cidr(str(given))
            if canonical in seen:
                self.report((*path, index), f"'{given}' is there twice (as number {seen[canonical] + 1} of the list)")
            seen.setdefault(canonical, index)


def _plain(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _allowed(facts: Facts, value: Any) -> str:
    """What would have been right, where the facts say it in a few words."""
    if facts.get("format") == "pve-calendar-event" and isinstance(value, int):
        return 'YAML reads 12:30 as a number: quote it, "12:30"'
    enum = [str(item) for item in facts.get("enum") or ()]
    if enum:
        close = did_you_mean(str(value), enum)
        return close or f"one of {', '.join(enum)}"
    low, high = facts.get("minimum"), facts.get("maximum")
    if low is not None and high is not None:
        return f"from {low} to {high}"
    return f"{low} or more" if low is not None else f"{high} or less" if high is not None else ""

"""The kinds of one release: made from its schema, named and corrected by ``kinds.toml``, guests written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from pvehelm.api import releases, values
from pvehelm.api.kind import Field, Kind, Manifest
from pvehelm.api.schema import Facts, Schema
from pvehelm.api.table import Table
from pvehelm.errors import NotFoundError, Problem
from pvehelm.suggest import did_you_mean, suggest

if TYPE_CHECKING:
    from pvehelm.api.generic import SchemaKind

Path = tuple[str | int, ...]


class Kinds:
    """The registry of one release."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._tables = tables()
        self._made: dict[str, Kind] = {}
        # By the word that was asked for, once it was found to be a kind of the release.
        self._found: dict[str, Kind] = {}
        self._words: dict[str, str] = {}
        self._names: tuple[str, ...] = ()
        for table in self._tables.values():
            for word in (table.name, table.plural or f"{table.name}s", *table.short):
                self._words.setdefault(word.lower(), table.name)

    @classmethod
    def load(cls, schema: Schema) -> Kinds:
        """The kinds of a schema's release; the same object for the same schema."""
        if schema not in _LOADED:
            _LOADED[schema] = cls(schema)
        return _LOADED[schema]

    def names(self) -> tuple[str, ...]:
        """Every kind that the release has, in the order of ``kinds.toml``."""
        if not self._names:
            file = self.schema.file
            found = releases.remembered_names(self.schema.release, file, self._named) if file else self._named()
            self._names = tuple(found)
        return self._names

    def _named(self) -> list[str]:
        return [name for name, table in self._tables.items() if self._has(table)]

    def __iter__(self) -> Iterator[Kind]:
        return (self._kind(name) for name in self.names())

    def __contains__(self, name: str) -> bool:
        found = self._words.get(name.lower())
        return found is not None and self._has(self._tables[found])

    def get(self, name: str) -> Kind:
        """A kind by name, plural or short name, in any case.

        Raises NotFoundError with a suggestion, or naming the releases that have the kind when this one lacks it.
        """
        again = self._found.get(name)
        if again is not None:
            return again
        found = self._words.get(name.lower())
        if found is None:
            known = suggest(name.lower(), self._words) or ""
            # Who writes in small letters is at a shell, where short names are as good.
            meant = known if name.islower() and known != self._words.get(known, "").lower() else self._words.get(known)
            hint = f"did you mean '{meant}'?" if known else "pvehelm api-resources lists the kinds"
            raise NotFoundError(f"there is no kind '{name}'", hint=hint)
        table = self._tables[found]
        if not self._has(table):
            raise NotFoundError(
                f"Proxmox VE {self.schema.release} has no kind {found}", hint=_when(table, self.schema.release)
            )
        self._found[name] = kind = self._kind(found)
        return kind

    def ref(self, text: str) -> str:
        """``vm/web`` or ``virtualmachines/web`` as ``VirtualMachine/web``. Raises NotFoundError as ``get`` does."""
        word, _, name = text.partition("/")
        return f"{self.get(word).name}/{name}"

    def validate(self, resources: Iterable[Manifest]) -> list[tuple[Manifest, Path, Problem]]:
        """All problems of all manifests at once, each with the path in its manifest; unknown kinds included."""
        found: list[tuple[Manifest, Path, Problem]] = []
        for resource in resources:
            try:
                kind = self.get(resource.kind)
                if kind.name != resource.kind:
                    raise NotFoundError(f"there is no kind '{resource.kind}'", hint=f"write kind: {kind.name}")
            except NotFoundError as error:
                problem = Problem(f"{resource.ref}: kind", error.message, error.hint)
                found.append((resource, ("kind",), problem))
                continue
            found += [(resource, path, problem) for path, problem in kind.validate(resource)]
        return found

    def _has(self, table: Table) -> bool:
        if not table.has_release(self.schema.release):
            return False
        if table.strategy in ("guest", "hook"):
            return True
        kind: Any = self._kind(table.name)
        return bool(kind.places) and kind.shape(kind.places[0]).index is not None

    def _kind(self, name: str) -> Kind:
        if name not in self._made:
            table = self._tables[name]
            self._made[name] = made = self._make(table)
            made.columns, made.wide = table.columns, table.wide
        return self._made[name]

    def _make(self, table: Table) -> Kind:
        if table.strategy == "guest":
            from pvehelm.api.container import ContainerKind
            from pvehelm.api.machine import VirtualMachineKind

            made: Kind = {"VirtualMachine": VirtualMachineKind, "Container": ContainerKind}[table.name](self.schema)
            made.short = made.short or table.short
            return made
        if table.strategy == "hook":
            from pvehelm.api.hookkinds import HookKind

            return HookKind(table, self.schema)
        return _strategy(table.strategy)(table, self.schema)


def _strategy(name: str) -> type[SchemaKind]:
    from pvehelm.api import access, downloads, item, singleton, switches

    found: dict[str, type[SchemaKind]] = {
        "item": item.Item,
        "singleton": singleton.Singleton,
        "list": singleton.RuleList,
        "entries": access.Entries,
        "verb": downloads.Download,
        "switch": switches.Switch,
    }
    return found[name]


_LOADED: dict[Schema, Kinds] = {}


@cache
def tables() -> Mapping[str, Table]:
    """``kinds.toml``, read once."""
    from pvehelm import entries

    text = releases.kinds_text()

    def read() -> Any:
        import tomllib

        return tomllib.loads(text)

    rows = entries.remembered(entries.directory("documents"), entries.name_of((b"kinds", text.encode())), read)
    return {name: Table.make(name, row) for name, row in rows.items()}


def _when(table: Table, release: str) -> str:
    if table.has_release(release):
        return f"the schema in use does not describe {table.path}; pvehelm schema import live reads a node's own"
    if table.since and table.until:
        return f"{table.name} is there from {table.since} until before {table.until}"
    if table.since:
        return f"{table.name} needs Proxmox VE {table.since} or later"
    return f"{table.name} is gone since Proxmox VE {table.until}"


# -- explaining -----------------------------------------------------------------------------------------------


def explain(kind: Kind, path: str | None = None) -> dict[str, Any]:
    """What a kind, or one field of it (``net0.bridge``), is: plain data for ``explain`` and the docs.

    ``{"kind", "plural", "short", "evidence", "privileged", "fields": [ROW, ...]}`` (and ``since until applied_by
    privileged_fields root_only`` where there is something to say), or with a path
    ``{"kind", "path", ...ROW, "fields": [ROW of the keys below]}``. A ROW has ``name type required create_only effect``
    and, where there is something to say, ``format enum minimum maximum minLength maxLength pattern index references
    write_only friendly``. Raises NotFoundError for an unknown field, with a suggestion.
    """
    fields = kind.fields()
    if not path:
        return {
            "kind": kind.name,
            "plural": kind.plural,
            "short": list(kind.short),
            "evidence": kind.evidence,
            "privileged": kind.privileged,
            "namespaced": kind.namespaced,
            **({"hook_only": True} if kind.hook_only else {}),
            **_table_facts(kind.name),
            "fields": [_row(field) for field in sorted(fields.values(), key=lambda field: field.name)],
        }
    parts = [part for part in path.removeprefix("spec.").split(".") if part]
    name = _field_name(parts[0], fields)
    if name is None:
        hint = did_you_mean(parts[0], fields)
        raise NotFoundError(f"{kind.name} has no field '{parts[0]}'", hint=hint)
    field = fields[name]
    below = dict(field.subkeys) or _row_keys(field.facts)
    found = {"kind": kind.name, "path": ".".join(parts), **_row(field)}
    for part in parts[1:]:
        if part not in below:
            raise NotFoundError(f"{kind.name}.{parts[0]} has no key '{part}'", hint=did_you_mean(part, below))
        found = {
            "kind": kind.name,
            "path": ".".join(parts),
            **_facts_row(part, below[part]),
            "effect": str(field.effect),
        }
        below = {}
    found["evidence"] = kind.evidence
    found["fields"] = [_facts_row(key, facts) for key, facts in sorted(below.items())]
    return found


def _table_facts(name: str) -> dict[str, Any]:
    """What the table of a kind says that its fields do not: what makes it count, what only root@pam may set."""
    table = tables()[name]
    found = {
        "since": table.since,
        "until": table.until,
        "applied_by": table.commit,
        "privileged_fields": table.privileges.names,
        "root_only": [rule.partition("~")[0] for rule in table.root],
    }
    return {key: value for key, value in found.items() if value}


def _field_name(name: str, fields: Mapping[str, Field]) -> str | None:
    if name in fields:
        return name
    family = f"{name.rstrip('0123456789')}[n]"
    return family if family in fields else None


def _row_keys(facts: Facts) -> dict[str, Facts]:
    items = facts.get("items")
    properties = items.get("properties") if isinstance(items, Mapping) else None
    return dict(properties) if isinstance(properties, Mapping) else {}


def _row(field: Field) -> dict[str, Any]:
    row = _facts_row(field.name, field.facts)
    row["required"] = field.required
    row["create_only"] = field.create_only
    if field.facts.get("deprecated"):
        row["deprecated"] = field.facts["deprecated"]
    row["effect"] = str(field.effect)
    for key in ("write_only", "friendly"):
        if getattr(field, key):
            row[key] = True
    if field.references:
        row["references"] = list(field.references)
    if field.subkeys:
        row["keys"] = sorted(field.subkeys)
    return row


def _facts_row(name: str, facts: Facts) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "type": facts.get("type", "string")}
    named = facts.get("format")
    if values.is_list(facts):
        row["type"] = "list"
    if isinstance(named, str):
        row["format"] = named
    elif named:
        row["format"] = "property string"
    for key in ("enum", "minimum", "maximum", "minLength", "maxLength", "pattern", "index", "requires", "places"):
        if facts.get(key) is not None:
            row[key] = facts[key]
    row["required"] = not facts.get("optional")
    return row

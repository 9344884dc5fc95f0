"""Kinds that are done rather than there: a command in a guest, a backup, a check. They only make sense as hooks.

A table of ``kinds.toml`` gives the fields, with the parameters of the call where there is one. Nothing is read, created
or compared; ``release.hooks`` runs what ``lower`` makes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from pvehelm.api import formats, values
from pvehelm.api.kind import Field, Get, Key, Kind, Live, Manifest, Wanted
from pvehelm.api.schema import Facts, Schema
from pvehelm.api.shapes import CALL_PARAMS
from pvehelm.api.table import Table
from pvehelm.durations import seconds
from pvehelm.errors import Problem
from pvehelm.suggest import did_you_mean

Path = tuple[str | int, ...]
TIMES = ("timeout", "duration", "interval")
_GUEST = re.compile(r"(VirtualMachine|Container)/\S+\Z")


class HookKind(Kind):
    """See the module. ``Wanted.fields`` are the spec's fields, times in seconds and lists as lists."""

    hook_only = True

    def __init__(self, table: Table, schema: Schema) -> None:
        self.table = table
        self.schema = schema
        self.name = table.name
        self.plural = table.plural or f"{table.name}s"
        self.short = table.short
        self.privileged = table.privileged is True
        self.evidence = table.evidence

    @cached_property
    def native(self) -> Mapping[str, Facts]:
        """The parameters of the call that a spec may give, by their API names."""
        method, _, path = self.table.create.partition(" ")
        operation = self.schema.find(method, path) if path else None
        if operation is None:
            return {}
        skip = {*CALL_PARAMS, *operation.path_names, "node", *self.table.drop}
        return {name: param.facts for name, param in operation.params.items() if name not in skip}

    @cached_property
    def _fields(self) -> Mapping[str, Field]:
        own = {name: {**self.native.get(name, {}), **rule.facts} for name, rule in self.table.fields.items()}
        found: dict[str, Field] = {}
        for name, facts in {**self.native, **own}.items():
            rule = self.table.fields.get(name)
            found[name] = Field(
                name,
                facts,
                required=bool(rule and rule.required),
                friendly=name not in self.native,
                subkeys=dict(formats.subkeys(facts) or {}) if "format" in facts else {},
                references=rule.references if rule else (),
            )
        return found

    def fields(self) -> Mapping[str, Field]:
        """See Kind.fields."""
        return self._fields

    def validate(self, resource: Manifest) -> list[tuple[Path, Problem]]:
        """See Kind.validate."""
        found: list[tuple[Path, Problem]] = []

        def bad(path: Path, what: str, hint: str = "") -> None:
            found.append((path, Problem(f"{resource.ref}: {'.'.join(map(str, path))}", what, hint)))

        spec = resource.spec if isinstance(resource.spec, Mapping) else {}
        for name, value in spec.items():
            path: Path = ("spec", name)
            field = self._fields.get(name)
            if field is None:
                hint = self.table.hints.get(name) or did_you_mean(str(name), self._fields)
                bad(path, f"{self.name} has no field {name!r}", hint or "known are " + ", ".join(self._fields))
            elif value is not None and not values.has_open(value):
                self._check(field, value, path, bad)
        for name, field in self._fields.items():
            if field.required and spec.get(name) in (None, "", []):
                bad(("spec",), f"{name} is required")
        if self.name == "Wait":
            _check_wait(spec, bad)
        if self.name == "Backup" and spec.get("notes-template") is not None and not spec.get("storage"):
            bad(("spec", "notes-template"), "notes-template needs storage", "storage: NAME")
        return found

    def _check(self, field: Field, value: Any, path: Path, bad: Callable[..., None]) -> None:
        facts = field.facts
        if facts.get("type") == "object":
            if not isinstance(value, Mapping) or not all(_is_plain(inner) for inner in value.values()):
                bad(path, f"{field.name} is a map of texts")
            return
        if field.name in ("guest", "guests"):
            for item in _items(value):
                if not isinstance(item, str) or not _GUEST.match(item):
                    bad(
                        path,
                        f"{field.name} names {item!r}",
                        "a guest of this release, for example VirtualMachine/web-0",
                    )
                elif item.partition("/")[0] not in field.references:
                    bad(path, f"{self.name} can't reach {item}", f"it works with {' and '.join(field.references)}")
            return
        if values.is_array(facts) and not all(_is_plain(item) for item in _items(value)):
            bad(path, f"{field.name} is a list of plain values")
            return
        given = value if values.is_array(facts) else values.normal(facts, value)
        if isinstance(given, Mapping):
            given = formats.print_(facts["format"], given)
        for _, what in formats.check_value(facts, given, name=field.name):
            hint = "a time such as 30s, 5m or 1h30m" if field.name in TIMES else ""
            bad(path, f"{field.name} {value!r}: {what}" if not hint else f"{field.name} {value!r} is no time", hint)

    def lower(self, resource: Manifest, resolve: Callable[[str], str | None]) -> Wanted:
        """See Kind.lower; guests stay the refs they are, since they may not be there yet."""
        fields: dict[str, Any] = {}
        for name, value in resource.spec.items():
            if value is None or name not in self._fields:
                continue  # what is unknown is a matter of validation
            facts = self._fields[name].facts
            if name in TIMES and not values.is_open(value):
                fields[name] = seconds(value)
            elif name == "command" and isinstance(value, str):
                # One text is a line for the shell; a list is run as it is.
                fields[name] = ["/bin/sh", "-c", value]
            elif values.is_array(facts):
                whole = (facts.get("items") or {}).get("type") == "integer"
                fields[name] = [int(item) if whole else str(item) for item in _items(value)]
            elif facts.get("type") == "object":
                fields[name] = {str(key): str(inner) for key, inner in value.items()}
            else:
                fields[name] = values.normal(facts, value)
        guests = [ref for name in ("guest", "guests") for ref in _items(fields.get(name) or [])]
        return Wanted(
            ref=resource.ref,
            kind=self.name,
            name=resource.name,
            namespace=None,
            key={},
            fields=fields,
            needs=tuple(guests),
            privileged=(self.name,) if self.privileged else tuple(self.table.privileges.used(fields)),
            origins={name: ("spec", name) for name in resource.spec},
        )

    def wire(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The call's own parameters out of lowered fields, as the wire takes them."""
        return {name: values.wire(facts, fields[name]) for name, facts in self.native.items() if name in fields}

    async def read(self, key: Key, get: Get) -> Live | None:
        """See Kind.read: there is nothing to be read."""
        return None


def _check_wait(spec: Mapping[str, Any], bad: Callable[..., None]) -> None:
    if (spec.get("duration") is None) == (not spec.get("until")):
        bad(("spec",), "Wait needs either duration or until", "duration: 30s, or object: and until:")
    if bool(spec.get("until")) != bool(spec.get("object")):
        bad(("spec",), "object and until belong together", "object: VirtualMachine/web-0, until: [status.agent]")


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)

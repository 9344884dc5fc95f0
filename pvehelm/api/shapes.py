"""What a kind is at one kind of place: the operations of its table found in the schema, and their parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pvehelm.api.schema import Facts, Operation, Param, Schema
from pvehelm.api.scopes import PREFIXES
from pvehelm.api.table import Table

# Parameters that belong to the call, not to the object.
CALL_PARAMS = frozenset(("digest", "delete", "lock-token", "rename", "moveto", "pos", "append", "regenerate"))
_NUMBERED = re.compile(r"(.*?[^0-9])(0|[1-9][0-9]*)\Z")


@dataclass(frozen=True)
class Shape:
    """What a kind is at one kind of place: its operations and the facts of its parameters."""

    create: Operation | None
    update: Operation | None
    delete: Operation | None
    index: Operation | None
    item: Operation | None
    # Every parameter that is a field, by its name on the wire.
    params: Mapping[str, Param]
    create_only: frozenset[str]

    def param(self, name: str) -> Param | None:
        found = self.params.get(name)
        if found is not None:
            return found if found.index is None else None
        split = _NUMBERED.match(name)
        family = self.params.get(f"{split[1]}[n]") if split else None
        if split is None or family is None or family.index is None:
            return None
        return family if family.index[0] <= int(split[2]) <= family.index[1] else None

    def facts(self, name: str) -> Facts:
        found = self.param(name)
        return found.facts if found else {}


def at_place(path: str, place: str) -> str:
    """A path of a table at a place: ``{scope}`` replaced."""
    return path.replace("{scope}", PREFIXES.get(place, ""))


def shape_at(place: str, table: Table, schema: Schema, id_names: Sequence[str]) -> Shape:
    """The shape of a table's kind at a place; operations that the release lacks are None."""

    def operation(given: str, verb: str, path: str) -> Operation | None:
        if given == "none":
            return None
        verb, path = given.split(" ", 1) if given else (verb, path)
        return schema.find(verb, at_place(path, place))

    path = table.path
    above = path.rpartition("/")[0] if path.endswith("}") else path
    settings, plain = table.strategy == "singleton", table.strategy != "list"
    verb = "PUT" if settings else "POST"
    create = operation(table.create, verb, path if settings else above) if plain else None
    update = operation(table.update, "PUT", path) if plain else None
    fixed = {*CALL_PARAMS, *id_names} | set(re.findall(r"\{([^}]+)\}", at_place(path, place)))
    fixed -= {rule.wire or name for name, rule in table.fields.items()}
    params: dict[str, Param] = {}
    for found in (create, update):
        for name, param in found.everything.items() if found else ():
            if name not in fixed:
                params.setdefault(name, param)
    in_update = set(update.everything) if update else set()
    return Shape(
        create=create,
        update=update,
        delete=operation(table.delete, "DELETE", path),
        index=operation(table.index, "GET", above),
        item=operation(table.get, "GET", path),
        params=params,
        create_only=frozenset(name for name in params if name not in in_update),
    )

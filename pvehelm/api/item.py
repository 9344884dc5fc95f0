"""A member of a collection: created, changed and removed one by one. The other shapes of the API are variations of it.

* ``singleton.Singleton``: settings that are always there; ``singleton.RuleList``: the ordered list of a scope.
* ``access.Entries``: an access entry, one row per subject (AccessControl).
* ``downloads.Download``: made by a verb, seen in a list (Image); ``switches.Switch``: on or off by two verbs.

``kinds.toml`` chooses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pvehelm.api import rows, scopes, values
from pvehelm.api.generic import SchemaKind, ask
from pvehelm.api.identity import as_configured, identifies, same_id
from pvehelm.api.kind import Get, Key, Live, Step, Wanted, leaves
from pvehelm.api.schema import Operation
from pvehelm.api.shapes import Shape
from pvehelm.errors import Problem


class Item(SchemaKind):
    """A member of a collection, perhaps with rows below it (SecurityGroup, IPSet)."""

    # -- reading -----------------------------------------------------------------------------------------------

    async def read(self, key: Key, get: Get) -> Live | None:
        """See Kind.read."""
        place, where = await self._where(key, get)
        if where is None:
            return None
        shape, known = self.shape(place), {**key, **where}
        if shape.index is None:
            return None
        listed = await self.listed(shape.index, known, get)
        row = self._find(listed, known)
        if row is None and self.table.hides:
            row = await self._item(shape, known, get)
        if row is None:
            return None
        found = as_configured(row)
        if found is None:
            return None
        if self.table.read == "item" and shape.item is not None:
            known |= {name: row[column] for name, column in self.table.locate.items() if column in row}
            found |= await self._item(shape, known, get) or {}
        for name in self.table.lift:
            found |= found.pop(name, None) or {}
        found |= self._memberships(found)
        fields = self.live_fields(found, place)
        extra: dict[str, Any] = {"digest": found["digest"]} if "digest" in found else {}
        if self.table.children:
            fields[self.table.children.field] = await self._read_rows(place, known, get, extra) or []
        if self._typed_lists:
            extra["guests"] = await scopes.guests(get)
        if row.get("state") in ("new", "changed"):
            extra["waiting"] = row["state"]
        extra["row"] = {name: row.get(column) for name, column in self.table.locate.items()}
        if self.table.data:
            extra["size"] = row.get("size") or ""
        # The key keeps the spelling it came with, so that it is the same one at the next plan.
        return Live(key={**key, **where}, fields=fields, extra=extra)

    async def _item(self, shape: Shape, key: Key, get: Get) -> Mapping[str, Any] | None:
        """The object as its own call shows it."""
        if shape.item is None:
            return None
        item = await ask(get, self._path(shape.item, key), self._item_params(shape.item, key))
        item = item[0] if isinstance(item, list) and item else item
        return item if isinstance(item, Mapping) else None

    async def _where(self, key: Key, get: Get) -> tuple[str, dict[str, str] | None]:
        """The place of a key and its path variables; None for those while they do not exist."""
        if not self.scoped:
            return "", {}
        where = await scopes.place(key, get)
        scope = scopes.parse(key["scope"])
        place = scope.type if scope else "cluster"
        return (where or {}).get("guest") or place, where

    async def listed(self, index: Operation, key: Key, get: Get) -> list[Mapping[str, Any]]:
        """The rows that the object is one of, if it is there."""
        answer = await ask(get, self._path(index, key), self.table.index_params) or []
        for name in self.table.rows.split("."):
            answer = (answer.get(name) or []) if name and isinstance(answer, Mapping) else answer
        match = self.table.match
        return [row for row in answer if all(row.get(name) == value for name, value in match.items())]

    def _find(self, listed: Sequence[Mapping[str, Any]], key: Key) -> Mapping[str, Any] | None:
        """The row of a list that the key means. Names of the firewall are the same in either case."""
        for row in listed:
            names = self.row_names(row)
            if all(self._is_row(name, column, row, key) for name, column in names.items()):
                return row
        return None

    def _is_row(self, name: str, column: str, row: Mapping[str, Any], key: Key) -> bool:
        shown, meant = row.get(column), key.get(name)
        form = self.rule(name).compare
        if form:
            return identifies(form, str(shown), str(meant))
        if self.table.id_prefix and name in self.id_names:
            shown, meant = (str(text).removeprefix(self.table.id_prefix) for text in (shown, meant))
        return same_id(shown, meant, fold=self.scoped)

    def row_names(self, row: Mapping[str, Any]) -> dict[str, str]:
        """Parts of the key -> the columns of a row that say them."""
        names = {name: self.table.id_column or self.rule(name).column or name for name in self.id_names}
        for name, rule in self.table.fields.items():
            if rule.identity:
                names.setdefault(rule.wire or name, rule.column or rule.wire or name)
        own = {name: column for name, column in names.items() if column in row}
        # What a list is filtered by need not be in it.
        return own or ({} if self.table.match else names)

    def _item_params(self, operation: Operation, key: Key) -> dict[str, Any]:
        names = (name for name in self.id_names if name not in operation.path_names and name in operation.params)
        return {name: key[name] for name in names}

    def _memberships(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The members that a membership field stands for, out of the ``members`` of the item."""
        found: dict[str, Any] = {}
        for name, rule in self.table.fields.items():
            if rule.membership:
                wire = rule.wire or name
                members = row.get("members") or []
                found[wire] = sorted({str(member[wire]) for member in members if member.get(wire)})
        return found

    async def _read_rows(self, place: str, key: Key, get: Get, extra: dict[str, Any]) -> list[rows.Row] | None:
        below = self.table.children
        assert below is not None
        listed = await ask(get, scopes.fill(self.template(place, below.path), key))
        if listed is None:
            return None
        if below.shape == "ordered":
            listed = sorted(listed, key=lambda row: int(row.get("pos", 0)))
        if listed and listed[0].get("digest"):
            extra["rows_digest"] = str(listed[0]["digest"])
        facts = self.row_facts(place)
        return [rows.live_row(facts, row, below.shape) for row in listed]

    # -- writing -----------------------------------------------------------------------------------------------

    def create(self, wanted: Wanted, context: Mapping[str, Any]) -> list[Step]:
        """See Kind.create."""
        place, key = self._target(wanted.key, context)
        shape = self.shape(place)
        if shape.create is None:
            return []
        below = self.table.children
        given = {name: value for name, value in wanted.fields.items() if value is not None}
        separate = {name for name in given if self.rule(name).membership or (below and name == below.field)}
        fields = {name: value for name, value in given.items() if name not in {*separate, self.signed}}
        signature = {self.signed: f"pvehelm release={context.get('uid', '')}"} if self.signed else {}
        sent = self._named(shape.create, key) | dict(self.table.constants) | self._sent(fields, place, context)
        step = Step(
            shape.create.method,
            self._path(shape.create, key),
            sent | signature,
            writes=tuple(leaves(fields)),
            note=f"create {self.name} {wanted.name}",
            creates=True,
            keep=self.kept(wanted),
        )
        steps = [step]
        for name in sorted(separate):
            steps += self._separate(place, key, name, [], given[name], {}, fresh=True)
        if signature:
            made = Live(wanted.key, {**fields, **signature}, extra=context)
            steps += self.update(made, {self.signed: given.get(self.signed)}, wanted)
        return steps

    def update(self, live: Live, changes: Mapping[str, Any], wanted: Wanted | None) -> list[Step]:
        """See Kind.update."""
        place, key = self._target(live.key, live.extra)
        below = self.table.children
        steps: list[Step] = []
        plain: dict[str, Any] = {}
        for leaf, value in changes.items():
            name = leaf.partition(".")[0]
            rule = self.rule(name)
            if rule.setter:
                steps.append(self._set(name, value, key))
            elif rule.membership or (below and name == below.field):
                steps += self._separate(place, key, name, live.fields.get(name) or [], value or [], live.extra)
            else:
                plain[leaf] = value
        if plain:
            steps.insert(0, self._update_step(live, plain, wanted, place, key))
        return steps

    def _update_step(self, live: Live, changes: Mapping[str, Any], wanted: Wanted | None, place: str, key: Key) -> Step:
        shape = self.shape(place)
        assert shape.update is not None
        after = merged(live.fields, changes)
        sent = {name: value for name, value in after.items() if value is not None}
        unset = sorted(name for name, value in after.items() if value is None)
        desired = {name: value for name, value in live.fields.items() if name not in after}
        desired |= {k: v for k, v in (wanted.fields if wanted else {}).items() if v is not None and k not in after}
        for name in self._companions(shape.update, shape, {*sent, *unset}, desired):
            sent[name] = desired[name]
        params = self._named(shape.update, key) | self._sent(sent, place, live.extra)
        params |= {name: value for name, value in self.table.constants.items() if shape.update.param(name)}
        if self.table.rename:
            params["rename"] = key[self.id_names[0]]
        if unset and self._deletes(shape.update):
            params["delete"] = values.wire(shape.update.everything["delete"].facts, unset)
        elif self.table.unset != "omit":
            params |= {name: self._empty(name) for name in unset}
        if self.table.digest == "own" and live.extra.get("digest"):
            params["digest"] = live.extra["digest"]
        method, path = shape.update.method, self._path(shape.update, key)
        return Step(method, path, params, writes=tuple(changes), note=f"change {self.name}")

    def _deletes(self, update: Operation) -> bool:
        """Whether the update takes names to unset (elsewhere ``delete`` is a switch, or not there at all)."""
        param = update.param("delete")
        return param is not None and param.type != "boolean" and not self.table.unset and not self.table.rename

    def _empty(self, name: str) -> Any:
        """The value that stands for "not set" where there is no other way to say it."""
        absent = self.rule(name).absent
        return "" if absent is None else absent

    def _companions(self, update: Operation, shape: Shape, touched: set[str], desired: Mapping[str, Any]) -> list[str]:
        """What has to be sent along: what the update always asks for, and what a touched field requires."""
        always = [name for name, param in update.params.items() if param.required]
        if update.selector:
            always.append(update.selector.name)
        always += self.table.along
        if self.table.replaces:
            always += [name for name in desired if shape.param(name) is not None and not self.is_create_only(name)]
        needed = [str(shape.facts(name).get("requires") or "") for name in touched]
        return [name for name in dict.fromkeys([*always, *needed]) if name in desired and name not in touched]

    def delete(self, live: Live) -> list[Step]:
        """See Kind.delete. Members and rows below go first, rows from the bottom."""
        place, key = self._target(live.key, live.extra)
        shape = self.shape(place)
        assert shape.delete is not None
        steps: list[Step] = []
        below = self.table.children
        if below and below.shape == "ordered":
            path = scopes.fill(self.template(place, below.path), key)
            steps = rows.ordered_steps(path, below.field, live.fields.get(below.field) or [], [])
        for name, rule in self.table.fields.items():
            wire = rule.wire or name
            if rule.membership and live.fields.get(wire):
                steps += self._member_steps(place, key, wire, live.fields[wire], [])
        sent = {**self._named(shape.delete, key), **self.table.delete_params}
        path = self._path(shape.delete, key)
        return [*steps, Step(shape.delete.method, path, sent, note=f"remove {self.name}", deletes=True)]

    def away(self, live: Live) -> list[Step]:
        """See Kind.away."""
        shape = self.shape(self._target(live.key, live.extra)[0])
        more = {n: v for n, v in (self.table.away or {}).items() if shape.delete and shape.delete.param(n)}
        return [
            replace(step, params={**step.params, **more} if step.deletes else step.params) for step in self.delete(live)
        ]

    # -- parts of calls ----------------------------------------------------------------------------------------

    def _target(self, key: Key, context: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The place and every path variable of a key; what is not known yet is a placeholder."""
        found = {**key, **(context.get("row") or {})}
        if not self.scoped:
            return "", found
        scope = scopes.parse(key["scope"]) or scopes.Scope("cluster")
        if scope.is_guest:
            found.setdefault("vmid", f"${{vmid:{scope.ref}}}")
            found.setdefault("node", context.get("node") or f"${{node:{scope.ref}}}")
        elif scope.name:
            found[scope.type] = scope.name
        guest = found.get("guest") or context.get("guest") or scope.type
        return str(guest), found

    @staticmethod
    def _path(operation: Operation, key: Key) -> str:
        return scopes.fill(operation.path, key)

    def _named(self, operation: Operation, key: Key) -> dict[str, Any]:
        """The parts of the key that a call carries as parameters."""
        names = [*self.id_names, *(rule.wire or name for name, rule in self.table.fields.items() if rule.identity)]
        names += self.table.locate
        known = operation.everything
        return {name: key[name] for name in names if name not in operation.path_names and name in key and name in known}

    @property
    def _typed_lists(self) -> tuple[str, ...]:
        """Fields that list guests with their types (``vm:100``)."""
        listed = (name for name, rule in self.table.fields.items() if rule.guest == "sid" and not rule.identity)
        return tuple(self.wire_name(name) for name in listed)

    def _sent(self, fields: Mapping[str, Any], place: str, extra: Mapping[str, Any]) -> dict[str, Any]:
        sent = {name: values.wire(self.facts(name, place), value) for name, value in fields.items()}
        known = extra.get("guests") or {}
        for name in self._typed_lists:
            if isinstance(fields.get(name), list):
                typed = [f"{known[item][1]}:{item}" if item in known else item for item in fields[name]]
                sent[name] = ",".join(typed)
        return sent

    def kept(self, wanted: Wanted) -> dict[str, str]:
        """See Kind.kept; without a reference in the manifest, under the object's own name."""
        own = f"secret://release/{re.sub(r'[^A-Za-z0-9.-]+', '-', wanted.name).strip('-')}"
        return {answer: str(wanted.once.get(name) or own) for answer, name in self.table.keep.items()}

    def _set(self, name: str, value: Any, key: Key) -> Step:
        """A field that has an operation of its own."""
        rule = self.rule(name)
        verb, path = rule.setter.split(" ", 1)
        sent = {**{part: key[part] for part in self.id_names}, rule.wire or name: value if value is not None else ""}
        return Step(verb, path, sent, writes=(name,), note=f"set {name}")

    def _separate(
        self,
        place: str,
        key: Key,
        name: str,
        before: Any,
        after: Any,
        extra: Mapping[str, Any],
        *,
        fresh: bool = False,
    ) -> list[Step]:
        """Memberships and rows below, which have calls of their own."""
        below = self.table.children
        if below and name == below.field:
            path = scopes.fill(self.template(place, below.path), key)
            if below.shape == "keyed":
                steps = rows.keyed_steps(path, name, below.id, before, after)
            else:
                digest = str(extra.get("rows_digest", ""))
                steps = rows.ordered_steps(path, name, before, after, digest=digest, careful=not fresh)
        else:
            steps = self._member_steps(place, key, name, before, after)
        return [*steps[:-1], replace(steps[-1], writes=(name,))] if steps else []

    def _member_steps(self, place: str, key: Key, name: str, before: Any, after: Any) -> list[Step]:
        operation = self.shape(place).update
        assert operation is not None
        path, named = self._path(operation, key), self._named(operation, key)
        added = [item for item in after if item not in before]
        gone = [item for item in before if item not in after]
        steps = [Step(operation.method, path, {**named, name: ",".join(added)}, note="add members")] if added else []
        if gone:
            sent = {**named, name: ",".join(gone), "delete": 1}
            steps.append(Step(operation.method, path, sent, note="remove members"))
        return steps

    def losses(self, live: Live) -> list[str]:
        """See Kind.losses."""
        if not self.table.data:
            return []
        name = next((str(value) for value in (live.extra.get("row") or {}).values() if value), None)
        name = name or str(next((live.key[part] for part in self.id_names if part in live.key), self.name))
        size = live.extra.get("size")
        return [f"{name} ({size} bytes)" if size else f"{name} with all that is in it"]

    async def prepare(self, wanted: Wanted, get: Get) -> tuple[Mapping[str, Any], list[Problem]]:
        """See Kind.prepare: where a guest's scope is. A missing guest that another resource makes is no problem."""
        if self.table.elsewhere and self.shape(self.places[0]).create is None:
            what = f"Proxmox VE {self.schema.release} has no call that makes a {self.name}"
            return {}, [Problem("", what, self.table.elsewhere.format(**wanted.key))]
        if self.bound_to_node and not values.is_open(wanted.key.get(self.node_name)):
            missing = await missing_node(str(wanted.key.get(self.node_name)), "node", get)
            if missing:
                return {}, missing
        if self._typed_lists:
            return {"guests": await scopes.guests(get)}, []
        if not self.scoped:
            return {}, []
        scope = scopes.parse(wanted.key["scope"])
        where = await scopes.place(wanted.key, get)
        if where is None and scope and scope.type == "guest":
            return {}, [Problem("scope", f"there is no guest {scope.name} in the cluster")]
        if scope and scope.type == "node":
            return where or {}, await missing_node(scope.name, "scope", get)
        return where or {}, []


def merged(fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that ``changes`` (leaf -> value, None to unset) touch, as they are afterwards; None for unset ones."""
    after: dict[str, Any] = {}
    for leaf, value in changes.items():
        name, dot, sub = leaf.partition(".")
        if not dot:
            after[name] = value if value != {} else None
            continue
        if not isinstance(after.get(name), dict):
            before = fields.get(name)
            after[name] = dict(before) if isinstance(before, Mapping) else {}
        if value is None:
            after[name].pop(sub, None)
        else:
            after[name][sub] = value
    return {name: value if value != {} else None for name, value in after.items()}


async def missing_node(name: str, where: str, get: Get) -> list[Problem]:
    """A problem when the cluster has no node of that name."""
    names = sorted(str(row.get("node")) for row in await get("/nodes") or [])
    if name in names:
        return []
    return [Problem(where, f"there is no node '{name}' in the cluster", f"its nodes are {', '.join(names)}")]

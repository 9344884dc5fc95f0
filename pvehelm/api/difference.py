"""What changed from one schema to another: operations and parameters added, removed, changed.

Paths that differ in the names of their variables only are one operation whose path changed; property strings are
compared key by key (``net[n].queues``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pvehelm.api.schema import Operation, Schema

Rows = list[dict[str, Any]]


def compare(old: Schema, new: Schema) -> dict[str, Any]:
    """``{"from", "to", "added": [{"method", "path"}], "removed": [...], "changed": [{"method", "path", "parameters":
    {"added": [...], "removed": [...], "changed": [{"name", "fact", "before", "after"}]}}]}``, in the order of paths."""
    before, after = _by_place(old), _by_place(new)
    changed = []
    for key in before.keys() & after.keys():
        row = _changes(before[key], after[key])
        if row:
            changed.append({"method": after[key].method, "path": after[key].path, **row})
    return {
        "from": old.release,
        "to": new.release,
        "added": _listed(after[key] for key in after.keys() - before.keys()),
        "removed": _listed(before[key] for key in before.keys() - after.keys()),
        "changed": sorted(changed, key=_order),
    }


def _by_place(schema: Schema) -> dict[tuple[str, str], Operation]:
    return {(each.method, re.sub(r"\{[^}]*\}", "{}", each.path)): each for each in schema.operations()}


def _order(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["path"], row["method"]


def _listed(operations: Iterator[Operation]) -> Rows:
    return sorted(({"method": each.method, "path": each.path} for each in operations), key=_order)


def _changes(old: Operation, new: Operation) -> dict[str, Any]:
    before, after = _parameters(old), _parameters(new)
    renamed = dict(zip(old.path_names, new.path_names, strict=True))
    before = {renamed.get(name, name): facts for name, facts in before.items()}
    parameters: dict[str, Any] = {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "changed": [
            {"name": name, **row}
            for name in sorted(before.keys() & after.keys())
            for row in _facts(before[name], after[name])
        ],
    }
    found: dict[str, Any] = {}
    if old.path != new.path:
        found["was"] = old.path
    if any(parameters.values()):
        found["parameters"] = parameters
    return found


def _parameters(operation: Operation) -> dict[str, Mapping[str, Any]]:
    """Facts by name; those of a property string's keys follow theirs. What each variant has is named with it."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, param in operation.everything.items():
        found[name] = param.facts
        if isinstance(param.format, Mapping):
            found |= {f"{name}.{key}": sub for key, sub in param.format.items()}
    return found


def _facts(old: Mapping[str, Any], new: Mapping[str, Any]) -> Rows:
    rows = []
    for fact in sorted(old.keys() | new.keys()):
        before, after = old.get(fact), new.get(fact)
        if fact == "format" and isinstance(before, Mapping) and isinstance(after, Mapping):
            continue
        if before != after:
            rows.append({"fact": fact, "before": _plain(before), "after": _plain(after)})
    return rows


def _plain(value: Any) -> Any:
    return "(property string)" if isinstance(value, Mapping) and "type" not in value else value

"""Manifests as JSON Schema, so that editors complete and check them (``# yaml-language-server: $schema=...``).

They accept what a manifest may hold: property strings as text or map, lists as text or list, numbers and switches as
text, references of secrets anywhere. What they cannot say (types that exclude fields, names that have to exist) is
left to ``pvehelm lint``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pvehelm.api import formats, values
from pvehelm.api.kind import Field, Kind
from pvehelm.api.kinds import Kinds
from pvehelm.api.schema import Facts
from pvehelm.errors import NotFoundError
from pvehelm.suggest import did_you_mean

DIALECT = "http://json-schema.org/draft-07/schema#"
Document = dict[str, Any]
# What is known only later: a secret, a deferred text.
_OPEN: Document = {"type": "string", "pattern": r"secret://|\$\{"}
# A drive or mount point may be written as what it shall be made of.
_VOLUME = frozenset({"file", "volume"})
_NEW_VOLUME: dict[str, Facts] = {"storage": {"type": "string"}, "size": {"type": "string"}}
_METADATA: Document = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": ["string", "integer"]},
        "namespace": {"type": "string"},
        "labels": {"type": "object"},
        "annotations": {"type": "object"},
        "lifecycle": {"enum": ["keep", "protect", "createOnly"]},
        "ignoreChanges": {"type": "array", "items": {"type": "string"}},
        "allowReplace": {"type": "boolean"},
        "needs": {"type": "array", "items": {"type": "string", "pattern": "/"}},
        "hook": {"type": ["string", "array"], "items": {"type": "string"}},
        "hookWeight": {"type": "integer"},
        "hookDeletePolicy": {"type": ["string", "array"], "items": {"type": "string"}},
        "readyWhen": {"type": "array", "items": {"type": "string"}},
    },
}


def metadata(path: str = "") -> Document:
    """What manifests may say of an object beside its spec, for ``explain``: all of it, or one key.

    Raises NotFoundError for a key that there is not."""
    keys: Document = _METADATA["properties"]
    if not path:
        return {"path": "metadata", "type": "map", "fields": [_explained(*pair) for pair in keys.items()]}
    if path not in keys:
        raise NotFoundError(f"metadata has no key {path!r}", hint=did_you_mean(path, keys))
    return {**_explained(path, keys[path]), "path": f"metadata.{path}", "fields": []}


def _explained(name: str, facts: Document) -> Document:
    types = facts.get("type", "string")
    words = {"object": "map", "array": "list"}
    said = [str(words.get(one, one)) for one in (types if isinstance(types, list) else [types])]
    row = {"name": name, "type": " or ".join(said), "required": name in _METADATA["required"]}
    return row | ({"enum": facts["enum"]} if "enum" in facts else {})


def documents(kinds: Kinds) -> dict[str, Document]:
    """File name -> JSON Schema: one a kind (``VirtualMachine.json``), and ``manifests.json`` for files of any kinds."""
    made = {f"{kind.name}.json": of_kind(kind) for kind in kinds}
    either = [
        {
            "if": {"properties": {"kind": {"const": name.removesuffix(".json")}}, "required": ["kind"]},
            "then": {"$ref": name},
        }
        for name in made
    ]
    every: Document = {
        "$schema": DIALECT,
        "title": f"Manifests for Proxmox VE {kinds.schema.release}",
        "type": "object",
        "required": ["kind", "metadata"],
        "properties": {"kind": {"enum": [name.removesuffix(".json") for name in made]}},
        "allOf": either,
    }
    return {"manifests.json": every, **made}


def of_kind(kind: Kind) -> Document:
    """The JSON Schema of a kind's manifests."""
    plain: Document = {}
    numbered: Document = {}
    required = []
    for name, field in sorted(kind.fields().items()):
        shape = of_field(field)
        if name.endswith("[n]"):
            numbered[f"^{re.escape(name.removesuffix('[n]'))}[0-9]+$"] = shape
        else:
            plain[name] = shape
            required += [name] if field.required else []
    spec: Document = {"type": "object", "properties": plain, "additionalProperties": False}
    spec |= {"patternProperties": numbered} if numbered else {}
    spec |= {"required": required} if required else {}
    return {
        "$schema": DIALECT,
        "title": f"{kind.name} (Proxmox VE {kind.schema.release}, evidence: {kind.evidence})",
        "type": "object",
        "required": ["kind", "metadata", *(["spec"] if required else [])],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"const": kind.name},
            "metadata": {**_METADATA, "required": ["name", "hook"]} if kind.hook_only else _METADATA,
            "spec": spec,
        },
    }


def of_field(field: Field) -> Document:
    """The JSON Schema of one field's values, null (unset) included unless it is required."""
    known = dict(field.subkeys)
    if _VOLUME & known.keys():
        known = {**_NEW_VOLUME, **known}
    shape = of_facts(field.facts, known, field.references)
    if not field.required:
        shape = {"anyOf": [*shape.get("anyOf", [shape]), {"type": "null"}]}
    words = []
    if field.create_only:
        words.append("fixed by the creation")
    elif str(field.effect) != "live":
        words.append(f"takes effect: {field.effect}")
    if field.write_only:
        words.append("never shown by the server; write a secret:// reference")
    if field.references:
        words.append(f"names {' or '.join(field.references)}")
    given_up = {"deprecated": True} if field.facts.get("deprecated") else {}
    return shape | ({"description": "; ".join(words)} if words else {}) | given_up


def of_facts(facts: Facts, known: Mapping[str, Facts] | None = None, references: tuple[str, ...] = ()) -> Document:
    """The JSON Schema of the values that facts allow."""
    if known is None or not known:
        known = formats.subkeys(facts) if "format" in facts else None
    properties = facts.get("properties")
    if isinstance(properties, Mapping):
        known = properties
    kind = facts.get("type", "string")
    if kind == "array" or values.is_list(facts):
        return _either(_list(facts, known), _scalar({}), {"type": ["integer", "number"]})
    if known:
        return _either(_map(known), _scalar({}), {"type": ["integer", "boolean"]})
    if kind == "object":
        return {}
    guest = [{"type": "string", "pattern": "^(VirtualMachine|Container)/"}] if "VirtualMachine" in references else []
    return _either(*_plain(facts), *guest, _OPEN)


def _either(*shapes: Document) -> Document:
    return {"anyOf": list(shapes)}


def _scalar(_: Facts) -> Document:
    return {"type": "string"}


def _list(facts: Facts, known: Mapping[str, Facts] | None) -> Document:
    items = facts.get("items")
    inner: Document = {}
    if isinstance(items, Mapping) and isinstance(items.get("properties"), Mapping):
        inner = _either(_map(items["properties"]), _scalar({}))
    elif known and isinstance(facts.get("properties"), Mapping):
        inner = _either(_map(known), _scalar({}))
    elif isinstance(items, Mapping) and items.get("enum"):
        inner = {"anyOf": [{"enum": list(items["enum"])}, _OPEN]}
    return {"type": "array", "items": inner} if inner else {"type": "array"}


def _map(known: Mapping[str, Facts]) -> Document:
    shapes: Document = {}
    numbered: Document = {}
    for key, sub in sorted(known.items()):
        shape = {"anyOf": [*of_facts(sub).get("anyOf", [{}]), {"type": "null"}]}
        if key.endswith("[n]"):
            numbered[f"^{re.escape(key.removesuffix('[n]'))}[0-9]+$"] = shape
        else:
            shapes[key] = shape
    found: Document = {"type": "object", "properties": shapes, "additionalProperties": False}
    return found | ({"patternProperties": numbered} if numbered else {})


def _plain(facts: Facts) -> list[Document]:
    kind = facts.get("type", "string")
    enum = facts.get("enum")
    if enum:
        words = [str(item) for item in enum]
        allowed: list[Any] = list(dict.fromkeys([*enum, *words]))
        if any({off, on} <= set(words) for off, on in (("off", "on"), ("no", "yes"), ("0", "1"))):
            allowed += [True, False]
        return [{"enum": [*allowed, *(int(word) for word in words if word.isdigit() and word not in enum)]}]
    if kind == "boolean" or facts.get("words"):
        return [{"type": "boolean"}, {"enum": [0, 1, "0", "1", "on", "off", "yes", "no", "true", "false"]}]
    if kind in ("integer", "number"):
        limits = {name: _number(facts[name]) for name in ("minimum", "maximum") if facts.get(name) is not None}
        return [{"type": str(kind), **limits}, {"type": "string", "pattern": r"^[+-]?[0-9.]+$"}, {"type": "boolean"}]
    limits = {name: int(facts[name]) for name in ("minLength", "maxLength") if facts.get(name) is not None}
    return [{"type": "string", **limits}, {"type": ["integer", "number", "boolean"]}]


def _number(value: Any) -> int | float:
    number = float(value)
    return int(number) if number.is_integer() else number

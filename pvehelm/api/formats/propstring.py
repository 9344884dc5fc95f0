"""Property strings: ``virtio=BC:24:11:00:00:01,bridge=vmbr0`` as an object and back; their structure, not their values.

A definition maps sub-keys to facts. One may be the default key, whose value stands bare; one may be an alias of another
(``volume`` of ``file``); and with ``keyAlias`` the alias itself is the value of a third (``virtio=MAC`` is model and
macaddr).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pvehelm.api.formats import facts
from pvehelm.api.formats.units import parse_boolean, wire_text
from pvehelm.errors import InvalidError, Problem
from pvehelm.suggest import did_you_mean

SubKeys = Mapping[str, Mapping[str, Any]]
_CACHE_LIMIT = 4096
# The server reads a bare 0 as nothing.
_NEVER_BARE = ("pve-startup-order",)


@dataclass(frozen=True, slots=True)
class Definition:
    """A property string's sub-keys, with what parsing and printing look up all the time."""

    keys: SubKeys
    default_key: str | None
    required: tuple[str, ...]
    combined: Mapping[str, str]
    """key whose value may name the alias under which another key is written, e.g. ``model`` -> ``macaddr``"""
    lone: str | None
    """the only key there is, where its value stands bare: then the whole string is that value"""
    readings: Mapping[str, tuple[str, str | None, bool]]
    """how each key is read: its real name, the key that gets the alias, whether it is a boolean"""

    def alias_of(self, key: str) -> tuple[str, str | None]:
        """The real name of ``key`` and, if the alias carries a value of its own, the key that gets it."""
        sub = self.keys.get(key, {})
        return sub.get("alias", key), sub.get("keyAlias")


_definitions: dict[int, tuple[SubKeys, Definition]] = {}


def define(keys: SubKeys) -> Definition:
    """The definition for a mapping of sub-keys; computed once for each mapping."""
    known = _definitions.get(id(keys))
    if known is not None and known[0] is keys:
        return known[1]
    default = next((key for key, sub in keys.items() if sub.get("default_key")), None)
    required = sorted(key for key, sub in keys.items() if not _truthy(sub.get("optional")) and "alias" not in sub)
    combined = {sub["keyAlias"]: sub["alias"] for sub in keys.values() if "keyAlias" in sub}
    real = [key for key, sub in keys.items() if "alias" not in sub]
    lone = real[0] if len(real) == 1 and real[0] == default else None
    readings = {}
    for key, sub in keys.items():
        name = sub.get("alias", key)
        readings[key] = (name, sub.get("keyAlias"), keys.get(name, {}).get("type") == "boolean")
    definition = Definition(keys, default, tuple(required), combined, lone, readings)
    if len(_definitions) >= _CACHE_LIMIT:
        _definitions.clear()
    _definitions[id(keys)] = (keys, definition)
    return definition


def _truthy(fact: Any) -> bool:
    return fact not in (None, 0, "0", "", False)


def subkeys(param: Mapping[str, Any]) -> SubKeys | None:
    """Sub-definitions if the parameter is a property string (defined in place or by a known name), else None."""
    return keys_of(param.get("format"))


def keys_of(fmt: Any) -> SubKeys | None:
    """Sub-definitions behind a format: a mapping of them, or the name of a registered property string."""
    if isinstance(fmt, str):
        return facts.property_string(fmt)
    return fmt if isinstance(fmt, Mapping) else None


def lone_key(keys: SubKeys) -> str | None:
    """The only sub-key of a property string whose value stands bare (``memory`` of a VM), else None."""
    return define(keys).lone


def definition_of(fmt: Mapping[str, Any] | str) -> Definition:
    """As ``keys_of``; raises InvalidError if the format is not a property string."""
    keys = keys_of(fmt)
    if keys is None:
        raise InvalidError(f"'{fmt}' is not a property string")
    return define(keys)


def unknown_key(definition: Definition, key: str) -> Problem:
    """The problem "no such sub-key", with the likeliest ones as a hint."""
    real = sorted(name for name, sub in definition.keys.items() if "alias" not in sub)
    hint = did_you_mean(key, definition.keys, f"known keys: {', '.join(real)}")
    return Problem(key, f"invalid key in comma-separated list property: {key}", hint)


def decode(definition: Definition, text: str) -> tuple[dict[str, Any], list[Problem]]:
    """The object that ``text`` spells and every fault of its structure.

    Aliases are resolved, a bare value has its default key, booleans are 0 or 1, all else is the text as it stands.
    """
    result: dict[str, Any] = {}
    problems: list[Problem] = []
    for part in text.split(","):
        if not part or part.isspace():
            continue
        key, equals, value = part.partition("=")
        if not equals:
            if definition.default_key is None:
                problems.append(Problem("", f"'{part}' has no key, and there is no default key"))
                continue
            key, value = definition.default_key, part
        elif not key or not value or "\n" in value:
            problems.append(Problem(key, f"'{part}' is not KEY=VALUE", "leave a key out instead of giving no value"))
            continue
        if key in result:
            problems.append(Problem(key, f"duplicate key in comma-separated list property: {key}"))
            continue
        known = definition.readings.get(key)
        if known is None:
            problems.append(unknown_key(definition, key))
            continue
        real, carrier, boolean = known
        if carrier is not None:
            if carrier in result:
                problems.append(Problem(carrier, f"key alias '{carrier}' is already defined"))
                continue
            result[carrier] = key
        flag = parse_boolean(value) if boolean else None
        result[real] = value if flag is None else int(flag)
    return result, problems


def resolve(definition: Definition, obj: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """An object written by hand, with aliases resolved and values spelled as on the wire (None means absent)."""
    result: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value in obj.items():
        real, carrier = definition.alias_of(key)
        sub = definition.keys.get(real)
        if sub is None:
            problems.append(unknown_key(definition, key))
            continue
        if value is None:
            continue
        clash = next(
            (name for name in (carrier, real) if name and name != key and (name in obj or name in result)), None
        )
        if clash:
            problems.append(
                Problem(key, f"'{key}' says again what is already said for '{clash}'", "leave one of them out")
            )
            continue
        if carrier is not None:
            result[carrier] = key
        result[real] = wire_text(sub, value)
    return result, problems


def print_(fmt: Mapping[str, Any] | str, obj: Mapping[str, Any]) -> str:
    """The property string for an object: the default key first and bare, then required keys, then the others, sorted.

    Takes what YAML gives: booleans, numbers, lists (joined by ``;``), alias names; None leaves a key out.
    Raises InvalidError naming every unknown key and every value that the syntax cannot carry (commas, newlines, none).
    """
    definition = definition_of(fmt)
    values, problems = resolve(definition, obj)
    for key, text in values.items():
        if not text or "," in text or "\n" in text:
            problems.append(
                Problem(key, f"'{text}' cannot stand in a property string", "no commas, no newlines, not empty")
            )
    if problems:
        raise InvalidError("this does not fit the property string", problems)
    default = definition.default_key
    bare = None if fmt in _NEVER_BARE else default
    order = [key for key in (default, *definition.required) if key in values]
    order += sorted(values.keys() - order)
    parts: list[str] = []
    done: set[str | None] = set()
    for key in order:
        if key is None or key in done:
            continue
        done.add(key)
        text = values[key]
        partner = definition.combined.get(key)
        if partner in values and definition.keys.get(text, {}).get("keyAlias") == key:
            parts.append(f"{text}={values[partner]}")
            done.add(partner)
        elif key == bare and "=" not in text and not text.isspace():
            parts.append(text)
        else:
            parts.append(f"{key}={text}")
    return ",".join(parts)

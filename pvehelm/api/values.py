"""The normal form of one value: from a manifest, from the wire and back to the wire.

A property string is a map of its sub-keys (booleans 0/1, all else text), a list format is a list of texts, booleans
are 0/1, integers are int, everything else is text. Texts that hold ``secret://`` or ``${...}`` stay as they are: what
they mean is not known before the call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pvehelm.api import formats
from pvehelm.api.schema import Facts
from pvehelm.errors import InvalidError

_TRUE = ("1", "true", "on", "yes")
_FALSE = ("0", "false", "off", "no", "")
# An enumeration with both words of a pair takes YAML's booleans as those words.
_WORDS = (("off", "on"), ("no", "yes"), ("0", "1"), ("false", "true"), ("ignore", "on"))


def is_open(value: Any) -> bool:
    """Whether a text is only known later: a secret's reference or a placeholder."""
    return isinstance(value, str) and ("secret://" in value or "${" in value)


def has_open(value: Any) -> bool:
    """``is_open`` of a value or of anything inside it."""
    if isinstance(value, Mapping):
        return any(has_open(inner) for inner in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return any(has_open(inner) for inner in value)
    return is_open(value)


def is_array(facts: Facts) -> bool:
    """A parameter that is sent by repeating its key."""
    return facts.get("type") == "array"


def is_list(facts: Facts) -> bool:
    """A parameter that holds several values: a list format or an array."""
    named = facts.get("format")
    return is_array(facts) or (isinstance(named, str) and named.removesuffix("-opt").endswith(("-list", "-alist")))


def word(facts: Facts, value: Any) -> Any:
    """A YAML boolean as the parameter spells it: 0/1, or the word its enumeration has for it. Other values as they
    are."""
    if not isinstance(value, bool):
        return value
    if facts.get("type") == "boolean":
        return int(value)
    named = facts.get("enum") or facts.get("words") or ()
    for pair in _WORDS:
        if pair[value] in named:
            return pair[value]
    return int(value) if facts.get("type") in ("integer", "number") else str(int(value))


def normal(facts: Facts, value: Any) -> Any:
    """A value in normal form, whatever it was written as. Raises InvalidError for a property string that is none."""
    if value is None or is_open(value):
        return value
    known = formats.subkeys(facts)
    if known is not None and not is_list(facts):
        return _normal_map(facts, known, value)
    if is_list(facts):
        return _normal_list(facts, value)
    if isinstance(value, bool):
        return word(facts, value)
    kind = facts.get("type", "string")
    if kind == "boolean":
        text = str(value).strip().lower()
        return 1 if text in _TRUE else 0 if text in _FALSE else value
    if kind == "integer":
        return _integer(value)
    if kind == "number":
        return _integer(value) if _integer(value) == value else value
    if isinstance(value, Mapping):
        return ",".join(f"{key}={inner}" for key, inner in sorted(value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(str(item) for item in value)
    return value if isinstance(value, str) else str(value)


def _integer(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    return int(value) if re.fullmatch(r"[+-]?[0-9]+", str(value)) else value


def _normal_map(facts: Facts, known: Mapping[str, Facts], value: Any) -> Any:
    if not isinstance(value, Mapping):
        return dict(formats.parse(facts["format"], str(word(facts, value))))
    texts = {key: inner if is_open(inner) else _text(known.get(key, {}), inner) for key, inner in value.items()}
    texts = {key: inner for key, inner in texts.items() if inner is not None}
    if has_open(texts):
        return texts
    try:
        return dict(formats.parse(facts["format"], formats.print_(facts["format"], texts)))
    except InvalidError:
        return texts


def _text(facts: Facts, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, bool):
        return word(facts, value)
    if facts.get("type") == "boolean":
        return normal(facts, value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ";".join(str(item) for item in value)
    return str(value)


def _normal_list(facts: Facts, value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return sorted(f"{key}={inner}" for key, inner in value.items())
    if isinstance(value, str) and not is_array(facts):
        return formats.split_list(value)
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    inner = facts.get("items")
    return [_item(inner if isinstance(inner, Mapping) else {}, item) for item in items]


def _item(facts: Facts, item: Any) -> Any:
    if isinstance(item, Mapping):
        given = facts.get("format")
        if given:
            return formats.print_(given, {key: _text({}, inner) for key, inner in item.items()})
        return ",".join(f"{key}={inner}" for key, inner in sorted(item.items()))
    if isinstance(item, bool):
        return str(int(item))
    return str(item)


def embedded(value: Any) -> Any:
    """A value as part of a longer text: there, a reference of a secret is known by its braces alone."""
    return f"${{{value}}}" if isinstance(value, str) and value.startswith("secret://") else value


def wire(facts: Facts, value: Any) -> Any:
    """A value in normal form as the wire takes it: text, number, or a list for a repeated key."""
    if isinstance(value, Mapping):
        parts = {key: embedded(inner) for key, inner in value.items()}
        return formats.print_(facts["format"], parts) if facts.get("format") else normal(facts, value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        separator = str(facts.get("separator", ","))
        return list(value) if is_array(facts) else separator.join(str(embedded(item)) for item in value)
    return value


def same(facts: Facts, wanted: Any, live: Any, *, absent: Any = None) -> bool:
    """Whether two values mean the same; ``absent`` is what the server means when the field is not there."""
    if wanted is None or live is None:
        other = live if wanted is None else wanted
        if other is None or (other in ("", [], {}) and not isinstance(other, bool | int)):
            return True
        return absent is not None and formats.same(facts, absent, other)
    if wanted == live:
        return True
    return bool(formats.same(facts, wanted, live))

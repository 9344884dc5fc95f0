"""Checking a value against a parameter definition, under the error keys that a server reports."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from pvehelm.api.formats import facts, named, propstring
from pvehelm.api.formats.units import is_integer, is_number
from pvehelm.errors import InvalidError, Problem

_Parsed = dict[str, Any]


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # Not fullmatch: the server puts ^ and $ around the text, which bind only the outer ones of bare alternatives.
    return re.compile(rf"^{pattern}\Z")


def check_value(param: Mapping[str, Any], value: Any, *, name: str) -> list[tuple[str, str]]:
    """What is wrong with ``value`` for the parameter: ``(error key, message)`` for each fault, empty if nothing is.

    The value is judged as it goes over the wire: text from a form, or what JSON can say (None is "not sent").
    Keys are ``name``, ``name[0]`` for items of an array, ``name.key`` for members of an object.
    """
    if value is None:
        return []
    kind = param.get("type")
    if kind == "array":
        items = list(value) if isinstance(value, list | tuple) else [value]
        definition = param.get("items") or {}
        return [fault for i, item in enumerate(items) for fault in check_value(definition, item, name=f"{name}[{i}]")]
    if kind == "object":
        if not isinstance(value, Mapping):
            return [(name, "type check ('object') failed")]
        members = param.get("properties") or {}
        return [fault for key in members for fault in check_value(members[key], value.get(key), name=f"{name}.{key}")]
    if isinstance(value, list | tuple) and named.is_list(param.get("format")):
        value = ",".join(str(item) for item in value)
    message = _check_scalar(param, kind or "string", value)
    return [(name, message)] if message else []


def _text_of(kind: str, value: Any) -> tuple[str, str | None]:
    """The text that a scalar is on the wire, and what is wrong with its type."""
    if isinstance(value, bool):
        if kind == "boolean":
            return str(int(value)), None
        return "", f"type check ('{kind}') failed - got JSON::PP::Boolean"
    if isinstance(value, Mapping):
        return "", f"type check ('{kind}') failed - got HASH"
    if isinstance(value, list | tuple | set | frozenset):
        return "", f"type check ('{kind}') failed - got ARRAY"
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    ok = (
        text in ("0", "1")
        if kind == "boolean"
        else is_integer(text)
        if kind == "integer"
        else is_number(text)
        if kind == "number"
        else True
    )
    return text, None if ok else f"type check ('{kind}') failed - got '{text}'"


def _check_scalar(param: Mapping[str, Any], kind: str, value: Any) -> str | None:
    text, problem = _text_of(kind, value)
    if problem:
        return problem
    fmt = param.get("format")
    if fmt and (problem := check_format(fmt, text)):
        return f"invalid format - {problem}"
    pattern = param.get("pattern")
    if pattern and not _compiled(pattern).search(text):
        return "value does not match the regex pattern"
    if (longest := param.get("maxLength")) is not None and len(text) > int(longest):
        return f"value may only be {longest} characters long"
    if (shortest := param.get("minLength")) is not None and len(text) < int(shortest):
        return f"value must be at least {shortest} characters long"
    if is_number(text):
        number = float(text.replace(" ", ""))
        if (highest := param.get("maximum")) is not None and number > float(highest):
            return f"value must have a maximum value of {highest}"
        if (lowest := param.get("minimum")) is not None and number < float(lowest):
            return f"value must have a minimum value of {lowest}"
    allowed = param.get("enum")
    if allowed and text not in map(str, allowed):
        return f"value '{text}' does not have a value in the enumeration '{', '.join(map(str, allowed))}'"
    return None


def check_format(fmt: Mapping[str, Any] | str, text: str) -> str | None:
    """None if ``text`` has the format (a name or sub-definitions), else a message."""
    if propstring.keys_of(fmt) is not None:
        problems = _parse(fmt, text, rules=True)[1]
        return "format error\n" + "\n".join(map(str, problems)) if problems else None
    check = named.find(str(fmt))
    try:
        return check(text) if check else None
    except ValueError:  # Python refuses to read numbers of more than 4300 digits
        return "there is a number out of all proportion"


def validate_format(fmt: str, value: str) -> str | None:
    """None if ``value`` has the named format, else a message. A format that nobody knows accepts everything."""
    return check_format(fmt, value)


def known_format(fmt: str) -> bool:
    """Whether the named format is one that is checked here."""
    return named.find(fmt) is not None or facts.property_string(fmt) is not None


def parse(fmt: Mapping[str, Any] | str, text: str, *, rules: bool = True, values: bool = True) -> dict[str, Any]:
    """A property string as an object: aliases resolved, default key named, booleans 0 or 1, all else as sent.

    ``rules=False`` leaves out what a few named formats check and rewrite beyond their sub-keys (``keep-last=0`` means
    ``keep-all=1``). ``values=False`` takes the values as they are, for what a server shows. Raises InvalidError with
    every problem, or if the format is not a property string.
    """
    if values:
        parsed, problems = _parse(fmt, text, rules=rules)
    else:
        parsed, problems = propstring.decode(propstring.definition_of(fmt), text)
    if problems:
        raise InvalidError(f"'{text}' is not valid", problems)
    return parsed


def _parse(fmt: Mapping[str, Any] | str, text: str, *, rules: bool) -> tuple[_Parsed, list[Problem]]:
    definition = propstring.definition_of(fmt)
    parsed, problems = propstring.decode(definition, text)
    problems += _check_members(definition, parsed)
    if fmt == "pve-startup-order" and text in ("", "0"):
        # The server reads both as nothing; "order=0" is the way to be the first.
        return parsed, [Problem("", "give at least one of order, up and down", "order=0 means the very first")]
    rule = RULES.get(fmt) if rules and isinstance(fmt, str) else None
    if rule and not problems:
        parsed, message = rule(parsed)
        if message:
            problems.append(Problem("", message))
    return parsed, problems


def _check_members(definition: propstring.Definition, obj: _Parsed) -> list[Problem]:
    problems = [
        Problem(key, "property is missing and it is not optional") for key in definition.required if key not in obj
    ]
    for key, value in obj.items():
        sub = definition.keys.get(key)
        if sub is None:
            continue
        problems += [Problem(where, what) for where, what in check_value(sub, value, name=key)]
        needed = sub.get("requires")
        if isinstance(needed, str) and needed not in obj:
            problems.append(Problem(needed, f"missing property - '{key}' requires this property"))
    return problems


def _fleecing(obj: _Parsed) -> tuple[_Parsed, str | None]:
    missing = obj.get("enabled") and "storage" not in obj
    return obj, "fleecing needs a storage when it is enabled" if missing else None


def _prune(obj: _Parsed) -> tuple[_Parsed, str | None]:
    kept = {key: value for key, value in obj.items() if key != "keep-all"}
    if not any(float(value) > 0 for value in kept.values()):
        return {"keep-all": 1}, None
    return kept, "keep-all cannot be combined with other keep options" if obj.get("keep-all") else None


def _cpu(obj: _Parsed) -> tuple[_Parsed, str | None]:
    return obj, None if obj.get("cputype") not in (None, "", "0") else "the CPU type is missing"


def _vm_cpu(obj: _Parsed) -> tuple[_Parsed, str | None]:
    problem = _cpu(obj)[1]
    model = str(obj.get("cputype"))
    if not problem and not model.startswith("custom-") and model not in facts.words("cpu_models"):
        problem = f"unknown CPU type '{model}' (names of custom models begin with custom-)"
    for flag in str(obj.get("flags", "")).split(";"):
        if not problem and flag and flag[1:] not in facts.words("cpu_flags"):
            problem = f"a VM cannot set the CPU flag '{flag}'; only {', '.join(sorted(facts.words('cpu_flags')))}"
    if not problem and "reported-model" in obj:
        problem = "reported-model can only be set in a custom CPU model"
    return obj, problem


RULES: dict[str, Callable[[_Parsed], tuple[_Parsed, str | None]]] = {
    "backup-fleecing": _fleecing,
    "prune-backups": _prune,
    "pve-cpu-conf": _cpu,
    "pve-vm-cpu-conf": _vm_cpu,
}

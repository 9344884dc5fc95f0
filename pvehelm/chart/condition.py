"""Conditions over an object as it is: ``status.state == running``, ``config.tags contains web``, ``!status.lock``.

A path, and perhaps an operator with a value; nothing is ever evaluated. Paths go through maps by name
(``config.net0.bridge``; ``["a.b"]`` for odd names) and through lists by index (``status.addresses[0]``). Values are
JSON or a bare word, and ``[a, b]`` after ``in``. A path alone holds when it leads to something that is not empty,
``false`` or 0, and ``!PATH`` when it does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pvehelm.chart.pattern import pattern
from pvehelm.errors import InvalidError

OPERATORS = ("==", "!=", "<=", ">=", "<", ">", "contains", "in")
_STEP = pattern(r"\.?([A-Za-z_][\w-]*)|\.(\d+)|\[(\d+)\]|\[\"([^\"]+)\"\]")
_TAIL = pattern(r"\s*(==|!=|<=|>=|<|>|contains\b|in\b)\s*(.*)\Z", re.DOTALL)
_HINT = "for example status.state == running, config.memory >= 2048, config.tags contains web"


class Condition(NamedTuple):
    """One condition; ``op`` is '' for a path alone and '!' for its negation."""

    text: str
    path: tuple[str | int, ...]
    op: str = ""
    value: Any = None

    def holds(self, document: Any) -> bool:
        """Whether it is true of a document; a path that leads nowhere makes all but ``!=`` and ``!`` false."""
        found = self.look(document)
        if self.op in ("", "!"):
            return bool(found) is (self.op == "")
        if self.op in ("==", "!="):
            return _equal(found, self.value) is (self.op == "==")
        if found is None:
            return False
        if self.op == "contains":
            if isinstance(found, str):
                return _text(self.value) in found
            return isinstance(found, Sequence | Mapping) and any(_equal(one, self.value) for one in found)
        if self.op == "in":
            return any(_equal(found, one) for one in self.value)
        left, right = _number(found), _number(self.value)
        if left is None or right is None:
            return False
        return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[self.op])

    def look(self, document: Any) -> Any:
        """What the path leads to, or None."""
        for step in self.path:
            if isinstance(document, Mapping):
                document = document.get(step, document.get(str(step)))
            elif isinstance(document, Sequence) and not isinstance(document, str):
                index = int(step) if str(step).isdecimal() else -1
                document = document[index] if 0 <= index < len(document) else None
            else:
                return None
        return document


def parse(text: str) -> Condition:
    """A condition from its text. Raises InvalidError that says where it went wrong."""
    if not isinstance(text, str) or not text.strip():
        raise InvalidError(f"{text!r} is no condition", hint=_HINT)
    rest = text.strip()
    negated = rest.startswith("!")
    rest = rest.removeprefix("!").lstrip() if negated else rest
    path: list[str | int] = []
    while found := _STEP.match(rest):
        if path and found[1] and not rest.startswith("."):
            break
        if not path and rest.startswith((".", "[")) and not found[4]:
            break
        path.append(found[1] or found[4] or int(found[2] or found[3]))
        rest = rest[found.end() :]
    if not path:
        raise InvalidError(f"condition {text!r} does not begin with a path", hint=_HINT)
    if not rest.strip():
        return Condition(text, tuple(path), "!" if negated else "")
    tail = _TAIL.match(rest)
    if tail is None or not tail[2].strip():
        what = "nothing to compare with" if tail else f"no operator in {rest.strip()!r}"
        raise InvalidError(f"condition {text!r}: {what}", hint=f"operators are {' '.join(OPERATORS)}")
    if negated:
        raise InvalidError(f"condition {text!r}: ! goes with a path alone", hint="turn the operator round")
    value = _value(tail[2].strip())
    if tail[1] == "in" and not isinstance(value, list):
        raise InvalidError(f"condition {text!r}: in wants a list", hint="for example status.state in [running, paused]")
    if tail[1] in ("<", "<=", ">", ">=") and _number(value) is None:
        raise InvalidError(f"condition {text!r}: {tail[1]} compares numbers, and {tail[2].strip()!r} is none")
    return Condition(text, tuple(path), tail[1], value)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    if text.startswith("[") and text.endswith("]"):
        return [_value(part.strip()) for part in text[1:-1].split(",") if part.strip()]
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1]
    if re.search(r"\s|\A[=<>!]", text):
        raise InvalidError(f"condition: {text!r} is no single word", hint=f'put it into quotes: "{text}"')
    return text


def _equal(found: Any, wanted: Any) -> bool:
    """Equality across the spellings of the server, which writes numbers as text and booleans as 1 and 0."""
    if found is None or wanted is None:
        return found is wanted
    if isinstance(wanted, bool) or isinstance(found, bool):
        return bool(_truth(found) == _truth(wanted))
    one, other = _number(found), _number(wanted)
    if one is not None and other is not None:
        return one == other
    if isinstance(found, str | int | float) and isinstance(wanted, str | int | float):
        return _text(found) == _text(wanted)
    return bool(found == wanted)


def _truth(value: Any) -> Any:
    if isinstance(value, str):
        return {"1": True, "true": True, "0": False, "false": False}.get(value.lower(), value)
    return value if isinstance(value, bool) else bool(value) if value in (0, 1) else value


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if number == number else None

"""What a manifest uses that reaches past its own release: the host, the networks of others, their disks, credentials.

Which kinds and fields these are stands in ``kinds.toml`` (``privileged``), as words of one form: ``LEAF``,
``FAMILY[n].KEY`` or ``*.KEY`` (any field), each with ``~REGEX`` where only some values count. ``name`` and ``scope``
are those of the manifest. A chart gets them only where the user said so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pvehelm.api.kind import Kind

# What the value will be is not known yet, so it may be any.
_OPEN = re.compile(r"(\$\{)?secret://")
_NUMBER = re.compile(r"\d+\Z")
_NEVER = re.compile(r"(?!)")


def told(kind: Kind, what: str) -> str:
    """What a resource of a kind does, by what it needs the user's word for (a field, or the kind's name)."""
    if what != kind.name:
        return f"uses {what}, which is privileged"
    return "is a privileged kind" if kind.privileged else "reaches past its release, which is privileged"


class Privileges:
    """The rules of one kind."""

    def __init__(self, rules: Iterable[str]) -> None:
        split = [rule.partition("~") for rule in rules]
        self._rules = {leaf: re.compile(values, re.IGNORECASE) if values else None for leaf, _, values in split}
        # The fields that have rules: of one whose keys are in a text that is not known yet, any may apply.
        self._fields = {leaf.partition(".")[0] for leaf in self._rules}
        # Leaves by name, as they come up: thousands of guests have the same few dozen. False: no rule is about it.
        self._known: dict[str, re.Pattern[str] | bool] = {}

    @property
    def names(self) -> list[str]:
        """The fields that rules are about, whatever their values: ``usb[n].host``."""
        return list(self._rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def used(self, leaves: Mapping[str, Any]) -> Iterator[str]:
        """The names of the fields among ``leaves`` (``net0.bridge`` -> value) that need the user's word, once each."""
        told: set[str] = set()
        for leaf, value in leaves.items():
            rule = self._known.get(leaf)
            if rule is None:
                rule = self._known[leaf] = self._rule(leaf)
            if rule is False or value is None:
                continue
            name = leaf.partition(".")[0]
            if name not in told and (rule is True or _OPEN.match(str(value)) or rule.match(str(value))):
                told.add(name)
                yield name

    def _rule(self, leaf: str) -> re.Pattern[str] | bool:
        """What a leaf's value must not match, or whether it is privileged whatever it is."""
        name, _, key = leaf.partition(".")
        family = _NUMBER.sub("[n]", name)
        places = [f"{one}.{key}" for one in (name, family, "*")] if key else [name, family]
        for place in places:
            if place in self._rules:
                return self._rules[place] or True
        if key:
            # A rule for a field as a whole holds for whatever is in it.
            return any(place in self._rules and self._rules[place] is None for place in (name, family))
        return _NEVER if {name, family} & self._fields else False

"""What is known of a value while templates are converted: its samples, one from each values file.

A sample may be UNKNOWN, MISSING (the key is not there), MAYBE (unknown, and nothing of it needs to be there), ROOT
(what a template is called with) or a map of which nobody knows all keys (``Open``). From samples follows whether a name
may be missing and what a loop runs over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pvehelm.chart.functions.common import FunctionError
from pvehelm.chart.functions.encoding import fromYaml


class _Word:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


UNKNOWN, MISSING, MAYBE, ROOT = _Word("UNKNOWN"), _Word("MISSING"), _Word("MAYBE"), _Word("ROOT")
Samples = tuple[Any, ...]
ANYTHING: Samples = (UNKNOWN,)
_MOST = 100


class Open(dict[str, Any]):
    """A map that may have other keys than these."""


def collected(found: Iterable[Any]) -> Samples:
    """Samples without those that say the same, and not too many."""
    kept: dict[Any, Any] = {}
    for one in found:
        if len(kept) >= _MOST:
            return (*kept.values(), UNKNOWN)
        plain = one is None or isinstance(one, (str, int, float))
        kept.setdefault((type(one), one) if plain else id(one), one)
    return tuple(kept.values())


def below(samples: Samples, key: Any) -> Samples:
    """The samples of a key of a map, or of an item of a list."""
    found = []
    for one in samples:
        if one is UNKNOWN or one is ROOT:
            found.append(UNKNOWN)
        elif one is MAYBE:
            found.append(MAYBE)
        elif isinstance(one, dict):
            found.append(one.get(key, UNKNOWN if isinstance(one, Open) else MISSING))
        elif isinstance(one, list) and isinstance(key, int) and 0 <= key < len(one):
            found.append(one[key])
        else:
            found.append(MISSING)
    return collected(found)


def elements(samples: Samples) -> Samples:
    """The samples of what a loop over them sees. Users give elements of their own, of which nobody knows."""
    found: list[Any] = []
    for one in samples:
        if isinstance(one, Open) or one is UNKNOWN:
            found.append(UNKNOWN)
        elif isinstance(one, dict):
            found += one.values()
        elif isinstance(one, list):
            found += one
    return (*collected(found), UNKNOWN)


def lacking(samples: Samples) -> bool | None:
    """Whether it is missing somewhere; None where nobody knows."""
    if any(one is MISSING or one is MAYBE for one in samples):
        return True
    return None if not samples or any(one is UNKNOWN for one in samples) else False


def nothing(samples: Samples) -> bool:
    """Whether it is null somewhere."""
    return any(one is None for one in samples)


def kind(samples: Samples) -> str:
    """map, list, number or "" for what is something else or unknown."""
    for one in samples:
        if isinstance(one, dict):
            return "map"
        if isinstance(one, list):
            return "list"
        if isinstance(one, (int, float)) and not isinstance(one, bool):
            return "number"
    return ""


def mixed(samples: Samples) -> bool:
    """Whether it is now a map and now a list."""
    return any(isinstance(one, dict) for one in samples) and any(isinstance(one, list) for one in samples)


def no_text(text: str) -> bool:
    """Whether a text that is printed without quotes is something else to YAML: a number, true, a date."""
    try:
        return isinstance(fromYaml(text), (bool, int, float))
    except FunctionError:
        return False


def given(samples: Samples) -> Samples:
    """The samples where it counts as something: what is left inside of an ``if``."""
    found = tuple(one for one in samples if one is not MISSING and (isinstance(one, (_Word, Open)) or bool(one)))
    return found or ANYTHING

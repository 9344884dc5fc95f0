"""What the user allows, in words that mean something: ``--allow-privileged Storage``, ``hostpci0``, ``pending``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pvehelm.errors import Problem, UsageError

# Everything, and the waiting changes of somebody else that are applied together with ours.
WORDS = ("all", "pending")


def privileged(texts: Iterable[str]) -> frozenset[str]:
    """Kinds (by any of their names) and fields that ``--allow-privileged`` names. Raises UsageError with every word
    that is neither, and what was probably meant."""
    found: set[str] = set()
    problems: list[Problem] = []
    wanted = [word for text in texts for word in text.split(",") if word]
    if not set(wanted) - set(WORDS):
        return frozenset(wanted)
    from pvehelm.api.kinds import tables
    from pvehelm.api.lowering import VOLUME_BUSES

    kinds = {word.lower(): one.name for one in tables().values() for word in (one.name, one.plural, *one.short) if word}
    rules = [rule for one in tables().values() for rule in one.privileges.names]
    fields = {rule.partition(".")[0].removesuffix("[n]") for rule in rules} - {"*"}
    slots = {bus for buses in VOLUME_BUSES.values() for bus in buses}
    for word in wanted:
        if word in WORDS:
            found.add(word)
        elif word.lower() in kinds:
            found.add(kinds[word.lower()])
        elif re.sub(r"\d+\Z", "", word) in fields | slots:
            found.add(word)
        else:
            problems.append(Problem(word, "neither a kind nor a privileged field", _meant(word, kinds, fields)))
    if problems:
        raise UsageError(
            f"--allow-privileged {','.join(one.where for one in problems)}: nothing is called so", problems
        )
    return frozenset(found)


def _meant(word: str, kinds: dict[str, str], fields: set[str]) -> str:
    from pvehelm.suggest import suggest

    near = suggest(word, [*kinds.values(), *fields]) or kinds.get(suggest(word, kinds) or "")
    return (
        f"did you mean {near}?"
        if near
        else "a kind (pvehelm api-resources), a field of guests as the plan names it, or all"
    )

"""The suggestion: what a person probably meant."""

from __future__ import annotations

from collections.abc import Iterable


def suggest(word: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``word`` most likely stands for, or None."""
    import difflib

    names = list(known)
    lowered = {name.lower().replace("_", "").replace("-", ""): name for name in reversed(names)}
    plain = word.lower().replace("_", "").replace("-", "")
    if plain in lowered:
        return lowered[plain]
    close = difflib.get_close_matches(plain, lowered, n=1, cutoff=0.7)
    if close:
        return lowered[close[0]]
    begun = [name for key, name in lowered.items() if len(plain) > 2 and key.startswith(plain)]
    return begun[0] if len(begun) == 1 else None

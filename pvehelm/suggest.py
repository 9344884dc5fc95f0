"""What a person probably meant: one way to find it and one to say it."""

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


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """The hint ``did you mean 'x'?``, or ``otherwise`` where nothing is near."""
    meant = suggest(word, known)
    return f"did you mean {meant!r}?" if meant else otherwise

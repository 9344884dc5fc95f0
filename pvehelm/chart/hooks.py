"""Hooks: resources that are run at a moment of a release's life instead of being part of it.

``metadata.hook`` names the moments, ``hookWeight`` the order among them, ``hookDeletePolicy`` when what a run left is
removed; Helm's annotations (``helm.sh/hook`` and its companions) mean the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pvehelm.suggest import did_you_mean

TEST = "test"
VERBS = ("install", "upgrade", "rollback", "delete")
EVENTS = (*(f"{when}-{verb}" for verb in VERBS for when in ("pre", "post")), TEST)
AFTER_CREATION = "before-hook-creation"
POLICIES = (AFTER_CREATION, "hook-succeeded", "hook-failed")
# Helm's annotation -> the key of metadata that says the same.
ANNOTATIONS = {
    "helm.sh/hook": "hook",
    "helm.sh/hook-weight": "hookWeight",
    "helm.sh/hook-delete-policy": "hookDeletePolicy",
}
_OLD = {"test-success": TEST}
# Where a resource may say something of hooks.
_SAYS = frozenset({*ANNOTATIONS.values(), "annotations"})


class Hook(NamedTuple):
    """When a resource is run: its moments, its place among the others of one moment (low first), its policies."""

    events: tuple[str, ...]
    weight: int = 0
    policies: frozenset[str] = frozenset()


def hook_of(metadata: Mapping[str, Any]) -> Hook | None:
    """The hook that a resource is; None for an ordinary resource. Reads what ``problems`` found nothing wrong with."""
    events = words(_told(metadata, "hook"))
    if not events:
        return None
    policies = frozenset(words(_told(metadata, "hookDeletePolicy")))
    return Hook(tuple(_OLD.get(event, event) for event in events), int(_told(metadata, "hookWeight") or 0), policies)


def problems(metadata: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """What is wrong with what a resource says of hooks: path in the manifest, what, hint."""
    if not _SAYS.intersection(metadata):
        return
    events = words(_told(metadata, "hook"))
    for key, known in (("hook", (*EVENTS, *_OLD)), ("hookDeletePolicy", POLICIES)):
        for word in words(_told(metadata, key)):
            if word not in known:
                hint = did_you_mean(word, known, "one of " + ", ".join(known))
                yield _place(metadata, key), f"{_name(metadata, key)} {word!r} is not known", hint
    weight = _told(metadata, "hookWeight")
    if weight is not None and not _is_integer(weight):
        yield _place(metadata, "hookWeight"), f"{_name(metadata, 'hookWeight')} {weight!r} is no whole number", ""
    for key in ("hookWeight", "hookDeletePolicy"):
        if not events and _told(metadata, key) is not None:
            what = f"{_name(metadata, key)} means nothing without a hook"
            yield _place(metadata, key), what, "add hook: post-install, for example"


def words(value: Any) -> list[str]:
    """The words of a comma list or a list, each once."""
    items = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else ()
    return list(dict.fromkeys(item.strip() for item in items if isinstance(item, str) and item.strip()))


def _told(metadata: Mapping[str, Any], key: str) -> Any:
    if metadata.get(key) is not None:
        return metadata[key]
    annotation = _annotation(metadata, key)
    return metadata["annotations"][annotation] if annotation else None


def _annotation(metadata: Mapping[str, Any], key: str) -> str:
    given = metadata.get("annotations")
    if not isinstance(given, Mapping):
        return ""
    return next((name for name, other in ANNOTATIONS.items() if other == key and given.get(name) is not None), "")


def _place(metadata: Mapping[str, Any], key: str) -> tuple[str, ...]:
    if metadata.get(key) is not None:
        return ("metadata", key)
    return ("metadata", "annotations", _annotation(metadata, key))


def _name(metadata: Mapping[str, Any], key: str) -> str:
    return f"metadata.{key}" if metadata.get(key) is not None else _annotation(metadata, key)


def _is_integer(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lstrip("+-").isascii() and value.strip().lstrip("+-").isdigit()
    return isinstance(value, int) and not isinstance(value, bool)

"""Plain secrets become references before anything is planned, stored or shown.

A password written into a manifest or values as it is would end in the history, the plan and the journal. The schema
knows which fields the server never shows again; their literal values are sealed in the release's own secrets, and
``secret://release/NAME`` takes their place wherever the same text stands. NAME depends on the text alone: the same
text is the same reference, and rolling back restores the password of that revision.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pvehelm.api.kind import Kind, Wanted, leaves
from pvehelm.api.kinds import Kinds
from pvehelm.chart.manifest import Resource
from pvehelm.errors import PvehelmError
from pvehelm.release.secrets import REDACTED, has_secret

Path = tuple[str | int, ...]


def seal(
    resources: Sequence[Resource], kinds: Kinds, digest: Callable[[str], str]
) -> tuple[tuple[Resource, ...], dict[str, str]]:
    """The resources with references for their plain secrets, and what has to be sealed: name -> text.

    Resources that are not valid stay as they are; validation says so later.
    """
    sealed: dict[str, str] = {}
    made = []
    for resource in resources:
        spec = copy.deepcopy(dict(resource.spec))
        for path, text in _plain(resource, kinds):
            name = f"sealed-{re.sub('[^0-9a-f]', '', digest(text))[-16:]}"
            sealed[name] = text
            _put(spec, path[1:], f"${{secret://release/{name}}}")
        made.append(replace(resource, spec=spec))
    return tuple(made), sealed


def hide(value: Any, sealed: Mapping[str, str]) -> Any:
    """A value with every text that was sealed replaced by its reference."""
    if isinstance(value, str):
        return next((f"secret://release/{name}" for name, text in sealed.items() if text == value), value)
    if isinstance(value, Mapping):
        return {key: hide(inner, sealed) for key, inner in value.items()}
    if isinstance(value, list):
        return [hide(inner, sealed) for inner in value]
    return value


def hide_in(text: str, sealed: Mapping[str, str]) -> str:
    """A text of several words, such as notes, without what was sealed."""
    for secret in sealed.values():
        text = text.replace(secret, REDACTED)
    return text


def _plain(resource: Resource, kinds: Kinds) -> Iterator[tuple[Path, str]]:
    """Paths and texts of the plain secrets of a resource."""
    try:
        kind = kinds.get(resource.kind)
        wanted = kind.lower(resource, lambda ref: "100")
    except PvehelmError:
        return
    for leaf, value in _secrets(kind, wanted):
        path = wanted.origins.get(leaf) or wanted.origins.get(f"once.{leaf}") or ("spec", *leaf.split("."))
        text: Any = resource.spec
        for part in path[1:]:
            text = text.get(part) if isinstance(text, Mapping) else None
        if isinstance(value, str) and value and text == value and not has_secret(value):
            yield path, value


def _secrets(kind: Kind, wanted: Wanted) -> Iterator[tuple[str, Any]]:
    fields = kind.fields()
    for leaf, value in leaves(wanted.fields).items():
        if kind.write_only(leaf):
            yield leaf, value
    for name, value in wanted.once.items():
        if name in fields and fields[name].write_only:
            yield name, value


def _put(spec: dict[str, Any], path: Path, value: str) -> None:
    inner: Any = spec
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value

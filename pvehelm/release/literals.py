"""Plain secrets become references before anything is planned, stored or shown.

A password written into a manifest or values as it is would end in the history, the plan and the journal. The schema
knows which fields the server never shows again; their literal values are sealed in the release's own secrets, and
``secret://release/NAME`` takes their place wherever the same text stands. NAME depends on the text alone: the same
text is the same reference, and rolling back restores the password of that revision.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pvehelm.api.kind import Kind, Wanted, leaves
from pvehelm.api.kinds import Kinds
from pvehelm.chart.manifest import Resource
from pvehelm.chart.plain import at, scalars
from pvehelm.errors import InvalidError, Problem, PvehelmError
from pvehelm.release.secrets import FILTERS, REDACTED, SECRET, Secrets, has_secret, malformed, references

Path = tuple[str | int, ...]
_REFERENCE = "write secret://SCHEME/NAME, within a text ${secret://SCHEME/NAME}"


def seal(
    resources: Sequence[Resource], kinds: Kinds, digest: Callable[[str], str]
) -> tuple[tuple[Resource, ...], dict[str, str]]:
    """The resources with references for their plain secrets, and what has to be sealed: name -> text.

    Resources that are not valid stay as they are; validation says so later. Raises InvalidError for references that
    are none, lest a guest gets one for its password.
    """
    wrong = [
        Problem(str(resource.where(path)), f"{resource.ref}: {value!r} is no reference of a secret", _REFERENCE)
        for resource in resources
        for path, value in scalars(dict(resource.spec), ("spec",))
        if isinstance(value, str) and malformed(value)
    ]
    if wrong:
        raise InvalidError("what looks like a secret is none", wrong)
    sealed: dict[str, str] = {}
    made = []
    for resource in resources:
        spec = copy.deepcopy(dict(resource.spec))
        for path, text in _plain(resource, kinds):
            name = name_of(digest(text))
            sealed[name] = text
            _put(spec, path[1:], f"${{secret://release/{name}}}")
        made.append(replace(resource, spec=spec))
    return tuple(made), sealed


def seal_values(
    values: Any, paths: Iterable[Path], named: Callable[[Path, str], str], *, texts_only: bool = False
) -> tuple[Any, dict[str, str]]:
    """Values with references for what stands at the sensitive ``paths``, and what has to be sealed: name -> text.

    A number or a truth becomes a reference with ``|json`` (see :func:`reopened`); with ``texts_only`` it stays, for
    templates, which could do nothing with such a reference.
    """
    paths = list(paths)
    if not paths:
        return values, {}
    out = copy.deepcopy(values)
    sealed: dict[str, str] = {}
    for start in paths:
        for path, value in scalars(at(values, start), start):
            if value is None or value == "" or has_secret(value) or (texts_only and not isinstance(value, str)):
                continue
            text = value if isinstance(value, str) else json.dumps(value)
            name = named(path, text)
            sealed[name] = text
            _put(out, path, f"{SECRET}release/{name}" + ("" if isinstance(value, str) else "|json"))
    return out, sealed


def unknown(resources: Sequence[Resource], before: str, secrets: Secrets) -> list[Problem]:
    """References that the manifest ``before`` did not hold and that mean nothing here, each where it stands first.

    Of an old one it is no drift that it cannot be compared; a new one can only be a mistake.
    """
    seen = {"", *references(before.splitlines())}
    found = []
    for resource in resources:
        for path, value in scalars(dict(resource.spec), ("spec",)):
            for reference in references(value) if isinstance(value, str) else ():
                # The release's own may be written by this very operation.
                if reference in seen or reference.startswith("release/"):
                    continue
                seen.add(reference)
                try:
                    secrets.resolve(f"${{{SECRET}{reference}}}")
                except PvehelmError as error:
                    found.append(Problem(str(resource.where(path)), f"{resource.ref}: {error}", error.hint))
    return found


def reopened(value: Any, resolve: Callable[[Any], Any]) -> Any:
    """Recorded values with the numbers and truths that :func:`seal_values` put away."""
    if isinstance(value, Mapping):
        return {key: reopened(inner, resolve) for key, inner in value.items()}
    if isinstance(value, list):
        return [reopened(inner, resolve) for inner in value]
    if isinstance(value, str) and value.startswith(f"{SECRET}release/") and value.endswith("|json"):
        return json.loads(resolve(value))
    return value


def conceal(resources: Sequence[Resource], secret: Mapping[str, str]) -> tuple[Resource, ...]:
    """The resources with references where a secret text (name -> text) stands in a spec, as it is or in base64."""
    words = {text: f"${{{SECRET}release/{name}}}" for name, text in secret.items()}
    words |= {FILTERS["b64enc"](text): f"${{{SECRET}release/{name}|b64enc}}" for name, text in secret.items()}
    return (
        tuple(replace(one, spec=_replaced(dict(one.spec), words)) for one in resources) if words else tuple(resources)
    )


def _replaced(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for text, reference in words.items():
            value = value.replace(text, reference)
        return value
    if isinstance(value, Mapping):
        return {key: _replaced(inner, words) for key, inner in value.items()}
    return [_replaced(inner, words) for inner in value] if isinstance(value, list) else value


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


def name_of(digest: str) -> str:
    """The name that a text is sealed under, by its keyed digest."""
    return f"sealed-{re.sub('[^0-9a-f]', '', digest)[-16:]}"


def _put(spec: Any, path: Path, value: str) -> None:
    inner: Any = spec
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value

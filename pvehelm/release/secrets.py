"""Secret references: what they look like, and turning them into text at the last moment.

``secret://SCHEME/NAME`` stands alone or inside a text as ``${secret://SCHEME/NAME}``; ``|filter`` after the name defers
a transformation (``${secret://env/PW|b64enc}``). Resolvers are functions from NAME to text; the command line brings
those of ``resolvers``, every store brings ``release``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pvehelm.errors import InvalidError, Problem, PvehelmError

Resolver = Callable[[str], str]
REFERENCE = re.compile(
    r"\$\{secret://([a-z]+)/([^}|]+)((?:\|[a-z0-9]+)*)\}|\Asecret://([a-z]+)/([^|]+)((?:\|[a-z0-9]+)*)\Z"
)
_BEGUN = re.compile(r"\$\{secret://|\Asecret://")
FILTERS: Mapping[str, Callable[[str], str]] = {
    "b64enc": lambda text: base64.b64encode(text.encode()).decode(),
    "sha256sum": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "trim": str.strip,
    "json": str,
    "upper": str.upper,
    "lower": str.lower,
    "quote": lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"',
    "urlpath": lambda text: __import__("urllib.parse").parse.quote(text, safe=""),
    "urlquery": lambda text: __import__("urllib.parse").parse.quote_plus(text),
}
REDACTED = "<secret>"
SECRET = "secret://"


def has_secret(value: Any) -> bool:
    """Whether a value holds a reference of a secret anywhere."""
    if isinstance(value, str):
        return SECRET in value
    if value is None or isinstance(value, int):
        return False
    if isinstance(value, Mapping):
        return any(has_secret(inner) for inner in value.values())
    return isinstance(value, Sequence) and any(has_secret(inner) for inner in value)


def malformed(text: str) -> bool:
    """Whether a reference begins in ``text`` that is none: without a name, not closed, with an odd scheme."""
    return SECRET in text and bool(_BEGUN.search(REFERENCE.sub("", text)))


def secret_key(value: Any) -> str:
    """The text under which a value with references is resolved and hashed."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def references(value: Any) -> Iterator[str]:
    """Every reference in a value, as ``SCHEME/NAME``."""
    if isinstance(value, str):
        for found in REFERENCE.finditer(value):
            yield f"{found[1] or found[4]}/{found[2] or found[5]}"
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from references(inner)


def texts(value: Any) -> Iterator[str]:
    """Every text in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from texts(inner)


class Secrets:
    """Resolves references, each once. Raises InvalidError for a scheme that nobody resolves here."""

    def __init__(self, resolvers: Mapping[str, Resolver], digest: Callable[[str], str] | None = None) -> None:
        self.resolvers = resolvers
        self._digest = digest
        self._known: dict[str, str] = {}
        # What is never shown: the secrets, and what filters made of them.
        self._hidden: set[str] = set()

    def resolve(self, value: Any) -> Any:
        """``value`` with every reference replaced by what it stands for."""
        if isinstance(value, str):
            return REFERENCE.sub(lambda found: self._one(found), value) if "secret://" in value else value
        if isinstance(value, Mapping):
            return {name: self.resolve(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.resolve(inner) for inner in value]
        return value

    def _one(self, found: re.Match[str]) -> str:
        scheme, name, filters = (found[1] or found[4], found[2] or found[5], found[3] or found[6] or "")
        key = f"{scheme}/{name}"
        if key not in self._known:
            resolver = self.resolvers.get(scheme)
            if resolver is None:
                known = ", ".join(sorted(self.resolvers)) or "none"
                raise InvalidError(f"secret://{key}: nothing here resolves {scheme!r} secrets", hint=f"known: {known}")
            self._known[key] = resolver(name)
        text = self._known[key]
        self._hidden.add(text)
        for name in filter(None, filters.split("|")):
            if name not in FILTERS:
                raise InvalidError(f"secret://{key}: unknown filter {name!r}", hint=f"known: {', '.join(FILTERS)}")
            text = FILTERS[name](text)
            self._hidden.add(text)
        return text

    def look(self, value: Any) -> tuple[str | None, Any]:
        """The keyed hash of a value with its references resolved, and the plain value; (None, "") where unknown."""
        try:
            digest = self._digest(self.resolve(secret_key(value))) if self._digest else None
            return digest, self.resolve(value)
        except PvehelmError:
            return None, ""

    def redact(self, text: str) -> str:
        """``text`` without any secret that was resolved so far."""
        for secret in sorted(filter(lambda s: len(s) > 3, self._hidden), key=len, reverse=True):
            text = text.replace(secret, REDACTED)
        return text

    def redact_error(self, error: PvehelmError) -> PvehelmError:
        """The same error, with nothing secret in what it says: servers repeat what they don't like."""
        error.message = self.redact(error.message)
        error.hint = self.redact(error.hint)
        error.problems = tuple(Problem(*map(self.redact, problem)) for problem in error.problems)
        return error

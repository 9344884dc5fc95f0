"""The reference: ``secret://...`` in the user's values, opaque to templates and restored after parsing.

Before rendering each reference becomes a token, a word of letters and digits that no chart can guess. Templates may
place tokens anywhere (also inside longer text), but not look into them: what a function would make of a token is not
what it would make of the secret. ``sensitive(value, "b64enc")`` defers such a change to the moment the secret is
known: ``${secret://env/PW|b64enc}``.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import TYPE_CHECKING, Any

from pvehelm.chart.functions.common import FunctionError
from pvehelm.chart.pattern import pattern
from pvehelm.errors import Problem

if TYPE_CHECKING:
    from pvehelm.chart.yaml import Path_

#: Changes that can be made to a secret when it is resolved.
DEFERRED = ("b64enc", "sha256sum", "trim", "quote", "urlquery", "upper", "lower")


def _words(names: str) -> frozenset[str]:
    return frozenset(names.split())


#: Functions that place or pass on a secret reference without looking into it.
OPAQUE = _words(
    "default required coalesce ternary empty all any dict get set unset hasKey keys values pluck pick omit merge "
    "mergeOverwrite deepCopy dig index kindOf kindIs typeOf typeIs typeIsLike tuple list first last rest initial "
    "append push prepend concat slice reverse compact chunk len length count toYaml toYamlPretty yaml toJson "
    "toRawJson toPrettyJson toToml indent nindent quote squote cat print println printf join toString toStrings fail "
    "sensitive include tpl map selectattr rejectattr items dictsort batch _items"
)
#: ... of lists, but look into texts.
OF_LISTS = _words("first last rest initial slice reverse index chunk len length count")

_WHOLE = pattern(r"secret://[^}]+\Z")
_INNER = pattern(r"\$\{(secret://[^}]+)\}")
# Wider than what is ever resolved, so that no odd spelling slips through.
_ANY = pattern(r"(?:\A|\$\{)\s*(secret://[^}]*)", re.IGNORECASE)
_OWN_STORE = "secret://release/"


class Tokens:
    """The tokens of one rendering: made by ``hide``, turned back by ``restore``."""

    def __init__(self) -> None:
        self.word = "pvs" + os.urandom(8).hex() + "n"
        self.references: list[str] = []
        self._numbers: dict[str, int] = {}

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        # Most charts have no references, and to make it takes longer than all else here.
        return re.compile(self.word + r"(\d+)z")

    def __bool__(self) -> bool:
        return bool(self.references)

    def token(self, reference: str) -> str:
        """The token of ``secret://...`` (with its deferred changes, if any)."""
        number = self._numbers.setdefault(reference, len(self.references))
        if number == len(self.references):
            self.references.append(reference)
        return f"{self.word}{number}z"

    def hide(self, values: Any, user: Any) -> Any:
        """A copy of ``values`` in which the references that ``user`` holds are tokens."""
        found = {text for _, text in _texts(user) if _is_reference(text)}
        return self._hidden(values, found) if found else values

    def _hidden(self, value: Any, found: set[str]) -> Any:
        if isinstance(value, str):
            return self._text(value) if value in found else value
        if isinstance(value, dict):
            return {key: self._hidden(item, found) for key, item in value.items()}
        if isinstance(value, list):
            return [self._hidden(item, found) for item in value]
        return value

    def _text(self, text: str) -> str:
        if _WHOLE.match(text):
            return self.token(text)
        return _INNER.sub(lambda match: self.token(match[1]), text)

    def restore(self, value: Any) -> Any:
        """A copy of ``value`` with ``${secret://...}`` for each token. Raises FunctionError for mangled ones."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.restore(key): self.restore(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.restore(item) for item in value]
        return value

    def text(self, value: str) -> str:
        """``restore`` of one text."""
        if not self.references or self.word[:7] not in value.lower():
            return value
        restored = self._pattern.sub(self._reference, value)
        # A part of the word is enough: the token was cut, or its letters were changed.
        if self.word[:7] in restored.lower():
            raise FunctionError(_TRANSFORMED)
        return restored

    def shown(self, value: str) -> str:
        """``text`` for people, and never an error."""
        try:
            return self.text(value)
        except FunctionError:
            return value

    def mangled(self, value: Any) -> Iterator[Path_]:
        """The paths of texts in ``value`` that hold parts of a token."""
        for path, text in _texts(value):
            try:
                self.text(text)
            except FunctionError:
                yield path

    def _reference(self, match: re.Match[str]) -> str:
        number = int(match[1])
        if number >= len(self.references):
            raise FunctionError(_TRANSFORMED)
        return "${" + self.references[number] + "}"

    def guard(self, value: Any, depth: int = 2) -> None:
        """Raises FunctionError when ``value`` is, or directly holds, a reference: it is about to be looked into."""
        if not self.references:
            return
        if isinstance(value, str):
            if self.word in value:
                names = ", ".join(sorted({self.references[int(n)] for n in self._pattern.findall(value)}))
                raise FunctionError(f"{names or 'a secret reference'} {_TRANSFORMED}")
        elif depth and isinstance(value, (list, tuple, KeysView, ValuesView, ItemsView)):
            for item in value:
                self.guard(item, depth - 1)
        elif depth and isinstance(value, dict):
            for item in value.values():
                self.guard(item, depth - 1)

    def sensitive(self, value: Any, *changes: Any) -> Any:
        """``value`` with changes that are made when its secret is resolved; a plain text is changed at once."""
        for change in changes:
            if change not in DEFERRED:
                raise FunctionError(f"sensitive cannot defer {change!r}; it knows {', '.join(DEFERRED)}")
        text = str(value) if isinstance(value, str) else value
        if isinstance(text, str) and self.word in text:
            whole = self._pattern.fullmatch(text)
            if not whole:
                raise FunctionError("sensitive takes one reference alone; apply it to the value before joining it")
            return self.token("|".join([self.references[int(whole[1])], *changes]))
        from pvehelm.chart.functions import FUNCTIONS

        for change in changes:
            text = FUNCTIONS[change](text)
        return text


_TRANSFORMED = (
    "is a reference to a secret, which is not known while templates run and so cannot be changed or compared; "
    'sensitive(value, "b64enc") makes the change when the secret is resolved'
)


def _is_reference(text: str) -> bool:
    return "secret://" in text and bool(_WHOLE.match(text) or _INNER.search(text))


def foreign(value: Any) -> Iterator[tuple[Path_, str]]:
    """The references in ``value`` that a chart may not make itself, with their paths.

    ``secret://release/<name>``, the release's own store, is every chart's to use.
    """
    for path, text in _texts(value):
        for reference in _ANY.findall(text) if "secret://" in text.lower() else ():
            if not reference.startswith(_OWN_STORE):
                yield path, reference


def chart_problem(where: str, reference: str) -> Problem:
    """The problem of a reference in a chart's own text or default values."""
    return Problem(
        where,
        f"{reference}: references come from your values, not from a chart",
        "give the reference in a values file or with --set; a chart may use only secret://release/<name>",
    )


def _texts(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
            if isinstance(key, str) and "secret://" in key:
                yield path, key
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))

"""The view: the documents that a case looks at, which of them an assertion means, and how they compare as data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from pvehelm.chart import jsonpath
from pvehelm.chart.yaml import dump
from pvehelm.errors import InvalidError, PvehelmError, UsageError
from pvehelm.suggest import did_you_mean

#: What a path leads to that leads nowhere.
MISSING: Any = type("Missing", (), {})()


class Shown(NamedTuple):
    """A document: the template it is from (``templates/vm.yaml``; '' on a server), its number in there, its data."""

    template: str
    number: int
    data: Any

    @property
    def label(self) -> str:
        data = self.data if isinstance(self.data, Mapping) else {}
        name = (data.get("metadata") or {}).get("name") if isinstance(data.get("metadata"), Mapping) else None
        ref = f"{data.get('kind')}/{name}" if data.get("kind") and name else f"document {self.number}"
        return f"{self.template}: {ref}" if self.template else ref


@dataclass(frozen=True)
class View:
    """What there is to look at: documents and texts by template, or the messages of what failed."""

    documents: tuple[Shown, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    # Every template of the chart, those that printed nothing too.
    templates: tuple[str, ...] = ()
    errors: tuple[str, ...] | None = None
    # What is wrong with the manifests by the schema of a Proxmox VE version.
    invalid: Callable[[str], Sequence[str]] = lambda version: ()
    # Compares with what was kept under a number, and says what differs; '' for nothing.
    snapshot: Callable[[int, str], str] = lambda number, text: ""


@dataclass(frozen=True)
class Pick:
    """Which documents are meant."""

    templates: tuple[str, ...] = ()
    ref: str = ""
    index: int | None = None
    selector: Mapping[str, Any] = field(default_factory=dict)

    def over(self, other: Pick) -> Pick:
        """This with what ``other`` says besides."""
        return replace(
            self,
            templates=self.templates or other.templates,
            ref=self.ref or other.ref,
            index=other.index if self.index is None and not (self.ref or self.selector) else self.index,
            selector=self.selector or (other.selector if not self.ref else {}),
        )

    def texts(self, view: View) -> dict[str, str]:
        return {name: text for name, text in view.texts.items() if self._of(name)}

    def documents(self, view: View) -> tuple[list[Shown], str]:
        """The documents that are meant, and what is wrong with that."""
        for pattern in self.templates:
            if view.templates and not any(matches(name, pattern) for name in view.templates):
                meant = did_you_mean(pattern, [name.removeprefix("templates/") for name in view.templates])
                return [], "; ".join(filter(None, (f"the chart has no template {pattern!r}", meant)))
        found = [one for one in view.documents if self._of(one.template)]
        if self.ref:
            kind, _, name = self.ref.partition("/")
            found = [one for one in found if is_(one.data, {"kind": kind, "name": name})]
            if not found:
                return [], f"there is no {self.ref} among {labels(view.documents)}"
        if self.selector:
            found = [one for one in found if self._selected(one.data)]
            if not found:
                return [], f"no document has {self.selector.get('path')} = {inline(self.selector.get('value'))}"
            if len(found) > 1 and not self.selector.get("matchMany"):
                return [], f"{len(found)} documents are selected; matchMany: true takes them all"
        if self.index is not None:
            if not -len(found) <= self.index < len(found):
                return [], f"there is no document {self.index}: there are {len(found)}"
            found = [found[self.index]]
        return found, ""

    def _of(self, template: str) -> bool:
        return not self.templates or not template or any(matches(template, pattern) for pattern in self.templates)

    def _selected(self, data: Any) -> bool:
        found = found_at(data, str(self.selector.get("path", "")))
        return any("value" not in self.selector or same(one, self.selector["value"]) for one in found)


def parse_pick(data: Mapping[str, Any]) -> Pick:
    """The Pick of ``template``, ``templates``, ``document``, ``documentIndex``, ``documentSelector``.

    Raises InvalidError.
    """
    templates = [*([data["template"]] if "template" in data else []), *data.get("templates", ())]
    ref = str(data.get("document", ""))
    if ref and not re.fullmatch(r"[^/]+/.+", ref):
        raise InvalidError(f"document {ref!r} is not KIND/NAME", hint="for example VirtualMachine/web-0")
    selector = data.get("documentSelector") or {}
    if selector:
        known = ("path", "value", "matchMany", "skipEmptyTemplates")
        odd = [key for key in selector if key not in known]
        if odd or "path" not in selector:
            raise InvalidError("documentSelector takes path, value, matchMany and skipEmptyTemplates")
        try:
            jsonpath.path(str(selector["path"]))
        except UsageError as error:
            raise InvalidError(error.message, hint=error.hint) from None
    index = data.get("documentIndex")
    return Pick(tuple(map(str, templates)), ref, index if isinstance(index, int) else None, selector)


def same(one: Any, other: Any) -> bool:
    """Equal as data: 1 is 1.0, and true is not 1."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def within(part: Any, whole: Any) -> bool:
    """Whether every key of ``part`` is in ``whole`` and the same there, at any depth."""
    if isinstance(part, Mapping) and isinstance(whole, Mapping):
        return all(key in whole and within(value, whole[key]) for key, value in part.items())
    return same(part, whole)


def difference(wanted: Any, found: Any) -> str:
    """Two values line by line, as ``-`` what was expected and ``+`` what there is."""
    import difflib

    one, two = (value if isinstance(value, str) else dump(value) for value in (wanted, found))
    lines = list(difflib.unified_diff(one.splitlines(), two.splitlines(), "expected", "found", lineterm="", n=2))
    return "\n".join(lines)


def matches(template: str, pattern: str) -> bool:
    return fnmatchcase(template, pattern) or fnmatchcase(template, f"templates/{pattern}")


def found_at(data: Any, path: str) -> list[Any]:
    return jsonpath.path(path)(data) if path else [data]


def is_(data: Any, wanted: Mapping[str, Any]) -> bool:
    if not isinstance(data, Mapping):
        return False
    metadata = data.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    has = {"kind": data.get("kind"), "apiVersion": data.get("apiVersion")}
    has |= {"name": metadata.get("name"), "namespace": metadata.get("namespace")}
    return all(has[key] == value for key, value in wanted.items())


def inline(value: Any) -> str:
    if value is MISSING:
        return "missing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else text[:197] + "..."


def labels(documents: Sequence[Shown]) -> str:
    return ", ".join(one.label for one in documents[:8]) + (", ..." if len(documents) > 8 else "") or "no documents"


def explained(error: PvehelmError) -> tuple[str, ...]:
    """What an error says, for ``failedTemplate`` and for people: each problem with its place, or its message."""
    return tuple(str(problem) for problem in error.problems) or (error.message,)

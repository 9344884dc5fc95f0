"""Configuration files of typed sections: mappings, metric servers, SDN objects and their like.

They all behave alike: an id, a type that decides which options exist and which are required, one digest for the whole
file, ``delete=`` for options, and texts that name the operation first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pvehelm.simulator.core import MODIFIED, Call

CONTROL = frozenset({"delete", "digest", "lock-token", "force", "type", "node"})


@dataclass(frozen=True)
class Section:
    """One such file. ``options`` maps a type to (options, required ones); texts may use ``{id}`` and ``{type}``."""

    collection: str
    key: str
    options: Mapping[str, tuple[frozenset[str], frozenset[str]]]
    create: str = ""
    update: str = ""
    delete: str = ""
    exists: str = "{key} '{id}' already defined"
    missing: str = "{key} '{id}' does not exist"
    secrets: frozenset[str] = field(default_factory=frozenset)
    # Refuses a write, e.g. while somebody holds a lock.
    guard: Callable[[Call], None] | None = None

    def text(self, template: str, id: str, type: str = "") -> str:
        return template.format(key=self.key, id=id, type=type)

    def _options(self, kind: str) -> tuple[frozenset[str], frozenset[str]]:
        return self.options.get(kind, (frozenset(), frozenset()))

    def digest(self, call: Call) -> str:
        return call.digest_of(self.collection)

    def find(self, call: Call, id: str, prefix: str = "") -> dict[str, Any]:
        found = call.state.collection(self.collection).get(id)
        if found is None:
            call.fail(prefix + self.text(self.missing, id))
        return found

    def shown(self, id: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """A section as answered, without its digest."""
        return {self.key: id, **{name: value for name, value in document.items() if name not in self.secrets}}

    def listed(self, call: Call) -> list[dict[str, Any]]:
        digest = self.digest(call)
        return [
            {**self.shown(id, document), "digest": digest}
            for id, document in call.state.collection(self.collection).items()
        ]

    def sent(self, call: Call, kind: str, prefix: str) -> dict[str, Any]:
        """The options of a call, typed; 500 for one that the type does not have."""
        known, _ = self._options(kind)
        found = {}
        for name in call.args:
            if name in CONTROL and name not in known:
                continue
            if name in ("pending", "running") or name == self.key or name in call.operation.path_names:
                continue
            if name not in known:
                call.fail(f"{prefix}unexpected property '{name}'")
            found[name] = call.typed(name)
        return found

    def complete(self, call: Call, kind: str, document: Mapping[str, Any], prefix: str) -> None:
        """500 when a required option is missing."""
        for name in sorted(self._options(kind)[1]):
            if document.get(name) in (None, ""):
                call.fail(f"{prefix}missing value for required option '{name}'")

    def new(self, call: Call, id: str, kind: str) -> dict[str, Any]:
        """The document that a create call describes; 500 when the id is taken."""
        self.may_write(call)
        if id in call.state.collection(self.collection):
            call.fail(self.create + self.text(self.exists, id, kind))
        document = {"type": kind, **self.sent(call, kind, self.create)}
        self.complete(call, kind, document, self.create)
        return {name: value for name, value in document.items() if value != ""}

    def changed(self, call: Call, id: str) -> dict[str, Any]:
        """The document after an update call."""
        self.may_write(call)
        document = self.find(call, id, self.update)
        call.check_digest(self.digest(call), self.update + MODIFIED)
        kind = document["type"]
        known, required = self._options(kind)
        sent = self.sent(call, kind, self.update)
        for name in call.list("delete"):
            if name in sent:
                call.fail(f"{self.update}unable to set and delete '{name}' at the same time")
            if name in required:
                call.fail(f"{self.update}unable to delete required option '{name}'")
            if name not in known:
                call.fail(f"{self.update}no such option '{name}'")
            document.pop(name, None)
        document.update(sent)
        return {name: value for name, value in document.items() if value != ""}

    def may_write(self, call: Call) -> None:
        if self.guard is not None:
            self.guard(call)

    def save(self, call: Call, id: str, document: dict[str, Any]) -> None:
        call.state.collection(self.collection)[id] = document


def options(table: Mapping[str, tuple[str, str]]) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """``{type: ("all options", "required ones")}`` as words -> sets."""
    return {kind: (frozenset(known.split()), frozenset(required.split())) for kind, (known, required) in table.items()}

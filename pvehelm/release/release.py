"""What the store keeps about a release: its key and its revisions (``inventory`` has what it owns now).

Everything here is plain data with ``to_json``/``from_json`` (JSON-able dictionaries; unknown keys are ignored, missing
ones take their defaults, so that an older and a newer pvehelm can share what they write).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Self


class Status(StrEnum):
    """Helm's words. The last four are never stored: a release *shows* them while a live lease works on it."""

    deployed = "deployed"
    failed = "failed"
    superseded = "superseded"
    uninstalled = "uninstalled"
    uninstalling = "uninstalling"
    pending_install = "pending-install"
    pending_upgrade = "pending-upgrade"
    pending_rollback = "pending-rollback"

    @property
    def stored(self) -> bool:
        """Whether a revision may be stored with this status."""
        return self in _STORED

    @property
    def pending(self) -> bool:
        """Whether somebody works on the release at this moment."""
        return self not in _STORED


# Among the user values of a renamed release: the name that its chart is still rendered under.
CALLED = "pvehelmName"
_STORED = frozenset({Status.deployed, Status.failed, Status.superseded, Status.uninstalled})


def known(cls: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``data`` that are fields of the dataclass or tuple ``cls``."""
    return {name: data[name] for name in cls.__annotations__ if name in data}


def check_name(name: str) -> str:
    """Helm's rule for release names. Raises UsageError."""
    import re

    from pvehelm.errors import UsageError

    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", name) or len(name) > 53:
        hint = "lower-case letters, digits, '-' and '.', at most 53 characters"
        raise UsageError(f"{name!r} is no release name", hint=hint)
    return name


class ReleaseKey(NamedTuple):
    """What a release is found by. ``cluster`` is the fingerprint of the cluster's root CA, or the simulator's id.

    Without a namespace it is no release but an object by itself (``guest/101``, ``Pool/web``), whose direct verbs are
    journalled under it (``release.direct``).
    """

    cluster: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def scope(self) -> str:
        """The lease scope of every verb that changes this release, or this object."""
        if not self.namespace:
            kind, _, rest = self.name.partition("/")
            return f"{kind}:{self.cluster}/{rest}"
        return f"release:{self.cluster}/{self.namespace}/{self.name}"

    def to_json(self) -> dict[str, str]:
        return self._asdict()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(**known(cls, data))


class Revision(NamedTuple):
    """One entry of a release's history.

    ``user_values`` are what the user gave, ``values`` what was computed from them; ``plan`` is the plan's JSON;
    ``events`` the journal's outcome and task logs, kept with failed revisions; times are unix seconds; ``user`` is
    ``who@host``; ``rollback_of`` names the revision that was restored. ``complete`` is False where the store was asked
    for the summary only: then user_values, values, manifest, plan, notes and events are empty, and the revision can't
    be written back.
    """

    number: int
    status: Status = Status.failed
    chart_name: str = ""
    chart_version: str = ""
    app_version: str = ""
    chart_digest: str = ""
    chart_origin: str = ""
    user_values: Mapping[str, Any] = {}
    values: Mapping[str, Any] = {}
    manifest: str = ""
    plan: Mapping[str, Any] | None = None
    notes: str = ""
    description: str = ""
    labels: Mapping[str, str] = {}
    created: float = 0.0
    updated: float = 0.0
    user: str = ""
    rollback_of: int | None = None
    events: Sequence[Mapping[str, Any]] = ()
    pvehelm_version: str = ""
    complete: bool = True

    @property
    def interrupted(self) -> bool:
        """Whether whoever worked on it was killed or stopped, and nobody has gone on since."""
        return self.status is Status.failed and self.description == "interrupted"

    def to_json(self) -> dict[str, Any]:
        return {**self._asdict(), "status": str(self.status)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        found = known(cls, data)
        found["status"] = Status(found.get("status", Status.failed))
        return cls(**found)


class Release(NamedTuple):
    """A release as ``list`` and ``status`` show it: ``current`` is its newest revision.

    ``uid`` is new for every release and marks its guests; ``created`` is when it was first installed; ``deployed`` the
    number of the revision that is deployed, if any; ``working`` the verb of a live process that has begun to change it
    (else empty), ``worker`` who that is (``who@host``).
    """

    key: ReleaseKey
    uid: str
    current: Revision
    created: float = 0.0
    deployed: int | None = None
    working: str = ""
    worker: str = ""

    @property
    def labels(self) -> Mapping[str, str]:
        return self.current.labels

    @property
    def status(self) -> Status:
        """The stored status, or what a live process is doing right now. Nothing here ever needs unsticking."""
        if self.working == "uninstall" and self.current.status is not Status.uninstalled:
            return Status.uninstalling
        if self.working in ("install", "upgrade", "rollback") and self.current.status is Status.failed:
            return Status(f"pending-{self.working}")
        return self.current.status

    def to_json(self) -> dict[str, Any]:
        return {
            **self._asdict(),
            "key": self.key.to_json(),
            "current": self.current.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        found = known(cls, data)
        found["key"] = ReleaseKey.from_json(found["key"])
        found["current"] = Revision.from_json(found["current"])
        return cls(**found)

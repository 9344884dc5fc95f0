"""The audit trail: who did what, when, by which plan, and how it ended; append-only and hash-chained.

An action that changes something is entered twice: ``begun`` together with the record of its first step, and its
outcome at the end, which names the first entry. So what a killed process had begun is known, too. What was refused or
failed before anything was begun has an outcome alone.

The hash of an entry covers its text, and the text names the hash of the entry before: whoever changes or takes out one
entry breaks the chain there. Entries that came from another store (``store import``) are held whole inside new ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from pvehelm.errors import FencedError, LeaseHeldError, PvehelmError, RefusedError, StoppedError

if TYPE_CHECKING:
    from pvehelm.release.context import Context
    from pvehelm.release.plan import Plan
    from pvehelm.release.release import ReleaseKey

# The longest text of an error that is kept.
LONGEST = 500
# Arguments of actions that say what was asked for; none of them holds a secret.
TELLING = (
    *("verb", "target", "method", "path", "revision", "chosen", "vmid", "upid", "set_name"),
    *("prune", "offline", "purge", "allow_owned", "description", "to", "old", "new"),
)


# The words that a user gave, by what they allow: kinds, fields and objects.
ALLOWED = {"privileged": "allow_privileged", "destroy": "allow_destroy", "take_ownership": "take_ownership"}


class AuditEntry(NamedTuple):
    """One entry. ``outcome`` is begun, done, unchanged, refused, held, interrupted or failed; ``begun`` the number of
    the entry that began it (0: nothing was begun); ``plan`` the plan's digest; ``at`` unix seconds; ``by`` who@host;
    ``origin`` the number that it had in the store it was imported from (0: this one)."""

    seq: int
    at: float = 0.0
    by: str = ""
    action: str = ""
    outcome: str = ""
    cluster: str = ""
    namespace: str = ""
    release: str = ""
    revision: int = 0
    plan: str = ""
    chart: str = ""
    given: Mapping[str, Any] = {}
    objects: Sequence[str] = ()
    error: str = ""
    begun: int = 0
    pvehelm: str = ""
    previous: str = ""
    hash: str = ""
    origin: int = 0

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in self._asdict().items() if value not in ("", 0, {}, (), [])}


def read(body: str, hashed: str) -> AuditEntry:
    """An entry from its text; of an imported one what it said where it came from."""
    try:
        data = json.loads(body)
    except ValueError:
        return AuditEntry(0, outcome="damaged", hash=hashed)
    inner = data.get("imported")
    if inner is not None:
        origin = json.loads(inner["body"])
        more = {"seq": data["seq"], "origin": origin["seq"], "previous": data["previous"]}
        data = {**origin, **more, "begun": data.get("begun", 0)}
    return AuditEntry(**{name: data[name] for name in AuditEntry._fields if name in data}, hash=hashed)


class Record:
    """What is known of the action that runs, for its entries. ``begin`` may be called again; the first one counts."""

    def __init__(self, action: str, given: Mapping[str, Any]) -> None:
        self.facts: dict[str, Any] = {"action": action, **given}
        self.begun = 0

    def about(self, key: ReleaseKey, **more: Any) -> None:
        """Which release it is about."""
        place = {"cluster": key.cluster, "namespace": key.namespace, "release": key.name}
        self.facts |= {**place, **{name: value for name, value in more.items() if value}}

    def planned(self, plan: Plan) -> None:
        self.facts["plan"] = str(plan.digest)

    def begin(self, ctx: Context) -> None:
        """Something is about to be changed: say so first."""
        if not self.begun:
            self.begun = ctx.store.append(self._entry(ctx, "begun"))

    def end(self, ctx: Context, outcome: str, error: str = "") -> None:
        more: dict[str, Any] = {"begun": self.begun} if self.begun else {}
        more |= {"error": error[:LONGEST]} if error else {}
        ctx.store.append({**self._entry(ctx, outcome), **more})

    def _entry(self, ctx: Context, outcome: str) -> dict[str, Any]:
        from pvehelm import __version__

        place = {"cluster": ctx.known_cluster, "namespace": ctx.namespace}
        return {"by": ctx.user, "outcome": outcome, "pvehelm": __version__, **place, **self.facts}


@contextmanager
def recorded(ctx: Context, action: str, given: Mapping[str, Any]) -> Iterator[Record]:
    """Enter how an action ends; an action inside another one is part of that. Whoever runs it calls ``begin``."""
    if ctx.record is not None:
        yield ctx.record
        return
    record = ctx.record = Record(action, told(ctx, given))
    try:
        yield record
    except BaseException as error:
        try:
            record.end(ctx, _outcome(error), _words(error))
        except PvehelmError as unwritten:
            error.add_note(f"nor could that be entered in the audit trail: {unwritten}")
        raise
    else:
        record.end(ctx, "unchanged" if record.facts.pop("unchanged", False) else "done")
    finally:
        ctx.record = None


def finish(record: Record, result: Any) -> None:
    """What the result of an action adds to its entry."""
    changed = getattr(result, "changed", None)
    if changed is False:
        record.facts["unchanged"] = True
    release = getattr(result, "release", None)
    if changed and release is not None:
        record.facts["revision"] = release.current.number


def _outcome(error: BaseException) -> str:
    if isinstance(error, RefusedError):
        return "refused"
    if isinstance(error, LeaseHeldError | FencedError):
        return "held"
    if isinstance(error, StoppedError) or not isinstance(error, Exception):
        return "interrupted"
    return "failed"


def _words(error: BaseException) -> str:
    """What an error says, with its problems."""
    parts = [str(error), *(f"{p.where}: {p.what}" if p.where else p.what for p in getattr(error, "problems", ()))]
    return "; ".join(filter(None, parts)) or type(error).__name__


def told(ctx: Context, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the arguments of an action say of what it is about."""
    found: dict[str, Any] = {}
    plain: dict[str, Any] = {
        name: given[name] for name in TELLING if isinstance(given.get(name), str | int) and given[name]
    }
    request, key = given.get("request"), given.get("key") or getattr(given.get("saved"), "key", None)
    if key is not None:
        found |= {"cluster": key.cluster, "namespace": key.namespace, "release": key.name}
    elif "choice" not in given and isinstance(name := getattr(request, "name", given.get("name")), str):
        found |= {"namespace": str(given.get("namespace") or ctx.namespace), "release": name}
    elif given.get("name"):
        plain["name"] = str(given["name"])
    chart = getattr(request, "chart", None)
    if chart is not None:
        found["chart"] = f"{chart.metadata.name}-{chart.version}"
    for name in ("choice", "target"):
        words = getattr(given.get(name), "words", ())
        if words:
            found["objects"] = [str(word) for word in words]
    allowed = getattr(given.get("options"), "allowed", None)
    plain |= {flag: sorted(words) for name, flag in ALLOWED.items() if (words := getattr(allowed, name, None))}
    return found | ({"given": plain} if plain else {})

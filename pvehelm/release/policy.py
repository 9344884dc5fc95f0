"""The policy: what a reconciler may do to a release, how often it looks, and when it leaves the release alone.

Policies and what the last look found are kept in the release store, by the release's uid: they go with a release that
is renamed, and a new release of an old name begins without one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pvehelm.durations import seconds
from pvehelm.errors import UsageError
from pvehelm.release.release import known

if TYPE_CHECKING:
    from pvehelm.release.release import ReleaseKey
    from pvehelm.release.store import Store

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
INTERVAL = 300.0
_WINDOW = re.compile(r"(?:([A-Za-z,-]+)\s+)?(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")


class Mode(StrEnum):
    """``observe`` only says what differs; ``repair`` sets it back but destroys nothing; ``repair-and-prune`` does what
    it takes."""

    observe = "observe"
    repair = "repair"
    prune = "repair-and-prune"

    @classmethod
    def of(cls, text: str) -> Mode:
        """Raises UsageError."""
        try:
            return cls(text)
        except ValueError:
            raise UsageError(f"{text!r} is no policy", hint=f"one of {', '.join(cls)}") from None


@dataclass(frozen=True)
class Window:
    """A time of the week: ``Mon-Fri 22:00-06:00``. One that ends before it begins ends on the next day."""

    days: frozenset[int]
    start: int  # minutes of the day
    end: int
    text: str

    @classmethod
    def parse(cls, text: str) -> Window:
        """Raises UsageError."""
        found = _WINDOW.fullmatch(text.strip())
        hint = "for example 'Sat,Sun 02:00-05:00', 'Mon-Fri 22:00-06:00' or '02:00-04:00'"
        if not found:
            raise UsageError(f"{text!r} is no window", hint=hint)
        start, end = (int(found[i]) * 60 + int(found[i + 1]) for i in (2, 4))
        if max(start, end) > 24 * 60 or start == end or int(found[3]) > 59 or int(found[5]) > 59:
            raise UsageError(f"{text!r} is no window: times go from 00:00 to 24:00 and differ", hint=hint)
        days = _days(found[1] or "mon-sun")
        if days is None:
            raise UsageError(f"{text!r} is no window: days are {', '.join(DAYS)}", hint=hint)
        return cls(days, start, end, text.strip())

    def holds(self, now: datetime) -> bool:
        """Whether a local time lies in the window."""
        minute, day = now.hour * 60 + now.minute, now.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        return (day in self.days and minute >= self.start) or ((day - 1) % 7 in self.days and minute < self.end)


def _days(text: str) -> frozenset[int] | None:
    found: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = part.partition("-")
        if first[:3] not in DAYS or (dash and last[:3] not in DAYS):
            return None
        one = DAYS.index(first[:3])
        span = (DAYS.index(last[:3]) - one) % 7 if dash else 0
        found |= {(one + step) % 7 for step in range(span + 1)}
    return frozenset(found)


@dataclass(frozen=True)
class Policy:
    """What may be done to a release. ``interval``: seconds between looks. It is repaired only inside ``windows``, if
    there are any, and never inside ``freezes``, by the clock of ``timezone``."""

    mode: Mode = Mode.observe
    interval: float = INTERVAL
    windows: tuple[Window, ...] = ()
    freezes: tuple[Window, ...] = ()
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if not 1 <= self.interval <= 7 * 86400:
            raise UsageError(f"an interval of {self.interval:g} s", hint="it lies between 1s and 7d")
        zone_of(self.timezone)

    def closed(self, now: float) -> str:
        """Why nothing may be changed at a time (unix seconds); nothing where it may."""
        local = datetime.fromtimestamp(now, zone_of(self.timezone))
        for window in self.freezes:
            if window.holds(local):
                return f"inside the freeze {window.text} ({self.timezone})"
        if self.windows and not any(window.holds(local) for window in self.windows):
            return f"outside of the maintenance windows {', '.join(w.text for w in self.windows)} ({self.timezone})"
        return ""

    def opens(self, now: float, within: float) -> float:
        """The first minute within ``within`` seconds in which something may be changed; else the end of that time."""
        moment = now
        while moment < now + within and self.closed(moment):
            moment += 60 - moment % 60
        return min(moment, now + within)

    def to_json(self) -> dict[str, Any]:
        return plain(vars(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Policy:
        """Raises UsageError."""
        return cls(**parsed(data))

    def changed(self, **more: Any) -> Policy:
        """With those of ``more`` that are not None."""
        return replace(self, **{name: value for name, value in more.items() if value is not None})


def plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a policy, perhaps not all, as JSON has them."""
    return {
        name: [window.text for window in value] if isinstance(value, tuple) else value for name, value in fields.items()
    }


def parsed(data: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a policy from JSON: those that are there. Raises UsageError."""
    read: Mapping[str, Callable[[Any], Any]] = {
        "mode": lambda value: Mode.of(str(value)),
        "interval": seconds,
        "windows": windows,
        "freezes": windows,
        "timezone": str,
    }
    return {name: make(data[name]) for name, make in read.items() if name in data}


def windows(texts: Sequence[str]) -> tuple[Window, ...]:
    """Raises UsageError."""
    return tuple(Window.parse(str(text)) for text in ([texts] if isinstance(texts, str) else texts))


def zone_of(name: str) -> tzinfo:
    """Raises UsageError for a timezone that this machine does not know."""
    from datetime import UTC
    from zoneinfo import ZoneInfo

    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise UsageError(f"{name!r} is no timezone known here", hint="for example Europe/Berlin or UTC") from None


@dataclass(frozen=True)
class State:
    """What the last look at a release (or a sync) found. ``checked`` and ``due`` are unix seconds; ``failures`` counts
    those in a row; ``told`` names what was said last of all that webhooks say, so that it is said once. Of a sync: the
    ``commit`` that was applied last, the one after it that is ``bad``, the repository (``source``), and digests of
    the declaration (``spec``) and of the revision (``applied``) that they led to."""

    checked: float = 0.0
    due: float = 0.0
    result: str = ""
    message: str = ""
    failures: int = 0
    differences: int = 0
    told: str = ""
    commit: str = ""
    bad: str = ""
    spec: str = ""
    applied: str = ""
    source: str = ""

    def pause(self, interval: float, longest: float) -> float:
        """Seconds until the next look: twice as long after each failure, up to ``longest``."""
        return max(interval, min(longest, interval * 2.0 ** min(self.failures, 20))) if self.failures else interval


class Memory:
    """Policies and states, in the release store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def policies(self) -> dict[str, dict[str, Any]]:
        """What was set of a policy for releases, by uid: fields of Policy (``Policy.changed``); the others are the
        default's, whatever that becomes."""
        return {uid: parsed(data) for uid, data in self._all("policy").items()}

    def policy(self, uid: str) -> dict[str, Any]:
        """What was set for one release, perhaps nothing."""
        return parsed(self._one("policy", uid) or {})

    def set_policy(self, uid: str, fields: Mapping[str, Any]) -> None:
        """In the place of what was set before."""
        self._put("policy", uid, plain(fields) or None)

    def states(self) -> dict[str, State]:
        """What was found of every release, by its uid."""
        return {uid: _state(data) for uid, data in self._all("reconciled").items()}

    def state(self, uid: str) -> State:
        return _state(self._one("reconciled", uid))

    def set_state(self, uid: str, state: State) -> None:
        self._put("reconciled", uid, asdict(state))

    def synced(self, key: ReleaseKey) -> State:
        """What was found of the sync whose release this is; the release need not be there yet."""
        return _state(self._one("synced", f"{key.cluster}/{key}"))

    def set_synced(self, key: ReleaseKey, state: State) -> None:
        self._put("synced", f"{key.cluster}/{key}", asdict(state))

    def all_synced(self, cluster: str) -> dict[str, State]:
        """What was found of every sync of a cluster, by NAMESPACE/NAME of its release."""
        found = {name.removeprefix(f"{cluster}/"): data for name, data in self._all("synced").items()}
        return {name: _state(data) for name, data in found.items() if name.count("/") == 1}

    def _all(self, what: str) -> dict[str, dict[str, Any]]:
        rows = self.store.db.rows("SELECT name, value FROM meta WHERE name LIKE ?", (f"{what}:%",))
        return {row["name"].partition(":")[2]: json.loads(row["value"]) for row in rows}

    def _one(self, what: str, name: str) -> dict[str, Any] | None:
        text = self.store.db.value("SELECT value FROM meta WHERE name = ?", (f"{what}:{name}",))
        return json.loads(text) if text else None

    def _put(self, what: str, name: str, data: Mapping[str, Any] | None) -> None:
        if data is None:
            self.store.db.execute("DELETE FROM meta WHERE name = ?", (f"{what}:{name}",))
        else:
            self.store.set_meta(f"{what}:{name}", json.dumps(data, sort_keys=True))


def _state(data: Mapping[str, Any] | None) -> State:
    """A state as an older or newer pvehelm may have written it."""
    return State(**known(State, data)) if data else State()

"""The lock: exactly which dependencies were chosen (``Chart.lock``), where from, and the SHA-256 of each.

Helm reads it, and we read Helm's: the same fields with the same ``digest`` over what was asked and what was chosen.
``url``, ``sha256`` and the dependencies' own ``dependencies`` are ours. Where a package had to be completed with its
own dependencies, ``packed`` is the SHA-256 of what lies in ``charts/``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pvehelm.chart.chart import Chart
from pvehelm.chart.metadata import NAME, SEMVER
from pvehelm.chart.yaml import dump, load
from pvehelm.errors import InvalidError, Problem

FILE = "Chart.lock"
MAX_DEPTH = 20
_ORDER = ("name", "version", "repository", "condition", "tags", "enabled", "import-values", "alias")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Locked:
    """One chosen chart; ``url`` and ``sha256`` are empty in Helm's locks and for charts kept in ``charts/``."""

    name: str
    version: str
    repository: str = ""
    url: str = ""
    sha256: str = ""
    packed: str = ""
    dependencies: tuple[Locked, ...] = ()

    @property
    def filename(self) -> str:
        return f"{self.name}-{self.version}.tgz"

    def as_dict(self) -> dict[str, Any]:
        fields = ("name", "version", "repository", "url", "sha256", "packed")
        out: dict[str, Any] = {key: text for key in fields if (text := getattr(self, key)) or key == "repository"}
        if self.dependencies:
            out["dependencies"] = [one.as_dict() for one in self.dependencies]
        return out


@dataclass(frozen=True, slots=True)
class Lock:
    dependencies: tuple[Locked, ...]
    digest: str
    generated: str = ""

    def fits(self, chart: Chart) -> bool:
        """Whether it was made for the dependencies that Chart.yaml names now."""
        return self.digest == digest_of(chart, self.dependencies)

    def to_text(self) -> str:
        return dump(
            {
                "dependencies": [one.as_dict() for one in self.dependencies],
                "digest": self.digest,
                "generated": self.generated,
            }
        )


def digest_of(chart: Chart, chosen: Sequence[Locked]) -> str:
    """Helm's digest: over Chart.yaml's dependencies and the chosen ones, as Go prints them in JSON."""
    asked = chart.metadata.raw.get("dependencies") or []
    both = [[_ordered(one) for one in asked], [_ordered(one.as_dict(), brief=True) for one in chosen]]
    text = json.dumps(both, separators=(",", ":"), ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _ordered(one: Mapping[str, Any], brief: bool = False) -> dict[str, Any]:
    keys = _ORDER[:3] if brief else _ORDER
    out = {key: one.get(key) for key in keys if one.get(key) or key in ("name", "repository")}
    return {key: value or "" for key, value in out.items()}


def made(chart: Chart, chosen: Sequence[Locked], now: datetime | None = None) -> Lock:
    """The lock of a chart. The one that is there stays as it is, time and all, when the choice is the same."""
    before = of(chart) if FILE in chart.raw else None
    digest = digest_of(chart, chosen)
    if before is not None and before.dependencies == tuple(chosen) and before.digest == digest:
        return before
    time = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Lock(tuple(chosen), digest, time)


def of(chart: Chart) -> Lock | None:
    """The lock that a chart has. Raises InvalidError with every problem."""
    if FILE not in chart.raw:
        return None
    try:
        text = chart.raw[FILE].decode()
    except UnicodeDecodeError:
        raise InvalidError(f"{chart.path}/{FILE} is not UTF-8 text") from None
    return read(text, file=f"{chart.path}/{FILE}")


def read(text: str, *, file: str) -> Lock:
    """The lock in a text. Raises InvalidError with every problem."""
    data = load(text, file=file)
    if not isinstance(data, dict):
        raise InvalidError(f"{file} is no lock", hint="'pvehelm dependency update' makes it anew")
    problems: list[Problem] = []
    chosen = _chosen(data.get("dependencies"), file, problems, 0)
    if problems:
        raise InvalidError(f"{file} is not valid", problems, hint="'pvehelm dependency update' makes it anew")
    return Lock(chosen, str(data.get("digest") or ""), str(data.get("generated") or ""))


def _chosen(items: Any, where: str, problems: list[Problem], depth: int) -> tuple[Locked, ...]:
    if items is None:
        return ()
    if not isinstance(items, list) or depth > MAX_DEPTH:
        problems.append(Problem(where, "dependencies must be a list, not too deep"))
        return ()
    out = []
    for place, item in enumerate(items):
        at = f"{where}: dependencies[{place}]"
        texts = {key: item.get(key) or "" for key in Locked.__slots__[:6]} if isinstance(item, dict) else {}
        if not texts or not all(isinstance(text, str) for text in texts.values()) or not NAME.match(texts["name"]):
            problems.append(Problem(at, "a dependency has a name, a version and a repository"))
            continue
        if not SEMVER.match(texts["version"].removeprefix("v")):
            # It becomes part of a file's name.
            problems.append(Problem(at, f"version {texts['version']!r} is no semantic version"))
            continue
        for key in ("sha256", "packed"):
            if texts[key] and not _SHA256.match(texts[key]):
                problems.append(Problem(at, f"{key} is no SHA-256"))
        out.append(Locked(**texts, dependencies=_chosen(item.get("dependencies"), at, problems, depth + 1)))
    return tuple(out)

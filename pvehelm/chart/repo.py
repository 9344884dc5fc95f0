"""The repository: packaged charts in a folder, and the ``index.yaml`` that lists them (Helm's format)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pvehelm.chart.chart import load_archive
from pvehelm.chart.files import MAX_TOTAL
from pvehelm.chart.metadata import FIELDS
from pvehelm.chart.versions import parse
from pvehelm.chart.yaml import dump, load
from pvehelm.errors import InvalidError, NotFoundError, Problem


def index(
    directory: str | os.PathLike[str], *, url: str = "", previous: str | None = None, now: datetime | None = None
) -> str:
    """The ``index.yaml`` of the ``.tgz`` files in ``directory`` and its folders, newest version of a chart first.

    ``url`` goes before each file's path. A package whose digest ``previous`` (by default the ``index.yaml`` that is
    there) already lists keeps its ``created``; if nothing changed, so does the whole index. Raises NotFoundError, and
    InvalidError with every package that cannot be read or is there twice.
    """
    root = Path(directory)
    if not root.is_dir():
        raise NotFoundError(f"there is no directory {directory}")
    if previous is None:
        listed = root / "index.yaml"
        previous = listed.read_text(encoding="utf-8") if listed.is_file() else ""
    old = _read(previous, str(root / "index.yaml"))
    known = {
        (name, str(entry.get("version")), str(entry.get("digest")).removeprefix("sha256:")): entry
        for name, entries in (old.get("entries") or {}).items()
        for entry in entries
    }
    time = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entries: dict[str, list[dict[str, Any]]] = {}
    places: dict[tuple[str, str], Path] = {}
    problems: list[Problem] = []
    for place in sorted([*root.glob("*.tgz"), *root.glob("*/*.tgz")]):
        try:
            entry = _entry(place)
        except InvalidError as error:
            problems.extend(error.problems)
            continue
        name, version = entry["name"], entry["version"]
        other = places.setdefault((name, version), place)
        if other != place:
            problems.append(Problem(str(place), f"{name} {version} is also in {other.name}", "remove one of the two"))
            continue
        before = known.get((name, version, entry["digest"]), {})
        entry["created"] = str(before.get("created") or time)
        path = place.relative_to(root).as_posix()
        entry["urls"] = [f"{url.rstrip('/')}/{path}" if url else path]
        entries.setdefault(name, []).append(entry)
    if problems:
        raise InvalidError(f"{directory} cannot be indexed", problems)
    for listed_entries in entries.values():
        listed_entries.sort(key=lambda entry: parse(entry["version"]), reverse=True)
    generated = str(old["generated"]) if old.get("entries") == entries and old.get("generated") else time
    return dump({"apiVersion": "v1", "entries": entries, "generated": generated})


def _entry(place: Path) -> dict[str, Any]:
    """Chart.yaml's fields and the digest of one package."""
    with place.open("rb") as file:
        data = file.read(MAX_TOTAL + 1)
    chart = load_archive(data, name=str(place))
    fields: Mapping[str, Any] = chart.metadata.raw
    entry = {key: value for key, value in fields.items() if key in FIELDS and value is not None}
    entry["digest"] = hashlib.sha256(data).hexdigest()
    return entry


def _read(text: str, file: str) -> dict[str, Any]:
    """The index that is there, checked only as far as it is used here."""
    data = load(text, file=file)
    if data is None:
        return {}
    entries = data.get("entries") if isinstance(data, dict) else None
    whole = isinstance(data, dict) and (
        entries is None
        or (
            isinstance(entries, dict)
            and all(isinstance(e, list) and all(isinstance(v, dict) for v in e) for e in entries.values())
        )
    )
    if not whole:
        raise InvalidError(f"{file} is no index", [Problem(file, "an index is a map with entries by chart name")])
    return dict(data)

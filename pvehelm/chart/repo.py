"""The repository: packaged charts in a folder, and the ``index.yaml`` that lists them (Helm's format)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pvehelm.chart.chart import load_archive
from pvehelm.chart.files import MAX_TOTAL
from pvehelm.chart.metadata import FIELDS
from pvehelm.chart.versions import parse
from pvehelm.chart.yaml import dump, load
from pvehelm.errors import InvalidError, NotFoundError, Problem


def index(
    directory: str | os.PathLike[str], *, url: str = "", previous: str | None = None, now: datetime | None = None
) -> str:
    """The ``index.yaml`` of the packages in ``directory``; see :func:`collect`."""
    return to_text(collect(directory, url=url, previous=previous, now=now))


def to_text(whole: Mapping[str, Any], *, as_json: bool = False) -> str:
    """An index as ``index.yaml``."""
    if as_json:
        return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    return dump(dict(whole))


def collect(
    directory: str | os.PathLike[str],
    *,
    url: str = "",
    previous: str | None = None,
    merge: str | None = None,
    keys: Sequence[str] = (),
    now: datetime | None = None,
) -> dict[str, Any]:
    """The index of the ``.tgz`` files in ``directory`` and its folders, newest version of a chart first.

    ``url`` goes before each file's path. A package whose digest ``previous`` (by default the ``index.yaml`` that is
    there) or ``merge`` already lists keeps its ``created``; if nothing changed, so does the whole index. Versions that
    only ``merge``, another index, has are taken over. ``keys`` are the public keys that packages are signed with.

    Raises NotFoundError, and InvalidError with every package that cannot be read or is there twice.
    """
    root = Path(directory)
    if not root.is_dir():
        raise NotFoundError(f"there is no directory {directory}")
    if previous is None:
        listed = root / "index.yaml"
        previous = listed.read_text(encoding="utf-8") if listed.is_file() else ""
    old = _read(previous, str(root / "index.yaml"))
    other = _read(merge or "", "the index to merge")
    known = {
        (name, str(entry.get("version")), str(entry.get("digest")).removeprefix("sha256:")): entry
        for whole in (other, old)
        for name, entries in (whole.get("entries") or {}).items()
        for entry in entries
    }
    time = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entries: dict[str, list[dict[str, Any]]] = {}
    places: dict[tuple[str, str], Path] = {}
    problems: list[Problem] = []
    for place in sorted([*root.glob("*.tgz"), *root.glob("*/*.tgz")]):
        try:
            with place.open("rb") as file:
                entry = _entry(file.read(MAX_TOTAL + 1), str(place))
        except InvalidError as error:
            problems.extend(error.problems)
            continue
        name, version = entry["name"], entry["version"]
        twin = places.setdefault((name, version), place)
        if twin != place:
            problems.append(Problem(str(place), f"{name} {version} is also in {twin.name}", "remove one of the two"))
            continue
        before = known.get((name, version, entry["digest"]), {})
        entry["created"] = str(before.get("created") or time)
        path = quote(place.relative_to(root).as_posix())
        entry["urls"] = [f"{url.rstrip('/')}/{path}" if url else path]
        entries.setdefault(name, []).append(entry)
    if problems:
        raise InvalidError(f"{directory} cannot be indexed", problems)
    for name, items in (other.get("entries") or {}).items():
        have = {entry["version"] for entry in entries.get(name, ())}
        taken = [entry for entry in items if entry.get("version") not in have]
        if taken:
            entries.setdefault(name, []).extend(taken)
    for listed_entries in entries.values():
        listed_entries.sort(key=_order, reverse=True)
    made: dict[str, Any] = {"apiVersion": "v1", "entries": entries}
    for key in ("annotations", "publicKeys"):
        value = list(keys) if key == "publicKeys" and keys else old.get(key) or other.get(key)
        if value:
            made[key] = value
    same = {**made, "generated": old.get("generated")} == old and old.get("generated")
    return {**made, "generated": str(old["generated"]) if same else time}


def added(
    text: str, data: bytes, *, name: str, url: str = "", file: str, now: datetime | None = None
) -> tuple[dict[str, Any], bool]:
    """The index ``text`` (of ``file``; "" where there is none yet) with the package ``data``, which is called ``name``,
    is beside it or at ``url``, and takes the place of what was listed of its version; whether that changes anything.

    Raises InvalidError for what is no index, or no package.
    """
    old = _read(text, file)
    entry = _entry(data, name)
    listed = [dict(one) for one in (old.get("entries") or {}).get(entry["name"], ())]
    same = [one for one in listed if one.get("version") == entry["version"]]
    if [str(one.get("digest")).removeprefix("sha256:") for one in same] == [entry["digest"]]:
        return old, False
    time = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entry |= {"created": time, "urls": [f"{url.rstrip('/')}/{quote(name)}" if url else quote(name)]}
    entries = sorted([entry, *(one for one in listed if one not in same)], key=_order, reverse=True)
    everything = {**(old.get("entries") or {}), entry["name"]: entries}
    return {"apiVersion": "v1", **old, "entries": everything, "generated": time}, True


def _order(entry: Mapping[str, Any]) -> Any:
    try:
        return (1, *parse(str(entry.get("version"))).order)
    except ValueError:
        return (0,)


def _entry(data: bytes, name: str) -> dict[str, Any]:
    """Chart.yaml's fields and the digest of one package."""
    chart = load_archive(data, name=name)
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

"""The archives: packages that were fetched, kept by their SHA-256 so that nothing is fetched twice.

Files are made beside and moved into place, and what was changed since is ignored: processes may share the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from threading import get_ident

from pvehelm.chart.chart import Chart, load_archive
from pvehelm.dirs import cache_dir
from pvehelm.errors import InvalidError, Problem

_HEX = re.compile(r"[0-9a-f]{64}\Z")
_KEEP = 500


@dataclass(frozen=True)
class Archive:
    """A package as it was fetched. ``url`` says where from, exactly; ``sidecars`` are its signatures by suffix."""

    data: bytes = field(repr=False)
    chart: Chart = field(repr=False)
    url: str
    sidecars: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def filename(self) -> str:
        """``name-version.tgz``, from the chart itself and never from an address."""
        return f"{self.chart.metadata.name}-{self.chart.version}.tgz"


def opened(data: bytes, *, url: str, name: str = "", version: str = "", digest: str = "") -> Archive:
    """The archive in ``data``, if it is what it should be: of this digest, and holding that chart.

    Raises InvalidError for anything else, as :func:`pvehelm.chart.chart.load_archive` does.
    """
    found = hashlib.sha256(data).hexdigest()
    if digest and found != digest:
        raise _changed(url, found, digest)
    archive = Archive(data, load_archive(data, name=url), url)
    _named(archive, name, version)
    return archive


def expected(archive: Archive, *, name: str, version: str, digest: str, also: str = "") -> Archive:
    """The archive again, if it is of this digest (or ``also`` is) and holds that chart. Raises InvalidError."""
    if digest and digest not in (archive.sha256, also):
        raise _changed(archive.url, archive.sha256, digest)
    _named(archive, name, version)
    return archive


def _changed(url: str, found: str, digest: str) -> InvalidError:
    return InvalidError(
        f"{url} is not what it should be",
        [Problem(url, f"its SHA-256 is {found}, expected was {digest}")],
        hint="it was changed or damaged since it was listed; ask whoever runs the repository",
    )


def _named(archive: Archive, name: str, version: str) -> None:
    chart, url = archive.chart, archive.url
    if (name and chart.metadata.name != name) or (version and not _same(chart.version, version)):
        raise InvalidError(
            f"{url} is not what it should be",
            [Problem(url, f"it holds {chart.metadata.name} {chart.version}, expected was {name} {version}".rstrip())],
        )


def _same(one: str, other: str) -> bool:
    return one.removeprefix("v") == other.removeprefix("v")


def cached(digest: str) -> bytes | None:
    """The archive of that SHA-256, if it was fetched before."""
    if not _HEX.match(digest):
        return None
    try:
        data = (_folder() / digest).read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == digest else None


def keep(data: bytes) -> None:
    """Put an archive into the cache; a cache that cannot be written is none."""
    digest = hashlib.sha256(data).hexdigest()
    folder = _folder()
    draft = folder / f".{digest}.{os.getpid()}-{get_ident()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_bytes(data)
        draft.replace(folder / digest)
        _prune(folder)


def _prune(folder: Path) -> None:
    entries = [entry for entry in os.scandir(folder) if _HEX.match(entry.name)]
    if len(entries) > _KEEP:
        for entry in sorted(entries, key=lambda entry: entry.stat().st_mtime)[: len(entries) - _KEEP]:
            os.unlink(entry.path)


def _folder() -> Path:
    return Path(cache_dir()) / "archives"

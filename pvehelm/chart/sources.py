"""The source: where charts come from, and how each is fetched and checked.

Static repositories (``https://``, also ``@NAME`` and ``alias:NAME`` of configured ones), registries (``oci://``), git
(``git+https://``) and folders (``file://``). What a chart from elsewhere names on this machine is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pvehelm.chart import archives, catalog, git, provenance, signing
from pvehelm.chart.archives import Archive, expected, opened
from pvehelm.chart.book import Book, Repository
from pvehelm.chart.catalog import Catalog
from pvehelm.chart.chart import load
from pvehelm.chart.fetch import MAX_ARCHIVE, MAX_SMALL, Fetcher, origin
from pvehelm.chart.index import Entry
from pvehelm.chart.package import pack
from pvehelm.chart.registry import Reference, choose, open_registry
from pvehelm.chart.registry import parse as parse_reference
from pvehelm.errors import InvalidError, NotFoundError, PvehelmError, RefusedError, UsageError


@dataclass(frozen=True)
class Candidate:
    """A version of a chart that a source has. ``folder`` is where a chart of this machine lies."""

    name: str
    version: str
    source: str
    fetch: Callable[[], Archive] = field(repr=False, compare=False)
    folder: Path | None = None


class Source(Protocol):
    """``key`` says what it is: two sources with one key are the same."""

    key: str

    def candidates(self, name: str) -> Sequence[Candidate]:
        """Every version of the chart there, newest first. Raises NotFoundError for a chart that is not there."""


@dataclass
class Sources:
    """The sources of one run; each index is asked for once (not at all with ``refresh=False`` where one is here)."""

    book: Book
    refresh: bool = True
    known: dict[str, Source] = field(default_factory=dict)

    def of(self, repository: str, folder: Path | None) -> Source:
        """The source of a dependency's ``repository``; ``folder`` is the chart's that names it, None if not from here.

        Raises UsageError, NotFoundError, or RefusedError for a place of this machine that a stranger names.
        """
        made = self._made(repository, folder)
        return self.known.setdefault(made.key, made)

    def _made(self, repository: str, folder: Path | None) -> Source:
        name = repository[1:] if repository.startswith("@") else repository.removeprefix("alias:")
        if name != repository:
            return _Static(self, self.book.find(name))
        scheme = repository.partition(":")[0]
        if folder is None and scheme in ("file", "git+file"):
            raise RefusedError(
                f"{repository} is a place of this machine, and the chart that names it comes from elsewhere",
                hint="its maker has to package it with its dependencies",
            )
        if scheme == "file":
            return _Folder(folder or Path(), repository)
        if scheme in git.SCHEMES:
            return _Git(git.parse(repository))
        if scheme == "oci":
            return _Oci(self.book, repository)
        return _Static(self, self.book.at(repository))


class _Static:
    def __init__(self, run: Sources, repository: Repository) -> None:
        self.run = run
        self.repository = repository
        self.key = repository.base
        self.fresh = False

    def candidates(self, name: str) -> list[Candidate]:
        opened_catalog = self.catalog()
        listed = opened_catalog.versions(name)
        if not listed:
            opened_catalog.find(name)
        return [Candidate(name, entry.version, self.key, self._fetch(entry)) for entry in listed]

    def catalog(self) -> Catalog:
        if not self.fresh and (self.run.refresh or not catalog.file_of(self.repository.url).exists()):
            catalog.update(self.run.book, self.repository)
        self.fresh = True
        return Catalog(self.repository)

    def _fetch(self, entry: Entry) -> Callable[[], Archive]:
        return lambda: fetch_entry(self.run.book, self.repository, entry)


class _Oci:
    def __init__(self, book: Book, url: str) -> None:
        self.book = book
        self.url = url.rstrip("/")
        self.key = self.url

    def candidates(self, name: str) -> list[Candidate]:
        reference = parse_reference(f"{self.url}/{name}")
        registry = open_registry(self.book, reference.host)
        try:
            tags = registry.tags(reference.path)
        finally:
            registry.close()
        return [Candidate(name, tag, self.key, self._fetch(reference, tag)) for tag in tags]

    def _fetch(self, reference: Reference, version: str) -> Callable[[], Archive]:
        return lambda: fetch_oci(self.book, str(reference), version)


class _Git:
    def __init__(self, address: git.Address) -> None:
        self.address = address
        self.key = str(address)
        self.archive: Archive | None = None

    def candidates(self, name: str) -> list[Candidate]:
        archive = self.archive = self.archive or fetch_git(self.address)
        metadata = archive.chart.metadata
        if metadata.name != name:
            raise NotFoundError(f"{self.key} holds chart {metadata.name!r}, not {name!r}")
        return [Candidate(name, metadata.version, self.key, lambda: archive)]


class _Folder:
    def __init__(self, base: Path, url: str) -> None:
        parts = urlsplit(url)
        path = unquote(parts.netloc + parts.path)
        if "\0" in path or not path:
            raise UsageError(f"{url!r} names no folder")
        self.folder = (base / path).resolve()
        self.url = url
        self.key = f"file://{self.folder}"

    def candidates(self, name: str) -> list[Candidate]:
        chart = load(self.folder)
        if chart.metadata.name != name:
            raise NotFoundError(f"{self.url} holds chart {chart.metadata.name!r}, not {name!r}")
        archive = Archive(pack(name, chart.raw), chart, self.url)
        return [Candidate(name, chart.version, self.key, lambda: archive, self.folder)]


# -- fetching --------------------------------------------------------------------------------------------------------


def fetch_entry(book: Book, repository: Repository, entry: Entry, *, sidecars: bool = False) -> Archive:
    """The archive of an index's entry: of its digest, with that chart inside, signed where the repository has keys.

    ``sidecars`` brings the signatures even if no key asks for them. Raises what the last of its urls raised.
    """
    data = archives.cached(entry.digest)
    if data is not None and not repository.keys and not sidecars:
        return opened(data, url=entry.urls[0], name=entry.name, version=entry.version, digest=entry.digest)
    failed: PvehelmError | None = None
    for url in entry.urls:
        try:
            if url.startswith("oci://"):
                found = fetch_oci(book, url, entry.version)
                # Some indexes give the digest of the manifest there.
                also = found.url.rpartition("@sha256:")[2]
                expected(found, name=entry.name, version=entry.version, digest=entry.digest, also=also)
                return _checked(found, repository)
            with book.fetcher(repository) as fetcher:
                return _download(fetcher, url, entry, repository.keys, sidecars)
        except PvehelmError as error:
            failed = error
            if isinstance(error, InvalidError):
                break
    assert failed is not None
    raise failed


def _checked(archive: Archive, repository: Repository) -> Archive:
    if repository.keys:
        signing.verify(archive.data, signatures(archive), repository.keys, name=archive.url)
    return archive


def _download(fetcher: Fetcher, url: str, entry: Entry, keys: Sequence[str], sidecars: bool) -> Archive:
    data = archives.cached(entry.digest)
    expectation = {"name": entry.name, "version": entry.version, "digest": entry.digest}
    archive = _package(fetcher, url, **expectation) if data is None else opened(data, url=url, **expectation)
    if keys or sidecars:
        suffixes = (*signing.SUFFIXES, provenance.SUFFIX) if sidecars else signing.SUFFIXES
        archive.sidecars.update(_sidecars(fetcher, url, suffixes))
    if keys:
        signing.verify(archive.data, signatures(archive), keys, name=url)
    archives.keep(archive.data)
    return archive


def _package(fetcher: Fetcher, url: str, **expectation: str) -> Archive:
    """The package at an address, if it is as expected (as ``archives.opened`` has it)."""
    answer = fetcher.get(url, limit=MAX_ARCHIVE, lasting=True)
    try:
        return opened(answer.body, url=url, **expectation)
    except InvalidError:
        if not answer.resumed:
            raise
    # What was left here and what came now need not belong together, whatever the server says.
    return opened(fetcher.get(url, limit=MAX_ARCHIVE).body, url=url, **expectation)


def _sidecars(fetcher: Fetcher, url: str, suffixes: Sequence[str]) -> dict[str, bytes]:
    found = {}
    path, mark, query = url.partition("?")
    for suffix in suffixes:
        try:
            found[suffix] = fetcher.get(f"{path}{suffix}{mark}{query}", limit=MAX_SMALL).body
        except NotFoundError:
            continue
    return found


def signatures(archive: Archive) -> dict[str, bytes]:
    """The Ed25519 signatures among an archive's sidecars."""
    return {suffix: data for suffix, data in archive.sidecars.items() if suffix in signing.SUFFIXES}


def fetch_oci(book: Book, text: str, version: str = "", *, devel: bool = False) -> Archive:
    """The chart at ``oci://HOST/PATH/NAME[:TAG]``, or the newest version that ``version`` allows."""
    reference = parse_reference(text)
    registry = open_registry(book, reference.host)
    try:
        archive, digest = registry.pull(choose(registry, reference, version, devel=devel))
    finally:
        registry.close()
    pinned = f"oci://{reference.host}/{reference.path}@{digest}"
    return Archive(archive.data, archive.chart, pinned, archive.sidecars)


def fetch_git(address: git.Address) -> Archive:
    """The chart in a git repository, packed; its url names the commit."""
    with git.checkout(address) as (folder, pinned):
        try:
            chart = load(folder)
        except InvalidError as error:
            raise _named_for(error, str(folder), str(address)) from None
        data = pack(chart.metadata.name, chart.raw)
    return opened(data, url=str(pinned))


def _named_for(error: InvalidError, folder: str, address: str) -> InvalidError:
    """The error with an address in place of the folder that nobody knows."""
    problems = [one._replace(where=one.where.replace(folder, address)) for one in error.problems]
    return InvalidError(str(error).replace(folder, address), problems, hint=error.hint)


def owner_of(book: Book, url: str) -> Repository:
    """The configured repository that an address lies in; else one without credentials or keys."""
    home = origin(url)
    owners = [
        one
        for one in book.repositories.values()
        if url.startswith(one.base + "/") and not one.url.startswith("file:") and origin(one.url) == home
    ]
    return max(owners, key=lambda one: len(one.base), default=Repository("", home))


def fetch_url(book: Book, url: str, *, sidecars: bool = False) -> Archive:
    """The package at a web address, with the credentials and keys of the repository that it belongs to, if any."""
    repository = owner_of(book, url)
    with book.fetcher(repository) as fetcher:
        archive = _package(fetcher, url)
        if repository.keys or sidecars:
            archive.sidecars.update(_sidecars(fetcher, url, (*signing.SUFFIXES, provenance.SUFFIX)))
    return _checked(archive, repository)


def fetch_values(book: Book, url: str) -> str:
    """The values file at a web address, with the credentials of the repository that it belongs to, if any.

    Raises what the fetcher raises, InvalidError for what is no text.
    """
    with book.fetcher(owner_of(book, url)) as fetcher:
        body = fetcher.get(url, limit=MAX_SMALL, encoded=True).body
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidError(f"{url} is not UTF-8 text") from None


def fetch(
    book: Book, text: str, *, version: str = "", repo: str = "", devel: bool = False, sidecars: bool = False
) -> Archive:
    """The chart that a person named: ``REPO/CHART``, ``CHART`` with ``repo``, a web address, ``oci://``, ``git+``.

    Raises NotFoundError, UsageError, and what fetching and checking raise.
    """
    scheme = text.partition(":")[0] if "://" in text else ""
    if repo:
        if scheme:
            raise UsageError("--repo takes a chart's name beside it, not an address")
        repository = book.at(repo)
        entry = catalog.find(book, repository, text, version, devel=devel)
        return fetch_entry(book, repository, entry, sidecars=sidecars)
    if scheme == "oci":
        return fetch_oci(book, text, version, devel=devel)
    if scheme in git.SCHEMES:
        _no_version(version, text)
        return fetch_git(git.parse(text))
    if scheme in ("http", "https"):
        _no_version(version, text)
        return fetch_url(book, text, sidecars=sidecars)
    name, slash, chart = text.partition("/")
    if scheme or not slash or name not in book.repositories or "/" in chart:
        known = ", ".join(sorted(book.repositories))
        raise NotFoundError(
            f"there is no chart at {text}",
            hint="give a folder, a .tgz, REPO/CHART, https://..., oci://... or git+https://..."
            + (f"; repositories: {known}" if known else ""),
        )
    repository = book.find(name)
    return fetch_entry(book, repository, Catalog(repository).find(chart, version, devel=devel), sidecars=sidecars)


def _no_version(version: str, text: str) -> None:
    if version:
        raise UsageError(f"{text} is one version of a chart; --version chooses from a repository or registry")

"""The catalogue: a repository's index, compiled once into a small database in the cache, so that looking up is quick.

One file a repository, named by its address; it is made beside and moved into place, so whoever reads meanwhile sees
the old one or the new one, whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pvehelm.dirs import cache_dir
from pvehelm.errors import InvalidError, NotFoundError

if TYPE_CHECKING:
    from pvehelm.chart.book import Book, Repository
    from pvehelm.chart.fetch import Fetcher
    from pvehelm.chart.index import Entry, Index

FORMAT = "2"
_TABLES = """
create table meta(key text primary key, value text not null) without rowid;
create table chart(name text primary key, words text not null) without rowid;
create table version(
  name text not null, rank integer not null, version text not null, stable integer not null, app_version text not null,
  description text not null, deprecated integer not null, digest text not null, rest text not null,
  primary key (name, rank)) without rowid;
"""
_COLUMNS = "name, version, app_version, description, deprecated, digest, rest"


def file_of(url: str) -> Path:
    """Where the catalogue of the repository at ``url`` is."""
    name = quote(url.rstrip("/"), safe="")
    if len(name) > 200:
        from hashlib import sha256

        name = sha256(name.encode()).hexdigest()
    return Path(cache_dir()) / "repositories" / f"{name}.db"


def update(book: Book, repository: Repository, fetcher: Fetcher | None = None, *, new: bool = False) -> Index | None:
    """Ask for the repository's index and compile it; None when it is the one we have. Raises as Fetcher and read do.

    ``fetcher`` asks with other credentials than the book's, for a repository that is not in it yet. Where it is
    ``new``, or was up to now, no index is one that lists nothing.
    """
    from hashlib import sha256

    from pvehelm.chart.fetch import MAX_INDEX
    from pvehelm.chart.index import read

    file = file_of(repository.url)
    known = _meta(file)
    headers = {}
    if known.get("etag"):
        headers["If-None-Match"] = known["etag"]
    elif known.get("modified"):
        headers["If-Modified-Since"] = known["modified"]
    with fetcher or book.fetcher(repository) as fetcher:
        try:
            answer = fetcher.get(f"{repository.base}/index.yaml", limit=MAX_INDEX, headers=headers, encoded=True)
        except NotFoundError as error:
            if known.get("new"):
                return None
            if new:
                index = read(b"apiVersion: v1\nentries: {}\n", url=repository.base)
                _compile(index, file, {"url": repository.url, "new": "yes"})
                return index
            hint = "give the address of the folder that holds index.yaml; 'pvehelm repo index' makes one, and where "
            hint += "nothing is published yet 'repo add --new' needs none"
            raise NotFoundError(
                f"{repository.url} is no chart repository: there is no index.yaml", hint=hint
            ) from error
    digest = sha256(answer.body).hexdigest()
    if known and (answer.status == 304 or digest == known.get("digest")):
        return None
    index = read(answer.body, url=repository.base)
    _compile(
        index,
        file,
        {
            "url": repository.url,
            "digest": digest,
            "etag": answer.headers.get("etag", ""),
            "modified": answer.headers.get("last-modified", ""),
            "keys": json.dumps(index.keys),
        },
    )
    return index


def find(book: Book, repository: Repository, name: str, version: str = "", *, devel: bool = False) -> Entry:
    """The version of a chart that :meth:`Catalog.find` takes, the repository being asked now.

    Of a repository that was never compiled the sparse index is read, where there is one: it is small.
    """
    if not _meta(file_of(repository.url)):
        from pvehelm.chart.sparse import versions

        with book.fetcher(repository) as fetcher:
            entries = versions(fetcher, repository.base, name) or ()
        chosen = pick([entry.version for entry in entries], version, devel=devel)
        if chosen is not None:
            return next(entry for entry in entries if entry.version == chosen)
    update(book, repository)
    return Catalog(repository).find(name, version, devel=devel)


def is_new(repository: Repository) -> bool:
    """Whether a repository that was added had no index yet."""
    return bool(repository.name) and "new" in _meta(file_of(repository.url))


def forget(repository: Repository) -> None:
    """Remove the repository's catalogue."""
    file_of(repository.url).unlink(missing_ok=True)


def _compile(index: Index, file: Path, meta: Mapping[str, str]) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}-{get_ident()}.new")
    draft.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(draft)) as base:
            base.executescript("pragma journal_mode = off; pragma synchronous = off;" + _TABLES)
            with base:
                base.executemany("insert into meta values (?, ?)", [*meta.items(), ("format", FORMAT)])
                base.executemany("insert into chart values (?, ?)", map(_words, index.entries.values()))
                base.executemany("insert into version values (?, ?, ?, ?, ?, ?, ?, ?, ?)", _rows(index))
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _words(entries: tuple[Entry, ...]) -> tuple[str, str]:
    newest = entries[0]
    return newest.name, "\n".join((newest.name, newest.description, *newest.keywords)).lower()


def _rows(index: Index) -> Iterator[tuple[Any, ...]]:
    from pvehelm.chart.versions import parse

    for entries in index.entries.values():
        for rank, e in enumerate(entries):
            rest = {
                key: value
                for key in ("urls", "created", "keywords", "home", "icon", "type")
                if (value := getattr(e, key))
            }
            stable = not parse(e.version).prerelease
            yield (
                e.name, rank, e.version, stable, e.app_version, e.description, e.deprecated, e.digest, json.dumps(rest)
            )  # fmt: skip


class Catalog:
    """The compiled index of a repository. Raises NotFoundError when there is none yet."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.file = file_of(repository.url)
        self.meta = _meta(self.file)
        if not self.meta:
            name = repository.name or repository.url
            raise NotFoundError(f"the index of {name} is not here yet", hint=f"pvehelm repo update {repository.name}")

    def rows(self, query: str, values: Iterable[Any] = ()) -> list[Any]:
        with contextlib.closing(_open(self.file)) as base:
            return base.execute(query, tuple(values)).fetchall()

    @property
    def keys(self) -> tuple[str, ...]:
        """The public keys that the index names."""
        return tuple(json.loads(self.meta.get("keys", "[]")))

    def names(self) -> list[str]:
        return [row[0] for row in self.rows("select name from chart order by name")]

    def versions(self, name: str) -> list[Entry]:
        """Every version of a chart, newest first."""
        return [
            _entry(row) for row in self.rows(f"select {_COLUMNS} from version where name = ? order by rank", [name])
        ]

    def find(self, name: str, version: str = "", *, devel: bool = False) -> Entry:
        """The newest version of a chart that ``version`` (exact, or a range) allows. Raises NotFoundError."""
        listed = self.rows("select version, rank from version where name = ? order by rank", [name])
        where = self.repository.name or self.repository.url
        if not listed:
            from pvehelm.suggest import did_you_mean

            hint = did_you_mean(name, self.names(), "'pvehelm repo update' asks what is new")
            raise NotFoundError(f"there is no chart {name!r} in {where}", hint=hint)
        chosen = pick([row[0] for row in listed], version, devel=devel)
        if chosen is None:
            raise NotFoundError(
                f"no version of {name} in {where} is {version or 'stable'}",
                hint=f"the newest is {listed[0][0]}; 'pvehelm search repo {name} --versions --devel' lists them all",
            )
        rank = next(rank for text, rank in listed if text == chosen)
        found = self.rows(f"select {_COLUMNS} from version where name = ? and rank = ?", [name, rank])
        return _entry(found[0])

    def search(self, word: str = "", *, regexp: bool = False) -> list[str]:
        """The names of charts with every word of ``word`` in their name, description or keywords (of the newest
        version): first the chart of that name, then names that hold it, then the others."""
        label = f"{self.repository.name}/"
        if regexp:
            try:
                pattern = re.compile(word, re.IGNORECASE)
            except re.error as error:
                raise InvalidError(f"{word!r} is no regular expression: {error}") from None
            rows = self.rows("select name, words from chart order by name")
            return [name for name, words in rows if pattern.search(f"{label}{words}")]
        text = word.lower().removeprefix(label.lower())
        parts = word.lower().split()[:20] or [""]
        found = " and ".join(["instr(? || words, ?)"] * len(parts))
        query = (
            f"select name from chart where {found} order by lower(name) = ? desc, instr(lower(name), ?) > 0 desc, name"
        )
        said = [value for part in parts for value in (label.lower(), part)]
        return [row[0] for row in self.rows(query, [*said, text, text])]

    def offers(
        self, names: Iterable[str], version: str = "", *, devel: bool = False, every: bool = False
    ) -> Iterator[tuple[str, str, str, str]]:
        """Of each chart the newest version that :func:`pick` takes, or ``every`` such: name, version, appVersion and
        description."""
        columns = "v.name, v.version, v.app_version, v.description, v.deprecated"
        # The charts first, whatever the planner thinks: each is then found by its key.
        tables = "json_each(?) wanted cross join version v on v.name = wanted.value"
        stable = "" if devel or version else "and v.stable"
        if not (every or version):
            first = f"select rank from version v where v.name = wanted.value {stable} order by rank limit 1"
            stable = f"and v.rank = ({first})"
        query = f"select {columns} from {tables} {stable} order by wanted.key, v.rank"
        listed = self.rows(query, [json.dumps(list(names))])
        if version:
            listed = list(_within(listed, version, devel, every))
        for name, text, app_version, description, deprecated in listed:
            yield name, text, app_version, ("DEPRECATED " if deprecated else "") + description


def _within(rows: Iterable[Any], version: str, devel: bool, every: bool) -> Iterator[Any]:
    """Of each chart's ``rows`` (name, version, ...) the first, or ``every`` one, in the range ``version``."""
    from itertools import groupby

    for _, group in groupby(rows, key=lambda row: row[0]):
        listed = list(group)
        newest = pick([row[1] for row in listed], version, devel=devel)
        yield from (row for row in listed if (pick([row[1]], version, devel=devel) if every else row[1] == newest))


def pick(versions: Iterable[str], wanted: str = "", *, devel: bool = False) -> str | None:
    """The first of ``versions`` (newest first) that is ``wanted`` exactly or in its range; stable unless ``devel``."""
    from pvehelm.chart.versions import parse, satisfies

    listed = list(versions)
    if wanted:
        for text in listed:
            if text == wanted or text.removeprefix("v") == wanted.removeprefix("v"):
                return text
    try:
        satisfies(wanted or "*", "1.0.0")
    except ValueError as error:
        raise InvalidError(str(error), hint="for example 1.2.3, ^1.2, '>=1 <3'") from None
    for text in listed:
        found = parse(text)
        if found.prerelease and devel and not wanted:
            return text
        if satisfies(wanted or "*", found):
            return text
        if devel and wanted and satisfies(wanted, parse(f"{found.major}.{found.minor}.{found.patch}")):
            return text
    return None


def _open(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)


def _meta(file: Path) -> dict[str, str]:
    """The facts about a catalogue; empty when there is none, or one of another make."""
    try:
        with contextlib.closing(_open(file)) as base:
            found = dict(base.execute("select key, value from meta").fetchall())
    except sqlite3.Error:
        return {}
    return found if found.get("format") == FORMAT else {}


def _entry(row: Any) -> Entry:
    from pvehelm.chart.index import Entry

    name, version, app_version, description, deprecated, digest, text = row
    rest = json.loads(text)
    return Entry(
        name,
        version,
        tuple(rest.get("urls", ())),
        digest,
        rest.get("created", ""),
        app_version,
        description,
        bool(deprecated),
        tuple(rest.get("keywords", ())),
        rest.get("home", ""),
        rest.get("icon", ""),
        rest.get("type", ""),
    )

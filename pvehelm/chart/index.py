"""The index: what a repository says it offers. It comes from strangers, so nothing in it is believed unread.

Helm's ``index.yaml`` in all its ages, as YAML or JSON: ``entries`` by chart name, or (before Helm 2.0) a flat map of
releases with a ``chartfile``. An entry that makes no sense is skipped with a Problem; the rest of the index counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit, urlunsplit

from pvehelm.chart.metadata import NAME
from pvehelm.chart.versions import Version, parse
from pvehelm.errors import InvalidError, Problem

MAX_ENTRIES = 500_000
MAX_URLS = 16
MAX_TEXT = 4096
SCHEMES = ("http", "https", "oci", "file")
# What is never looked at, as Helm writes it: half of a large index.
_UNREAD = re.compile(
    rb"^(?:(  -) |    )(?:annotations|apiVersion|dependencies|kubeVersion|maintainers|sources):.*\n"
    rb"(?:    (?:- | ).*\n)*",
    re.MULTILINE,
)
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})\Z")


class Entry(NamedTuple):
    """One version of a chart. ``digest`` is the archive's SHA-256 in hex, empty where an old index has none."""

    name: str
    version: str
    urls: tuple[str, ...]
    digest: str = ""
    created: str = ""
    app_version: str = ""
    description: str = ""
    deprecated: bool = False
    keywords: tuple[str, ...] = ()
    home: str = ""
    icon: str = ""
    type: str = ""


class Index(NamedTuple):
    """The entries by chart name, newest first; the public keys it names; what was skipped and why."""

    entries: Mapping[str, tuple[Entry, ...]]
    keys: tuple[str, ...] = ()
    skipped: tuple[Problem, ...] = ()


def read(data: bytes, *, url: str) -> Index:
    """The index in the bytes of an ``index.yaml`` that was found in the folder ``url``. Raises InvalidError."""
    whole = _parsed(data, url)
    entries = whole.get("entries")
    if entries is None and "apiVersion" not in whole:
        entries = _ancient(whole)
    if entries is None:
        entries = {}
    if not isinstance(entries, dict):
        raise InvalidError(f"{url} has no index: its entries are no map")
    reader = _Reader(url)
    found = {}
    for name in list(entries):
        # What was read goes as what is made of it comes: a large index is in memory once.
        listed = reader.chart(name, entries.pop(name))
        if listed:
            found[name] = listed
    keys = whole.get("publicKeys")
    named = tuple(key for key in keys if isinstance(key, str) and len(key) < MAX_TEXT) if isinstance(keys, list) else ()
    return Index(found, named[:MAX_URLS], tuple(reader.skipped[:100]))


def _parsed(data: bytes, url: str) -> dict[str, Any]:
    file = url.rstrip("/") + "/index.yaml"
    whole: Any = None
    if data.lstrip()[:1] == b"{":
        with suppress(ValueError, RecursionError):
            whole = json.loads(data)
    if whole is None:
        from pvehelm.chart.yaml import load

        try:
            skimmed = _UNREAD.sub(lambda found: b"  -\n" if found[1] else b"", data)
            whole = load(_text_of(skimmed, file), file=file)
        except InvalidError:
            # As written: for the line numbers, or because it was skimmed wrongly.
            whole = load(_text_of(data, file), file=file)
    if not isinstance(whole, dict):
        raise InvalidError(f"{file} is no index", hint="is this the address of a chart repository?")
    return whole


def _text_of(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidError(f"{file} is not UTF-8 text") from None


def _ancient(whole: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    """The entries of an index from before Helm 2.0, whose top level is ``name-version: {url, chartfile}``."""
    entries: dict[str, list[Any]] = {}
    for key, item in whole.items():
        chart = item.get("chartfile") if isinstance(item, dict) else None
        if not isinstance(chart, dict) or not isinstance(chart.get("name"), str):
            return None
        if item.get("removed"):
            continue
        urls = item.get("url") or f"{key}.tgz"
        entries.setdefault(chart["name"], []).append(
            {**chart, "urls": [urls], **{k: item.get(k) for k in ("created", "digest") if item.get(k)}}
        )
    return entries or None


class _Reader:
    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self.query = parts.query
        self.folder = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + "/", "", ""))
        self.scheme = parts.scheme
        self.count = 0
        self.skipped: list[Problem] = []

    def chart(self, name: Any, items: Any) -> tuple[Entry, ...]:
        if not isinstance(name, str) or not NAME.match(name) or not isinstance(items, list):
            self.skipped.append(Problem(str(name)[:100], "no chart name, or no list of versions"))
            return ()
        ranked: list[tuple[Version, Entry]] = []
        seen: set[str] = set()
        for item in items:
            self.count += 1
            if self.count > MAX_ENTRIES:
                raise InvalidError(f"{self.url}: the index has more than {MAX_ENTRIES:,} entries")
            if item is None:
                continue
            try:
                version, entry = self.entry(name, item)
            except ValueError as error:
                where = f"{name} {item.get('version', '')}" if isinstance(item, dict) else name
                self.skipped.append(Problem(where.strip()[:200], str(error)))
                continue
            if entry is not None and entry.version not in seen:
                seen.add(entry.version)
                ranked.append((version, entry))
        ranked.sort(key=lambda pair: pair[0].order, reverse=True)
        return tuple(entry for _, entry in ranked)

    def entry(self, name: str, item: Any) -> tuple[Version, Entry | None]:
        """One entry; None for one that was withdrawn. Raises ValueError."""
        if not isinstance(item, dict):
            raise ValueError("an entry is a map")
        text = item.get("version")
        if not isinstance(text, str) or len(text) > 256:
            raise ValueError("the version is no text")
        version = parse(text)
        if item.get("removed") is True:
            return version, None
        if item.get("name", name) != name:
            raise ValueError(f"it is listed under {name!r} but named {str(item['name'])[:100]!r}")
        digest = _text(item.get("digest") or "")[:256]
        matched = _DIGEST.match(digest)
        urls = item.get("urls") or ([item["url"]] if isinstance(item.get("url"), str) else [])
        if not isinstance(urls, list) or not urls:
            raise ValueError("it has no urls")
        keywords = item.get("keywords")
        return version, Entry(
            name,
            text,
            tuple(self.address(url) for url in urls[:MAX_URLS]),
            # What is no SHA-256 is the digest of no archive: the version is listed, and refused when it is fetched.
            matched.group(1) if matched else digest,
            _text(item.get("created")),
            _text(item.get("appVersion")),
            _text(item.get("description")),
            item.get("deprecated") is True,
            tuple(_text(word) for word in keywords[:64]) if isinstance(keywords, list) else (),
            _text(item.get("home")),
            _text(item.get("icon")),
            _text(item.get("type")),
        )

    def address(self, url: Any) -> str:
        """An archive's address: relative ones are below the index's folder and keep its query, as Helm has it."""
        if not isinstance(url, str) or not url or len(url) > MAX_TEXT or not url.isprintable() or "\\" in url:
            raise ValueError("an url is no address")
        parts = urlsplit(url)
        if parts.scheme:
            if parts.scheme not in SCHEMES or (parts.scheme == "file" and self.scheme != "file"):
                raise ValueError(f"an url begins with {parts.scheme}:, which is not followed")
            return url
        whole = urljoin(self.folder, url)
        if self.query:
            split = urlsplit(whole)
            whole = urlunsplit((split.scheme, split.netloc, split.path, self.query, ""))
        return whole


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value[:MAX_TEXT]
    return "" if value is None or isinstance(value, (dict, list)) else str(value)

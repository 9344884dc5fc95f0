"""The origin: where a release's chart came from, as the record keeps it, and what is newer there."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote

from pvehelm.chart import book as books
from pvehelm.chart import git
from pvehelm.chart.book import Book
from pvehelm.errors import NotFoundError, PvehelmError

_EXTRA = re.compile(r"#((?:chart|version|devel|engine)=.*)\Z")


class Origin(NamedTuple):
    """``location`` is a path, a package's or registry's address, git's, or a repository's, which then has ``chart``.

    ``version`` is the range that was asked for ("" for the newest), ``devel`` whether prereleases count, ``engine`` the
    one for charts that name none.
    """

    location: str
    chart: str = ""
    version: str = ""
    devel: bool = False
    engine: str = ""

    def __str__(self) -> str:
        extra = {"chart": self.chart, "version": self.version, "devel": "true" if self.devel else ""}
        extra["engine"] = self.engine
        text = "&".join(f"{name}={quote(value, safe='^~<>=* ,.|')}" for name, value in extra.items() if value)
        return f"{self.location}#{text}" if text else self.location

    @classmethod
    def parse(cls, text: str) -> Origin:
        """What ``str`` made of an origin; any other text is a location."""
        found = _EXTRA.search(text)
        if found is None:
            return cls(text)
        extra = dict(parse_qsl(found[1].replace("+", "%2B"), keep_blank_values=True))
        location = text[: found.start()]
        devel = extra.get("devel") == "true"
        return cls(location, extra.get("chart", ""), extra.get("version", ""), devel, extra.get("engine", ""))

    @property
    def kind(self) -> str:
        """``path``, ``repo``, ``oci``, ``git`` or ``url``."""
        if self.chart:
            return "repo"
        scheme = self.location.partition(":")[0] if "://" in self.location else ""
        return "oci" if scheme == "oci" else "git" if scheme in git.SCHEMES else "url" if scheme else "path"


def origin_of(text: str, book: Book, *, version: str = "", repo: str = "", devel: bool = False) -> Origin:
    """The origin of a chart that a person named (see ``sources.fetch``) and that is no path."""
    if repo:
        return Origin(book.at(repo).url, text, version, devel)
    if text.startswith("oci://"):
        # The tag in an address is a version like any other.
        from pvehelm.chart.registry import parse

        reference = parse(text)
        pinned = version or reference.tag
        if reference.digest:
            return Origin(text)
        return Origin(f"oci://{reference.host}/{reference.path}", "", pinned, devel)
    name, slash, chart = text.partition("/")
    if "://" not in text and slash and name in book.repositories:
        return Origin(book.find(name).url, chart, version, devel)
    return Origin(text)


class Offer(NamedTuple):
    """What an origin has: ``wanted`` is the newest that the recorded range allows, ``newest`` of all; ``note`` says
    why nothing is known."""

    wanted: str = ""
    newest: str = ""
    note: str = ""


def offered(origin: Origin, *, refresh: bool) -> Offer:
    """What is there now. Without ``refresh`` nothing but this machine is asked; never raises PvehelmError."""
    try:
        return _offered(origin, books.load(), refresh)
    except NotFoundError as error:
        return Offer(note=error.message)
    except PvehelmError as error:
        return Offer(note=str(error))


def _offered(origin: Origin, book: Book, refresh: bool) -> Offer:
    if origin.kind == "path":
        from pvehelm.chart.chart import load

        version = load(origin.location).version if origin.location else ""
        return Offer(version, version, "" if version else "there is no chart")
    if origin.kind == "repo":
        from pvehelm.chart import catalog

        repository = book.at(origin.location)
        if refresh:
            catalog.update(book, repository)
        return _best(origin, [entry.version for entry in catalog.Catalog(repository).versions(origin.chart)])
    if origin.kind == "oci":
        from pvehelm.chart.registry import open_registry, parse

        if not refresh:
            return Offer(note="a registry is asked only by 'outdated'")
        reference = parse(origin.location)
        if reference.digest:
            return Offer(note="the chart is pinned by its digest")
        registry = open_registry(book, reference.host)
        try:
            return _best(origin, registry.tags(reference.path))
        finally:
            registry.close()
    return Offer(note="an address has one version")


def _best(origin: Origin, versions: list[str]) -> Offer:
    from pvehelm.chart.catalog import pick

    if not versions:
        return Offer(note=f"{origin.location} has no chart {origin.chart} any more")
    newest = pick(versions, devel=origin.devel) or versions[0]
    return Offer(pick(versions, origin.version, devel=origin.devel) or "", newest)


def newer(candidate: str, current: str) -> bool:
    """Whether a version is newer than another; False where one of them is none."""
    from pvehelm.chart.versions import parse

    try:
        return bool(candidate) and parse(candidate) > parse(current)
    except ValueError:
        return False

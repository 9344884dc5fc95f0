"""The resolver: which version of each dependency, and of the dependencies of those, all together.

A chart of one name from one source has one version in the whole tree, so that what subcharts share is the same for all;
who wants a copy of its own gives it an alias. Dependencies that a package already contains are its maker's choice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pvehelm.chart.archives import Archive, cached, opened
from pvehelm.chart.chart import Chart, Dependency
from pvehelm.chart.dependencies import compatible
from pvehelm.chart.lock import Locked
from pvehelm.chart.package import pack
from pvehelm.chart.sources import Candidate, Source, Sources
from pvehelm.chart.versions import satisfies
from pvehelm.errors import InvalidError, NotFoundError, Problem, PvehelmError

if TYPE_CHECKING:
    from resolvelib.structs import RequirementInformation

Key = tuple[str, str, str]
MAX_ROUNDS = 2000


@dataclass(frozen=True)
class Wanted:
    """A dependency, who asks for it, and from where it is to come."""

    need: Dependency
    asker: str
    source: Source

    @property
    def key(self) -> Key:
        return (self.source.key, self.need.name, self.need.alias)


@dataclass(frozen=True)
class Offer:
    """A candidate in its place of the tree; ``alias`` as in :class:`Wanted`."""

    candidate: Candidate
    alias: str

    @property
    def key(self) -> Key:
        return (self.candidate.source, self.candidate.name, self.alias)


@dataclass(frozen=True)
class Chosen:
    """What ``charts/`` gets: the lock's entry, and the package (None for a chart that lies there already)."""

    locked: Locked
    data: bytes | None


def lacking(chart: Chart) -> list[Dependency]:
    """The dependencies that are fetched: those with a repository, but for subcharts' that are inside already."""
    return [need for need in chart.metadata.dependencies if need.repository]


def resolve(chart: Chart, sources: Sources, folder: Path) -> list[Chosen]:
    """The choice for every dependency of the chart in ``folder``, in Chart.yaml's order.

    Raises InvalidError with every conflict, and what fetching raises.
    """
    from resolvelib import BaseReporter, Resolver
    from resolvelib.resolvers import ResolutionImpossible, ResolutionTooDeep

    provider = _Provider(sources)
    asked = [Wanted(need, chart.path, sources.of(need.repository, folder)) for need in lacking(chart)]
    resolver: Any = Resolver(cast("Any", provider), BaseReporter())
    try:
        result = resolver.resolve(asked, max_rounds=MAX_ROUNDS)
    except ResolutionImpossible as error:
        raise _conflict(error.causes, chart, provider) from None
    except ResolutionTooDeep:
        raise InvalidError(f"{chart.path}: its dependencies are too many to resolve") from None
    whole = _Tree(provider, result.mapping)
    out = []
    for need in chart.metadata.dependencies:
        if need.repository:
            source = sources.of(need.repository, folder)
            out.append(whole.chosen(need, (source.key, need.name, need.alias), ()))
        else:
            out.append(Chosen(inside(chart, need), None))
    return out


def inside(chart: Chart, need: Dependency) -> Locked:
    """The chart in ``charts/`` for a dependency without repository. Raises InvalidError when there is none."""
    for sub in chart.dependencies:
        if sub.metadata.name == need.name and compatible(need, sub):
            return Locked(need.name, sub.version)
    raise InvalidError(
        f"{chart.path}: dependency {need.name} has no repository and is not in charts/",
        [Problem(chart.file("Chart.yaml"), f"dependency {need.name!r} has no repository", "name one, or put it there")],
    )


class _Provider:
    """What resolvelib asks: candidates, whether one fits, and what it needs in turn."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.archives: dict[tuple[str, str, str], Archive] = {}
        self.needs: dict[tuple[str, str, str], list[Wanted]] = {}
        self.offered: dict[tuple[str, str], Sequence[Candidate]] = {}

    def identify(self, requirement_or_candidate: Wanted | Offer) -> Key:
        return requirement_or_candidate.key

    def get_preference(
        self,
        identifier: Key,
        resolutions: Mapping[Key, Offer],
        candidates: Mapping[Key, Iterator[Offer]],
        information: Mapping[Key, Iterator[RequirementInformation[Wanted, Offer]]],
        backtrack_causes: Sequence[RequirementInformation[Wanted, Offer]],
    ) -> Any:
        return (not any(cause.requirement.key == identifier for cause in backtrack_causes), identifier)

    def find_matches(
        self,
        identifier: Key,
        requirements: Mapping[Key, Iterator[Wanted]],
        incompatibilities: Mapping[Key, Iterator[Offer]],
    ) -> Iterable[Offer]:
        wanted = list(requirements[identifier])
        refused = {offer.candidate.version for offer in incompatibilities[identifier]}
        return [
            Offer(candidate, identifier[2])
            for candidate in self.all(wanted[0])
            if candidate.version not in refused and all(fits(one.need, candidate.version) for one in wanted)
        ]

    def all(self, wanted: Wanted) -> Sequence[Candidate]:
        place = (wanted.source.key, wanted.need.name)
        if place not in self.offered:
            try:
                self.offered[place] = wanted.source.candidates(wanted.need.name)
            except PvehelmError as error:
                error.hint = error.hint or f"{wanted.asker} asks for it"
                raise
        return self.offered[place]

    def is_satisfied_by(self, requirement: Wanted, candidate: Offer) -> bool:
        return fits(requirement.need, candidate.candidate.version)

    def get_dependencies(self, candidate: Offer) -> Iterable[Wanted]:
        place = self.place(candidate)
        if place not in self.needs:
            chart = self.archive(candidate).chart
            self.needs[place] = [
                Wanted(need, f"{chart.metadata.name} {chart.version}", self.source(need, candidate))
                for need in absent(chart)
            ]
        return self.needs[place]

    def source(self, need: Dependency, above: Offer) -> Source:
        return self.sources.of(need.repository, above.candidate.folder)

    def archive(self, offer: Offer) -> Archive:
        place = self.place(offer)
        if place not in self.archives:
            self.archives[place] = offer.candidate.fetch()
        return self.archives[place]

    def place(self, offer: Offer) -> tuple[str, str, str]:
        return (offer.candidate.source, offer.candidate.name, offer.candidate.version)

    def narrow_requirement_selection(self, identifiers: Iterable[Key], *_: Any, **__: Any) -> Iterable[Key]:
        return identifiers


def absent(chart: Chart) -> list[Dependency]:
    """The dependencies of a fetched chart that its package does not contain. Raises InvalidError without repository."""
    out = []
    for need in chart.metadata.dependencies:
        if any(sub.metadata.name == need.name and compatible(need, sub) for sub in chart.dependencies):
            continue
        if not need.repository:
            inside(chart, need)
        out.append(need)
    return out


def fits(need: Dependency, version: str) -> bool:
    """Whether a dependency takes a version; without a wish, every stable one. Raises InvalidError."""
    if need.version.removeprefix("v") == version.removeprefix("v"):
        return True
    try:
        return satisfies(need.version or "*", version)
    except ValueError as error:
        raise InvalidError(f"dependency {need.name}: {error}", hint="for example 1.2.3, ^1.2, '>=1 <3'") from None


class _Tree:
    """Packages completed with what they need, bottom up."""

    def __init__(self, provider: _Provider, mapping: Mapping[Key, Offer]) -> None:
        self.provider = provider
        self.mapping = mapping

    def chosen(self, need: Dependency, key: Key, above: tuple[Key, ...]) -> Chosen:
        if key in above:
            names = " -> ".join(one[1] for one in (*above[above.index(key) :], key))
            raise InvalidError(f"the dependencies go round in a circle: {names}")
        offer = self.mapping[key]
        archive = self.provider.archive(offer)
        below = [
            self.chosen(wanted.need, wanted.key, (*above, key)) for wanted in self.provider.get_dependencies(offer)
        ]
        locked = Locked(
            need.name,
            archive.chart.version,
            need.repository,
            archive.url,
            archive.sha256,
            dependencies=tuple(one.locked for one in below),
        )
        return completed(archive, locked, below)


def completed(archive: Archive, locked: Locked, below: Sequence[Chosen]) -> Chosen:
    """A package with its dependencies inside; the very package that was fetched if there are none to add."""
    if not below:
        return Chosen(locked, archive.data)
    raw = dict(archive.chart.raw)
    for one in below:
        assert one.data is not None
        raw[f"charts/{one.locked.filename}"] = one.data
    data = pack(archive.chart.metadata.name, raw)
    whole = opened(data, url=archive.url)
    return Chosen(replace(locked, packed=whole.sha256), data)


def rebuild(chart: Chart, chosen: Sequence[Locked], sources: Sources, folder: Path) -> list[Chosen]:
    """What a lock says, fetched again and checked: nothing is chosen. Raises InvalidError for what has changed."""
    needs = {(need.name, need.repository): need for need in chart.metadata.dependencies}
    out = []
    for locked in chosen:
        need = needs.get((locked.name, locked.repository), Dependency(locked.name, locked.version, locked.repository))
        if locked.repository:
            out.append(_again(locked, sources, folder))
        else:
            inside(chart, need._replace(version=locked.version))
            out.append(Chosen(locked, None))
    return out


def _again(locked: Locked, sources: Sources, folder: Path | None) -> Chosen:
    archive, at = _fetched(locked, sources, folder)
    below = [_again(one, sources, at) for one in locked.dependencies]
    found = completed(archive, replace(locked, packed=""), below)
    if locked.packed and found.locked.packed != locked.packed:
        raise InvalidError(
            f"{locked.name} {locked.version} with its dependencies is not what the lock says",
            hint="'pvehelm dependency update' chooses anew",
        )
    return found


def _fetched(locked: Locked, sources: Sources, folder: Path | None) -> tuple[Archive, Path | None]:
    source = sources.of(locked.repository, folder)
    data = cached(locked.sha256)
    if data is not None and not locked.repository.startswith("file:"):
        return opened(data, url=locked.url, name=locked.name, version=locked.version), None
    if locked.url.startswith("git+"):
        source = sources.of(locked.url, folder)
    candidate = next((one for one in source.candidates(locked.name) if one.version == locked.version), None)
    if candidate is None:
        raise NotFoundError(
            f"{locked.name} {locked.version} is no longer in {locked.repository}",
            hint="'pvehelm dependency update' chooses anew",
        )
    archive = candidate.fetch()
    if locked.sha256 and archive.sha256 != locked.sha256:
        raise InvalidError(
            f"{locked.name} {locked.version} is not what was locked",
            [Problem(archive.url, f"its SHA-256 is {archive.sha256}, the lock has {locked.sha256}")],
            hint="if the change is wanted, 'pvehelm dependency update' locks it",
        )
    return archive, candidate.folder


def _conflict(causes: Iterable[Any], chart: Chart, provider: _Provider) -> InvalidError:
    problems: dict[Problem, None] = {}
    for cause in causes:
        need, asker = cause.requirement.need, cause.requirement.asker
        listed: list[str] = []
        with contextlib.suppress(PvehelmError):
            listed = [one.version for one in provider.all(cause.requirement)]
        newest = f"there is {', '.join(listed[:5])}{', ...' if len(listed) > 5 else ''}" if listed else "there is none"
        problems[Problem(asker, f"wants {need.name} {need.version or '(any)'} of {need.repository}; {newest}")] = None
    alone = len(problems) == 1
    hint = "change the version in Chart.yaml" if alone else "change a version, or give one of them an alias"
    return InvalidError(f"{chart.path}: its dependencies cannot be satisfied", list(problems), hint=hint)

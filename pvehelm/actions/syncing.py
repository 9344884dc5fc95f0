"""GitOps: a release follows a branch, a tag or a commit of a git repository.

A commit is applied once. One that is wrong (not signed, not valid, more than the policy allows) is reported and not
applied; what the last good one made stays, and a failure half-way goes back to it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pvehelm.actions.reconcile import Outcome, alike, destroyed, guard, said
from pvehelm.errors import (
    FencedError,
    InvalidError,
    LeaseHeldError,
    NotFoundError,
    Problem,
    PvehelmError,
    RefusedError,
    StoppedError,
    UsageError,
)
from pvehelm.release.policy import Mode, State
from pvehelm.release.release import ReleaseKey, Status

if TYPE_CHECKING:
    from pvehelm.chart.chart import Chart
    from pvehelm.chart.git import Address
    from pvehelm.chart.manifest import Resource
    from pvehelm.chart.values import ValueFlag
    from pvehelm.release.context import Context
    from pvehelm.release.desire import Options
    from pvehelm.release.pipeline import Result
    from pvehelm.release.secrets import Resolver
    from pvehelm.release.sync import Sync

ENDINGS = (".yaml", ".yml", ".json")
LARGEST = 8 << 20


@dataclass(frozen=True)
class Content:
    """What a commit says a release shall be: a chart with the texts of its values, or manifests."""

    commit: str
    origin: str
    chart: Chart | None = None
    values: tuple[tuple[str, str], ...] = ()
    resources: tuple[Resource, ...] = ()


async def sync(ctx: Context, one: Sync, before: State) -> tuple[Outcome, State]:
    """Bring a release to what its sync's repository says, as far as the policy allows; the outcome, and ``before``
    with what is to be known of the commit. Raises nothing that the outcome does not say."""
    from pvehelm.chart import git

    key = ReleaseKey(ctx.cluster, one.namespace, one.release)
    commit = ""
    try:
        address = git.parse(one.repository)
        commit = await asyncio.to_thread(git.commit_of, address)
        if _stands(ctx, key, one, before, commit):
            return Outcome(key, "in-sync", commit=commit), replace(before, bad="")
        # What a person declares goes first: another branch may be where it will.
        # Who wrote the state before sources were written down meant the declared one.
        same = before.source in (one.repository, "")
        after = before.commit if same and not one.allow_rewind else ""
        content = await asyncio.to_thread(read, one, address, after)
        commit = content.commit
        outcome = await _applied(_context(ctx, one, key), key, one, content)
    except (LeaseHeldError, FencedError) as error:
        outcome = Outcome(key, "held", str(error), commit=commit)
    except StoppedError as error:
        outcome = Outcome(key, "interrupted", str(error), commit=commit)
    except (InvalidError, UsageError, RefusedError, NotFoundError) as error:
        left = tuple(Problem(_plain(p.where), _plain(p.what), p.hint) for p in error.problems)
        outcome = Outcome(key, "bad", _about(commit, said(error)), left=left, commit=commit)
    except PvehelmError as error:
        text = said(error) + await _went_back(ctx, key, one)
        outcome = Outcome(key, "failed", _about(commit, text), commit=commit)
    if outcome.good:
        applied = _applied_digest(ctx, key)
        source = one.repository
        return outcome, replace(before, commit=commit, bad="", spec=one.digest, applied=applied, source=source)
    return outcome, replace(before, bad=commit if outcome.broken else before.bad)


async def _went_back(ctx: Context, key: ReleaseKey, one: Sync) -> str:
    """After a failure that --atomic did not undo: the last good revision again; what came of that, in words."""
    from pvehelm.actions.drift import everything_allowed, repair
    from pvehelm.release.desire import Options, was_deployed

    release = ctx.store.find(key, bodies=False)
    if release is None or release.current.status is not Status.failed or one.policy.mode is Mode.observe:
        return ""
    if not was_deployed(ctx, key):
        return ""
    own = alike(ctx, key, destroys=one.policy.mode is Mode.prune)
    try:
        made = await repair(own, key, everything_allowed(Options()), pin=guard(one.policy.mode))
    except PvehelmError as error:
        return f"; it could not be set back: {said(error)}"
    return f"; set back in revision {made.release.current.number}" if made.release else ""


def _about(commit: str, text: str) -> str:
    named = not commit or f"commit {commit[:12]}" in text
    return _plain(text) if named else f"commit {commit[:12]}: {_plain(text)}"


def _plain(text: str) -> str:
    """A text with the paths of the repository, not those of the folder that it was checked out to."""
    return re.sub(r"/\S*/pvehelm-git-[^/\s]+/", "", text)


def _stands(ctx: Context, key: ReleaseKey, one: Sync, before: State, commit: str) -> bool:
    """Whether the release is what the commit made of it, and nobody changed it since."""
    same = bool(commit) and commit == before.commit and one.digest == before.spec
    return same and _applied_digest(ctx, key) == before.applied


def _applied_digest(ctx: Context, key: ReleaseKey) -> str:
    """Names what the deployed revision of a release says; nothing where there is none."""
    from pvehelm.release.desire import last_deployed

    release = ctx.store.find(key, bodies=False)
    if release is None or release.current.status is Status.uninstalled:
        return ""
    current = last_deployed(ctx, key)
    if current is None:
        return ""
    return hashlib.sha256(f"{current.chart_digest}\n{current.manifest}".encode()).hexdigest()[:16]


def _context(ctx: Context, one: Sync, key: ReleaseKey) -> Context:
    own = alike(ctx, key, destroys=one.policy.mode is Mode.prune)
    resolvers = ctx.resolvers

    def allowed() -> Mapping[str, Resolver]:
        return {name: found for name, found in resolvers().items() if name in one.secrets}

    own.resolvers = allowed
    own.allow_privileged = ctx.allow_privileged | frozenset(one.allow_privileged)
    return own


# -- what the commit says --------------------------------------------------------------------------------------------


def read(one: Sync, address: Address, after: str = "") -> Content:
    """What the repository says now. Where commits are to be signed, an old one that was pushed again is as good as one
    of somebody else: it has to come after the commit ``after``, if that is given.

    Raises InvalidError, NotFoundError, TransportError."""
    from pvehelm.chart import git

    with git.checkout(address, one.signers, after=after if one.signers else "") as (folder, at):
        if one.manifests:
            return Content(at.ref, str(at), resources=tuple(_manifests(folder, one)))
        values = tuple((path, _text(folder, path)) for path in one.values)
        return Content(at.ref, str(at), _chart(folder, one), values)


def _chart(folder: Path, one: Sync) -> Chart:
    if "://" in one.chart:
        return _published(one)
    from pvehelm.chart.chart import load

    return load(str(_inside(folder, one.chart)))


def _published(one: Sync) -> Chart:
    """A chart by its address, if it is the one that the declaration means and signed as it says."""
    from pvehelm.actions.repos import Wish, pull, verify

    archive = pull(one.chart, Wish(one.version), sidecars=bool(one.chart_signers))
    if one.package and archive.sha256 != one.package:
        what = f"{one.chart} is another package than the declared one"
        found = Problem(archive.filename, f"its digest is sha256:{archive.sha256}")
        raise InvalidError(what, [found], hint="if it is the right one, put its digest into the Sync")
    if one.chart_signers:
        verify(archive.data, archive.sidecars, name=archive.filename, keys=one.chart_signers)
    return archive.chart


def _manifests(folder: Path, one: Sync) -> list[Resource]:
    from pvehelm.actions import manifests
    from pvehelm.chart.manifest import check_unique

    files: list[manifests.File] = []
    for path in one.manifests:
        place = _inside(folder, path)
        found = sorted(p for p in place.rglob("*") if p.name.endswith(ENDINGS)) if place.is_dir() else [place]
        names = [
            str(p.relative_to(folder.resolve())) for p in found if not any(q.startswith(".") for q in p.parts[-1:])
        ]
        files += [manifests.File(name, _text(folder, name)) for name in names]
    if not files:
        raise NotFoundError(
            f"{', '.join(one.manifests)}: there are no manifests", hint=f"{', '.join(ENDINGS)} are read"
        )
    resources = manifests.read(files)
    check_unique(resources)
    return resources


def _inside(folder: Path, path: str) -> Path:
    """A path of the checkout. Raises NotFoundError, and InvalidError for one that leads out of it."""
    root, place = folder.resolve(), (folder / path).resolve()
    if root not in (place, *place.parents):
        raise InvalidError(f"{path} leads out of the repository")
    if not place.exists():
        raise NotFoundError(f"there is no {path} in the repository")
    return place


def _text(folder: Path, path: str) -> str:
    place = _inside(folder, path)
    try:
        if place.stat().st_size > LARGEST:
            raise InvalidError(f"{path} is larger than {LARGEST >> 20} MiB")
        return place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidError(f"{path} can't be read: {why}") from None


# -- applying it -----------------------------------------------------------------------------------------------------


async def _applied(ctx: Context, key: ReleaseKey, one: Sync, content: Content) -> Outcome:
    from pvehelm.release.desire import Options
    from pvehelm.release.plan import Allowed

    allowed = Allowed(privileged=ctx.allow_privileged)
    options = Options(
        allowed=allowed, wait=one.wait, timeout=one.timeout, create_namespace=one.create_namespace, atomic=True
    )
    await ctx.connect()
    plan = (await _run(ctx, key, one, content, replace(options, dry_run=True, atomic=False))).plan
    short = content.commit[:12]
    outcome = Outcome(key, "synced", f"commit {short}: {plan.summary()}", commit=content.commit)
    lost = {} if one.policy.mode is Mode.prune else destroyed(plan)
    obstacles = (*plan.problems, *plan.refusals)
    if obstacles or lost:
        left = (*obstacles, *(Problem(ref, why) for ref, why in lost.items()))
        why = "; ".join(f"{p.where}: {p.what}" if p.where else p.what for p in left[:5])
        return replace(outcome, result="bad" if obstacles else "refused", message=f"commit {short}: {why}", left=left)
    if one.policy.mode is Mode.observe:
        return replace(outcome, result="drifted")
    closed = one.policy.closed(ctx.clock())
    if closed:
        return replace(outcome, result="waiting", message=f"{outcome.message}; {closed}")
    # What can't be undone (a disk that grows) is still applied, and set right by hand if it fails half-way.
    undone = (await _run(ctx, key, one, content, replace(options, dry_run=True))).plan
    made = await _run(ctx, key, one, content, replace(options, atomic=len(undone.refusals) == len(plan.refusals)))
    return replace(outcome, revision=made.release.current.number if made.release else 0)


async def _run(ctx: Context, key: ReleaseKey, one: Sync, content: Content, options: Options) -> Result:
    description = f"Commit {content.commit[:12]} of {one.repository}"
    if content.chart is None:
        from pvehelm.actions import manifests

        return await manifests.apply(
            ctx, key.name, content.resources, options, prune=True, description=description, namespace=key.namespace
        )
    from pvehelm.actions.releases import Request, upgrade

    request = Request(
        key.name,
        content.chart,
        list(_flags(one, content)),
        content.origin,
        description,
        {"sync": one.name},
        install_if_missing=True,
        reset_values=True,
    )
    return await upgrade(ctx, request, options)


def _flags(one: Sync, content: Content) -> Iterator[ValueFlag]:
    from pvehelm.chart.values import ValueFlag
    from pvehelm.chart.yaml import dump

    for path, text in content.values:
        yield ValueFlag("file", path, text)
    if one.set:
        yield ValueFlag("file", f"Sync/{one.name}: set", dump(dict(one.set)))

"""Manifests without a chart: validate them, apply them as a set, see what that would change, take them out again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pvehelm.actions import action
from pvehelm.errors import InvalidError, Problem, UsageError

if TYPE_CHECKING:
    from pvehelm.chart.manifest import Resource
    from pvehelm.release.context import Context
    from pvehelm.release.desire import Options
    from pvehelm.release.pipeline import Result


@dataclass(frozen=True)
class File:
    """A text with manifests, and the name that problems are told by. What comes from the network is ``remote``: as with
    charts, references to secrets are not resolved for it."""

    name: str
    text: str
    remote: bool = False


def read(files: Sequence[File]) -> list[Resource]:
    """Every manifest of every file. Raises InvalidError with the problems of all of them, UsageError for none."""
    from pvehelm.chart.manifest import parse

    found: list[Resource] = []
    problems: list[Problem] = []
    for file in files:
        with _collected(problems, file.name):
            found += parse(file.text, file=file.name)
        if file.remote and "secret://" in file.text:
            what = "references to secrets are not resolved for manifests from the network"
            problems.append(Problem(file.name, what, "read them, save them, and apply the file"))
    if problems:
        raise InvalidError("the manifests are not valid", problems)
    return _some(found, files)


def _some(found: list[Resource], files: Sequence[File]) -> list[Resource]:
    if not found:
        raise UsageError(f"there are no manifests in {', '.join(file.name for file in files)}")
    return found


def set_name(names: Sequence[str]) -> str:
    """The set that files are applied as, from the one file or folder that was named: ``prod/web.yaml`` is ``web``.

    Raises UsageError where a name has to be given.
    """
    from pvehelm.release.release import check_name

    if len(names) != 1 or names[0] in ("", "-"):
        what = "standard input has" if names == ["-"] else "several files have" if names else "no file has"
        raise UsageError(f"{what} no name of a set", hint="--set-name NAME says which set the manifests belong to")
    plain = re.sub(r"[?#].*", "", names[0]) if "://" in names[0] else names[0]
    stem = re.sub(r"\.(ya?ml|json)\Z", "", plain.rstrip("/").rpartition("/")[2], flags=re.IGNORECASE)
    name = re.sub(r"[^a-z0-9.-]+", "-", stem.lower()).strip("-.")[:53].strip("-.")
    if not name:
        raise UsageError(f"{names[0]!r} gives no name of a set", hint="--set-name NAME")
    return check_name(name)


@action("local")
def validate(files: Sequence[File], *, pve_version: str = "") -> list[Resource]:
    """Check manifests offline, against the schema of a Proxmox VE version. Raises InvalidError with every problem,
    UsageError where there are none."""
    from pvehelm.api.kinds import Kinds
    from pvehelm.api.schema import Schema
    from pvehelm.chart.manifest import check_unique, parse
    from pvehelm.release.validity import require_valid

    kinds = Kinds.load(Schema.load(pve_version))
    problems: list[Problem] = []
    found: list[Resource] = []
    for file in files:
        with _collected(problems, file.name):
            found += parse(file.text, file=file.name)
    with _collected(problems):
        check_unique(found)
    with _collected(problems):
        require_valid(kinds, found)
    if problems:
        raise InvalidError("the manifests are not valid", problems)
    return _some(found, files)


@contextmanager
def _collected(problems: list[Problem], name: str = "") -> Iterator[None]:
    """Problems added to a list instead of being raised."""
    try:
        yield
    except InvalidError as error:
        problems.extend(error.problems or (Problem(name, str(error), error.hint),))


@action("write")
async def apply(
    ctx: Context,
    name: str,
    resources: Sequence[Resource],
    options: Options | None = None,
    *,
    prune: bool = False,
    description: str = "",
    namespace: str = "",
) -> Result:
    """Apply manifests as a set: make and change what they say, and remember it as the set's next revision."""
    from pvehelm.actions.releases import settled
    from pvehelm.release import sets
    from pvehelm.release.desire import Options
    from pvehelm.release.pipeline import run
    from pvehelm.release.release import check_name

    if not resources:
        raise UsageError("there are no manifests in what was given")
    key = ctx.key(check_name(name), namespace)
    await settled(ctx, key, options)
    desire = await sets.applied(ctx, key, resources, prune=prune, description=description)
    return await run(ctx, key, desire, options or Options())


@action("read", "diff-manifests")
async def diff(
    ctx: Context, name: str, resources: Sequence[Resource], options: Options | None = None, *, prune: bool = False
) -> Result:
    """What applying manifests would change."""
    from pvehelm.release.desire import Options

    return await apply(ctx, name, resources, replace(options or Options(), dry_run=True), prune=prune)

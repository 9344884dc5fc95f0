"""apply, validate, diff -f, plan -f: manifests without a chart."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.actions import manifests as actions
from pvehelm.errors import PvehelmError, UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import Session, command, read_text

if TYPE_CHECKING:
    from pvehelm.chart.manifest import Resource
    from pvehelm.release.pipeline import Result

ENDINGS = (".yaml", ".yml", ".json")
Files = Annotated[
    list[str],
    typer.Option(
        "-f", "--filename", help="Manifests: a file, a folder, an address, '-' for stdin; repeatable.", metavar="FILE"
    ),
]
Recursive = Annotated[bool, typer.Option("-R", "--recursive", help="Folders with all that is below them.")]
SetName = Annotated[
    str, typer.Option("--set-name", help="The set they belong to; the file's name when left out.", metavar="NAME")
]
Prune = Annotated[bool, typer.Option("--prune", help="Remove what the set has and the files do not.")]
PveVersion = Annotated[str, typer.Option("--pve-version", help="The Proxmox VE version.", metavar="X.Y")]
APPLYING = ("description", *o.ALLOWING, "replace", "target", "create_namespace", "atomic", "no_hooks", "reboot", *o.RUN)
WORDS = {
    "create": "created",
    "update": "configured",
    "replace": "replaced",
    "delete": "deleted",
    "forget": "forgotten",
    "keep": "unchanged",
    "run": "done",
}


def read_files(paths: Sequence[str], recursive: bool) -> list[actions.File]:
    """The texts of ``-f``. Raises UsageError where there is none, PvehelmError for what can't be read."""
    if not paths:
        raise UsageError("no manifests were named", hint="-f FILE, -f FOLDER, or -f - for standard input")
    return [_read(p) for path in paths for p in ([path] if _is_address(path) else _files(path, recursive))]


def named(files: Sequence[str], recursive: bool, *words: str) -> list[Resource]:
    """The manifests of ``-f``, none without it. Raises UsageError where objects are named besides."""
    if files and words:
        raise UsageError("names and -f can't be combined", hint="-f alone means the objects of its manifests")
    return actions.read(read_files(files, recursive)) if files else []


def _is_address(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def _read(path: str) -> actions.File:
    if not _is_address(path):
        return actions.File("standard input" if path == "-" else path, read_text(path))
    from pvehelm.chart.fetch import MAX_SMALL, Fetcher

    with Fetcher(path) as fetcher:
        body = fetcher.get(path, limit=MAX_SMALL, encoded=True).body
    try:
        return actions.File(path, body.decode("utf-8"), remote=True)
    except UnicodeDecodeError:
        raise PvehelmError(f"can't read {path}: it is not UTF-8 text") from None


def _files(path: str, recursive: bool) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
        return
    found = []

    def unread(error: OSError) -> None:
        raise PvehelmError(f"can't read {error.filename}: {error.strerror}") from None

    for folder, below, names in os.walk(path, onerror=unread):
        below[:] = sorted(name for name in below if not name.startswith(".")) if recursive else []
        found += [os.path.join(folder, name) for name in sorted(names) if name.endswith(ENDINGS)]
    if not found:
        more = "" if recursive else "; -R looks below it, too"
        raise PvehelmError(f"{path}: there is no file of manifests in it", hint=f"{', '.join(ENDINGS)} are read{more}")
    yield from found


def name_of(paths: Sequence[str], given: str) -> str:
    if given:
        return given
    return actions.set_name([path if path == "-" or _is_address(path) else os.path.abspath(path) for path in paths])


@command("namespace", "context", "named", "yes", *APPLYING)
async def apply(
    session: Session,
    files: Files = [],
    recursive: Recursive = False,
    set_name: SetName = "",
    prune: Prune = False,
) -> int | None:
    """Apply manifests as a set, a release without a chart.

    pvehelm apply -f web.yaml
    """
    mode = o.dry_mode(session)
    texts = read_files(files, recursive)
    if mode == "client":
        return _client_side(session, texts)
    resources = actions.read(texts)
    name = name_of(files, set_name)
    ctx = session.watch()
    given = session.given.get("description", "")
    result = await actions.apply(ctx, name, resources, o.options(session, ctx), prune=prune, description=given)
    if mode:
        return planned(session, result)
    applied(session, result, resources)
    return 0


def _client_side(session: Session, texts: Sequence[actions.File]) -> int:
    resources = actions.validate(texts)
    rows = [resource.as_dict() for resource in resources]
    data = rows[0] if len(rows) == 1 else {"apiVersion": "v1", "kind": "List", "items": rows}
    people = (f"{resource.ref} valid (client dry run)\n" for resource in resources)
    names = [resource.ref for resource in resources]
    output.show(session.output, data, lambda: sys.stdout.writelines(people), names=names)
    return 0


def applied(session: Session, result: Result, resources: Sequence[Resource]) -> None:
    release = result.release
    assert release is not None
    given = {resource.ref for resource in resources}
    changes = [
        change for change in result.plan.changes if change.kind != "Commit" and (change.acts or change.ref in given)
    ]
    words = {
        change.ref: "configured" if change.acts and str(change.op) == "keep" else WORDS[str(change.op)]
        for change in changes
    }

    def people() -> None:
        for ref, word in words.items():
            sys.stdout.write(f"{ref} {word}\n")
        state = f"revision {release.current.number}" if result.changed else "as desired, no new revision"
        sys.stdout.write(f'set "{release.key.name}": {state}\n')
        for line in result.plan.notes:
            sys.stderr.write(f"note: {line}\n")

    row = {
        "set": release.key.name,
        "namespace": release.key.namespace,
        "revision": release.current.number,
        "status": str(release.status),
        "changed": result.changed,
        "objects": [{"ref": ref, "result": word} for ref, word in words.items()],
    }
    output.show(session.output, row, people, names=words)


def planned(session: Session, result: Result) -> int:
    """Print a plan of manifests; 1 where it can't be done, 3 where it is refused."""
    names = [change.ref for change in result.plan.changes if change.kind != "Commit"]
    output.show(session.output, result.plan.as_dict(), lambda: output.dry_text(result.plan), names=names)
    return 1 if result.plan.problems else 3 if result.plan.refusals else 0


async def preview(
    session: Session, files: Sequence[str], recursive: bool, set_name: str, prune: bool, *, detailed: bool
) -> int:
    """``diff -f``: what applying would change. ``detailed``: 2 for changes."""
    from pvehelm.faces.cli.external import shown

    resources = actions.read(read_files(files, recursive))
    ctx = session.context
    result = await actions.diff(
        ctx, name_of(files, set_name), resources, o.options(session, ctx, dry_run=True), prune=prune
    )
    code = 0 if shown(result.plan, session.output) else planned(session, result)
    if not detailed:
        return 0
    return 1 if result.plan.problems else 2 if code or not result.plan.empty else 0


@command("output")
def validate(session: Session, files: Files = [], recursive: Recursive = False, pve_version: PveVersion = "") -> None:
    """Check manifests without a server.

    pvehelm validate -f manifests/ -R --pve-version 8.4
    """
    resources = actions.validate(read_files(files, recursive), pve_version=pve_version)
    rows: list[dict[str, Any]] = [
        {"ref": resource.ref, "namespace": resource.namespace, "where": str(resource.source)} for resource in resources
    ]
    output.show(session.output, rows, lambda: _count(len(rows), pve_version))


def _count(count: int, pve_version: str) -> None:
    from pvehelm.api.releases import best_release

    used = best_release(pve_version)
    against = f" for Proxmox VE {pve_version}" if pve_version else ""
    if pve_version and not f"{pve_version}.".startswith(f"{used}."):
        against += f", by the schema of {used}, which is the nearest"
    sys.stdout.write(f"{count} manifest{'' if count == 1 else 's'} valid{against}\n")

"""describe, edit, delete: one object, or a few, by name."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.actions import editing
from pvehelm.errors import PvehelmError, UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import complete
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import Session, ask, command
from pvehelm.faces.cli.manifests import Files, Recursive, named
from pvehelm.faces.cli.objects import AllNamespaces, Scope, Selector, Words, full_scope

if TYPE_CHECKING:
    from pvehelm.actions.removal import Removed

AllowOwned = Annotated[bool, typer.Option("--allow-owned", help="Even what a chart's release owns.")]


# -- describe ----------------------------------------------------------------------------------------------------


@command("namespace", "context", "output")
async def describe(
    session: Session,
    words: Words = [],
    files: Files = [],
    recursive: Recursive = False,
    selector: Selector = "",
    all_namespaces: AllNamespaces = False,
    scope: Scope = "",
) -> None:
    """Everything about objects: configuration, what waits, release, state, snapshots, firewall, tasks.

    pvehelm describe vm/web
    """
    from pvehelm.actions.describing import describe as described
    from pvehelm.actions.objects import Query

    resources = named(files, recursive, *words)
    query = Query(selector, "", all_namespaces, full_scope(scope), resources=resources)
    found = await described(session.context, words, query)
    data = found[0] if len(found) == 1 else found

    def people() -> None:
        if not found:
            sys.stderr.write("No objects found.\n")
        for index, one in enumerate(found):
            sys.stdout.write("\n\n" if index else "")
            _described(one)

    output.show(session.output, data, people)


def _described(one: Mapping[str, Any]) -> None:
    status = one["status"]
    rows: list[tuple[str, Any]] = [("Name", one["metadata"]["name"]), ("Kind", one["kind"])]
    rows += [("Namespace", one["metadata"]["namespace"])] if one["metadata"].get("namespace") else []
    rows += [
        (name.upper() if name == "vmid" else name.title(), status[name]) for name in ("vmid", "node") if name in status
    ]
    rows += [("Status", status["status"])] if status.get("status") else []
    rows += [("Labels", ", ".join(f"{k}={v}" if v else k for k, v in sorted(one["labels"].items())))]
    release = one.get("release")
    if release:
        kind = f"set {release['name']}" if release["kind"] == "set" else f"{release['name']} ({release['chart']})"
        made = "made by it" if release["created"] else "taken over"
        rows.append(("Release", f"{kind}, namespace {release['namespace']}, revision {release['revision']}, {made}"))
        rows += [("Lifecycle", release["lifecycle"])] if release["lifecycle"] else []
    elif one["kind"] != "Node":
        rows.append(("Release", "none"))
    for name, value in rows:
        if value not in (None, ""):
            sys.stdout.write(f"{name + ':':<12}{output.printable(str(value))}\n")
    if one["spec"]:
        sys.stdout.write("Configuration:\n")
        _indented(one["spec"])
    _section("Waiting for a restart", _pending(one.get("pending") or {}))
    for title, lines in _guest_sections(one):
        _section(title, lines)
    for name, why in (one.get("unread") or {}).items():
        sys.stdout.write(f"{name}: not read: {output.printable(why)}\n")


def _indented(data: Any) -> None:
    from pvehelm.chart.yaml import dump

    for line in dump(data, width=None).splitlines():
        sys.stdout.write(f"  {output.printable(line)}\n")


def _section(title: str, lines: Sequence[Sequence[Any]]) -> None:
    if not lines:
        return
    sys.stdout.write(f"{title}:\n")
    heads, *rows = lines
    output.table([[f"  {row[0]}", *row[1:]] for row in rows], [f"  {heads[0]}", *heads[1:]])


def _pending(pending: Mapping[str, Any]) -> list[Sequence[Any]]:
    if not pending:
        return []
    rows = [
        (leaf, output.value_text(row["runs"]), output.value_text(row["configured"])) for leaf, row in pending.items()
    ]
    return [("FIELD", "RUNS", "CONFIGURED"), *sorted(rows)]


RULE = (
    "TYPE=type",
    "ACTION=action",
    "MACRO=macro",
    "PROTO=proto",
    "PORT=dport",
    "SOURCE=source",
    "ON=enable:yes",
)


def _guest_sections(one: Mapping[str, Any]) -> list[tuple[str, list[Sequence[Any]]]]:
    from pvehelm.faces.columns import cell, moment, percent, size, span

    current = one.get("current") or {}
    found: list[tuple[str, list[Sequence[Any]]]] = []
    if current.get("status"):
        ha = current.get("ha") or {}
        facts = [
            ("cpu", f"{percent(current.get('cpu') or 0)} of {current.get('cpus', '')}"),
            ("memory", f"{size(current.get('mem') or 0)} of {size(current.get('maxmem') or 0)}"),
            ("uptime", span(current.get("uptime") or 0)),
            ("lock", current.get("lock")),
            ("agent", "enabled" if current.get("agent") else ""),
            ("high availability", ha.get("state") or ("managed" if ha.get("managed") else "")),
        ]
        found.append(("State", [("FACT", "VALUE"), *((name, value) for name, value in facts if value)]))
    if one["kind"] == "Node" and current:
        memory, root = current.get("memory") or {}, current.get("rootfs") or {}
        facts = [
            ("version", current.get("pveversion")),
            ("kernel", current.get("kversion")),
            ("cpu", f"{percent(current.get('cpu') or 0)} of {(current.get('cpuinfo') or {}).get('cpus', '')}"),
            ("load", " ".join(map(str, current.get("loadavg") or ()))),
            ("memory", f"{size(memory.get('used') or 0)} of {size(memory.get('total') or 0)}"),
            ("root disk", f"{size(root.get('used') or 0)} of {size(root.get('total') or 0)}"),
            ("uptime", span(current.get("uptime") or 0)),
        ]
        found.append(("State", [("FACT", "VALUE"), *((name, value) for name, value in facts if value)]))
    snapshots: list[Sequence[Any]] = [
        (
            r["name"],
            moment(r.get("snaptime") or 0),
            "yes" if r.get("vmstate") else "no",
            r.get("description", "").strip(),
        )
        for r in one.get("snapshots") or ()
    ]
    found.append(("Snapshots", _table(("NAME", "TAKEN", "MEMORY", "DESCRIPTION"), snapshots)))
    firewall = one.get("firewall") or {}
    found.append(("Firewall", _table(("OPTION", "VALUE"), sorted((firewall.get("options") or {}).items()))))
    rules = [[cell(row, column) for column in RULE] for row in firewall.get("rules") or ()]
    found.append(("Firewall rules", _table([column.partition("=")[0] for column in RULE], rules)))
    guests = [(row.get("name"), row["vmid"], row.get("status")) for row in one.get("guests") or ()]
    found.append(("Guests", _table(("NAME", "VMID", "STATUS"), guests)))
    storages = [
        (r["storage"], r.get("type"), size(r.get("used") or 0), size(r.get("total") or 0))
        for r in one.get("storages") or ()
    ]
    found.append(("Storages", _table(("NAME", "TYPE", "USED", "OF"), storages)))
    tasks = [
        (moment(r["starttime"]), r.get("type"), r.get("user"), r.get("status") or "running")
        for r in one.get("tasks") or ()
    ]
    found.append(("Tasks", _table(("STARTED", "TYPE", "USER", "STATUS"), tasks)))
    return found


def _table(heads: Sequence[Any], rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    return [heads, *rows] if rows else []


# -- edit --------------------------------------------------------------------------------------------------------

HEADER = """\
# Change what shall be different, save, and leave the editor; an empty file, or one that
# says the same, changes nothing. Lines that begin with '#' do not count.
"""


@command("namespace", "context", "yes", "timeout", *o.ALLOWING)
async def edit(
    session: Session,
    words: Words = [],
    files: Files = [],
    recursive: Recursive = False,
    allow_owned: AllowOwned = False,
    all_namespaces: AllNamespaces = False,
) -> int:
    """Change an object in the editor: $PVEHELM_EDITOR, $VISUAL or $EDITOR. The plan is shown before it is done.

    pvehelm edit vm/web
    """
    resources = named(files, recursive, *words)
    ctx = session.watch()
    begun = await editing.draft(ctx, words, allow_owned=allow_owned, all_namespaces=all_namespaces, resources=resources)
    options = o.options(session, ctx)
    path = _kept_file(begun.text)
    note = HEADER
    before = begun.text
    try:
        while True:
            text = _text_of(path, note + before, fresh=note is HEADER)
            plain = _without_notes(text)
            if not plain.strip() or plain == _without_notes(before):
                if note is not HEADER:
                    raise PvehelmError("the text was not changed after an error", hint=f"it is kept in {path}")
                sys.stdout.write("nothing was changed\n")
                os.unlink(path)
                return 0
            try:
                after = editing.changed(begun, plain)
                plan = await editing.edited(ctx, begun, after, options)
                if plan.problems or plan.refusals:
                    from pvehelm.release.decide import check

                    check(plan)
                break
            except PvehelmError as error:
                output.error_text(error)
                if not sys.stdin.isatty():
                    raise PvehelmError("the text is not applied", hint=f"it is kept in {path}") from None
                before, note = plain, _as_notes(error)
        output.plan_text(plan)
        if not plan.empty and not session.yes and sys.stdin.isatty() and not ask("Do this?"):
            sys.stderr.write(f"nothing was changed; the text is kept in {path}\n")
            return 3
        try:
            await editing.edit(ctx, begun, after, options)
        except PvehelmError as error:
            error.hint = f"{error.hint}; the text is kept in {path}".removeprefix("; ")
            raise
    except KeyboardInterrupt:
        sys.stderr.write(f"the text is kept in {path}\n")
        raise
    os.unlink(path)
    sys.stdout.write(f"{begun.resource.ref} {'unchanged' if plan.empty else 'edited'}\n")
    return 0


def _kept_file(text: str) -> str:
    """A file of the user's own; manifests may hold what is nobody else's business."""
    handle, path = tempfile.mkstemp(prefix="pvehelm-edit-", suffix=".yaml")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _text_of(path: str, text: str, *, fresh: bool) -> str:
    """The text as the user's editor left it; where that fails, the file stays only if there is something new in it."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        _edit(path)
    except PvehelmError as error:
        with open(path, encoding="utf-8") as file:
            kept = not fresh or file.read() != text
        if kept:
            error.hint = f"{error.hint}; the text is in {path}".removeprefix("; ")
        else:
            os.unlink(path)
        raise
    with open(path, encoding="utf-8") as file:
        return file.read()


def _edit(path: str) -> None:
    """Open a file in the user's editor. Raises PvehelmError when there is none, or it fails."""
    names = ("PVEHELM_EDITOR", "VISUAL", "EDITOR")
    editor = next((os.environ[name] for name in names if os.environ.get(name)), "vi" if sys.stdin.isatty() else "")
    if not editor:
        raise UsageError("there is no terminal for an editor", hint="set EDITOR to a command that changes the file")
    try:
        code = subprocess.run([*shlex.split(editor), path], check=False).returncode
    except OSError as error:
        raise PvehelmError(f"can't run the editor {editor!r}: {error.strerror}", hint="set EDITOR") from None
    if code:
        raise PvehelmError(f"the editor {editor!r} ended with {code}", hint="nothing was changed")


def _without_notes(text: str) -> str:
    lines = text.splitlines(keepends=True)
    while lines and lines[0].startswith("#"):
        lines.pop(0)
    return "".join(lines)


def _as_notes(error: PvehelmError) -> str:
    rows = [str(error), *(str(problem) for problem in error.problems)]
    lines = [line for row in rows for line in row.splitlines()]
    return HEADER + "#\n# It could not be done:\n" + "".join(f"#   {line}\n" for line in lines)


# -- delete ------------------------------------------------------------------------------------------------------


@command("namespace", "context", "named", "yes", "dry_run", *o.UNINSTALL)
async def delete(
    session: Session,
    words: Annotated[
        list[str],
        typer.Argument(
            help="KIND NAME..., KIND/NAME..., or releases.",
            metavar="[KIND NAME... | RELEASE...]",
            autocompletion=complete.objects,
        ),
    ] = [],
    files: Files = [],
    recursive: Recursive = False,
    selector: Selector = "",
    all_: Annotated[bool, typer.Option("--all", help="Every object of the kind in the namespace.")] = False,
    all_namespaces: AllNamespaces = False,
    scope: Scope = "",
    allow_owned: AllowOwned = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="Guests: out of backup jobs, replication and high availability, too.")
    ] = False,
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="A missing object is no error.")] = False,
) -> int | None:
    """Delete objects by name or manifest; a set loses them as its next revision. Words without a kind are releases.

    pvehelm delete vm web
    pvehelm delete vms -l app=web
    pvehelm delete -f web.yaml
    """
    from pvehelm.actions import removal

    if words and files:
        raise UsageError("delete takes names or -f, not both")
    if not words and not files:
        raise UsageError("delete what?", hint="delete vm NAME, delete -f FILE, or delete RELEASE")
    if (selector or all_) and (files or len(words) > 1 or any("/" in word for word in words)):
        raise UsageError("names and -l or --all can't be combined", hint="give a kind alone: delete vms -l app=web")
    if words and not any("/" in word for word in words) and not selector and not all_ and not _is_kind(words[0]):
        from pvehelm.faces.cli.releases import uninstall

        result: int | None = await uninstall.function(session, names=words, ignore_not_found=ignore_not_found)
        return result
    resources = named(files, recursive)
    target = removal.Target(words, selector, resources, all_namespaces, full_scope(scope), everything=all_)
    mode = o.dry_mode(session)
    ctx = session.watch()
    made = await removal.delete(
        ctx,
        target,
        o.options(session, ctx),
        allow_owned=allow_owned,
        ignore_not_found=ignore_not_found,
        purge=purge,
    )
    _removed(session, made, bool(mode))
    return None


def _is_kind(word: str) -> bool:
    from pvehelm.api.kinds import Kinds
    from pvehelm.api.schema import Schema
    from pvehelm.release.objects import is_kind

    return all(is_kind(Kinds.load(Schema.load()), part) for part in word.split(","))


def _removed(session: Session, made: Removed, dry: bool) -> None:
    rows = [{"ref": ref, "result": what} for ref, what in made.done.items()]

    def people() -> None:
        if dry:
            for plan in made.plans:
                output.dry_text(plan)
            return
        for row in rows:
            sys.stdout.write(f"{row['ref']} {row['result']}\n")
        if not rows:
            sys.stderr.write("nothing to delete\n")

    output.show(session.output, [plan.as_dict() for plan in made.plans] if dry else rows, people, names=made.done)

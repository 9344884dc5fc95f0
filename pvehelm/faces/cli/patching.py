"""patch, label, annotate: objects changed by what shall be different."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.actions import jsonpatch
from pvehelm.actions import patching as actions
from pvehelm.errors import InvalidError, Problem, UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import complete
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.changing import AllowOwned
from pvehelm.faces.cli.command import Session, command, read_text
from pvehelm.faces.cli.manifests import Files, Recursive, named
from pvehelm.faces.cli.objects import AllNamespaces, Scope, Selector, Words, full_scope

if TYPE_CHECKING:
    from pvehelm.actions.editing import Draft
    from pvehelm.chart.manifest import Resource

Marks = Annotated[
    list[str],
    typer.Argument(
        help="Objects, as for get; then KEY=VALUE to set, KEY- to take away.",
        metavar="[KIND NAME...] KEY=VALUE... KEY-...",
        autocompletion=complete.objects,
    ),
]
All = Annotated[bool, typer.Option("--all", help="Every object of the kind in the namespace.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Even where the key has another text.")]
Listed = Annotated[bool, typer.Option("--list", help="Show them instead.")]
CHANGING = ("namespace", "context", "named", "yes", "dry_run", "timeout", *o.ALLOWING)
# Which objects, beside their names.
CHOSEN = {
    "files": (Files, []),
    "recursive": (Recursive, False),
    "selector": (Selector, ""),
    "all_": (All, False),
    "all_namespaces": (AllNamespaces, False),
    "scope": (Scope, ""),
    "allow_owned": (AllowOwned, False),
}
MARKING = {"overwrite": (Overwrite, False), "list_": (Listed, False)}


@command(*CHANGING, flags=CHOSEN)
async def patch(
    session: Session,
    words: Words = [],
    text: Annotated[str, typer.Option("-p", "--patch", help="The patch, JSON or YAML.", metavar="TEXT")] = "",
    file: Annotated[str, typer.Option("--patch-file", help="A file with it, or '-'.", metavar="FILE")] = "",
    how: Annotated[
        str,
        typer.Option("--type", help="merge: maps are merged, null takes away. json: operations.", metavar="merge|json"),
    ] = "merge",
) -> int:
    """Change fields of objects by a patch of their manifests.

    pvehelm patch vm/web -p '{"spec": {"memory": 4096}}'
    """
    if bool(text) == bool(file):
        raise UsageError("patch takes -p or --patch-file", hint='-p \'{"spec": {"memory": 4096}}\'')
    if how not in ("merge", "json"):
        raise UsageError(f"--type {how}: merge or json", hint="a merge replaces lists; json changes single items")
    data = _patch(read_text(file) if file else text, file or "-p")
    apply = jsonpatch.merged if how == "merge" else jsonpatch.operated

    def change(one: Draft) -> Resource:
        return actions.changed(one, apply(one.resource.as_dict(), data))

    return await _carried_out(session, await _drafts(session, words), change, "patched")


def _patch(text: str, name: str) -> Any:
    from pvehelm.chart.yaml import load

    data = load(text, file=name)
    if not isinstance(data, dict | list) or not data:
        raise UsageError(f"{name}: a patch is a map, or a list of operations", hint='{"spec": {"memory": 4096}}')
    return data


@command(*CHANGING, flags=CHOSEN | MARKING)
async def label(session: Session, words: Marks = []) -> int:
    """Set or take away labels; a guest's tags are labels without a text.

    pvehelm label vms -l app=web tier=front old- blue=
    """
    return await _marked(session, words, "labels", "labeled")


@command(*CHANGING, flags=CHOSEN | MARKING)
async def annotate(session: Session, words: Marks = []) -> int:
    """Set or take away annotations.

    pvehelm annotate vm/web owner='team blue'
    """
    return await _marked(session, words, "annotations", "annotated")


async def _marked(session: Session, words: list[str], part: str, done: str) -> int:
    at = next((index for index, word in enumerate(words) if actions.is_marking(word)), len(words))
    marks = actions.marking(part, words[at:], overwrite=session.given["overwrite"])
    listed = session.given["list_"]
    if listed == bool(words[at:]):
        raise UsageError(f"which {part}?", hint="KEY=VALUE or KEY-; --list, alone, shows them")
    begun = await _drafts(session, words[:at])
    if listed:
        rows = {one.resource.ref: actions.shown(one, part) for one in begun}
        output.show(session.output, rows, lambda: _listed(rows), names=rows)
        return 0
    return await _carried_out(session, begun, lambda one: actions.marked(one, marks), done)


def _listed(rows: dict[str, dict[str, str]]) -> None:
    for ref, marks in rows.items():
        told = ",".join(f"{key}={value}" if value else key for key, value in sorted(marks.items()))
        sys.stdout.write(f"{ref} {told or 'none'}\n")


async def _drafts(session: Session, words: list[str]) -> list[Draft]:
    from pvehelm.actions.editing import drafts
    from pvehelm.actions.objects import Query

    given = session.given
    resources = named(given["files"], given["recursive"], *words)
    bulk, alone = given["all_"] or bool(given["selector"]), len(words) == 1 and "/" not in words[0]
    if bulk and not resources and not alone:
        raise UsageError("names and -l or --all can't be combined", hint="give a kind alone: vms -l app=web")
    if alone and not bulk:
        raise UsageError("which of them?", hint=f"{words[0]} NAME, -l SELECTOR, or --all")
    scope = full_scope(given["scope"])
    query = Query(given["selector"], "", given["all_namespaces"], scope, resources=resources)
    return await drafts(session.watch(), words, query, allow_owned=given["allow_owned"])


async def _carried_out(session: Session, begun: list[Draft], change: Callable[[Draft], Resource], done: str) -> int:
    """The changes planned, or ``done``; what stands against any of them is told before anything is."""
    changes: list[tuple[Draft, Resource]] = []
    problems: list[Problem] = []
    for one in begun:
        try:
            changes.append((one, change(one)))
        except InvalidError as error:
            if len(begun) == 1:
                raise
            problems += error.problems or (Problem(one.resource.ref, str(error), error.hint),)
    if problems:
        raise InvalidError("nothing was changed", problems)
    options = o.options(session, session.context)
    what = f"{done.title()} {', '.join(one.resource.ref for one in begun)}"[:200]
    made = await actions.patch(session.context, changes, options, done=done, description=what)
    rows = [{"ref": ref, "result": word} for ref, word in made.done.items()]

    def people() -> None:
        if options.dry_run and rows:
            output.dry_text(made.plan)
        else:
            sys.stdout.writelines(f"{row['ref']} {row['result']}\n" for row in rows)
        if not rows:
            sys.stderr.write("No objects found.\n")

    data = made.plan.as_dict() if options.dry_run else rows
    output.show(session.output, data, people, names=made.done)
    if not options.dry_run:
        return 0
    return 1 if made.plan.problems else 3 if made.plan.refusals else 0

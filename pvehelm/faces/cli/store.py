"""store, audit: the release store itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.actions import store as actions
from pvehelm.errors import PvehelmError, RefusedError, StoreError, UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import complete
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import SOURCE, Session, ask, command

if TYPE_CHECKING:
    from pvehelm.release.audit import AuditEntry

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Copy, move, check and rebuild the store."
)
Names = Annotated[
    list[str],
    typer.Argument(help="The releases; all when left out.", metavar="[RELEASE...]", autocompletion=complete.releases),
]
FAILED = 1


# -- audit -----------------------------------------------------------------------------------------------------


@command("context", "output")
def audit(
    session: Session,
    release: Annotated[str, typer.Option("--release", help="Of this release.", metavar="RELEASE")] = "",
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Of this namespace.", metavar="NS")] = "",
    limit: Annotated[int, typer.Option("-m", "--max", help="At most so many, the newest (0: all).", min=0)] = 256,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check that no entry was changed or taken out since it was written.")
    ] = False,
) -> int:
    """Show who changed what, when, by which plan, and how it ended.

    pvehelm audit --release web --max 10

    --verify prints the last entry's hash, too: kept elsewhere, it shows later whether the newest ones were taken out.
    """
    if verify:
        return _verify_audit(session)
    entries = actions.audit(session.context, release=release, namespace=namespace, limit=limit)
    output.show(
        session.output, [{**e.to_json(), "at": output.rfc3339(e.at)} for e in entries], lambda: _entries(entries)
    )
    return 0


def _verify_audit(session: Session) -> int:
    count, head, broken = actions.verify_audit(session.context)
    data: dict[str, Any] = {"entries": count, "hash": head, "sound": broken is None}
    if broken is not None:
        data["problem"] = {"where": broken.where, "what": broken.what, "hint": broken.hint}

    def people() -> None:
        if broken is not None:
            sys.stdout.write(f"{broken}\n")
        else:
            sys.stdout.write(f"{count} entries, none changed; the last one's hash is {head}\n")

    output.show(session.output, data, people)
    return FAILED if broken is not None else 0


def _entries(entries: list[AuditEntry]) -> None:
    heads = ("ENTRY", "WHEN", "WHO", "ACTION", "ABOUT", "PLAN", "OUTCOME")
    spare = ("ENTRY", "PLAN", "WHO", "WHEN")
    output.table([_entry(one) for one in entries], heads, spare=spare, prose=("ABOUT", "OUTCOME"))


def _entry(one: AuditEntry) -> tuple[str, ...]:
    about = f"{one.namespace}/{one.release}" + (f" revision {one.revision}" if one.revision else "")
    if not one.release:
        given = " ".join(str(value) for value in one.given.values())
        about = ", ".join(one.objects) or given
    outcome = "never ended" if one.outcome == "begun" else one.outcome
    verb = str(one.given.get("verb") or one.action)
    plan = one.plan.removeprefix("sha256:")[:12]
    return (
        str(one.seq),
        output.when(one.at),
        one.by,
        verb,
        about,
        plan or "-",
        f"{outcome}: {one.error}" if one.error else outcome,
    )


# -- copies ----------------------------------------------------------------------------------------------------


@app.command("export")
@command("namespace", "context")
def export(
    session: Session,
    out: Annotated[str, typer.Option("--out", help="The file to write (- is stdout).", metavar="FILE")],
    names: Names = [],
) -> None:
    """Copy releases, or the whole store, into one file: history, inventory, secrets, audit trail.

    pvehelm store export --out releases.gz

    Secrets in it stay sealed: to read them where it is imported, bring the key, too (PVEHELM_KEY or secrets.key).
    """
    data, damaged = actions.export_store(session.context, names)
    if out == "-":
        sys.stdout.buffer.write(data)
    else:
        from pvehelm.faces.cli.plans import write_private_bytes

        write_private_bytes(out, data)
        what, size = ", ".join(names) or "the whole store", f"{len(data):,} bytes"
        sys.stdout.write(f"{what} is in {out} ({size}). Secrets in it are sealed: keep their key elsewhere.\n")
    if damaged:
        hint = "`pvehelm store verify` shows whose; `pvehelm store import --replace` of an older copy brings them back"
        raise StoreError(f"the copy is damaged where the store is: {len(damaged)} contents", hint=hint)


@app.command("import")
@command("namespace", "context", "output")
def import_(
    session: Session,
    file: Annotated[str, typer.Argument(help="The copy (- is stdin).", metavar="FILE")],
    names: Names = [],
    replace: Annotated[
        bool, typer.Option("--replace", help="Put the copy in the place of releases that are there already.")
    ] = False,
) -> None:
    """Bring the releases of a copy into this store: all or nothing.

    pvehelm store import releases.gz web
    """
    copied = actions.import_store(session.context, _bytes(file), names, replace=replace)
    data = {"releases": [str(key) for key in copied.releases], "rows": dict(copied.rows), "keys": list(copied.key_ids)}

    def people() -> None:
        listed = ", ".join(map(str, copied.releases)) or "no release"
        sys.stdout.write(f"imported: {listed}\n")
        if copied.key_ids:
            here = _key_id(session)
            missing = [one for one in copied.key_ids if one != here]
            if missing:
                sys.stdout.write("Its secrets are sealed with a key that is not here: set PVEHELM_KEY to that key.\n")

    output.show(session.output, data, people)


def _key_id(session: Session) -> str:
    try:
        return session.context.store.keys.get().id
    except PvehelmError:
        return ""


@app.command()
@command("context", "output", "yes")
def migrate(
    session: Session,
    to: Annotated[
        str, typer.Option("--to", help="The other store: postgresql://... or sqlite:///PATH.", metavar="URL")
    ],
) -> None:
    """Move everything into another store, in one step; this one is closed for use afterwards.

    pvehelm store migrate --to postgresql://pvehelm@db.example.com/pvehelm
    """
    from pvehelm.config import without_password
    from pvehelm.faces.build import resolved
    from pvehelm.release.store import open_store

    ctx = session.context
    source = ctx.store.db.path
    target = open_store(resolved(to), keys=ctx.store.keys, moved=True)
    try:
        if target.db.path == source:
            raise UsageError("that is the same store")
        copied = actions.migrate_store(ctx, target)
    except BaseException:
        target.close()
        raise
    data = {"from": source, "to": without_password(to), "rows": dict(copied.rows)}

    def people() -> None:
        count = len(copied.releases)
        sys.stdout.write(
            f"{count} release{'' if count == 1 else 's'} moved to {data['to']}\n"
            f"Name it from now on: PVEHELM_STORE, or the context's store ({session.settings.name}).\n"
        )
        if copied.key_ids:
            sys.stdout.write(
                "Secrets stay sealed with their key; who works with the new store needs it (PVEHELM_KEY).\n"
            )

    output.show(session.output, data, people)


# -- health ----------------------------------------------------------------------------------------------------


@app.command()
@command("context", "output")
async def verify(
    session: Session,
    offline: Annotated[bool, typer.Option("--offline", help="Don't ask the guests for their marks.")] = False,
) -> int:
    """Check the store: digests, references, owners, secrets, the audit trail, and the marks on the guests."""
    verdict = await actions.verify_store(session.context, marks=not offline)
    data = {
        **verdict.counts,
        "marks": verdict.marks,
        "audit_hash": verdict.head,
        "problems": [{"where": p.where, "what": p.what, "hint": p.hint} for p in verdict.problems],
    }

    def people() -> None:
        _problems(verdict.problems)
        seen = [_counted(verdict.counts[f"{name}s"], name) for name in ("release", "revision", "blob", "secret")]
        seen += [_counted(verdict.counts["audit"], "audit entry")]
        seen += [_counted(verdict.marks, "mark")] if not offline else []
        found = _counted(len(verdict.problems), "problem") if verdict.problems else "no problem"
        sys.stdout.write(f"{found} ({', '.join(seen)})\n")

    output.show(session.output, data, people)
    return FAILED if verdict.problems else 0


@app.command()
@command("context", "output", "dry_run")
def gc(session: Session) -> None:
    """Let go of content nobody refers to, steps of superseded revisions, and claims that came to nothing."""
    dry_run = bool(o.dry_mode(session))
    freed = actions.gc_store(session.context, dry_run=dry_run)

    def people() -> None:
        words = "would go" if dry_run else "gone"
        sys.stdout.write(
            f"{words}: {freed.contents} contents, {freed.entries} journal entries, {freed.claims} claims, "
            f"{freed.releases} empty releases\n"
        )
        if not dry_run:
            sys.stdout.write(f"{freed.before:,} bytes before, {freed.after:,} after\n")

    output.show(session.output, freed._asdict(), people)


# -- rebuilding ------------------------------------------------------------------------------------------------


@app.command()
@command("namespace", "context", "output", "yes", *SOURCE, *o.VALUES, "take_ownership", "dry_run")
async def rebuild(
    session: Session,
    name: Annotated[str, typer.Argument(help="The release; without it all marks are listed.", metavar="[NAME]")] = "",
    chart: Annotated[str, typer.Argument(help="The chart it was made from.", metavar="[CHART]")] = "",
    copy: Annotated[
        str, typer.Option("--from", help="A file of store export that has a revision of it.", metavar="FILE")
    ] = "",
    revision: Annotated[int, typer.Option("--revision", help="Which revision of it; the newest deployed one.")] = 0,
    uid: Annotated[str, typer.Option("--uid", help="The mark on its guests, where there are several.")] = "",
) -> None:
    """Make the records of a lost release again, from the marks on its guests and its chart or a revision of it.

    pvehelm store rebuild web ./charts/web-app -f values.yaml

    Nothing on the server changes. Other objects than guests carry no mark: --take-ownership enters them, too.
    """
    ctx = session.context
    if not name:
        await _marks(session)
        return
    if bool(chart) == bool(copy):
        raise UsageError("rebuild takes the release's CHART, or --from FILE with a revision of it")
    if chart:
        source = actions.Source(o.request(session, name, o.load_chart(chart, session)))
    else:
        source = actions.Source(copy=_bytes(copy), revision=revision)
    dry_run = bool(o.dry_mode(session))
    if not (dry_run or session.yes) and sys.stdin.isatty() and not ask(f"Write new records of release {name}?"):
        raise RefusedError("nothing was changed")
    made = await actions.rebuild_store(
        ctx, name, source, o.options(session, ctx, dry_run=False), uid=uid, dry_run=dry_run
    )
    data = {
        "release": made.key.name,
        "namespace": made.key.namespace,
        "uid": made.uid,
        "revision": made.revision,
        "guests": made.guests,
        "others": made.others,
        "unknown": [{"where": p.where, "what": p.what, "hint": p.hint} for p in made.unknown],
        "dry_run": dry_run,
    }

    def people() -> None:
        rows = [(ref, str(vmid)) for ref, vmid in sorted(made.guests.items())] + [(ref, "") for ref in made.others]
        output.table(rows, ("KIND/NAME", "VMID"))
        sys.stdout.write("\nNOT KNOWN:\n")
        _problems(made.unknown)
        done = "would be rebuilt" if dry_run else "rebuilt"
        sys.stdout.write(f'\nrelease "{made.key.name}" {done} as revision {made.revision}; ')
        sys.stdout.write(f"pvehelm diff {made.key.name} says what differs from the server.\n")

    output.show(session.output, data, people)


async def _marks(session: Session) -> None:
    found = await actions.marks(session.context)
    known = {release.uid: str(release.key) for release in session.context.store.list(None)}
    rows = [
        {
            "release": known.get(one.uid, ""),
            "uid": one.uid,
            "object": one.ref,
            "vmid": one.vmid,
            "node": one.node,
            "name": one.name,
            "copy": not one.genuine,
        }
        for one in found
    ]

    def people() -> None:
        heads = ("RELEASE", "MARK", "KIND/NAME", "VMID", "NODE")
        cells = [
            (
                known.get(one.uid, "<unknown>"),
                one.uid,
                one.ref if one.genuine else f"{one.ref} (a copy)",
                one.vmid,
                one.node,
            )
            for one in found
        ]
        output.table(cells, heads)

    output.show(session.output, rows, people)


def _counted(count: int, what: str) -> str:
    if count != 1:
        what = f"{what.removesuffix('y')}ies" if what.endswith("y") else f"{what}s"
    return f"{count} {what}"


def _problems(found: Any) -> None:
    colours = output.colours_wanted(sys.stdout)
    for problem in found:
        sys.stdout.write(f"{output.problem_text(problem, colours)}\n")


def _bytes(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise PvehelmError(f"can't read {path}: {error.strerror}") from None

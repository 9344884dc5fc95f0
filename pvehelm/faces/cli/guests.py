"""start, stop, shutdown, reboot, reset, suspend, resume, migrate, clone, top, wait: guests by name or manifest."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.actions import guests as actions
from pvehelm.errors import UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import complete
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import Session, command
from pvehelm.faces.cli.manifests import Files, Recursive, named
from pvehelm.faces.cli.objects import AllNamespaces, FieldSelector, Words

if TYPE_CHECKING:
    from pvehelm.release.direct import Report

Guests = Annotated[
    list[str],
    typer.Argument(
        help="NAME, vm/NAME, ct/NAME, a VMID, or a kind with -l or --all.",
        metavar="[KIND] NAME...",
        autocompletion=complete.guests,
    ),
]
Vmid = Annotated[list[int], typer.Option("--vmid", help="A guest by its number; repeatable.", metavar="VMID")]
Selector = Annotated[str, typer.Option("-l", "--selector", help="Guests by label, release or tag: app=web.")]
All = Annotated[bool, typer.Option("--all", help="Every guest of the namespace (of the kind, if one is named).")]
Grace = Annotated[int, typer.Option("--grace", help="Seconds that a guest has to shut down.", min=1)]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the guest is in its new state.")]
POWER = ("namespace", "context", "named", "timeout")


# Which guests, beside their names.
CHOICE = {
    "vmid": (Vmid, []),
    "selector": (Selector, ""),
    "all_": (All, False),
    "all_namespaces": (AllNamespaces, False),
}
FILES = {"files": (Files, []), "recursive": (Recursive, False)}
CHOSEN = CHOICE | FILES
GRACE = {"grace": (Grace, 60)}
UNTIL = {"wait": (Wait, False)}


def _choice(session: Session, words: list[str]) -> actions.Choice:
    given = session.given
    vmids, selector, everything, everywhere = (given[name] for name in CHOICE)
    resources = named(given["files"], given["recursive"], *words)
    return actions.Choice(words, vmids, selector, everything, everywhere, resources)


def _report(session: Session, report: Report, verb: str) -> None:
    rows = [{"ref": ref, "result": done, "tasks": report.tasks.get(ref, [])} for ref, done in report.done.items()]

    def people() -> None:
        for row in rows:
            sys.stdout.write(f"{row['ref']} {row['result']}\n")
        if not rows:
            sys.stderr.write(f"no guest to {verb}\n")

    output.show(session.output, rows, people, names=report.done)


def _timeout(session: Session) -> float | None:
    return o.seconds(session.given.get("timeout", ""))


async def _power(session: Session, verb: str, guests: list[str], **options: Any) -> None:
    """A power verb; ``options`` are its call's own."""
    choice, wait = _choice(session, guests), bool(session.given.get("wait"))
    report = await actions.power(session.watch(), verb, choice, options, timeout=_timeout(session), wait=wait)
    _report(session, report, verb)


@command(*POWER, flags=CHOSEN | UNTIL)
async def start(session: Session, guests: Guests = []) -> None:
    """Start guests.

    pvehelm start vm/web db
    """
    await _power(session, "start", guests)


@command(*POWER, flags=CHOSEN | UNTIL)
async def stop(
    session: Session,
    guests: Guests = [],
    overrule: Annotated[bool, typer.Option("--overrule", help="End a shutdown that is under way first.")] = False,
) -> None:
    """Stop guests at once, as if the plug were pulled.

    pvehelm stop vms -l app=web
    """
    await _power(session, "stop", guests, **({"overrule-shutdown": 1} if overrule else {}))


@command(*POWER, flags=CHOSEN | GRACE | UNTIL)
async def shutdown(
    session: Session,
    guests: Guests = [],
    force: Annotated[bool, typer.Option("--force", help="Stop what has not shut down by then.")] = False,
) -> None:
    """Shut guests down in good order.

    pvehelm shutdown web --grace 120 --force
    """
    await _power(session, "shutdown", guests, timeout=session.given["grace"], forceStop=1 if force else None)


@command(*POWER, flags=CHOSEN | GRACE)
async def reboot(session: Session, guests: Guests = []) -> None:
    """Reboot guests in good order; what waits for a restart takes effect.

    pvehelm reboot vm/web
    """
    await _power(session, "reboot", guests, timeout=session.given["grace"])


@command(*POWER, flags=CHOSEN)
async def reset(session: Session, guests: Guests = []) -> None:
    """Reset virtual machines, as if the button were pressed.

    pvehelm reset vm/web
    """
    await _power(session, "reset", guests)


@command(*POWER, flags=CHOSEN)
async def suspend(
    session: Session,
    guests: Guests = [],
    to_disk: Annotated[bool, typer.Option("--to-disk", help="Write the memory to disk and switch off.")] = False,
    storage: Annotated[str, typer.Option("--storage", help="With --to-disk: the storage for it.")] = "",
) -> None:
    """Pause guests, in memory or on disk.

    pvehelm suspend vm/web --to-disk
    """
    if storage and not to_disk:
        raise UsageError("--storage is for --to-disk")
    await _power(session, "suspend", guests, **({"todisk": 1, "statestorage": storage or None} if to_disk else {}))


@command(*POWER, flags=CHOSEN | UNTIL)
async def resume(session: Session, guests: Guests = []) -> None:
    """Let paused guests go on.

    pvehelm resume vm/web
    """
    await _power(session, "resume", guests)


@command(*POWER, flags=CHOSEN)
async def migrate(
    session: Session,
    guests: Guests = [],
    target: Annotated[
        str, typer.Option("--to", "--target", help="The node.", metavar="NODE", autocompletion=complete.nodes)
    ] = "",
    offline: Annotated[bool, typer.Option("--offline", help="Only guests that do not run.")] = False,
    storage: Annotated[str, typer.Option("--storage", help="Where local disks go.", metavar="STORAGE")] = "",
) -> None:
    """Move guests to another node; machines keep running, containers restart.

    pvehelm migrate vm/web --to pve-node2
    """
    if not target:
        raise UsageError("where to?", hint="--to NODE")
    report = await actions.migrate(
        session.watch(),
        _choice(session, guests),
        target,
        {"targetstorage": storage or None},
        offline=offline,
        timeout=_timeout(session),
    )
    _report(session, report, "migrate")


@command(*POWER)
async def clone(
    session: Session,
    guests: Annotated[
        list[str],
        typer.Argument(
            help="The guest, and the name of the copy.", metavar="[KIND] NAME COPY", autocompletion=complete.guests
        ),
    ],
    vmid: Annotated[int, typer.Option("--vmid", help="The copy's number; the next free one when left out.")] = 0,
    node: Annotated[
        str, typer.Option("--node", help="The copy's node (shared storage only).", autocompletion=complete.nodes)
    ] = "",
    full: Annotated[bool, typer.Option("--full", help="Copy the disks of a template too.")] = False,
    storage: Annotated[str, typer.Option("--storage", help="Where the disks go; makes it a full copy.")] = "",
    snapshot: Annotated[str, typer.Option("--snapshot", help="Copy this snapshot.")] = "",
    pool: Annotated[str, typer.Option("--pool", help="The copy's namespace; this one when left out.")] = "",
) -> None:
    """Copy a guest under a new name. The copy belongs to no release.

    pvehelm clone vm/debian-12-template scratch
    """
    if len(guests) < 2:
        raise UsageError("clone takes a guest and the name of its copy", hint="pvehelm clone vm/web web-copy")
    *words, name = guests
    namespace = pool or (session.settings.namespace or "default")
    options = {
        "target": node or None,
        "full": 1 if full or storage else None,
        "storage": storage or None,
        "snapname": snapshot or None,
        "pool": None if namespace == "default" else namespace,
    }
    choice, timeout = actions.Choice(tuple(words)), _timeout(session)
    source, number, report = await actions.clone(
        session.watch(), choice, name, vmid=vmid or None, options=options, timeout=timeout
    )
    ref = f"{source.kind.name}/{name}"
    row = {"source": source.ref, "name": name, "vmid": number, "tasks": report.tasks.get(ref, [])}
    people = f"{ref} cloned from {source.ref}, VMID {number}\n"
    output.show(session.output, row, lambda: _say(people), names=[ref])


def _say(text: str) -> None:
    sys.stdout.write(text)


@command("namespace", "context", "output")
async def top(
    session: Session,
    words: Annotated[
        list[str],
        typer.Argument(
            help="nodes, guests, vms or cts; of these those that are named.",
            metavar="[KIND [NAME...]]",
            autocompletion=complete.measured,
        ),
    ] = [],
    selector: Selector = "",
    all_namespaces: AllNamespaces = False,
    sort_by: Annotated[str, typer.Option("--sort-by", help="cpu, memory or name.")] = "cpu",
    no_headers: Annotated[bool, typer.Option("--no-headers", help="No header line.")] = False,
) -> None:
    """What nodes or guests use at this moment.

    pvehelm top guests -A --sort-by memory
    """
    from pvehelm.faces.columns import percent, size, span

    rows = await actions.top(session.context, words or ["nodes"], selector=selector, all_namespaces=all_namespaces)
    orders: dict[str, Any] = {
        "cpu": lambda row: (-row.cpu * row.cpus, row.name),
        "memory": lambda row: (-row.memory, row.name),
        "name": lambda row: row.name,
    }
    if sort_by not in orders:
        raise UsageError(f"--sort-by {sort_by}: cpu, memory or name")
    rows.sort(key=orders[sort_by])
    heads = ("NAME", "NODE", "CPU(cores)", "CPU%", "MEMORY", "MEMORY%", "DISK", "UPTIME")

    def line(row: actions.Usage) -> tuple[str, ...]:
        memory = percent(row.memory / row.memory_of) if row.memory_of else ""
        cores = f"{row.cpu * row.cpus:.2f}"
        return (row.name, row.node, cores, percent(row.cpu), size(row.memory), memory, size(row.disk), span(row.uptime))

    if not rows:
        sys.stderr.write(f"nothing in namespace {session.settings.namespace or 'default'} (-A is all of them)\n")
    output.show(
        session.output,
        [vars(row) for row in rows],
        lambda: output.table(
            [line(row) for row in rows], heads, header=not no_headers, spare=("DISK", "UPTIME", "NODE", "CPU(cores)")
        ),
    )


@command("namespace", "context", "named")
async def wait(
    session: Session,
    words: Words = [],
    for_: Annotated[
        str,
        typer.Option(
            "--for",
            help="status=running, ready, delete, create, FIELD=VALUE or jsonpath={.path}=VALUE.",
            metavar="CONDITION",
        ),
    ] = "",
    files: Files = [],
    recursive: Recursive = False,
    timeout: Annotated[str, typer.Option("--timeout", help="Give up after this time.", metavar="TIME")] = "30s",
    interval: Annotated[float, typer.Option("--interval", help="Seconds between looks.", min=0.05)] = 1.0,
    selector: Annotated[str, typer.Option("-l", "--selector", help="Those with these labels: app=web.")] = "",
    field_selector: FieldSelector = "",
    everything: Annotated[bool, typer.Option("--all", help="Every object of the kind, as without a name.")] = False,
    all_namespaces: AllNamespaces = False,
) -> None:
    """Wait until objects are as a condition says; ready ones run, their agents answer, their addresses are known.

    pvehelm wait vm/web --for ready --timeout 2m
    """
    from pvehelm.actions.objects import Query
    from pvehelm.actions.waiting import wait_for

    if not for_:
        raise UsageError("wait for what?", hint="--for status=running, or --for ready")
    if everything and (len(words) > 1 or any("/" in word for word in words)):
        raise UsageError("names and --all can't be combined", hint="give a kind alone: vms --all")
    limit = o.seconds(timeout)
    resources = named(files, recursive, *words)
    refs = await wait_for(
        session.context,
        words,
        for_,
        timeout=30.0 if limit is None else limit,
        interval=interval,
        query=Query(selector, field_selector, all_namespaces, resources=resources),
    )
    rows = [{"ref": ref, "condition": for_} for ref in refs]
    people = "".join(f"{ref} condition met\n" for ref in refs)
    output.show(session.output, rows, lambda: _say(people), names=refs)

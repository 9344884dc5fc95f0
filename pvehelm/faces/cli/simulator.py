"""simulator serve, reset, faults."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from pvehelm.errors import PvehelmError, UsageError
from pvehelm.faces import output
from pvehelm.faces.cli.command import Session, command

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Serve, reset and disturb the simulator."
)
State = Annotated[
    str, typer.Option("--state", help="A state of its own; the shared one when left out.", metavar="FILE|:memory:")
]
Base = Annotated[str, typer.Option("--base", help="default or conformance.")]


@contextmanager
def _state(path: str, base: str = "default") -> Iterator[Any]:
    from pvehelm.faces.build import simulator_path
    from pvehelm.simulator.bases import BASES
    from pvehelm.simulator.state import State as Opened

    if base not in BASES:
        raise UsageError(f"--base {base}: there is no such base", hint=f"one of {', '.join(BASES)}")
    opened = Opened(path or simulator_path(), base=base)
    try:
        yield opened
    finally:
        opened.close()


@app.command()
@command()
def serve(
    session: Session,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="The port; 0 for a free one.", min=0, max=65535)] = 8006,
    base: Base = "default",
    state: State = "",
    latency: Annotated[
        float, typer.Option("--latency", help="Milliseconds added to every answer.", metavar="MS")
    ] = 0.0,
    pve_version: Annotated[str, typer.Option("--pve-version", help="The version to be.", metavar="X.Y")] = "9.2",
) -> int:
    """Serve the simulator over HTTPS; its certificate's fingerprint is printed.

    --base counts for a new state only; user root@pam, password proxmox.
    """
    from pvehelm.simulator.server import serve as run

    with _state(state, base) as opened:
        try:
            return run(opened, host, port, latency=latency, release=pve_version)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            hint = "--port 0 takes any that is free" if taken else "--host takes an address of this computer"
            raise PvehelmError(f"can't listen on {host}:{port}: {error.strerror or error}", hint=hint) from None


@app.command()
@command("yes")
def reset(session: Session, base: Base = "", state: State = "") -> None:
    """Wipe the simulator: everything in it is gone, and it becomes a new cluster."""
    if not session.yes and sys.stdin.isatty():
        typer.confirm("Wipe the simulator?", abort=True, err=True)
    with _state(state, base or "default") as opened:
        opened.reset(base or None)
        sys.stdout.write(f"the simulator is new: base {opened.base}, cluster {opened.cluster_id}\n")


faults = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Inject faults.")
app.add_typer(faults, name="faults")


@faults.command()
@command()
def add(
    session: Session,
    match: Annotated[str, typer.Option("--match", help="Method and path, with *.", metavar="'POST /nodes/*/qemu'")],
    status: Annotated[int, typer.Option("--status", help="Answer with this status.")] = 0,
    drop: Annotated[
        str,
        typer.Option(
            "--drop",
            help="Close the connection before or after doing it, or amid the answer.",
            metavar="before|after|body",
        ),
    ] = "",
    delay: Annotated[float, typer.Option("--delay", help="Answer late by so many seconds.")] = 0.0,
    task_fail: Annotated[
        str, typer.Option("--task-fail", help="Let the task end with this text.", metavar="TEXT")
    ] = "",
    task_lost: Annotated[bool, typer.Option("--task-lost", help="Do it, and forget the task.")] = False,
    offline: Annotated[str, typer.Option("--offline", help="Let a node go offline.", metavar="NODE")] = "",
    message: Annotated[str, typer.Option("--message", help="The text that goes with --status.")] = "",
    executed: Annotated[bool, typer.Option("--executed", help="With --status: do it all the same.")] = False,
    times: Annotated[int, typer.Option("--times", help="So many times only.")] = 0,
    state: State = "",
) -> None:
    """Add a fault."""
    from pvehelm.simulator import faults as store

    given = {"status": status, "drop": drop, "delay": delay, "task_fail": task_fail}
    given |= {"task_lost": task_lost, "offline": offline}
    what: dict[str, Any] = {name: value for name, value in given.items() if value}
    if not what:
        raise UsageError("a fault needs --status, --drop, --delay, --task-fail, --task-lost or --offline")
    with _state(state) as opened:
        store.add(opened, match, times=times or None, message=message, executed=executed, **what)
    sys.stdout.write(f"fault added: {match}\n")


@faults.command("list")
@command("output")
def list_(session: Session, state: State = "") -> None:
    """List faults."""
    from pvehelm.simulator import faults as store

    with _state(state) as opened:
        rows = store.listed(opened)
    output.show(
        session.output,
        rows,
        lambda: output.table(
            [[str(row.get("match")), ", ".join(f"{k}={v}" for k, v in row.items() if k != "match")] for row in rows],
            ("MATCH", "FAULT"),
        ),
    )


@faults.command()
@command()
def clear(session: Session, state: State = "") -> None:
    """Remove every fault."""
    from pvehelm.simulator import faults as store

    with _state(state) as opened:
        store.clear(opened)
    sys.stdout.write("no faults any more\n")

"""reconcile: the daemon that sets releases right, their policies, and what it found."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.actions import reconcile as actions
from pvehelm.errors import UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import Session, command, ending

if TYPE_CHECKING:
    from pvehelm.faces.daemon.daemon import Daemon
    from pvehelm.faces.daemon.settings import Settings
    from pvehelm.release.policy import Policy, State
    from pvehelm.release.sync import Sync

CHANGES = 2
EXIT_INTERRUPTED = 130
app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    invoke_without_command=True,
    help="Set releases right on a clock, each as far as its policy allows.",
)
policy_app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Set and show what may be done to a release.",
)
app.add_typer(policy_app, name="policy")
Files = Annotated[
    list[str], typer.Option("-f", "--file", help="Files with Syncs and a Reconciler; - is stdin.", metavar="FILE")
]
Mode = Annotated[str, typer.Option("--policy", help="observe, repair or repair-and-prune.", metavar="POLICY")]
Interval = Annotated[str, typer.Option("--interval", help="Between two looks: 30s, 5m, 1h.", metavar="TIME")]
AllNamespaces = Annotated[bool, typer.Option("-A", "--all-namespaces", help="Of every namespace.")]


@app.callback()
@command("namespace", "context", "output", "detailed_exitcode")
async def reconcile(
    session: Session,
    typed: typer.Context,
    files: Files = [],
    once: Annotated[bool, typer.Option("--once", help="Look at every release once, and end.")] = False,
    policy: Mode = "",
    interval: Interval = "",
    concurrency: Annotated[int, typer.Option("--concurrency", help="Releases at a time.", min=0, max=64)] = 0,
    listen: Annotated[
        str, typer.Option("--listen", help="For /healthz and /metrics; off: nowhere.", metavar="HOST:PORT")
    ] = "",
) -> int:
    """Look at every release again and again, and repair what differs as far as its policy allows.

    pvehelm reconcile --once
    pvehelm reconcile -f reconcile.yaml --listen 127.0.0.1:9760
    """
    if typed.invoked_subcommand:
        if files:
            word = typed.invoked_subcommand
            hint = f"pvehelm reconcile {word} -f FILE" if word == "status" else ""
            raise UsageError(f"reconcile -f FILE takes no {word}", hint=hint)
        return 0
    from pvehelm.faces.build import resolvers
    from pvehelm.faces.daemon.daemon import Daemon
    from pvehelm.faces.daemon.settings import LISTEN, address
    from pvehelm.release.secrets import Secrets

    settings, syncs = _settings(session, files, policy, interval)
    settings = replace(
        settings,
        concurrency=concurrency or settings.concurrency,
        listen=listen or settings.listen or ("off" if once else LISTEN),
    )
    address(settings.listen)
    ctx = session.context
    only = session.namespace
    if only:
        syncs = [one for one in syncs if one.namespace == only]
    resolve = Secrets(dict(resolvers())).resolve
    daemon = Daemon(
        ctx, settings, syncs, only=only, log=_logger(session, once), resolve=lambda text: str(resolve(text))
    )
    _on_signals(daemon)
    if not once:
        await _run(session, daemon)
        return 0
    found = await daemon.once()
    output.show(session.output, [one.as_dict() for one in found], lambda: _table(found))
    if any(one.broken for one in found):
        return 1
    return CHANGES if session.given["detailed_exitcode"] and not all(one.good for one in found) else 0


def _settings(session: Session, files: Sequence[str], policy: str, interval: str) -> tuple[Settings, list[Sync]]:
    """What the files say, and the flags over it."""
    from pvehelm.durations import seconds
    from pvehelm.faces.cli.command import read_text
    from pvehelm.faces.daemon.settings import File, load
    from pvehelm.release.policy import Mode as PolicyMode

    texts = [File("standard input" if path == "-" else path, read_text(path)) for path in files]
    namespace = session.settings.namespace or "default"
    settings, syncs = load(texts, namespace=namespace, policy=_default(session))
    given = settings.policy.changed(
        mode=PolicyMode.of(policy) if policy else None, interval=seconds(interval) if interval else None
    )
    return replace(settings, policy=given), syncs


def _default(session: Session) -> Policy:
    """The policy of releases that have none of their own: the context's."""
    from pvehelm.faces.daemon.settings import default_policy

    return default_policy(session.settings.policy.reconcile)


async def _run(session: Session, daemon: Daemon) -> None:
    from pvehelm.config import store_url
    from pvehelm.faces.build import resolved
    from pvehelm.faces.daemon.queue import Shared, is_shared

    server = await daemon.serve()
    where = f", listening at port {daemon.port}" if server else ""
    daemon.log(f"reconciling {session.context.name}{where}", {"result": "started", "port": daemon.port})
    _notify("READY=1")
    try:
        url = resolved(store_url(session.config))
        if is_shared(url):
            await Shared(daemon, url).run()
        else:
            await daemon.run()
    finally:
        if server is not None:
            await server.stop()
    daemon.log("stopped", {"result": "stopped"})


def _on_signals(daemon: Daemon) -> None:
    """The first signal ends in good order, the second at once: the journal knows what was under way."""

    def stop() -> None:
        if daemon.stopping.is_set():
            daemon.log("interrupted: the next one goes on", {"result": "interrupted"})
            sys.stdout.flush()
            os._exit(EXIT_INTERRUPTED)
        _notify("STOPPING=1")
        daemon.log("stopping: what runs is finished first", {"result": "stopping"})
        daemon.stop()

    for number in ending():
        asyncio.get_running_loop().add_signal_handler(number, stop)


def _notify(text: str) -> None:
    """Tell systemd, where it started us (Type=notify)."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place:
        return
    import socket

    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.connect("\0" + place[1:] if place.startswith("@") else place)
        out.send(text.encode())


def _logger(session: Session, once: bool) -> Any:
    """A line for everything that happens: on stderr for people, as JSON on stdout with ``-o json``."""
    # The journal has times of its own.
    plain = "JOURNAL_STREAM" in os.environ

    def log(text: str, facts: Mapping[str, Any]) -> None:
        now = session.context.clock()
        if session.output == "json" and not once:
            sys.stdout.write(json.dumps({"at": output.rfc3339(now), "log": text, **facts}, default=str) + "\n")
            sys.stdout.flush()
        elif not once or facts.get("result") in ("stopping", "interrupted"):
            sys.stderr.write(f"{'' if plain else output.when(now) + ' '}{output.printable(text)}\n")
            sys.stderr.flush()

    return log


def _table(found: Sequence[actions.Outcome]) -> None:
    rows = [
        (one.key.namespace, one.key.name, one.result, str(one.revision or ""), output.printable(one.message))
        for one in found
    ]
    if rows:
        heads = ("NAMESPACE", "RELEASE", "RESULT", "REVISION", "MESSAGE")
        output.table(rows, heads, spare=("REVISION", "NAMESPACE"), prose=("MESSAGE",))
    else:
        sys.stdout.write("there are no releases to reconcile\n")


# -- what was found --------------------------------------------------------------------------------------------------


@app.command()
@command("namespace", "context", "output")
def status(
    session: Session,
    names: Annotated[list[str], typer.Argument(help="The releases; all when left out.", metavar="[RELEASE...]")] = [],
    files: Files = [],
    all_namespaces: AllNamespaces = False,
) -> None:
    """Show what the last look at each release found; with -f also what is declared there and not yet installed.

    pvehelm reconcile status -A
    """
    settings, syncs = _settings(session, files, "", "")
    ctx = session.context
    namespace = None if all_namespaces else ctx.namespace
    found = actions.standings(ctx, names, default=settings.policy, namespace=namespace, declared=syncs)
    there = {(one.release.key.namespace, one.release.key.name) for one in found}
    waiting = [
        one
        for one in syncs
        if not names and (one.namespace, one.release) not in there and namespace in (None, one.namespace)
    ]

    def people() -> None:
        rows = [
            (
                one.release.key.namespace,
                one.release.key.name,
                str(one.policy.mode),
                one.state.result or "not looked at",
                output.when(one.state.checked) or "-",
                _commit(one.sync),
                output.printable(_trouble(one.sync) or one.state.message),
            )
            for one in found
        ]
        rows += [(s.namespace, s.release, str(s.policy.mode), "not installed", "-", "", s.repository) for s in waiting]
        heads = ("NAMESPACE", "RELEASE", "POLICY", "RESULT", "CHECKED", "COMMIT", "MESSAGE")
        output.table(rows, heads, spare=("POLICY", "NAMESPACE", "CHECKED", "COMMIT"), prose=("MESSAGE",))

    absent = [
        {"release": one.release, "namespace": one.namespace, "policy": one.policy.to_json(), "result": "not installed"}
        for one in waiting
    ]
    output.show(session.output, [*(one.as_dict() for one in found), *absent], people)


def _commit(sync: State | None) -> str:
    """The commit that a release is at, and the one after it that is bad."""
    if sync is None:
        return ""
    return (sync.commit[:12] or "none") + (f" (bad: {sync.bad[:12]})" if sync.bad else "")


def _trouble(sync: State | None) -> str:
    """What is wrong with the repository that a release follows."""
    return sync.message if sync is not None and sync.result and sync.result not in actions.GOOD else ""


# -- policies --------------------------------------------------------------------------------------------------------


@policy_app.command("set")
@command("namespace", "context")
def set_(
    session: Session,
    name: o.Name,
    mode: Annotated[
        str, typer.Argument(help="observe, repair or repair-and-prune; left out: as it is.", metavar="[POLICY]")
    ] = "",
    interval: Interval = "",
    windows: Annotated[
        list[str],
        typer.Option("--window", help="Repair only then: 'Sat,Sun 02:00-05:00'; '' for any time.", metavar="WINDOW"),
    ] = [],
    freezes: Annotated[
        list[str], typer.Option("--freeze", help="Repair never then; '' for none.", metavar="WINDOW")
    ] = [],
    timezone: Annotated[
        str, typer.Option("--timezone", help="Of windows and freezes: Europe/Berlin.", metavar="ZONE")
    ] = "",
    clear: Annotated[bool, typer.Option("--clear", help="Back to the default.")] = False,
) -> None:
    """Set what may be done to a release.

    pvehelm reconcile policy set web repair --window 'Mon-Fri 22:00-06:00' --timezone Europe/Berlin
    """
    from pvehelm.durations import seconds
    from pvehelm.release.policy import Mode as PolicyMode
    from pvehelm.release.policy import windows as parsed

    changes = {
        "mode": PolicyMode.of(mode) if mode else None,
        "interval": seconds(interval) if interval else None,
        "windows": parsed([text for text in windows if text]) if windows else None,
        "freezes": parsed([text for text in freezes if text]) if freezes else None,
        "timezone": timezone or None,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    if clear == bool(given):
        raise UsageError("set what?", hint="a policy, --interval, --window, --freeze, --timezone, or --clear alone")
    own = actions.set_policy(session.context, name, None if clear else given)
    sys.stdout.write(f'release "{name}": {_words(own) + "; else" if own else "all"} as the default has it\n')


@policy_app.command()
@command("namespace", "context", "output")
def show(
    session: Session,
    names: Annotated[list[str], typer.Argument(help="The releases; all when left out.", metavar="[RELEASE...]")] = [],
    files: Files = [],
    all_namespaces: AllNamespaces = False,
) -> None:
    """Show what may be done to releases; with -f by the defaults and syncs that are declared there.

    pvehelm reconcile policy show web
    """
    settings, syncs = _settings(session, files, "", "")
    ctx = session.context
    namespace = None if all_namespaces else ctx.namespace
    found = actions.standings(ctx, names, default=settings.policy, namespace=namespace, declared=syncs)
    data = [{k: one.as_dict()[k] for k in ("release", "namespace", "policy", "own", "default")} for one in found]

    def people() -> None:
        rows = [
            (one.release.key.namespace, one.release.key.name, _telling(one.policy), ", ".join(one.own) or "nothing")
            for one in found
        ]
        output.table(rows, ("NAMESPACE", "RELEASE", "POLICY", "OWN"), spare=("OWN", "NAMESPACE"), prose=("POLICY",))

    output.show(session.output, data, people)


def _words(fields: Mapping[str, Any]) -> str:
    """Fields of a policy."""
    parts: list[str] = []
    for name, value in fields.items():
        match name:
            case "interval":
                parts.append(f"every {_span(value)}")
            case "windows":
                parts += [f"only {window.text}" for window in value] or ["at any time"]
            case "freezes":
                parts += [f"not {window.text}" for window in value] or ["without freezes"]
            case _:
                parts.append(str(value))
    return ", ".join(parts)


def _telling(policy: Policy) -> str:
    """What a policy says beyond what goes without saying."""
    hours = bool(policy.windows or policy.freezes)
    return _words({k: v for k, v in vars(policy).items() if v != () and (hours or k != "timezone")})


def _span(seconds: float) -> str:
    whole = int(seconds)
    if whole != seconds:
        return f"{seconds:g}s"
    parts = [(whole // 3600, "h"), (whole % 3600 // 60, "m"), (whole % 60, "s")]
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"

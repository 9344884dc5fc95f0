"""context add, list, use, remove, test."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from pvehelm.errors import UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import complete
from pvehelm.faces.cli.command import Session, command

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Choose the Proxmox host to work with."
)
Name = Annotated[str, typer.Argument(help="The context.", metavar="NAME", autocompletion=complete.contexts)]


@app.command()
@command("namespace")
def add(
    session: Session,
    name: Name,
    host: Annotated[str, typer.Option("--host", help="HOST[:PORT], several nodes by comma.", metavar="HOST")],
    token_id: Annotated[str, typer.Option("--token-id", help="An API token.", metavar="USER@REALM!NAME")] = "",
    user: Annotated[str, typer.Option("--user", help="A user with a password.", metavar="USER@REALM")] = "",
    secret_ref: Annotated[
        str,
        typer.Option("--secret", help="Where the secret is: secret://env/NAME or secret://file/PATH.", metavar="REF"),
    ] = "",
    secret_stdin: Annotated[bool, typer.Option("--secret-stdin", help="Read the secret from stdin.")] = False,
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", help="SHA-256 of the server's certificate.", metavar="F")
    ] = "",
    ca_file: Annotated[str, typer.Option("--ca-file", help="The CA that signed it.", metavar="FILE")] = "",
    store: Annotated[str, typer.Option("--store", help="Where releases are kept.", metavar="URL")] = "",
    use: Annotated[bool, typer.Option("--use/--no-use", help="Make it the current one.")] = True,
) -> None:
    """Add a context. The secret comes by prompt, stdin or reference, never as an argument.

    pvehelm context add lab --host pve1.lab --token-id 'automation@pve!pvehelm'
    """
    from pvehelm import config

    if bool(token_id) == bool(user):
        raise UsageError(
            "a context needs --token-id or --user", hint="a least-privilege token is described in docs/quick-start.md"
        )
    if user and not re.fullmatch(r"[^@!]+@[^@!]+", user):
        raise UsageError(f"--user {user!r}: expected USER@REALM", hint="for example root@pam")
    if token_id and not re.fullmatch(r"[^@!]+@[^@!]+![^@!]+", token_id):
        raise UsageError(
            f"--token-id {token_id!r}: expected USER@REALM!NAME", hint="for example 'automation@pve!pvehelm', in quotes"
        )
    if secret_ref and secret_stdin:
        raise UsageError("--secret and --secret-stdin contradict each other")
    if secret_ref and not secret_ref.startswith(("secret://env/", "secret://file/")):
        raise UsageError(
            "--secret takes a reference, not the secret",
            hint="secret://env/NAME or secret://file/PATH, or leave it out and be asked",
        )
    secret: str | None = None
    if secret_stdin:
        secret = sys.stdin.readline().rstrip("\n")
        if not secret:
            raise UsageError("there is no secret on standard input")
    elif not secret_ref:
        if not sys.stdin.isatty():
            raise UsageError(
                "there is no terminal to ask for the secret on", hint="--secret-stdin or --secret secret://env/NAME"
            )
        secret = typer.prompt("Token secret" if token_id else "Password", hide_input=True, err=True)
    if fingerprint:
        from pvehelm.api.tls import normal_fingerprint

        normal_fingerprint(fingerprint)
    if ca_file:
        from pvehelm.api.tls import TLS

        # The next command may be given anywhere.
        ca_file = str(Path(ca_file).absolute())
        TLS(ca_file=ca_file).context()
    first, others, port = config.parse_hosts(host)
    made = config.ContextConfig(
        name=name,
        host=first,
        hosts=others,
        port=port,
        token_id=token_id,
        user=user,
        secret=secret_ref,
        fingerprint=fingerprint,
        ca_file=ca_file,
        store=store,
        namespace=session.namespace or "default",
    )
    told = "replaced" if any(one.name == name for one in config.list_contexts()[0]) else "added"
    config.add_context(made, secret=secret, use=use)
    current = " and is the current one now" if use else ""
    sys.stdout.write(f'context "{name}" {told}{current}; pvehelm context test says what its credentials may do\n')


@app.command("list")
@command("output")
def list_(session: Session) -> None:
    """List contexts."""
    from pvehelm import config

    contexts, current = config.list_contexts()
    rows = [
        {
            "name": one.name,
            "current": one.name == current,
            "host": ",".join(url.removeprefix("https://") for url in one.urls) or "(in process)",
            "auth": one.token_id or one.user,
            "namespace": one.namespace,
        }
        for one in contexts
    ]
    heads = ("CURRENT", "NAME", "HOST", "AUTH", "NAMESPACE")
    output.show(
        session.output,
        rows,
        lambda: output.table(
            [("*" if r["current"] else "", r["name"], r["host"], r["auth"], r["namespace"]) for r in rows],
            heads,
            spare=("NAMESPACE", "AUTH"),
        ),
    )


@app.command()
@command()
def use(session: Session, name: Name) -> None:
    """Make a context the current one."""
    from pvehelm import config

    config.use_context(name)
    sys.stdout.write(f'context "{name}" is the current one\n')


@app.command()
@command()
def remove(session: Session, name: Name) -> None:
    """Remove a context and its stored secret."""
    from pvehelm import config

    config.remove_context(name)
    sys.stdout.write(f'context "{name}" removed\n')


@app.command("test")
@command("context", "output")
async def check(
    session: Session, name: Annotated[str, typer.Argument(help="The context.", metavar="[NAME]")] = ""
) -> int:
    """Ask the server who it is and what the credentials may do."""
    from pvehelm.actions.cluster import context_test

    if name:
        session.context_name = name
    data = await context_test(session.context)

    def people() -> None:
        sys.stdout.write(f"context {data['context']}: Proxmox VE {data['version']}, nodes {', '.join(data['nodes'])}\n")
        sys.stdout.write(f"cluster {data['cluster']}\n")
        rows = [
            (c["what"], c["path"], "missing " + ", ".join(c["missing"]) if c["missing"] else "yes")
            for c in data["checks"]
        ]
        output.table(rows, ("MAY", "PATH", "ANSWER"), prose=("MAY", "ANSWER"))

    output.show(session.output, data, people)
    return 0

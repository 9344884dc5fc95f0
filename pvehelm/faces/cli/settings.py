"""env, version, completion."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pvehelm import __version__
from pvehelm.errors import UsageError
from pvehelm.faces.cli.command import Session, command


@command("context", "output")
def env(session: Session) -> None:
    """Show where pvehelm keeps things and what it uses."""
    from pvehelm.config import env as environment
    from pvehelm.faces import output

    data = dict(environment(session.config))
    output.show(
        session.output, data, lambda: sys.stdout.writelines(f'{name}="{value}"\n' for name, value in data.items())
    )


@command("output")
def version(session: Session, short: Annotated[bool, typer.Option("--short", help="Only the number.")] = False) -> None:
    """Show the version."""
    if session.output != "table":
        from pvehelm.faces import output

        output.emit_data({"version": __version__, "python": sys.version.split()[0]}, session.output)
    else:
        sys.stdout.write(f"{__version__}\n" if short else f"pvehelm {__version__} (Python {sys.version.split()[0]})\n")


SHELLS = ("bash", "zsh", "fish", "powershell")


@command()
def completion(
    session: Session, shell: Annotated[str, typer.Argument(help="bash, zsh, fish or powershell.", metavar="SHELL")]
) -> None:
    """Print a shell completion script: pvehelm completion bash > /etc/bash_completion.d/pvehelm."""
    from pvehelm.faces.cli.completion import SCRIPTS

    if shell not in SHELLS:
        raise UsageError(f"no completion for {shell!r}", hint=f"one of {', '.join(SHELLS)}")
    if shell in SCRIPTS:
        sys.stdout.write(SCRIPTS[shell])
        return
    from typer._completion_shared import get_completion_script

    script = get_completion_script(prog_name="pvehelm", complete_var="_PVEHELM_COMPLETE", shell=shell)
    sys.stdout.write(script + "\n")

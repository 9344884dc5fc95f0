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


SCRIPTS = {
    "bash": """\
_pvehelm() {
    local IFS=$'\\n'
    COMPREPLY=($(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _PVEHELM_COMPLETE=complete_bash pvehelm))
}
complete -o default -o nosort -F _pvehelm pvehelm
""",
    "zsh": """\
#compdef pvehelm
_pvehelm() {
    eval "$(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _PVEHELM_COMPLETE=complete_zsh pvehelm)"
}
compdef _pvehelm pvehelm
""",
    "fish": """\
function _pvehelm
    env _PVEHELM_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=$argv[1] \\
        _TYPER_COMPLETE_ARGS=(commandline -cp) pvehelm
end
complete --command pvehelm --no-files --arguments "(_pvehelm get-args)" --condition "_pvehelm is-args"
""",
}


@command()
def completion(
    session: Session, shell: Annotated[str, typer.Argument(help="bash, zsh or fish.", metavar="SHELL")]
) -> None:
    """Print a shell completion script: pvehelm completion bash > /etc/bash_completion.d/pvehelm."""
    if shell not in SCRIPTS:
        raise UsageError(f"no completion for {shell!r}", hint=f"one of {', '.join(SCRIPTS)}")
    sys.stdout.write(SCRIPTS[shell])

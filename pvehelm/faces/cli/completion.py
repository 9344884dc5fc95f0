"""Completion for shells: their scripts, and the lines that answer them.

A script starts pvehelm with ``_PVEHELM_COMPLETE`` set to the shell's name and the words of the command line as
arguments, the one at the cursor last. (bash takes words apart at ``=`` and ``:``, so its script hands the whole line
over.) What comes back is a line for each candidate, the whole word, with a tab and one line of help where there is any;
a line ``:files`` lets the shell add its files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

from pvehelm.faces.cli import complete

VARIABLE = "_PVEHELM_COMPLETE"
FILES = ":files"
BASH = """\
# pvehelm completion for bash: source <(pvehelm completion bash)
_pvehelm() {
    local line files="" cur="${COMP_WORDS[COMP_CWORD]}"
    [[ $cur == [=:] ]] && cur=""
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == :files ]]; then files=1; else COMPREPLY+=("$line"); fi
    done < <(_PVEHELM_COMPLETE=bash _PVEHELM_BREAKS="$COMP_WORDBREAKS" "$1" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    if [[ $files ]]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$cur")
    fi
}
complete -F _pvehelm pvehelm
"""
ZSH = """\
#compdef pvehelm
# pvehelm completion for zsh: source <(pvehelm completion zsh), or a file _pvehelm in a folder of $fpath
_pvehelm() {
    local line files=""
    local -a found
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            files=1
        else
            local value="${line%%$'\\t'*}" about=""
            [[ $line == *$'\\t'* ]] && about="${line#*$'\\t'}"
            found+=("${value//:/\\\\:}${about:+:$about}")
        fi
    done < <(_PVEHELM_COMPLETE=zsh "${words[1]}" "${(@Q)words[2,CURRENT]}" 2>/dev/null)
    (( ${#found} )) && _describe -V pvehelm found
    [[ -n $files ]] && _files
}
if [[ ${funcstack[1]} == _pvehelm ]]; then _pvehelm "$@"; else compdef _pvehelm pvehelm; fi
"""
FISH = """\
# pvehelm completion for fish: pvehelm completion fish | source
function __pvehelm_complete
    set -l words (commandline -opc)
    for line in (env _PVEHELM_COMPLETE=fish $words[1] $words[2..-1] (commandline -ct) 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c pvehelm -f -a '(__pvehelm_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def _one_of(*words: str) -> Callable[[Any, str], list[str]]:
    return lambda ctx, incomplete: [one for one in words if one.startswith(incomplete)]


def _contexts(ctx: Any, incomplete: str) -> list[str]:
    return complete.contexts(incomplete)


# What stands where, by how the help calls it, for what has no completion of its own. Alternatives in small letters
# (``text|dot``) are offered as they are, and whatever is not here is taken for a file.
BY_METAVAR: dict[str, Callable[[Any, str], list[str]]] = {
    "RELEASE": complete.releases,
    "RELEASE...": complete.releases,
    "[RELEASE...]": complete.releases,
    "RELEASE [CHART | REV REV]": complete.diffed,
    "[RELEASE] CHART": complete.charts,
    "[KIND NAME... | RELEASE...]": complete.deleted,
    "CHART": complete.charts,
    "[CHART]": complete.charts,
    "CHART...": complete.charts,
    "NS": complete.namespaces,
    "N": complete.revisions,
    "NODE": complete.nodes,
    "STORAGE": complete.storages,
    "KIND/NAME": complete.refs,
    "KIND/NAME|all": complete.refs,
    "KIND|all": complete.privileged,
    "SHELL": _one_of("bash", "zsh", "fish", "powershell"),
    "ENGINE": _one_of("gotpl", "jinja2"),
    "POLICY": _one_of("observe", "repair", "repair-and-prune"),
    "[POLICY]": _one_of("observe", "repair", "repair-and-prune"),
    "X.Y": _one_of("8.4", "9.2"),
    "CONDITION": _one_of("ready", "status=running", "status=stopped", "create", "delete"),
}
# ... and by command and parameter, where the word says too little.
BY_PARAMETER: dict[tuple[str, str], Callable[[Any, str], list[str]]] = {
    ("delete", "words"): complete.deleted,
    ("rollback", "revision"): complete.revisions,
    ("plan rollback", "revision"): complete.revisions,
    ("context test", "name"): _contexts,
    ("repo remove", "names"): complete.repositories,
    ("repo rm", "names"): complete.repositories,
    ("repo update", "names"): complete.repositories,
    ("repo up", "names"): complete.repositories,
}
# Words that are nobody's to guess, and no files either.
FREE = (
    *("TIME", "SIZE", "REGEX", "LABELS", "USER", "USER@REALM", "USER@REALM!NAME", "VERSION", "URL", "HOST", "NEW"),
    *("HOST:PORT", "KEY=VALUE", "KEY=JSON", "KEY=TEXT", "[KEY=VALUE...]", "WINDOW", "ZONE", "VMID", "MS", "TEXT"),
    *("REF", "F", "[WORD...]", "UPID...", "NAMES", "SECRET", "ARG"),
)


def answer(shell: str, arguments: Sequence[str]) -> int:
    """Print what may stand at the cursor. Nothing that goes wrong is shown: the line stays as it is."""
    words = list(arguments)
    if shell == "bash":
        words = _split(words[0] if words else "")[1:]
    args, word = (_without_front(words[:-1], words[-1]), words[-1]) if words else ([], "")
    with suppress(Exception):
        for line in candidates(args, word):
            value, tab, about = line.partition("\t")
            if shell == "bash":
                value, tab, about = value if line == FILES else _rest(value, word), "", ""
            sys.stdout.write(f"{value}{tab}{about}\n")
        sys.stdout.flush()
    return 0


def _without_front(args: list[str], word: str) -> list[str]:
    """The words without the flags before the command: what these choose counts for the names that are looked up."""
    from pvehelm.faces.cli.app import BEFORE, front

    flags, rest = front(args)
    if flags and flags[-1] in BEFORE:
        # Its value is begun.
        return ["list", flags[-1]]
    if not rest and "=" in word and word.partition("=")[0] in BEFORE:
        return ["list"]
    for before, flag in pairwise(("", *flags)):
        name, equals, text = flag.partition("=")
        if before in BEFORE or equals:
            os.environ[f"PVEHELM_{BEFORE[name if equals else before].upper()}"] = text if equals else flag
    return rest


def candidates(args: Sequence[str], word: str) -> Iterator[str]:
    """The lines for the words before the cursor and the one that is begun there."""
    from typer import main
    from typer._click.core import Parameter
    from typer._click.shell_completion import _resolve_context, _resolve_incomplete

    from pvehelm.faces.cli.app import app

    before = list(args)
    # A flag that still waits for its value would be an error.
    whole = before[:-1] if before and before[-1].startswith("-") and "=" not in before[-1] else before
    ctx = _resolve_context(main.get_command(app), {}, "pvehelm", list(whole))
    found, begun = _resolve_incomplete(ctx, before, word)
    # A flag and its value in one word.
    front = word[: len(word) - len(begun)]
    if not isinstance(found, Parameter):
        for item in found.shell_complete(ctx, begun):
            about = (item.help or "").split("\n")[0]
            yield f"{item.value}\t{about}" if about else str(item.value)
        return
    values, files = _values(ctx, found, begun)
    yield from (front + value for value in values)
    if files:
        yield FILES


def _values(ctx: Any, found: Any, begun: str) -> tuple[list[str], bool]:
    """Values of a parameter, its own or by how the help calls it, and whether it may be a file."""
    called, name = str(found.metavar or ""), str(found.name)
    completer = BY_PARAMETER.get((" ".join(_path(ctx)), name))
    if completer is None and found._custom_shell_complete is not None:
        return [str(item.value) for item in found.shell_complete(ctx, begun)], False
    if name == "context":
        return complete.contexts(begun), False
    if called == "FORMAT":
        # The help names them: "table, wide, json or yaml."
        words = (found.help or "").removeprefix("Output format:")
        formats = [part.split("=")[0] for part in words.strip(" .").replace(" or ", ", ").split(", ")]
        return [one for one in formats if one.isidentifier() or "-" in one if one.startswith(begun)], False
    completer = completer or BY_METAVAR.get(called)
    if completer is not None:
        return completer(ctx, begun), completer is complete.charts or bool(
            ctx.params.get("names") and "CHART" in called
        )
    if "|" in called and called.replace("|", "").replace("-", "").islower():
        return [one for one in called.split("|") if one.startswith(begun)], False
    return [], bool(called) and called not in FREE


def _path(ctx: Any) -> list[str]:
    """The words that name the command: ``context test``."""
    return [*_path(ctx.parent), str(ctx.info_name)] if ctx.parent is not None else []


def _split(line: str) -> list[str]:
    """The words of a line that is not finished: open quotes are closed, and a blank at the end begins a new word."""
    from typer._click.shell_completion import split_arg_string

    words = split_arg_string(line)
    return [*words, ""] if not line or line[-1:].isspace() else words


def _rest(value: str, word: str) -> str:
    """What bash puts in: it replaces only what follows the last of its breaking characters in the word."""
    breaks = os.environ.get("_PVEHELM_BREAKS", "")
    cut = max((word.rfind(c) for c in "=:" if c in breaks), default=-1) + 1
    return value[cut:] if value.startswith(word[:cut]) else value

"""A command line that nothing answers to: what was probably meant. Imported when one is given, and not before."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from pvehelm.errors import NotFoundError, UsageError
from pvehelm.suggest import suggest

# What Typer says of a value, for people who are no programmers.
_PLAINER = (
    (" is not a valid int range.", " is no whole number."),
    (" is not a valid int.", " is no whole number."),
    (" is not a valid float range.", " is no number."),
    (" is not a valid float.", " is no number."),
)
_FORMATS = ("json", "yaml", "wide", "name")


def no_command(ctx: Any, group: Any, args: Sequence[str]) -> UsageError:
    """The error for ``args`` of which the first names no command of the ``group``."""
    path = _path(ctx)
    names = list(group.list_commands(ctx))
    called = " ".join([*path.split()[1:], args[0]])
    meant = suggest(args[0], names)
    if ctx.parent is None:
        from pvehelm.faces.cli.elsewhere import instead

        hint = instead(args) or (f"did you mean {meant}?" if meant else _elsewhere(ctx, group, args))
        hint = hint or f"{path} --help lists the commands"
    else:
        hint = f"did you mean `{path} {meant}`?" if meant else f"{path} has {', '.join(names)}"
    return UsageError(f"there is no command {called!r}", hint=hint)


def _elsewhere(ctx: Any, root: Any, args: Sequence[str]) -> str:
    """For a word that is a kind, or a command of some group."""
    from pvehelm.api.kinds import Kinds
    from pvehelm.api.schema import Schema
    from pvehelm.faces.cli.complete import LOOKED_AT
    from pvehelm.release.kindwords import kind_of

    word = args[0].partition("/")[0]
    try:
        if word.lower() in LOOKED_AT or kind_of(Kinds.load(Schema.load()), word):
            return f"did you mean `{_path(ctx)} get {' '.join(args)}`?"
    except NotFoundError as error:
        if "did you mean" not in error.hint and "api-resources" not in error.hint:
            return error.hint
    groups = [(name, root.get_command(ctx, name)) for name in root.list_commands(ctx)]
    having = [f"`{_path(ctx)} {name} {args[0]}`" for name, one in groups if args[0] in getattr(one, "commands", ())]
    return f"did you mean {' or '.join(having)}?" if having else ""


def tell(error: Any) -> None:
    """Print a parser's error on stderr: the usage of its command, what is wrong, and a hint."""
    ctx = getattr(error, "ctx", None)
    if not hasattr(error, "message") or type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return
    if ctx is not None:
        sys.stderr.write(f"{ctx.get_usage()}\nTry '{ctx.command_path} -h' for help.\n\n")
    # What it suggests itself stands in the hint.
    said = error.message if hasattr(error, "possibilities") else error.format_message()
    for theirs, ours in _PLAINER:
        said = said.replace(theirs, ours)
    sys.stderr.write(f"Error: {said}\n")
    if hint := _hint(error, ctx):
        sys.stderr.write(f"  hint: {hint}\n")


def _hint(error: Any, ctx: Any) -> str:
    """What does the work of Helm's or kubectl's; else the flag that was meant; values of a chart are no flags."""
    from pvehelm.faces.cli.app import BEFORE
    from pvehelm.faces.cli.elsewhere import extra, flag
    from pvehelm.faces.cli.helmflags import instead

    takes = [name for param in getattr(getattr(ctx, "command", None), "params", ()) for name in param.opts]
    verb = _path(ctx).partition(" ")[2] if ctx is not None else ""
    if str(error.message).startswith("Got unexpected extra"):
        word = error.message.rpartition("(")[2].split()[0].rstrip(")")
        return extra(verb, word, files="--filename" in takes)
    name = str(getattr(error, "option_name", "")).lstrip("-")
    if not hasattr(error, "possibilities"):
        return ""
    if ctx.parent is None and error.option_name in BEFORE:
        return f"before a command, as in {_path(ctx)} {error.option_name} NAME list"
    if known := instead(verb, name) or flag(verb, name):
        return known
    if name in _FORMATS and "--output" in takes:
        return f"did you mean -o {name}?"
    if len(name) > 1 and (meant := suggest(name, [one for one in takes if one.startswith("--")])):
        return f"did you mean {meant}?"
    return f"a value of the chart is set with --set {name}=..." if len(name) > 1 and "--values" in takes else ""


def _path(ctx: Any) -> str:
    """The words that lead here; ``KIND`` in ``get KIND`` stands for any word and is none."""
    return " ".join(word for word in ctx.command_path.split() if not word.isupper())

"""Commands and groups as Typer makes them, with what people type beside: ``--wait=true``, ``repo help``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from pvehelm.errors import UsageError

TRUTHS = {
    **dict.fromkeys(("1", "t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("0", "f", "F", "false", "False", "FALSE"), False),
}


class Verb(TyperCommand):
    """A command whose switches take a value, too, and whose usage shows what is needed without brackets."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, plain(self.params, args))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        found = super().collect_usage_pieces(ctx)
        return [piece[1:-1] if piece.startswith("{") and piece.endswith("}") else piece for piece in found]

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        # What stands for any word (``get KIND``) is typed once.
        path = " ".join(word for word in ctx.command_path.split() if not word.isupper())
        formatter.write_usage(path, " ".join(self.collect_usage_pieces(ctx)))


class Group(TyperGroup):
    """A group of commands that knows what was meant by a word that is none of them."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            if args[0] == "help":
                sys.stdout.write(f"{ctx.get_help()}\n")
                raise typer.Exit
            from pvehelm.faces.cli.misuse import no_command

            raise no_command(ctx, self, args)
        return super().resolve_command(ctx, args)


def adopt(group: typer.Typer) -> typer.Typer:
    """The same group, it, its commands and those below being such."""
    if group.info.cls in (None, TyperGroup) or not isinstance(group.info.cls, type):
        group.info.cls = Group
    for command in group.registered_commands:
        if command.cls in (None, TyperCommand):
            command.cls = Verb
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            adopt(inner.typer_instance)
    return group


def plain(params: Sequence[Any], args: Sequence[str]) -> list[str]:
    """Arguments with ``--wait`` for ``--wait=true``, and for ``--wait=false`` what says the contrary, if anything does.

    Raises UsageError for a value that is neither.
    """
    switches: dict[str, Any] = {}
    takers: set[str] = set()
    for param in params:
        if param.param_type_name == "option":
            names = (*param.opts, *param.secondary_opts)
            if param.is_flag:
                switches |= dict.fromkeys(names, param)
            else:
                takers |= set(names)
    end = args.index("--") if "--" in args else len(args)
    found: list[str] = []
    for before, word in zip(("", *args), args[:end], strict=False):
        name, equals, text = word.partition("=")
        if not equals and word[:2] in switches and word[2:] in ("true", "false"):
            # ``-f=false``, of which the command line has taken the sign out.
            name, equals, text = word[:2], "=", word[2:]
        switch = switches.get(name) if equals and before not in takers else None
        if switch is None:
            found.append(word)
            continue
        if text not in TRUTHS:
            raise UsageError(f"{word}: {name} is on or off", hint=f"{name}, {name}=true or {name}=false")
        contrary = switch.secondary_opts if name in switch.opts else switch.opts
        found += [name] if TRUTHS[text] else contrary[:1]
    return [*found, *args[end:]]

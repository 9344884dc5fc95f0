"""Commands whose first word decides: ``get values web`` is about a release, ``get vms`` about objects."""

from __future__ import annotations

from typing import Any, ClassVar

from typer.core import TyperGroup


class FirstWord(TyperGroup):
    """A group with a command for every first word that is none of its own.

    ``other`` is (name in the help, module below pvehelm.faces.cli, function, one line of help). Subclasses set it.
    """

    other: ClassVar[tuple[str, str, str, str]]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        name = self.other[0]
        if args and args[0] not in (*self.commands, *ctx.help_option_names, name):
            args = [name, *args]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from pvehelm.faces.cli.app import load

        return load(*self.other) if cmd_name == self.other[0] else super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        return [self.other[0], *super().list_commands(ctx)]

    def first_words(self, ctx: Any, incomplete: str) -> list[str]:
        """What the shell offers for the first word beside the group's own commands."""
        return []

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        own = [item for item in super().shell_complete(ctx, incomplete) if item.value != self.other[0]]
        from typer._click.shell_completion import CompletionItem

        return [*own, *(CompletionItem(word) for word in self.first_words(ctx, incomplete))]


class Get(FirstWord):
    other = ("KIND", "objects", "get", "Objects of a kind.")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # ``get all`` is about a release, and without one about everything of the namespace, as kubectl's is.
        if args[:1] == ["all"] and not ctx.resilient_parsing and self._names_none(ctx, args[1:]):
            args = [self.other[0], *args]
        return super().parse_args(ctx, args)

    def _names_none(self, ctx: Any, args: list[str]) -> bool:
        from typer._click.exceptions import UsageError

        from pvehelm.faces.cli.switches import plain

        objects = self.get_command(ctx, self.other[0])
        try:
            given, _, _ = objects.make_parser(ctx).parse_args(plain(objects.params, args))
        except UsageError:
            return False
        return not given.get("words") and not set(args) & set(ctx.help_option_names)

    def first_words(self, ctx: Any, incomplete: str) -> list[str]:
        from pvehelm.faces.cli.complete import objects

        return objects(ctx, incomplete)

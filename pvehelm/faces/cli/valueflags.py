"""The value flags of a command line, in their order: ``-f``, ``--set`` and its kin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pvehelm.errors import Problem, PvehelmError

if TYPE_CHECKING:
    from pvehelm.chart.values import ValueFlag

VALUE_FLAGS = {
    "-f": "file",
    "--values": "file",
    "--set": "set",
    "--set-string": "set-string",
    "--set-file": "set-file",
    "--set-json": "set-json",
    "--set-literal": "set-literal",
}


def value_flags(argv: Sequence[str] | None = None) -> list[ValueFlag]:
    """The value flags in the order of the command line, which Typer's lists lose; files are read here."""
    from pvehelm.chart.strvals import file_path
    from pvehelm.chart.values import ValueFlag
    from pvehelm.faces.cli.app import given_arguments
    from pvehelm.faces.cli.command import read_text

    arguments = list(given_arguments.get() if argv is None else argv)
    flags: list[ValueFlag] = []
    unread: list[PvehelmError] = []

    def contents(path: str) -> str:
        try:
            if path.startswith(("https://", "http://")):
                from pvehelm.actions.repos import values_at

                return values_at(path)
            return read_text(path)
        except PvehelmError as error:
            unread.append(error)
            return ""

    index = 0
    while index < len(arguments):
        argument = arguments[index]
        index += 1
        if argument == "--":
            break
        name, equals, text = argument.partition("=")
        kind = VALUE_FLAGS.get(name)
        if kind is None and argument.startswith("-f") and not argument.startswith("--") and len(argument) > 2:
            kind, text = "file", argument[2:].removeprefix("=")
        elif kind is not None and not equals:
            if index >= len(arguments):
                break
            text = arguments[index]
            index += 1
        if kind is None:
            continue
        if kind == "file":
            flags.append(ValueFlag("file", text, contents(text)))
        elif kind == "set-file":
            flags.append(ValueFlag("set-file", text, contents(file_path(text))))
        else:
            flags.append(ValueFlag(kind, text))  # type: ignore[arg-type]
    if len(unread) > 1:
        raise PvehelmError("values cannot be read", [Problem("", str(error)) for error in unread])
    for error in unread:
        raise error
    return flags

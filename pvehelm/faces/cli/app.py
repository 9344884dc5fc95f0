"""The root of the command line: which commands there are, and nothing of what they need until one is called."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from pvehelm.errors import PvehelmError
from pvehelm.faces.cli.switches import Group, Verb, adopt

# section -> command -> (module below pvehelm.faces.cli, function or Typer app, one line of help)
COMMANDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "Releases": {
        "install": ("releases", "install", "Install a chart as a release."),
        "upgrade": ("releases", "upgrade", "Upgrade a release to a chart and values."),
        "rollback": ("releases", "rollback", "Roll a release back to a revision."),
        "uninstall": ("releases", "uninstall", "Remove a release and what it created."),
        "plan": ("plans", "app", "Show what a command would do, and save it as a plan."),
        "apply-plan": ("plans", "apply_plan", "Apply a saved plan exactly, or say what moved."),
        "diff": ("releases", "diff", "Show what differs: live, a chart, or two revisions."),
        "drift": ("drift", "drift", "Show what differs from the releases; repair or accept it."),
        "reconcile": ("reconcile", "app", "Set releases right on a clock; follow git repositories."),
        "recover": ("releases", "recover", "Finish or repair what was interrupted."),
        "test": ("testing", "run", "Run the tests of a release."),
        "adopt": ("adopt", "adopt", "Take objects that are there into a release."),
        "move": ("adopt", "move", "Move objects to another release."),
        "rename": ("adopt", "rename", "Give a release another name."),
        "unlock": ("releases", "unlock", "Take a release's lease from whoever holds it."),
        "list": ("looking", "list_", "List releases."),
        "secret": ("secrets", "app", "List and show what a release keeps sealed."),
        "outdated": ("outdated", "outdated", "List releases whose chart has a newer version."),
        "status": ("looking", "status", "Show a release."),
        "history": ("looking", "history", "Show a release's revisions."),
        "get": ("looking", "app", "Show objects of a kind, or values, manifest, notes of a release."),
    },
    "Charts": {
        "template": ("charts", "template", "Render a chart without a server."),
        "lint": ("charts", "lint", "Check a chart."),
        "show": ("charts", "app", "Show a chart's definition, values or README."),
        "values": ("values", "values", "Compute a chart's values; say where each comes from."),
        "create": ("creating", "app", "Scaffold a chart, or make a guest."),
        "chart": ("chart", "app", "Test, document and convert charts."),
        "package": ("charts", "package", "Pack a chart into an archive."),
        "dependency": ("dependency", "app", "List, update and build a chart's dependencies."),
        "pull": ("repos", "pull", "Fetch a chart's package."),
        "push": ("repos", "push", "Publish a chart's package."),
        "verify": ("repos", "verify", "Check who signed a package."),
        "repo": ("repos", "app", "Add, list, update and index chart repositories."),
        "search": ("repos", "search_app", "Search repositories for charts."),
        "registry": ("repos", "registry_app", "Log in at OCI registries."),
    },
    "Objects": {
        "apply": ("manifests", "apply", "Apply manifests as a set, a release without a chart."),
        "delete": ("changing", "delete", "Delete objects by name or manifest."),
        "describe": ("changing", "describe", "Show everything about objects."),
        "edit": ("changing", "edit", "Change an object in the editor."),
        "patch": ("patching", "patch", "Change fields of objects by a patch."),
        "label": ("patching", "label", "Set or take away labels and tags."),
        "annotate": ("patching", "annotate", "Set or take away annotations."),
        "validate": ("manifests", "validate", "Check manifests without a server."),
        "import": ("importing", "import_", "Write manifests or a chart of what is there already."),
        "wait": ("guests", "wait", "Wait until objects are as a condition says."),
    },
    "Guests": {
        "start": ("guests", "start", "Start guests."),
        "stop": ("guests", "stop", "Stop guests at once."),
        "shutdown": ("guests", "shutdown", "Shut guests down in good order."),
        "reboot": ("guests", "reboot", "Reboot guests in good order."),
        "reset": ("guests", "reset", "Reset virtual machines."),
        "suspend": ("guests", "suspend", "Pause guests, in memory or on disk."),
        "resume": ("guests", "resume", "Let paused guests go on."),
        "migrate": ("guests", "migrate", "Move guests to another node."),
        "clone": ("guests", "clone", "Copy a guest."),
        "top": ("guests", "top", "Show what nodes or guests use."),
        "logs": ("tasks", "logs", "Print the log of a task or of a guest's newest one."),
        "tasks": ("tasks", "app", "List tasks, read their logs, end them."),
    },
    "Proxmox": {
        "explain": ("cluster", "explain", "Explain a kind or one of its fields."),
        "api-resources": ("cluster", "api_resources", "List the kinds of manifests."),
        "api": ("cluster", "app", "Call the API directly."),
        "auth": ("access", "app", "Show what the credentials may do."),
        "schema": ("schema", "app", "Schemas: the API's imported and compared, a chart's inferred."),
        "sdk": ("sdk", "app", "Generate the typed Python client."),
        "simulator": ("simulator", "app", "Serve, reset and disturb the simulator."),
    },
    "Settings": {
        "store": ("store", "app", "Copy, move, check and rebuild the release store."),
        "audit": ("store", "audit", "Show who changed what, when, and how it ended."),
        "context": ("contexts", "app", "Choose the Proxmox host to work with."),
        "env": ("settings", "env", "Show where pvehelm keeps things."),
        "version": ("settings", "version", "Show the version."),
        "completion": ("settings", "completion", "Print a shell completion script."),
    },
}
ALIASES = {
    "ls": "list",
    "hist": "history",
    "un": "uninstall",
    "del": "delete",
    "ctx": "context",
    "dep": "dependency",
    "dependencies": "dependency",
}
EXIT_USAGE = 64
# The command line as given: only there do the value flags stand in one order over all of their kinds.
given_arguments: ContextVar[Sequence[str]] = ContextVar("given_arguments", default=())
EXIT_INTERRUPTED = 130
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Lazy(Group):
    """Commands by name; a command's module is imported when the command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: Any, name: str) -> Any:
        name = ALIASES.get(name, name)
        entry = next((section[name] for section in COMMANDS.values() if name in section), None)
        return load(name, *entry) if entry else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry[2]) for name, entry in section.items()])


@cache
def load(name: str, module: str, attribute: str, help_: str) -> Any:
    """The click command of one entry of COMMANDS."""
    found = getattr(import_module(f"pvehelm.faces.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        return typer.main.get_command(adopt(found))
    single = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP)
    single.command(name=name, cls=Verb)(found)
    made = typer.main.get_command(single)
    made.name = name
    return made


HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    name="pvehelm",
    cls=Lazy,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings=HELP,
    help="Helm and kubectl for Proxmox VE.",
)


def _version(asked: bool) -> None:
    if asked:
        from pvehelm import __version__

        sys.stdout.write(f"pvehelm {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. Errors are printed, never raised."""
    arguments = _alone(_command_first(sys.argv[1:] if argv is None else argv))
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    given_arguments.set(arguments)
    if shell := os.environ.get("_PVEHELM_COMPLETE"):
        from pvehelm.faces.cli import completion

        if shell in completion.SCRIPTS:
            return completion.answer(shell, sys.argv[1:] if argv is None else argv)
        from typer._completion_classes import completion_init

        completion_init()
    _patient()
    code = 0
    try:
        ended = typer.main.get_command(app)(arguments, prog_name="pvehelm", standalone_mode=False)
        code = ended if isinstance(ended, int) else 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        _closed()
    except SystemExit as ended:
        # Click takes a closed pipe for an error of its own.
        if type(sys.stdout).__name__ != "PacifyFlushWrapper":
            raise
        _closed()
    except Exception as error:
        return _failed(error)
    if code == EXIT_INTERRUPTED:
        # Typer makes this exit code of an interrupt that nobody else took, and says nothing.
        sys.stderr.write("interrupted\n")
    return code


# What may stand before the command, as all flags of kubectl's and Helm's may.
BEFORE = {"-n": "namespace", "--namespace": "namespace", "--context": "context"}


def front(argv: list[str]) -> tuple[list[str], list[str]]:
    """The flags of BEFORE at the beginning, with their values, and the rest."""
    count = 0
    while count < len(argv) and (argv[count].partition("=")[0] in BEFORE or argv[count].startswith("-n")):
        count += 2 if argv[count] in BEFORE else 1
    return argv[:count], argv[count:]


def _command_first(argv: list[str]) -> list[str]:
    """``list -n shop`` for ``-n shop list``."""
    flags, words = front(argv)
    end = words.index("--") if "--" in words else len(words)
    return [*words[:end], *flags, *words[end:]]


# Flags that may stand alone, as in Helm: what they mean then, and the words that may follow. Click has no optional
# values that Typer knows.
ALONE = {
    "--dry-run": ("server", ("server", "client", "none", "true", "false")),
    "--graph": ("text", ("text", "dot")),
}


# Short flags with a value, which kubectl's users may write ``-o=json``.
SHORT = ("-o=", "-n=", "-f=", "-l=")
# What stands behind these is a text, whatever it looks like.
TEXTS = ("--set", "--description", "--post-renderer-args")


def _alone(argv: list[str]) -> list[str]:
    """The arguments with a value for every flag of ALONE that has none, and ``-o=json`` as ``-ojson``."""
    flags = argv.index("--") if "--" in argv else len(argv)
    before = ("", *argv)
    argv = [
        word[:2] + word[3:]
        if i < flags and word.startswith(SHORT) and word[3:] and not before[i].startswith(TEXTS)
        else word
        for i, word in enumerate(argv)
    ]
    return [
        f"{word}={ALONE[word][0]}" if word in ALONE and (argv[i + 1 : i + 2] or [""])[0] not in ALONE[word][1] else word
        for i, word in enumerate(argv)
    ]


def _patient() -> None:
    """Standard streams that are there, even where whoever started us has closed them, and take every letter."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115
    for stream in (sys.stdin, sys.stdout):
        if type(stream) is TextIOWrapper and stream.encoding != "utf-8":
            # Manifests are UTF-8 for whatever reads or writes them; a terminal says what it can show.
            if stream.isatty():
                stream.reconfigure(errors="backslashreplace")
            else:
                stream.reconfigure(encoding="utf-8")
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    elif type(sys.stderr) is TextIOWrapper:
        told = Unheard(sys.stderr.buffer, sys.stderr.encoding, sys.stderr.errors, line_buffering=True)
        told.before, sys.stderr = sys.stderr, told


def _closed() -> None:
    """Whoever read our output has seen enough: that is no error, and there is nobody to tell."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout = None


class Unheard(TextIOWrapper):
    """stderr that swallows what it can't print (a closed pipe, a full disk): nothing that is being done may stop
    for want of a listener. Kept with it is the stream ``before``: once that is forgotten, it closes what both write to.
    """

    before: TextIOWrapper | None = None

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return len(text)


def _is_text(word: str) -> bool:
    return word.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in word)


def _failed(error: Exception) -> int:
    """Tell an error; its exit code."""
    if isinstance(error, PvehelmError):
        from pvehelm.faces.output import error_text

        error_text(error)
        return error.exit_code
    if isinstance(error, UnicodeEncodeError) and (
        odd := [word for word in given_arguments.get() if not _is_text(word)]
    ):
        sys.stderr.write(f"Error: {odd[0]!a}: an argument is no UTF-8 text\n")
        return EXIT_USAGE
    if isinstance(error, OSError):
        # What has no name and is full is the output.
        where = error.filename or ("the output can't be written" if error.errno in FULL else "")
        sys.stderr.write(f"Error: {f'{where}: ' if where else ''}{error.strerror or error}\n")
        try:
            sys.stdout.flush()
        except OSError:
            # It was the output: what is left of it would be tried once more when Python ends.
            _closed()
        return 1
    if type(error).__module__ == "sqlite3":
        # The release store tells its own troubles; this is the simulator's state or what was fetched of repositories.
        from pvehelm.config import cache_dir, data_dir

        sys.stderr.write(f"Error: a database in {data_dir()} or {cache_dir()}: {error}\n")
        sys.stderr.write("  hint: check the permissions of the files and folders, and the space on the disk\n")
        return 1
    if hasattr(error, "show") and hasattr(error, "exit_code"):
        from pvehelm.faces.cli.misuse import tell

        tell(error)
        return EXIT_USAGE if type(error).__name__ != "Abort" else 1
    if type(error).__name__ == "Abort":
        sys.stderr.write("aborted\n")
        return 1
    if type(error).__name__ == "Exit":
        return int(getattr(error, "exit_code", 1))
    import traceback

    if os.environ.get("PVEHELM_DEBUG"):
        traceback.print_exc()
    sys.stderr.write(f"Error: an unexpected {type(error).__name__}: {error}\n")
    sys.stderr.write("  hint: this is a defect of pvehelm; PVEHELM_DEBUG=1 shows where it happened\n")
    return 1

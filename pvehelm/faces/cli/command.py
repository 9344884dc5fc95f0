"""From a function to a command: the flags all commands share, the session they open, how they end."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.errors import PvehelmError, RefusedError, StoppedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from pvehelm.config import Config, ContextConfig
    from pvehelm.release.context import Context

TEMPLATES = "jsonpath=TEMPLATE or go-template=TEMPLATE"
Format = Annotated[
    str, typer.Option("-o", "--output", help=f"Output format: table, wide, json, yaml, {TEMPLATES}.", metavar="FORMAT")
]
Named = Annotated[
    str,
    typer.Option(
        "-o", "--output", help=f"Output format: table, wide, name, json, yaml, {TEMPLATES}.", metavar="FORMAT"
    ),
]
Namespace = Annotated[str, typer.Option("-n", "--namespace", help="Namespace (a resource pool).", metavar="NS")]
ContextName = Annotated[str, typer.Option("--context", help="The context to use.", metavar="NAME")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Confirm what would be asked.")]
Version = Annotated[str, typer.Option("--version", help="The chart's version, or a range.", metavar="VERSION")]
Repo = Annotated[str, typer.Option("--repo", help="The repository's address, where CHART is a name.", metavar="URL")]
Devel = Annotated[bool, typer.Option("--devel", help="Take prereleases too.")]
COMMON: dict[str, tuple[Any, Any]] = {
    "namespace": (Namespace, ""),
    "context": (ContextName, ""),
    "output": (Format, "table"),
    # ... of commands that say what became of objects.
    "named": (Named, "table"),
    "yes": (Yes, False),
    "version": (Version, ""),
    "repo": (Repo, ""),
    "devel": (Devel, False),
}
SOURCE = ("version", "repo", "devel")
FORMATS = ("table", "wide", "json", "yaml")
# What flags are called whose value is a file, a folder or a program.
FILES = ("FILE", "DIR", "CHART", "CMD")
# How long whole numbers may be.
DIGITS = 9


class Session:
    """One call of the command line: the shared flags, and the Context once something asks for it.

    ``given`` has the other shared flags of this command, by their parameter's name.
    """

    def __init__(
        self,
        namespace: str = "",
        context_name: str = "",
        output: str = "table",
        yes: bool = False,
        given: dict[str, Any] | None = None,
        quiet: bool = False,
    ) -> None:
        self.namespace = namespace
        self.context_name = context_name
        self.output = output
        self.yes = yes
        self.given = given if given is not None else {}
        self.quiet = quiet
        # Where the chart came from that a command named.
        self.origin = ""
        # An asyncio.Event while a coroutine runs: set, it asks a running apply to start nothing more.
        self.stop: Any = None
        self._context: Context | None = None
        self._config: Config | None = None

    @property
    def source(self) -> dict[str, Any]:
        """The flags that say where a chart comes from."""
        return {name: self.given[name] for name in SOURCE if name in self.given}

    @property
    def config(self) -> Config:
        if self._config is None:
            from pvehelm.config import load

            _check_namespace(self.namespace)
            self._config = load(context=self.context_name or None, namespace=self.namespace or None)
        return self._config

    @property
    def settings(self) -> ContextConfig:
        """The chosen context: flag, environment, file, else the simulator."""
        return self.config.context

    @property
    def context(self) -> Context:
        if self._context is None:
            from pvehelm.faces.build import build_context

            self._context = build_context(self.config, announce=not self.quiet)
            self._context.confirm = self._confirm
            self._context.stop = self.stop
        return self._context

    def close(self) -> None:
        """Close the store, if it was opened; a coroutine has closed the whole context by then."""
        if self._context is not None and self._context._store is not None:
            self._context._store.close()
            self._context._store = None

    def watch(self) -> Context:
        """The context with progress shown on stderr."""
        from pvehelm.faces.output import Progress

        self.context.emit = Progress(self.output)
        return self.context

    def _confirm(self, plan: Any) -> bool:
        if self.yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        from pvehelm.faces.output import plan_text

        plan_text(plan, sys.stderr)
        what, changes = ("destroys", plan.destroys) if plan.destroys else (f"is to {plan.action}", plan.changes)
        if not ask(f"This {what} {', '.join(change.ref for change in changes)}. Go on?"):
            raise RefusedError("nothing was changed")
        return True


def ask(question: str) -> bool:
    """Yes or no on the terminal; no answer is a no. Raises StoppedError at Ctrl-C, which the loop does not see here."""
    import signal

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.stderr.write(f"{question} [y/N]: ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        raise StoppedError("stopped at the question; nothing was begun") from None
    finally:
        signal.signal(signal.SIGINT, before)


Flags = Mapping[str, tuple[Any, Any]]
"""Flags by their parameter's name: type and default."""


def command(*common: str, flags: Flags | None = None) -> Callable[[Callable[..., Any]], Command]:
    """Make a Typer command of ``f(session, ...)``; ``common`` names the shared flags it takes (of COMMON and of
    ``options.SHARED``), ``flags`` are those of its family. The session holds both."""
    return lambda function: Command(function, common, flags or {})


def shared_flag(name: str) -> tuple[Any, Any]:
    """A shared flag's type and default."""
    if name in COMMON:
        return COMMON[name]
    from pvehelm.faces.cli.options import SHARED

    return SHARED[name]


class Command:
    """A function as a command, its flags worked out when Typer asks for them and not before.

    A coroutine is run to its end: the first interrupt lets what runs finish, the second stops at once.
    An integer that comes back is the exit code.
    """

    def __init__(self, function: Callable[..., Any], common: tuple[str, ...], family: Flags) -> None:
        self.function = function
        self.common = common
        self.family = family
        self.__name__, self.__doc__ = function.__name__, function.__doc__

    @cached_property
    def __signature__(self) -> inspect.Signature:
        own = [p for p in inspect.signature(self.function, eval_str=True).parameters.values() if p.name != "session"]
        keyword = inspect.Parameter.KEYWORD_ONLY
        flags = {**self.family, **{name: shared_flag(name) for name in self.common}}
        shared = [
            inspect.Parameter(name, keyword, default=default, annotation=kind)
            for name, (kind, default) in flags.items()
        ]
        return inspect.Signature([*(p.replace(kind=keyword) for p in own), *shared])

    @property
    def __annotations__(self) -> dict[str, Any]:  # type: ignore[override]
        return {p.name: p.annotation for p in self.__signature__.parameters.values()}

    def __call__(self, **given: Any) -> None:
        shared = {name: given.pop(name) for name in (*self.family, *self.common) if name in given}
        session = Session(
            namespace=shared.pop("namespace", ""),
            context_name=shared.pop("context", ""),
            output=shared.pop("named", "") or shared.pop("output", "table"),
            yes=shared.pop("yes", False),
            given=shared,
        )
        _check_format(session.output, "named" in self.common)
        _check_values()
        full = _full_tables(session)
        try:
            result = self.function(session, **given)
            if inspect.iscoroutine(result):
                result = run_async(session, result)
        finally:
            session.close()
            full()
        if isinstance(result, int) and not isinstance(result, bool) and result:
            raise typer.Exit(result)


def _check_format(how: str, named: bool) -> None:
    """Raises UsageError for an ``-o`` that is none, before anything is done."""
    if how in FORMATS or (named and how == "name"):
        return
    if "=" in how:
        from pvehelm.faces.templates import FORMS, template

        if how.partition("=")[0] in FORMS:
            template(how)
            return
    known = (*FORMATS[:2], "name", *FORMATS[2:]) if named else FORMATS
    raise UsageError(f"-o {how}: unknown format", hint=f"one of {', '.join(known)}, {TEMPLATES}")


def _check_namespace(name: str) -> None:
    """Raises UsageError for what can't be a resource pool's name: up to three names, joined by slashes."""
    parts = name.split("/")
    fits = all(part.translate({ord(mark): "a" for mark in "._-"}).isalnum() for part in parts)
    if name and not (fits and name.isascii() and len(parts) <= 3):
        hint = "letters, digits, '.', '_' and '-'; up to three names joined by '/'"
        raise UsageError(f"-n {name!r} is no name of a namespace", hint=hint)


def _check_values() -> None:
    """Raises UsageError for a number that no database holds, and for an argument, or a flag that names a file, that is
    there and empty: mostly a variable of the shell that was not set."""
    from pvehelm.faces.cli.app import given_arguments

    words = given_arguments.get()
    if not any(word == "" or word.endswith("=") or (word[DIGITS:] and word[-DIGITS:].isdigit()) for word in words):
        return
    from typer._click.core import ParameterSource
    from typer._click.globals import get_current_context

    ctx = get_current_context()
    for one in ctx.command.params:
        value = ctx.params.get(one.name or "")
        if isinstance(value, int) and abs(value) >= 10**DIGITS:
            name = one.opts[-1] if one.param_type_name == "option" else one.metavar
            raise UsageError(f"{name} {value}: a number has at most {DIGITS} digits")
        empty = value == "" or (isinstance(value, list | tuple) and "" in value)
        given = ctx.get_parameter_source(one.name or "") is ParameterSource.COMMANDLINE
        if not (empty and given):
            continue
        # Words that are looked for may be none at all.
        if one.param_type_name == "argument" and one.metavar != "[WORD...]":
            raise UsageError(f"{one.metavar or one.name}: an argument is empty", hint="a variable that is not set?")
        if one.param_type_name == "option" and one.metavar in FILES:
            raise UsageError(f"{one.opts[-1]} {one.metavar} is empty", hint="a variable that is not set?")


def _full_tables(session: Session) -> Callable[[], None]:
    """With ``-o wide`` tables are printed whole, until what comes back is called."""
    if session.output != "wide":
        return lambda: None
    from pvehelm.faces.output import WIDE

    session.output = "table"
    token = WIDE.set(True)
    return lambda: WIDE.reset(token)


def ending() -> list[int]:
    """The signals that ask for an end: that the terminal is closed is one, unless nohup has asked to go on."""
    import signal

    closed = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN else []
    return [signal.SIGINT, signal.SIGTERM, *closed]


def run_async(session: Session, work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine; SIGINT, SIGTERM and a closed terminal once: start nothing more and finish what runs; twice: stop
    here."""
    import asyncio

    hints: list[str] = []

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def interrupt() -> None:
            ctx = session._context
            if ctx is None or ctx.stop is None or not ctx.applying or ctx.stop.is_set():
                if ctx is not None and ctx.applying:
                    hints.append(f"running tasks go on; {ctx.recovery} finishes or repairs")
                task.cancel()
                return
            ctx.stop.set()
            sys.stderr.write("\nStopping: what runs is finished first. Once more to stop at once.\n")

        for number in ending():
            loop.add_signal_handler(number, interrupt)
        session.stop = asyncio.Event()
        if session._context is not None:
            session._context.stop = session.stop
        try:
            return await work
        finally:
            if session._context is not None:
                await session._context.aclose()

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        raise StoppedError("interrupted", hint=hints[0] if hints else "") from None
    finally:
        # An interrupt may come before the loop has taken it over.
        work.close()


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file, whole or not at all, with the folders above it. Raises PvehelmError that names it."""
    data = content.encode() if isinstance(content, str) else content
    # What is no plain file (/dev/stdout, a link) is written into and not replaced.
    plain = not path.is_symlink() and (path.is_file() or not path.exists())
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft") if plain else path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(data)
        if plain:
            if path.exists():
                draft.chmod(path.stat().st_mode & 0o7777)
            draft.replace(path)
    except OSError as error:
        if plain:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        raise PvehelmError(f"can't write {path}: {error.strerror}") from None


_used_up: Any = None


def _stdin() -> str:
    global _used_up
    if sys.stdin is _used_up:
        raise UsageError("standard input can be read once", hint="'-' stands for it; name files for the others")
    _used_up = sys.stdin
    return sys.stdin.read()


def read_text(path: str) -> str:
    """A file's text (``-`` is stdin). Raises PvehelmError when it can't be read, UsageError for stdin a second time."""
    try:
        if path == "-":
            return _stdin()
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise PvehelmError(f"can't read {path}: {reason}") from None

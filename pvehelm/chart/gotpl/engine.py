"""The engine of Helm's own template syntax: charts rendered as Helm 4 renders them, every problem with its place.

Like the engine of the Jinja2 dialect it works on data alone and answers with data alone, so that it can run in a
child process.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from pvehelm.chart.functions.common import FunctionError
from pvehelm.chart.gotpl import runtime
from pvehelm.chart.gotpl.library import FUNCTIONS
from pvehelm.chart.gotpl.templates import Compiled, Literal, Templates
from pvehelm.chart.gotpl.trouble import Trouble
from pvehelm.chart.gotpl.values import GoError
from pvehelm.chart.kept import RANDOM, Kept
from pvehelm.chart.neighbour import Neighbour, Told
from pvehelm.chart.objects import Scope
from pvehelm.chart.sandbox import Ask, Limits
from pvehelm.chart.secrets import OF_LISTS, OPAQUE, Tokens

_NOTES = "templates/NOTES.txt"
_GENERATE = re.compile(r"generate\s+[\"`$.(]")
_CALLED = re.compile(r"[({|=](?:-?\s+)?\Z")
#: Bytes that are no text.
_CUT = re.compile("[\udc80-\udcff]")


def _revived(value: Any) -> Any:
    """What was kept of a random function's result, as the library has it."""
    if not isinstance(value, dict):
        return value
    from pvehelm.chart.gotpl.crypto import Certificate

    return Certificate(value["Cert"], value["Key"])


def execution_order(names: Iterator[str] | list[str]) -> list[str]:
    """Files in the order in which Helm reads and runs them: the deepest first, and of one depth the last by name."""
    return sorted(names, key=lambda name: (name.count("/"), name.encode()), reverse=True)


class Engine:
    """Renders the files of ``scopes``; ``trouble`` holds what was found wrong so far.

    ``strict`` makes missing keys errors; ``lint`` lets ``fail`` and ``required`` pass, as Helm's lint does.
    """

    def __init__(
        self,
        scopes: list[Scope],
        tokens: Tokens,
        limits: Limits,
        ask: Ask,
        codes: bytes | Compiled = b"",
        *,
        strict: bool = False,
        lint: bool = False,
    ) -> None:
        self.scopes = scopes
        self.limits = limits
        self.kept = Kept(ask, tokens)
        self.scope_of: dict[str, Scope] = {}
        sources: dict[str, str] = {}
        for scope in scopes:
            for name, source in scope.templates.items():
                if not scope.chart.is_library or name.rpartition("/")[2].startswith("_"):
                    self.scope_of[name] = scope
                    sources[name] = source
        self.order = execution_order(list(sources))
        functions = {
            **self._guarded(tokens, sources),
            **self._random(),
            "generate": _plain(self.kept.generate),
            "sensitive": _plain(tokens.sensitive),
        }
        self.templates = Templates(
            {name: sources[name] for name in self.order}, strict=strict, functions=functions, kept=codes
        )
        self.neighbour: Neighbour | None = None
        self.run = runtime.Run(
            self.templates.prepare, self.templates.read_text, ask, self._foreign, lint=lint, output=limits.output
        )
        self.trouble = Trouble(self.templates, scopes)

    def _random(self) -> dict[str, Callable[..., Any]]:
        return {name: self.kept.once(name, FUNCTIONS[name], _revived) for name in RANDOM & set(FUNCTIONS)}

    def _guarded(self, tokens: Tokens, sources: Mapping[str, str]) -> dict[str, Callable[..., Any]]:
        """Where there are secret references, or may be some, the functions that would look into them refuse to."""
        if not tokens and not any(map(_generates, sources.values())):
            return {}
        return {name: _guarding(tokens, name, function) for name, function in FUNCTIONS.items()}

    def render(self, subchart_notes: bool = False, *, places: bool = True) -> dict[str, Any]:
        """Every file: ``files`` {name: text}, ``lines`` {name: marks of ``Places``}; and ``notes`` {name: text}."""
        files: dict[str, str] = {}
        lines: dict[str, list[int]] = {}
        notes: dict[str, str] = {}
        for error in self.templates.errors.values():
            self.trouble.parse_error(error)
        for name in self.order if not self.templates.errors else ():
            if name.rpartition("/")[2].startswith("_"):
                continue
            scope = self.scope_of[name]
            scope.root["Template"] = {"Name": name, "BasePath": f"{scope.prefix}/templates"}
            self.kept.file = name
            pieces = self._file(name, scope)
            if pieces is None:
                continue
            text = _text(pieces)
            if name[len(scope.prefix) + 1 :] == _NOTES:
                if subchart_notes or not scope.depth:
                    notes[name] = text
                continue
            files[name] = text
            if places:
                lines[name] = _positions(pieces)
        return {"files": files, "lines": lines, "notes": notes}

    def _file(self, name: str, scope: Scope) -> list[str] | None:
        pieces: list[str] = []
        try:
            code = self.templates.main(name)
            with runtime.deep():
                code(self.run, scope.root, pieces)
            if sum(map(len, pieces)) > self.limits.output:
                raise runtime.ExecError(f"the output exceeds the limit of {self.limits.output // (1024 * 1024)} MiB")
        except (Exception, RecursionError) as error:
            self.trouble.explain(error, name)
            return None
        return pieces

    # What charts in Jinja2 are asked for, and see of it

    def _foreign(self, name: str, data: Any) -> str | None:
        if self.neighbour is None:
            return None
        scope = self.scope_of.get(self.kept.file)
        self.trouble.others = self.neighbour.other.names()
        return self.neighbour.include(name, data, scope.root if scope else {}, self.kept.file)

    def names(self) -> Collection[str]:
        return self.templates.home.keys()

    def included(self, name: str, data: Any, root: dict[str, Any], file: str) -> str:
        """A named template for a chart of the other dialect. Raises Told."""
        before, self.kept.file = self.kept.file, file
        known = len(self.trouble.problems)
        try:
            with runtime.deep():
                return self.run.include(name, data)
        except Told as told:
            self.trouble.explain(told, file)
            raise
        except Exception as error:
            self.trouble.explain(error, file)
            raise Told(self.trouble.problems, known) from None
        finally:
            self.kept.file = before

    def reusable(self) -> Compiled:
        """What another rendering of the same templates may begin with."""
        return self.templates.compiled

    @property
    def compiled(self) -> bool:
        """Whether there is new code."""
        return self.templates.changed

    def packed(self, own: Callable[[str], bool]) -> bytes:
        """The compiled templates for the cache; nothing when there is nothing new. ``own`` is as in ``pack``."""
        return self.templates.pack(own)


def _generates(source: str) -> bool:
    """Whether a template may call ``generate``. Charts can be megabytes: the word is looked for first."""
    return any(_CALLED.search(source, max(0, m.start() - 100), m.start()) for m in _GENERATE.finditer(source))


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the other dialect's library, with errors as templates have them here."""

    @functools.wraps(function)
    def called(*args: Any) -> Any:
        try:
            return function(*args)
        except FunctionError as error:
            raise GoError(str(error)) from None

    return called


def _guarding(tokens: Tokens, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    plain = name[4:5].lower() + name[5:] if name.startswith("must") else name
    if plain in OPAQUE and plain not in OF_LISTS:
        return function
    depth = 0 if plain in OF_LISTS else 2

    @functools.wraps(function)
    def guarded(*args: Any) -> Any:
        try:
            for value in args:
                tokens.guard(value, depth)
        except FunctionError as error:
            raise GoError(str(error)) from None
        return function(*args)

    return guarded


def _text(pieces: list[str]) -> str:
    """What a file prints. Cut characters are bytes that are no text; where they stay alone, a sign stands for them."""
    text = "".join(pieces).replace("<no value>", "")
    try:
        # Much faster than looking for them: charts print megabytes.
        text.encode()
    except UnicodeEncodeError:
        if _CUT.search(text):
            return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text


def _positions(pieces: list[str]) -> list[int]:
    """Where in the output each text of the file's own begins, where it stands there and its length: flat triples."""
    found: list[int] = []
    offset = 0
    for piece in pieces:
        if piece.__class__ is Literal:
            found += (offset, piece.pos, len(piece))
        offset += len(piece) if "<no value>" not in piece else len(piece.replace("<no value>", ""))
    return found

"""The engine of Helm's own template syntax: charts rendered as Helm 4 renders them, every problem with its place.

Like the engine of the Jinja2 dialect it works on data alone and answers with data alone, so that it can run in a
child process. ``Templates`` is what a set of files defines and the code made of it; ``Engine`` runs a chart's files.
"""

from __future__ import annotations

import functools
import hashlib
import marshal
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

from pvehelm.chart.functions.common import FunctionError
from pvehelm.chart.gotpl import runtime
from pvehelm.chart.gotpl.compiler import compiled, filled
from pvehelm.chart.gotpl.expressions import NAMES
from pvehelm.chart.gotpl.library import FUNCTIONS, SIGNATURES
from pvehelm.chart.gotpl.parser import ParseError, parse
from pvehelm.chart.gotpl.syntax import Tree
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
#: Texts of ``tpl`` that are kept with the compiled code of a chart: how many, and how long each may be.
_TEXTS, _LONGEST = 2000, 20_000

PARAMETERS = {name: signature.parameters for name, signature in SIGNATURES.items()}
#: ``generate`` and ``sensitive`` are pvehelm's own.
KNOWN = frozenset((*FUNCTIONS, *NAMES, "generate", "sensitive"))

_NO_FUNCTIONS: Mapping[str, Callable[..., Any]] = {}

#: What is kept of a template: whether it is empty; its code, perhaps marshalled, and nothing; its code as the whole of
#: a file, and the texts taken out of that.
Kept_ = list[Any]


class Literal(str):
    """A text of a template's file, which knows where it stands there."""

    __slots__ = ("pos",)
    pos: int


#: What generated code has by name.
_GLOBALS: dict[str, Any] = {
    "str": str,
    "dict": dict,
    "field": runtime.field,
    "first": runtime.first_field,
    "reach": runtime.reach,
    "reach1": runtime.reach1,
    "reach2": runtime.reach2,
    "reach3": runtime.reach3,
    "element": runtime.element,
    "element1": runtime.element,
    "element2": runtime.element,
    "element3": runtime.element,
    "sfield": runtime.strict_field,
    "sfirst": runtime.strict_first_field,
    "items": runtime.items,
    "pairs": runtime.pairs,
    "shown": runtime.shown,
    "printed": runtime.printed,
    "fault": runtime.fault,
    "joined": runtime.joined,
    "call": runtime.call,
    "of_values": runtime.of_values,
    **{f"f_{name}": function for name, function in FUNCTIONS.items()},
}


class Compiled:
    """What was made of files so far, for whoever renders the same files again in this process."""

    def __init__(self) -> None:
        self.errors: dict[str, ParseError] = {}
        #: Of each file the kept templates by name, and of each text given to tpl.
        self.files: dict[str, dict[str, Kept_]] = {}
        self.texts: dict[str, dict[str, Kept_]] = {}
        #: Where each named template counts.
        self.home: dict[str, str] = {}
        #: By file, name, and whether its texts know their places: code that is ready to be run, and those texts.
        self.ready: dict[tuple[str, str, bool], tuple[CodeType, list[Literal]]] = {}
        #: The texts given to tpl that were read here and not had from the cache.
        self.read: dict[str, str] = {}


class Templates:
    """The named templates of files, in the order in which they are read: the last definition of a name counts.

    ``kept`` is what ``pack`` gave for the same files before, or their ``compiled``; then nothing is read that is not
    needed. ``functions`` take the places of those of the library.
    """

    def __init__(
        self,
        sources: Mapping[str, str],
        *,
        strict: bool = False,
        functions: Mapping[str, Callable[..., Any]] = _NO_FUNCTIONS,
        kept: bytes | Compiled = b"",
        known: frozenset[str] = KNOWN,
    ) -> None:
        self.sources: dict[str, str] = dict(sources)
        self.strict = strict
        self.known = known
        self.changed = False
        self._trees: dict[str, dict[str, Tree]] = {}
        own = {f"f_{name}": function for name, function in functions.items()}
        self.globals: dict[str, Any] = {**_GLOBALS, "__gotpl__": self, **own}
        self.compiled = kept if isinstance(kept, Compiled) else Compiled()
        self.errors, self.home = self.compiled.errors, self.compiled.home
        self.files, self.texts = self.compiled.files, self.compiled.texts
        if isinstance(kept, bytes):
            self._begin(_unpacked(kept))

    def _begin(self, unpacked: dict[str, dict[str, dict[str, Kept_]]]) -> None:
        self.texts.update(unpacked.get("texts", {}))
        known = unpacked.get("files", {})
        for file in self.sources:
            self.files[file] = known[file] if file in known else self._read(file)
            for name, one in self.files[file].items():
                if name not in self.home or not one[0]:
                    self.home[name] = file

    def _read(self, file: str) -> dict[str, Kept_]:
        self.changed = True
        try:
            trees = parse(file, self.sources[file], self.known)
        except ParseError as error:
            self.errors[file] = error
            return {}
        self._trees[file] = trees
        return {name: [tree.empty, None, None] for name, tree in trees.items()}

    def trees(self, file: str) -> dict[str, Tree]:
        """The trees of a file, or of a text given to tpl (by its own name), read again where that is needed."""
        if file not in self._trees:
            shown = "gotpl" if file.startswith("gotpl#") else file
            self._trees[file] = parse(shown, self.sources[file], self.known)
        return self._trees[file]

    def prepare(self, name: str) -> runtime.Code | None:
        """The function of a named template."""
        file = self.home.get(name)
        return None if file is None else self._function(file, name, self.files[file][name])[0]

    def main(self, file: str) -> tuple[runtime.Code, list[Literal]]:
        """The function of a file as a whole, whose texts know their places; and those texts."""
        home = self.home.get(file, file)
        return self._function(home, file, self.files[home][file], places=True)

    def _function(
        self, file: str, name: str, kept: Kept_, *, places: bool = False
    ) -> tuple[runtime.Code, list[Literal]]:
        # A file's own template may be included as well; then it is made again, without the places.
        key = (file, name, places)
        found = self.compiled.ready.get(key)
        if found is None:
            found = self.compiled.ready[key] = self._made(file, name, kept, places)
        return FunctionType(found[0], self.globals, name), found[1]

    def _made(self, file: str, name: str, kept: Kept_, places: bool) -> tuple[CodeType, list[Literal]]:
        slot = 3 if places else 1
        while len(kept) <= slot + 1:
            kept.append(None)
        if kept[slot] is None:
            self.changed = True
            tree = self.trees(file)["gotpl" if name == "gotpl" and file.startswith("gotpl#") else name]
            kept[slot], kept[slot + 1] = compiled(tree, PARAMETERS, strict=self.strict, texts=places)
        elif isinstance(kept[slot], bytes):
            kept[slot] = marshal.loads(kept[slot])
        texts = [_literal(text, pos) for text, pos in kept[slot + 1] or ()]
        code: CodeType = kept[slot].replace(co_filename=file)
        return filled(code, texts) if places else code, texts

    def read_text(self, source: str) -> tuple[runtime.Code, dict[str, runtime.Code]]:
        """The function of a text given to tpl and those of its definitions. Raises GoError."""
        name = "gotpl#" + hashlib.sha1(source.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()
        self.sources[name] = source
        kept = self.texts.get(name)
        if kept is None:
            try:
                self._trees[name] = parse("gotpl", source, self.known)
            except ParseError as error:
                from pvehelm.chart.gotpl.syntax import quoted

                raise GoError(f"cannot parse template {quoted(source)}: {error}") from error
            kept = {key: [tree.empty, None, None] for key, tree in self._trees[name].items()}
            self.changed = True
            self.texts[name] = kept
            self.compiled.read[name] = source
        found = {}
        for key, one in kept.items():
            if key == "gotpl" or not one[0] or key not in self.home:
                found[key], _ = self._function(name, key, one)
        main = found.pop("gotpl")
        return main, found

    def pack(self, own: Callable[[str], bool]) -> bytes:
        """All that was compiled so far, for the cache; nothing when nothing is new. Of texts given to tpl only those
        that are the chart's ``own``: what users write into values may be secret."""
        if not self.changed or self.errors:
            return b""
        read = self.compiled.read
        kept = [name for name in self.texts if name not in read or (len(read[name]) < _LONGEST and own(read[name]))]
        texts = {name: _packed(self.texts[name]) for name in kept[:_TEXTS]}
        return marshal.dumps({"files": {file: _packed(kept) for file, kept in self.files.items()}, "texts": texts})


def _packed(templates: dict[str, Kept_]) -> dict[str, Kept_]:
    """Each template's code in bytes of its own, so that nothing is loaded but what is used."""
    return {
        name: [marshal.dumps(one) if isinstance(one, CodeType) else one for one in kept]
        for name, kept in templates.items()
    }


def _literal(text: str, pos: int) -> Literal:
    found = Literal(text)
    found.pos = pos
    return found


def _revived(value: Any) -> Any:
    """What was kept of a random function's result, as the library has it."""
    if not isinstance(value, dict):
        return value
    from pvehelm.chart.gotpl.crypto import Certificate

    return Certificate(value["Cert"], value["Key"])


def _unpacked(packed: bytes) -> dict[str, dict[str, dict[str, Kept_]]]:
    """What ``pack`` packed; nothing where it is something else."""
    try:
        found = marshal.loads(packed) if packed else {}
        for part in ("files", "texts") if found else ():
            for templates in found[part].values():
                for one in templates.values():
                    if not isinstance(one[0], bool) or not isinstance(one[1], (bytes, type(None))):
                        return {}
    except (ValueError, EOFError, TypeError, KeyError, AttributeError, IndexError):
        return {}
    return found if isinstance(found, dict) else {}


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
            code, _ = self.templates.main(name)
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

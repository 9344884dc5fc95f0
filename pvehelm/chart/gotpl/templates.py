"""The templates: what a set of files defines in Helm's syntax, and the code made of it when it is needed."""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Callable, Mapping
from types import CodeType, FunctionType
from typing import Any

from pvehelm.chart.gotpl import runtime
from pvehelm.chart.gotpl.compiler import How, Part, compiled, filled, located, parts
from pvehelm.chart.gotpl.expressions import NAMES, Spot
from pvehelm.chart.gotpl.library import FUNCTIONS, SIGNATURES
from pvehelm.chart.gotpl.parser import ParseError, parse
from pvehelm.chart.gotpl.quick import Memory
from pvehelm.chart.gotpl.syntax import Tree
from pvehelm.chart.gotpl.values import GoError

#: Texts of ``tpl`` that are kept with the compiled code of a chart: how many, and how long each may be.
_TEXTS, _LONGEST = 2000, 20_000
#: Bodies of so many actions are compiled when they are reached.
LARGE = 4

PARAMETERS = {name: signature.parameters for name, signature in SIGNATURES.items()}
#: ``generate`` and ``sensitive`` are pvehelm's own.
KNOWN = frozenset((*FUNCTIONS, *NAMES, "generate", "sensitive"))

_NO_FUNCTIONS: Mapping[str, Callable[..., Any]] = {}

#: What is kept of a template: whether it is empty; then twice, without and with the places of its texts, by key (that
#: of the whole is ``_WHOLE``) what is kept of its parts: nothing as long as they are not reached, else the code,
#: perhaps marshalled, and the texts taken out of it.
Kept_ = list[Any]
_WHOLE = -1


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
        #: By file, name, whether its texts know their places, and the key of the part: code that is ready to be run.
        self.ready: dict[tuple[str, str, bool, int], CodeType] = {}
        #: The texts given to tpl that were read here and not had from the cache.
        self.read: dict[str, str] = {}


class Parts(dict[int, runtime.Code]):
    """The functions of a template's parts that were reached, by key."""

    def __init__(self, templates: Templates, file: str, name: str, places: bool) -> None:
        self.templates, self.file, self.name, self.places = templates, file, name, places

    def __missing__(self, key: int) -> runtime.Code:
        code = self.templates.code(self.file, self.name, self.places, key)
        made = self[key] = FunctionType(code, self.templates.globals)
        return made


class Templates:
    """The named templates of files, in the order in which they are read: the last definition of a name counts.

    ``kept`` is what ``pack`` gave for the same files before, or their ``compiled``; then nothing is read that is not
    needed. ``functions`` take the places of those of the library. Bodies of ``large`` actions and more are compiled
    when they are reached.
    """

    def __init__(
        self,
        sources: Mapping[str, str],
        *,
        strict: bool = False,
        functions: Mapping[str, Callable[..., Any]] = _NO_FUNCTIONS,
        kept: bytes | Compiled = b"",
        known: frozenset[str] = KNOWN,
        large: int = LARGE,
    ) -> None:
        self.sources: dict[str, str] = dict(sources)
        self.strict = strict
        self.known = known
        self.large = large
        self.changed = False
        #: Trees whose nodes do not all know their places, and those that do, which only errors need; parts of trees.
        self._trees: dict[str, dict[str, Tree]] = {}
        self._exact: dict[str, dict[str, Tree]] = {}
        self._parts: dict[tuple[str, str], dict[int, Part]] = {}
        self._memory = Memory(known)
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
            trees = self._parsed(file)
        except ParseError as error:
            self.errors[file] = error
            return {}
        return {name: [tree.empty, {}, {}] for name, tree in trees.items()}

    def _parsed(self, file: str) -> dict[str, Tree]:
        """The trees of a file, or of a text given to tpl, for compiling them."""
        if file not in self._trees:
            self._trees[file] = parse(_shown(file), self.sources[file], self.known, memory=self._memory)
        return self._trees[file]

    def tree(self, file: str, name: str) -> Tree:
        """A tree of a file, or of a text given to tpl (by its own name), whose nodes know their places."""
        if file not in self._exact:
            self._exact[file] = parse(_shown(file), self.sources[file], self.known)
        return self._exact[file][name]

    def prepare(self, name: str) -> runtime.Code | None:
        """The function of a named template."""
        file = self.home.get(name)
        return None if file is None else self._function(file, name)

    def main(self, file: str) -> runtime.Code:
        """The function of a file as a whole, whose texts know their places."""
        return self._function(self.home.get(file, file), file, places=True)

    def _function(self, file: str, name: str, *, places: bool = False) -> runtime.Code:
        # A file's own template may be included as well; then it is made again, without the places.
        code = self.code(file, name, places)
        return FunctionType(code, self.globals, name, (Parts(self, file, name, places),))

    def code(self, file: str, name: str, places: bool, key: int = _WHOLE) -> CodeType:
        """The code of a template, or of its part of that key."""
        of = (file, name, places, key)
        found = self.compiled.ready.get(of)
        if found is None:
            found = self.compiled.ready[of] = self._made(*of)
        return found

    def _made(self, file: str, name: str, places: bool, key: int) -> CodeType:
        kept = (self.texts if file.startswith("gotpl#") else self.files)[file][name][1 + places]
        if kept.get(key) is None:
            self.changed = True
            tree, known = self._parsed(file)[name], self._parts.setdefault((file, name), {})
            if key not in known and key != _WHOLE:
                known.update(parts(tree, self._how()))
            made = compiled(tree, self._how(), known.get(key), texts=places)
            known.update(made.parts)
            # Where it comes from, for tracebacks.
            code = made.code.replace(co_filename=file, co_name=name, co_qualname=str(key))
            kept[key] = [code, made.texts]
        code, texts = kept[key]
        if isinstance(code, bytes):
            code = kept[key][0] = marshal.loads(code)
        return filled(code, [_literal(*text) for text in texts]) if places else code

    def _how(self) -> How:
        return How(PARAMETERS, self.strict, lambda key, body: body.actions >= self.large)

    def spot(self, code: CodeType, line: int) -> tuple[Tree, Spot]:
        """What a line of the code of a template or a part of it stands for."""
        tree, key = self.tree(code.co_filename, code.co_name), int(code.co_qualname)
        part = None if key == _WHOLE else parts(tree, self._how())[key]
        return tree, located(tree, self._how(), part, line)

    @staticmethod
    def is_part(code: CodeType) -> bool:
        """Whether that is the code of a part, which another part of the same template called, or the whole of it."""
        return code.co_qualname != str(_WHOLE)

    def read_text(self, source: str) -> tuple[runtime.Code, dict[str, runtime.Code]]:
        """The function of a text given to tpl and those of its definitions. Raises GoError."""
        name = "gotpl#" + hashlib.sha1(source.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()
        self.sources[name] = source
        kept = self.texts.get(name)
        if kept is None:
            try:
                trees = self._parsed(name)
            except ParseError as error:
                from pvehelm.chart.gotpl.syntax import quoted

                raise GoError(f"cannot parse template {quoted(source)}: {error}") from error
            kept = {key: [tree.empty, {}, {}] for key, tree in trees.items()}
            self.changed = True
            self.texts[name] = kept
            self.compiled.read[name] = source
        found = {}
        for key, one in kept.items():
            if key == "gotpl" or not one[0] or key not in self.home:
                found[key] = self._function(name, key)
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


def _shown(file: str) -> str:
    """What errors call a file, or a text given to tpl."""
    return "gotpl" if file.startswith("gotpl#") else file


def _packed(templates: dict[str, Kept_]) -> dict[str, Kept_]:
    """Each template's code in bytes of its own, so that nothing is loaded but what is used."""
    return {name: [empty, _bytes(plain), _bytes(placed)] for name, (empty, plain, placed) in templates.items()}


def _bytes(kept: dict[int, list[Any]]) -> dict[int, list[Any]]:
    return {
        key: [marshal.dumps(code) if isinstance(code, CodeType) else code, texts] for key, (code, texts) in kept.items()
    }


def _literal(text: str, pos: int) -> Literal:
    found = Literal(text)
    found.pos = pos
    return found


def _unpacked(packed: bytes) -> dict[str, dict[str, dict[str, Kept_]]]:
    """What ``pack`` packed; nothing where it is something else."""
    try:
        found = marshal.loads(packed) if packed else {}
        for part in ("files", "texts") if found else ():
            for templates in found[part].values():
                for one in templates.values():
                    if not isinstance(one[0], bool) or not isinstance(one[1], dict) or not isinstance(one[2], dict):
                        return {}
    except (ValueError, EOFError, TypeError, KeyError, AttributeError, IndexError):
        return {}
    return found if isinstance(found, dict) else {}

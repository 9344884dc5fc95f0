"""The loader: from libyaml's parser events straight to plain objects, with the position of every key."""

from __future__ import annotations

import gc
import re
from typing import Any, ClassVar

from yaml.constructor import SafeConstructor
from yaml.error import MarkedYAMLError
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)
from yaml.nodes import ScalarNode
from yaml.reader import ReaderError
from yaml.resolver import Resolver

from pvehelm.chart import syntax
from pvehelm.chart.yaml import Document, Mark, Marks
from pvehelm.errors import InvalidError, Problem

MAX_DEPTH = 100
MAX_ALIASED = 1_000_000
BULK = 1 << 16

_CORE = "tag:yaml.org,2002:"
_MISSING = object()
MERGE = object()
_constructor = SafeConstructor()
_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {
    first: list(pairs) for first, pairs in Resolver.yaml_implicit_resolvers.items()
}
# PyYAML wants a dot in a float, but Go and Python print 1e+21 and 1e-05; with its sign such text is nothing else.
for _first in "-+0123456789":
    _resolvers[_first] = [*_resolvers.get(_first, []), (_CORE + "float", re.compile(r"[-+]?[0-9]+[eE][-+][0-9]+$"))]
_MEMO_TEXT = 48
_MEMO_SIZE = 50_000


class _NeedLines(Exception):
    """A problem needs positions that this run does not keep; read again with them."""


def read(text: str, *, file: str, lines: bool, helms: list[Problem] | None = None) -> list[Document]:
    """Every document of ``text``; see :func:`pvehelm.chart.yaml.load_all`."""
    pause = len(text) >= BULK and gc.isenabled()
    if pause:
        gc.disable()
    try:
        if helms is not None:
            from pvehelm.chart.helmyaml import HelmLoader

            return HelmLoader(text, file, helms).documents()
        try:
            return Loader(text, file, lines).documents()
        except _NeedLines:
            return Loader(text, file, True).documents()
    finally:
        if pause:
            gc.enable()


class Stop(Exception):
    """A problem after which the rest of the text means nothing."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


class Loader:
    """One reading of a text."""

    #: Plain text -> value and plain text -> key. Most texts of a manifest or an index come again and again.
    values: ClassVar[dict[str, Any]] = {}
    keys: ClassVar[dict[str, Any]] = {}

    def __init__(self, text: str, file: str, lines: bool) -> None:
        self.text = text
        self.file = file
        self.lines = lines
        self.problems: list[Problem] = []
        self.anchors: dict[str, tuple[Any, int] | None] = {}
        self.nodes = 0
        self.aliased = 0

    def documents(self) -> list[Document]:
        found: list[Document] = []
        try:
            self.get = _parser(self.text)
            while True:
                event = self.get()
                if type(event) is DocumentStartEvent:
                    self.anchors.clear()
                    first = self.get()
                    data, tree = self.node(first, 0)
                    found.append(Document(data, Marks(_mark(first), tree), _mark(first)))
                elif type(event) is StreamEndEvent or event is None:
                    break
                else:
                    assert type(event) is DocumentEndEvent or event.__class__.__name__ == "StreamStartEvent"
        except Stop as stop:
            self.problems.append(stop.problem)
        except MarkedYAMLError as error:
            self.problems.append(syntax.told(error, self.file))
        except ReaderError as error:
            self.problems.append(syntax.character(error, self.text, self.file))
        except UnicodeEncodeError as error:
            line = self.text.count("\n", 0, error.start) + 1
            self.problems.append(
                Problem(f"{self.file}:{line}", "the text holds half a UTF-16 pair, which is no character")
            )
        if self.problems:
            raise InvalidError(f"{self.file} is not valid YAML", self.problems)
        return found

    # -- nodes ------------------------------------------------------------------------------------------------------

    def node(self, event: Any, depth: int) -> tuple[Any, Any]:
        """The value that starts with ``event`` and the tree of positions below it."""
        kind = type(event)
        if kind is AliasEvent:
            return self.alias(event), None
        before = self.nodes
        anchor = event.anchor
        if anchor is not None:
            self.anchors[anchor] = None
        tree: Any = None
        if kind is ScalarEvent:
            value = self.scalar(event)
            self.nodes += 1 + len(event.value) // 64
        elif kind is MappingStartEvent:
            value, tree = self.mapping(event, depth + 1)
        else:
            value, tree = self.sequence(event, depth + 1)
        if anchor is not None:
            self.anchors[anchor] = (value, self.nodes - before)
        return value, tree

    def mapping(self, start: Any, depth: int) -> tuple[dict[str, Any], Any]:
        self.opened(start, depth, "map")
        out: dict[str, Any] = {}
        tree: dict[str, Any] | None = {} if self.lines else None
        merged: list[dict[str, Any]] = []
        get, values, keys = self.get, self.values, self.keys
        while True:
            event = get()
            kind = type(event)
            if kind is MappingEndEvent:
                break
            key: Any
            if kind is ScalarEvent and event.anchor is None and event.tag is None:
                if event.implicit[0]:
                    key = keys.get(event.value, _MISSING)
                    if key is _MISSING:
                        key = self.key(event)
                else:
                    key = event.value
            else:
                key = self.odd_key(event, depth)
            at = event.start_mark
            event = get()
            if type(event) is ScalarEvent and event.anchor is None and event.tag is None:
                below = None
                if event.implicit[0]:
                    value = values.get(event.value, _MISSING)
                    if value is _MISSING:
                        value = self.plain(event)
                else:
                    value = event.value
            else:
                value, below = self.node(event, depth)
            if key is MERGE:
                self.merge(out, merged, value, event)
                continue
            if key in out and self.duplicate(key, at, tree):
                continue
            out[key] = value
            if tree is not None:
                tree[key] = (at.line + 1, at.column + 1, below)
        self.nodes += len(out) + 1
        if merged:
            whole: dict[str, Any] = {}
            for part in merged:
                whole.update(part)
            whole.update(out)
            self.nodes += len(whole)
            out = whole
        return out, tree

    def sequence(self, start: Any, depth: int) -> tuple[list[Any], Any]:
        self.opened(start, depth, "seq")
        out: list[Any] = []
        tree: list[Any] | None = [] if self.lines else None
        get, values = self.get, self.values
        while True:
            event = get()
            kind = type(event)
            if kind is SequenceEndEvent:
                break
            if kind is ScalarEvent and event.anchor is None and event.tag is None:
                below = None
                if event.implicit[0]:
                    value = values.get(event.value, _MISSING)
                    if value is _MISSING:
                        value = self.plain(event)
                else:
                    value = event.value
            else:
                value, below = self.node(event, depth)
            out.append(value)
            if tree is not None:
                at = event.start_mark
                tree.append((at.line + 1, at.column + 1, below))
        self.nodes += len(out) + 1
        return out, tree

    def opened(self, event: Any, depth: int, name: str) -> None:
        if depth > MAX_DEPTH:
            raise Stop(self.problem(event, f"nested more than {MAX_DEPTH} levels deep"))
        if event.tag is not None and event.tag not in ("!", _CORE + name):
            self.problems.append(self.bad_tag(event))

    def alias(self, event: Any) -> Any:
        if event.anchor not in self.anchors:
            raise Stop(
                self.problem(
                    event, f"undefined alias *{event.anchor}", "define it before, or quote a text that starts with *"
                )
            )
        known = self.anchors[event.anchor]
        if known is None:
            raise Stop(self.problem(event, f"alias *{event.anchor} stands inside its own anchor"))
        value, size = known
        self.nodes += size
        self.aliased += size
        if self.aliased > MAX_ALIASED:
            raise Stop(self.problem(event, f"aliases expand to more than {MAX_ALIASED:,} values"))
        return value

    # -- keys -------------------------------------------------------------------------------------------------------

    def key(self, event: Any) -> Any:
        """The key of a plain scalar: Helm's, so that ``80`` is ``"80"`` and ``on`` is ``"true"``."""
        text = event.value
        seen = len(self.problems)
        key = MERGE if text == "<<" else self.key_text(self.plain(event), event)
        if len(text) <= _MEMO_TEXT and len(self.keys) < _MEMO_SIZE and seen == len(self.problems):
            self.keys[text] = key
        return key

    def odd_key(self, event: Any, depth: int) -> Any:
        value, _ = self.node(event, depth)
        if isinstance(value, (dict, list)):
            what = "list" if isinstance(value, list) else "map"
            self.problems.append(
                self.problem(event, f"a {what} cannot be a key", "quote the key if it is meant as text")
            )
            return str(value)
        return self.key_text(value, event)

    def key_text(self, value: Any, event: Any) -> str:
        if isinstance(value, str):
            return value
        if value is None:
            return "null"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
            return str(int(value))
        return str(value)

    def duplicate(self, key: str, at: Any, tree: dict[str, Any] | None) -> bool:
        """Tells of a key that is there already; whether what stands under it now is left out."""
        if tree is None:
            raise _NeedLines
        self.problems.append(self.twice(key, at, tree[key][0]))
        return True

    def twice(self, key: str, at: Any, line: int) -> Problem:
        place = f"{self.file}:{at.line + 1}:{at.column + 1}"
        return Problem(place, f"key {key!r} is given twice, first in line {line}", "keep one of the two")

    def merge(self, out: dict[str, Any], merged: list[dict[str, Any]], value: Any, event: Any) -> None:
        """Notes a map, or several, to be laid under ``out`` once that is whole."""
        if isinstance(value, dict):
            merged.append(value)
        elif isinstance(value, list) and all(isinstance(part, dict) for part in value):
            merged.extend(reversed(value))
        else:
            self.problems.append(self.problem(event, "'<<' merges a map or a list of maps", "name one with *ANCHOR"))

    # -- scalars ----------------------------------------------------------------------------------------------------

    def plain(self, event: Any) -> Any:
        """The value of a plain scalar, remembered for the next time the same text comes."""
        text = event.value
        seen = len(self.problems)
        value = self.resolve(event)
        if len(text) <= _MEMO_TEXT and len(self.values) < _MEMO_SIZE and seen == len(self.problems):
            self.values[text] = value
        return value

    def resolve(self, event: Any) -> Any:
        text: str = event.value
        for tag, pattern in _resolvers.get(text[:1], ()):
            if pattern.match(text):
                return self.build(tag, text, event)
        return text

    def scalar(self, event: Any) -> Any:
        tag = event.tag
        if tag is None or tag == "!":
            return self.resolve(event) if event.implicit[0] else event.value
        if tag.startswith(_CORE) and tag[len(_CORE) :] in _SCALARS:
            return self.build(tag, event.value, event, explicit=True)
        self.problems.append(self.bad_tag(event))
        return event.value

    def build(self, tag: str, text: str, event: Any, explicit: bool = False) -> Any:
        name = tag[len(_CORE) :]
        try:
            if name == "null":
                return None
            if name == "bool":
                return SafeConstructor.bool_values[text.lower()]
            if name == "binary":
                return _constructor.construct_yaml_binary(ScalarNode(tag, text)).decode()
            if name in ("int", "float") and ":" not in text:
                value = _number(name, tag, text)
                if value - value == 0:
                    return value
                self.unheld(event)
        except (ValueError, LookupError, ArithmeticError):
            if explicit:
                self.problems.append(self.problem(event, f"{text!r} is no {name}"))
        if explicit and name in ("int", "float") and ":" in text:
            self.problems.append(self.problem(event, f"{text!r} is no {name}"))
        return text

    # -- problems ---------------------------------------------------------------------------------------------------

    def problem(self, event: Any, what: str, hint: str = "") -> Problem:
        mark = event.start_mark
        return Problem(f"{self.file}:{mark.line + 1}:{mark.column + 1}", what, hint)

    def unheld(self, event: Any) -> None:
        """Infinity or NaN."""
        self.problems.append(
            self.problem(event, f"{event.value} is no number that JSON can hold", "quote it if it is text")
        )

    def bad_tag(self, event: Any) -> Problem:
        tag = event.tag.replace(_CORE, "!!")
        return self.problem(event, f"tag {tag} is not supported here", "only plain data: texts, numbers, lists, maps")


_SCALARS = frozenset({"null", "bool", "int", "float", "str", "binary", "timestamp"})


def _number(name: str, tag: str, text: str) -> Any:
    node = ScalarNode(tag, text)
    return _constructor.construct_yaml_int(node) if name == "int" else _constructor.construct_yaml_float(node)


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _parser(text: str) -> Any:
    """The function that gives the next event: libyaml's, or PyYAML's own where it was built without libyaml."""
    try:
        from yaml._yaml import CParser
    except ImportError:
        from yaml.parser import Parser
        from yaml.reader import Reader
        from yaml.scanner import Scanner

        class PureParser(Reader, Scanner, Parser):
            def __init__(self, text: str) -> None:
                Reader.__init__(self, text)
                Scanner.__init__(self)
                Parser.__init__(self)

        return PureParser(text).get_event
    return CParser(text).get_event

"""The library: the functions as templates see them, called or as filters, with care for what they are given."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from jinja2.runtime import Undefined
from jinja2.utils import _PassArg

from pvehelm.chart.dialect import Dialect, Missing, Poison
from pvehelm.chart.functions import FUNCTIONS, SUBJECT_FIRST, Failed, FunctionError, Text
from pvehelm.chart.functions.common import string, text
from pvehelm.chart.functions.strings import indent
from pvehelm.chart.kept import RANDOM, Kept
from pvehelm.chart.names import Made
from pvehelm.chart.secrets import OF_LISTS, OPAQUE, Tokens
from pvehelm.chart.traced import RAW, Traced, assemble
from pvehelm.chart.trouble import Abort, Trouble, wording


def _words(names: str) -> frozenset[str]:
    return frozenset(names.split())


#: Functions for which an undefined value is null: asking for what may be missing is what they are for.
_TOLERANT = _words("default required coalesce empty ternary all any kindOf typeOf kindIs typeIs typeIsLike")
#: Functions whose result is text of a template when what they change is.
_TEXTUAL = _words(
    "upper lower title untitle swapcase replace trunc trimSuffix trimPrefix trimAll trimall substr nospace repeat "
    "regexReplaceAll regexReplaceAllLiteral mustRegexReplaceAll mustRegexReplaceAllLiteral regexFind capitalize"
)
_CHANGING = _words("set unset merge mergeOverwrite mustMerge mustMergeOverwrite")
#: Filters of Jinja2 that stay although Sprig has the name, those that go, and tests that look into nothing.
_NATIVE = _words("list max min")
_DROPPED = _words(
    "attr xmlattr urlize escape e safe forceescape striptags pprint random tojson format string filesizeformat"
)
_HARMLESS = _words("defined undefined none string mapping sequence iterable boolean")


#: ... that may be called in Jinja2's way.
_OTHERWISE = _words("default join trim round")
#: Filters that are another one's name.
_ALIASES = {"d": "default", "tojson": "toJson", "string": "toString", "float": "float64"}


class Library:
    """Puts the functions into an environment. ``own`` are those that need the engine."""

    def __init__(
        self, env: Dialect, tokens: Tokens, trouble: Trouble, own: dict[str, Callable[..., Any]], kept: Kept
    ) -> None:
        self.env = env
        self.tokens = tokens
        self.trouble = trouble
        self.kept = kept
        self.functions: dict[str, Any] = {
            **FUNCTIONS,
            **own,
            "sensitive": tokens.sensitive,
            "indent": _indent,
            "nindent": _nindent,
            "trim": _trim,
        }
        #: What Jinja2 has itself.
        self.filters: dict[str, Any] = {name: one for name, one in env.filters.items() if name not in _DROPPED}
        self.tests: dict[str, Any] = dict(env.tests)
        self.globals: dict[str, Any] = dict(env.globals)
        for name in ("lipsum", "cycler", "joiner", "dict"):
            self.globals.pop(name, None)
        env.filters = Made([*self.filters, *(self.functions.keys() - _NATIVE), *_ALIASES, "format"], self._as_filter)
        env.tests = Made(self.tests, self._as_test)
        env.globals = Made([*self.globals, *self.functions], self._as_global)

    def _as_global(self, name: str) -> Any:
        return self._function(name) if name in self.functions else self.globals[name]

    def _function(self, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] = self.functions[name]
        if name in RANDOM:
            function = self.kept.once(name, function)
        return self._guarded(name, function)

    def _as_filter(self, name: str) -> Callable[..., Any]:
        if name == "format":
            return self._guarded("printf", FUNCTIONS["printf"])
        name = _ALIASES.get(name, name)
        if name not in self.functions or name in _NATIVE:
            return self._guarded(name, self.filters[name], native=True)
        function = self._function(name)
        return function if name == "sensitive" else self._filter(name, function)

    def _as_test(self, name: str) -> Callable[..., Any]:
        native: Callable[..., Any] = self.tests[name]
        return native if name in _HARMLESS else self._guarded(name, native, native=True, record=False)

    def _filter(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``value | name(args)``: the value is Sprig's last argument, or its subject."""
        subject = SUBJECT_FIRST.get(name)
        with_context = _PassArg.from_obj(function) is _PassArg.context
        lead = 1 if with_context else 0
        if subject is None and not with_context and name not in _OTHERWISE:

            @functools.wraps(function)
            def last(value: Any, *rest: Any, **options: Any) -> Any:
                return function(*rest, value, **options)

            return last

        @functools.wraps(function)
        def filtered(*args: Any, **options: Any) -> Any:
            head, value, rest = args[:lead], args[lead], args[lead + 1 :]
            if name == "default" and len(rest) == 2:
                # Jinja2's habit: the second argument says whether empty values count as well.
                always, rest = rest[1], rest[:1]
                if not always:
                    return rest[0] if value is None or isinstance(value, Missing) else value
            if name == "join" and "attribute" in options:
                value = [self.env.getattr(item, options["attribute"]) for item in value]
                options = {}
            if name == "join" and not rest and not options:
                rest = ("",)  # as in Jinja2
            if name == "trim" and rest:
                return function(value, *rest)
            if name == "round" and rest and isinstance(rest[-1], str):
                method, rest = rest[-1], rest[:-1]
                if method in ("floor", "ceil"):
                    scale = 10 ** int(rest[0] if rest else 0)
                    return FUNCTIONS[method](value * scale) / scale
            if subject is not None and (isinstance(value, subject) or _is_iterator(value, subject)):
                return function(*head, value, *rest, **options)
            return function(*head, *rest, value, **options)

        return filtered

    def _guarded(
        self, name: str, function: Callable[..., Any], *, native: bool = False, record: bool = True
    ) -> Callable[..., Any]:
        """``function`` with care: undefined values, secret references, read-only values, and errors with places."""
        tolerant, opaque = name in _TOLERANT, name in OPAQUE or (name.startswith("must") and _must(name) in OPAQUE)
        textual = name in _TEXTUAL
        tokens, paths = self.tokens, self.env.paths

        @functools.wraps(function)
        def called(*args: Any, **options: Any) -> Any:
            for value in args:
                if isinstance(value, Undefined):
                    if isinstance(value, Poison) and record:
                        return value
                    if tolerant:
                        args = tuple(None if isinstance(arg, Undefined) else arg for arg in args)
                        break
                    if record and isinstance(value, Missing) and not native:
                        self.trouble.undefined(value)
                        return Poison()
            try:
                if tokens:
                    if not opaque or (name == "dictsort" and "value" in (*args[1:], *options.values())):
                        # What is made while it is looked at has to be there first.
                        args = tuple(list(arg) if hasattr(arg, "__next__") else arg for arg in args)
                        for value in (*args, *options.values()):
                            tokens.guard(value)
                    elif native or name in OF_LISTS:
                        for value in args:
                            tokens.guard(value, 0)
                if name in _CHANGING and args and id(args[0]) in paths:
                    path = paths[id(args[0])]
                    raise FunctionError(f"{path} cannot be changed; {name} works on a copy: deepCopy({path})")
                result = function(*args, **options)
                if textual and type(result) is str and any(isinstance(value, Text) for value in args):
                    return Text(result)
                return result
            except FunctionError as error:
                if not record:
                    raise
                self.trouble.record(
                    self.trouble.here(), f"{name}: {error}" if not str(error).startswith(name) else str(error)
                )
            except Failed as error:
                self.trouble.record(self.trouble.here(), f"{error}", self._hint_for(name))
                if name == "fail":
                    raise Abort from None
            except (TypeError, AttributeError, ValueError, OverflowError) as error:
                if not record or native:
                    raise
                self.trouble.record(self.trouble.here(), wording(name, error))
            return Poison()

        return called

    def _hint_for(self, name: str) -> str:
        return "give the value with --set or in a values file" if name == "required" else ""


def _must(name: str) -> str:
    return name[4:5].lower() + name[5:]


def _is_iterator(value: Any, subject: Any) -> bool:
    return subject is list and (hasattr(value, "__next__") or isinstance(value, (tuple, range)))


def _indent(count: Any, value: Any = "", first: Any = True, blank: Any = True) -> Text:
    """Sprig's indent; ``first=false`` and ``blank=false`` as in Jinja2 leave the first line and empty lines."""
    if isinstance(value, bool):  # text | indent(4, true) in Jinja2's order arrives as (4, true, text)
        first, value, blank = value, first, True
    if first and blank:
        return value.indented(int(count)) if isinstance(value, Traced) else indent(count, value)
    head, *lines = text(value).split("\n")
    pad = " " * int(count)
    shown = [(pad if first else "") + head, *(pad + line if line or blank else line for line in lines)]
    return Text("\n".join(shown))


def _nindent(count: Any, value: Any) -> Text:
    if isinstance(value, Traced) and value.segments:
        segment = value.segments[0]
        return assemble(
            [(segment.template, segment.position, "\n", RAW), ("", 0, value.indented(int(count)), RAW)], scalars=False
        )
    return Text("\n" + indent(count, value))


def _trim(value: Any, chars: Any = None) -> str:
    if isinstance(value, Traced) and chars is None:
        start = len(value) - len(value.lstrip())
        return value.part(start, len(value.rstrip())) if start < len(value) else Text()
    stripped = string(value).strip(None if chars is None else string(chars))
    return Text(stripped) if isinstance(value, Text) else stripped

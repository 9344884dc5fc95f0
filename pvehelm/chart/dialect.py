"""The dialect: Jinja2, sandboxed and strict, whose code knows line and column of everything it prints.

What differs from plain Jinja2:

* positions carry a column (``traced.pack``), and templates yield pieces (``traced.Piece``);
* ``{% define "name" %}...{% enddefine %}`` makes a named template for ``include``;
* a key of a map wins over the map's methods, and only harmless methods are there at all;
* an undefined value may be passed to ``default`` and its like from any depth, and is an error everywhere else.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pvehelm.chart.functions.common import MAX_TEXT, FunctionError, Text, kind, text
from pvehelm.chart.functions.dates import attribute as date_attribute
from pvehelm.chart.names import Names
from pvehelm.chart.traced import pack, unpack
from pvehelm.suggest import suggest

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.lexer import TokenStream

#: What the blocks of named templates begin with.
DEFINE = "define_"

_METHODS: dict[type, frozenset[str]] = {
    dict: frozenset({"items", "keys", "values", "get"}),
    str: frozenset(
        {
            "upper",
            "lower",
            "strip",
            "lstrip",
            "rstrip",
            "split",
            "rsplit",
            "splitlines",
            "startswith",
            "endswith",
            "replace",
            "title",
            "capitalize",
            "find",
            "rfind",
            "count",
            "join",
            "removeprefix",
            "removesuffix",
            "isdigit",
            "isalpha",
            "isalnum",
            "partition",
            "rpartition",
            "swapcase",
        }
    ),
    list: frozenset({"index", "count"}),
    tuple: frozenset({"index", "count"}),
}


class Missing(StrictUndefined):
    """An undefined value: what is below it is just as missing, and using any of it is the error."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def _fail(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise UndefinedValue(self)

    def __getitem__(self, name: Any) -> Any:
        return self

    _fail_with_undefined_error = _fail
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _fail
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _fail
    __pos__ = __neg__ = __call__ = __lt__ = __le__ = __gt__ = __ge__ = _fail
    __int__ = __float__ = __complex__ = __pow__ = __rpow__ = _fail
    __iter__ = __str__ = __len__ = __bool__ = __contains__ = _fail
    __eq__ = __ne__ = _fail
    __hash__ = Undefined.__hash__  # type: ignore[assignment]


class Poison(Missing):
    """Stands for a value whose problem has been recorded, so that rendering goes on and finds the others."""

    __slots__ = ()


class UndefinedValue(UndefinedError):
    """An undefined value was used."""

    def __init__(self, value: Missing) -> None:
        super().__init__(value._undefined_hint or f"{value._undefined_name!r} is not defined")
        self.value = value


class Dialect(ImmutableSandboxedEnvironment):
    """The environment. ``emit``, ``joined`` and ``bare`` are what generated code calls; the engine gives them life."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])

    context_class = Names

    #: Where maps and lists of the values stand, by identity, for messages.
    paths: dict[int, str]

    def __init__(self, **options: Any) -> None:
        super().__init__(
            undefined=Missing,
            optimized=False,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
            cache_size=-1,
            auto_reload=False,
            **options,
        )
        self.paths = {}
        self.filters["_items"] = self.items_of

    # Reading templates

    def _tokenize(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> TokenStream:
        from jinja2.lexer import TokenStream

        tokens = self.lexer.wrap(self._placed(source, name, filename, state), name, filename)
        return TokenStream(tokens, name, filename)

    def _placed(
        self, source: str, name: str | None, filename: str | None, state: str | None
    ) -> Iterator[tuple[int, str, str]]:
        """Jinja2's tokens with their columns: each is a piece of the source, and only blanks lie between."""
        body = source.replace("\r\n", "\n").replace("\r", "\n")
        at, line, start = 0, 1, 0
        try:
            for lineno, token, value in self.lexer.tokeniter(source, name, filename, state):
                found = at if body.startswith(value, at) else body.find(value, at)
                if found >= 0:
                    line += body.count("\n", at, found)
                    start = body.rfind("\n", 0, found) + 1
                    yield pack(line, found - start + 1), token, value
                    line += body.count("\n", found, found + len(value))
                    at = found + len(value)
                else:
                    yield pack(lineno, 1), token, value
        except TemplateSyntaxError as error:
            if error.lineno > 0xFFFF:
                raise
            message, sep, offset = (error.message or "").rpartition(" at ")
            column = at - start + 1 if error.lineno == line else 1
            if sep and offset.isdigit():
                column = int(offset) - body.rfind("\n", 0, int(offset))
            else:
                message = error.message or ""
            raise TemplateSyntaxError(message, pack(error.lineno, column), name, filename) from None

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if not self.extensions:
            # What only compiling needs is there when something is to be compiled.
            from pvehelm.chart.generator import Define, Generator

            self.code_generator_class = Generator
            for extension in (Define, "jinja2.ext.do", "jinja2.ext.loopcontrols"):
                self.add_extension(extension)
        from jinja2 import nodes

        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "_items", [], [], None, None, lineno=loop.iter.lineno)
        return tree

    def handle_exception(self, source: str | None = None) -> NoReturn:
        # Jinja2 would rewrite the traceback with padding up to the line number, which here carries a column.
        import sys

        error = sys.exc_info()[1]
        assert error is not None
        raise error

    # What templates may reach

    def getattr(self, obj: Any, attribute: str) -> Any:
        # Nearly always a key of a map.
        return obj[attribute] if isinstance(obj, dict) and attribute in obj else self._reached(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, Missing):
            raise UndefinedValue(argument)
        if isinstance(argument, slice):
            if isinstance(obj, Missing):
                return obj
            if not isinstance(obj, (str, list, tuple, range)):
                raise FunctionError(f"{kind(obj)} cannot be sliced")
            if isinstance(obj, str):
                self.bare(obj)
            return obj[argument]
        if isinstance(argument, str) and not isinstance(obj, (list, tuple, str)):
            return self._reached(obj, argument)
        if isinstance(obj, Missing):
            return obj
        if isinstance(obj, dict):
            return obj[argument] if argument in obj else self.missing(obj, argument)
        if isinstance(obj, (str, list, tuple, range)) and isinstance(argument, int):
            if isinstance(obj, str):
                self.bare(obj)
            return obj[argument] if -len(obj) <= argument < len(obj) else self.missing(obj, argument)
        return self.missing(obj, argument)

    def _reached(self, obj: Any, name: str) -> Any:
        if isinstance(obj, dict):
            if name in obj:
                return obj[name]
        elif isinstance(obj, Missing):
            return obj
        for known, methods in _METHODS.items():
            if isinstance(obj, known):
                allowed = methods | getattr(obj, "methods", frozenset())
                if name not in allowed:
                    return self.missing(obj, name)
                if known is not dict:
                    # A map's methods pass on what it holds and look into nothing.
                    self.bare(obj)
                return getattr(obj, name)
        if obj is None or isinstance(obj, (bool, int, float)) or name.startswith("_"):
            return self.missing(obj, name)
        if type(obj) is LoopContext:
            # It has nothing that others must not see but what begins with an underscore.
            try:
                return getattr(obj, name)
            except AttributeError:
                return super().getattr(obj, name)
        if isinstance(obj, datetime.datetime):
            try:
                return date_attribute(obj, name)
            except AttributeError:
                return self.missing(obj, name)
        if type(obj).__module__.startswith("jinja2.") and not isinstance(obj, Macro):
            return super().getattr(obj, name)
        return self.missing(obj, name)

    def missing(self, obj: Any, name: Any) -> Missing:
        """The undefined value for a name that ``obj`` does not have, with the message it will give."""
        shown = name if isinstance(name, str) else text(name)
        if isinstance(name, str) and name.startswith("_"):
            return Missing(f"{shown!r} is not for templates", obj, shown, SecurityError)
        path = self.paths.get(id(obj), "") if isinstance(obj, (dict, list)) else ""
        if isinstance(obj, dict):
            hint = f"{path}.{shown} is not defined" if path else f"the map has no key {shown!r}"
        elif isinstance(obj, (list, tuple)):
            hint = f"{path or 'the list'} has {len(obj)} items, none is {shown!r}"
        else:
            hint = f"{kind(obj)} has no {shown!r}"
        return Missing(hint, obj, shown)

    def hint(self, value: Missing, names: Any = ()) -> str:
        """What to do about an undefined value: the names it could have been."""
        obj = value._undefined_obj
        name = value._undefined_name or ""
        known = [str(key) for key in obj] if isinstance(obj, dict) else list(names) if not value._undefined_hint else []
        path = self.paths.get(id(obj), "") if isinstance(obj, dict) else ""
        dashed = next((key for key in known if key.startswith(f"{name}-")), None)
        if dashed and path:
            # Values.my-key is a subtraction to Jinja2.
            return f'did you mean {path}["{dashed}"]? A key with a dash stands in brackets'
        close = suggest(str(name), known)
        if close:
            return f"did you mean {path}.{close}?" if path else f"did you mean {close}?"
        if isinstance(obj, dict):
            if not obj:
                return f"{path or 'it'} is empty; default(...) gives a value for what may be missing"
            return f"known there: {', '.join(sorted(known)[:12])}{', ...' if len(known) > 12 else ''}"
        if callable(obj) and obj is self.globals.get("values"):
            return f"did you mean Values.{name}?"
        if obj is None:
            return "default(...) gives a value for what may be null"
        if isinstance(obj, (list, tuple)) and name in ("append", "extend", "insert"):
            return "append(list, item) makes a longer list"
        return ""

    def items_of(self, value: Any) -> Any:
        """What a loop runs over; looping over the letters of a text is nearly always a mistake."""
        if value is None:
            return []
        if isinstance(value, Missing):
            raise UndefinedValue(value)
        if isinstance(value, (str, int, float, bool)):
            self.bare(value)
            raise FunctionError(f"a loop runs over a list or a map, not over {kind(value)}")
        return value

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        for side in (left, right):
            if isinstance(side, Missing):
                raise UndefinedValue(side)
        texts = isinstance(left, str) and isinstance(right, str)
        if operator == "+" and texts:
            return self.joined((left, right))
        if operator == "%" and isinstance(left, str):
            from pvehelm.chart.functions.strings import printf

            return printf(left, *(right if isinstance(right, tuple) else (right,)))
        self.bare(left)
        self.bare(right)
        _bounded(operator, left, right)
        try:
            return super().call_binop(context, operator, left, right)
        except ZeroDivisionError:
            raise FunctionError("division by zero") from None
        except TypeError:
            hint = "; ~ joins anything as text" if operator == "+" else ""
            raise FunctionError(f"{kind(left)} {operator} {kind(right)} makes no sense{hint}") from None

    # What generated code calls; the engine replaces these

    def emit(self, template: str, position: int, value: Any) -> Any:
        raise NotImplementedError

    def bare(self, value: Any) -> Any:
        return value

    def captured(self, value: Any) -> Any:
        return Text(value) if type(value) is str else value

    def joined(self, parts: tuple[Any, ...]) -> str:
        for part in parts:
            if isinstance(part, Missing):
                raise UndefinedValue(part)
        return "".join(text(part) for part in parts)


def define_key(name: str) -> str:
    """The name of the block that holds the named template ``name``."""
    return DEFINE + name.encode("utf-8").hex()


def define_names(blocks: Any) -> list[str]:
    """The named templates among the blocks of a compiled template."""
    return [bytes.fromhex(key[len(DEFINE) :]).decode() for key in blocks if key.startswith(DEFINE)]


def _bounded(operator: str, left: Any, right: Any) -> None:
    """Refuses what would make a huge number, text or list out of small ones."""
    if isinstance(left, int) and isinstance(right, int):
        if operator == "**" and right * max(left.bit_length(), 1) > 4096:
            raise FunctionError("the power is too large")
        if operator == "*" and left.bit_length() + right.bit_length() > 8192:
            raise FunctionError("the product is too large")
    elif operator == "*" and (isinstance(left, int) or isinstance(right, int)):
        many, times = (right, left) if isinstance(left, int) else (left, right)
        if isinstance(many, (str, list, tuple)) and len(many) * times > MAX_TEXT // 8:
            raise FunctionError("the repetition is too large")


def syntax_place(error: TemplateSyntaxError) -> tuple[int, int]:
    """Line and column of a syntax error."""
    return unpack(error.lineno)


__all__ = [
    "Dialect",
    "Missing",
    "Poison",
    "UndefinedValue",
    "define_key",
    "define_names",
    "syntax_place",
]

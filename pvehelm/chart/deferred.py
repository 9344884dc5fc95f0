"""What libraries import for rare uses is imported when it is used.

Jinja2 imports a dozen modules of Python's own for what a rendering hardly ever does (temporary files, hashes of
OpenSSL, sources of functions), and its own compiler, which nobody needs whose templates are compiled already: more than
half of the time that importing it takes. Within ``deferred()`` a library that imports one of them gets a stand-in,
which imports the module as soon as anything is asked of it. What the library takes out of it by name, as in ``from
random import choice``, is a stand-in as well if it is one of those known here, which are called or asked about later or
never; anything else is the real thing at once.

Only for processes that are ours alone and where one thread imports: another one that imports such a module meanwhile
would get the stand-in as well, which is as good but not the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

#: Modules, and what is taken out of them by name.
Table = Mapping[str, tuple[str, ...]]

RARE: Table = {
    "ast": ("literal_eval",),
    "datetime": (),
    "decimal": (),
    "fnmatch": (),
    "hashlib": ("sha1",),
    "inspect": ("getattr_static",),
    "pprint": (),
    "random": ("choice", "randrange"),
    "secrets": (),
    "tempfile": (),
    "urllib.parse": ("quote_from_bytes",),
}
#: What Jinja2 reads, compiles and keeps templates with.
COMPILER: Table = {
    "jinja2.bccache": ("BytecodeCache", "FileSystemBytecodeCache", "MemcachedBytecodeCache"),
    "jinja2.compiler": ("CodeGenerator", "generate"),
    "jinja2.lexer": ("Lexer", "TokenStream", "get_lexer"),
    "jinja2.loaders": (
        "BaseLoader",
        "ChoiceLoader",
        "DictLoader",
        "FileSystemLoader",
        "FunctionLoader",
        "ModuleLoader",
        "PackageLoader",
        "PrefixLoader",
    ),
    "jinja2.nodes": ("EvalContext", "Template"),
    "jinja2.parser": ("Parser",),
}


@contextmanager
def deferred(*tables: Table) -> Iterator[None]:
    """While it lasts, imports of modules of ``tables`` that are not there yet give stand-ins."""
    named = {name: parts for table in tables for name, parts in table.items()}
    made = {name: _Later(name, parts) for name, parts in named.items() if name not in sys.modules}
    sys.modules.update(made)
    try:
        for name, one in made.items():
            above, _, own = name.rpartition(".")
            if above:
                setattr(import_module(above), own, one)
        yield
    finally:
        for name, one in made.items():
            # Whoever imports it from now on gets the module itself.
            if sys.modules.get(name) is one:
                del sys.modules[name]


def stand_in(name: str, *parts: str) -> None:
    """Puts a stand-in for a module that only its own package imports, and that may never be asked for."""
    sys.modules.setdefault(name, _Later(name, parts))


class _Later(ModuleType):
    """Stands for a module until something is asked of it."""

    def __init__(self, name: str, parts: tuple[str, ...]) -> None:
        super().__init__(name)
        self.__dict__["_parts"] = parts

    def __getattr__(self, name: str) -> Any:
        waits = sys.modules.get(self.__name__) is self
        if waits and name.startswith("__"):
            # The import system wants to know whether there are modules below this one.
            raise AttributeError(name)
        if waits and name in self.__dict__["_parts"]:
            return _Part(
                lambda: getattr(self._module(), name), lambda: sys.modules.get(self.__name__, self) is not self
            )
        return getattr(self._module(), name)

    def _module(self) -> ModuleType:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return import_module(self.__name__)


class _Part:
    """Stands for a function or a class of such a module: to call, to ask about, to derive from, to name in a type.

    A class of a module that is not ``there`` has no instances and nothing derived from it.
    """

    def __init__(self, real: Callable[[], Any], there: Callable[[], bool] = lambda: True) -> None:
        self._real, self._there = real, there

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._real()(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name == "__parameters__" or name.startswith("__typing_"):
            # Asked of whatever stands in a type; none of those here is generic.
            raise AttributeError(name)
        return getattr(self._real(), name)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (self._real(),)

    def __instancecheck__(self, value: object) -> bool:
        return self._there() and isinstance(value, self._real())

    def __subclasscheck__(self, other: type) -> bool:
        return self._there() and issubclass(other, self._real())

    def __eq__(self, other: object) -> bool:
        return self is other or (self._there() and bool(other == self._real()))

    def __hash__(self) -> int:
        return id(self)

    def __or__(self, other: Any) -> _Part:
        return _Part(lambda: self._real() | other)

    def __ror__(self, other: Any) -> _Part:
        return _Part(lambda: other | self._real())

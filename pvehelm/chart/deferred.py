"""What libraries import for rare uses is imported when it is used.

Jinja2 imports a dozen modules of Python's own for what a rendering hardly ever does (temporary files, hashes of
OpenSSL, sources of functions): half of the time that importing it takes. Within ``deferred()`` a library that imports
one of them gets a stand-in, which imports the module as soon as anything is asked of it. What the library takes out of
it by name, ``from random import choice``, is a function that does so when it is called, if it is one of those known to
be functions; anything else is the real thing at once.

Only for processes that are ours alone and have one thread: another one that imports such a module meanwhile would get
the stand-in as well, which is as good but not the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

#: The modules, and what is taken out of them by name: functions, which are called later or never.
RARE: Mapping[str, tuple[str, ...]] = {
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


@contextmanager
def deferred(modules: Mapping[str, tuple[str, ...]] = RARE) -> Iterator[None]:
    """While it lasts, imports of those of ``modules`` that are not there yet give stand-ins."""
    made = {name: _Later(name, functions) for name, functions in modules.items() if name not in sys.modules}
    sys.modules.update(made)
    for name, one in made.items():
        above, _, own = name.rpartition(".")
        if above:
            setattr(import_module(above), own, one)
    try:
        yield
    finally:
        for name, one in made.items():
            # Whoever imports it from now on gets the module itself.
            if sys.modules.get(name) is one:
                del sys.modules[name]


class _Later(ModuleType):
    """Stands for a module until something is asked of it."""

    def __init__(self, name: str, functions: tuple[str, ...]) -> None:
        super().__init__(name)
        self.__dict__["_functions"] = functions

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__") and sys.modules.get(self.__name__) is self:
            # The import system wants to know whether there are modules below this one.
            raise AttributeError(name)
        if name in self.__dict__["_functions"] and sys.modules.get(self.__name__, self) is self:
            return _called(self, name)
        return getattr(self._module(), name)

    def _module(self) -> ModuleType:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return import_module(self.__name__)


def _called(module: _Later, name: str) -> Callable[..., Any]:
    def function(*args: Any, **options: Any) -> Any:
        return getattr(module._module(), name)(*args, **options)

    function.__name__ = function.__qualname__ = name
    return function

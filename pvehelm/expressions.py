"""The expressions: regular expressions that modules begin with, as Python compiled them before.

Python compiles them anew in each process, and in Python: for a command that asks a server this is a fifteenth of its
time. What ``re`` hands over to its matcher is a list of numbers, which is kept in an entry of the cache (``entries``);
the matcher checks it, as always. Only what stands in modules and in classes is kept: such an entry follows from code,
and holds nothing of anybody's. Only for processes that are ours, as the ``bundle``, which does this for modules.
"""

from __future__ import annotations

import marshal
import re
import sys
import types
import warnings
from array import array
from typing import Any

from pvehelm import entries

_PLACE = "expressions"
#: So many have to be missing before they are written.
_WORTH = 4
_MOST = 4000
#: The flag of a function's code, which modules and classes lack.
_OPTIMIZED = 1
_NEVER = int(re.LOCALE | re.DEBUG)

#: Whether it is one for bytes, its flags, and its text.
Key = tuple[bool, int, str | bytes]


class Expressions:
    """What was compiled before, and what was ``missed``; ``compiler`` is that of ``re``."""

    def __init__(self, compiler: Any, name: str) -> None:
        self.name = name
        self.known: dict[Key, tuple[Any, ...]] = {}
        self.missed: list[Key] = []
        self._matcher, self._compile = compiler._sre, compiler.compile
        self._globals = vars(compiler)
        if body := entries.load(entries.directory(_PLACE), name):
            self.known = marshal.loads(body)

    def compile(self, pattern: Any, flags: int = 0) -> Any:
        """As the compiler's own."""
        plain = type(pattern) is str or type(pattern) is bytes
        key: Key = (type(pattern) is bytes, flags, pattern if plain else "")
        if plain and (told := self.known.get(key)) is not None:
            whole, code, *groups = told
            try:
                return self._matcher.compile(pattern, whole, array("I", code).tolist(), *groups)
            except (RuntimeError, TypeError, ValueError):
                del self.known[key]
        if plain and not flags & _NEVER and _stands_in_code(sys._getframe(1)):
            self.missed.append(key)
        return self._compile(pattern, flags)

    def renew(self) -> None:
        """Keeps what was missed as well, where that is worth it: for the end of a process."""
        place = entries.directory(_PLACE)
        if place is None or len(self.missed) < _WORTH or sys.dont_write_bytecode:
            return
        if len(self.known) > _MOST:
            # Mostly of code that is no more.
            self.known.clear()
        with warnings.catch_warnings():
            # Whoever has compiled it was told.
            warnings.simplefilter("ignore")
            for key in dict.fromkeys(self.missed):
                self.known[key] = self._worked_out(*key)
        entries.save(place, self.name, marshal.dumps(self.known), keep=8)

    def _worked_out(self, _: bool, flags: int, pattern: str | bytes) -> tuple[Any, ...]:
        """What the compiler gives the matcher beside the expression."""
        given: list[Any] = []

        class Matcher:
            compile = staticmethod(lambda *arguments: given.extend(arguments))

        code = self._compile.__code__
        types.FunctionType(code, {**self._globals, "_sre": Matcher}, argdefs=self._compile.__defaults__)(pattern, flags)
        _, whole, numbers, *groups = given
        return (int(whole), array("I", numbers).tobytes(), *groups)


def use() -> Expressions | None:
    """From now on ``re`` asks here before it compiles; None where this Python does that in another way."""
    compiler: Any = getattr(re, "_compiler", None)
    if not isinstance(getattr(compiler, "compile", None), types.FunctionType) or not hasattr(compiler, "_sre"):
        return None
    version = (sys.version.encode(), str(compiler._sre.MAGIC).encode(), str(compiler._sre.CODESIZE).encode())
    found = Expressions(compiler, entries.name_of(version))
    compiler.compile = found.compile
    return found


def _stands_in_code(frame: Any) -> bool:
    """Whether a module or a class that is being made asks ``re``, and no function."""
    while frame is not None and frame.f_globals.get("__name__") == "re":
        frame = frame.f_back
    return frame is not None and not frame.f_code.co_flags & _OPTIMIZED

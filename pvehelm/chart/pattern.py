"""The pattern: a regular expression that is compiled when it is first used.

Compiling is most of what importing a module of many expressions costs, and a command uses few of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, AnyStr, cast

_compile = re.compile


def pattern(text: AnyStr, flags: int | re.RegexFlag = 0) -> re.Pattern[AnyStr]:
    """What ``re.compile`` gives, as far as its methods and attributes go."""
    return cast("re.Pattern[AnyStr]", _Pattern(text, flags))


@contextmanager
def postponed() -> Iterator[None]:
    """While it lasts, what a library compiles when it is imported is such a pattern as well.

    Only where one thread imports, and libraries that ask nothing but methods of what they compile.
    """
    given = re.compile
    re.compile = pattern  # type: ignore[assignment]
    try:
        yield
    finally:
        re.compile = given


class _Pattern:
    def __init__(self, text: Any, flags: int | re.RegexFlag) -> None:
        self._given = (text, flags)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(_compile(*self._given), name)
        # From now on there is no way round through here.
        setattr(self, name, found)
        return found

"""The cache of compiled templates: one entry a chart, named by everything its contents depend on (``entries``).

Compiled code is only ever loaded in the sandbox, and a chart can fill no other entry than its own.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping

from pvehelm.chart import dialects
from pvehelm.entries import directory as _directory
from pvehelm.entries import load, name_of, save

__all__ = ["directory", "key", "load", "save"]


def directory() -> str | None:
    """Where entries are kept; None when there is no directory that is ours alone."""
    return _directory("templates")


def key(sources: Mapping[str, str], dialect: str = "jinja2") -> str:
    """The name of the entry for templates of a dialect: their names and texts, and what compiles them."""
    texts = (text.encode("utf-8", "surrogatepass") for name in sorted(sources) for text in (name, sources[name]))
    return name_of((_compiler(dialect), *texts))


@functools.cache
def _compiler(dialect: str) -> bytes:
    """What compiles templates of a dialect, in a digest."""
    return name_of((dialect.encode(), sys.version.encode()), dialects.sources(dialect)).encode()

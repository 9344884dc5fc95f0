"""The binder makes bundles (``bundle``): it looks for modules where Python would, and keeps the code Python would run.

It is given names and nothing else, takes nothing from the process that needed them, and runs nothing of what it finds.
"""

from __future__ import annotations

import contextlib
import marshal
import os
from collections.abc import Iterable
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder, SourceFileLoader

from pvehelm import bundle

#: What a bundle holds at most: bytes of code, and modules.
_MOST_CODE = 32 * 1024 * 1024
_MOST = 5000


def bound(purpose: str, names: Iterable[str], path: list[str]) -> bytes:
    """The bundle for ``purpose`` with what it has and ``names``, found by ``path`` as in ``sys.path``."""
    parts: dict[str, bundle.Part] = {}
    bodies: list[bytes] = []
    size = 0
    binder = _Binder(path)
    for name in sorted({*_known(purpose, path), *names})[:_MOST]:
        parts[name] = None
        found = binder.part(name)
        if found is None or size + len(found[1]) > _MOST_CODE:
            continue
        where, body = found
        parts[name] = (*where, size, len(body), bundle.sealed(body) if body else b"")
        bodies.append(body)
        size += len(body)
    index = marshal.dumps((bundle.key(purpose, path), parts))
    return b"".join((len(index).to_bytes(8, "little"), bundle.sealed(index), index, *bodies))


def _known(purpose: str, path: list[str]) -> Iterable[str]:
    """What is in the bundle as it is now: another process may have made it since it was read here."""
    found = bundle.opened(purpose, path)
    if found is None:
        return ()
    os.close(found[1])
    return found[0]


class _Binder:
    def __init__(self, path: list[str]) -> None:
        self.path = path
        self.roots = {*bundle.roots(path)}
        self._specs: dict[str, ModuleSpec | None] = {}

    def spec(self, name: str) -> ModuleSpec | None:
        """What Python's own search finds, without importing the packages above."""
        if name not in self._specs:
            above, _, own = name.rpartition(".")
            package = self.spec(above) if above else None
            path = package.submodule_search_locations if package else None if above else self.path
            self._specs[name] = None
            if own.isidentifier() and path is not None:
                with contextlib.suppress(ImportError, OSError, ValueError):
                    self._specs[name] = PathFinder.find_spec(name, path)
        return self._specs[name]

    def part(self, name: str) -> tuple[tuple[str, str, bundle.Look], bytes] | None:
        """Where a module was searched, its file with its look, and its code; None for what has no such place."""
        spec = self.spec(name)
        if spec is None or spec.origin is None or not os.path.isabs(spec.origin):
            return None
        folder = os.path.dirname(spec.origin)
        place = os.path.dirname(folder) if spec.submodule_search_locations is not None else folder
        above = self.spec(name.rpartition(".")[0]) if "." in name else None
        if (above.submodule_search_locations != [place]) if above else place not in self.roots:
            return None
        try:
            seen = bundle.look(spec.origin)
            if type(spec.loader) is SourceFileLoader:
                body = marshal.dumps(spec.loader.get_code(name))
            elif type(spec.loader) is ExtensionFileLoader and spec.submodule_search_locations is None:
                body = b""
            else:
                return None
        except (OSError, ValueError, SyntaxError, ImportError, EOFError, RecursionError):
            # It will be an error for whoever imports it.
            return None
        return (place, spec.origin, seen), body

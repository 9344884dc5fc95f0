"""The bundle: the code of the modules that a process needs, found in one file instead of one by one.

Python looks for a module in one directory after the other, and opens, checks and reads a file for each; for the
hundreds that a short command needs this takes longer than running them. A bundle has their code as Python compiled it,
what their sources looked like then, and where they were found. ``use`` lets it answer before Python searches: with the
same code, the same names of files and the same way to sources and data beside them. A module whose source is not what
it was, or that another directory has come to offer first, is left to Python, and so is what the bundle does not know.

Only for processes that are ours: our command, and children that render (``spare``). A bundle is an entry of the cache
(``entries``), for it is code: nobody else may have been able to write it. It is made by ``binder``, from the files that
Python itself would use.
"""

from __future__ import annotations

import _imp
import marshal
import os
import sys
from _frozen_importlib_external import (
    MAGIC_NUMBER,
    ExtensionFileLoader,
    PathFinder,
    SourceFileLoader,
    spec_from_file_location,
)

from pvehelm import entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
    from typing import TypeAlias

    #: What a file looked like: its size, the time of its content, and that of any change.
    Look: TypeAlias = tuple[int, int, int]
    #: The directory that Python searched and the file that it found there, with its look; where the bundle has its
    #: code, as offset, size and seal, which is empty for an extension module. None: it cannot be in a bundle.
    Part: TypeAlias = tuple[str, str, Look, int, int, bytes] | None

#: What a bundle begins with: the size of its index and the index's seal.
HEAD = 16
#: So many modules have to be missing before a bundle is made anew.
_WORTH = 4


class Bundle:
    """A finder of modules. ``parts`` are those of its file, ``asked`` the names that it could not answer for."""

    def __init__(self, purpose: str) -> None:
        self.purpose = purpose
        self.path = list(sys.path)
        self.here = _here() if "" in self.path else ""
        self.asked: list[str] = []
        self.parts: dict[str, Part] = {}
        #: Of the file; -1 where there is none.
        self.descriptor = -1
        self._start = 0
        if (found := opened(purpose, self.path)) is not None:
            self.parts, self.descriptor, self._start = found
            self.parts.update(dict.fromkeys(self._elsewhere()))

    def _elsewhere(self) -> set[str]:
        """The modules that Python would find in other directories now, or might."""
        names = {name: part[0] for name, part in self.parts.items() if part is not None and "." not in name}
        places = set(names.values())
        ours: set[str] = set()
        taken: set[str] = set()
        for entry in self.path:
            if not isinstance(entry, str):
                continue
            place = entry or self.here
            if place in places:
                ours.update(name for name in names.keys() - taken if names[name] == place)
                places.discard(place)
            if not places:
                break
            if place == _STANDARD:
                continue  # as it was: its version is the bundle's
            try:
                taken.update(name.partition(".")[0] for name in os.listdir(place))
            except FileNotFoundError:
                continue
            except OSError:
                break  # something else than a directory, which others can look into
        return names.keys() - ours

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As the import system asks (``importlib.abc.MetaPathFinder``)."""
        if name not in self.parts:
            self._lack(name)
        part = self.parts[name]
        if part is None:
            return None
        place, file, seen, at, length, seal = part
        if path is None:
            if sys.path != self.path or (self.here and self.here != _here()):
                return None
        elif len(path) != 1 or path[0] != place:
            return None
        try:
            same = look(file) == seen
        except OSError:
            same = False
        if not same:
            self._lack(name)
            return None
        if not seal:
            return spec_from_file_location(name, file, loader=ExtensionFileLoader(name, file))
        loader = _Loader(name, file)
        loader.code = lambda: self._code(at, length, seal)
        folder = os.path.dirname(file)
        return spec_from_file_location(
            name, file, loader=loader, submodule_search_locations=[folder] if folder != place else None
        )

    def _lack(self, name: str) -> None:
        """From now on it is Python's: what is tried again and again, as what is not installed, counts once."""
        self.asked.append(name)
        self.parts[name] = None

    def _code(self, at: int, length: int, seal: bytes) -> CodeType | None:
        try:
            data = os.pread(self.descriptor, length, self._start + at)
        except OSError:
            return None
        return marshal.loads(data) if sealed(data) == seal else None

    @property
    def missed(self) -> list[str]:
        """What it should have had, where that is worth making it anew (``keep``)."""
        return self.asked if len(self.asked) >= _WORTH else []

    def renew(self) -> None:
        """Makes it anew with what it missed, where that is worth it: for the end of a process, it takes a while."""
        keep(self.purpose, self.missed, self.path)

    def close(self) -> None:
        """Closes its file: from now on Python finds the code by itself."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class _Loader(SourceFileLoader):
    """Python's own for files with sources, but for where it has the code from."""

    code: Callable[[], CodeType | None]

    def get_code(self, fullname: str) -> CodeType | None:
        return self.code() or super().get_code(fullname)


def use(purpose: str) -> Bundle | None:
    """Lets the bundle for ``purpose`` answer before Python searches, instead of another one; None where none can."""
    global _used
    # Finders that somebody else has put before Python's own stay before.
    index = next((at for at, finder in enumerate(sys.meta_path) if finder is _used or finder is PathFinder), None)
    if index is None or not hasattr(os, "pread"):
        return None
    if _used is not None:
        sys.meta_path.remove(_used)
        _used.close()
    _used = Bundle(purpose)
    sys.meta_path.insert(index, _used)
    return _used


def keep(purpose: str, names: Iterable[str], path: list[str]) -> None:
    """Makes the bundle for ``purpose`` anew, with these modules as well, for processes that begin with this path."""
    wanted = list(dict.fromkeys(names))
    if not wanted or sys.dont_write_bytecode:
        return
    place = entries.directory(_PLACE)
    if place is None or not os.access(place, os.W_OK):
        return
    try:
        from pvehelm import binder

        made = binder.bound(purpose, wanted, path)
    except Exception:
        return  # what was installed when this process began may have been replaced: the next one makes it
    # Each is some MiB, and hardly anybody has more than two Pythons.
    entries.save(place, name_of(purpose, path), made, keep=8)


def look(file: str) -> Look:
    """Raises OSError. Where all files of an image have one time, that of a change tells its releases apart."""
    about = os.stat(file)
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns


def opened(purpose: str, path: list[str]) -> tuple[dict[str, Part], int, int] | None:
    """The bundle for ``purpose``: its index, a descriptor of its file, and where there its code begins.

    None where there is none that is whole.
    """
    try:
        descriptor = entries.opened(entries.directory(_PLACE), name_of(purpose, path))
    except OSError:
        return None
    try:
        head = os.pread(descriptor, HEAD, entries.SEAL)
        start = entries.SEAL + HEAD + int.from_bytes(head[:8], "little")
        data = os.pread(descriptor, start - entries.SEAL - HEAD, entries.SEAL + HEAD)
        if sealed(data) == head[8:]:
            said, parts = marshal.loads(data)
            if said == key(purpose, path):
                return parts, descriptor, start
    except (OSError, OverflowError, MemoryError):
        pass  # as one that was cut
    os.close(descriptor)
    return None


def key(purpose: str, path: list[str]) -> str:
    """All that has to be the same where a bundle is used."""
    return "\0".join((_LAYOUT, purpose, sys.version, str(MAGIC_NUMBER), str(sys.flags.optimize), *roots(path)))


def roots(path: list[str]) -> list[str]:
    """Directories of modules that stay what they are: Python's own, those installed, ours.

    Others, such as that of a script, differ from one use of a program to the next.
    """
    later = path[path.index(_STANDARD) :] if _STANDARD in path else []
    # As Python does, which searches no other objects.
    return [os.path.dirname(os.path.dirname(__file__)), *(entry for entry in later if isinstance(entry, str))]


def name_of(purpose: str, path: list[str]) -> str:
    """The name of its entry."""
    return f"{purpose}-{sealed(key(purpose, path).encode('utf-8', 'surrogatepass')).hex()}"


def sealed(data: bytes) -> bytes:
    """What tells whether a file was damaged, which is quicker than finding out who did it."""
    return _imp.source_hash(0, data)


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


_PLACE = "bundles"
#: Another one when ``Part`` or what is around it changes: files that older releases made are there for long.
_LAYOUT = "2"
_STANDARD = os.path.dirname(getattr(os, "__file__", os.sep))
_used: Bundle | None = None

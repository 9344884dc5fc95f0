"""The files of a chart, out of a directory or an archive, within bounds that no honest chart meets."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pvehelm.chart import ignore
from pvehelm.chart.pattern import pattern
from pvehelm.errors import InvalidError, Problem

MAX_TOTAL = 100 << 20
MAX_FILE = 5 << 20
MAX_FILES = 10_000
MAX_RATIO = 200
RATIO_FREE = 10 << 20
MAX_NESTED = 10
MAX_PATH = 1024
MAX_NAME = 255
MAX_HEADER = 64 << 10
MAX_MEMBERS = 1000

_MIB = 1 << 20
#: Names that mean something else on Windows: drives and streams, devices, and ends that are cut off.
_ELSEWHERE = pattern(r"[^:]*:|[^/]*[. ]\Z|(?i:con|prn|aux|nul|com\d|lpt\d)(?:\.|\Z)")


def _shown(path: str) -> str:
    """A name as it may be printed: it may hold bytes that are no text, or commands to a terminal."""
    shown = path if path.isprintable() else path.encode("unicode_escape").decode()
    return shown if len(shown) <= 400 else f"{shown[:400]}..."


def _odd(path: str) -> str:
    """What is wrong with the name of a file, wherever it is unpacked; "" if nothing is."""
    if not path.isprintable() or "\\" in path:
        return "the name holds characters that a chart's files may not have"
    if len(path.encode()) > MAX_PATH or any(len(name.encode()) > MAX_NAME for name in path.split("/")):
        return f"the name is too long: {MAX_PATH} bytes, and {MAX_NAME} from one slash to the next, are the most"
    return ""


class Budget:
    """What one chart may still hold, counted over its subcharts' archives too."""

    def __init__(self, total: int = MAX_TOTAL, files: int = MAX_FILES) -> None:
        self.total = total
        self.files = files
        self.nested = 0
        self.problems: list[Problem] = []

    @property
    def spent(self) -> bool:
        return self.files < 0 or self.total < 0

    def take(self, where: str, size: int) -> bool:
        """Account for one file; False (and a problem, once) when it is beyond a bound."""
        if size > MAX_FILE:
            self.problems.append(
                Problem(where, f"the file has {size / _MIB:.1f} MiB, a chart's may have {MAX_FILE // _MIB}")
            )
            return False
        self.files -= 1
        self.total -= size
        if self.files == -1:
            self.problems.append(Problem(where, f"a chart may have {MAX_FILES:,} files, and this is one more"))
        if self.total < 0 <= self.total + size:
            self.problems.append(Problem(where, f"with this file the chart exceeds {MAX_TOTAL // _MIB} MiB"))
        return not self.spent


def read_directory(root: str | os.PathLike[str], budget: Budget) -> dict[str, bytes]:
    """The files below ``root`` that ``.helmignore`` leaves, by path relative to it, sorted."""
    top = os.fspath(root)
    rules = None
    listed = os.path.join(top, ".helmignore")
    if os.path.isfile(listed) and not os.path.islink(listed):
        text = _bounded(listed).decode("utf-8", "replace")
        try:
            rules = ignore.parse(text, file=listed)
        except InvalidError as error:
            budget.problems.extend(error.problems)
    walk = _Walk(top, ignore.with_defaults(rules), budget)
    walk.folder(top, "", ())
    for path, what in _clashes(walk.found):
        walk.bad(path, what)
    return dict(sorted(walk.found.items()))


class _Walk:
    def __init__(self, root: str, rules: ignore.Rules, budget: Budget) -> None:
        self.root = root
        self.real = os.path.realpath(root)
        self.rules = rules
        self.budget = budget
        self.found: dict[str, bytes] = {}

    def bad(self, path: str, what: str, hint: str = "") -> None:
        where = os.path.join(self.root, path).rstrip("/") or "/"
        self.budget.problems.append(Problem(_shown(where), what, hint))

    def folder(self, folder: str, prefix: str, above: tuple[str, ...]) -> None:
        real = os.path.realpath(folder)
        if real in above:
            self.bad(prefix, "the link leads back to a folder that it is in", "remove it, or name it in .helmignore")
            return
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self.bad(prefix, f"cannot be read: {error.strerror}")
            return
        for entry in entries:
            path = f"{prefix}{entry.name}"
            try:
                self.entry(entry, path, (*above, real))
            except OSError as error:
                self.bad(path, f"cannot be read: {error.strerror}")
            if self.budget.spent:
                return

    def entry(self, entry: os.DirEntry[str], path: str, above: tuple[str, ...]) -> None:
        try:
            directory = entry.is_dir()
        except OSError:  # a loop of links
            directory = False
        if self.rules.ignores(path, directory=directory):
            return
        odd = _odd(path)
        if odd:
            self.bad(path, odd)
            return
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            if os.path.commonpath((self.real, target)) != self.real:
                self.bad(path, "the link leads out of the chart", "copy the file in, or name it in .helmignore")
                return
        if directory:
            self.folder(entry.path, f"{path}/", above)
            return
        found = entry.stat()
        if not stat.S_ISREG(found.st_mode):
            self.bad(path, "is no regular file", "remove it, or name it in .helmignore")
        elif self.budget.take(os.path.join(self.root, path), found.st_size):
            self.found[path] = _bounded(entry.path, found.st_size)


def _clashes(found: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """Files that cannot lie beside each other anywhere: one name written in two ways, a file that is a folder."""
    known: dict[str, str] = {}
    folders: set[str] = set()
    for path in found:
        plain = _composed(path)
        if plain in known:
            yield path, f"some systems take it for the same file as {known[plain]}"
        known[plain] = path
        above = plain.rpartition("/")[0]
        while above and above not in folders:
            folders.add(above)
            above = above.rpartition("/")[0]
    yield from ((known[plain], "is a file and a folder") for plain in known if plain in folders)


def alike(found: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Files whose names differ in case only, each with the one before it: some systems cannot hold both."""
    known: dict[str, str] = {}
    for path in found:
        before = known.setdefault(_composed(path).casefold(), path)
        if before != path:
            yield path, before


def _composed(path: str) -> str:
    if path.isascii():
        return path
    import unicodedata

    return unicodedata.normalize("NFC", path)


def _bounded(path: str, size: int = MAX_FILE) -> bytes:
    # The size was asked for a moment ago; a file that grows meanwhile must not be read without end.
    with open(path, "rb", buffering=0) as file:
        content = file.read(min(size, MAX_FILE) + 1)
        while content and len(content) < MAX_FILE and (more := file.read(MAX_FILE - len(content))):
            content += more
    return content[:MAX_FILE]


def read_archive(data: bytes, *, name: str, budget: Budget) -> dict[str, bytes]:
    """The files of a packaged chart by path below its top folder, sorted. Problems go to the budget."""
    import io
    import tarfile
    import zlib

    budget.nested += 1
    if budget.nested > MAX_NESTED:
        budget.problems.append(Problem(name, f"archives within archives, more than {MAX_NESTED}"))
        return {}
    found: dict[str, bytes] = {}
    top = ""
    try:
        plain = gunzip(data, budget.total + RATIO_FREE)
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:", tarinfo=_member_class()) as archive:
            for count, member in enumerate(_members(archive)):
                if count > 2 * MAX_FILES:
                    raise ValueError(f"more than {2 * MAX_FILES:,} entries")
                path = _member_path(member, found, name, budget, top)
                if path is None:
                    continue
                top = top or member.name.removeprefix("./").lstrip("/").partition("/")[0]
                if not budget.take(f"{name}:{path}", member.size):
                    if budget.spent:
                        break
                    continue
                content = archive.extractfile(member)
                found[path] = content.read(MAX_FILE) if content else b""
                if len(found[path]) != member.size:
                    raise ValueError(f"{path} is cut off")
            # To tarfile a damaged header is the end of the archive.
            if plain[archive.offset : archive.offset + tarfile.BLOCKSIZE].strip(b"\0") and not budget.problems:
                raise ValueError("it is damaged")
    except (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError, RecursionError) as error:
        hint = "a chart's package is made with 'pvehelm package'"
        budget.problems.append(Problem(name, f"not a chart archive: {error}", hint))
    budget.problems.extend(Problem(f"{name}:{_shown(path)}", what) for path, what in _clashes(found))
    if not found and not budget.problems:
        budget.problems.append(Problem(name, "the archive holds no files"))
    return dict(sorted(found.items()))


class _Refused(ValueError):
    """A header that is refused, as opposed to one that tarfile stumbles over."""


def _members(archive: Any) -> Iterator[Any]:
    """The members of a tarfile, whose reader of sparse files fails in many ways."""
    try:
        yield from archive
    except _Refused:
        raise
    except (ValueError, KeyError, IndexError):
        raise ValueError("it is damaged") from None


def _member_class() -> Any:
    """tarfile's member, but with extended headers (names, mostly) as large as honest ones are."""
    import tarfile

    extended = {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
    extended |= {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}

    class Member(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Member:
            member = super().frombuf(buf, encoding, errors)
            if member.type in extended and member.size > MAX_HEADER:
                raise _Refused(f"an extended header has {member.size:,} bytes")
            return member

    return Member


def _member_path(member: object, found: dict[str, bytes], name: str, budget: Budget, top: str) -> str | None:
    """Where a member belongs below the top folder; None for folders and for what is refused (with a problem).

    ``top`` is the top folder of the members before it, if there are any.
    """
    import tarfile

    assert isinstance(member, tarfile.TarInfo)
    parts = member.name.split("/")
    what = ""
    if member.isdir():
        return None
    if member.issym() or member.islnk():
        what = "is a link; a chart's archive holds files only"
    elif not member.isreg() or member.issparse():
        what = "is no regular file"
    elif _odd(member.name):
        what = _odd(member.name)
    elif any(_ELSEWHERE.match(part) for part in parts if part not in (".", "..")):
        what = "has a name that a chart's files may not have"
    elif member.name.startswith("/"):
        what = "has an absolute path"
    elif ".." in parts:
        what = "leads out of the archive"
    elif member.size < 0:
        what = "has a negative size"
    parts = [part for part in parts if part not in ("", ".")]
    if not what and (len(parts) < 2 or parts[0] != (top or parts[0])):
        what = "stands outside the chart's folder"
    path = "/".join(parts[1:])
    if not what and path in found:
        what = "is in the archive twice"
    if what:
        budget.problems.append(Problem(f"{name}:{_shown(member.name)}", what))
        return None
    return path


def gunzip(data: bytes, limit: int) -> bytes:
    """The decompressed bytes. Raises ValueError beyond ``limit`` bytes or a bomb's ratio, zlib.error for other data."""
    import zlib

    if data[:2] != b"\x1f\x8b":
        raise ValueError("it is not compressed with gzip")
    out = bytearray()
    at = members = 0
    while data[at : at + 2] == b"\x1f\x8b":
        members += 1
        if members > MAX_MEMBERS:
            raise ValueError(f"it is made of more than {MAX_MEMBERS:,} pieces")
        stream = zlib.decompressobj(wbits=31)
        while not stream.eof:
            fed = stream.unconsumed_tail
            if not fed:
                fed = data[at : at + _MIB]
                at += len(fed)
                if not fed:
                    raise ValueError("it is cut off")
            out += stream.decompress(fed, _MIB)
            if len(out) > limit:
                raise ValueError(f"it holds more than {limit // _MIB} MiB")
            if len(out) > RATIO_FREE and len(out) > MAX_RATIO * len(data):
                raise ValueError(f"it grows more than {MAX_RATIO}-fold, as decompression bombs do")
        at -= len(stream.unused_data)
    return bytes(out)

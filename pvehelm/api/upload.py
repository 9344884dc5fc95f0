"""A file on its way to a node: the multipart body of an upload, in pieces, its length known beforehand.

A node's proxy takes no body without a length, reads the fields before the file and knows no character sets.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pvehelm.errors import InvalidError, Problem

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Upload:
    """``size`` bytes called ``name``; ``open`` gives them from the beginning. ``repeatable``: more than once."""

    name: str
    size: int
    open: Callable[[], AsyncIterator[bytes]] = field(repr=False)
    repeatable: bool = True
    boundary: str = field(default_factory=lambda: f"pvehelm-{secrets.token_hex(16)}", repr=False)

    @classmethod
    def of(cls, source: Any, *, name: str | None = None, size: int | None = None) -> Upload:
        """An upload of a path, bytes, an open binary file, or an iterable (asynchronous or not) of bytes.

        ``name`` is the file's name on the storage; ``size`` is needed where it cannot be seen. Raises InvalidError.
        """
        if isinstance(source, str | os.PathLike):
            return cls._of_path(Path(source), name)
        own = getattr(source, "name", None)
        name = name or (Path(own).name if isinstance(own, str) else None)
        problems = []
        if not name:
            problems.append(Problem("filename", "property is missing and it is not optional"))
        if isinstance(source, bytes | bytearray | memoryview):
            data = bytes(source)
            made = cls(name or "", len(data), lambda: _pieces([data]))
        elif hasattr(source, "read"):
            made = cls._of_file(source, name or "", size, problems)
        elif isinstance(source, AsyncIterable | Iterable):
            if size is None:
                problems.append(Problem("size", "the number of bytes must be told beforehand"))
            made = cls(name or "", size or 0, lambda: _pieces(source), repeatable=False)
        else:
            what = f"a {type(source).__name__} is no file: a path, bytes, an open file or an iterable of bytes"
            raise InvalidError(what, [Problem("file", what)])
        if problems:
            raise InvalidError("this file cannot be uploaded", problems)
        return made

    @classmethod
    def _of_path(cls, path: Path, name: str | None) -> Upload:
        try:
            size = path.stat().st_size
        except OSError as error:
            what = f"{path}: cannot be read: {error.strerror}"
            raise InvalidError(what, [Problem("file", what)]) from None
        return cls(name or path.name, size, lambda: _file(lambda: path.open("rb"), close=True))

    @classmethod
    def _of_file(cls, source: Any, name: str, size: int | None, problems: list[Problem]) -> Upload:
        seekable = bool(getattr(source, "seekable", lambda: False)())
        if not seekable:
            if size is None:
                problems.append(Problem("size", "the number of bytes must be told beforehand"))
            return cls(name, size or 0, lambda: _file(lambda: source), repeatable=False)
        begin = source.tell()
        end = source.seek(0, os.SEEK_END)
        source.seek(begin)

        def again() -> Any:
            source.seek(begin)
            return source

        return cls(name, end - begin, lambda: _file(again))

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self.boundary}"

    def frame(self, params: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """What stands before and after the file. Raises InvalidError for a value without a wire form."""
        from pvehelm.api.exchange import texts

        parts = []
        for name, value in params.items():
            if name != "filename":
                parts += [
                    f'--{self.boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
                    for text in texts(value)
                ]
        if any(mark in self.name for mark in '"\\\r\n/'):
            what = f"{self.name!r} cannot be a file's name"
            raise InvalidError(what, [Problem("filename", what)])
        parts.append(
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="filename"; filename="{self.name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        return "".join(parts).encode(), f"\r\n--{self.boundary}--\r\n".encode()

    async def body(self, before: bytes, after: bytes) -> AsyncIterator[bytes]:
        """The whole body. Raises InvalidError when the source turns out longer or shorter than was said."""
        yield before
        sent = 0
        async for piece in self.open():
            sent += len(piece)
            if sent > self.size:
                break
            yield piece
        if sent != self.size:
            what = f"{self.name}: {'more' if sent > self.size else 'less'} than the {self.size} bytes it was said to be"
            raise InvalidError(what, [Problem("file", what)])
        yield after


async def _file(open_: Callable[[], Any], close: bool = False) -> AsyncIterator[bytes]:
    source = await asyncio.to_thread(open_)
    try:
        while piece := await asyncio.to_thread(source.read, CHUNK):
            yield piece
    finally:
        if close:
            source.close()


async def _pieces(source: Any) -> AsyncIterator[bytes]:
    if isinstance(source, AsyncIterable):
        async for piece in source:
            yield piece
    else:
        for piece in source:
            yield piece

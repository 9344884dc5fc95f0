"""``/healthz`` and ``/metrics`` over HTTP: two pages for machines, read-only, without a framework."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from pvehelm.errors import PvehelmError
from pvehelm.faces.daemon.metrics import CONTENT_TYPE

Page = Callable[[], tuple[int, str, str]]
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
SECONDS, LARGEST = 10.0, 16 << 10


class Server:
    """Pages by path, at an address; each gives a status, a content type and a text."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self.pages = pages
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port (asked for with 0: one that is free). Raises PvehelmError where it can't."""
        try:
            self._server = await asyncio.start_server(self._answer, host, port, limit=LARGEST)
        except OSError as error:
            # asyncio puts the address into the text once more.
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            hint = "--listen HOST:PORT chooses another address, --listen off none"
            raise PvehelmError(f"can't listen at {host}:{port}: {why}", hint=hint) from None
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.LimitOverrunError, asyncio.IncompleteReadError, TimeoutError, ValueError):
            async with asyncio.timeout(SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method, _, rest = head.partition("\r\n")[0].partition(" ")
                status, kind, text = self._page(method, rest.partition(" ")[0].partition("?")[0])
                body = text.encode()
                lines = [
                    f"HTTP/1.1 {status} {REASONS[status]}",
                    f"Content-Type: {kind}",
                    f"Content-Length: {len(body)}",
                    "Connection: close",
                ]
                writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else body))
                await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    def _page(self, method: str, path: str) -> tuple[int, str, str]:
        if method not in ("GET", "HEAD"):
            return 405, "text/plain", "only GET\n"
        page = self.pages.get(path)
        return page() if page else (404, "text/plain", f"there are {', '.join(self.pages)}\n")


def health(problems: Mapping[str, str], facts: Mapping[str, Any]) -> tuple[int, str, str]:
    """The page of ``/healthz``: 200 while nothing is wrong, else 503 with what is."""
    body = {"status": "unhealthy" if problems else "ok", **facts, "problems": dict(problems)}
    return (503 if problems else 200), "application/json", json.dumps(body) + "\n"


def metrics(text: str) -> tuple[int, str, str]:
    return 200, CONTENT_TYPE, text

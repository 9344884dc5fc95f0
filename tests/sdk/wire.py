"""Transports for the client's tests: what was asked is written down, what is answered comes from a function."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote

import httpx


class Heard:
    """A request as a server would read it: a path with its segments encoded, and the parameters as lists of texts."""

    def __init__(self, request: httpx.Request, body: bytes) -> None:
        raw, _, query = request.url.raw_path.decode("ascii").partition("?")
        self.method, self.path = request.method, raw.removeprefix("/api2/json")
        self.headers = dict(request.headers)
        self.body = body
        form = "x-www-form-urlencoded" in self.headers.get("content-type", "")
        text = body.decode("ascii") if form else query
        self.params = parse_qs(text, keep_blank_values=True)

    @property
    def segments(self) -> list[str]:
        return [unquote(part) for part in self.path.split("/") if part]


class Script(httpx.AsyncBaseTransport):
    """``answer`` gives the ``data`` of each request (or a whole httpx.Response)."""

    def __init__(self, answer: Callable[[Heard], Any] = lambda heard: None, version: str = "9.2.3") -> None:
        self.answer, self.version = answer, version
        self.heard: list[Heard] = []
        self.closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        heard = Heard(request, await request.aread())
        if heard.path == "/version" and heard.method == "GET":
            return _ok({"version": self.version, "release": self.version[:3]})
        self.heard.append(heard)
        found = self.answer(heard)
        return found if isinstance(found, httpx.Response) else _ok(found)

    async def aclose(self) -> None:
        self.closed = True


def _ok(data: Any) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "application/json"}, content=json.dumps({"data": data}))

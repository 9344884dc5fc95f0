"""The simulator in process: an httpx transport, so that the real client code runs unchanged."""

from __future__ import annotations

import asyncio

import httpx

from pvehelm.simulator.core import Outcome, Request, Simulator

PREFIX = "/api2/json"


class SimulatorTransport(httpx.AsyncBaseTransport):
    """Answers from a Simulator; sets the ``reason_phrase`` extension as a socket would.

    A dropped connection is httpx.RemoteProtocolError, a delay longer than the read timeout httpx.ReadTimeout.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        # Requests being answered; whoever stops waiting for one does not stop its thread.
        self._answering: set[asyncio.Future[Outcome]] = set()

    async def aclose(self) -> None:
        """Returns when nothing works on the state any more."""
        await asyncio.gather(*self._answering, return_exceptions=True)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not request.url.raw_path.startswith(PREFIX.encode()):
            return httpx.Response(404, content=b"", request=request)
        call = await called(request)
        answering = asyncio.ensure_future(asyncio.to_thread(self.simulator.process, call))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)
        outcome = await asyncio.shield(answering)
        if outcome.delay:
            await self._wait(outcome.delay, request)
        return answered(outcome, request)

    async def _wait(self, delay: float, request: httpx.Request) -> None:
        timeout = (request.extensions.get("timeout") or {}).get("read")
        if timeout is not None and delay > timeout:
            await asyncio.sleep(timeout)
            raise httpx.ReadTimeout("no answer in time", request=request)
        await asyncio.sleep(delay)


async def called(request: httpx.Request) -> Request:
    """A request of httpx as the simulator takes it."""
    path, _, query = request.url.raw_path.decode("ascii").removeprefix(PREFIX).partition("?")
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.headers.raw}
    return Request(request.method, path or "/", query, headers, await request.aread())


def answered(outcome: Outcome, request: httpx.Request) -> httpx.Response:
    """What has become of a request, as httpx has it. Raises RemoteProtocolError where the connection is cut."""
    answer = outcome.response
    if answer is None:
        raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)
    if outcome.cut:
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body.")
    return httpx.Response(
        answer.status,
        headers=answer.headers,
        content=answer.body,
        extensions={"reason_phrase": answer.reason.encode("utf-8"), "http_version": b"HTTP/1.1"},
        request=request,
    )

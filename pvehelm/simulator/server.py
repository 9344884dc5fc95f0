"""The simulator over HTTPS: HTTP/1.1 of its own on asyncio streams.

A framework would not do: reason phrases are texts that clients read, error answers close the connection, and a
connection serves 100 requests. The certificate is made once per state folder and its fingerprint is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pvehelm.simulator.core import BODY_LIMIT, Outcome, Request, Response, Simulator
from pvehelm.simulator.requests import UPLOAD_LIMIT, is_upload
from pvehelm.simulator.state import State

REQUESTS_PER_CONNECTION = 100
IDLE_SECONDS = 5.0
_PREFIXES = ("/api2/json", "/api2/extjs")
_MAX_HEADER = 64 * 1024


class Server:
    """Serves one Simulator; ``port`` is the bound port after ``start``."""

    def __init__(self, simulator: Simulator, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.simulator = simulator
        self.host = host
        self.port = port
        self._tls = tls
        self._pool = ThreadPoolExecutor(max_workers=3, thread_name_prefix="simulator")
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises OSError when the address is taken."""
        self._server = await asyncio.start_server(
            self._connected, self.host, self.port, ssl=self._tls, limit=_MAX_HEADER, backlog=256
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown(wait=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except (
            OSError,
            ssl.SSLError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            TimeoutError,
            ValueError,
        ):
            pass
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(writer.wait_closed(), 1)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(1, REQUESTS_PER_CONNECTION + 1):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), IDLE_SECONDS)
            method, target, version, headers = parse_head(head)
            body = await self._body(reader, headers)
            outcome = await self._process(method, target, headers, body)
            if outcome.delay:
                await asyncio.sleep(outcome.delay)
            if outcome.response is None:
                return
            close = (
                outcome.response.status >= 400
                or number == REQUESTS_PER_CONNECTION
                or version == "HTTP/1.0"
                or "close" in headers.get("connection", "").lower()
            )
            whole = render(outcome.response, close)
            writer.write(whole[: -max(1, len(outcome.response.body) // 2)] if outcome.cut else whole)
            await writer.drain()
            if close or outcome.cut:
                return

    async def _process(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Outcome:
        path, _, query = target.partition("?")
        prefix = next((p for p in _PREFIXES if path == p or path.startswith(p + "/")), None)
        if prefix is None:
            text = b"this is a simulated Proxmox VE API; see /api2/json/\n"
            status, reason = (200, "OK") if path == "/" else (404, "Not Found")
            return Outcome(Response(status, reason, {"content-type": "text/plain"}, text))
        request = Request(method, path[len(prefix) :] or "/", query, headers, body)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self.simulator.process, request)

    @staticmethod
    async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
        length = headers.get("content-length", "0")
        limit = UPLOAD_LIMIT if is_upload(headers) else BODY_LIMIT
        if not length.isdigit() or "transfer-encoding" in headers or int(length) > limit:
            return b""
        return await reader.readexactly(int(length))


def parse_head(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    """Method, target, version and headers of a request. Raises ValueError when it is none."""
    lines = head.decode("latin-1").split("\r\n")
    method, target, version = lines[0].split(" ")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            key = name.strip().lower()
            headers[key] = f"{headers[key]}; {value.strip()}" if key in headers else value.strip()
    return method, target, version, headers


def render(response: Response, close: bool) -> bytes:
    """An answer as bytes."""
    reason = response.reason.replace("\r", " ").replace("\n", " ")
    headers = {
        "cache-control": "max-age=0",
        "server": "pve-api-daemon/3.0",
        **response.headers,
        "connection": "close" if close else "Keep-Alive",
        "content-length": str(len(response.body)),
    }
    head = f"HTTP/1.1 {response.status} {reason}\r\n" + "".join(f"{k.title()}: {v}\r\n" for k, v in headers.items())
    return head.encode("utf-8", "replace") + b"\r\n" + response.body


async def run(simulator: Simulator, host: str, port: int, folder: Path | None) -> int:
    """Serve until SIGINT or SIGTERM; prints where and with which certificate."""
    from pvehelm.simulator.certificate import certificate

    made = certificate(folder, host)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_into(tls)
    server = Server(simulator, host, port, tls)
    await server.start()
    shown = f"[{host}]" if ":" in host else host
    print(f"simulated Proxmox VE {simulator.release} at https://{shown}:{server.port}", flush=True)
    print(f"certificate fingerprint (SHA-256) {made.fingerprint}", flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, ended.set)
    await ended.wait()
    await server.stop()
    return 0


def serve(
    state: State, host: str = "127.0.0.1", port: int = 8006, *, latency: float = 0.0, release: str = "9.2"
) -> int:
    """Serve a state over HTTPS until interrupted. Raises OSError when the address is taken."""
    folder = None if state.path == ":memory:" else Path(state.path).parent
    return asyncio.run(run(Simulator(state, release=release, latency=latency), host, port, folder))


def main(argv: list[str] | None = None) -> int:
    """``python -m pvehelm.simulator.server``: the same without the command line's face."""
    parser = argparse.ArgumentParser(
        prog="pvehelm.simulator.server", description="A simulated Proxmox VE API over HTTPS"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8006, help="0: any free port")
    parser.add_argument("--base", default="default", help="default or conformance; counts for a new state")
    parser.add_argument("--state", default=":memory:", help="a file, or :memory:")
    parser.add_argument("--release", default="9.2")
    parser.add_argument("--latency", type=float, default=0.0, metavar="MS")
    given = parser.parse_args(argv)
    state = State(given.state, base=given.base)
    try:
        return serve(state, given.host, given.port, latency=given.latency, release=given.release)
    except OSError as error:
        print(f"cannot listen on {given.host}:{given.port}: {error.strerror or error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

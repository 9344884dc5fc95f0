"""HTTP/1.1 over asyncio streams, as an httpx transport made for what a Proxmox node does.

A node keeps a connection for 100 requests and closes it after every status of 400 and above. So there is a stack of
idle connections per host (the youngest is used first), a cap on open ones, and care about connections that died
in idleness: a read is repeated on a fresh one, a write never is. Proxies and environment variables have no say.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

import httpx

from pvehelm.api.tls import TLS, CertificateError, describe
from pvehelm.errors import TransportError

REQUESTS_A_CONNECTION = 100
STREAMED = "pvehelm.streamed"
"""Extension of a request whose answer's body is to be read by whoever asked, piece by piece."""
_HEAD_LIMIT = 256 * 1024
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. ``connect``: TCP and TLS; ``read``: silence while an answer is awaited or read (a node waits 10 s for a
    lock and 30 s for a command before it answers); ``total``: one attempt from the first to the last byte."""

    connect: float = 10.0
    read: float = 60.0
    total: float = 180.0


class _Stale(Exception):
    """A connection from the stack was closed by the server before a byte of the answer."""


class _Broken(Exception):
    """The answer cannot be had from this connection; the text says why."""


class _Connection:
    __slots__ = ("idle_since", "reader", "served", "writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.served = 0
        self.idle_since = 0.0

    @property
    def dead(self) -> bool:
        return self.reader.at_eof() or self.writer.is_closing() or self.reader.exception() is not None

    def close(self) -> None:
        # Everything of interest was read: a polite goodbye over TLS would only leave something to wait for.
        self.writer.transport.abort()


class _Host:
    """Idle and open connections to one (scheme, host, port)."""

    def __init__(self, cap: int) -> None:
        self.slots = asyncio.Semaphore(cap)
        self.idle: list[_Connection] = []
        self.open: set[_Connection] = set()


class StreamTransport(httpx.AsyncBaseTransport):
    """Raises TransportError (``sent`` is exact) and CertificateError instead of httpx's exceptions.

    ``max_connections`` is per host. ``idle`` seconds after which an idle connection is not used again, ``idle_write``
    the same for requests that write. One event loop only.
    """

    def __init__(
        self,
        *,
        tls: TLS | None = None,
        timeouts: Timeouts | None = None,
        max_connections: int = 12,
        idle: float = 20.0,
        idle_write: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tls = tls or TLS()
        self.tls.pins()
        self.timeouts = timeouts or Timeouts()
        self._cap = max_connections
        self._idle, self._idle_write, self._clock = idle, idle_write, clock
        self._hosts: dict[tuple[str, str, int], _Host] = {}
        self._context: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        key = (url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80))
        host = self._hosts.get(key)
        if host is None:
            host = self._hosts[key] = _Host(self._cap)
        if STREAMED in request.extensions:
            return await self._stream(host, key, request)
        head, streamed = _serialise(request)
        async with host.slots:
            while True:
                connection = await self._take(host, key, request.method)
                try:
                    return await self._exchange(host, connection, request.method, head, streamed)
                except _Stale:
                    # Only a connection from the stack can be stale, so this ends with a fresh one at the latest.
                    if request.method != "GET":
                        raise TransportError(
                            "the node closed the connection without an answer; it may have begun the work", sent=True
                        ) from None

    async def aclose(self) -> None:
        for host in self._hosts.values():
            for connection in host.open:
                connection.close()
            host.open.clear()
            host.idle.clear()
        # Closing transports report to the loop once or twice before they are gone.
        for _ in range(3):
            await asyncio.sleep(0)

    async def _take(self, host: _Host, key: tuple[str, str, int], method: str) -> _Connection:
        limit = self._idle if method == "GET" else self._idle_write
        if method != "GET" and host.idle:
            # Let the loop see what the server closed meanwhile: for a write, a stale connection cannot be made good.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        now = self._clock()
        while host.idle and not 0 <= now - host.idle[0].idle_since < self._idle:
            self._drop(host, host.idle.pop(0))
        while host.idle:
            connection = host.idle.pop()
            if not connection.dead and 0 <= now - connection.idle_since < limit:
                return connection
            self._drop(host, connection)
        connection = await self._connect(*key)
        host.open.add(connection)
        return connection

    async def _connect(self, scheme: str, host: str, port: int) -> _Connection:
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        context: ssl.SSLContext | None = None
        if scheme == "https":
            context = self._context = self._context or self.tls.context()
        elif scheme != "http":
            raise TransportError(f"{scheme}://{where}: only https and http are spoken", sent=False)
        try:
            async with asyncio.timeout(self.timeouts.connect):
                reader, writer = await asyncio.open_connection(
                    host,
                    port,
                    ssl=context,
                    server_hostname=host if context else None,
                    limit=_HEAD_LIMIT,
                    happy_eyeballs_delay=0.25,
                )
        except ssl.SSLCertVerificationError as error:
            raise CertificateError(
                f"{where}: {describe(error)}",
                sent=False,
                hint="name the cluster's CA (/etc/pve/pve-root-ca.pem) as CA file, or pin the node's fingerprint",
            ) from error
        except (OSError, TimeoutError, UnicodeError) as error:
            hint = ""
            if isinstance(error, ConnectionRefusedError) and port != 8006:
                hint = "a Proxmox VE node listens on port 8006"
            elif isinstance(error, ssl.SSLError):
                hint = "does this port speak TLS?"
            raise TransportError(f"cannot connect to {where}: {describe(error)}", sent=False, hint=hint) from error
        connection = _Connection(reader, writer)
        if context is not None:
            try:
                tls = writer.get_extra_info("ssl_object")
                self.tls.check(tls.getpeercert(binary_form=True), where)
            except BaseException:
                connection.close()
                raise
        return connection

    async def _stream(self, host: _Host, key: tuple[str, str, int], request: httpx.Request) -> httpx.Response:
        """The head of an answer, with a body that ends the connection and frees its slot when it is closed."""
        await host.slots.acquire()
        try:
            # A fresh one: a file is worth a handshake, and there is nothing stale to look out for.
            connection = await self._connect(*key)
        except BaseException:
            host.slots.release()
            raise
        host.open.add(connection)

        def close() -> None:
            self._drop(host, connection)
            host.slots.release()

        try:
            connection.writer.write(_serialise(request)[0])
            await connection.writer.drain()
            status, reason, headers, _ = await self._head(connection.reader)
        except BaseException as error:
            close()
            if isinstance(error, TimeoutError):
                raise TransportError("no answer in time", sent=True, hint=_SLOW) from error
            if isinstance(error, _Broken | OSError | EOFError):
                raise TransportError(f"connection closed without an answer: {error}", sent=True) from error
            raise
        body = _Body(self._pieces(connection.reader, status, headers), close)
        kept = [(name, value) for name, value in headers if name != b"transfer-encoding"]
        return httpx.Response(status, headers=kept, stream=body, extensions={"reason_phrase": reason})

    async def _pieces(
        self, reader: asyncio.StreamReader, status: int, headers: list[tuple[bytes, bytes]]
    ) -> AsyncIterator[bytes]:
        fields = dict(headers)
        length = fields.get(b"content-length", b"")
        try:
            if status in (204, 304):
                return
            if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
                while count := _chunk_size(await self._line(reader)):
                    async for piece in self._counted(reader, count):
                        yield piece
                    await self._exactly(reader, 2)
            elif length.isdigit():
                async for piece in self._counted(reader, int(length)):
                    yield piece
            else:
                while part := await self._some(reader, _CHUNK):
                    yield part
        except TimeoutError as error:
            raise TransportError("the answer stopped in the middle", sent=True) from error
        except (_Broken, OSError, EOFError) as error:
            raise TransportError(f"the answer broke off: {error}", sent=True) from error

    async def _counted(self, reader: asyncio.StreamReader, count: int) -> AsyncIterator[bytes]:
        missing = count
        while missing:
            part = await self._some(reader, min(missing, _CHUNK))
            if not part:
                raise _Broken(f"connection closed in the middle of the answer ({count - missing} of {count} bytes)")
            missing -= len(part)
            yield part

    async def _write(self, writer: asyncio.StreamWriter, streamed: AsyncIterable[bytes] | None) -> None:
        async for piece in streamed or _nothing():
            writer.write(piece)
            async with asyncio.timeout(self.timeouts.read):
                await writer.drain()

    async def _exchange(
        self,
        host: _Host,
        connection: _Connection,
        method: str,
        head: bytes,
        streamed: AsyncIterable[bytes] | None,
    ) -> httpx.Response:
        reused = connection.served > 0
        connection.served += 1
        keep = False
        started = False
        try:
            async with asyncio.timeout(None if streamed else self.timeouts.total):
                try:
                    connection.writer.write(head)
                    await connection.writer.drain()
                    if streamed is not None:
                        # A refusal may come while the body is still on its way; it is worth more than the broken pipe.
                        with suppress(ConnectionError):
                            await self._write(connection.writer, streamed)
                    status, reason, headers, version = await self._head(connection.reader)
                    started = True
                    body, delimited = await self._body(connection.reader, method, status, headers)
                except TimeoutError:
                    raise
                except (OSError, EOFError) as error:
                    if reused and not started and not getattr(error, "partial", b""):
                        raise _Stale from error
                    text = "closed in the middle of the answer" if started else "closed without an answer"
                    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
                        text += f" ({describe(error)})"
                    raise _Broken(f"connection {text}") from error
            keep = delimited and status < 400 and version == b"1.1" and not _closes(headers)
            return _response(status, reason, headers, body)
        except _Broken as error:
            raise TransportError(str(error), sent=True) from error
        except TimeoutError as error:
            raise TransportError("no answer in time", sent=True, hint=_SLOW) from error
        finally:
            if keep and connection.served < REQUESTS_A_CONNECTION:
                connection.idle_since = self._clock()
                host.idle.append(connection)
            else:
                self._drop(host, connection)

    async def _head(self, reader: asyncio.StreamReader) -> tuple[int, bytes, list[tuple[bytes, bytes]], bytes]:
        while True:
            try:
                async with asyncio.timeout(self.timeouts.read):
                    text = await reader.readuntil(b"\r\n\r\n")
            except asyncio.LimitOverrunError:
                raise _Broken("the answer is not HTTP, or its head is too long") from None
            first, *lines = text[:-4].split(b"\r\n")
            parts = first.split(b" ", 2)
            if not parts[0].startswith(b"HTTP/1.") or len(parts) < 2 or not parts[1].isdigit():
                raise _Broken("the answer is not HTTP")
            status = int(parts[1])
            if status >= 200:
                break
        headers = []
        for line in lines:
            name, _, value = line.partition(b":")
            headers.append((name.strip().lower(), value.strip()))
        return status, parts[2].strip() if len(parts) > 2 else b"", headers, parts[0][5:]

    async def _body(
        self, reader: asyncio.StreamReader, method: str, status: int, headers: list[tuple[bytes, bytes]]
    ) -> tuple[bytes, bool]:
        """The bytes, and whether their end was marked (else the connection's end was it)."""
        if method == "HEAD" or status in (204, 304):
            return b"", True
        fields = dict(headers)
        if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
            return await self._chunks(reader), True
        length = fields.get(b"content-length")
        if length is None:
            parts = []
            while part := await self._some(reader, _CHUNK):
                parts.append(part)
            return b"".join(parts), False
        if not length.isdigit():
            raise _Broken("the answer's Content-Length is not a number")
        return await self._exactly(reader, int(length)), True

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        parts = []
        while True:
            count = _chunk_size(await self._line(reader))
            if not count:
                break
            parts.append(await self._exactly(reader, count))
            if await self._exactly(reader, 2) != b"\r\n":
                raise _Broken("the answer's chunks are malformed")
        while (await self._line(reader)).strip():
            pass
        return b"".join(parts)

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self.timeouts.read):
                return await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise _Broken("the answer's chunks are malformed") from None

    async def _exactly(self, reader: asyncio.StreamReader, count: int) -> bytes:
        parts: list[bytes] = []
        missing = count
        while missing:
            part = await self._some(reader, min(missing, _CHUNK))
            if not part:
                raise _Broken(f"connection closed in the middle of the answer ({count - missing} of {count} bytes)")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    async def _some(self, reader: asyncio.StreamReader, count: int) -> bytes:
        async with asyncio.timeout(self.timeouts.read):
            return await reader.read(count)

    def _drop(self, host: _Host, connection: _Connection) -> None:
        host.open.discard(connection)
        connection.close()


_SLOW = "the node is busy or hangs; what was asked may still be done"


class _Body(httpx.AsyncByteStream):
    def __init__(self, pieces: AsyncIterator[bytes], close: Callable[[], None]) -> None:
        self._pieces, self._close = pieces, close

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            yield piece

    async def aclose(self) -> None:
        close, self._close = self._close, lambda: None
        close()


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.split(b";")[0].strip(), 16)
    except ValueError:
        raise _Broken("the answer's chunks are malformed") from None


def _serialise(request: httpx.Request) -> tuple[bytes, AsyncIterable[bytes] | None]:
    """The bytes of a request; the body apart where it comes in pieces."""
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%s: %s" % (name, value) for name, value in request.headers.raw]
    if isinstance(request.stream, httpx.ByteStream):
        return b"\r\n".join((*lines, b"", b"".join(request.stream))), None
    assert isinstance(request.stream, AsyncIterable)
    return b"\r\n".join((*lines, b"", b"")), request.stream


def _closes(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"connection" and b"close" in value.lower() for name, value in headers)


def _response(status: int, reason: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> httpx.Response:
    # The body is whole: framing headers are done with, and httpx undoes gzip.
    kept = [(name, value) for name, value in headers if name not in (b"transfer-encoding", b"content-length")]
    try:
        return httpx.Response(status, headers=kept, content=body, extensions={"reason_phrase": reason})
    except httpx.DecodingError:
        raise TransportError("the answer's compression is broken", sent=True) from None

"""Servers and transports for the tests of the client: real sockets with TLS, and scripted answers in memory."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from pvehelm.api.tls import fingerprint_of_pem


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1 on disk."""

    file: Path
    key: Path
    fingerprint: str

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        return context


def make_certificate(folder: Path, name: str = "node") -> Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    file.write_bytes(pem)
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Certificate(file, key_file, fingerprint_of_pem(pem))


@dataclass
class Heard:
    """A request as the server read it, and the number (from 0) of its connection."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int


Behaviour = Callable[[Heard, asyncio.StreamWriter], Awaitable[bool]]
"""Answers a request; says whether the connection stays open."""


class Server:
    """Reads requests and lets a behaviour answer them. ``heard`` and ``connections`` say what happened."""

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.heard: list[Heard] = []
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.connections
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {}
                for line in head[1:-2]:
                    name, _, value = line.partition(": ")
                    headers[name.lower()] = value
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                heard = Heard(head[0], headers, body, number)
                self.heard.append(heard)
                if not await self.behave(heard, writer):
                    break
                await writer.drain()
        finally:
            self.open -= 1


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler, certificate: Certificate | None = None) -> AsyncIterator[int]:
    """A bare server on 127.0.0.1, with TLS when given a certificate; gives its port. Leaves nothing behind."""
    running: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
            running.discard(task)

    tls = certificate.context() if certificate else None
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    # What a test provokes on purpose (aborted handshakes) is not worth a report by the loop.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()
        for _ in range(3):
            await asyncio.sleep(0)


@asynccontextmanager
async def serving(behave: Behaviour, certificate: Certificate | None = None) -> AsyncIterator[Server]:
    """A server that reads requests and answers them as ``behave`` does."""
    server = Server(behave)
    async with listening(server.serve, certificate) as port:
        server.port = port
        yield server


def answer_bytes(data: Any = None, status: str = "200 OK", headers: Iterable[str] = ()) -> bytes:
    body = json.dumps({"data": data}).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def well(heard: Heard, writer: asyncio.StreamWriter) -> bool:
    """Answers everything with the request line."""
    writer.write(answer_bytes(heard.line))
    return True


class Scripted(httpx.AsyncBaseTransport):
    """Answers from a function of the request; an exception is raised. ``heard`` is (METHOD, path, form or query)."""

    def __init__(self, respond: Callable[[httpx.Request], httpx.Response | Exception]) -> None:
        self.respond = respond
        self.requests: list[httpx.Request] = []
        self.closed = False

    @property
    def heard(self) -> list[str]:
        return [f"{r.method} {r.url.path.removeprefix('/api2/json')}" for r in self.requests]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await asyncio.sleep(0)
        outcome = self.respond(request)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def aclose(self) -> None:
        self.closed = True


def in_turn(*outcomes: httpx.Response | Exception) -> Callable[[httpx.Request], httpx.Response | Exception]:
    """The outcomes one after the other; the last one stays."""
    left = list(outcomes)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


def fine(data: Any = None, **beside: Any) -> httpx.Response:
    return httpx.Response(200, json={"data": data, **beside})


def refused(status: int, reason: str = "", **body: Any) -> httpx.Response:
    return httpx.Response(
        status, json={"data": None, **body} if body else None, extensions={"reason_phrase": reason.encode()}
    )


class Time:
    """A clock that only moves when somebody sleeps."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

"""The client: sends a call, logs in when needed, and repeats only what may be repeated.

What a call looks like and what an answer means is decided in ``exchange`` (pure), who we are in ``auth`` (flows without
input or output), and bytes move in ``transport``. What is left here is when to send, once more or not at all.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx

from pvehelm.api.auth import Auth, TicketAuth, TokenAuth
from pvehelm.api.exchange import (
    PASSING,
    Answer,
    ForeignAnswerError,
    Request,
    build,
    encode,
    interpret,
    interpret_answer,
    maybe_executed,
    quote,
)
from pvehelm.api.tls import TLS, CertificateError, fingerprint_of_pem, normal_fingerprint, probe_fingerprint
from pvehelm.api.transport import STREAMED, StreamTransport, Timeouts
from pvehelm.errors import ApiError, AuthError, InvalidError, PvehelmError, TransportError

if TYPE_CHECKING:
    from pvehelm.api.upload import Upload

Attempt: TypeAlias = Callable[[Request, Mapping[str, str]], Awaitable[Answer]]

__all__ = [
    "Answer",
    "Auth",
    "CertificateError",
    "Client",
    "ForeignAnswerError",
    "Request",
    "Retries",
    "StreamTransport",
    "TLS",
    "TicketAuth",
    "Timeouts",
    "TokenAuth",
    "build",
    "encode",
    "fingerprint_of_pem",
    "interpret",
    "interpret_answer",
    "maybe_executed",
    "normal_fingerprint",
    "not_executed",
    "probe_fingerprint",
    "quote",
]

# Said before the work begins: the lock around a configuration file was not had. A storage's lock is taken in the midst
# of work, and a command's time-out ("command '...' failed: got timeout") ends it.
_LOCK_NOT_HAD = re.compile(
    r"(?:can't lock file '(?!/var/lock/pve-manager/pve-storage-)[^'\n]*' - )?got timeout"
    r"|cfs-lock 'file-[^'\n]*' error: got lock request timeout"
)
_HOPELESS = (CertificateError, ForeignAnswerError)
_SECRET_NAME = re.compile(r"passw|secret|token-?value|private|^key$|-key$|^ticket$|^data$|^value$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how long a call is repeated that may be: at most ``attempts`` in all, with full jitter below
    ``first * 2**n`` and ``cap`` seconds between them, and none begun later than ``total`` seconds after the first."""

    attempts: int = 5
    first: float = 0.25
    cap: float = 5.0
    total: float = 60.0

    def delays(self, rng: random.Random) -> Iterator[float]:
        """The pauses, in seconds."""
        for n in range(self.attempts - 1):
            yield rng.uniform(0.0, min(self.cap, self.first * 2.0**n))


def not_executed(error: PvehelmError) -> bool:
    """Does the error prove that the server has not begun to do what it was asked?"""
    if isinstance(error, TransportError):
        return not error.sent
    if isinstance(error, ApiError):
        return error.status == 500 and _LOCK_NOT_HAD.fullmatch(error.reason) is not None
    return False


class Client:
    """One cluster's API, for one event loop.

    ``base_url``: ``https://HOST:8006``, or just ``HOST`` (8006 is meant), ``HOST:PORT``. ``hosts``: more nodes of the
    cluster, taken in turn when one cannot be connected to. ``transport``: what moves the bytes (the client closes it).
    ``sleep``, ``clock`` (seconds; nobody sets it) and ``rng`` are there to be replaced in tests.

    Every call raises ApiError (AuthError for 401), TransportError or InvalidError. When ``maybe_executed`` is true of
    the error of a write, look for the task or the object, then decide.
    ``requests_made`` counts what was sent, by method.
    """

    def __init__(
        self,
        base_url: str,
        auth: Auth,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        tls: TLS | None = None,
        timeouts: Timeouts | None = None,
        max_connections: int = 12,
        retries: Retries | None = None,
        hosts: Sequence[str] = (),
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._bases = [normal_base(url) for url in (base_url, *hosts)]
        self.auth = auth
        self.timeouts = timeouts or Timeouts()
        self.retries = retries or Retries()
        self.sleep, self.clock = sleep, clock
        self.requests_made: Counter[str] = Counter()
        # By node: what the waits for its tasks share (api.task).
        self.boards: dict[str, Any] = {}
        self._rng = rng or random.Random()
        self._transport = transport or StreamTransport(tls=tls, timeouts=self.timeouts, max_connections=max_connections)
        self._slots = asyncio.Semaphore(max_connections)
        self._logging_in = asyncio.Lock()
        self._at = 0

    def __repr__(self) -> str:
        return f"Client({self.base_url!r}, {self.auth!r})"

    @property
    def base_url(self) -> str:
        """The address in use: the last one that could be connected to."""
        return self._bases[self._at]

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return await self.request("GET", path, params)

    async def post(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return await self.request("POST", path, params)

    async def put(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return await self.request("PUT", path, params)

    async def delete(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return await self.request("DELETE", path, params)

    async def version(self) -> dict[str, Any]:
        """``{"version": "9.2.11", "release": "9.2", "repoid": ...}``"""
        data = await self.get("/version")
        if not isinstance(data, dict):
            raise TransportError("GET /version: the answer is not one of the Proxmox VE API", sent=True)
        return data

    async def request(self, method: str, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The ``data`` of the answer. ``path`` begins below ``/api2/json``; put names into it with ``quote``."""
        return (await self.exchange(method, path, params)).data

    call = request

    async def stream(self, path: str, params: Mapping[str, Any] | None = None) -> AsyncIterator[bytes]:
        """The body of a GET as it comes, for answers that are files. Once it has begun it is not repeated."""
        answer: Answer = await self._repeated(Request("GET", path, dict(params or {})), self._begin_stream)
        response: httpx.Response = answer.data
        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise TransportError(f"the answer was lost: {error}", sent=True, method="GET", path=path) from error
        finally:
            await response.aclose()

    async def exchange(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, *, body: Upload | None = None
    ) -> Answer:
        """Like ``request``, with what stands beside ``data`` (``total``, ``changes``). ``body``: a file to upload."""
        return await self._repeated(Request(method.upper(), path, dict(params or {}), body), self._attempt)

    async def _repeated(self, request: Request, attempt: Attempt) -> Answer:
        began = self.clock()
        tried_hosts = 1
        delays = self.retries.delays(self._rng)
        while True:
            at = self._at
            try:
                return await self._authenticated(request, attempt)
            except (ApiError, TransportError) as error:
                if not self._repeatable(request, error):
                    raise
                if isinstance(error, TransportError) and not error.sent:
                    # Unless another call has moved on already, the next one goes to the next node.
                    if self._at == at:
                        self._at = (at + 1) % len(self._bases)
                    if tried_hosts < len(self._bases):
                        tried_hosts += 1
                        continue
                delay = next(delays, None)
                if delay is None or self.clock() - began + delay > self.retries.total:
                    raise
                tried_hosts = 1
                await self.sleep(delay)

    def _repeatable(self, request: Request, error: ApiError | TransportError) -> bool:
        if isinstance(error, _HOPELESS):
            return False
        if request.body is not None and not request.body.repeatable:
            return False
        if not_executed(error):
            return True
        if not request.reads:
            return False
        return isinstance(error, TransportError) or error.status in PASSING

    async def _authenticated(self, request: Request, attempt: Attempt) -> Answer:
        """Send with credentials; after a 401 log in once more, if that may help, and send once more.

        The server checks who asks before it does anything, so this is safe for writes as well.
        """
        again = False
        while True:
            await self._login()
            generation = self.auth.generation
            try:
                return await self._send(request, self.auth.headers(request.method), attempt)
            except AuthError as error:
                spent = request.body is not None and not request.body.repeatable
                if again or not self.auth.rejected(generation) or spent:
                    raise AuthError(
                        error.status,
                        error.reason,
                        error.errors,
                        method=request.method,
                        path=request.path,
                        hint=self.auth.hint(error.reason),
                    ) from None
                again = True

    async def _login(self) -> None:
        if not self.auth.due(self.clock()):
            return
        async with self._logging_in:
            now = self.clock()
            if not self.auth.due(now):
                return
            flow = self.auth.login(now)
            try:
                request = next(flow)
                while True:
                    try:
                        answer = await self._send(request, {}, self._attempt)
                    except ApiError as error:
                        request = flow.throw(error)
                    else:
                        request = flow.send(answer.data)
            except StopIteration:
                return
            except (ApiError, TransportError) as error:
                passing = isinstance(error, TransportError) or error.status in PASSING
                if not passing or isinstance(error, _HOPELESS):
                    raise
                if self.auth.usable(now):
                    return
                # Whatever became of the login: the call it was for has not been sent.
                raise TransportError(error.message, sent=False, hint=error.hint) from error

    async def _send(self, request: Request, headers: Mapping[str, str], attempt: Attempt) -> Answer:
        """One attempt. Everything that goes wrong becomes an error of ours that names the call and hides secrets."""
        try:
            return await attempt(request, headers)
        except TransportError as error:
            raise type(error)(
                error.message, sent=error.sent, method=request.method, path=request.path, hint=error.hint
            ) from error
        except ApiError as error:
            kind = AuthError if isinstance(error, AuthError) else ApiError
            raise kind(
                error.status,
                self._hide(error.reason, request),
                {name: self._hide(text, request) for name, text in error.errors.items()},
                method=request.method,
                path=request.path,
                hint=error.hint,
            ) from None

    async def _attempt(self, request: Request, headers: Mapping[str, str]) -> Answer:
        # What waits for a slot is not built yet: a thousand calls at once would stand before the first of them.
        async with self._slots:
            message = build(request, headers, self.base_url)
            self.requests_made[request.method] += 1
            # A file takes the time it takes; silence is still bounded.
            response = await self._move(message, None if request.body else self.timeouts.total)
        return interpret_answer(response.status_code, response.reason_phrase, response.headers, response.content)

    async def _begin_stream(self, request: Request, headers: Mapping[str, str]) -> Answer:
        """An Answer whose data is the open response; errors are read whole."""
        message = build(request, headers, self.base_url)
        self.requests_made[request.method] += 1
        message.extensions[STREAMED] = True
        response = await self._move(message, self.timeouts.total, whole=False)
        if 200 <= response.status_code < 300:
            return Answer(response)
        try:
            body = await response.aread()
        finally:
            await response.aclose()
        return interpret_answer(response.status_code, response.reason_phrase, response.headers, body)

    async def _move(self, message: httpx.Request, total: float | None, whole: bool = True) -> httpx.Response:
        """Through the transport, whichever it is: httpx's exceptions become TransportError."""
        try:
            # httpx's own way to tell a transport; ours has been told when it was made.
            message.extensions["timeout"] = {"connect": self.timeouts.connect, "read": self.timeouts.read}
            async with asyncio.timeout(total):
                response = await self._transport.handle_async_request(message)
                if whole:
                    try:
                        await response.aread()
                    finally:
                        await response.aclose()
                return response
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            raise TransportError(f"cannot connect to {message.url.netloc.decode()}: {error}", sent=False) from error
        except (httpx.TimeoutException, TimeoutError) as error:
            hint = "the node is busy or hangs; what was asked may still be done"
            raise TransportError("no answer in time", sent=True, hint=hint) from error
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise TransportError(f"the answer was lost: {error or type(error).__name__}", sent=True) from error

    def _hide(self, text: str, request: Request) -> str:
        text = self.auth.hide(text)
        for name, value in request.params.items():
            if isinstance(value, str) and len(value) >= 4 and _SECRET_NAME.search(name):
                text = text.replace(value, "********")
        return text


def normal_base(url: str) -> str:
    """``https://HOST:PORT`` of an address as people write it. Raises InvalidError."""
    shown = repr(url) if "@" not in url else "this text (with an @)"
    text = url.strip().rstrip("/").removesuffix("/api2/json").rstrip("/")
    if "://" not in text:
        bare_port = re.search(r":\d+$", text) if text.count(":") == 1 or "]" in text else None
        if text.count(":") > 1 and "[" not in text:
            text = f"[{text}]"
        text = f"https://{text}" + ("" if bare_port else ":8006")
    try:
        parsed = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise InvalidError(f"{shown} is no address: {error}") from None
    odd = re.search(r"[\s%]", text)
    if (
        parsed.scheme not in ("https", "http")
        or not parsed.host
        or odd
        or parsed.userinfo
        or parsed.query
        or parsed.fragment
    ):
        raise InvalidError(f"{shown} is no address of a node", hint="https://HOST:8006, without user or password in it")
    return str(parsed).rstrip("/")


async def download(
    url: str, *, tls: TLS | None = None, timeouts: Timeouts | None = None, limit: int = 64 << 20
) -> bytes:
    """The body of a plain GET of any URL (a node's ``apidoc.js``), without credentials.

    Raises TransportError when there is no answer, ApiError for a status of 400 or more, InvalidError above ``limit``
    bytes.
    """
    waits = timeouts or Timeouts()
    async with httpx.AsyncClient(transport=StreamTransport(tls=tls, timeouts=waits), trust_env=False) as client:
        try:
            answer = await client.get(url)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TransportError(f"GET {url}: {error}", sent=False) from None
    if answer.status_code >= 400:
        raise ApiError(answer.status_code, answer.reason_phrase, method="GET", path=url)
    if len(answer.content) > limit:
        raise InvalidError(f"GET {url}: more than {limit >> 20} MiB")
    return answer.content

"""The typed client: a session that is the same for both colours, and the two drivers that run it.

What a call becomes is decided in ``arguments`` (a Request or all its problems), what an answer means in ``models``;
``Session`` joins them with ``api.client``. The asynchronous driver hands its coroutines out, the synchronous one runs
them on an event loop of its own in a thread. Importing this module loads neither httpx, asyncio nor pydantic.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from pvehelm.api.layout import layout_of
from pvehelm.api.paths import path_class
from pvehelm.api.schema import Operation, Schema
from pvehelm.errors import InvalidError, NotFoundError, Problem

if TYPE_CHECKING:
    import asyncio

    import httpx

    from pvehelm.api.client import Auth, Client
    from pvehelm.api.exchange import Request
    from pvehelm.api.task import Backoff, Task, TaskResult

T = TypeVar("T")
_PAGE = 500


class Session:
    """A connection and the schema that goes with it; opened by the first call."""

    def __init__(self, make: Callable[[], Client], schema: Schema | None) -> None:
        self._make, self._schema = make, schema
        self._client: Client | None = None
        self._opening: asyncio.Lock | None = None

    @property
    def schema(self) -> Schema:
        """The server's, once it is known (or the one that was asked for); the newest until then."""
        return self._schema or Schema.load()

    async def open(self) -> Client:
        """The client; asks the server for its version unless a schema was chosen."""
        if self._client is not None and self._schema is not None:
            return self._client
        import asyncio

        self._client = self._client or self._make()
        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if self._schema is None:
                answer = await self._client.version()
                self._schema = Schema.load(str(answer.get("version") or answer.get("release") or ""))
        return self._client

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def call(
        self,
        method: str,
        template: str,
        values: Sequence[Any],
        params: Mapping[str, Any],
        *,
        raw: bool,
        wrap: Callable[[Task], Any],
    ) -> Any:
        """Check, send, interpret; ``wrap`` gives a task the colour of the caller."""
        client = await self.open()
        operation = self.schema.operation(method, template)
        if "file" in params and layout_of(self.schema).is_upload(template):
            request, body = _upload(operation, values, dict(params))
            answer = await client.exchange(request.method, request.path, request.params, body=body)
        else:
            request = prepare(operation, values, params)
            answer = await client.exchange(request.method, request.path, request.params)
        return answer.data if raw else self.interpret(client, operation, answer.data, wrap)

    def interpret(self, client: Client, operation: Operation, data: Any, wrap: Callable[[Task], Any]) -> Any:
        """What an answer's ``data`` means: a task, a model, or itself."""
        kind = operation.returns.get("type")
        if isinstance(data, str):
            from pvehelm.api.task import Task, is_upid

            if is_upid(data):
                return wrap(Task(data, client))
        if data is None or not operation.returns or kind in ("null", "string", "any"):
            return data
        from pvehelm.api.models import answers_of

        return answers_of(self.schema).read(operation, data)

    async def lines(self, template: str, values: Sequence[Any], params: Mapping[str, Any]) -> AsyncIterator[str]:
        """A log's lines from ``start`` (0) on, at most ``limit`` of them, read page by page."""
        client = await self.open()
        operation = self.schema.operation("GET", template)
        start, limit = int(params.get("start") or 0), params.get("limit")
        left = None if limit is None else int(limit)
        while left is None or left > 0:
            page = _PAGE if left is None else min(_PAGE, left)
            request = prepare(operation, values, {**params, "start": start, "limit": page})
            answer = await client.exchange(request.method, request.path, request.params)
            rows = [row for row in answer.data or () if isinstance(row, Mapping)]
            texts = [str(row.get("t", "")) for row in rows]
            # The server says so in place of the lines that are not there.
            if texts == ["no content"] and (answer.total or 0) <= max(start, 1):
                return
            for text in texts:
                yield text
            start += len(texts)
            left = None if left is None else left - len(texts)
            if len(texts) < page:
                return

    async def stream(self, template: str, values: Sequence[Any], params: Mapping[str, Any]) -> AsyncIterator[bytes]:
        """The bytes of a file as they come."""
        client = await self.open()
        operation = self.schema.operation("GET", template)
        if "download" in operation.params:
            params = {**params, "download": 1}
        request = prepare(operation, values, params)
        async for chunk in client.stream(request.path, request.params):
            yield chunk


def prepare(operation: Operation, values: Sequence[Any], params: Mapping[str, Any]) -> Request:
    """See ``arguments.prepare``; ``values`` are those of the path, in its order."""
    from pvehelm.api import arguments

    return arguments.prepare(operation, dict(zip(operation.path_names, values, strict=True)), params)


def _upload(operation: Operation, values: Sequence[Any], params: dict[str, Any]) -> tuple[Request, Any]:
    from pvehelm.api.upload import Upload

    source, size = params.pop("file"), params.pop("size", None)
    body = Upload.of(source, name=params.get("filename"), size=size)
    return prepare(operation, values, {**params, "filename": body.name}), body


# -- the two colours ----------------------------------------------------------------------------------------------


class Driver:
    """Hands out what the session does: coroutines and asynchronous iterators as they are."""

    def __init__(self, session: Session, raw: bool = False) -> None:
        self.session, self.raw = session, raw

    def plain(self) -> Driver:
        """The same connection, with plain data for answers."""
        return type(self)(self.session, True)

    def run(self, work: Coroutine[Any, Any, T]) -> Any:
        return work

    def iterate(self, source: AsyncIterator[T]) -> Any:
        return source

    def task(self, task: Task) -> Any:
        return task


class SyncDriver(Driver):
    """Runs what the session does on an event loop in a thread, and waits for it."""

    def __init__(self, session: Session, raw: bool = False, portal: Portal | None = None) -> None:
        super().__init__(session, raw)
        self.portal = portal or Portal()

    def plain(self) -> Driver:
        return SyncDriver(self.session, True, self.portal)

    def run(self, work: Coroutine[Any, Any, T]) -> Any:
        return self.portal.run(work)

    def iterate(self, source: AsyncIterator[T]) -> Any:
        async def following() -> tuple[T, ...]:
            async for item in source:
                return (item,)
            return ()

        try:
            while found := self.portal.run(following()):
                yield found[0]
        finally:
            close = getattr(source, "aclose", None)
            if close is not None and self.portal.open:
                self.portal.run(close())

    def task(self, task: Task) -> Any:
        return SyncTask(task, self)


class Portal:
    """An event loop in a thread, begun by the first work and ended by ``close``."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Any = None

    @property
    def open(self) -> bool:
        return self._loop is not None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``; an interrupt cancels it."""
        import asyncio

        future = asyncio.run_coroutine_threadsafe(work, self._begun())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _begun(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            import asyncio
            import threading

            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="pvehelm", daemon=True)
            self._thread.start()
        return self._loop

    def close(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()


class SyncTask:
    """``api.task.Task`` whose methods return."""

    def __init__(self, task: Task, driver: Driver) -> None:
        self._task, self._driver = task, driver
        self.upid = task.upid

    def __repr__(self) -> str:
        return f"SyncTask({str(self.upid)!r})"

    def status(self) -> dict[str, Any]:
        """See Task.status."""
        found: dict[str, Any] = self._driver.run(self._task.status())
        return found

    def wait(self, timeout: float | None = None, poll: Backoff | None = None, *, patience: float = 300.0) -> TaskResult:
        """See Task.wait."""
        found: TaskResult = self._driver.run(self._task.wait(timeout, poll, patience=patience))
        return found

    def log(self, start: int = 0, poll: Backoff | None = None) -> Iterator[str]:
        """See Task.log."""
        lines: Iterator[str] = self._driver.iterate(self._task.log(start, poll))
        return lines


class _Base:
    """What both clients have in common. The generated packages add the typing of what lies below."""

    _driver_type: ClassVar[type[Driver]] = Driver

    def __init__(
        self,
        host: str,
        *,
        token: str | tuple[str, str | Callable[[], str]] | None = None,
        user: str | None = None,
        password: str | Callable[[], str] | None = None,
        fingerprint: str | tuple[str, ...] | None = None,
        ca_file: str | FilePath | None = None,
        insecure: bool = False,
        port: int = 8006,
        hosts: Sequence[str] = (),
        transport: httpx.AsyncBaseTransport | None = None,
        release: str | None = None,
        schema: Schema | None = None,
        max_connections: int = 12,
    ) -> None:
        """``host``: a name, an address or ``https://HOST:PORT``; ``hosts``: more nodes of the cluster, for when it is
        away. ``token``: ``"USER@REALM!ID=SECRET"`` or the two as a tuple; else ``user`` (``NAME@REALM``) and
        ``password``. ``fingerprint`` (SHA-256), ``ca_file``, ``insecure``: whom to trust, see ``api.tls.TLS``.
        ``release``: the schema to use, ``"9.2"``; the server's own version when left out. ``transport``: an httpx
        transport instead of the network. Raises InvalidError for arguments that make no sense.
        """
        auth = _auth(token, user, password)

        def make() -> Client:
            from pvehelm.api.client import TLS, Client

            trust = TLS(ca_file=ca_file, fingerprint=fingerprint, insecure=insecure)
            addresses = [_address(name, port) for name in (host, *hosts)]
            return Client(
                addresses[0],
                auth(),
                transport=transport,
                tls=trust,
                hosts=addresses[1:],
                max_connections=max_connections,
            )

        schema = schema or self._own_schema()
        if schema is None and release is not None:
            schema = Schema.load(release)
        self._host = host
        self._driver: Driver = self._driver_type(Session(make, schema))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._host!r})"

    @staticmethod
    def _own_schema() -> Schema | None:
        """The schema of a generated package that brings one along; else the server's version chooses."""
        return None

    # A type checker that saw it would let every name pass.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            return getattr(path_class(self.schema, "/")(self._driver), name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *layout_of(self.schema).attributes("/")})

    @property
    def schema(self) -> Schema:
        """The schema that calls are checked against."""
        return self._driver.session.schema

    @property
    def raw(self) -> Any:
        """The same paths, answering plain data (what JSON says) instead of models and tasks."""
        return path_class(self.schema, "/")(self._driver.plain())

    def request(self, method: str, path: str, *, raw: bool = False, **params: Any) -> Any:
        """Call a concrete path: ``request("GET", "/nodes/pve1/qemu", full=True)``; checked like every other call."""
        return self._driver.run(self._request(method.upper(), path, raw, params))

    async def _request(self, method: str, path: str, raw: bool, params: Mapping[str, Any]) -> Any:
        session = self._driver.session
        await session.open()
        found = session.schema.match(method, path)
        if found is None:
            raise NotFoundError(f"Proxmox VE {session.schema.release} has no {method} {path}")
        operation, values = found
        ordered = [values[name] for name in operation.path_names]
        return await session.call(method, operation.path, ordered, params, raw=raw, wrap=self._driver.task)

    async def _task(self, upid: str) -> Any:
        from pvehelm.api.task import Task

        return self._driver.task(Task(upid, await self._driver.session.open()))


class AsyncClient(_Base):
    """Awaited calls; see ``_Base.__init__`` for the arguments."""

    async def __aenter__(self) -> Self:
        await self._driver.session.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._driver.session.close()

    async def task(self, upid: str) -> Task:
        """A task that was begun earlier. Raises InvalidError for a text that is no UPID."""
        found: Task = await self._task(upid)
        return found


class SyncClient(_Base):
    """Calls that return; see ``_Base.__init__`` for the arguments. For one thread at a time or many."""

    _driver_type = SyncDriver

    @property
    def _portal(self) -> Portal:
        assert isinstance(self._driver, SyncDriver)
        return self._driver.portal

    def __enter__(self) -> Self:
        self._driver.run(self._driver.session.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections and end the thread."""
        if self._portal.open:
            self._driver.run(self._driver.session.close())
        self._portal.close()

    def task(self, upid: str) -> SyncTask:
        """A task that was begun earlier. Raises InvalidError for a text that is no UPID."""
        found: SyncTask = self._driver.run(self._task(upid))
        return found


def _auth(
    token: str | tuple[str, str | Callable[[], str]] | None,
    user: str | None,
    password: str | Callable[[], str] | None,
) -> Callable[[], Auth]:
    problems = []
    if token is not None and (user is not None or password is not None):
        problems.append(Problem("token", "given together with a user or a password", "one of both"))
    if (user is None) != (password is None):
        missing = "password" if password is None else "user"
        problems.append(Problem(missing, "a user and a password go together"))
    if isinstance(token, str) and "=" not in token:
        problems.append(Problem("token", "has no secret", 'write "USER@REALM!ID=SECRET", or a tuple of both'))
    if problems:
        raise InvalidError("credentials that make no sense", problems)
    from pvehelm.api.auth import Auth, TicketAuth, TokenAuth

    if token is not None:
        name, secret = token.split("=", 1) if isinstance(token, str) else token
        made: Auth = TokenAuth(name, secret)
    elif user is not None and password is not None:
        made = TicketAuth(user, password)
    else:
        made = Auth()
    return lambda: made


def _address(host: str, port: int) -> str:
    if "://" in host:
        return host
    bare = f"[{host}]" if host.count(":") > 1 and "[" not in host else host
    return bare if re.search(r"(^[^:]*|\]):\d+$", bare) else f"{bare}:{port}"

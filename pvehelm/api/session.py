"""A connection with its schema, and the two drivers that give its work a colour.

What a call becomes is decided in ``arguments`` (a Request or all its problems), what an answer means in ``models``;
``Session`` joins them with ``api.client``. The asynchronous driver hands its coroutines out, the synchronous one runs
them on an event loop of its own in a thread. Importing this module loads neither httpx, asyncio nor pydantic.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from pvehelm.api.layout import layout_of
from pvehelm.api.schema import Operation, Schema

if TYPE_CHECKING:
    import asyncio

    from pvehelm.api.client import Client
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
        prepare(operation, values, params)
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
        self._beginning = Lock()

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
        with self._beginning:
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

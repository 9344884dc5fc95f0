"""The typed client of both colours: how to reach a server, who to be, and the way into its paths.

Importing this module loads neither httpx, asyncio nor pydantic.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as FilePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pvehelm.api.layout import layout_of
from pvehelm.api.paths import path_class
from pvehelm.api.schema import Schema
from pvehelm.api.session import Driver, Portal, Session, SyncDriver, SyncTask
from pvehelm.errors import InvalidError, NotFoundError, Problem

if TYPE_CHECKING:
    import httpx

    from pvehelm.api.client import Auth, Client
    from pvehelm.api.task import Task


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
        try:
            await self._driver.session.open()
        except BaseException:
            await self.aclose()
            raise
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
        try:
            self._driver.run(self._driver.session.open())
        except BaseException:
            self.close()
            raise
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

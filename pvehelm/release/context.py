"""What an action works with: the only seams, and the only things that a test ever replaces.

A face builds one Context. The store opens and the server is asked only when something needs them: ``list`` pays for
neither the client nor the schema.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING

from pvehelm.errors import InvalidError

if TYPE_CHECKING:
    import asyncio
    from socket import socket

    from pvehelm.api.client import Client
    from pvehelm.api.kinds import Kinds
    from pvehelm.api.schema import Schema
    from pvehelm.release.audit import Record
    from pvehelm.release.event import Emit, Event
    from pvehelm.release.plan import Plan
    from pvehelm.release.reach import Connect
    from pvehelm.release.release import ReleaseKey
    from pvehelm.release.secrets import Resolver, Secrets
    from pvehelm.release.store import Store


DIRECT = "*"
# Seconds that a connection which nobody needs any more has to come about, and to be ended in order.
_MADE_BY = 0.5
_record: ContextVar[tuple[object, Record | None]] = ContextVar("record", default=(None, None))


def silent(_event: Event) -> None:
    """An emitter for whoever doesn't watch."""


def refuse(_plan: Plan) -> bool:
    """The answer of whoever can't be asked."""
    return False


class Context:
    """``dial`` makes the client, ``identify`` names the cluster (cached by the face: ``list`` needs no network).

    ``resolvers`` gives the resolvers of secrets beside ``release``, asked for when a reference turns up;
    ``allow_privileged`` is what the context's policy allows without a flag: kinds and keys of rule 13.
    """

    def __init__(
        self,
        *,
        name: str,
        namespace: str,
        open_store: Callable[[], Store],
        dial: Callable[[], Awaitable[Client]],
        identify: Callable[[], str],
        user: str = "",
        clock: Callable[[], float] = time.time,
        emit: Emit = silent,
        confirm: Callable[[Plan], bool] = refuse,
        resolvers: Callable[[], Mapping[str, Resolver]] = dict,
        allow_privileged: frozenset[str] = frozenset(),
        reach: Connect | None = None,
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.open_store = open_store
        self.dial = dial
        self.identify = identify
        self.user = user
        self.clock = clock
        self.emit = emit
        self.confirm = confirm
        self.resolvers = resolvers
        self.allow_privileged = allow_privileged
        self._reach = reach
        self.release = ""
        # Set to ask a running apply to start nothing more; ``applying`` names the release while there is one (DIRECT:
        # objects by themselves).
        self.stop: asyncio.Event | None = None
        self.applying = ""
        # The cluster's id, once it is known.
        self.known_cluster = ""
        self._store: Store | None = None
        self._client: Client | None = None
        self._connecting: asyncio.Future[None] | None = None
        self._kinds: Kinds | None = None

    @property
    def recovery(self) -> str:
        """The command that would go on with what is being applied."""
        return "pvehelm recover" if self.applying == DIRECT else f"pvehelm recover {self.applying}"

    def reach(self, address: str, port: int, seconds: float) -> socket:
        """A connection to a guest. Raises OSError."""
        from pvehelm.release.reach import connect

        return (self._reach or connect)(address, port, seconds)

    @property
    def store(self) -> Store:
        if self._store is None:
            self._store = self.open_store()
        return self._store

    def use(self, store: Store) -> None:
        """Go on with another store, which is closed at the end; whoever calls closes the one before."""
        self._store = store

    @property
    def cluster(self) -> str:
        """The id of the cluster that releases are kept under."""
        if not self.known_cluster:
            self.known_cluster = self.identify()
        return self.known_cluster

    @property
    def record(self) -> Record | None:
        """The action that runs here, for the audit trail: each of several tasks side by side has its own."""
        whose, record = _record.get()
        return record if whose is self else None

    @record.setter
    def record(self, record: Record | None) -> None:
        _record.set((self, record))

    def begin(self) -> None:
        """Something is about to be changed: the audit trail is told first."""
        if self.record is not None:
            self.record.begin(self)

    def key(self, name: str, namespace: str = "") -> ReleaseKey:
        from pvehelm.release.release import ReleaseKey

        return ReleaseKey(self.cluster, namespace or self.namespace, name)

    async def connect(self) -> Client:
        """The client, once; learns the server's version and with it the schema in use."""
        if self._client is None:
            import asyncio

            await asyncio.shield(self._begun_to_connect())
            assert self._client is not None
        return self._client

    async def connect_ahead(self) -> None:
        """Begin to connect, and return: what needs no server is done meanwhile. ``connect`` waits for it and tells what
        went wrong."""
        import asyncio

        self._begun_to_connect()
        await asyncio.sleep(0)

    def _begun_to_connect(self) -> asyncio.Future[None]:
        from pvehelm.release.ahead import ahead

        if self._connecting is None or self._connecting.done():
            self._connecting = ahead(self._connect())
        return self._connecting

    async def _connect(self) -> None:
        if self._client is not None:
            return
        client = await self.dial()
        try:
            answer = await client.version()
            self.release = str(answer.get("version") or answer.get("release"))
            from pvehelm.api.releases import version_key

            if version_key(self.release) < (8,):
                raise InvalidError(
                    f"Proxmox VE {self.release} is too old for releases",
                    hint="8.4 and 9.2 are supported; pvehelm api works with 7.4 too",
                )
        except BaseException:
            await client.aclose()
            raise
        self._client = client
        # Whoever asked before was told of another version's.
        self._kinds = None

    async def aclose(self) -> None:
        if self._connecting is not None and not self._connecting.done():
            import asyncio

            # A connection that is cut off while it is made may be left open; most are made by then.
            await asyncio.wait([self._connecting], timeout=_MADE_BY)
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._client is not None:
            await self._client.aclose()
            self._client = None
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def schema(self) -> Schema:
        from pvehelm.api.schema import Schema

        return Schema.load(self.release)

    @property
    def kinds(self) -> Kinds:
        from pvehelm.api.kinds import Kinds

        if self._kinds is None:
            self._kinds = Kinds.load(self.schema)
        return self._kinds

    def secrets(self, key: ReleaseKey, sealed: Mapping[str, str] | None = None) -> Secrets:
        """The resolver of references for one release; ``sealed`` are secrets of it that are not stored yet."""
        from pvehelm.release.secrets import Secrets

        store = self.store

        def release(name: str) -> str:
            return (sealed or {}).get(name) or store.get_secret(key, name)

        return Secrets({**self.resolvers(), "release": release}, store.hmac)

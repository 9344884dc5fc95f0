"""The composition root: from a context's settings to a Context with its store, client and credentials."""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pvehelm.release.context import Context

if TYPE_CHECKING:
    from socket import socket

    from pvehelm.api.client import Client
    from pvehelm.api.tls import TLS
    from pvehelm.config import Config
    from pvehelm.release.secrets import Resolver
    from pvehelm.release.store import Store

SIMULATOR_USER = "root@pam"
SIMULATOR_PASSWORD = "proxmox"


def build_context(config: Config, *, announce: bool = True) -> Context:
    """A Context for the selected settings; nothing is opened or asked yet. The simulator is announced on stderr."""
    settings = config.context
    if settings.is_simulator and announce:
        sys.stderr.write("context: simulator (no host is set, nothing real is touched)\n")

    def open_store() -> Store:
        from pvehelm.config import store_url
        from pvehelm.release.store import open_store as opened

        return opened(resolved(store_url(config)))

    async def dial() -> Client:
        return simulator_client() if settings.is_simulator else host_client(config)

    def identify() -> str:
        return simulator_cluster() if settings.is_simulator else cluster_of(config)

    return Context(
        name=settings.name,
        namespace=settings.namespace or "default",
        open_store=open_store,
        dial=dial,
        identify=identify,
        user=whoami(),
        resolvers=resolvers,
        allow_privileged=frozenset(settings.policy.allow_privileged),
        reach=simulator_reach if settings.is_simulator else None,
    )


def resolvers() -> dict[str, Resolver]:
    """The secret references that only the command line resolves."""
    from pvehelm.release.resolvers import everything

    return everything(os.environ)


def resolved(url: str) -> str:
    """A store's URL with the references in it (``${secret://env/PGPASS}``) as what they stand for."""
    if "secret://" not in url:
        return url
    from urllib.parse import quote

    from pvehelm.release.secrets import Secrets

    secrets = {name: (lambda key, one=one: quote(one(key), safe="")) for name, one in resolvers().items()}
    return str(Secrets(secrets).resolve(url))


def whoami() -> str:
    """``user@host`` for the history."""
    from pvehelm.release.lease import who

    return who()


# -- the simulator ---------------------------------------------------------------------------------------------


def simulator_path() -> str:
    from pvehelm.config import data_dir

    folder = data_dir()
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return os.path.join(folder, "simulator.db")


def simulator_cluster() -> str:
    """The simulator's own id; renewed when it is reset."""
    from pvehelm.simulator.state import State

    state = State(simulator_path())
    try:
        return state.cluster_id
    finally:
        state.close()


def simulator_reach(address: str, port: int, seconds: float) -> socket:
    """A connection to a simulated guest."""
    from pvehelm.simulator.network import connect

    return connect(simulator_path(), address, port, seconds)


def simulator_client() -> Client:
    """The real client over the simulator's transport."""
    from pvehelm.api.auth import TicketAuth
    from pvehelm.api.client import Client
    from pvehelm.simulator.core import Simulator
    from pvehelm.simulator.state import State
    from pvehelm.simulator.transport import SimulatorTransport

    state = State(simulator_path())

    class Owner(SimulatorTransport):
        """Closes the state that was opened for it."""

        async def aclose(self) -> None:
            await super().aclose()
            state.close()

    transport = Owner(Simulator(state))
    return Client("https://simulator:8006", TicketAuth(SIMULATOR_USER, SIMULATOR_PASSWORD), transport=transport)


# -- real hosts ------------------------------------------------------------------------------------------------


def tls_of(config: Config) -> TLS:
    from pvehelm.api.tls import TLS

    return TLS(ca_file=config.context.ca_file or None, fingerprint=config.context.fingerprint or None)


def host_client(config: Config) -> Client:
    """A client for a real host, with the context's credentials and way of trusting its certificate."""
    from pvehelm.api.auth import Auth, TicketAuth, TokenAuth
    from pvehelm.api.client import Client

    settings = config.context
    auth: Auth
    if settings.token_id:
        auth = TokenAuth(settings.token_id, config.credential())
    else:
        auth = TicketAuth(settings.user or "root@pam", config.credential)
    first, *others = settings.urls
    return Client(first, auth, tls=tls_of(config), hosts=others)


def cluster_of(config: Config) -> str:
    """The fingerprint of the cluster's root CA: cached, else asked of the server once."""
    from pvehelm.config import known_cluster, remember_cluster

    known = known_cluster(config)
    if not known:
        known = in_a_loop(ask_cluster(config))
        with suppress(OSError):  # who may not write there is asked again
            remember_cluster(config, known)
    return known


async def ask_cluster(config: Config) -> str:
    client = host_client(config)
    try:
        nodes = sorted(row["node"] for row in await client.get("/nodes") or [])
        for node in nodes:
            for row in await client.get(f"/nodes/{node}/certificates/info") or []:
                if row.get("filename") == "pve-root-ca.pem" and row.get("fingerprint"):
                    return str(row["fingerprint"])
        return "nodes:" + ",".join(nodes)
    finally:
        await client.aclose()


def in_a_loop(work: Coroutine[Any, Any, str]) -> str:
    """Run a coroutine to its end whether or not this thread runs a loop already."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()

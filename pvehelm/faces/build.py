"""The composition root: from a context's settings to a Context with its store, client and credentials."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pvehelm.release.context import Context, whoami

if TYPE_CHECKING:
    from pvehelm.api.client import Client
    from pvehelm.config import ContextConfig

SIMULATOR_USER = "root@pam"
SIMULATOR_PASSWORD = "proxmox"


def build_context(settings: ContextConfig, namespace: str = "", *, announce: bool = True) -> Context:
    """A Context for ``settings``; nothing is opened or asked yet, except for the simulator's name on stderr."""
    from pvehelm.release.secrets import env_resolver, file_resolver

    simulated = not settings.host
    if simulated and announce:
        sys.stderr.write("context: simulator (no Proxmox host is configured; nothing real is touched)\n")

    def open_store():  # type: ignore[no-untyped-def]
        from pvehelm.release.store import open_store as opened

        return opened(settings.store)

    async def dial() -> Client:
        return simulator_client() if simulated else host_client(settings)

    def identify() -> str:
        if simulated:
            return simulator_cluster()
        from pvehelm.faces.identity import cluster_of

        return cluster_of(settings)

    return Context(
        name=settings.name,
        namespace=namespace or settings.namespace or "default",
        open_store=open_store,
        dial=dial,
        identify=identify,
        user=whoami(),
        resolvers={"env": env_resolver(os.environ), "file": file_resolver},
        allow_privileged=frozenset(settings.allow_privileged),
    )


def simulator_path() -> str:
    from pvehelm.config import data_dir

    folder = data_dir()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(folder / "simulator.db")


def simulator_cluster() -> str:
    from pvehelm.simulator.state import State

    state = State(simulator_path())
    try:
        return state.cluster_id
    finally:
        state.close()


def simulator_client() -> Client:
    """The real client over the simulator's transport."""
    from pvehelm.api.auth import TicketAuth
    from pvehelm.api.client import Client
    from pvehelm.simulator.core import Simulator
    from pvehelm.simulator.state import State
    from pvehelm.simulator.transport import SimulatorTransport

    transport = SimulatorTransport(Simulator(State(simulator_path())))
    return Client("https://simulator:8006", TicketAuth(SIMULATOR_USER, SIMULATOR_PASSWORD), transport=transport)


def host_client(settings: ContextConfig) -> Client:
    """A client for a real host, with the context's credentials and way of trusting its certificate."""
    from pvehelm.api.auth import Auth, TicketAuth, TokenAuth
    from pvehelm.api.client import TLS, Client

    auth: Auth
    if settings.token_id:
        auth = TokenAuth(settings.token_id, settings.secret())
    else:
        auth = TicketAuth(settings.user, settings.secret)
    tls = TLS(ca_file=settings.ca_file or None, fingerprint=settings.fingerprint or None)
    return Client(f"https://{settings.host}:{settings.port}", auth, tls=tls)

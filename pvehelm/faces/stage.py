"""The stage: simulators that are there for one test and gone afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from socket import socket

    from pvehelm.actions.lives import Cluster
    from pvehelm.api.client import Client
    from pvehelm.release.context import Context
    from pvehelm.release.store import Store
    from pvehelm.simulator.state import State

#: Memory, where the system has a folder of it.
_MEMORY = "/dev/shm"


class Simulated:
    """A simulated cluster in a folder of its own, and a Context that works with it and confirms everything."""

    def __init__(self, folder: str, version: str, base: str = "default") -> None:
        from pvehelm.simulator.core import Simulator
        from pvehelm.simulator.state import State

        self.folder = folder
        self.path = os.path.join(folder, "simulator.db")
        self.state: State = State(self.path, base=base)
        self.simulator = Simulator(self.state, release=version) if version else Simulator(self.state)
        self.context = self._context()

    def world(self) -> dict[str, Any]:
        from pvehelm.simulator.world import world

        return world(self.state)

    def _context(self) -> Context:
        from pvehelm.release.context import Context

        def open_store() -> Store:
            from pvehelm.release.sealing import KeySource
            from pvehelm.release.store import open_store as opened

            keys = KeySource(os.path.join(self.folder, "secrets.key"), {})
            return opened(f"sqlite:///{os.path.join(self.folder, 'store.db')}", keys=keys)

        async def dial() -> Client:
            from pvehelm.api.auth import TicketAuth
            from pvehelm.api.client import Client
            from pvehelm.faces.build import SIMULATOR_PASSWORD, SIMULATOR_USER
            from pvehelm.simulator.transport import SimulatorTransport

            transport = SimulatorTransport(self.simulator)
            return Client("https://simulator:8006", TicketAuth(SIMULATOR_USER, SIMULATOR_PASSWORD), transport=transport)

        def reach(address: str, port: int, seconds: float) -> socket:
            from pvehelm.simulator.network import connect

            return connect(self.path, address, port, seconds)

        return Context(
            name="test",
            namespace="default",
            open_store=open_store,
            dial=dial,
            identify=lambda: self.state.cluster_id,
            user="chart test",
            confirm=lambda plan: True,
            reach=reach,
        )


@contextmanager
def stage(version: str = "") -> Iterator[Cluster]:
    """A fresh simulator of a Proxmox VE version ('' is the newest); nothing of it stays."""
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="pvehelm-test-", dir=place, ignore_cleanup_errors=True) as folder:
        made = Simulated(folder, version)
        try:
            yield made
        finally:
            made.state.close()

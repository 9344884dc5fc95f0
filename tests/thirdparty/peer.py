"""Runs where fakepve is installed, as a process of its own: serves a base like the simulator's, does as it is told.

Nothing of pvehelm is imported here and nothing of fakepve anywhere else (it is under the AGPL). Reads one JSON list
``[method, args, keywords]`` a line, calls that method of the fake, answers one JSON object a line: ``{"data": ...}`` or
``{"error": text}``. The first line says where it listens: ``{"data": {"url": ..., "fingerprint": ...}}``.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from fakepve import FakePve
from fakepve.certs import make_cert

GIB = 1024**3


def furnish(pve: Any, base: dict[str, Any]) -> None:
    """The nodes, storages and guests of a base."""
    pve.version, pve.release_version = base["version"], base["release"]
    pve.nodes.clear()
    for node in base["nodes"]:
        pve.add_node(node)
    pve.storages.clear()
    for name, options in base["storages"].items():
        volumes = {
            volume: {"size": GIB, "ctime": 1, "vmid": None, **facts}
            for volume, facts in options.pop("volumes", {}).items()
        }
        pve.storages[name] = {"active": 1, "files": set(), "volumes": volumes, **options}
    for guest in base["guests"]:
        pve.add_vm(**guest)


class Desk:
    """What a test may ask for beside the fake's own methods."""

    def __init__(self, pve: Any) -> None:
        self.pve = pve

    def guests(self) -> dict[str, Any]:
        found = [*self.pve.vms, *self.pve.cts]
        return {
            str(guest.vmid): {
                "node": guest.node,
                "name": guest.name,
                "status": guest.status,
                "config": {**guest.config, **guest.pending},
                "pool": guest.pool,
            }
            for guest in found
        }

    def volumes(self) -> list[str]:
        return sorted(f"{name}:{volume}" for name, one in self.pve.storages.items() for volume in one["volumes"])

    def asked(self) -> list[list[str]]:
        """Method and path of every request so far."""
        return [[method, path] for method, path, _ in self.pve.requests]

    def calm(self) -> None:
        """No failure is injected any more."""
        self.pve.failures.clear()

    def drop(self, rate: float, seed: int = 1) -> None:
        self.pve.flaky_network(drop_rate=rate, seed=seed)
        self.pve._random.seed(seed)

    def set(self, name: str, value: Any) -> None:
        setattr(self.pve, name, value)

    def set_config(self, vmid: int, name: str, value: Any) -> None:
        """Somebody changes a guest by hand; None takes the field away."""
        self.pve.guest(vmid).config.pop(name, None)
        if value is not None:
            self.pve.guest(vmid).config[name] = value


async def main(base: dict[str, Any]) -> None:
    pve = FakePve(host="127.0.0.1", port=0)
    furnish(pve, base)
    with tempfile.TemporaryDirectory() as folder:
        cert, key, der = make_cert(folder)
        await pve.start(cert, key)
    desk = Desk(pve)
    say({"data": {"url": pve.url, "fingerprint": hashlib.sha256(der).hexdigest()}})
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        name, args, keywords = json.loads(line)
        try:
            made = getattr(desk if hasattr(desk, name) else pve, name)(*args, **keywords)
            data = await made if inspect.isawaitable(made) else made
            say({"data": data})
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})
    await pve.stop()


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))

"""A command line whose every step is known: which it is can be killed at, and which call shall go wrong.

Everything happens in one thread and by a clock of its own, so that a command meets the same steps in the same order
each time: the calls of the API (the simulator answers at once, in place) and the writes of the store. Sleeping only
moves the clock.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from pvehelm.api.auth import TicketAuth
from pvehelm.api.client import Client
from pvehelm.faces import build
from pvehelm.release.sqlite import SqliteDatabase
from pvehelm.simulator import faults
from pvehelm.simulator.core import Simulator
from pvehelm.simulator.state import State
from pvehelm.simulator.transport import answered, called

WRITING = ("INSERT", "UPDATE", "DELETE", "CREATE", "ALTER")


@dataclass(frozen=True)
class Call:
    """A call of the API; ``task`` is whether its answer was a task."""

    method: str
    path: str
    task: bool = False

    @property
    def reads(self) -> bool:
        return self.method == "GET"


@dataclass
class Script:
    """What happens to a command: nothing (then it is only watched), a kill at step ``kill``, a fault at call ``call``;
    both count from 1. ``fault`` is one of the simulator's, or ``{"gone": True}``: no answer from then on."""

    kill: int = 0
    call: int = 0
    fault: Mapping[str, Any] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Something that is seen from outside: a process may die before it and after it."""
        self._point(f"before {name}")
        yield
        self._point(f"after {name}")

    def _point(self, name: str) -> None:
        self.steps.append(name)
        if len(self.steps) == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)


class Clock:
    """Time that sleeping moves on."""

    def __init__(self) -> None:
        self.slept = 0.0

    def time(self) -> float:
        return time.time() + self.slept

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await asyncio.sleep(0)


class Wire(httpx.AsyncBaseTransport):
    """The simulator, answering in place and by a script."""

    def __init__(self, clock: Clock, script: Script) -> None:
        self.clock = clock
        self.script = script
        self.state = State(build.simulator_path())
        self.simulator = Simulator(self.state, clock=clock.time)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = await called(request)
        path = call.path
        script = self.script
        script.calls.append(Call(request.method, path))
        number = len(script.calls)
        if script.fault.get("gone"):
            if script.call and number >= script.call:
                raise httpx.ConnectError("no route to host", request=request)
        elif number == script.call:
            faults.add(self.state, "* *", times=1, **script.fault)
        with script.step(f"{request.method} {path}"):
            outcome = self.simulator.process(call)
        if outcome.response is not None and b'"data":"UPID:' in outcome.response.body:
            script.calls[number - 1] = Call(request.method, path, task=True)
        await self._wait(outcome.delay, request)
        return answered(outcome, request)

    async def _wait(self, delay: float, request: httpx.Request) -> None:
        bound = (request.extensions.get("timeout") or {}).get("read")
        await self.clock.sleep(delay if bound is None else min(delay, bound))
        if bound is not None and delay > bound:
            raise httpx.ReadTimeout("no answer in time", request=request)

    async def aclose(self) -> None:
        self.state.close()


class Process:
    """What commands of this process run in, from ``install`` until ``remove``."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.script = Script()
        self.patch = pytest.MonkeyPatch()

    def install(self) -> None:
        self.patch.setattr(build, "simulator_client", self._client)
        for name in ("execute", "insert"):
            self.patch.setattr(SqliteDatabase, name, self._watched(getattr(SqliteDatabase, name)))

    def remove(self) -> None:
        self.patch.undo()

    def _client(self) -> Client:
        auth = TicketAuth(build.SIMULATOR_USER, build.SIMULATOR_PASSWORD)
        wire = Wire(self.clock, self.script)
        clock = self.clock
        return Client("https://simulator:8006", auth, transport=wire, sleep=clock.sleep, clock=clock.time)

    def _watched(self, real: Any) -> Any:
        def execute(database: SqliteDatabase, sql: str, params: Sequence[Any] = ()) -> int:
            word, *rest = sql.split(None, 3)
            ours = threading.current_thread() is threading.main_thread()  # another one renews leases
            if ours and (word == "COMMIT" or (word in WRITING and not database._depth)):
                with self.script.step(" ".join(["store:", word, *rest[:2]])):
                    return int(real(database, sql, params))
            return int(real(database, sql, params))

        return execute

"""Tasks: what a node does after it has answered. Whether one failed is only told by its exit status.

Importing this module imports neither httpx nor asyncio: a UPID can be parsed anywhere.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pvehelm.api.exchange import PASSING, ForeignAnswerError, quote
from pvehelm.errors import ApiError, InvalidError, PvehelmError, TaskError, TransportError

if TYPE_CHECKING:
    from pvehelm.api.client import Client

UNKNOWN = "unknown"
"""``TaskError.exitstatus`` of a task that the node knows nothing about (any more)."""
FEW = 3
"""So many tasks of one node are asked for one by one; more share one list."""

_UPID = re.compile(
    r"UPID:(?P<node>[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?):(?P<pid>[0-9A-Fa-f]{8}):(?P<pstart>[0-9A-Fa-f]{8,9})"
    r":(?P<starttime>[0-9A-Fa-f]{8}):(?P<type>[^:\s]+):(?P<id>[^:\s]*):(?P<user>[^:\s]+):",
    re.ASCII,
)
_WARNINGS = re.compile(r"WARNINGS: (\d+)")
_LOG_PAGE = 500
_LAST_LINES = 20
_EMPTY_LOG = "no content"
_FRESH = 0.5
_ASK_ITSELF = 10


@dataclass(frozen=True, slots=True)
class UPID:
    """A task's identifier, in parts. ``starttime`` in seconds since the epoch, ``pstart`` in clock ticks since boot,
    ``id`` what the task works on (a VMID, ``150@st1``, or nothing). ``str()`` gives the text it was parsed from."""

    node: str
    pid: int
    pstart: int
    starttime: int
    type: str
    id: str
    user: str
    # The node looks a task up by its exact text, so the spelling of the numbers is kept.
    text: str = field(default="", repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> UPID:
        """Raises InvalidError when it is none."""
        found = _UPID.fullmatch(text) if isinstance(text, str) else None
        if not found:
            raise InvalidError(f"not a task identifier (UPID): {text!r}")
        pid, pstart, starttime = (int(found[name], 16) for name in ("pid", "pstart", "starttime"))
        return cls(found["node"], pid, pstart, starttime, found["type"], found["id"], found["user"], text)

    def __str__(self) -> str:
        if self.text:
            return self.text
        numbers = f"{self.pid:08X}:{self.pstart:08X}:{self.starttime:08X}"
        return f"UPID:{self.node}:{numbers}:{self.type}:{self.id}:{self.user}:"


parse = UPID.parse


def is_upid(value: object) -> bool:
    """Is it the text of a UPID? (What a call answers when it has only begun a task.)"""
    return isinstance(value, str) and _UPID.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between looks at a task: ``first``, then ``factor`` times more, at most ``cap``."""

    first: float = 0.1
    factor: float = 1.5
    cap: float = 2.0

    def after(self, pause: float | None) -> float:
        """The pause that follows ``pause`` (None: the first one)."""
        return self.first if pause is None else min(self.cap, pause * self.factor)


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How a task ended. ``ok`` is true for ``OK`` and for ``WARNINGS: n`` (then ``warnings`` is n)."""

    upid: UPID
    exitstatus: str
    ok: bool
    warnings: int = 0

    @classmethod
    def of(cls, upid: UPID, exitstatus: str) -> TaskResult:
        warned = _WARNINGS.fullmatch(exitstatus)
        return cls(upid, exitstatus, exitstatus == "OK" or warned is not None, int(warned[1]) if warned else 0)


class TaskTimeout(TaskError):
    """The task still runs after the time that the caller had for it. It goes on by itself."""

    def __init__(self, upid: str, timeout: float) -> None:
        super().__init__(upid, "still running")
        self.message = f"task {upid} still runs after {timeout:g} s; it goes on by itself"


class Task:
    """A task on a node. Raises InvalidError for a text that is no UPID."""

    def __init__(self, upid: UPID | str, client: Client) -> None:
        self.upid = upid if isinstance(upid, UPID) else UPID.parse(upid)
        self.client = client
        self._path = f"/nodes/{quote(self.upid.node)}/tasks/{quote(self.upid)}"

    def __repr__(self) -> str:
        return f"Task({str(self.upid)!r})"

    async def status(self) -> dict[str, Any]:
        """``{"status": "running"|"stopped", "exitstatus": ..., ...}``; raises TaskError when there is no such task."""
        try:
            data = await self.client.get(f"{self._path}/status")
        except ApiError as error:
            raise self._gone(error) or error from None
        return data if isinstance(data, dict) else {}

    async def wait(
        self, timeout: float | None = None, poll: Backoff | None = None, *, patience: float = 300.0
    ) -> TaskResult:
        """Wait for the end. ``timeout`` and ``patience`` in seconds; ``patience`` is for a node that does not answer.

        Raises TaskError (with the last lines of the log) when the task failed or is unknown, TaskTimeout when it still
        runs, and the ApiError or TransportError that lasted longer than ``patience``. Waits for several tasks of one
        node at a time share their looks at it.
        """
        poll = poll or Backoff()
        client = self.client
        board: _Board | None = client.boards.get(self.upid.node)
        if board is None:
            board = client.boards[self.upid.node] = _Board(client, self.upid.node)
        began = client.clock()
        lost: float | None = None
        pause: float | None = None
        look = 0
        board.waiting += 1
        try:
            while True:
                try:
                    look += 1
                    exitstatus = await self._ended(board, poll, look)
                    lost = None
                    if exitstatus is not None:
                        break
                except (ApiError, TransportError) as error:
                    now = client.clock()
                    lost = now if lost is None else lost
                    if not _passing(error) or now - lost >= patience:
                        raise
                pause = poll.after(pause)
                if timeout is not None:
                    left = began + timeout - client.clock()
                    if left <= 0:
                        raise TaskTimeout(str(self.upid), timeout)
                    pause = min(pause, left)
                await client.sleep(pause)
        finally:
            board.waiting -= 1
        result = TaskResult.of(self.upid, exitstatus)
        if not result.ok:
            raise TaskError(str(self.upid), exitstatus, await self.last_lines())
        return result

    async def _ended(self, board: _Board, poll: Backoff, look: int) -> str | None:
        """The exit status, or None while it runs. ``look`` counts from 1."""
        # Most tasks are short, and the list may leave out what has ended. A worker that was killed stays in it as
        # running, so now and then the task itself is asked again.
        if board.waiting > FEW and (look - 1) % _ASK_ITSELF:
            row = (await board.rows()).get(str(self.upid))
            # The list may leave out what has ended; and of what failed, the whole text is wanted.
            if row is not None and not row.get("endtime"):
                return None
            if row is not None and row.get("status") == "OK":
                return "OK"
        status = await self.status()
        if status.get("status") != "stopped":
            return None
        if not status.get("exitstatus"):
            # Between the process's end and the log's last line there is a moment.
            await self.client.sleep(poll.first)
            status = await self.status()
        return str(status.get("exitstatus") or UNKNOWN)

    async def log(self, start: int = 0, poll: Backoff | None = None, *, follow: bool = True) -> AsyncIterator[str]:
        """The log's lines from line ``start`` (from 0) on, as they are written, until the task has ended; those there
        are by now unless ``follow``.

        Raises TaskError when there is no such task, ApiError or TransportError when it cannot be read.
        """
        poll = poll or Backoff()
        pause: float | None = None
        ended = not follow
        while True:
            lines = await self._lines(start, _LOG_PAGE)
            for line in lines:
                yield line
            start += len(lines)
            if len(lines) >= _LOG_PAGE:
                continue
            if ended:
                return
            ended = (await self.status()).get("status") == "stopped"
            if not ended:
                pause = poll.after(pause)
                await self.client.sleep(pause)

    async def length(self) -> int:
        """How many lines the log has by now."""
        return (await self.client.exchange("GET", f"{self._path}/log", {"start": 0, "limit": 1})).total or 0

    async def last_lines(self, count: int = _LAST_LINES) -> list[str]:
        """The log's last lines; none when it cannot be read (it is only told beside something worse)."""
        try:
            return await self._lines(max(0, await self.length() - count), count)
        except PvehelmError:
            return []

    async def _lines(self, start: int, limit: int) -> list[str]:
        try:
            answer = await self.client.exchange("GET", f"{self._path}/log", {"start": start, "limit": limit})
        except ApiError as error:
            raise self._gone(error) or error from None
        rows = answer.data if isinstance(answer.data, list) else []
        lines = [str(row.get("t", "")) for row in rows if isinstance(row, dict)]
        # The server says so in place of a first line that is not there yet.
        empty = lines == [_EMPTY_LOG] and (answer.total or 0) <= max(start, 1)
        return [] if empty else lines

    def _gone(self, error: ApiError) -> TaskError | None:
        return TaskError(str(self.upid), UNKNOWN) if error.status == 400 and "upid" in error.errors else None


async def find_tasks(client: Client, node: str, type: str, id: str, since: float = 0.0, after: str = "") -> list[Task]:
    """Tasks of that type and id that began at ``since`` (seconds since the epoch by the node's clock) or later, and not
    before the one with the UPID ``after``; running and ended ones, the newest first: what to look for when nobody knows
    whether a call was executed.

    Raises ApiError, TransportError.
    """
    rows = await client.get(f"/nodes/{quote(node)}/tasks", {"source": "all", "typefilter": type, "limit": 500})
    found = [UPID.parse(row["upid"]) for row in rows or () if isinstance(row, dict) and is_upid(row.get("upid"))]
    first = max(int(since), UPID.parse(after).starttime if after else 0)
    wanted = [u for u in found if (u.type, u.id) == (type, id) and u.starttime >= first and str(u) != after]
    return [Task(upid, client) for upid in sorted(wanted, key=lambda upid: upid.starttime, reverse=True)]


class _Board:
    """What the waits for one node's tasks share: their number and a list of the node's tasks, read once for all."""

    def __init__(self, client: Client, node: str) -> None:
        import asyncio

        self.waiting = 0
        self._client = client
        self._path = f"/nodes/{quote(node)}/tasks"
        self._reading = asyncio.Lock()
        self._rows: dict[str, dict[str, Any]] = {}
        self._read_at = float("-inf")

    async def rows(self) -> dict[str, dict[str, Any]]:
        """Rows by UPID, read at most half a second before they were asked for."""
        asked = self._client.clock()
        async with self._reading:
            if abs(asked - self._read_at) > _FRESH:
                read_at = self._client.clock()
                rows = await self._client.get(self._path, {"source": "active", "limit": 1000})
                self._rows = {str(row.get("upid")): row for row in rows or () if isinstance(row, dict)}
                self._read_at = read_at
        return self._rows


def _passing(error: ApiError | TransportError) -> bool:
    """May it be over when the node is back? A node that restarts is a host that does not answer or is not found."""
    if isinstance(error, ApiError):
        return error.status == 500 or error.status in PASSING
    from pvehelm.api.tls import CertificateError

    return not isinstance(error, (CertificateError, ForeignAnswerError))

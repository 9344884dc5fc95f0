"""Webhooks: drift, repairs and failures told to others, signed, a bounded number of times.

The body is JSON. ``X-Pvehelm-Signature: sha256=HEX`` is the HMAC of ``TIMESTAMP.BODY`` with the webhook's secret, the
timestamp being that of ``X-Pvehelm-Timestamp`` (unix seconds); every try of one delivery has the same
``X-Pvehelm-Delivery``.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import socket
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pvehelm.errors import ApiError, InvalidError, NotFoundError, PvehelmError, TransportError
from pvehelm.faces.daemon.settings import Webhook

# Seconds before the second, third... try; the last one counts for all further ones.
PAUSES = (1.0, 5.0, 30.0, 120.0)
WAITING = 1000


def signature(secret: str, timestamp: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class PlainError(InvalidError):
    """What was to be told would leave this machine over plain http."""


def lookup(host: str, port: int) -> Sequence[str]:
    """The addresses of a host; none for one that has none."""
    try:
        return [str(row[4][0]).partition("%")[0] for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError:
        return []


class Webhooks:
    """Deliveries under way. ``resolve`` gives the text of a reference; ``done`` hears of each delivery's end."""

    def __init__(
        self,
        hooks: Sequence[Webhook],
        resolve: Callable[[str], str],
        clock: Callable[[], float],
        done: Callable[[Webhook, str, str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        lookup: Callable[[str, int], Sequence[str]] = lookup,
    ) -> None:
        self.hooks, self.resolve, self.clock, self.done, self.sleep = hooks, resolve, clock, done, sleep
        self.lookup = lookup
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, event: str, data: Mapping[str, Any]) -> None:
        """Begin to deliver an event to all who want it."""
        for hook in self.hooks:
            if event not in hook.events:
                continue
            if len(self._tasks) >= WAITING:
                self.done(hook, event, "too many deliveries wait")
                continue
            task = asyncio.get_running_loop().create_task(self._deliver(hook, event, data))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self, seconds: float = 10.0) -> None:
        """Wait for what is under way, but no longer than that."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _deliver(self, hook: Webhook, event: str, data: Mapping[str, Any]) -> None:
        delivery = str(uuid.uuid4())
        at = self.clock()
        body = json.dumps({"event": event, "delivery": delivery, "at": at, **data}, default=str).encode()
        why = ""
        for attempt in range(hook.attempts):
            if attempt:
                await self.sleep(PAUSES[min(attempt, len(PAUSES)) - 1])
            try:
                await asyncio.to_thread(self._send, hook, event, delivery, body)
            except PvehelmError as error:
                why = _why(error, hook)
                if not _passing(error):
                    break
            else:
                self.done(hook, event, "")
                return
        self.done(hook, event, why)

    def _send(self, hook: Webhook, event: str, delivery: str, body: bytes) -> None:
        from pvehelm.chart.fetch import Fetcher, Tls

        url = self.resolve(hook.url)
        timestamp = str(int(self.clock()))
        headers = {
            "Content-Type": "application/json",
            "X-Pvehelm-Event": event,
            "X-Pvehelm-Delivery": delivery,
            "X-Pvehelm-Timestamp": timestamp,
        }
        if hook.secret:
            headers["X-Pvehelm-Signature"] = signature(self.resolve(hook.secret), timestamp, body)
        if urlsplit(url).scheme == "http" and not hook.allow_http:
            url, headers["Host"] = self._here(url)
        with Fetcher(url, tls=Tls(hook.ca_file), timeout=10) as fetcher:
            fetcher.send("POST", url, body, headers=headers)

    def _here(self, url: str) -> tuple[str, str]:
        """A plain address by its number, so that nobody names another between the look-up and the connection, and the
        host's name. Raises PlainError unless it is this machine's own."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
        found = self.lookup(host, port)
        if not found or not all(ipaddress.ip_address(one).is_loopback for one in found):
            raise PlainError("it would be told over plain http", hint="https://..., or allowHttp: true")
        place = f"[{found[0]}]" if ":" in found[0] else found[0]
        user, at, named = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}{at}{place}:{port}")), named


def _why(error: PvehelmError, hook: Webhook) -> str:
    if isinstance(error, ApiError):
        return f"status {error.status}"
    if isinstance(error, PlainError):
        return error.message
    # The address may be a secret itself, and its host stand in what the system says.
    if isinstance(error, TransportError) and "secret://" not in hook.url:
        return error.message.removeprefix(f"{error.method} {error.path}: ")
    return type(error).__name__


def _passing(error: PvehelmError) -> bool:
    """Whether another try may go better."""
    if isinstance(error, ApiError):
        return error.status >= 500 or error.status in (408, 425, 429)
    return isinstance(error, TransportError) and not isinstance(error, NotFoundError)

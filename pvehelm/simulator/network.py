"""The network between pvehelm and simulated guests: whoever runs and has the address takes every connection.

An HTTP request is answered with 200 and a line. Faults make it otherwise: their match is ``TCP /GUEST/PORT`` (drop: the
connection is refused; delay) or ``HTTP /GUEST/PORT/PATH`` (status, drop, delay), with the guest's name.
"""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import time
from contextlib import closing, suppress
from functools import cache

from pvehelm.simulator import faults
from pvehelm.simulator.behaviours import addresses
from pvehelm.simulator.certificate import certificate
from pvehelm.simulator.state import State

_PATIENCE = 10.0


def connect(path: str, address: str, port: int, seconds: float) -> socket.socket:
    """A connection to the guest with ``address`` in the state kept at ``path``. Raises OSError as a network would."""
    with closing(State(path)) as state:
        guest = addresses.holder(state, address)
        if guest is None:
            raise TimeoutError("timed out")
        place = f"/{guest.name}/{port}"
        effects = faults.take(state, "TCP", place)
    if float(effects.get("delay") or 0) > seconds:
        raise TimeoutError("timed out")
    if "drop" in effects or "status" in effects:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    ours, theirs = socket.socketpair()
    threading.Thread(target=_serve, args=(theirs, path, place), daemon=True).start()
    return ours


def _serve(connection: socket.socket, path: str, place: str) -> None:
    with suppress(OSError):
        connection.settimeout(_PATIENCE)
        if connection.recv(1, socket.MSG_PEEK) == b"\x16":
            connection = _tls().wrap_socket(connection, server_side=True)
        _answer(connection, path, place)
    connection.close()


def _answer(connection: socket.socket, path: str, place: str) -> None:
    asked = b""
    while b"\r\n\r\n" not in asked:
        piece = connection.recv(4096)
        if not piece:
            return
        asked += piece
    with closing(State(path)) as state:
        effects = faults.take(state, "HTTP", place + asked.split(b" ", 2)[1].decode("latin-1"))
    time.sleep(float(effects.get("delay") or 0))
    if "drop" in effects:
        return
    status = int(effects.get("status") or 200)
    body = b"" if asked.startswith(b"HEAD ") else b"ok\n" if status == 200 else b"not ok\n"
    head = f"HTTP/1.1 {status} Simulated\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate(None, "guest").load_into(context)
    return context

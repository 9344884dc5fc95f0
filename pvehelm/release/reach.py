"""Asking a service in a guest whether it is there: a connection, or one HTTP request over it.

``Connect`` is the seam: it opens a socket to an address and a port, blocking, and the simulator has one of its own.
Redirects are not followed, and of an answer only its status and whether it holds a text leave this module.
"""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# address, port, seconds -> a connected socket. Raises OSError.
Connect = Callable[[str, int, float], socket.socket]
BODY = 1 << 20


@dataclass(frozen=True)
class HttpProbe:
    """One request. ``expect`` are the statuses that count as well; none means 200 to 399."""

    port: int
    scheme: str = "http"
    path: str = "/"
    method: str = "GET"
    host: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    expect: tuple[int, ...] = ()
    body: str = ""
    insecure: bool = False


def tcp(connect: Connect, address: str, port: int, seconds: float) -> str:
    """'' when the port takes a connection, else why not."""
    try:
        connect(address, port, seconds).close()
    except OSError as error:
        return _reason(error)
    return ""


def http_request(connect: Connect, address: str, probe: HttpProbe, seconds: float) -> str:
    """'' when the answer is as expected, else what was wrong."""
    try:
        status, body = _exchange(connect, address, probe, seconds)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _reason(error)
    if not (status in probe.expect if probe.expect else 200 <= status < 400):
        return f"it answered {status}"
    if probe.body and probe.body.encode() not in body:
        return f"the answer ({status}) does not hold the text of expectBody"
    return ""


def _exchange(connect: Connect, address: str, probe: HttpProbe, seconds: float) -> tuple[int, bytes]:
    host = probe.host or (f"[{address}]" if ":" in address else address)

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            plain = connect(address, probe.port, seconds)
            self.sock: Any = plain
            try:
                plain.settimeout(seconds)
                if probe.scheme == "https":
                    name = host.partition(":")[0] if not host.startswith("[") else address
                    self.sock = _trust(probe).wrap_socket(plain, server_hostname=name)
            except BaseException:
                plain.close()
                raise

    connection = Connection(address, probe.port, timeout=seconds)
    try:
        given = {name.lower() for name in probe.headers}
        connection.putrequest(probe.method, probe.path, skip_host=True, skip_accept_encoding=True)
        usual = {"Host": host, "User-Agent": "pvehelm", "Accept": "*/*", "Connection": "close"}
        for name, value in {**{k: v for k, v in usual.items() if k.lower() not in given}, **probe.headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read(BODY)
    finally:
        connection.close()


def _trust(probe: HttpProbe) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if probe.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); insecure: true takes any"
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def connect(address: str, port: int, seconds: float) -> socket.socket:
    """A connection through this machine's network, but not to this machine itself. Raises OSError."""
    for family, kind, _, _, place in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM):
        if kind == socket.SOCK_STREAM and _is_here(family, place):
            raise PermissionError(errno.EACCES, "the address is this machine's own")
    return socket.create_connection((address, port), seconds)


def _is_here(family: int, place: Any) -> bool:
    """Whether an address is one of this machine: then it is also where it would be reached from. Nothing is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(place)
        except OSError:
            return False
        return bool(probe.getsockname()[0] == place[0])

"""The HTTPS server: keep-alive, closing, reasons, certificate, several processes on one state."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from pvehelm.simulator import faults
from pvehelm.simulator.certificate import certificate
from pvehelm.simulator.state import State


class Running:
    def __init__(self, *args: str) -> None:
        command = [sys.executable, "-m", "pvehelm.simulator.server", "--port", "0", *args]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        where = self.process.stdout.readline()
        self.fingerprint = self.process.stdout.readline().split()[-1]
        found = re.search(r"https://127\.0\.0\.1:(\d+)", where)
        assert found, where
        self.port = int(found[1])

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=20)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return code


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulator")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    running = Running("--state", str(folder / "state.db"), "--base", "conformance")
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def headers(server: Running) -> dict[str, str]:
    connection = server.connect()
    connection.request("POST", "/api2/json/access/ticket", urlencode({"username": "root@pam", "password": "proxmox"}))
    data = json.loads(connection.getresponse().read())["data"]
    connection.close()
    return {
        "Cookie": "PVEAuthCookie=" + quote(data["ticket"], safe=""),
        "CSRFPreventionToken": data["CSRFPreventionToken"],
    }


def test_connection_serves_a_hundred_requests(server: Running, headers: dict[str, str]) -> None:
    connection = server.connect()
    for number in range(1, 101):
        connection.request("GET", "/api2/json/version", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
        assert answer.will_close == (number == 100)
    connection.close()


def test_errors_close_and_carry_their_reason(server: Running, headers: dict[str, str]) -> None:
    connection = server.connect()
    connection.request("GET", "/api2/json/nodes/nosuch/status", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 500
    assert answer.reason.startswith("hostname lookup 'nosuch' failed")
    answer.read()
    assert answer.will_close
    connection.close()


RAW = [
    (b"HEAD /api2/json/version HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 501 method 'HEAD' not available"),
    (b"GET /api2/json/version HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 401 No ticket"),
    (b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK"),
    (b"GET /elsewhere HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 Not Found"),
]


@pytest.mark.parametrize(("request_", "first"), RAW)
def test_raw_requests(server: Running, request_: bytes, first: bytes) -> None:
    context = ssl._create_unverified_context()
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(request_)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(first)


def test_bodies_beyond_the_limit_and_chunks(server: Running, headers: dict[str, str]) -> None:
    for more in ({"Content-Length": str(600 * 1024)}, {"Transfer-Encoding": "chunked"}):
        connection = server.connect()
        connection.putrequest("POST", "/api2/json/pools")
        for name, value in {**headers, **more}.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == 501
        connection.close()


def test_state_is_shared_with_other_processes(server: Running, headers: dict[str, str], folder: Path) -> None:
    state = State(folder / "state.db")
    state.collection("pools")["beside"] = {"comment": "made elsewhere"}
    connection = server.connect()
    connection.request("GET", "/api2/json/pools", headers=headers)
    assert {"poolid": "beside", "comment": "made elsewhere"} in json.loads(connection.getresponse().read())["data"]
    connection.close()


def test_dropped_connections_and_delays_of_one_do_not_stop_others(
    server: Running, headers: dict[str, str], folder: Path
) -> None:
    state = State(folder / "state.db")
    faults.add(state, "GET /cluster/log", delay=20, times=1)
    slow = server.connect()
    slow.request("GET", "/api2/json/cluster/log", headers=headers)
    faults.add(state, "GET /access/roles", drop="after", times=1)
    dropped = server.connect()
    dropped.request("GET", "/api2/json/access/roles", headers=headers)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        dropped.getresponse()
    quick = server.connect()
    quick.request("GET", "/api2/json/version", headers=headers)
    assert quick.getresponse().read()
    for connection in (slow, dropped, quick):
        connection.close()


def test_fingerprint_is_that_of_the_certificate_and_stays(server: Running, folder: Path) -> None:
    pem = ssl.get_server_certificate(("127.0.0.1", server.port))
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    assert server.fingerprint.replace(":", "") == digest
    assert certificate(folder, "127.0.0.1").fingerprint == server.fingerprint
    kept = next(folder.glob("*.pem"))
    assert kept.stat().st_mode & 0o077 == 0


def test_certificate_names_the_host_and_can_be_verified(server: Running, folder: Path, tmp_path: Path) -> None:
    text = next(folder.glob("*.pem")).read_text()
    own = tmp_path / "ca.pem"
    own.write_text(text[text.index("-----BEGIN CERTIFICATE-----") :])
    context = ssl.create_default_context(cafile=str(own))
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=20)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()


def test_taken_port_is_said(server: Running) -> None:
    command = [sys.executable, "-m", "pvehelm.simulator.server", "--port", str(server.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{server.port}" in done.stderr

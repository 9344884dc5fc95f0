"""Where webhooks may be told: over plain http only what stays on this machine, whatever a name leads to."""

from __future__ import annotations

import asyncio
import http.server
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from pvehelm.chart.fetch import is_loopback
from pvehelm.errors import InvalidError
from pvehelm.faces.daemon.settings import File, Webhook, load
from pvehelm.faces.daemon.webhooks import Webhooks
from pvehelm.release.policy import Policy
from tests.api.serving import Certificate, make_certificate


@contextmanager
def receiver(certificate: Certificate | None = None) -> Iterator[tuple[int, list[str]]]:
    """A server here, over https with a certificate, and the names that it was asked by."""
    names: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            names.append(str(self.headers["Host"]))
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    class Quiet(http.server.ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Who does not trust the certificate hangs up."""

    with Quiet(("127.0.0.1", 0), Handler) as server:
        if certificate is not None:
            server.socket = certificate.context().wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1], names
        server.shutdown()
        thread.join()


def told(
    url: str, addresses: Sequence[str] = (), *, allow_http: bool = False, ca_file: str = "", plain: bool = False
) -> str:
    """Why a delivery to an address (that a reference stands for, unless ``plain``) failed; '' when it arrived."""
    ends: list[str] = []

    async def deliver() -> None:
        hooks = Webhooks(
            [Webhook(url if plain else "secret://env/URL", "", ("drift",), 1, allow_http, ca_file)],
            lambda text: url,
            lambda: 1000.0,
            lambda hook, event, why: ends.append(why),
            lookup=lambda host, port: addresses,
        )
        hooks.tell("drift", {})
        await hooks.close()

    asyncio.run(deliver())
    return ends[0]


def test_a_name_that_leads_here_is_told_and_nobody_else_s_is_not() -> None:
    with receiver() as (port, names):
        url = f"http://chat.internal:{port}/hook"
        assert told(url, ["127.0.0.1"]) == ""
        assert names == [f"chat.internal:{port}"]
        for addresses in (["10.0.0.9"], ["127.0.0.1", "10.0.0.9"], []):
            assert told(url, addresses) == "it would be told over plain http"
        assert told(f"http://127.0.0.1:{port}/hook", ["10.0.0.9"], allow_http=True) == ""
        assert len(names) == 2


def test_an_authority_of_ones_own(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with receiver(certificate) as (port, names):
        url = f"https://localhost:{port}/hooks/token"
        assert told(url, ca_file=str(certificate.file)) == ""
        assert told(url, ca_file=str(certificate.file), plain=True) == ""
        assert told(url) == "TransportError"
        why = told(url, plain=True)
        assert "certificate verify failed" in why
        assert "token" not in why
        assert len(names) == 2


def test_an_authority_that_is_none_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "absent.pem"):
        text = f"kind: Reconciler\nspec:\n  webhooks: [{{ url: 'https://x', caFile: {tmp_path}/{name} }}]\n"
        with pytest.raises(InvalidError) as caught:
            load([File("r.yaml", text)], namespace="default", policy=Policy())
        (problem,) = caught.value.problems
        assert problem.where.startswith("r.yaml:3:")
        assert "holds no certificates" in problem.what


@pytest.mark.parametrize(
    ("host", "here"),
    [
        *((host, True) for host in ("localhost", "127.0.0.1:80", "127.9.9.9", "[::1]:80", "::1")),
        *((host, False) for host in ("127.example.org", "localhost.example.org", "10.0.0.1", "")),
    ],
)
def test_names_that_look_like_this_machine(host: str, here: bool) -> None:
    assert is_loopback(host) is here

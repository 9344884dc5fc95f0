"""Servers on the loopback for tests: static files with faults, and a small OCI registry."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pvehelm.chart.chart import load_archive
from pvehelm.chart.package import pack


def packed(name: str, version: str = "1.0.0", files: dict[str, bytes] | None = None, extra: str = "") -> bytes:
    """The package of a small chart."""
    text = f"apiVersion: v2\nname: {name}\nversion: {version}\n{extra}"
    return pack(name, {"Chart.yaml": text.encode(), **(files or {})})


def index_of(*packages: bytes, url: str = "", **more: Any) -> bytes:
    """An index.yaml (as JSON) of packages, urls relative unless ``url`` is given."""
    entries: dict[str, list[Any]] = {}
    for data in packages:
        metadata = load_archive(data, name="x").metadata
        entries.setdefault(metadata.name, []).append(
            {
                "name": metadata.name,
                "version": metadata.version,
                "description": metadata.description,
                "appVersion": metadata.app_version,
                "digest": hashlib.sha256(data).hexdigest(),
                "urls": [f"{url}{metadata.name}-{metadata.version}.tgz"],
            }
        )
    return json.dumps({"apiVersion": "v1", "entries": entries, **more}).encode()


@dataclass
class Web:
    """A web server: ``files`` by path, ``seen`` requests. ``answers`` (path -> status, headers, body) go first."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    login: str = ""
    #: After how many bytes the answers to come break off.
    cuts: list[int] = field(default_factory=list)
    #: How many bytes before what was asked for the parts begin that are sent, and told to begin.
    shift: int = 0
    #: What files are once an answer has broken off.
    then: dict[str, bytes] = field(default_factory=dict)
    writable: bool = False
    #: Files that somebody else puts there just before the next PUT of the same path.
    meanwhile: dict[str, bytes] = field(default_factory=dict)
    #: Beginnings of paths that take none.
    refused: list[str] = field(default_factory=list)
    #: Whether parts are sent whatever they are to be parts of.
    careless: bool = False
    #: Until when an answer that is cut stands still before it breaks off.
    until: threading.Event | None = None
    #: Whether an answer comes byte by byte, with pauses between them, until it is asked for no more.
    drips: bool = False
    #: How many bytes of it come at once before that.
    first: int = 0
    #: Whether those who asked showed a certificate.
    certified: list[bool] = field(default_factory=list)

    def put(self, *packages: bytes) -> None:
        """Serve packages and the index of them."""
        for data in packages:
            metadata = load_archive(data, name="x").metadata
            self.files[f"/{metadata.name}-{metadata.version}.tgz"] = data
        self.files["/index.yaml"] = index_of(*packages)

    def asked(self, path: str) -> list[dict[str, str]]:
        return [headers for _, seen, headers in self.seen if seen == path]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _etag(body: bytes | None) -> str:
    return '"' + hashlib.sha256(body or b"").hexdigest()[:16] + '"'


class _WebHandler(BaseHTTPRequestHandler):
    web: Web

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _note(self) -> bool:
        if isinstance(self.connection, ssl.SSLSocket):
            self.web.certified.append(bool(self.connection.getpeercert()))
        self.web.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        if self.web.login and self.headers.get("Authorization") != self.web.login:
            self._answer(401, {}, b"")
            return False
        return True

    def do_GET(self) -> None:
        web = self.web
        if not self._note():
            return
        if self.path in web.answers:
            self._answer(*web.answers[self.path])
            return
        body = web.files.get(self.path.partition("?")[0])
        if body is None:
            self._answer(404, {}, b"no")
            return
        etag = _etag(body)
        if self.headers.get("If-None-Match") == etag:
            self._answer(304, {"ETag": etag}, b"")
            return
        headers = {"ETag": etag}
        status, begin = 200, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if begin and self.headers.get("If-Range") == etag and int(begin.group(1)) >= len(body):
            self._answer(416, {"Content-Range": f"bytes */{len(body)}"}, b"")
            return
        if begin and (web.careless or self.headers.get("If-Range") == etag):
            first = max(int(begin.group(1)) - web.shift, 0)
            headers["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
            status, body = 206, body[first:]
        if web.cuts:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            web.files |= web.then
            self.wfile.write(body[: web.cuts.pop(0)])
            self.wfile.flush()
            if web.until is not None:
                web.until.wait(60)
            self.close_connection = True
            return
        if web.drips:
            self._answer(status, {"Content-Length": str(len(body)), **headers}, b"")
            with suppress(OSError):
                self.wfile.write(body[: web.first])
                for byte in body[web.first :]:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.01)
            self.close_connection = True
            return
        self._answer(status, headers, body)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if not self._note():
            return
        if not self.web.writable:
            self._answer(405, {}, b"read only")
            return
        if self.path.startswith(tuple(self.web.refused)):
            self._answer(409, {}, b"no such folder")
            return
        if self.path in self.web.meanwhile:
            self.web.files[self.path] = self.web.meanwhile.pop(self.path)
        there = self.web.files.get(self.path)
        if self.headers.get("If-Match", _etag(there)) != _etag(there) or (there and self.headers.get("If-None-Match")):
            self._answer(412, {}, b"")
            return
        self.web.files[self.path] = body
        self._answer(201, {}, b"")


@dataclass
class Hub:
    """An OCI registry. ``login`` (user, password) makes it ask for a token."""

    host: str
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    login: tuple[str, str] | None = None
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class _HubHandler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _serve(self) -> None:
        hub = self.hub
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        size = int(self.headers.get("Content-Length", "0") or 0)
        body = self.rfile.read(size)
        given = self.headers.get("Authorization", "")
        hub.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        if parts.path == "/token":
            ok = hub.login is not None and given == basic(*hub.login)
            text = json.dumps({"token": "t:" + query.get("scope", [""])[0]}).encode()
            self._answer(200, text) if ok else self._answer(401)
            return
        if hub.login is not None:
            wanted = "push" if self.command in ("PUT", "POST", "HEAD") else "pull"
            allowed = given.startswith("Bearer t:") and (parts.path == "/v2/" or wanted in given)
            if not allowed:
                challenge = f'Bearer realm="http://{hub.host}/token",service="hub"'
                self._answer(401, b"", WWW_Authenticate=challenge)
                return
        self._object(parts.path, query, body)

    def _object(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        hub = self.hub
        if path == "/v2/":
            self._answer(200, b"{}")
        elif found := re.fullmatch(r"/v2/(.+)/blobs/uploads/", path):
            self._answer(202, b"", Location=f"/v2/{found.group(1)}/blobs/uploads/1?state=x")
        elif re.fullmatch(r"/v2/(.+)/blobs/uploads/1", path):
            hub.blobs[query["digest"][0]] = body
            self._answer(201)
        elif found := re.fullmatch(r"/v2/(.+)/blobs/(.+)", path):
            data = hub.blobs.get(found.group(2))
            self._answer(404) if data is None else self._answer(200, data)
        elif found := re.fullmatch(r"/v2/(.+)/manifests/(.+)", path):
            if self.command == "PUT":
                digest = "sha256:" + hashlib.sha256(body).hexdigest()
                hub.manifests[found.groups()] = hub.manifests[(found.group(1), digest)] = body  # type: ignore[index]
                self._answer(201, b"", Docker_Content_Digest=digest)
                return
            data = hub.manifests.get((found.group(1), found.group(2)))
            if data is None:
                self._answer(404)
                return
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            self._answer(200, data, Content_Type=MANIFEST, Docker_Content_Digest=digest)
        elif found := re.fullmatch(r"/v2/(.+)/tags/list", path):
            tags = sorted(t for name, t in hub.manifests if name == found.group(1) and not t.startswith("sha256:"))
            last = query.get("last", [""])[0]
            page = [tag for tag in tags if tag > last][:2]
            link = {}
            if page and page[-1] != tags[-1]:
                link = {"Link": f'</v2/{found.group(1)}/tags/list?n=2&last={page[-1]}>; rel="next"'}
            known = bool(tags)
            self._answer(200 if known else 404, json.dumps({"tags": page}).encode(), **link)
        else:
            self._answer(404)

    do_GET = do_PUT = do_POST = do_HEAD = _serve


@contextmanager
def _running(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def web_server(tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    web = Web("")
    with _running(type("Handler", (_WebHandler,), {"web": web}), tls) as host:
        web.url = f"http{'s' if tls else ''}://{host}"
        yield web


@contextmanager
def hub_server(tls: ssl.SSLContext | None = None) -> Iterator[Hub]:
    hub = Hub("")
    with _running(type("Handler", (_HubHandler,), {"hub": hub}), tls) as host:
        hub.host = host
        yield hub

"""The registry: charts in an OCI registry, as Helm puts them there.

A chart is a manifest whose config is its metadata as JSON, with one layer for the package and, it may be, one for the
provenance file. The tag is the version, with ``_`` for the ``+`` that tags cannot have.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from pvehelm.chart import versions
from pvehelm.chart.archives import Archive, cached, keep, opened
from pvehelm.chart.book import Book, Login
from pvehelm.chart.fetch import MAX_ARCHIVE, MAX_SMALL, Answer, Fetcher, basic, origin
from pvehelm.chart.repositories import HOST, registry_url
from pvehelm.errors import ApiError, AuthError, InvalidError, NotFoundError, RefusedError, UsageError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.cncf.helm.config.v1+json"
LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
OLD_LAYER = "application/tar+gzip"
PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov"
SIGNATURE = "application/vnd.pvehelm.signature.v1"
MAX_TAGS = 20_000
_PATH = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_CHALLENGE = re.compile(r'([a-z_]+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Reference:
    """``oci://HOST/PATH[:TAG][@DIGEST]``."""

    host: str
    path: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return f"oci://{self.host}/{self.path}{':' + self.tag if self.tag else ''}" + (
            f"@{self.digest}" if self.digest else ""
        )

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def parse(text: str) -> Reference:
    """A reference to a chart in a registry. Raises UsageError."""
    host, _, rest = text.removeprefix("oci://").partition("/")
    rest, _, digest = rest.partition("@")
    path, _, tag = rest.rstrip("/").partition(":")
    whole = re.fullmatch(HOST, host) and _PATH.match(path) and (not tag or _TAG.match(tag))
    if not text.startswith("oci://") or not whole or (digest and not _DIGEST.match(digest)):
        raise UsageError(f"{text!r} names no chart in a registry", hint="oci://HOST/PATH/CHART, lower case, with :TAG")
    return Reference(host, path, tag, digest)


NOBODY = Login()


class Registry:
    """One registry, asked with what is known about it. Raises as Fetcher does."""

    def __init__(self, host: str, login: Login = NOBODY) -> None:
        self.host = host
        self.service = login.service
        self.tls = login.tls
        self.url = registry_url(host, login.plain_http, any(self.tls))
        self.login = login.credentials(host)
        self.fetcher = Fetcher(self.url, tls=self.tls)
        self.token = ""

    def close(self) -> None:
        self.fetcher.close()

    # -- reading -----------------------------------------------------------------------------------------------------

    def tags(self, path: str) -> list[str]:
        """The versions of a chart, newest first; tags that are no version are left out."""
        found: list[str] = []
        url = f"{self.url}/v2/{path}/tags/list?n=1000"
        while url and len(found) < MAX_TAGS:
            with self._there(f"oci://{self.host}/{path}"):
                answer = self.get(url, limit=MAX_SMALL, scope=f"repository:{path}:pull")
            listed = _json(answer, url).get("tags")
            found += [tag for tag in listed if isinstance(tag, str)] if isinstance(listed, list) else []
            url = self._next(url, answer)
        ranked = []
        for tag in found:
            text = tag.replace("_", "+")
            try:
                ranked.append((versions.parse(text).order, text))
            except ValueError:
                continue
        return [text for _, text in sorted(ranked, reverse=True)]

    @contextmanager
    def _there(self, what: str) -> Iterator[None]:
        try:
            yield
        except NotFoundError as error:
            hint = "the address is oci://HOST/PATH/CHART:VERSION; a registry may also hide what a login may not see"
            raise NotFoundError(f"there is no chart at {what}", hint=hint) from error

    def _next(self, url: str, answer: Answer) -> str:
        link = re.match(r'\s*<([^>]+)>\s*;\s*rel="?next', answer.headers.get("link", ""))
        following = urljoin(url, link.group(1)) if link else ""
        return following if following != url and following.startswith(self.url + "/v2/") else ""

    def pull(self, reference: Reference) -> tuple[Archive, str]:
        """The chart of a tag or digest, and the manifest's digest. Everything is checked by its digest."""
        which = reference.digest or reference.tag
        scope = f"repository:{reference.path}:pull"
        url = f"{self.url}/v2/{reference.path}/manifests/{which}"
        with self._there(str(reference)):
            answer = self.get(url, limit=MAX_SMALL, scope=scope, headers={"Accept": MANIFEST})
        digest = _sha256(answer.body)
        if reference.digest and digest != reference.digest:
            raise InvalidError(f"{reference}: the registry sent another manifest, {digest}")
        manifest = _json(answer, url)
        layers = [one for one in manifest.get("layers") or [] if isinstance(one, dict)]
        chart = next((one for one in layers if one.get("mediaType") in (LAYER, OLD_LAYER)), None)
        if chart is None:
            raise InvalidError(f"{reference} is no chart: it has no layer of type {LAYER}")
        data = self.blob(reference.path, chart, MAX_ARCHIVE)
        version = "" if reference.digest else reference.tag.replace("_", "+")
        if not versions.is_strict(version.removeprefix("v")):
            version = ""  # a tag such as latest, or 1
        archive = opened(data, url=str(reference), name=reference.name, version=version)
        for one in layers:
            suffix = ".prov" if one.get("mediaType") == PROVENANCE else ""
            if one.get("mediaType") == SIGNATURE and isinstance(one.get("annotations"), dict):
                suffix = str(one["annotations"].get("suffix", ""))
            if suffix in (".prov", ".sig", ".minisig"):
                archive.sidecars[suffix] = self.blob(reference.path, one, MAX_SMALL)
        return archive, digest

    def blob(self, path: str, descriptor: Mapping[str, Any], limit: int) -> bytes:
        digest = descriptor.get("digest")
        if not isinstance(digest, str) or not _DIGEST.match(digest):
            raise InvalidError(f"{self.host}/{path}: a layer has no SHA-256 digest")
        known = cached(digest.removeprefix("sha256:"))
        if known is not None:
            return known
        url = f"{self.url}/v2/{path}/blobs/{digest}"
        scope = f"repository:{path}:pull"
        answer = self.get(url, limit=limit, scope=scope, lasting=True)
        if answer.resumed and _sha256(answer.body) != digest:
            answer = self.get(url, limit=limit, scope=scope)
        data = answer.body
        if _sha256(data) != digest:
            raise InvalidError(f"{url} is not what it should be: its digest is {_sha256(data)}")
        keep(data)
        return data

    # -- writing -----------------------------------------------------------------------------------------------------

    def push(self, path: str, archive: Archive) -> tuple[Reference, str]:
        """Put a chart at ``path/NAME:VERSION``; the reference and the manifest's digest."""
        chart = archive.chart
        path = f"{path}/{chart.metadata.name}".strip("/")
        reference = parse(f"oci://{self.host}/{path}:{chart.version.replace('+', '_')}")
        scope = f"repository:{path}:pull,push"
        config = json.dumps(dict(chart.metadata.raw), sort_keys=True, ensure_ascii=False, default=str).encode()
        layers = [self._put_blob(path, archive.data, LAYER, scope)]
        for suffix, content in sorted(archive.sidecars.items()):
            kind = PROVENANCE if suffix == ".prov" else SIGNATURE
            layer = self._put_blob(path, content, kind, scope)
            layers.append(layer if suffix == ".prov" else layer | {"annotations": {"suffix": suffix}})
        made = {
            "org.opencontainers.image.title": chart.metadata.name,
            "org.opencontainers.image.version": chart.version,
            "org.opencontainers.image.created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if chart.metadata.description:
            made["org.opencontainers.image.description"] = chart.metadata.description
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self._put_blob(path, config, CONFIG, scope),
                "layers": layers,
                "annotations": made,
            }
        ).encode()
        url = f"{self.url}/v2/{path}/manifests/{quote(reference.tag)}"
        self.send("PUT", url, manifest, scope=scope, headers={"Content-Type": MANIFEST})
        return reference, _sha256(manifest)

    def _put_blob(self, path: str, data: bytes, kind: str, scope: str) -> dict[str, Any]:
        digest = _sha256(data)
        url = f"{self.url}/v2/{path}/blobs/{digest}"
        if self.send("HEAD", url, scope=scope, accept=(404,)).status == 404:
            begun = self.send("POST", f"{self.url}/v2/{path}/blobs/uploads/", scope=scope)
            place = urljoin(f"{self.url}/v2/{path}/blobs/uploads/", begun.headers.get("location", ""))
            place += ("&" if "?" in place else "?") + urlencode({"digest": digest})
            self.send("PUT", place, data, scope=scope, headers={"Content-Type": "application/octet-stream"})
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    # -- asking, with a token where the registry wants one -----------------------------------------------------------

    def check(self) -> None:
        """Ask the registry whether it takes the login. Raises AuthError."""
        self.get(f"{self.url}/v2/", limit=MAX_SMALL, scope="")

    def get(
        self, url: str, *, limit: int, scope: str, headers: Mapping[str, str] | None = None, lasting: bool = False
    ) -> Answer:
        def ask() -> Answer:
            sent = {**self._authorization(url), **(headers or {})}
            return self.fetcher.get(url, limit=limit, headers=sent, lasting=lasting)

        try:
            return ask()
        except AuthError as error:
            self._authorize(url, scope, error)
        return ask()

    def send(
        self,
        method: str,
        url: str,
        content: bytes = b"",
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
    ) -> Answer:
        try:
            sent = {**self._authorization(url), **(headers or {})}
            return self.fetcher.send(method, url, content, headers=sent, accept=accept)
        except AuthError as error:
            self._authorize(url, scope, error)
        sent = {**self._authorization(url), **(headers or {})}
        return self.fetcher.send(method, url, content, headers=sent, accept=accept)

    def _authorization(self, url: str) -> dict[str, str]:
        return {"Authorization": self.token} if self.token and origin(url) == origin(self.url) else {}

    def _authorize(self, url: str, scope: str, refused: AuthError) -> None:
        """Get a token (or send the password), as the registry's challenge says. Raises AuthError again if it can't."""
        hint = f"pvehelm registry login {self.host}"
        answer = self.fetcher.send("GET", f"{self.url}/v2/", accept=(401, 403, 404))
        challenge = answer.headers.get("www-authenticate", "")
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self.login is not None and not self.token:
            self.token = basic(self.login)
            return
        facts = dict(_CHALLENGE.findall(rest))
        realm = facts.get("realm", "")
        if scheme.lower() != "bearer" or not realm or answer.status != 401:
            raise AuthError(refused.status, refused.reason, method=refused.method, path=url, hint=hint)
        self._entrust(realm)
        query = {"service": facts["service"]} if "service" in facts else {}
        if scope:
            query["scope"] = scope
        with Fetcher(realm, self.login, tls=self.tls, of=self.url) as service:
            token = _json(
                service.get(f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}", limit=MAX_SMALL), realm
            )
        text = token.get("token") or token.get("access_token")
        if not isinstance(text, str) or not text.isascii() or not text.isprintable():
            raise AuthError(refused.status, "no token was given", method=refused.method, path=url, hint=hint)
        self.token = f"Bearer {text}"

    def _entrust(self, realm: str) -> None:
        """May the login go to the token service that the registry names? Raises InvalidError or RefusedError.

        To the registry itself, a host above or below it in the domain names, or one that the user named at login.
        """
        place = origin(realm)
        if place == origin(self.url):
            return
        if not place.startswith("https:"):
            raise InvalidError(f"{self.host} wants its login at {realm}, which is not https")
        host, own = _host(place), _host(origin(self.url))
        if self.login is None or _related(host, own) or self.service in (host, place.removeprefix("https://")):
            return
        raise RefusedError(
            f"{self.host} wants its login at {host}, which need not belong to it",
            hint=f"if it is right: pvehelm registry login {self.host} --username USER --token-service {host}",
        )


def open_registry(book: Book, host: str) -> Registry:
    """The registry at ``host`` with what the book knows about it."""
    return Registry(host, book.login_of(host))


def _host(place: str) -> str:
    return str(urlsplit(place).hostname or "")


def _related(one: str, other: str) -> bool:
    """The same host, or one below the other in the domain names (siblings may be strangers, as under github.io)."""
    if any(re.fullmatch(r"[\d.]+|.*:.*", host) for host in (one, other)):
        return one == other
    above, below = sorted((one, other), key=len)
    return one == other or ("." in above and below.endswith(f".{above}"))


def choose(registry: Registry, reference: Reference, version: str, *, devel: bool = False) -> Reference:
    """The reference with its tag: the one it has, or the newest that ``version`` allows. Raises NotFoundError."""
    from dataclasses import replace

    from pvehelm.chart.catalog import pick

    if reference.digest or (reference.tag and not version):
        return reference
    if reference.tag and version.replace("+", "_") != reference.tag:
        raise UsageError(f"{reference} and --version {version} contradict each other")
    if versions.is_strict(version):
        return replace(reference, tag=version.replace("+", "_"))
    listed = registry.tags(reference.path)
    chosen = pick(listed, version, devel=devel)
    if chosen is None:
        newest = f"the newest is {listed[0]}" if listed else "it has no versions"
        raise NotFoundError(f"no version of {reference} is {version or 'stable'}", hint=newest)
    return replace(reference, tag=chosen.replace("+", "_"))


def _sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _json(answer: Answer, url: str) -> dict[str, Any]:
    try:
        data = json.loads(answer.body)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ApiError(answer.status, "the answer is no JSON object", method="GET", path=url)
    return data

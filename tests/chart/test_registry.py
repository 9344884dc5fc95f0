"""Registries: charts go in and out by their digests, with a token where one is wanted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvehelm.chart import publishing, registry, repositories
from pvehelm.chart.archives import Archive, opened
from pvehelm.chart.sources import fetch
from pvehelm.errors import AuthError, InvalidError, NotFoundError, RefusedError, UsageError
from tests.chart.servers import Hub, hub_server, packed


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVEHELM_CONFIG", str(tmp_path / "config" / "config.yaml"))
    monkeypatch.setenv("PVEHELM_CACHE", str(tmp_path / "cache"))


def _archive(name: str = "web", version: str = "1.0.0", **more: str) -> Archive:
    return opened(packed(name, version, **more), url="here")  # type: ignore[arg-type]


def _push(hub: Hub, archive: Archive, **options: bool) -> list[str]:
    return publishing.to_registry(repositories.load(), archive, f"oci://{hub.host}/charts", **options)


def test_there_and_back(hub: Hub) -> None:
    for version in ("1.0.0", "1.1.0+b.1", "1.2.0-rc.1", "0.9.0"):
        _push(hub, _archive("web", version))
    hub.manifests[("charts/web", "latest")] = b"{}"
    book, url = repositories.load(), f"oci://{hub.host}/charts/web"
    assert fetch(book, url).chart.version == "1.1.0+b.1"
    assert fetch(book, url, devel=True).chart.version == "1.2.0-rc.1"
    assert fetch(book, url, version="<1").chart.version == "0.9.0"
    assert fetch(book, url, version="1.1.0+b.1").chart.version == "1.1.0+b.1"
    found = fetch(book, f"{url}:1.0.0")
    assert found.data == packed("web", "1.0.0")
    assert fetch(book, found.url).data == found.data
    with pytest.raises(NotFoundError, match="no version"):
        fetch(book, url, version="^7")
    with pytest.raises(NotFoundError):
        fetch(book, f"{url}:7.0.0")
    with pytest.raises(UsageError, match="contradict"):
        fetch(book, f"{url}:1.0.0", version="2.0.0")
    with pytest.raises(NotFoundError):
        fetch(book, f"oci://{hub.host}/charts/db")


def test_as_helm_puts_it_there(hub: Hub) -> None:
    archive = _archive("web", extra="description: A web\n")
    archive.sidecars[".prov"], archive.sidecars[".sig"] = b"proof", b"signature"
    _push(hub, archive)
    manifest = json.loads(hub.manifests[("charts/web", "1.0.0")])
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.helm.config.v1+json"
    assert json.loads(hub.blobs[manifest["config"]["digest"]])["description"] == "A web"
    assert manifest["layers"][0]["mediaType"] == "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    assert manifest["layers"][0]["size"] == len(archive.data)
    assert fetch(repositories.load(), f"oci://{hub.host}/charts/web").sidecars == archive.sidecars


def test_what_is_there_is_not_replaced(hub: Hub) -> None:
    before = _push(hub, _archive())
    assert _push(hub, _archive()) == before
    other = _archive(extra="description: other\n")
    with pytest.raises(RefusedError, match="there already"):
        _push(hub, other)
    assert _push(hub, other, force=True) != before


def test_logins(hub: Hub) -> None:
    hub.login = ("me", "secret")
    with pytest.raises(AuthError) as caught:
        _push(hub, _archive())
    assert "registry login" in caught.value.hint
    repositories.login(repositories.load(), hub.host, "me", password="wrong")
    with pytest.raises(AuthError):
        _push(hub, _archive())
    repositories.login(repositories.load(), hub.host, "me", password="secret")
    _push(hub, _archive())
    assert fetch(repositories.load(), f"oci://{hub.host}/charts/web").chart.version == "1.0.0"
    sent = {(path.partition("?")[0], h.get("authorization", "")[:6]) for _, path, h in hub.seen}
    assert {path for path, scheme in sent if scheme == "Basic "} == {"/token"}
    assert repositories.logout(repositories.load(), hub.host)
    assert not repositories.logout(repositories.load(), hub.host)


def test_registries_that_lie(hub: Hub) -> None:
    _push(hub, _archive())
    good = hub.manifests[("charts/web", "1.0.0")]
    manifest = json.loads(good)
    url = f"oci://{hub.host}/charts/web:1.0.0"
    book = repositories.load()
    layer = manifest["layers"][0]["digest"]
    data, hub.blobs[layer] = hub.blobs[layer], b"changed"
    with pytest.raises(InvalidError, match="not what it should be"):
        fetch(book, url)
    hub.blobs[layer] = data
    evil = packed("evil")
    for changed in (
        {"layers": []},
        {"layers": [{**manifest["layers"][0], "digest": "md5:1"}]},
        {"layers": None},
        {"layers": [1, None]},
    ):
        hub.manifests[("charts/web", "1.0.0")] = json.dumps({**manifest, **changed}).encode()
        with pytest.raises(InvalidError):
            fetch(book, url)
    hub.manifests[("charts/web", "1.0.0")] = good
    _push(hub, opened(evil, url="x"))
    hub.manifests[("charts/web", "1.0.0")] = hub.manifests[("charts/evil", "1.0.0")]
    with pytest.raises(InvalidError):
        fetch(book, url)
    digest = next(tag for name, tag in hub.manifests if name == "charts/web" and tag.startswith("sha256:"))
    hub.manifests[("charts/web", digest)] = hub.manifests[("charts/evil", "1.0.0")]
    with pytest.raises(InvalidError, match="another manifest"):
        fetch(book, f"oci://{hub.host}/charts/web@{digest}")


@pytest.mark.parametrize(
    "text", ["oci://", "oci://host", "oci://host/UPPER", "oci://h/a:b:c", "oci://h/../x", "oci://-h/x"]
)
def test_references_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        registry.parse(text)

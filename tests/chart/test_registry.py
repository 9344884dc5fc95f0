"""Registries: charts go in and out by their digests, with a token where one is wanted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pvehelm.chart import publishing, registry, repositories
from pvehelm.chart.archives import Archive, opened
from pvehelm.chart.book import Login, Repository, load
from pvehelm.chart.index import Entry
from pvehelm.chart.sources import fetch, fetch_entry
from pvehelm.errors import AuthError, InvalidError, NotFoundError, RefusedError, UsageError
from tests.chart.servers import Hub, packed

pytestmark = pytest.mark.usefixtures("home")


def _archive(name: str = "web", version: str = "1.0.0", **more: str) -> Archive:
    return opened(packed(name, version, **more), url="here")  # type: ignore[arg-type]


def _push(hub: Hub, archive: Archive, **options: bool) -> list[str]:
    return publishing.to_registry(load(), archive, f"oci://{hub.host}/charts", **options)


def test_there_and_back(hub: Hub) -> None:
    for version in ("1.0.0", "1.1.0+b.1", "1.2.0-rc.1", "0.9.0"):
        _push(hub, _archive("web", version))
    hub.manifests[("charts/web", "latest")] = b"{}"
    book, url = load(), f"oci://{hub.host}/charts/web"
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
    assert fetch(load(), f"oci://{hub.host}/charts/web").sidecars == archive.sidecars


def test_tags_that_are_no_version_and_the_layers_of_old(hub: Hub) -> None:
    _push(hub, _archive("web", "1.2.0"))
    body = hub.manifests[("charts/web", "1.2.0")]
    url = f"oci://{hub.host}/charts/web"
    hub.manifests[("charts/web", "latest")] = hub.manifests[("charts/web", "1")] = body
    hub.manifests[("charts/web", "v1.3.0")] = body
    hub.manifests[("charts/web", "old")] = body.replace(registry.LAYER.encode(), registry.OLD_LAYER.encode())
    for tag in ("latest", "1", "old"):
        assert fetch(load(), f"{url}:{tag}").chart.version == "1.2.0"
    with pytest.raises(InvalidError) as caught:
        fetch(load(), f"{url}:v1.3.0")
    assert "expected was web v1.3.0" in caught.value.problems[0].what
    with pytest.raises(NotFoundError, match=f"there is no chart at {url}:9.9.9"):
        fetch(load(), f"{url}:9.9.9")


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
    repositories.login(load(), hub.host, Login("me", "wrong"))
    with pytest.raises(AuthError):
        _push(hub, _archive())
    repositories.login(load(), hub.host, Login("me", "secret"))
    _push(hub, _archive())
    assert fetch(load(), f"oci://{hub.host}/charts/web").chart.version == "1.0.0"
    sent = {(path.partition("?")[0], h.get("authorization", "")[:6]) for _, path, h in hub.seen}
    assert {path for path, scheme in sent if scheme == "Basic "} == {"/token"}
    assert repositories.logout(load(), hub.host)
    assert not repositories.logout(load(), hub.host)


REALMS = [
    ("registry.example.org", "https://registry.example.org:5001/token", "", True),
    ("registry.example.org", "https://example.org/token", "", True),
    ("example.org", "https://auth.example.org/token", "", True),
    ("registry-1.docker.io", "https://auth.docker.io/token", "", False),
    ("registry-1.docker.io", "https://auth.docker.io/token", "auth.docker.io", True),
    ("registry-1.docker.io", "https://auth.docker.io:8443/token", "auth.docker.io:8443", True),
    ("me.github.io", "https://evil.github.io/token", "", False),
    ("registry.example.org", "https://notexample.org/token", "", False),
    ("registry.example.org", "https://org/token", "", False),
    ("10.0.0.1", "https://0.0.1/token", "", False),
    ("[fd00::1]:5000", "https://[fd00::1]/token", "", True),
    ("registry.example.org", "https://evil.test/token?x=registry.example.org", "auth.docker.io", False),
]


def test_an_index_that_points_at_a_registry_is_held_to_its_word(hub: Hub) -> None:
    archive = _archive("web")
    _push(hub, archive)
    url = f"oci://{hub.host}/charts/web:1.0.0"
    manifest = fetch(load(), url).url.rpartition("@sha256:")[2]
    lab = Repository("lab", "https://charts.example.org")
    for digest in ("", archive.sha256, manifest):
        assert fetch_entry(load(), lab, Entry("web", "1.0.0", (url,), digest)).data == archive.data
    for entry, says in (
        (Entry("web", "1.0.0", (url,), "0" * 64), "its SHA-256 is"),
        (Entry("web", "1.0.0", (url,), "abc"), "expected was abc"),
        (Entry("other", "1.0.0", (url,)), "expected was other 1.0.0"),
    ):
        with pytest.raises(InvalidError) as caught:
            fetch_entry(load(), lab, entry)
        assert says in caught.value.problems[0].what


@pytest.mark.parametrize(("host", "realm", "service", "fine"), REALMS)
def test_whom_a_login_is_entrusted_to(host: str, realm: str, service: str, fine: bool) -> None:
    asked = registry.Registry(host, Login("me", "secret", service=service))
    try:
        if fine:
            asked._entrust(realm)
        else:
            with pytest.raises(RefusedError, match="wants its login at") as caught:
                asked._entrust(realm)
            assert f"registry login {host}" in caught.value.hint
        with pytest.raises(InvalidError, match="not https"):
            asked._entrust(realm.replace("https:", "http:"))
    finally:
        asked.close()


def test_who_has_no_login_may_ask_anybody_for_a_token() -> None:
    asked = registry.Registry("registry-1.docker.io")
    try:
        asked._entrust("https://auth.docker.io/token")
    finally:
        asked.close()


def test_the_token_service_is_kept_with_the_login() -> None:
    repositories.login(load(), "docker.test", Login("me", secret="secret://env/X", service="auth.test"))
    assert load().login_of("docker.test").service == "auth.test"
    with pytest.raises(UsageError, match="is no host"):
        repositories.login(load(), "docker.test", Login("me", "x", service="https://auth.test/"))


def test_registries_that_lie(hub: Hub) -> None:
    _push(hub, _archive())
    good = hub.manifests[("charts/web", "1.0.0")]
    manifest = json.loads(good)
    url = f"oci://{hub.host}/charts/web:1.0.0"
    book = load()
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


def test_a_registry_over_plain_http_is_one_that_the_user_named() -> None:
    assert registry.Registry("registry.lab").url == "https://registry.lab"
    repositories.login(load(), "registry.lab", Login(plain_http=True))
    kept = load().login_of("registry.lab")
    assert kept == Login(plain_http=True)
    assert registry.Registry("registry.lab", kept).url == "http://registry.lab"


DOCKER = [
    ({"auths": {"hub.test": {"auth": "bWU6c2VjcmV0"}}}, Login("me", "secret")),
    ({"auths": {"https://hub.test": {"auth": "bWU6YTpi"}}}, Login("me", "a:b")),
    ({"auths": {"hub.test": {}}, "credsStore": "desktop"}, Login()),
    ({"auths": {"hub.test": {"auth": "no base64!"}}}, Login()),
    ({"auths": []}, Login()),
    ([], Login()),
]


@pytest.mark.parametrize(("config", "login"), DOCKER)
def test_logins_that_docker_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: object, login: Login
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert load().login_of("hub.test") == Login()
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load().login_of("hub.test") == login
    repositories.login(load(), "hub.test", Login("own", "x"))
    assert load().login_of("hub.test") == Login("own", "x")

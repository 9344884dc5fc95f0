"""Downloads that outlive their process, and certificates that belong to one repository."""

from __future__ import annotations

import hashlib
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvehelm.chart import catalog, partial, repositories
from pvehelm.chart.book import Login, Repository
from pvehelm.chart.book import load as load_book
from pvehelm.chart.fetch import Credentials, Fetcher, Tls
from pvehelm.chart.partial import Partial
from pvehelm.chart.sources import fetch as get
from pvehelm.errors import InvalidError, PvehelmError, TransportError, UsageError
from tests.api.serving import Certificate, make_certificate
from tests.chart.servers import Web, basic, hub_server, index_of, packed, web_server

pytestmark = pytest.mark.usefixtures("home")

BODY = os.urandom(1_000_000)


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as server:
        server.files["/a"] = BODY
        yield server


def _kept(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache/partial").glob("*.part"))


def _broken(web: Web, at: int) -> None:
    """A download that is given up after ``at`` bytes."""
    web.cuts = [at] + [0] * 10
    with Fetcher(web.url) as fetcher, pytest.raises(TransportError, match="broke off"):
        fetcher.get(f"{web.url}/a", limit=1 << 21, lasting=True)
    web.cuts = []
    web.seen.clear()


def _ranges(web: Web) -> list[str | None]:
    return [headers.get("range") for headers in web.asked("/a")]


def test_a_killed_download_is_resumed_by_the_next_process(web: Web, tmp_path: Path) -> None:
    web.cuts, web.until = [700_000], threading.Event()
    code = "import sys; from pvehelm.chart.fetch import Fetcher; Fetcher(sys.argv[1]).get("
    code += "sys.argv[1] + '/a', limit=1 << 21, lasting=True)"
    child = subprocess.Popen([sys.executable, "-c", code, web.url])
    try:
        while not any(place.stat().st_size > partial.LEAST for place in _kept(tmp_path)):
            assert child.poll() is None
            time.sleep(0.02)
    finally:
        child.kill()
        child.wait()
        web.until.set()
    web.seen.clear()
    web.cuts = []
    with Fetcher(web.url) as fetcher:
        answer = fetcher.get(f"{web.url}/a", limit=1 << 21, lasting=True)
    assert answer.body == BODY
    assert answer.resumed
    [asked] = _ranges(web)
    assert asked
    assert partial.LEAST <= int(asked.removeprefix("bytes=").rstrip("-")) <= 700_000
    assert not _kept(tmp_path)


def test_what_has_changed_is_fetched_whole(web: Web, tmp_path: Path) -> None:
    _broken(web, 600_000)
    web.files["/a"] = other = os.urandom(900_000)
    with Fetcher(web.url) as fetcher:
        answer = fetcher.get(f"{web.url}/a", limit=1 << 21, lasting=True)
    assert (answer.body, answer.resumed) == (other, False)
    assert _ranges(web) == ["bytes=600000-"]
    assert not _kept(tmp_path)


def test_a_part_of_something_else_is_not_put_to_it(web: Web) -> None:
    _broken(web, 600_000)
    web.files["/a"] = other = os.urandom(900_000)
    web.careless = True
    with Fetcher(web.url) as fetcher:
        answer = fetcher.get(f"{web.url}/a", limit=1 << 21, lasting=True)
    assert (answer.body, answer.resumed) == (other, False)
    assert _ranges(web) == ["bytes=600000-", None]


def test_what_was_there_to_its_end(web: Web, tmp_path: Path) -> None:
    _broken(web, len(BODY) - 1)
    place = _kept(tmp_path)[0]
    with place.open("ab") as file:
        file.write(BODY[-1:])
    with Fetcher(web.url) as fetcher:
        assert fetcher.get(f"{web.url}/a", limit=1 << 21, lasting=True).body == BODY
    assert _ranges(web) == [f"bytes={len(BODY)}-", None]


def test_it_is_kept_through_errors_and_redirects(web: Web, tmp_path: Path) -> None:
    _broken(web, 600_000)
    web.answers["/a"] = (503, {}, b"later")
    with Fetcher(web.url) as fetcher:
        with pytest.raises(PvehelmError, match="503"):
            fetcher.get(f"{web.url}/a", limit=1 << 21, lasting=True)
        web.answers["/a"] = (302, {"Location": "/b"}, b"over there")
        web.files["/b"] = BODY
        assert fetcher.get(f"{web.url}/a", limit=1 << 21, lasting=True).body == BODY
    assert [headers.get("range") for headers in web.asked("/b")] == ["bytes=600000-"]
    assert not _kept(tmp_path)


@pytest.mark.parametrize(("encoded", "first"), [(False, 0), (True, 0), (False, 500_000)])
def test_one_that_drips_is_given_up(web: Web, encoded: bool, first: int) -> None:
    web.drips, web.first = True, first
    with Fetcher(web.url, patience=0.1) as fetcher, pytest.raises(TransportError, match="slower than 1024 bytes"):
        fetcher.get(f"{web.url}/a", limit=1 << 21, encoded=encoded)
    assert len(_ranges(web)) == 1


def test_small_ones_and_those_without_a_mark_are_not_kept(web: Web, tmp_path: Path) -> None:
    _broken(web, partial.LEAST // 2)
    assert not _kept(tmp_path)
    one = Partial(f"{web.url}/x")
    one.begin("")
    one.more(bytes(partial.LEAST * 2))
    one.close(done=False)
    assert not _kept(tmp_path)


def test_of_two_processes_one_keeps_it(tmp_path: Path) -> None:
    first, second = Partial("http://x/a"), Partial("http://x/a")
    for one in (first, second):
        one.begin('"1"')
        one.more(bytes(partial.LEAST))
    second.more(b"x" * partial.LEAST)
    second.close(done=False)
    first.more(b"y" * partial.LEAST)
    # Whoever comes while it is held has nothing of it.
    assert not Partial("http://x/a").body
    first.close(done=False)
    again = Partial("http://x/a")
    assert (again.mark, again.body) == ('"1"', bytes(partial.LEAST) + b"y" * partial.LEAST)
    again.close(done=True)
    assert not _kept(tmp_path)


def test_a_package_is_checked_at_its_end_and_fetched_anew(tmp_path: Path) -> None:
    """A server may say that something is the same and be wrong."""
    data = packed("web", "1.0.0", {"files/a": os.urandom(900_000)})
    with web_server() as web:
        web.put(data)
        book = repositories.add(load_book(), Repository("lab", web.url))
        catalog.update(book, book.find("lab"))
        for wrong in (False, True):
            one = Partial(f"{web.url}/web-1.0.0.tgz")
            one.begin('"' + hashlib.sha256(data).hexdigest()[:16] + '"')
            one.more(data[:400_000] if not wrong else os.urandom(400_000))
            one.close(done=False)
            web.seen.clear()
            assert get(book, "lab/web").data == data
            assert [headers.get("range") for headers in web.asked("/web-1.0.0.tgz")] == (
                ["bytes=400000-", None] if wrong else ["bytes=400000-"]
            )
            for place in (tmp_path / "cache/archives").iterdir():
                place.unlink()


def test_what_a_registry_sends_is_fetched_anew(tmp_path: Path) -> None:
    data = packed("web", "1.0.0", {"files/a": os.urandom(900_000)})
    from pvehelm.chart import publishing
    from pvehelm.chart.archives import opened

    with hub_server() as hub:
        publishing.to_registry(load_book(), opened(data, url="here"), f"oci://{hub.host}/charts")
        digest = hashlib.sha256(data).hexdigest()
        one = Partial(f"http://{hub.host}/v2/charts/web/blobs/sha256:{digest}")
        one.begin('"x"')
        one.more(os.urandom(400_000))
        one.close(done=False)
        for place in (tmp_path / "cache/archives").glob("*"):
            place.unlink()
        assert get(load_book(), f"oci://{hub.host}/charts/web").data == data


# -- certificates ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("ours"), "client")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("theirs"), "server")


def _server(theirs: Certificate, ours: Certificate, asks: ssl.VerifyMode = ssl.CERT_REQUIRED) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(theirs.file, theirs.key)
    context.load_verify_locations(ours.file)
    context.verify_mode = asks
    return context


def test_a_certificate_is_shown_to_its_repository_alone(ours: Certificate, theirs: Certificate) -> None:
    data = packed("web")
    with (
        web_server(_server(theirs, ours)) as web,
        web_server(_server(theirs, ours, ssl.CERT_OPTIONAL)) as other,
    ):
        other.files["/web-1.0.0.tgz"] = data
        web.files["/index.yaml"] = index_of(data, url=f"{other.url}/")
        one = Repository("lab", web.url, "me", ca_file=str(theirs.file), cert_file=str(ours.file))
        book = repositories.add(load_book(), one._replace(key_file=str(ours.key)), password="p")
        assert book.find("lab") == load_book().find("lab")
        catalog.update(book, book.find("lab"))
        assert get(book, "lab/web").data == data
        assert (web.certified, other.certified) == ([True], [False])
        assert {headers.get("authorization") for headers in web.asked("/index.yaml")} == {basic("me", "p")}
        assert {headers.get("authorization") for headers in other.asked("/web-1.0.0.tgz")} == {None}
        # Without it nobody is let in.
        with Fetcher(web.url, tls=Tls(str(theirs.file))) as fetcher, pytest.raises(TransportError):
            fetcher.get(f"{web.url}/index.yaml", limit=1000)


def test_a_registry_that_asks_for_a_certificate(ours: Certificate, theirs: Certificate) -> None:
    from pvehelm.chart import publishing
    from pvehelm.chart.archives import opened

    data = packed("web")
    with hub_server(_server(theirs, ours)) as hub:
        login = Login(ca_file=str(theirs.file), cert_file=str(ours.file), key_file=str(ours.key))
        repositories.login(load_book(), hub.host, login)
        assert load_book().login_of(hub.host) == login
        publishing.to_registry(load_book(), opened(data, url="here"), f"oci://{hub.host}/charts")
        assert get(load_book(), f"oci://{hub.host}/charts/web").data == data
        repositories.login(load_book(), hub.host, Login(insecure=True))
        with pytest.raises(TransportError):
            get(load_book(), f"oci://{hub.host}/charts/web")
        with pytest.raises(UsageError, match="https alone"):
            repositories.login(load_book(), hub.host, Login(plain_http=True, insecure=True))


def test_what_a_token_service_is_shown(ours: Certificate, theirs: Certificate) -> None:
    """The certificate is for the registry, not for the service that it sends to; the CA counts there too."""
    with web_server(_server(theirs, ours, ssl.CERT_OPTIONAL)) as service:
        service.files["/token"] = b"{}"
        tls = Tls(str(theirs.file), str(ours.file), str(ours.key))
        with Fetcher(f"{service.url}/token", tls=tls, of="https://registry.example.org") as fetcher:
            fetcher.get(f"{service.url}/token", limit=10)
        assert service.certified == [False]


def test_an_unchecked_server_is_the_repository_alone(ours: Certificate, theirs: Certificate) -> None:
    with web_server(_server(theirs, ours, ssl.CERT_NONE)) as web, web_server(_server(theirs, ours, ssl.CERT_NONE)) as b:
        web.files["/a"] = b.files["/b"] = b"x"
        web.answers["/moved"] = (302, {"Location": f"{b.url}/b"}, b"")
        with Fetcher(web.url, tls=Tls(unchecked=True)) as fetcher:
            assert fetcher.get(f"{web.url}/a", limit=10).body == b"x"
            for url in (f"{web.url}/moved", f"{b.url}/b"):
                with pytest.raises(TransportError, match=r"(?i)certificate"):
                    fetcher.get(url, limit=10)


def test_credentials_for_hosts_that_the_index_names() -> None:
    with web_server() as web, web_server() as other, web_server() as third:
        third.files["/b"] = other.files["/b"] = b"x"
        other.answers["/moved"] = (302, {"Location": f"{third.url}/b"}, b"")
        with Fetcher(web.url, Credentials("me", "p", everywhere=True)) as fetcher:
            fetcher.get(f"{other.url}/b", limit=10)
            fetcher.get(f"{other.url}/moved", limit=10)
        assert {headers.get("authorization") for _, _, headers in other.seen} == {basic("me", "p")}
        assert {headers.get("authorization") for _, _, headers in third.seen} == {None}
    with Fetcher("https://charts.example.org", Credentials("me", "p", everywhere=True)) as fetcher:
        assert "Authorization" not in fetcher._headers("http://charts.example.org/x", "http://charts.example.org:80")


def test_certificates_that_are_none(ours: Certificate, theirs: Certificate, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no")
    one = Repository("lab", "https://charts.example.org")
    for wrong, what in (
        (one._replace(ca_file=str(tmp_path / "no.pem")), "holds no certificates"),
        (one._replace(cert_file=str(tmp_path / "no.pem")), "cannot be used as certificate"),
        (one._replace(cert_file=str(tmp_path / "nothing.pem")), "cannot be used as certificate"),
        (one._replace(cert_file=str(ours.file), key_file=str(theirs.key)), "belonging together"),
    ):
        with pytest.raises(InvalidError) as error:
            repositories.add(load_book(), wrong)
        assert what in f"{error.value} {error.value.hint}"
    for wrong in (
        one._replace(key_file=str(ours.key)),
        one._replace(everywhere=True),
        Repository("lab", "http://charts.example.org", insecure=True),
    ):
        with pytest.raises(UsageError):
            repositories.add(load_book(), wrong)

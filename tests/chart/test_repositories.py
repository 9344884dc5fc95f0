"""Repositories: what is fetched is bounded and checked, credentials stay where they belong, indexes are strangers'."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvehelm.chart import archives, catalog, fetch, index, repositories
from pvehelm.chart.book import Repository
from pvehelm.chart.book import load as load_book
from pvehelm.chart.fetch import Credentials, Fetcher
from pvehelm.chart.sources import fetch as get
from pvehelm.chart.sources import fetch_values
from pvehelm.chart.sparse import sparse
from pvehelm.chart.yaml import dump, load
from pvehelm.errors import AuthError, InvalidError, NotFoundError, PvehelmError, TransportError, UsageError
from tests.chart.data import cases
from tests.chart.servers import Web, basic, index_of, packed, web_server

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def other() -> Iterator[Web]:
    with web_server() as server:
        yield server


def _added(web: Web, **fields: object) -> repositories.Book:
    repository = Repository("lab", web.url)._replace(**fields)  # type: ignore[arg-type]
    book = repositories.add(load_book(), repository)
    catalog.update(book, repository)
    return book


# -- fetching ----------------------------------------------------------------------------------------------------------


def test_credentials_go_to_their_origin_only(web: Web, other: Web) -> None:
    web.answers["/moved"] = (302, {"Location": f"{other.url}/there"}, b"")
    web.answers["/same"] = (301, {"Location": "/here"}, b"")
    web.files["/here"] = other.files["/there"] = b"x"
    with Fetcher(web.url, Credentials("me", "secret")) as fetcher:
        assert fetcher.get(f"{web.url}/same", limit=10).body == b"x"
        assert fetcher.get(f"{web.url}/moved", limit=10).body == b"x"
        fetcher.get(f"{web.url}/moved", limit=10, headers={"Authorization": "Bearer t"})
        assert fetcher.get(f"{other.url}/there", limit=10).body == b"x"
    assert {headers.get("authorization") for _, _, headers in web.seen} == {basic("me", "secret"), "Bearer t"}
    assert {headers.get("authorization") for _, _, headers in other.seen} == {None}


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://x/y", "//", "javascript:1", "http://u:p@127.0.0.1/"])
def test_redirects_that_are_not_followed(web: Web, target: str) -> None:
    web.answers["/a"] = (302, {"Location": target}, b"")
    with Fetcher(web.url) as fetcher, pytest.raises(InvalidError, match="redirects"):
        fetcher.get(f"{web.url}/a", limit=10)


def test_redirects_end(web: Web) -> None:
    web.answers["/a"] = (302, {"Location": "/a"}, b"")
    with Fetcher(web.url) as fetcher, pytest.raises(InvalidError, match="more than 5 redirects"):
        fetcher.get(f"{web.url}/a", limit=10)


def test_answers_are_bounded_also_when_they_grow(web: Web) -> None:
    import gzip

    web.files["/a"] = b"x" * 1000
    web.answers["/bomb"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(b"x" * 3_000_000))
    with Fetcher(web.url) as fetcher:
        with pytest.raises(InvalidError, match="larger"):
            fetcher.get(f"{web.url}/a", limit=999)
        with pytest.raises(InvalidError, match="larger"):
            fetcher.get(f"{web.url}/bomb", limit=1 << 20, encoded=True)
        assert fetcher.get(f"{web.url}/a", limit=1000).body == b"x" * 1000


def test_a_download_that_breaks_off_is_resumed(web: Web) -> None:
    web.files["/a"] = bytes(range(256)) * 4000
    web.cuts = [300_000, 0, 1, 200_000, 0, 0, 7, 100_000]
    with Fetcher(web.url) as fetcher:
        assert fetcher.get(f"{web.url}/a", limit=1 << 21).body == web.files["/a"]
    asked = [headers.get("range") for _, _, headers in web.seen]
    assert asked[:4] == [None, "bytes=300000-", "bytes=300000-", "bytes=300001-"]
    assert len(asked) == 9


def test_a_download_that_brings_no_more_ends(web: Web) -> None:
    web.files["/a"] = bytes(1000)
    web.cuts = [500] + [0] * 10
    with Fetcher(web.url) as fetcher, pytest.raises(TransportError, match="broke off after 500 bytes"):
        fetcher.get(f"{web.url}/a", limit=1 << 21)
    assert len(web.seen) == 4


def test_a_file_that_changes_while_it_is_fetched(web: Web) -> None:
    web.files["/a"] = b"old" * 300
    web.cuts = [400]
    web.then["/a"] = b"new" * 300
    with Fetcher(web.url) as fetcher:
        assert fetcher.get(f"{web.url}/a", limit=1 << 21).body == b"new" * 300


def test_a_part_that_was_not_asked_for_is_not_taken(web: Web) -> None:
    web.files["/a"] = bytes(range(250)) * 4
    web.cuts, web.shift = [400], 3
    with Fetcher(web.url) as fetcher:
        assert fetcher.get(f"{web.url}/a", limit=1 << 21).body == web.files["/a"]
    assert [headers.get("range") for _, _, headers in web.seen] == [None, "bytes=400-", None]


def test_statuses_and_silence(web: Web) -> None:
    web.answers["/401"], web.answers["/500"] = (401, {}, b""), (500, {}, b"broken")
    with Fetcher(web.url) as fetcher:
        with pytest.raises(NotFoundError):
            fetcher.get(f"{web.url}/nothing", limit=10)
        with pytest.raises(AuthError):
            fetcher.get(f"{web.url}/401", limit=10)
        with pytest.raises(PvehelmError, match="500 broken"):
            fetcher.get(f"{web.url}/500", limit=10)
        with pytest.raises(PvehelmError, match="405"):
            fetcher.send("PUT", f"{web.url}/x", b"1")
    with Fetcher("http://127.0.0.1:1") as fetcher, pytest.raises(TransportError):
        fetcher.get("http://127.0.0.1:1/x", limit=10)


@pytest.mark.parametrize(
    "url", ["https://u:p@x/", "https://", "gopher://x", "https://x/ y", "http://[", "https://x:y/"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(InvalidError):
        fetch.origin(url)


def test_folders_are_read_below_themselves_only(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/a").write_text("x")
    (tmp_path / "secret").write_text("x")
    (tmp_path / "repo/link").symlink_to("../secret")
    base = (tmp_path / "repo").as_uri()
    with Fetcher(base) as fetcher:
        assert fetcher.get(f"{base}/a", limit=10).body == b"x"
        for url in (f"{base}/../secret", f"{base}/link", (tmp_path / "secret").as_uri(), f"{base}/%2e%2e/secret"):
            with pytest.raises(InvalidError):
                fetcher.get(url, limit=10)
    with Fetcher("http://127.0.0.1:1") as fetcher, pytest.raises(InvalidError):
        fetcher.get(f"{base}/a", limit=10)


# -- the book ----------------------------------------------------------------------------------------------------------


def test_passwords_are_owner_only_and_bound_to_their_origin(tmp_path: Path) -> None:
    book = load_book()
    one = Repository("lab", "https://charts.example.org/x", "me")
    book = repositories.add(book, one, password="hunter2")
    assert book.credentials(one) == Credentials("me", "hunter2")
    files = [path for path in (tmp_path / "config").iterdir() if path.suffix in (".yaml", ".json")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert [path.name for path in files if "hunter2" in path.read_text()] == ["repository-credentials.json"]
    assert "hunter2" not in repr(book.credentials(one))
    with pytest.raises(InvalidError, match="no password is known"):
        book.credentials(one._replace(url="https://charts.example.org:444/x"))
    with pytest.raises(InvalidError, match="already"):
        repositories.add(book, one._replace(url="https://elsewhere.example.org"))
    moved = repositories.add(book, one._replace(url="https://elsewhere.example.org", username=""), force=True)
    assert moved.credentials(moved.find("lab")) is None
    assert "hunter2" not in (tmp_path / "config/repository-credentials.json").read_text()
    left = repositories.remove(book, ["lab"])
    assert not left.repositories
    with pytest.raises(NotFoundError):
        repositories.remove(left, ["lab"])


def test_references_to_passwords(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    book = load_book()
    monkeypatch.setenv("LAB_PASSWORD", "p")
    one = Repository("lab", "https://x.example", "me", "secret://env/LAB_PASSWORD")
    assert book.credentials(one) == Credentials("me", "p")
    (tmp_path / "pw").write_text("q\n")
    (tmp_path / "pw").chmod(0o600)
    assert book.credentials(one._replace(secret=f"secret://file{tmp_path}/pw")) == Credentials("me", "q")
    with pytest.raises(InvalidError, match="leads to no password"):
        book.credentials(one._replace(secret="secret://env/NOT_SET"))


def test_books_that_are_wrong(tmp_path: Path) -> None:
    place = tmp_path / "repositories.yaml"
    for text, what in (
        ("- a\n", "no list"),
        ("repositories: [1, {name: a/b, url: x}, {name: a}]\n", "not valid"),
        ("repositories: [{name: a, url: 'https://x', password: p}]\n", "not valid"),
    ):
        place.write_text(text)
        with pytest.raises(InvalidError, match=what):
            repositories.load(str(place))
    place.write_text("apiVersion: ''\nrepositories:\n- {name: a, url: 'https://x', caFile: '', username: null}\n")
    assert repositories.load(str(place)).find("a").url == "https://x"
    for url in ("oci://x/y", "https://x/?a=b"):
        with pytest.raises(UsageError):
            repositories.check_url(url)


# -- the index ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("indexes.yaml"))
def test_indexes(case: dict[str, object]) -> None:
    found = index.read(str(case["text"]).encode(), url=str(case.get("url", "https://charts.example.org/stable")))
    offered = {f"{name} {e.version}": list(e.urls) for name, entries in found.entries.items() for e in entries}
    assert offered == case.get("offers", {})
    assert [str(problem) for problem in found.skipped] == case.get("skipped", [])
    if "digests" in case:
        assert [e.digest for entries in found.entries.values() for e in entries] == case["digests"]


@pytest.mark.parametrize(
    "data",
    [b"[]", b"\xff\xfe", b"entries: []\napiVersion: v1", b"{" * 5000, b"a: &a [*a]", b"a: {" * 300, b"", b"<html>"],
)
def test_what_is_no_index(data: bytes) -> None:
    with pytest.raises(InvalidError):
        index.read(data, url="https://x.example")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("1.0.0"),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["entries", "web", "version", "urls", "name", "digest", "created", "apiVersion", "keywords"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=20,
    )
)
@settings(max_examples=300, deadline=None)
def test_whatever_an_index_holds_nothing_else_than_errors_comes(data: object) -> None:
    for text in (json.dumps(data), json.dumps({"entries": {"web": data}, "apiVersion": "v1"})):
        try:
            found = index.read(text.encode(), url="https://x.example/charts")
        except InvalidError:
            continue
        for entries in found.entries.values():
            for entry in entries:
                assert entry.urls
                assert all(url.split(":")[0] in ("https", "http", "oci") for url in entry.urls)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_bytes_that_are_no_index(data: bytes) -> None:
    try:
        index.read(b"apiVersion: v1\nentries:\n  " + data, url="https://x.example")
    except InvalidError:
        return


# -- the catalogue -----------------------------------------------------------------------------------------------------


def test_versions_are_chosen(web: Web) -> None:
    versions = ("1.2.0", "1.10.0", "2.0.0-rc.1", "0.9.0+build")
    web.put(*(packed("web", version) for version in versions), packed("db", extra="description: SQL things\n"))
    book = _added(web)
    listed = catalog.Catalog(book.find("lab"))
    assert [entry.version for entry in listed.versions("web")] == ["2.0.0-rc.1", "1.10.0", "1.2.0", "0.9.0+build"]
    for wanted, devel, version in (
        ("", False, "1.10.0"),
        ("", True, "2.0.0-rc.1"),
        ("~1.2", False, "1.2.0"),
        ("v1.2.0", False, "1.2.0"),
        ("2.0.0-rc.1", False, "2.0.0-rc.1"),
        ("^2.0.0-0", False, "2.0.0-rc.1"),
        ("0.9.0+build", False, "0.9.0+build"),
        ("<1", False, "0.9.0+build"),
    ):
        assert listed.find("web", wanted, devel=devel).version == version, wanted
    with pytest.raises(NotFoundError, match=r"no version of web in lab is \^3"):
        listed.find("web", "^3")
    with pytest.raises(NotFoundError) as caught:
        listed.find("webb")
    assert "did you mean 'web'" in caught.value.hint
    with pytest.raises(InvalidError):
        listed.find("web", "not a range")
    assert listed.search("sql") == ["db"]
    assert listed.search() == ["db", "web"]
    assert listed.search("lab/w") == ["web"]
    assert listed.search("things SQL") == ["db"]
    assert listed.search("things web") == []
    assert listed.search("^lab/d", regexp=True) == ["db"]
    with pytest.raises(InvalidError):
        listed.search("(", regexp=True)


def test_names_come_before_descriptions(web: Web) -> None:
    told = {"a": "description: beside web\n", "my-web": "", "web": "", "z": "description: not a web\n"}
    web.put(*(packed(name, extra=extra) for name, extra in told.items()))
    book = _added(web)
    listed = catalog.Catalog(book.find("lab"))
    assert listed.search("web") == ["web", "my-web", "a", "z"]
    assert [row[0] for row in listed.offers(listed.search("web"))] == ["web", "my-web", "a", "z"]


def test_an_index_that_did_not_change_is_not_sent_again(web: Web) -> None:
    web.put(packed("web"))
    book = _added(web)
    assert catalog.update(book, book.find("lab")) is None
    assert "if-none-match" in web.seen[-1][2]
    web.put(packed("web"), packed("web", "1.1.0"))
    found = catalog.update(book, book.find("lab"))
    assert found is not None
    assert len(found.entries["web"]) == 2
    catalog.file_of(web.url).write_bytes(b"damaged")
    assert catalog.update(book, book.find("lab")) is not None


def test_an_index_that_is_wrong_leaves_the_one_before(web: Web) -> None:
    web.put(packed("web"))
    book = _added(web)
    web.files["/index.yaml"] = b"[]"
    with pytest.raises(InvalidError):
        catalog.update(book, book.find("lab"))
    assert catalog.Catalog(book.find("lab")).names() == ["web"]


def test_one_chart_of_a_large_repository(web: Web) -> None:
    old, new = packed("web"), packed("web", "1.1.0")
    web.put(old, new, packed("other"))
    entries = load(web.files["/index.yaml"].decode())["entries"]
    web.files |= {f"/{path}": data for path, data in sparse({"entries": entries, "generated": "now"}).items()}
    book = load_book()
    assert get(book, "web", repo=web.url).chart.version == "1.1.0"
    assert get(book, "web", repo=web.url, version="<1.1").chart.version == "1.0.0"
    assert not web.asked("/index.yaml")
    with pytest.raises(NotFoundError, match="no chart 'wep'"):
        get(book, "wep", repo=web.url)
    assert web.asked("/index.yaml")


@pytest.mark.parametrize("body", [b"{}", b"[]", b"no", b'{"charts": {"web": {"sha256": "00"}}}'])
def test_sparse_indexes_that_lie(web: Web, body: bytes) -> None:
    web.put(packed("web"))
    web.files["/sparse/index.json"] = body
    web.files["/sparse/charts/web.json.gz"] = b"x"
    with pytest.raises(InvalidError, match="sparse"):
        get(load_book(), "web", repo=web.url)


# -- archives ----------------------------------------------------------------------------------------------------------


def test_a_chart_is_fetched_once(web: Web) -> None:
    web.put(packed("web"))
    book = _added(web)
    found = get(book, "lab/web")
    assert (found.filename, found.url) == ("web-1.0.0.tgz", f"{web.url}/web-1.0.0.tgz")
    assert get(book, "lab/web").data == found.data
    assert len(web.asked("/web-1.0.0.tgz")) == 1
    assert get(book, "web", repo=web.url).data == found.data
    assert get(book, found.url).chart.name == "web"


def test_repositories_that_lie(web: Web) -> None:
    good = packed("web")
    web.put(good)
    web.files["/web-1.0.0.tgz"] = packed("web", files={"README.md": b"changed"})
    book = _added(web)
    with pytest.raises(InvalidError) as caught:
        get(book, "lab/web")
    assert "its SHA-256 is" in caught.value.problems[0].what
    assert archives.cached(hashlib.sha256(good).hexdigest()) is None
    for inside in (packed("evil"), packed("web", "2.0.0")):
        whole = json.loads(index_of(good))
        whole["entries"]["web"][0]["digest"] = hashlib.sha256(inside).hexdigest()
        web.files["/index.yaml"], web.files["/web-1.0.0.tgz"] = json.dumps(whole).encode(), inside
        catalog.update(book, book.find("lab"))
        with pytest.raises(InvalidError) as caught:
            get(book, "lab/web")
        assert "expected was web 1.0.0" in caught.value.problems[0].what


def test_a_digest_that_is_none_fits_nothing(web: Web) -> None:
    web.put(packed("web"))
    whole = json.loads(web.files["/index.yaml"])
    whole["entries"]["web"][0]["digest"] = "md5:abc"
    web.files["/index.yaml"] = json.dumps(whole).encode()
    book = _added(web)
    with pytest.raises(InvalidError) as caught:
        get(book, "lab/web")
    assert "expected was md5:abc" in caught.value.problems[0].what


def test_a_cache_that_was_changed_is_not_believed(web: Web, tmp_path: Path) -> None:
    web.put(packed("web"))
    book = _added(web)
    digest = get(book, "lab/web").sha256
    place = tmp_path / "cache" / "archives" / digest
    place.write_bytes(b"changed")
    assert get(book, "lab/web").sha256 == digest
    assert len(web.asked("/web-1.0.0.tgz")) == 2
    assert archives.cached("../../etc/passwd") is None


def test_archives_elsewhere_get_no_credentials(web: Web, other: Web) -> None:
    other.put(packed("web"))
    web.login = basic("me", "p")
    web.files["/index.yaml"] = index_of(packed("web"), url=f"{other.url}/")
    repository = Repository("lab", web.url, "me")
    book = repositories.add(load_book(), repository, password="p")
    catalog.update(book, repository)
    assert get(book, "lab/web").chart.version == "1.0.0"
    assert all("authorization" not in headers for _, _, headers in other.seen)


def test_values_at_an_address(web: Web, other: Web) -> None:
    web.login = basic("me", "p")
    web.files["/values/x.yaml"] = b"\xef\xbb\xbfa: 1\n"
    web.files["/index.yaml"] = index_of(packed("web"))
    repository = Repository("lab", web.url, "me")
    book = repositories.add(load_book(), repository, password="p")
    assert fetch_values(book, f"{web.url}/values/x.yaml") == "a: 1\n"
    other.files["/x.yaml"] = b"\xff"
    with pytest.raises(InvalidError, match="not UTF-8"):
        fetch_values(book, f"{other.url}/x.yaml")
    assert all("authorization" not in headers for _, _, headers in other.seen)
    with pytest.raises(NotFoundError):
        fetch_values(book, f"{other.url}/nothing.yaml")


@pytest.mark.parametrize("name", ["nowhere/web", "web", "gopher://x/y", "lab/a/b"])
def test_charts_that_are_nowhere(web: Web, name: str) -> None:
    web.put(packed("web"))
    with pytest.raises(NotFoundError, match="there is no chart at"):
        get(_added(web), name)


def test_large_indexes_are_compiled_quickly_enough(web: Web) -> None:
    entries = {
        f"chart-{n}": [
            {"version": f"1.{v}.0", "urls": [f"chart-{n}-1.{v}.0.tgz"], "digest": "0" * 64} for v in range(20)
        ]
        for n in range(100)
    }
    web.files["/index.yaml"] = dump({"apiVersion": "v1", "entries": entries}).encode()
    book = _added(web)
    assert catalog.Catalog(book.find("lab")).find("chart-42", "~1.7").version == "1.7.0"


def test_what_is_skimmed_changes_nothing() -> None:
    text = """apiVersion: v1
entries:
  web:
  - annotations:
      links: |
        - name: a
          url: https://example.org
    apiVersion: v2
    dependencies:
    - name: common
      tags:
      - base
    description: |+
      maintainers: no key, but text

    keywords:
    - maintainers
    maintainers:
    - name: A Person
      email: a@example.org
    kubeVersion: '>=1.23
      <2'
    sources: [a,
      b]
    urls:
    - web-1.0.0.tgz
    version: 1.0.0
  - version: 0.9.0
    urls: [web-0.9.0.tgz]
    sources:
    - https://example.org
"""
    as_json = json.dumps(load(text)).encode()
    assert index.read(text.encode(), url="https://x") == index.read(as_json, url="https://x")
    assert [one.version for one in index.read(text.encode(), url="https://x").entries["web"]] == ["1.0.0", "0.9.0"]

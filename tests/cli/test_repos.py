"""Repositories on the command line: add, search, pull, push, sign, and charts named by reference everywhere."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.chart.data import write
from tests.chart.servers import Hub, Web, basic, index_of, packed
from tests.release.lab import Lab

POOL = b"""\
apiVersion: proxmox.io/v1
kind: Pool
metadata: {name: "{{ Release.Name }}"}
spec: {comment: "{{ Values.text }}"}
"""
FILES = {"templates/pool.yaml": POOL, "values.yaml": b"text: hello\n", "README.md": b"# web\n"}
needs_ssh = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not installed")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVEHELM_CACHE", str(tmp_path / "cache"))


def test_from_adding_to_installing(lab: Lab, web: Web) -> None:
    web.put(*(packed("web", v, FILES, "appVersion: '3'\n") for v in ("1.0.0", "1.1.0", "2.0.0-rc.1")))
    assert lab.run("repo", "add", "lab", web.url).out == '"lab" has been added to your repositories\n'
    again = lab.run("repo", "add", "lab", web.url).out
    assert again == '"lab" already exists with the same configuration, skipping\n'
    assert lab.run("repo", "list", "-o", "json").json == [{"name": "lab", "url": web.url}]
    assert lab.run("search", "repo", "we").out.split("\n")[1].split() == ["lab/web", "1.1.0", "3"]
    found = lab.run("search", "repo", "web", "-l", "-o", "json").json
    assert [row["version"] for row in found] == ["1.1.0", "1.0.0"]
    assert lab.run("search", "repo", "--max-col-width", "5").out.split("\n")[1].split() == ["la...", "1.1.0", "3"]
    found = lab.run("search", "repo", "--devel", "-o", "json").json
    assert [row["version"] for row in found] == ["2.0.0-rc.1"]
    assert lab.run("search", "repo", "nothing").out == "No results found\n"
    lab.run("search", "repo", "nothing", "--fail-on-no-result", code=1)
    lab.run("install", "one", "lab/web", "--version", "~1.0")
    assert lab.run("list", "-o", "json").json[0]["chart"] == "web-1.0.0"
    assert "hello" in lab.run("diff", "one", "lab/web", "--set", "text=bye").out
    lab.run("upgrade", "one", "lab/web", "--set", "text=bye")
    assert lab.run("list", "-o", "json").json[0]["chart"] == "web-1.1.0"
    for words in (
        ("template", "lab/web", "--devel"),
        ("template", "web", "--repo", web.url),
        ("template", f"{web.url}/web-1.0.0.tgz"),
        ("show", "values", "lab/web"),
    ):
        assert "hello" in lab.run(*words).out
    assert "version: 1.0.0" in lab.run("show", "chart", "lab/web", "--version", "1.0.0").out
    lab.run("lint", "lab/web")
    assert "did you mean 'web'" in lab.run("template", "lab/webb", code=1).err
    assert "no version of web" in lab.run("template", "lab/web", "--version", "^7", code=1).err
    web.put(packed("web", "1.2.0", FILES))
    assert lab.run("repo", "update").out == '"lab" has news\n'
    assert lab.run("repo", "update", "lab").out == '"lab" is up to date\n'
    lab.run("repo", "remove", "lab")
    assert "there are no repositories" in lab.run("repo", "update", code=1).err
    assert "there is no chart at lab/web" in lab.run("template", "lab/web", code=1).err


def test_where_a_release_came_from_is_recorded(lab: Lab, web: Web) -> None:
    web.put(packed("web", "1.0.0", FILES))
    lab.run("repo", "add", "lab", web.url)
    lab.run("install", "one", "lab/web")
    assert (
        lab.run("get", "metadata", "one", "-o", "json")
        .json.get("origin", f"{web.url}/web-1.0.0.tgz")
        .startswith(web.url)
    )


def test_repositories_that_need_a_login(lab: Lab, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web.put(packed("web", "1.0.0", FILES))
    web.login = basic("me", "hunter2")
    refused = lab.run("repo", "add", "lab", web.url, code=1)
    assert "access denied" in refused.err
    assert "--username" in refused.err
    assert lab.run("repo", "list", "-o", "json").json == []
    lab.run("repo", "add", "lab", web.url, "--username", "me", code=64)
    lab.run("repo", "add", "lab", web.url, "--username", "me", "--password-ref", "hunter2", code=64)
    lab.run("repo", "add", "lab", web.url, "--username", "me", "--password-stdin", stdin="wrong\n", code=1)
    lab.run("repo", "add", "lab", web.url, "--username", "me", "--password-stdin", stdin="hunter2\n")
    lab.run("pull", "lab/web", "-d", "got")
    monkeypatch.setenv("LAB_PASSWORD", "hunter2")
    lab.run("repo", "add", "two", web.url, "-u", "me", "--password-ref", "secret://env/LAB_PASSWORD")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()] == [
        "repository-credentials.json"
    ]


def test_how_a_server_is_met(lab: Lab, web: Web, tmp_path: Path) -> None:
    web.put(packed("web", "1.0.0", FILES))
    assert "--cert-file" in lab.run("repo", "add", "lab", web.url, "--key-file", "x.pem", code=64).err
    assert "https alone" in lab.run("repo", "add", "lab", web.url, "--insecure-skip-tls-verify", code=64).err
    assert "--username" in lab.run("repo", "add", "lab", web.url, "--pass-credentials", code=64).err
    (tmp_path / "x.pem").write_text("no")
    told = lab.run("repo", "add", "lab", "https://127.0.0.1:1", "--cert-file", "x.pem", code=1).err
    assert "cannot be used as certificate" in told
    assert lab.run("repo", "list", "-o", "json").json == []


def test_adding_twice(lab: Lab, web: Web) -> None:
    web.put(packed("web", "1.0.0", FILES))
    lab.run("repo", "add", "lab", web.url)
    lab.run("repo", "add", "lab", web.url)
    assert "--force-update" in lab.run("repo", "add", "lab", web.url + "/x", code=1).err
    lab.run("repo", "add", "lab", web.url + "/x", "--force-update", code=1)
    assert lab.run("repo", "list", "-o", "json").json == [{"name": "lab", "url": web.url}]
    lab.run("repo", "add", "x", "nowhere", code=1)
    lab.run("repo", "add", "x", "oci://host/x", code=64)
    lab.run("repo", "remove", "nix", code=1)


def test_one_that_fails_does_not_stop_the_others(lab: Lab, web: Web) -> None:
    web.put(packed("web", "1.0.0", FILES))
    web.files["/b/index.yaml"] = web.files["/index.yaml"]
    lab.run("repo", "add", "a", web.url)
    lab.run("repo", "add", "b", f"{web.url}/b")
    del web.files["/index.yaml"]
    run = lab.run("repo", "update", code=1)
    assert '"b" is up to date' in run.out
    assert '"a" could not be updated' in run.err


@needs_ssh
def test_signed_repositories(lab: Lab, tmp_path: Path) -> None:
    for name in ("key", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name], cwd=tmp_path, check=True)
    write(tmp_path / "web", {"Chart.yaml": b"apiVersion: v2\nname: web\nversion: 1.0.0\n", **FILES})
    lab.run("package", "web", "-d", "site", "--sign", "--key", "key", "--app-version", "7")
    lab.run("package", "web", "-d", "site", "--sign", "--key", "other", "--version", "1.1.0")
    lab.run("package", "web", "-d", "site", "--version", "1.2.0")
    lab.run("package", "web", "--sign", code=64)
    lab.run("package", "web", "--version", "x", code=1)
    assert "4 files written" in lab.run("repo", "index", "site", "--key", "key.pub").out
    assert lab.run("repo", "index", "site").out == "nothing has changed\n"
    assert "must be signed by SHA256:" in lab.run("repo", "add", "lab", "site").out
    assert 'appVersion: "7"' in lab.run("show", "chart", "lab/web", "--version", "1.0.0").out
    assert "signed by another key" in lab.run("pull", "lab/web", "--version", "1.1.0", code=1).err
    assert "it is not signed" in lab.run("pull", "lab/web", code=1).err
    lab.run("pull", "lab/web", "--version", "1.0.0", "--prov", "-d", "got")
    assert "signed by SHA256:" in lab.run("verify", "got/web-1.0.0.tgz", "--key", "key.pub").out
    lab.run("verify", "got/web-1.0.0.tgz", "--key", "other.pub", code=1)
    assert "cannot be verified" in lab.run("verify", "site/web-1.2.0.tgz", code=1).err
    # A repository that names other keys later does not change what is trusted.
    lab.run("repo", "index", "site", "--key", "other.pub")
    assert "other keys" in lab.run("repo", "update").err
    assert "signed by another key" in lab.run("pull", "lab/web", "--version", "1.1.0", code=1).err
    lab.run("repo", "add", "lab", "site", "--key", (tmp_path / "other.pub").read_text().strip(), "--force-update")
    lab.run("pull", "lab/web", "--version", "1.1.0", "-d", "got")


def test_pulling(lab: Lab, web: Web, tmp_path: Path) -> None:
    data = packed("web", "1.0.0", FILES)
    web.put(data)
    lab.run("repo", "add", "lab", web.url)
    out = lab.run("pull", "lab/web", "-d", "got").out
    assert out.startswith("Pulled: got/web-1.0.0.tgz\nDigest: sha256:")
    assert (tmp_path / "got/web-1.0.0.tgz").read_bytes() == data
    lab.run("pull", "lab/web", "--untar", "-d", "got")
    assert (tmp_path / "got/web/values.yaml").read_bytes() == b"text: hello\n"
    lab.run("pull", "lab/web", "--untar", "-d", "got", code=1)
    lab.run("pull", "lab/web", "--untar", "--untardir", "other", "-d", "got")
    assert (tmp_path / "got/other/web/values.yaml").exists()
    web.files["/web-1.0.0.tgz"] = b"changed"
    shutil.rmtree(tmp_path / "cache/archives")
    assert "is not what it should be" in lab.run("pull", "lab/web", code=1).err
    lab.run("pull", "lab/web", "--verify", code=1)


def test_publishing(lab: Lab, web: Web, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "web.tgz").write_bytes(packed("web", "1.0.0", FILES))
    (tmp_path / "changed.tgz").write_bytes(packed("web", "1.0.0"))
    web.writable = True
    lab.run("registry", "login", hub.host, "-u", "me", "--password-stdin", stdin="p\n")
    for target in ("site", f"{web.url}/charts", f"oci://{hub.host}/charts"):
        assert "Digest: sha256:" in lab.run("push", "web.tgz", target).out
        lab.run("push", "web.tgz", target)
        assert "there already" in lab.run("push", "changed.tgz", target, code=3).err
        lab.run("push", "changed.tgz", target, "--force")
    assert web.files["/charts/web-1.0.0.tgz"] == (tmp_path / "site/web-1.0.0.tgz").read_bytes()
    assert lab.run("show", "chart", f"oci://{hub.host}/charts/web").out.startswith("apiVersion: v2\nname: web\n")
    # A signature of what was replaced would be a wrong one.
    (tmp_path / "site/web-1.0.0.tgz.sig").write_text("of the one before")
    lab.run("push", "changed.tgz", "site")
    assert (tmp_path / "site/web-1.0.0.tgz.sig").exists()
    lab.run("push", "web.tgz", "site", "--force")
    assert not (tmp_path / "site/web-1.0.0.tgz.sig").exists()
    lab.run("repo", "add", "site", "site")
    assert len(lab.run("search", "repo", "-o", "json").json) == 1
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "pages.git"], check=True)
    branch = f"git+file://{tmp_path}/pages.git@pages"
    lab.run("push", "web.tgz", branch)
    assert f"{branch}/web-1.0.0.tgz is there already" in lab.run("push", "changed.tgz", branch, code=3).err
    assert "git ls-remote: " in lab.run("push", "web.tgz", f"git+file://{tmp_path}/nothing.git@pages", code=1).err
    assert "1/index.yaml: Connection refused" in lab.run("repo", "add", "down", "http://127.0.0.1:1/", code=1).err
    lab.run("push", "nothing.tgz", "site", code=1)
    lab.run("push", "web.tgz", "ftp://x/y", code=64)
    assert "Removed" in lab.run("registry", "logout", hub.host).out


def test_publishing_from_nothing(lab: Lab, web: Web, tmp_path: Path) -> None:
    """A web server that takes PUT, asks for a password and has nothing yet."""
    for version in ("1.0.0", "1.1.0"):
        (tmp_path / f"web-{version}.tgz").write_bytes(packed("web", version, FILES))
    web.writable, web.login, site = True, basic("me", "p"), f"{web.url}/charts"
    login = ("repo", "add", "mine", site, "-u", "me", "--password-stdin")
    assert "'repo add --new' needs none" in lab.run(*login, stdin="p\n", code=1).err
    assert "denied" in lab.run(*login, "--new", stdin="q\n", code=1).err
    lab.run(*login, "--new", stdin="p\n")
    lab.run("repo", "update")
    assert lab.run("search", "repo", "mine", "-o", "json").json == []
    assert "where the server makes none, --index does" in lab.run("push", "web-1.0.0.tgz", site).out
    assert f"Index: {site}/index.yaml" in lab.run("push", "web-1.0.0.tgz", site, "--index").out
    lab.run("push", "web-1.1.0.tgz", site, "--index")
    before = dict(web.files)
    lab.run("push", "web-1.1.0.tgz", site, "--index")
    assert web.files == before
    lab.run("repo", "update")
    versions = [one["version"] for one in lab.run("search", "repo", "mine", "--versions", "-o", "json").json]
    assert versions == ["1.1.0", "1.0.0"]
    lab.run("pull", "mine/web", "--version", "1.0.0")
    # It is the index that a folder of the same packages gets, and a client that only reads the sparse one finds them.
    assert set(web.files) == {
        "/charts/" + path
        for path in ("index.yaml", "index.html", "sparse/index.json", "sparse/charts/web.json.gz", *FILED)
    }
    del web.files["/charts/index.yaml"]
    shutil.rmtree(tmp_path / "cache")
    lab.run("show", "chart", "web", "--repo", site)
    assert "Index:" not in lab.run("push", "web-1.1.0.tgz", site).out


FILED = ("web-1.0.0.tgz", "web-1.1.0.tgz")


def test_an_index_that_others_change(lab: Lab, web: Web, tmp_path: Path) -> None:
    """What somebody else pushed meanwhile stays; where a server takes no folders there is no sparse index."""
    (tmp_path / "web-1.0.0.tgz").write_bytes(packed("web", "1.0.0", FILES))
    web.put(packed("db", "2.0.0"))
    web.writable = True
    other = index_of(packed("db", "2.0.0"), packed("db", "2.1.0"))
    web.meanwhile = {"/index.yaml": other}
    web.refused = ["/sparse/"]
    told = lab.run("push", "web-1.0.0.tgz", web.url, "--index").out
    assert "note: no sparse index" in told
    (tmp_path / "web-1.1.0.tgz").write_bytes(packed("web", "1.1.0", FILES))
    lab.run("push", "web-1.1.0.tgz", web.url, "--index", "--url", "https://charts.example.org/")
    assert b"https://charts.example.org/web-1.1.0.tgz" in web.files["/index.yaml"]
    assert "has no index" in lab.run("push", "web-1.1.0.tgz", "oci://localhost:1/x", "--index", code=64).err
    lab.run("repo", "add", "lab", web.url)
    rows = lab.run("search", "repo", "lab", "--versions", "-o", "json").json
    assert [(one["name"], one["version"]) for one in rows] == [
        ("lab/db", "2.1.0"), ("lab/db", "2.0.0"), ("lab/web", "1.1.0"), ("lab/web", "1.0.0")
    ]  # fmt: skip


def test_indexes(lab: Lab, tmp_path: Path) -> None:
    import gzip

    site = tmp_path / "site"
    site.mkdir()
    odd = "description: <script>alert(1)</script>\nhome: 'javascript:alert(1)'\n"
    (site / "web-1.0.0.tgz").write_bytes(packed("web", "1.0.0", FILES, odd))
    old = "apiVersion: v1\nentries:\n  web: [{name: web, version: 0.9.0, urls: [old.tgz], created: '2020'}]\n"
    (tmp_path / "old.yaml").write_text(old)
    lab.run("repo", "index", "site", "--url", "https://charts.example.org", "--merge", "old.yaml")
    page = (site / "index.html").read_text()
    assert "<script" not in page
    assert 'href="javascript' not in page
    assert 'href="https://charts.example.org/web-1.0.0.tgz"' in page
    sparse = json.loads(gzip.decompress((site / "sparse/charts/web.json.gz").read_bytes()))
    assert [one["version"] for one in sparse["versions"]] == ["1.0.0", "0.9.0"]
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    lab.run("repo", "index", "site", "--url", "https://charts.example.org", "--merge", "old.yaml")
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before
    # As JSON, which it stays until an index is made without.
    lab.run("repo", "index", "site", "--merge", "old.yaml", "--json")
    whole = json.loads((site / "index.yaml").read_text())
    assert [one["version"] for one in whole["entries"]["web"]] == ["1.0.0", "0.9.0"]
    (tmp_path / "web-1.1.0.tgz").write_bytes(packed("web", "1.1.0", FILES))
    lab.run("push", "web-1.1.0.tgz", "site")
    assert json.loads((site / "index.yaml").read_text())["entries"]["web"][0]["version"] == "1.1.0"
    (site / "web-1.1.0.tgz").unlink()
    (site / "web-1.0.0.tgz").unlink()
    lab.run("repo", "index", "site")
    assert not (site / "sparse/charts/web.json.gz").exists()


def test_dependencies(lab: Lab, web: Web, tmp_path: Path) -> None:
    web.put(packed("lib", "1.0.0"))
    text = "apiVersion: v2\nname: app\nversion: 1.0.0\n"
    text += f"dependencies:\n- {{name: lib, version: ^1, repository: '{web.url}'}}\n"
    write(tmp_path / "app", {"Chart.yaml": text})
    assert "missing" in lab.run("dependency", "list", "app").out
    lab.run("package", "app", code=1)
    assert "'pvehelm dependency update app' fetches it" in lab.run("template", "app", code=1).err
    rendered = lab.run("template", "app", "--dependency-update")
    assert "1 dependency in app/charts" in rendered.err
    assert "charts" not in rendered.out
    # What is there is not looked for again.
    web.seen.clear()
    lab.run("template", "app", "--dependency-update")
    assert not web.seen
    (tmp_path / "app/charts/lib-1.0.0.tgz").unlink()
    lab.run("install", "--dependency-update", "app", "./app", "--dry-run")
    assert "1 dependency in app/charts" in lab.run("dep", "update", "app").out
    assert lab.run("dep", "ls", "app", "-o", "json").json[0]["status"] == "ok"
    web.put(packed("lib", "1.0.0"), packed("lib", "1.1.0"))
    (tmp_path / "app/charts/lib-1.0.0.tgz").unlink()
    assert "lib 1.0.0" in lab.run("dep", "build", "app").out
    assert "lib 1.1.0" in lab.run("dep", "up", "app").out
    lab.run("package", "app", "-u")
    lab.run("dep", "update", "app-1.0.0.tgz", code=64)


def test_a_wrong_password_leaves_the_right_one(lab: Lab, web: Web) -> None:
    web.put(packed("web", "1.0.0", FILES))
    web.login = basic("me", "right")
    lab.run("repo", "add", "lab", web.url, "-u", "me", "--password-stdin", stdin="right\n")
    lab.run("repo", "add", "lab", web.url, "-u", "me", "--password-stdin", "--force-update", stdin="wrong\n", code=1)
    lab.run("repo", "update")


def test_upgrade_takes_the_chart_from_where_it_came(lab: Lab, web: Web) -> None:
    web.put(packed("web", "1.0.0", FILES))
    lab.run("repo", "add", "lab", web.url)
    lab.run("install", "one", "lab/web")
    lab.run("install", "two", "web", "--repo", web.url, "--version", "~1.0")
    origin = lab.run("get", "metadata", "two", "-o", "json").json["chartOrigin"]
    assert origin == f"{web.url}#chart=web&version=~1.0"
    assert lab.run("outdated").out.split() == ["NAME", "NAMESPACE", "CHART", "VERSION", "WANTED", "NEWEST", "FROM"]
    web.put(*(packed("web", v, FILES) for v in ("1.0.1", "1.1.0", "2.0.0-rc.1")))
    # No network without being asked: the cached index does not know yet.
    before = len(web.seen)
    assert lab.run("list", "--outdated", "-o", "json").json == []
    assert len(web.seen) == before
    rows = lab.run("outdated", "-o", "json").json
    assert [(row["name"], row["wanted"], row["newest"]) for row in rows] == [
        ("one", "1.1.0", "1.1.0"),
        ("two", "1.0.1", "1.1.0"),
    ]
    assert lab.run("list", "--outdated", "-q").out == "one\ntwo\n"
    assert lab.run("outdated", "--cached", "--detailed-exitcode", code=2).out.count("1.1.0") == 3
    said = lab.run("upgrade", "two", "--set", "text=bye")
    assert f"chart: web 1.0.1 from {web.url}" in said.err
    lab.run("upgrade", "one", "-o", "json")
    assert {row["name"]: row["chart"] for row in lab.run("list", "-o", "json").json} == {
        "one": "web-1.1.0",
        "two": "web-1.0.1",
    }
    # Another range takes the place of the recorded one, for good.
    lab.run("upgrade", "two", "--version", "^1", "--dry-run")
    lab.run("upgrade", "two", "--version", ">=2-0", "--devel")
    assert lab.run("get", "metadata", "two", "-o", "json").json["version"] == "2.0.0-rc.1"
    lab.run("rollback", "two", "1")
    assert lab.run("get", "metadata", "two", "-o", "json").json["chartOrigin"] == origin
    all_ = lab.run("outdated", "--all", "-o", "json").json
    assert [row["outdated"] for row in all_] == [False, True]


def test_origins_of_other_kinds(lab: Lab, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "mine", {"Chart.yaml": "{apiVersion: v2, name: mine, version: 0.1.0}", **FILES})
    lab.run("install", "here", "./mine")
    assert lab.run("get", "metadata", "here", "-o", "json").json["chartOrigin"] == str(folder)
    (folder / "Chart.yaml").write_text("{apiVersion: v2, name: mine, version: 0.2.0}")
    assert [row["newest"] for row in lab.run("list", "--outdated", "-o", "json").json] == ["0.2.0"]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    lab.run("upgrade", "here")
    assert lab.run("list", "-o", "json").json[0]["chart"] == "mine-0.2.0"
    (folder / "templates" / "pool.yaml").write_bytes(POOL.replace(b"{{ ", b"{{ ."))
    lab.run("upgrade", "here", str(folder), "--engine", "gotpl", "--set", "text=go")
    lab.run("upgrade", "here", "--set", "text=again")
    assert "comment: again" in lab.run("get", "manifest", "here").out
    assert lab.run("get", "metadata", "here", "-o", "json").json["chartOrigin"] == f"{folder}#engine=gotpl"
    folder.rename(tmp_path / "moved")
    assert "there is no chart at" in lab.run("upgrade", "here", code=1).err
    rows = lab.run("outdated", "--all", "-o", "json").json
    assert "there is no chart at" in rows[0]["note"]
    lab.run("apply", "-f", "-", "--set-name", "set", stdin="kind: Pool\nmetadata: {name: p}\nspec: {comment: x}\n")
    assert "pvehelm apply -f FILE --set-name set" in lab.run("upgrade", "set", code=3).err


def test_an_address_without_an_index(lab: Lab, web: Web) -> None:
    address = web.url + "/nothing"
    refused = lab.run("repo", "add", "lab", address, code=1)
    assert f"{address} is no chart repository: there is no index.yaml" in refused.err
    assert "pvehelm repo index" in refused.err
